//! `astra-credential` exchanges an Astra service account for a bearer token, once, and hands it to
//! whatever asks, in that tool's own language.
//!
//! One sentence of architecture: **a protocol adapter turns bytes into bytes and may ask one
//! question; the broker answers it; `main` owns the world.**
//!
//! ```text
//! argv ─▶ cli ─▶ settings ─▶ protocol::git ─▶ broker ─▶ cache.read ──── fresh ──────┐
//!                               │ parse,        │          │ stale                   │
//!                               │ is it ours?   │          ▼                         │
//!                               │           account     queue.step ─▶ read ─ fresh ──┤
//!                               │                          │ stale, under the lock   │
//!                               │                          ▼                         │
//!                               │                       exchange.mint ─▶ slot.fill   │
//!                               ▼                                              ▼     ▼
//! stdout ◀─────────────────── render ◀──────────────────────────────────── Credential
//! ```
//!
//! Who imports whom, bottom up: `error` and `timestamp` ← `token` ← `account` ← `seal` ← `cache`,
//! `protocol/*` ← `settings` ← `exchange`; `cache` ← `broker` ← `main`. The adapters never import
//! each other, and the broker is handed `mint` as a closure, so that it does not know HTTP.
//!
//! What is absent is kept so by `tests/cli/tidy.rs`:
//! - only `main` and `settings` say `env::`;
//! - only `timestamp` says `SystemTime`;
//! - only `exchange` says `ureq` and `rustls`;
//! - only `cache` says `fs2`;
//! - only `seal` says `ring`;
//! - nothing prints but [`main`]: one answer to standard output, messages to standard error.
//!
//! The warm path is the product: read the account file, derive the seal, read the entry, write the
//! answer. It takes no lock, opens no socket, starts no thread and reads no CA bundle.

mod account;
mod broker;
mod cache;
mod cli;
mod command;
mod error;
mod exchange;
mod protocol;
mod seal;
mod settings;
mod timestamp;
mod token;

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use zeroize::Zeroizing;

use crate::account::{Account, ServiceAccount};
use crate::broker::{Failure, Wish};
use crate::cache::Cache;
use crate::cli::{Line, Task};
use crate::command::Dialect;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::seal::Seal;
use crate::settings::{Folders, Settings};
use crate::timestamp::Timestamp;
use crate::token::{Credential, Secret};

