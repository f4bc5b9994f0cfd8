//! The catalogue of errors: the message, the hint and the exit code of each.
//!
//! Message, hint and exit code are exhaustive matches, and one snapshot shows them all for review. Style:
//! lower case, no full stop, backticks around literals; a hint is an imperative that names the exact
//! command, file or variable.

#[cfg(test)]
mod catalogue;
mod config;
mod exchange;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use self::config::{Defect, Position};
pub use self::exchange::{ExchangeError, ExchangeErrorKind};
use crate::shown::{self, Escaped, NOT_SHOWN};

/// The errors that end a call.
#[derive(Debug)]
pub enum Error {
    /// The command line does not follow the grammar.
    Usage {
        /// The mistake, without any argument.
        problem: String,
        /// The command that shows the grammar.
        help: String,
    },
    /// A flag or variable has a value that cannot be used.
    Setting {
        /// The flag or variable, such as `--timeout` or `ASTRA_CREDENTIAL_TIMEOUT`.
        name: &'static str,
        /// Its value.
        value: String,
        /// The defect, as a predicate such as "is not a number".
        problem: String,
        /// A description of the right value.
        wanted: &'static str,
    },
    /// The configuration file cannot be used.
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The place of the defect.
        at: Option<Position>,
        /// The defect.
        defect: Defect,
    },
    /// The account that was named does not exist.
    AccountUnknown {
        /// Its name.
        name: String,
        /// The flag or variable that named it.
        source: String,
        /// An account with a similar name.
        nearest: Option<String>,
    },
    /// The configuration file binds the host to another account than the one that was named.
    Bound {
        /// The host.
        host: String,
        /// The account that the host is bound to.
        owner: String,
        /// The account that was named.
        named: String,
        /// The configuration file that binds it.
        path: PathBuf,
    },
    /// No account file is named, and without a home there is no default.
    AccountUnnamed,
    /// The path of the account file names no file and is not certainly a path: it may be the account
    /// itself.
    AccountInline,
    /// The account file does not exist.
    AccountMissing {
        /// The account file.
        path: PathBuf,
        /// The command that stores one there; `None` if the file was named and not the account.
        fix: Option<String>,
    },
    /// The account file cannot be read.
    AccountUnreadable {
        /// The account file.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// The account file is a folder.
    AccountFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Other users may read or change the account file.
    AccountExposed {
        /// The account file.
        path: PathBuf,
        /// The permission, as a predicate: `may be read by everybody (mode 0644)`.
        exposure: String,
        /// The hint, as an imperative.
        fix: String,
    },
    /// The content of the account file is not an account.
    AccountMalformed {
        /// The account file.
        path: PathBuf,
        /// The defect, without any part of the content.
        defect: Malformed,
    },
    /// The exchange failed.
    Exchange {
        /// The error.
        error: ExchangeError,
        /// Set if this is the cached failure of an earlier call, and no request was sent.
        remembered: Option<Remembered>,
        /// The account file.
        account: PathBuf,
        /// The field of the account that has blanks at its ends.
        padded: Option<&'static str>,
        /// The command that stores a new secret; `None` for an account without a name.
        store: Option<String>,
    },
    /// A host has refused two tokens in a row, and gets none until the pause is over.
    Refused {
        /// The host.
        host: String,
        /// Seconds until the pause is over.
        wait: i64,
        /// The command that makes the next call try at once.
        forget: String,
    },
    /// The cached token could not be deleted.
    Forget {
        /// The cache's folder.
        dir: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// The caller's request cannot be read.
    RequestUnreadable {
        /// The protocol's name.
        protocol: &'static str,
        /// The cause.
        why: io::Error,
    },
    /// The caller's request does not follow its protocol.
    Request {
        /// The protocol's name.
        protocol: &'static str,
        /// The defect of the request.
        problem: String,
    },
    /// No account is configured for the host, and the protocol treats that as a failure.
    NotOurs {
        /// The protocol's name.
        protocol: &'static str,
        /// The host, if the caller names one.
        host: Option<String>,
    },
    /// The URL in the caller's request has a form that gets no token, such as one with a user name.
    Url {
        /// The protocol's name.
        protocol: &'static str,
        /// The part of the request, such as "the URI".
        part: &'static str,
        /// The defect, as a predicate.
        why: &'static str,
    },
    /// Docker's configuration names this helper for a host without an account.
    Unbound {
        /// The server, as Docker writes it.
        server: String,
        /// Its host.
        host: Option<String>,
    },
    /// The caller's request is empty.
    EmptyRequest {
        /// The protocol's name.
        protocol: &'static str,
    },
    /// The command of `exec` cannot be started.
    Command {
        /// Its name.
        program: String,
        /// The cause.
        why: io::Error,
    },
    /// cmd.exe cannot set a variable to the token.
    NotForCmd {
        /// The token's defect, as a predicate.
        defect: &'static str,
    },
    /// The answer could not be written to standard output.
    Output(io::Error),
    /// `setup` for a tool was called without a host.
    HostUnnamed {
        /// The tool.
        tool: &'static str,
    },
    /// A file that `setup` would edit cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// A file that `setup` would edit cannot be edited: it is not a file, or cannot be parsed.
    Unparsable {
        /// The file.
        path: PathBuf,
        /// The defect, as a predicate.
        defect: String,
    },
    /// The place of an edit of `setup` has another content.
    Taken {
        /// The file.
        path: PathBuf,
        /// The content, as a predicate such as "names `other` for `h`".
        problem: String,
    },
    /// `setup` would bind a host that is bound to another account.
    HostBound {
        /// The host.
        host: String,
        /// The account to which it is bound.
        account: String,
        /// The account that `setup` was called for.
        named: String,
        /// The configuration file that binds it.
        path: PathBuf,
    },
    /// `setup` would bind a host to an account that only the machine's configuration file has.
    MachineAccount {
        /// The account.
        name: String,
        /// The host.
        host: String,
        /// The machine's configuration file.
        path: PathBuf,
    },
    /// `setup` for a tool got a flag that it does not write into the tool's configuration.
    NotKept {
        /// The flag.
        flag: &'static str,
        /// The hint: a place for the value.
        fix: String,
    },
    /// Another `setup` process holds the lock.
    SetupLocked {
        /// The lock's file.
        path: PathBuf,
    },
    /// root called `setup` with the home of another user.
    #[cfg_attr(not(unix), allow(dead_code, reason = "there is no root"))]
    ForeignHome {
        /// The home.
        home: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A tool's own command cannot be run, or has not ended in time.
    ToolNotRun {
        /// The command.
        command: String,
        /// The cause.
        why: io::Error,
    },
    /// A tool's own command ended with an error.
    ToolFailed {
        /// The command.
        command: String,
        /// Its error message, safe to show, or else its exit code.
        message: String,
    },
    /// The system does not return the path of this program's file.
    ProgramUnknown {
        /// The cause.
        why: io::Error,
    },
    /// The path of this program or of its link cannot be written into a tool's configuration.
    Unwritable {
        /// The path.
        path: PathBuf,
    },
    /// A file or link of a tool's cannot be written.
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// A file of a tool's was changed by another program in each attempt to edit it.
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The place for a new account file has the file of another account.
    AccountKept {
        /// The account file.
        path: PathBuf,
        /// The command that moves it away.
        fix: String,
    },
}

/// The defect of an account file's content.
#[derive(Debug)]
pub struct Malformed {
    /// The defect, as a predicate: completes "the account file …".
    pub what: String,
    /// The hint.
    pub fix: &'static str,
}

/// The times of a cached failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remembered {
    /// Seconds since the exchange failed.
    pub ago: i64,
    /// Seconds until the next exchange.
    pub wait: i64,
}

/// The message.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { problem, help: _ } => {
                write!(f, "the command line cannot be used: {problem}")
            }
            Self::Setting { name, value, problem, wanted: _ } => {
                match shown::value(value) {
                    Some(value) => write!(f, "`{name}` is `{value}`, which {problem}"),
                    None => write!(f, "`{name}` has a value that {problem} {NOT_SHOWN}"),
                }
            }
            Self::Config { path, at, defect } => {
                write!(f, "the configuration file {} {defect}", shown::path(path))?;
                at.map_or(Ok(()), |Position { line, column }| {
                    write!(f, " at line {line}, column {column}")
                })
            }
            Self::AccountUnknown { name, source, nearest: _ } => {
                write!(f, "there is no account {}, which `{source}` names", shown::quoted(name))
            }
            Self::Bound { host, owner, named, path: _ } => write!(
                f,
                "the host `{host}` is bound to the account `{owner}` and gets no token of {named}"
            ),
            Self::AccountUnnamed => f.write_str(
                "no account file: none is named, and without an absolute `HOME` there is no default",
            ),
            Self::AccountInline => f.write_str(
                "no account file: the path given for it (not shown: it is not certainly a path) names \
                 no file, and may be the account itself",
            ),
            Self::AccountMissing { path, fix: _ } => {
                write!(f, "no account file: {} does not exist", shown::path(path))
            }
            Self::AccountUnreadable { path, why } => {
                write!(f, "cannot read the account file {}: {why}", shown::path(path))
            }
            Self::AccountExposed { path, exposure, fix: _ } => {
                write!(f, "the account file {} {exposure}", shown::path(path))
            }
            Self::AccountMalformed { path, defect } => {
                write!(f, "the account file {} {}", shown::path(path), defect.what)
            }
            Self::AccountFolder { path } => {
                write!(f, "the account file {} is a folder", shown::path(path))
            }
            Self::Exchange { error, remembered, account: _, padded: _, store: _ } => {
                error.fmt(f)?;
                match remembered {
                    Some(Remembered { ago, wait }) => write!(
                        f,
                        " ({ago} s ago; not asked again for another {wait} s)"
                    ),
                    None => Ok(()),
                }
            }
            Self::Refused { host, wait, forget: _ } => write!(
                f,
                "`{}` refuses the tokens that Astra issues (it gets no other for another {wait} s)",
                Escaped(host)
            ),
            Self::Forget { dir, why } => {
                write!(f, "cannot drop the token cached in {}: {why}", shown::path(dir))
            }
            Self::RequestUnreadable { protocol, why } => {
                write!(f, "{protocol}: cannot read the request: {why}")
            }
            Self::Request { protocol, problem } => write!(f, "{protocol}: {problem}"),
            Self::NotOurs { protocol, host: Some(host) } => {
                write!(f, "{protocol}: asked for `{host}`, a host that no account is for")
            }
            Self::NotOurs { protocol, host: None } => {
                write!(f, "{protocol}: asked for a host that no account is for")
            }
            Self::Url { protocol, part, why } => {
                write!(f, "{protocol}: {part} {why}, and gets no token")
            }
            Self::Unbound { server, host: _ } => write!(
                f,
                "docker: the configuration names this helper for `{}`, a host that no account is for",
                Escaped(server)
            ),
            Self::EmptyRequest { protocol } => write!(f, "{protocol}: the request is empty"),
            Self::Command { program, why } => {
                write!(f, "cannot run {}: {why}", shown::command(program))
            }
            Self::NotForCmd { defect } => write!(f, "cmd.exe cannot take the token: it {defect}"),
            Self::Output(why) => write!(f, "cannot write the answer to standard output: {why}"),
            Self::HostUnnamed { tool } => write!(f, "no host is named for {tool}"),
            Self::Unreadable { path, why } => {
                write!(f, "{} cannot be read: {why}, and is left as it is", shown::path(path))
            }
            Self::Unparsable { path, defect } => {
                write!(f, "{} {}, and is left as it is", shown::path(path), Escaped(defect))
            }
            Self::Taken { path, problem } => {
                write!(f, "{} {}", shown::path(path), Escaped(problem))
            }
            Self::HostBound { host, account, named, path: _ } => {
                write!(f, "`{host}` is bound to the account `{account}`, not to `{named}`")
            }
            Self::MachineAccount { name, path, host: _ } => write!(
                f,
                "the account `{name}` is the whole machine's, from {}, and an entry of your own \
                 would replace it",
                shown::path(path)
            ),
            Self::NotKept { flag, fix: _ } => {
                write!(f, "`{flag}` is not written into a tool's configuration")
            }
            Self::SetupLocked { path } => {
                write!(f, "another `astra-credential setup` holds {}", shown::path(path))
            }
            Self::ForeignHome { home, owner } => {
                write!(f, "{} belongs to another user (uid {owner}), not to root", shown::path(home))
            }
            Self::ToolNotRun { command, why } => write!(f, "`{}` failed: {why}", Escaped(command)),
            Self::ToolFailed { command, message } => {
                write!(f, "`{}` failed: {message}", Escaped(command))
            }
            Self::ProgramUnknown { why } => {
                write!(f, "the path of this program is not known: {why}")
            }
            Self::Unwritable { path } => write!(
                f,
                "the path `{}` cannot be written into a tool's configuration",
                Escaped(&path.to_string_lossy())
            ),
            Self::NotWritten { path, why } => write!(f, "cannot write {}: {why}", shown::path(path)),
            Self::Busy { path } => write!(
                f,
                "cannot write {}: another program changes it again and again",
                shown::path(path)
            ),
            Self::AccountKept { path, fix: _ } => {
                write!(f, "{} is not the file of the same account, and is kept", shown::path(path))
            }
        }
    }
}

