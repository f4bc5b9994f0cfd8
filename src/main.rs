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
//!                               │             exchange.mint ─▶ cache.update(rule)    │
//!                               ▼                                              ▼     ▼
//! stdout ◀─────────────────── render ◀──────────────────────────────────── Credential
//! ```
//!
//! Who imports whom, bottom up: `error`, `message` and `timestamp` ← `token` ← `account` ← `seal` ← `cache`,
//! `protocol/*` ← `settings` ← `exchange`; `cache` ← `broker` ← `main`. The adapters never import
//! each other, and the broker is handed `mint` as a closure, so that it does not know HTTP.
//!
//! What is absent is kept so by `tests/cli/tidy.rs`:
//! - only `main` and `settings` say `env::`;
//! - only `timestamp` says `SystemTime`;
//! - only `exchange`, with the files below it, says `ureq` and `rustls`;
//! - only `cache` says `fs2`;
//! - only `seal` says `ring`;
//! - only `start` says `unsafe`;
//! - nothing prints but `main`, one answer to standard output, and [`message`], to standard error.
//!
//! The warm path is the product: read the account file, derive the seal, read the entry, write the
//! answer. It takes no lock, opens no socket, starts no thread and reads no CA bundle.

#![cfg_attr(all(target_os = "linux", not(test)), no_main)]

mod account;
mod broker;
mod cache;
mod cli;
mod command;
mod error;
mod exchange;
mod message;
mod protocol;
mod proxy;
mod seal;
mod settings;
mod shown;
#[cfg(all(unix, not(test)))]
mod start;
mod timestamp;
mod token;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use zeroize::Zeroizing;

use crate::account::{Account, ServiceAccount};
use crate::broker::{Demand, Failure};
use crate::cache::{Cache, LastFailure};
use crate::cli::{Line, Task};
use crate::command::Dialect;
use crate::command::completion::{self, Known};
use crate::command::doctor::{self, Patient};
use crate::command::setup;
use crate::command::status::{self, Seen};
use crate::error::{Defect, Error};
use crate::exchange::Exchange;
use crate::message::say;
use crate::protocol::{Failed, Host};
use crate::seal::Seal;
use crate::settings::{
    Configuration, DEFAULT_ACCOUNT, Environment, Flags, Folders, Settings, Source, Sourced, Stated,
    Who,
};
#[cfg(all(target_os = "linux", not(test)))]
use crate::start::arguments;
use crate::timestamp::{Moment, Timestamp};
use crate::token::{Credential, Secret};

#[cfg(not(all(target_os = "linux", not(test))))]
fn main() -> std::process::ExitCode {
    #[cfg(all(unix, not(test)))]
    start::ignore_signals();
    start().into()
}

/// The command line, from the program's own name on.
#[cfg(not(all(target_os = "linux", not(test))))]
fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
    env::args_os()
}

