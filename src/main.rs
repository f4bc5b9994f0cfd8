//! `astra-credential` exchanges an Astra service account for a bearer token once, caches the token, and
//! returns it to each tool in the tool's own protocol.
//!
//! The architecture in one sentence: **a protocol adapter converts a request to an answer and may ask for a
//! credential; the broker decides between the cache and an exchange; `main` has all access to the process's
//! environment.**
//!
//! ```text
//! argv ─▶ cli ─▶ settings ─▶ protocol::git ─▶ broker ─▶ cache.read ──── fresh ──────┐
//!                               │ parse,        │          │ stale                   │
//!                               │ whose host?   │          ▼                         │
//!                               │           account     queue.step ─▶ read ─ fresh ──┤
//!                               │                          │ stale, under the lock   │
//!                               │                          ▼                         │
//!                               │             exchange.mint ─▶ cache.update(rule)    │
//!                               ▼                                              ▼     ▼
//! stdout ◀─────────────────── render ◀──────────────────────────────────── Credential
//! ```
//!
//! Each module imports only modules of the lines above its own:
//!
//! ```text
//! message, shown, start, timestamp
//! error, proxy, token
//! account, protocol
//! seal, settings
//! cache, exchange
//! broker
//! service
//! command
//! cli
//! completion, manual
//! ```
//!
//! The adapters of `protocol` do not import each other. The broker receives `mint` as a closure, so that it
//! contains no HTTP. `settings` finds the account for a host, and `service` serves one account.
//!
//! `tests/cli/tidy.rs` checks this drawing, and these rules:
//! - only `main` and `settings`, with the files below it, use `env::`;
//! - only `timestamp` uses `SystemTime`;
//! - only `exchange`, with the files below it, uses `ureq` and `rustls`;
//! - only `cache` uses `fs2`;
//! - only `seal` uses `ring` for encryption;
//! - only `start` uses `unsafe`;
//! - only `main` writes to standard output, one answer, and only [`message`] writes to standard error.
//!
//! A warm call is the most frequent one. It reads the configuration, if there is one, and the account file,
//! derives the seal, reads the entry and writes the answer. It takes no lock, opens no socket, starts no
//! thread and reads no CA certificates.

#![cfg_attr(all(unix, not(test)), no_main)]

mod account;
mod broker;
mod cache;
mod cli;
mod command;
mod completion;
mod error;
mod exchange;
mod manual;
mod message;
mod protocol;
mod proxy;
mod seal;
mod service;
mod settings;
mod shown;
#[cfg(all(unix, not(test)))]
mod start;
mod timestamp;
mod token;

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::cli::{Call, Line, Mistake, Page, Stop, Task};
use crate::command::tool::docker;
use crate::command::{Dialect, Style, doctor, setup, status};
use crate::error::{Defect, Error, SetupError};
use crate::protocol::{Failed, Host};
use crate::service::Service;
use crate::settings::{Configuration, Environment, Flags, Sources};
#[cfg(all(unix, not(test)))]
use crate::start::arguments;
use crate::token::Secret;

#[cfg(not(all(unix, not(test))))]
fn main() -> std::process::ExitCode {
    start().into()
}

/// The command line, from the program's own name on.
#[cfg(not(all(unix, not(test))))]
fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
    env::args_os()
}

/// Looks up a variable.
const ENV: &Environment<'static> = &|name| env::var_os(name);

/// Runs the program and returns its exit code.
fn start() -> u8 {
    message::set_locale(|| settings::is_utf_8(ENV));
    let line = match cli::parse(arguments()) {
        Ok(line) => line,
        Err(stop) => return stopped(stop),
    };
    let done = run(&line).and_then(|(answer, code)| Ok(write(&answer).map(|()| code)?));
    done.unwrap_or_else(|failed| {
        let failed = match line.task {
            Task::Call(Call::Docker(_)) => protocol::docker::failed(failed.error),
            Task::Call(Call::Env(shell)) => failed_environment(failed.error, shell),
            _ => failed,
        };
        fail(&line.name, &line.flags, failed)
    })
}

/// Answers a command line without a task.
#[inline(never)]
fn stopped(stop: Stop) -> u8 {
    match stop {
        Stop::Help(text) => {
            let done = write(message::in_locale(&text).as_bytes());
            done.map_or_else(|error| fail("help", &Flags::default(), error.into()), |()| 0)
        }
        Stop::Mistake(mistake) => {
            let Mistake { command, flags, error, help, shell } = *mistake;
            let mut failed = match shell {
                Some(shell) => failed_environment(error, shell),
                None => error.into(),
            };
            if let Some(help) = help {
                message::print_text(&help);
                failed.stderr = None;
            }
            fail(&command, &flags, failed)
        }
    }
}

