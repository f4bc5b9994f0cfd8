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
//! - only `main` and `settings` use `env::`;
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
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::cache::LastFailure;
use crate::cli::{Line, Task};
use crate::command::{Colour, Dialect, Style, doctor, setup, status};
use crate::completion::Configured;
use crate::error::{Defect, Error};
use crate::message::print_line;
use crate::protocol::{Failed, Host};
use crate::settings::{
    ChosenAccount, Configuration, Environment, Flags, Folders, Sourced, Sources,
};
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
    message::set_locale(is_utf_8);
    let line = match cli::parse(arguments()) {
        Ok(line) => line,
        Err(message) => {
            if !message.use_stderr() {
                let written = write(message::in_locale(&message.to_string()).as_bytes());
                return written.map_or_else(|error| fail(&error), |()| 0);
            }
            let (command, flags, error) = cli::mistake(arguments(), &message);
            keep(&command, &flags, &error);
            if let Some(shell) = cli::shell_of_env(arguments()) {
                fail_under_eval(shell);
            }
            // Without a command, the message is the help. It repeats no argument.
            if message.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                message::print_text(&message.to_string());
            } else {
                print_line(&format!("{error}\nhint: {}", error.hint()));
            }
            return error.exit_code();
        }
    };
    let done = run(&line).and_then(|(answer, code)| Ok(write(&answer).map(|()| code)?));
    match done.inspect_err(|failed| keep(&line.name, &line.flags, &failed.error)) {
        Ok(code) => code,
        // Docker reads errors from standard output, and expects exit code 1.
        Err(Failed { error, stdout: _ }) if matches!(line.task, Task::Docker(_)) => {
            let (sentence, message) = protocol::docker::failure(&error);
            let _ = write(sentence.as_bytes());
            message.inspect(|message| print_line(message));
            1
        }
        Err(Failed { error, stdout }) => {
            let code = fail(&error);
            if let Task::Env(shell) = line.task {
                fail_under_eval(shell);
            }
            let _ = write(stdout.as_bytes());
            code
        }
    }
}

/// Prints the statements that make `eval "$(astra-credential env)"` fail. A terminal evaluates nothing.
fn fail_under_eval(shell: Dialect) {
    if !io::stdout().is_terminal() {
        let _ = write(command::no_environment(shell).as_bytes());
    }
}