/// The whole program; gives its exit code.
fn start() -> u8 {
    let line = match cli::parse(arguments()) {
        Ok(line) => line,
        Err(message) => {
            if !message.use_stderr() {
                let written = write(message.to_string().as_bytes());
                return written.map_or_else(|error| fail(&error), |()| 0);
            }
            let (command, flags, error) = cli::mistake(arguments(), &message);
            keep(&command, &flags, &error);
            if let Some(shell) = cli::shell_of_env(arguments()) {
                fail_under_eval(shell);
            }
            // Without any command the help is printed, which repeats no argument.
            if message.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                let _ = message.print();
            } else {
                say(&format!("{error}\nhint: {}", error.hint()));
            }
            return error.exit_code();
        }
    };
    let done = run(&line).and_then(|(answer, code)| Ok(write(&answer).map(|()| code)?));
    match done.inspect_err(|failed| keep(&line.name, &line.flags, &failed.error)) {
        Ok(code) => code,
        // Docker reads errors on standard output, and knows one exit code.
        Err(Failed { error, stdout: _ }) if matches!(line.task, Task::Docker(_)) => {
            let (sentence, message) = protocol::docker::failure(&error);
            let _ = write(sentence.as_bytes());
            message.inspect(|message| say(message));
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

/// Prints an error and its hint; gives its exit code.
fn fail(error: &Error) -> u8 {
    say(&format!("{error}\nhint: {}", error.hint()));
    error.exit_code()
}

/// The answer to one call and its exit code: nothing is printed until it is certain.
///
/// What it calls is kept out of line where that takes much of the stack: all of it together would be three
/// pages, and every call would touch each.
fn run(line: &Line) -> Result<(Zeroizing<Vec<u8>>, u8), Failed> {
    let env = |name: &str| env::var_os(name);
    message::listen(line.flags.verbose || settings::is_on(&env, settings::LOG)?);
    // A defect of the configuration does not matter to these two.
    match &line.task {
        Task::Completions { shell, words } => {
            return Ok((completions(&line.flags, shell, words).into(), 0));
        }
        Task::Man(name) => return Ok((command::page(name.as_deref(), cli::command()).into(), 0)),
        _ => {}
    }
    let folders = default_folders();
    let files = match settings::read_files(&line.flags, &env, &folders) {
        // `setup` makes the file that is named.
        Err(Error::Config { defect: Defect::Missing, .. }) if line.task.is_setup() => Vec::new(),
        files => files?,
    };
    let exists = |path: &Path| path.exists();
    let configuration = Configuration::new(&line.flags, &env, folders, files, &exists)?;
    let serve_any = || serve(&configuration.settings()?, Some(&line.name), None);
    // `None` for a host that no account is for.
    let serve_at = |host: &Host| match configuration.settings_for(host)? {
        Some(settings) => serve(&settings, Some(&line.name), Some(host)).map(Some),
        None => Ok(None),
    };
    let serve = |host: Option<&Host>| host.map_or_else(|| serve_any().map(Some), serve_at);
    let forget_at = |host: &Host, named: Option<&Secret>| match configuration.settings_for(host)? {
        Some(settings) => forget(&settings, named, Some(host)),
        None => Ok(()),
    };
    let context = |may_be_new| {
        let world = setup::World {
            env: &env,
            paths: &paths,
            program: program()?,
            folders: default_folders(),
        };
        setup::Context::new(world, &line.flags, &configuration, may_be_new)
    };
    match &line.task {
        Task::Token(format) => {
            serve_any().map(|credential| command::token(*format, &credential).into())
        }
        Task::Header => serve_any().map(|credential| command::header(&credential).into()),
        Task::Env(shell) => {
            serve_any().map(|credential| command::environment(*shell, &credential).into())
        }
        Task::Exec(command) => {
            serve_any().and_then(|credential| Err(command::exec(command, &credential)))
        }
        Task::Forget { all: false } => {
            forget(&configuration.settings()?, None, None).map(|()| Vec::new())
        }
        Task::Forget { all: true } => forget_all(&configuration.settings()?).map(|()| Vec::new()),
        Task::Status { json } => {
            let settings = configuration.settings()?;
            let stated = settings.stated(&configuration.hosts_of(&settings)?);
            let (answer, code) = status(&settings, stated, *json);
            return Ok((answer.into(), code));
        }
        Task::Doctor { json, online } => {
            let settings = configuration.settings()?;
            let (answer, code) = doctor(&configuration, &settings, &env, *online, *json);
            return Ok((answer.into(), code));
        }
        Task::Kubernetes(stated) => {
            let exec_info = env("KUBERNETES_EXEC_INFO").filter(|value| !value.is_empty());
            let exec_info = exec_info.map(|value| value.to_string_lossy().into_owned());
            protocol::kubernetes::answer(exec_info.as_deref(), stated.as_deref(), serve)
        }
        Task::Git(verb) => {
            let answer = protocol::git::answer(verb, io::stdin().lock(), serve_at, forget_at)?;
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

/// The one question of every adapter: a credential, for `host` if the caller names one. A failure is kept
/// as that of `command`.
fn serve(
    settings: &Settings,
    command: Option<&str>,
    host: Option<&Host>,
) -> Result<Credential, Error> {
    let deadline = Instant::now() + *settings.timeout;
    let (path, account) = account(settings, deadline)?;
    let account = match account {
        Account::Application(bearer) => {
            return Ok(Credential { bearer, expires: None, accepted_until: None });
        }
        Account::Service(account) => account,
    };
    let host = host.map(ToString::to_string);
    let demand = Demand {
        refresh: settings.refresh,
        min_valid: *settings.min_valid,
        deadline,
        host: host.as_deref(),
        api: &settings.api.base,
        route: &settings.route(),
    };
    let exchange = Exchange {
        api: &settings.api.base,
        ca_file: settings.ca_file.as_deref(),
        ca_folders: &settings.ca_folders,
        proxy: settings.proxy.as_deref(),
        deadline,
    };
    let cache = cache(settings, &account);
    let mint = || {
        let why = format!("waiting for {}", shown::quoted(&settings.api.base));
        message::explain(why, || exchange.mint(&account))
    };
    let served = broker::serve(&cache, demand, Moment::now, mint);
    message::wipe();
    served.map_err(|failure| {
        let error = match failure {
            Failure::Exchange { error, remembered } => {
                let padded = account.padded_field();
                Error::Exchange { trouble: error, remembered, account: path, padded }
            }
            Failure::Refused { host, wait } => Error::Refused { host, wait },
        };
        if let Some(command) = command {
            cache.keep_failure(&LastFailure::of(&error, command));
        }
        error
    })
}

/// Keeps a failure that is no account's for `status` to show, unless [`serve`] has kept it as one.
fn keep(command: &str, flags: &Flags, error: &Error) {
    let env = |name: &str| env::var_os(name);
    let is_uncached =
        flags.no_cache || matches!(settings::is_on(&env, settings::NO_CACHE), Ok(true));
    let is_kept = matches!(error, Error::Exchange { .. } | Error::Refused { .. });
    // Whoever looks or sets up sees what happens.
    let is_seen = ["status", "doctor", "setup", "completions", "man", "help"].contains(&command);
    // Docker asks for every registry there is.
    let is_usual = matches!(error, Error::NotOurs { protocol: "docker", .. });
    if !(is_uncached || is_kept || is_seen || is_usual)
        && let folders = default_folders()
        && let files = settings::read_files(flags, &env, &folders).unwrap_or_default()
        && let Ok(Sourced { value: Some(dir), .. }) =
            settings::cache_dir(flags, &env, &folders, &files)
    {
        LastFailure::of(error, command).keep(&dir);
    }
}

fn status(settings: &Settings, stated: Vec<Stated>, is_json: bool) -> (Vec<u8>, u8) {
    let account = account(settings, Instant::now() + *settings.timeout).map(|(_, account)| account);
    let cache = match &account {
        Ok(Account::Service(account)) => cache(settings, account),
        _ => Cache::none(),
    };
    let dir = settings.cache_dir.as_deref().filter(|_| !*settings.no_cache);
    let unnamed = dir.and_then(LastFailure::read);
    let seen = Seen {
        settings: stated,
        account: account.as_ref(),
        entry: cache.read(),
        last_failure: cache.last_failure().into_iter().chain(unnamed).max_by_key(|last| last.at),
        min_valid: *settings.min_valid,
        route: cache.digest(settings.route().expose()),
        timeout: *settings.timeout,
        now: Timestamp::now(),
    };
    status::report(seen, is_json)
}

fn doctor(
    configuration: &Configuration<'_>,
    settings: &Settings,
    env: &Environment<'_>,
    is_online: bool,
    is_json: bool,
) -> (Vec<u8>, u8) {
    let account = account(settings, Instant::now() + *settings.timeout).map(|(_, account)| account);
    let cache = match &account {
        Ok(Account::Service(account)) => cache(settings, account),
        _ => Cache::none(),
    };
    let patient = Patient {
        configuration,
        settings,
        account: account.as_ref(),
        cache: &cache,
        env,
        paths: &paths,
        binary: program().ok(),
    };
    let anew = Settings { refresh: true, ..settings.clone() };
    let exchange = is_online.then_some(|| serve(&anew, None, None));
    // <https://no-color.org>
    let is_coloured = io::stdout().is_terminal()
        && env("NO_COLOR").is_none_or(|value| value.is_empty())
        && env("TERM").is_some_and(|terminal| terminal != "dumb");
    let report = || doctor::report(&patient, exchange, is_json, is_coloured);
    let answer = message::explain("going through what can be wrong", report);
    message::wipe();
    answer
}

/// Drops the cached token if it is `named` or none is; with a host, because that refused it.
fn forget(settings: &Settings, named: Option<&Secret>, at: Option<&Host>) -> Result<(), Error> {
    let deadline = Instant::now() + *settings.timeout;
    let (_, Account::Service(account)) = account(settings, deadline)? else {
        return Ok(());
    };
    // Without the cache a call neither reads nor writes a token; forgetting one is another matter.
    let cache =
        cache(&Settings { no_cache: Sourced::default_of(false), ..settings.clone() }, &account);
    let at_host = at.map(ToString::to_string);
    let forgotten = broker::forget(&cache, named, at_host.as_deref(), Timestamp::now(), deadline);
    message::wipe();
    if named.is_none() && at.is_none() {
        cache.remove_failure();
        settings.cache_dir.as_deref().inspect(|dir| LastFailure::remove(dir));
    }
    forgotten.map_err(|why| not_forgotten(settings, &why))
}

/// Drops what is cached for every account.
fn forget_all(settings: &Settings) -> Result<(), Error> {
    let deadline = Instant::now() + *settings.timeout;
    let dir = settings.cache_dir.as_deref();
    let forgotten = dir.map_or(Ok(()), |dir| cache::forget_all(dir, deadline));
    forgotten.map_err(|why| not_forgotten(settings, &why))
}

/// The completion script, or the candidates for the last of the words.
#[inline(never)]
fn completions(flags: &Flags, shell: &str, words: &[OsString]) -> Vec<u8> {
    if words.is_empty() {
        let called = env::args_os().next().map(PathBuf::from).unwrap_or_default();
        return completion::script(shell, &called);
    }
    let env = |name: &str| env::var_os(name);
    let exists = |path: &Path| path.exists();
    let folders = default_folders();
    let known = settings::read_files(flags, &env, &folders).and_then(|files| {
        let configuration = Configuration::new(flags, &env, folders, files, &exists)?;
        let hosts = configuration.hosts()?.iter().map(ToString::to_string).collect();
        Ok(Known { hosts, accounts: configuration.names().map(str::to_owned).collect() })
    });
    completion::answer(shell, words, cli::command(), &known.unwrap_or_default())
}

fn not_forgotten(settings: &Settings, why: &io::Error) -> Error {
    Error::Forget {
        dir: settings.cache_dir.value.clone().unwrap_or_default(),
        why: why.to_string(),
    }
}

fn account(settings: &Settings, deadline: Instant) -> Result<(PathBuf, Account), Error> {
    let path = settings.service_account.value.clone().ok_or(Error::AccountUnnamed)?;
    let account = account::read(&path, *settings.allow_exposed, deadline);
    message::wipe();
    match account {
        Ok(account) => Ok((path, account)),
        // The usual file of a named account needs no path.
        Err(Error::AccountMissing { path, fix }) => {
            let usual = match (&settings.service_account.source, &settings.account.value) {
                (Source::Default, Who::Named(name)) if name == DEFAULT_ACCOUNT => {
                    Some(String::new())
                }
                (Source::Default, Who::Named(name)) => Some(format!(" --account {name}")),
                _ => None,
            };
            let fix = usual.map_or(fix, |which| format!("astra-credential setup account{which}"));
            Err(Error::AccountMissing { path, fix })
        }
        Err(error) => Err(error),
    }
}

fn cache(settings: &Settings, account: &ServiceAccount) -> Cache {
    if *settings.no_cache {
        return Cache::none();
    }
    let Some(dir) = settings.cache_dir.value.clone() else {
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

/// The parts of a variable such as `PATH`; an empty one names no folder to look in.
fn paths(name: &str) -> Vec<PathBuf> {
    let value = env::var_os(name).unwrap_or_default();
    env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The configuration file of Docker's command line.
fn docker_configuration() -> Option<PathBuf> {
    let folder = env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty());
    let default = || env::var_os(settings::HOME).map(|home| PathBuf::from(home).join(".docker"));
    Some(folder.map(PathBuf::from).or_else(default)?.join("config.json"))
}

/// This program's own file.
fn program() -> Result<PathBuf, Error> {
    env::current_exe().map_err(|why| {
        let command = arguments().next().unwrap_or_default().to_string_lossy().into_owned();
        Error::ToolFailed { command, why: why.to_string() }
    })
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
            // On Windows neither a secret nor a path belongs into a profile that roams.
            config: Some(folders.config_local_dir().to_owned()),
            cache: Some(folders.cache_dir().to_owned()),
        },
    )
}

fn write(answer: &[u8]) -> Result<(), Error> {
    #[cfg(all(target_os = "linux", not(test)))]
    if !answer.is_empty() && start::is_output_closed() {
        return Err(Error::Output("it is closed".to_owned()));
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(answer).and_then(|()| stdout.flush());
    written.map_err(|error| Error::Output(error.to_string()))
}