/// A failed call of `env`.
fn failed_environment(error: Error, shell: Dialect) -> Failed {
    command::failed_environment(error, shell, io::stdout().is_terminal())
}

/// Stores and prints a failure, and returns its exit code.
#[inline(never)]
fn fail(command: &str, flags: &Flags, failed: Failed) -> u8 {
    let Failed { error, stderr, stdout, exit_code } = failed;
    service::store_failure(&error, command, flags, ENV);
    if let Some(message) = stderr {
        message::print_line(&message);
    }
    let _ = write(stdout.as_bytes());
    exit_code
}

/// Returns the answer to one call and the exit code. Nothing is printed before the answer is complete.
///
/// Callees with large frames are `#[inline(never)]`. Inlined, they would make this frame three pages large,
/// and every call would fault all three in.
fn run(line: &Line) -> Result<(Zeroizing<Vec<u8>>, u8), Failed> {
    message::start_log(line.flags.verbose || *settings::switch(ENV, settings::LOG)?);
    let call = match &line.task {
        Task::Call(call) => call,
        Task::Page(page) => return Ok((page_of(page, &line.flags).into(), 0)),
    };
    let configuration = configuration(call, &line.flags)?;
    let service = Service { configuration: &configuration, command: &line.name };
    let serve = |host: &Host| service.credential_for(host);
    let serve_any = |host: Option<&Host>| match host {
        Some(host) => service.credential_for(host),
        None => service.credential().map(Some),
    };
    let forget = |host: &Host, named: Option<&Secret>| service.forget_at(host, named);
    let style = |json| Style::new(json, io::stdout().is_terminal(), &line.flags, ENV);
    let answer = match call {
        Call::Token(format) => command::token(*format, &service.credential()?).into(),
        Call::Header => command::header(&service.credential()?).into(),
        Call::Env(shell) => command::environment(*shell, &service.credential()?)?.into(),
        Call::Exec(command) => {
            return Err(command::exec(command, &service.credential()?, ENV).into());
        }
        Call::Forget { all } => service.forget_account(*all).map(|()| Vec::new())?,
        Call::Status { json } => {
            let (answer, code) = status::run(&configuration, style(*json))?;
            return Ok((answer.into(), code));
        }
        Call::Doctor { json, online } => {
            let style = style(*json);
            let (answer, code) = doctor::run(&configuration, program().ok(), *online, style)?;
            return Ok((answer.into(), code));
        }
        Call::Kubernetes(stated) => {
            let exec_info = settings::text(ENV, "KUBERNETES_EXEC_INFO");
            protocol::kubernetes::answer(exec_info.as_deref(), stated.as_deref(), serve_any)?
        }
        Call::Git(verb) => {
            let is_ours = |host: &Host| configuration.is_ours(host);
            protocol::git::answer(verb, io::stdin().lock(), is_ours, serve, forget)?
        }
        Call::Bazel(verb) => protocol::bazel::answer(verb, io::stdin(), serve)?,
        Call::Docker(verb) => {
            let hosts = || configuration.hosts();
            let tools = || std::fs::read(docker::file(ENV).ok()?).ok();
            protocol::docker::answer(verb, io::stdin(), hosts, tools, serve, forget)?
        }
        Call::Terraform(verb, host) => {
            protocol::terraform::answer(verb, host.as_deref(), io::stdin(), serve_any, forget)?
        }
        Call::Setup(order) => setup::run(order, program()?, &configuration)?,
    };
    Ok((answer.into(), 0))
}

/// A page about the program.
#[inline(never)]
fn page_of(page: &Page, flags: &Flags) -> Vec<u8> {
    match page {
        Page::Completions { shell, words } => {
            let called = arguments().next().map(PathBuf::from).unwrap_or_default();
            completion::run(shell, words, &called, Sources::of_user(flags, ENV))
        }
        Page::Man(name) => manual::page(name.as_deref(), cli::command()),
    }
}

/// Reads the configuration.
fn configuration<'a>(call: &Call, flags: &'a Flags) -> Result<Configuration<'a>, Error> {
    let mut sources = Sources::of_user(flags, ENV);
    match sources.read_files() {
        // `setup` creates the named file.
        Err(Error::Config { defect: Defect::Missing, .. }) if matches!(call, Call::Setup(_)) => {}
        read => read?,
    }
    Configuration::new(sources)
}

/// This program's own file.
fn program() -> Result<PathBuf, Error> {
    env::current_exe().map_err(|why| SetupError::ProgramUnknown { why }.into())
}

/// Writes the answer to standard output.
fn write(answer: &[u8]) -> Result<(), Error> {
    #[cfg(all(unix, not(test)))]
    if !answer.is_empty() && start::is_output_closed() {
        return Err(Error::Output(io::Error::other("it is closed")));
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(answer).and_then(|()| stdout.flush());
    written.map_err(Error::Output)
}