/// True if the locale uses UTF-8, by the variables of setlocale(3).
fn is_utf_8() -> bool {
    let set = |name: &str| ENV(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    cfg!(windows) || locale.contains("utf-8") || locale.contains("utf8")
}

/// Prints an error and its hint, and returns its exit code.
fn fail(error: &Error) -> u8 {
    print_line(&format!("{error}\nhint: {}", error.hint()));
    error.exit_code()
}

/// Returns the answer to one call and the exit code. Nothing is printed before the answer is complete.
///
/// Callees with large frames are `#[inline(never)]`. Inlined, they would make this frame three pages large,
/// and every call would fault all three in.
fn run(line: &Line) -> Result<(Zeroizing<Vec<u8>>, u8), Failed> {
    message::start_log(line.flags.verbose || *settings::switch(ENV, settings::LOG)?);
    // These two commands work even if the configuration has a defect.
    match &line.task {
        Task::Completions { shell, words } => {
            return Ok((completions(&line.flags, shell, words).into(), 0));
        }
        Task::Man(name) => return Ok((manual::page(name.as_deref(), cli::command()).into(), 0)),
        _ => {}
    }
    let mut sources = Sources::new(&line.flags, ENV, Folders::of_user(ENV));
    match sources.read_files() {
        // `setup` creates the named file.
        Err(Error::Config { defect: Defect::Missing, .. }) if line.task.is_setup() => {}
        read => read?,
    }
    let configuration = Configuration::new(sources)?;
    let serve_any = || service::serve(&configuration.settings()?, Some(&line.name), None);
    // `None` if no account is configured for the host.
    let serve_at = |host: &Host| match configuration.settings_for(host)? {
        Some(settings) => service::serve(&settings, Some(&line.name), Some(host)).map(Some),
        None => Ok(None),
    };
    let serve = |host: Option<&Host>| host.map_or_else(|| serve_any().map(Some), serve_at);
    let forget_at = |host: &Host, named: Option<&Secret>| match configuration.settings_for(host)? {
        Some(settings) => service::forget(&settings, named, Some(host)),
        None => Ok(()),
    };
    let style = |is_json: bool| {
        // <https://no-color.org>
        let is_coloured = io::stdout().is_terminal()
            && ENV("NO_COLOR").is_none_or(|value| value.is_empty())
            && ENV("TERM").is_some_and(|terminal| terminal != "dumb");
        match is_json {
            true => Style::Json,
            false => Style::Text { is_verbose: line.flags.verbose, colour: Colour(is_coloured) },
        }
    };
    let context = |may_be_new| setup::Context::new(program()?, &configuration, may_be_new);
    match &line.task {
        Task::Token(format) => {
            serve_any().map(|credential| command::token(*format, &credential).into())
        }
        Task::Header => serve_any().map(|credential| command::header(&credential).into()),
        Task::Env(shell) => serve_any()
            .and_then(|credential| command::environment(*shell, &credential))
            .map(String::into),
        Task::Exec(command) => {
            serve_any().and_then(|credential| Err(command::exec(command, &credential)))
        }
        Task::Forget { all: false } => {
            service::forget(&configuration.settings()?, None, None).map(|()| Vec::new())
        }
        Task::Forget { all: true } => {
            service::forget_all(&configuration.settings()?).map(|()| Vec::new())
        }
        Task::Status { json } => {
            let (answer, code) = status::run(&configuration, style(*json))?;
            return Ok((in_locale(answer, *json).into(), code));
        }
        Task::Doctor { json, online } => {
            let (answer, code) =
                doctor::run(&configuration, program().ok(), *online, style(*json))?;
            return Ok((in_locale(answer, *json).into(), code));
        }
        Task::Kubernetes(stated) => {
            let exec_info = ENV("KUBERNETES_EXEC_INFO").filter(|value| !value.is_empty());
            let exec_info = exec_info.map(|value| value.to_string_lossy().into_owned());
            protocol::kubernetes::answer(exec_info.as_deref(), stated.as_deref(), serve)
        }
        Task::Git(verb) => {
            let is_ours = |host: &Host| configuration.is_ours(host);
            let input = io::stdin().lock();
            let answer = protocol::git::answer(verb, input, is_ours, serve_at, forget_at)?;
            return Ok((answer.into(), 0));
        }
        Task::Bazel(verb) => protocol::bazel::answer(verb, io::stdin(), serve_at),
        Task::Docker(verb) => {
            let hosts = || configuration.hosts();
            let tools = || std::fs::read(docker_configuration()?).ok();
            protocol::docker::answer(verb, io::stdin(), hosts, tools, serve_at, forget_at)
        }
        Task::Terraform(verb, host) => {
            protocol::terraform::answer(verb, host.as_deref(), io::stdin(), serve, forget_at)
        }
        Task::Setup(order) => setup::run(order, context(order.undo)?, &line.flags),
        Task::SetupAccount => setup::run_account(&context(true)?),
        Task::Completions { .. } | Task::Man(_) => Ok(Vec::new()),
    }
    .map(|answer| (Zeroizing::new(answer), 0))
    .map_err(Failed::from)
}

/// Converts an answer for people to the locale's characters. JSON stays UTF-8.
fn in_locale(answer: Vec<u8>, is_json: bool) -> Vec<u8> {
    match std::str::from_utf8(&answer) {
        Ok(text) if !is_json => message::in_locale(text).into_owned().into_bytes(),
        _ => answer,
    }
}

/// Writes the failure to `last.failure`, for `status` to show. The failures that [`service::serve`] has
/// stored for their account are not written again.
fn keep(command: &str, flags: &Flags, error: &Error) {
    let is_uncached =
        flags.no_cache || settings::switch(ENV, settings::NO_CACHE).is_ok_and(|off| off.value);
    let is_kept = matches!(error, Error::Exchange { .. } | Error::Refused { .. });
    // These commands are run by a person, who sees the error.
    let is_seen = ["status", "doctor", "setup", "completions", "man", "help"].contains(&command);
    // Docker calls every configured helper for every registry, so "not ours" is normal.
    let is_usual = matches!(error, Error::NotOurs { protocol: "docker", .. });
    if is_uncached || is_kept || is_seen || is_usual {
        return;
    }
    let mut sources = Sources::new(flags, ENV, Folders::of_user(ENV));
    // With a defect in a configuration file, the cache is where it is without the file.
    let _ = sources.read_files();
    if let Ok(Sourced { value: Some(dir), .. }) = settings::cache_dir(&sources) {
        LastFailure::of(error, command).keep(&dir);
    }
}

/// The completion script, or the candidates for the last of the words.
#[inline(never)]
fn completions(flags: &Flags, shell: &str, words: &[OsString]) -> Vec<u8> {
    if words.is_empty() {
        let called = arguments().next().map(PathBuf::from).unwrap_or_default();
        return completion::script(shell, &called);
    }
    let mut sources = Sources::new(flags, ENV, Folders::of_user(ENV));
    let known = sources.read_files().and_then(|()| {
        let configuration = Configuration::new(sources)?;
        let hosts = configuration.hosts()?.iter().map(ToString::to_string).collect();
        let accounts = configuration.every_account()?.into_iter();
        let accounts = accounts.filter_map(|settings| match settings.account.value {
            ChosenAccount::Named(name) => Some(name),
            ChosenAccount::File(_) => None,
        });
        Ok(Configured { hosts, accounts: accounts.collect() })
    });
    completion::answer(shell, words, cli::command(), &known.unwrap_or_default())
}

/// The configuration file of Docker's command line.
fn docker_configuration() -> Option<PathBuf> {
    let folder = ENV("DOCKER_CONFIG").filter(|value| !value.is_empty());
    let default = || ENV(settings::HOME).map(|home| PathBuf::from(home).join(".docker"));
    Some(folder.map(PathBuf::from).or_else(default)?.join("config.json"))
}

/// This program's own file.
fn program() -> Result<PathBuf, Error> {
    env::current_exe().map_err(|why| {
        let command = arguments().next().unwrap_or_default().to_string_lossy().into_owned();
        Error::ToolFailed { command, why: why.to_string() }
    })
}

fn write(answer: &[u8]) -> Result<(), Error> {
    #[cfg(all(unix, not(test)))]
    if !answer.is_empty() && start::is_output_closed() {
        return Err(Error::Output(io::Error::other("it is closed")));
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(answer).and_then(|()| stdout.flush());
    written.map_err(Error::Output)
}