/// The cause is also part of the message.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AccountUnreadable { why, .. }
            | Self::Forget { why, .. }
            | Self::RequestUnreadable { why, .. }
            | Self::Unreadable { why, .. }
            | Self::Command { why, .. }
            | Self::NotWritten { why, .. }
            | Self::ToolNotRun { why, .. }
            | Self::ProgramUnknown { why }
            | Self::Output(why)
            | Self::Config { defect: Defect::Unreadable(why), .. } => Some(why),
            Self::Exchange { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl Error {
    /// The hint: the next step for the user.
    pub fn hint(&self) -> String {
        let named = |host: &Option<String>| {
            host.as_deref().map_or("HOST[:PORT]".to_owned(), shown::redacted)
        };
        let bind = |tool: &str, host: &Option<String>| {
            let host = named(host);
            format!(
                "if it takes tokens of Astra, run `astra-credential setup {tool} --host {host}`, or \
                 name it in `ASTRA_CREDENTIAL_HOSTS`"
            )
        };
        match self {
            Self::Usage { help, .. } => {
                format!("compare the command line, or the tool's configuration, with `{help}`")
            }
            Self::Setting { name, wanted, .. } => format!("set `{name}` to {wanted}"),
            Self::Config { defect, .. } => defect.hint(),
            Self::AccountUnknown { nearest: Some(nearest), .. } => format!("write `{nearest}`"),
            Self::AccountUnknown { name, source, .. } => match shown::value(name) {
                Some(name) => format!("run `astra-credential setup account --account {name}`"),
                None => format!(
                    "set `{source}` to the name of an account, such as `prod`; a secret belongs in the \
                     account file"
                ),
            },
            Self::Bound { path, .. } => format!(
                "leave the account out, or bind the host to the other account in {}",
                shown::path(path)
            ),
            Self::AccountUnnamed => {
                "name the file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`".to_owned()
            }
            Self::AccountInline => {
                "put the account into a file for this user alone and name that file, or name \
                 `/dev/stdin` and pipe it in"
                    .to_owned()
            }
            Self::AccountMissing { fix: Some(fix), .. } => format!(
                "run `{fix}` and paste the service account copied from Astra's dashboard, or name \
                 another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`"
            ),
            Self::AccountMissing { fix: None, .. } => {
                "name a file that exists, or leave `--service-account` and `ASTRA_SERVICE_ACCOUNT` \
                 out and run `astra-credential setup account`"
                    .to_owned()
            }
            Self::AccountUnreadable { .. } => {
                "make it a file that this user can read, or name another with `--service-account \
                 FILE` or `ASTRA_SERVICE_ACCOUNT`"
                    .to_owned()
            }
            Self::AccountExposed { fix, .. } => format!(
                "{fix}, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same"
            ),
            Self::AccountMalformed { defect, .. } => defect.fix.to_owned(),
            Self::AccountFolder { .. } => {
                "name the file in it with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`; a \
                 container engine makes an empty folder where a file to be mounted does not exist"
                    .to_owned()
            }
            Self::Exchange { error, account, padded: Some(field), .. } if error.is_rejection() => {
                format!(
                    "take the blanks or line ends off the ends of `{field}` in {}, unless they belong \
                     to it",
                    shown::path(account)
                )
            }
            Self::Exchange { error, account, store, .. } => {
                error.hint(&shown::path(account), store.as_deref())
            }
            Self::Refused { forget, .. } => format!(
                "check that the account has access there, and that the host takes this kind of \
                 login; `{forget}` makes the next call try at once"
            ),
            Self::Forget { dir, .. } => {
                format!("try again, or remove what is in {} by hand", shown::path(dir))
            }
            Self::RequestUnreadable { protocol, .. }
            | Self::Request { protocol, .. }
            | Self::EmptyRequest { protocol } => format!(
                "let the tool call this program itself; `astra-credential {protocol} --help` shows how"
            ),
            Self::Url { .. } => {
                "write it as `https://HOST[:PORT]/…` where the tool is configured".to_owned()
            }
            Self::NotOurs { protocol: "kubernetes", host } => format!(
                "if it takes tokens of Astra, run `astra-credential setup kubectl --host {}`, with the \
                 `--account NAME` of the kubeconfig's user if that has one",
                named(host)
            ),
            Self::NotOurs { protocol, host } => bind(protocol, host),
            Self::Unbound { host, .. } => bind("docker", host),
            Self::Command { .. } => {
                "check the command's name, its permissions and `PATH`".to_owned()
            }
            Self::NotForCmd { .. } => {
                "run `astra-credential exec -- COMMAND`, which needs no shell".to_owned()
            }
            Self::Output(_) => {
                "free space where the output goes, or keep the reader open".to_owned()
            }
            Self::HostUnnamed { .. } => {
                "name the host that takes tokens of Astra with `--host HOST[:PORT]`".to_owned()
            }
            Self::Unreadable { .. } | Self::Unparsable { .. } => {
                "correct it or move it away, and try again".to_owned()
            }
            Self::Taken { .. } => {
                "`setup` replaces only its own entries: remove this one by hand, and try again"
                    .to_owned()
            }
            Self::HostBound { host, account, path, .. } => format!(
                "name `--account {account}`, or take `{host}` out of its hosts in {} first",
                shown::path(path)
            ),
            Self::MachineAccount { name, host, path } => {
                format!("have `{host}` added to the hosts of `{name}` in {}", shown::path(path))
            }
            Self::NotKept { fix, .. } => fix.clone(),
            Self::SetupLocked { .. } => {
                "try again when it has ended, or give it longer with `--timeout SECONDS`".to_owned()
            }
            Self::ForeignHome { .. } => {
                "run it without `sudo`, or with `HOME` set to root's own home".to_owned()
            }
            Self::ToolNotRun { .. } | Self::ToolFailed { .. } => {
                "check that the tool is on `PATH`, and try the command by hand".to_owned()
            }
            Self::ProgramUnknown { .. } => {
                "run it where `/proc` is mounted, since the tools need this program's path"
                    .to_owned()
            }
            Self::Unwritable { .. } => {
                "move this program to a path in UTF-8 without control characters".to_owned()
            }
            Self::NotWritten { .. } => {
                "check its permissions, those of its folder and the room on its disk, and try again"
                    .to_owned()
            }
            Self::Busy { .. } => "close the program that changes it, and try again".to_owned(),
            Self::AccountKept { fix, .. } => format!("move it away first: `{fix}`"),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Forget { .. }
            | Self::RequestUnreadable { .. }
            | Self::Request { .. }
            | Self::EmptyRequest { .. }
            | Self::NotOurs { .. }
            | Self::Url { .. }
            | Self::Unbound { .. }
            | Self::Unreadable { .. }
            | Self::Unparsable { .. }
            | Self::Taken { .. }
            | Self::SetupLocked { .. }
            | Self::ForeignHome { .. }
            | Self::ToolNotRun { .. }
            | Self::ToolFailed { .. }
            | Self::ProgramUnknown { .. }
            | Self::NotWritten { .. }
            | Self::Busy { .. }
            | Self::NotForCmd { .. }
            | Self::Output(_) => 1,
            Self::Usage { .. }
            | Self::Setting { .. }
            | Self::HostBound { .. }
            | Self::MachineAccount { .. }
            | Self::NotKept { .. }
            | Self::Unwritable { .. }
            | Self::Config { .. }
            | Self::AccountUnknown { .. }
            | Self::Bound { .. }
            | Self::HostUnnamed { .. } => 2,
            // The exit codes of a shell.
            Self::Command { why, .. } if why.kind() == io::ErrorKind::NotFound => 127,
            Self::Command { .. } => 126,
            Self::AccountUnnamed
            | Self::AccountInline
            | Self::AccountMissing { .. }
            | Self::AccountUnreadable { .. }
            | Self::AccountExposed { .. }
            | Self::AccountMalformed { .. }
            | Self::AccountFolder { .. }
            | Self::AccountKept { .. } => 3,
            Self::Exchange { error, .. } => error.exit_code(),
            Self::Refused { .. } => 4,
        }
    }
}

/// Describes an error in a JSON text by its position. serde's own message may quote the text.
pub fn json_defect(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "not of this form" } else { "not JSON" };
    format!("{what} at line {}, column {}", error.line(), error.column())
}