fn main() -> ExitCode {
    let line = match cli::parse(env::args_os()) {
        Ok(line) => line,
        Err(message) => {
            let is_written = message.print().is_ok();
            return ExitCode::from(if is_written { message.exit_code() as u8 } else { 1 });
        }
    };
    match run(&line).and_then(|answer| write(&answer)) {
        Ok(()) => ExitCode::SUCCESS,
        // Docker reads what went wrong on standard output, and knows one exit code.
        Err(error) if matches!(line.task, Task::Docker(_)) => {
            let (sentence, is_for_people) = protocol::docker::failure(&error);
            let _ = write(sentence.as_bytes());
            // Some of its commands keep that to themselves, and pass on what stands here.
            if is_for_people {
                say(sentence.trim_end());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("{error}\nhint: {}", error.hint()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The answer to one call: nothing is printed until it is certain.
fn run(line: &Line) -> Result<Zeroizing<Vec<u8>>, Error> {
    let env = |name: &str| env::var_os(name);
    listen(line.flags.verbose || settings::is_on(&env, "ASTRA_CREDENTIAL_LOG")?);
    let settings = Settings::resolve(&line.flags, &env, default_folders())?;
    let serve = || serve(&settings);
    let forget = |named: Option<&Secret>| forget(&settings, named);
    let hosts = &settings.hosts;
    match &line.task {
        Task::Token(format) => {
            serve().map(|credential| command::token(*format, &credential).into())
        }
        Task::Header => serve().map(|credential| command::header(&credential).into()),
        Task::Env(shell) => {
            let guessed = || Dialect::named(&env("SHELL").unwrap_or_default().to_string_lossy());
            let shell = shell.unwrap_or_else(guessed);
            serve().map(|credential| command::environment(shell, &credential).into())
        }
        Task::Exec(command) => {
            serve().and_then(|credential| Err(command::exec(command, &credential)))
        }
        Task::Forget { all: false } => forget(None).map(|()| Vec::new()),
        Task::Forget { all: true } => forget_all(&settings).map(|()| Vec::new()),
        Task::Kubernetes => {
            let exec_info = env("KUBERNETES_EXEC_INFO").filter(|value| !value.is_empty());
            let exec_info = exec_info.map(|value| value.to_string_lossy().into_owned());
            protocol::kubernetes::answer(exec_info.as_deref(), serve)
        }
        Task::Git(verb) => protocol::git::answer(verb, io::stdin(), hosts, serve, forget),
        Task::Bazel(verb) => protocol::bazel::answer(verb, io::stdin(), hosts, serve),
        Task::Docker(verb) => {
            protocol::docker::answer(verb, io::stdin(), hosts, serve, || forget(None))
        }
        Task::Terraform(verb, host) => {
            protocol::terraform::answer(verb, host.as_deref(), io::stdin(), hosts, serve, || {
                forget(None)
            })
        }
        Task::Completions(shell) => Ok(command::completions(shell, cli::command())),
        Task::Man(name) => Ok(command::page(name.as_deref(), cli::command())),
    }
    .map(Zeroizing::new)
}

/// The one question of every adapter.
fn serve(settings: &Settings) -> Result<Credential, Error> {
    let deadline = Instant::now() + settings.timeout;
    let (path, account) = account(settings, deadline)?;
    let account = match account {
        Account::Application(bearer) => return Ok(Credential { bearer, expires: None }),
        Account::Service(account) => account,
    };
    let wish = Wish {
        refresh: settings.refresh,
        min_valid: settings.min_valid,
        timeout: deadline.saturating_duration_since(Instant::now()),
        api: &settings.api.base,
        route: &settings.route(),
    };
    let exchange = Exchange {
        api: &settings.api.base,
        ca_file: settings.ca_file.as_deref(),
        proxy: settings.proxy.as_deref(),
        deadline,
    };
    let cache = cache(settings, &account);
    broker::serve(&cache, wish, Timestamp::now, || exchange.mint(&account)).map_err(
        |Failure { trouble, remembered }| Error::Exchange { trouble, remembered, account: path },
    )
}

/// Drops the cached token if it is `named` or none is.
fn forget(settings: &Settings, named: Option<&Secret>) -> Result<(), Error> {
    let deadline = Instant::now() + settings.timeout;
    let (_, Account::Service(account)) = account(settings, deadline)? else {
        return Ok(());
    };
    broker::forget(&cache(settings, &account), named, settings.timeout)
        .map_err(|why| not_forgotten(settings, &why))
}

/// Drops what is cached for every account.
fn forget_all(settings: &Settings) -> Result<(), Error> {
    let cleared = settings.cache_dir.as_deref().map_or(Ok(()), cache::clear_all);
    cleared.map_err(|why| not_forgotten(settings, &why))
}

fn not_forgotten(settings: &Settings, why: &io::Error) -> Error {
    Error::Forget { dir: settings.cache_dir.clone().unwrap_or_default(), why: why.to_string() }
}

fn account(settings: &Settings, deadline: Instant) -> Result<(PathBuf, Account), Error> {
    let path = settings.service_account.clone().ok_or(Error::AccountUnnamed)?;
    let account = account::read(&path, settings.allow_exposed, deadline)?;
    Ok((path, account))
}

fn cache(settings: &Settings, account: &ServiceAccount) -> Cache {
    if settings.no_cache {
        return Cache::none();
    }
    let Some(dir) = settings.cache_dir.clone() else {
        log::warn!(
            "no cache: without an absolute `HOME`, name a folder with `ASTRA_CREDENTIAL_CACHE_DIR`"
        );
        return Cache::none();
    };
    match Seal::new(&settings.api.base, account) {
        Some(seal) => Cache::new(dir, seal),
        None => Cache::none(),
    }
}

/// The platform's folders. A `HOME` that is missing or relative is not guessed at: what the
/// password database says of a container's user is seldom where its files are.
fn default_folders() -> Folders {
    let is_absolute =
        |name: &str| env::var_os(name).is_some_and(|path| PathBuf::from(path).is_absolute());
    if cfg!(unix) && !is_absolute("HOME") {
        let folder = |name: &str| {
            Some(PathBuf::from(env::var_os(name)?).join("astra-credential"))
                .filter(|_| is_absolute(name))
        };
        return Folders { config: folder("XDG_CONFIG_HOME"), cache: folder("XDG_CACHE_HOME") };
    }
    directories::ProjectDirs::from("", "", "astra-credential").map_or_else(
        Folders::default,
        |folders| Folders {
            config: Some(folders.config_dir().to_owned()),
            cache: Some(folders.cache_dir().to_owned()),
        },
    )
}

fn write(answer: &[u8]) -> Result<(), Error> {
    if !answer.is_empty() && is_output_closed() {
        return Err(Error::Output("it is closed".to_owned()));
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(answer).and_then(|()| stdout.flush());
    written.map_err(|error| Error::Output(error.to_string()))
}

/// In place of a closed standard output the runtime opens `/dev/null`, where an answer would vanish
/// without a word. It opens it for reading too, which a shell's `> /dev/null` does not.
#[cfg(unix)]
fn is_output_closed() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fstat};
    use std::os::unix::fs::MetadataExt as _;
    let stdout = io::stdout();
    fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::RDWR))
        && fstat(&stdout).is_ok_and(|output| {
            let null = std::fs::metadata("/dev/null");
            null.is_ok_and(|null| null.rdev() == output.st_rdev)
        })
}

#[cfg(not(unix))]
fn is_output_closed() -> bool {
    false
}

/// One message on standard error. A full or closed one is no reason to fail.
fn say(message: &str) {
    let _ = io::stderr().write_all(format!("astra-credential: {message}\n").as_bytes());
}

/// Warnings always, what happens only when asked for; of this crate alone, since what others log
/// might hold a secret.
fn listen(is_verbose: bool) {
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                let is_warning = record.level() <= log::Level::Warn;
                say(&format!("{}{}", if is_warning { "warning: " } else { "" }, record.args()));
            }
        }

        fn flush(&self) {}
    }
    if log::set_logger(&Listener).is_ok() {
        log::set_max_level(if is_verbose {
            log::LevelFilter::Debug
        } else {
            log::LevelFilter::Warn
        });
    }
}
