//! The catalogue of errors: the message, the hint and the exit code of each.
//!
//! Message, hint and exit code are exhaustive matches, and one snapshot shows them all for review. Style:
//! lower case, no full stop, backticks around literals; a hint is an imperative that names the exact
//! command, file or variable.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// A file that `setup` would edit cannot be parsed.
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
    /// The system does not tell where this program's file is.
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
    /// The place for a new account file has the file of another account.
    AccountKept {
        /// The account file.
        path: PathBuf,
        /// The command that moves it away.
        fix: String,
    },
}

/// The defects of a configuration file. None holds a value from the file, since one may be a secret.
#[derive(Debug)]
pub enum Defect {
    /// The named file does not exist.
    Missing,
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is a folder, a pipe or a device.
    NotRegular,
    /// Other users may change it.
    Exposed {
        /// The permission, as a predicate: `may be changed by everybody (mode 0666)`.
        exposure: String,
        /// The hint, as an imperative.
        fix: String,
    },
    /// It is larger than any configuration.
    TooLarge,
    /// It is not UTF-8.
    NotText,
    /// It is empty.
    Empty,
    /// It does not follow the grammar of JSON with comments.
    NotJson,
    /// It is JSON, but not an object.
    NotObject,
    /// It has an unknown key.
    UnknownKey {
        /// The key, if it is safe to show.
        key: Option<String>,
        /// The key that is most likely meant.
        nearest: Option<&'static str>,
        /// The keys that are known there.
        known: &'static [&'static str],
    },
    /// An object has a key twice.
    KeyTwice {
        /// The key, if it is safe to show.
        key: Option<String>,
    },
    /// A value has the wrong type.
    WrongType {
        /// Its key.
        key: String,
        /// The right type.
        wanted: &'static str,
    },
    /// A value has the right type and cannot be used.
    Value {
        /// Its key.
        key: &'static str,
        /// The defect, as a predicate.
        problem: &'static str,
        /// A description of the right value.
        wanted: &'static str,
    },
    /// An account's name cannot be used.
    Name {
        /// The defect, as a predicate.
        problem: &'static str,
    },
    /// More hosts are bound than a file may bind.
    TooManyHosts {
        /// The most that a file may bind.
        most: usize,
    },
    /// One host is bound to two accounts.
    HostTwice {
        /// The host.
        host: String,
        /// The two accounts.
        accounts: [String; 2],
    },
}

/// A position in a text, counted from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset`.
    pub fn in_text(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
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

/// The error of an exchange. It is stored in the cache entry and holds no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExchangeError {
    /// The kind of error.
    pub kind: ExchangeErrorKind,
    /// The API base.
    pub api: String,
    /// The server's or the system's message, safe to show. May be empty.
    pub detail: String,
    /// The proxy, as `host:port`.
    pub proxy: Option<String>,
    /// The server's `Retry-After`, in seconds.
    pub retry_after: Option<i64>,
}

/// The kinds of [`ExchangeError`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ExchangeErrorKind {
    /// 400, 401 or 403: Astra rejects this service account or this machine.
    Rejected(u16),
    /// 404 or 410: there is no such endpoint.
    Gone(u16),
    /// 3xx: redirects are never followed.
    Redirected(u16),
    /// 429 or 5xx: Astra cannot answer now.
    Unavailable(u16),
    /// Any other status.
    Unexpected(u16),
    /// An answer without a usable token.
    Unusable,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The certificates to trust cannot be read.
    Authorities,
    /// The proxy's URL is malformed.
    Proxy,
    /// No answer before the deadline.
    TimedOut,
    /// No connection.
    Unreachable,
    /// Another process was still doing the exchange at this process's deadline.
    Waited,
    /// The proxy requires a user name and a password, or rejected those in its URL.
    ProxyLogin,
    /// The server's certificate has expired, or is not valid yet.
    Expired,
    /// The server's certificate is for another host.
    WrongHost,
    /// The server's certificate is of a kind that is never accepted.
    UnfitCertificate,
    /// The server requires a client certificate.
    ClientCertificate,
    /// The server offers only versions or cipher suites of TLS that are too old.
    OldTls,
}

impl ExchangeError {
    /// True if Astra rejected the account. Any other error may pass, and does not delete a valid token.
    pub fn is_rejection(&self) -> bool {
        matches!(self.kind, ExchangeErrorKind::Rejected(_))
    }

    /// True if no request was sent, because of a setting or a lock on this machine.
    pub fn is_local(&self) -> bool {
        matches!(
            self.kind,
            ExchangeErrorKind::Authorities | ExchangeErrorKind::Proxy | ExchangeErrorKind::Waited
        )
    }
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

impl std::error::Error for ExchangeError {}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::NotRegular => f.write_str("is not a regular file"),
            Self::Exposed { exposure, fix: _ } => f.write_str(exposure),
            Self::TooLarge => f.write_str("is larger than 1 MiB"),
            Self::NotText => f.write_str("is not UTF-8"),
            Self::Empty => f.write_str("is empty"),
            Self::NotJson => f.write_str("is not JSON"),
            Self::NotObject => f.write_str("is not a JSON object"),
            Self::UnknownKey { key: Some(key), .. } => write!(f, "has the unknown key `{key}`"),
            Self::UnknownKey { key: None, .. } => f.write_str("has an unknown key"),
            Self::KeyTwice { key: Some(key) } => write!(f, "has the key `{key}` twice"),
            Self::KeyTwice { key: None } => f.write_str("has a key twice"),
            Self::WrongType { key, wanted: _ } => {
                write!(f, "has a value of the wrong type for `{key}`")
            }
            Self::Value { key, problem, wanted: _ } => {
                write!(f, "has a value for `{key}` that {problem}")
            }
            Self::Name { problem } => write!(f, "has an account whose name {problem}"),
            Self::TooManyHosts { most } => write!(f, "binds more than {most} hosts"),
            Self::HostTwice { host, accounts: [one, other] } => {
                write!(f, "binds the host `{host}` to the accounts `{one}` and `{other}`")
            }
        }
    }
}

impl Defect {
    fn hint(&self) -> String {
        match self {
            Self::Missing => {
                "name a file that exists with `--config FILE` or `ASTRA_CREDENTIAL_CONFIG`"
                    .to_owned()
            }
            Self::Unreadable(_) => "put a file in its place that this user may read".to_owned(),
            Self::NotRegular => "put a regular file in its place".to_owned(),
            Self::Exposed { exposure: _, fix } => fix.clone(),
            Self::TooLarge => "remove everything from it that is not configuration".to_owned(),
            Self::NotText => "save it as UTF-8".to_owned(),
            Self::Empty => "write `{}` into it, or remove it".to_owned(),
            Self::NotJson => {
                "correct it there: JSON, in which comments and trailing commas are allowed"
                    .to_owned()
            }
            Self::NotObject => "make it an object: `{ \"accounts\": { … } }`".to_owned(),
            Self::UnknownKey { key: Some(key), .. }
                if ["clientId", "clientName", "clientSecret"].contains(&key.as_str()) =>
            {
                "keep the account in a file of its own, with `astra-credential setup account`"
                    .to_owned()
            }
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("write `{nearest}`"),
            Self::UnknownKey { known, .. } => format!("use one of `{}`", known.join("`, `")),
            Self::KeyTwice { .. } => "remove one of the two".to_owned(),
            Self::WrongType { key: _, wanted } => format!("make it {wanted}"),
            Self::Value { wanted, .. } => format!("set it to {wanted}"),
            Self::Name { .. } => "rename it, and its account file `NAME.json` too".to_owned(),
            Self::TooManyHosts { most } => {
                format!("remove the hosts that no tool asks for; a file may bind {most}")
            }
            Self::HostTwice { .. } => "leave it with one of the two".to_owned(),
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, api, detail, proxy, retry_after: _ } = self;
        let api = shown::quoted(api);
        match kind {
            ExchangeErrorKind::Rejected(status) => {
                write!(f, "{api} rejected the service account ({status})")
            }
            ExchangeErrorKind::Gone(status) => {
                write!(f, "{api} has no `/v2/authenticateServiceAccount` ({status})")
            }
            ExchangeErrorKind::Redirected(status) => {
                write!(f, "{api} answered with a redirect ({status}), which is never followed")
            }
            ExchangeErrorKind::Unavailable(status) => {
                write!(f, "{api} cannot answer now ({status})")
            }
            ExchangeErrorKind::Unexpected(status) => {
                write!(f, "{api} gave an unexpected answer ({status})")
            }
            ExchangeErrorKind::Unusable => write!(f, "{api} answered without a usable token"),
            ExchangeErrorKind::Untrusted
            | ExchangeErrorKind::Expired
            | ExchangeErrorKind::WrongHost
            | ExchangeErrorKind::UnfitCertificate => {
                write!(f, "the certificate of {api} is not trusted")
            }
            ExchangeErrorKind::ClientCertificate | ExchangeErrorKind::OldTls => {
                write!(f, "TLS with {api} is not possible")
            }
            ExchangeErrorKind::Authorities => {
                write!(f, "the certificate authorities for {api} cannot be used")
            }
            ExchangeErrorKind::Proxy => write!(f, "{api} cannot be asked"),
            ExchangeErrorKind::TimedOut => write!(f, "{api} did not answer in time"),
            ExchangeErrorKind::Unreachable | ExchangeErrorKind::ProxyLogin => {
                write!(f, "{api} cannot be reached")
            }
            ExchangeErrorKind::Waited => write!(f, "another process is still waiting for {api}"),
        }?;
        if let Some(proxy) = proxy {
            write!(f, " through the proxy {}", shown::quoted(proxy))?;
        }
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
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
            Self::Request { protocol, .. } | Self::EmptyRequest { protocol } => format!(
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
            Self::Unparsable { .. } => "correct it or move it away, and try again".to_owned(),
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
            Self::AccountKept { fix, .. } => format!("move it away first: `{fix}`"),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Forget { .. }
            | Self::Request { .. }
            | Self::EmptyRequest { .. }
            | Self::NotOurs { .. }
            | Self::Url { .. }
            | Self::Unbound { .. }
            | Self::Unparsable { .. }
            | Self::Taken { .. }
            | Self::SetupLocked { .. }
            | Self::ForeignHome { .. }
            | Self::ToolNotRun { .. }
            | Self::ToolFailed { .. }
            | Self::ProgramUnknown { .. }
            | Self::NotWritten { .. }
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

impl ExchangeError {
    fn hint(&self, account: &str, store: Option<&str>) -> String {
        match (self.kind, &self.proxy) {
            (ExchangeErrorKind::Rejected(_), _) => {
                let store = match store {
                    Some(command) => format!("store the new one with `{command}`"),
                    None => "put the new one into that file".to_owned(),
                };
                format!(
                    "check in Astra's dashboard that the service account in {account} still exists, \
                     and that the organisation's IP access list admits this machine; if its secret \
                     was rotated, {store}"
                )
            }
            (ExchangeErrorKind::Gone(_), _) => format!(
                "check `--api-url` (the base without `/v2`); if it is right, create an application \
                 token in Astra's dashboard and put it into {account}"
            ),
            (ExchangeErrorKind::Redirected(_) | ExchangeErrorKind::Unexpected(_) | ExchangeErrorKind::Unusable, _) => {
                "check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or \
                 gateway answers in its place"
                    .to_owned()
            }
            (ExchangeErrorKind::Untrusted, _) => {
                "put the certificate of the authority that issued it into a PEM file and name that \
                 with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the \
                 authority is your company's"
                    .to_owned()
            }
            (ExchangeErrorKind::Expired, _) => {
                "have it renewed at the server or the gateway in between, unless this machine's \
                 clock is wrong"
                    .to_owned()
            }
            (ExchangeErrorKind::WrongHost, _) => {
                "check the host in `--api-url` or `ASTRA_API_URL`, and that nothing answers in its \
                 place; else have a certificate issued for it"
                    .to_owned()
            }
            (ExchangeErrorKind::UnfitCertificate, _) => {
                "have another one issued for the server or the gateway in between: X.509 version 3, \
                 the host among its subject alternative names, a key of ECDSA or of RSA with 2048 \
                 bits, signed with SHA-256, by an authority but not for one"
                    .to_owned()
            }
            (ExchangeErrorKind::ClientCertificate, _) => {
                "this program has none to show: have the server or the gateway in between ask for \
                 none, or name another API base with `--api-url`"
                    .to_owned()
            }
            (ExchangeErrorKind::OldTls, _) => {
                "have TLS 1.2 or 1.3 enabled at the server or the gateway in between, with cipher \
                 suites that use ECDHE and AES-GCM or ChaCha20"
                    .to_owned()
            }
            (ExchangeErrorKind::ProxyLogin, _) => format!(
                "write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as \
                 `http://USER:PASSWORD@HOST:PORT`, {ENCODED}"
            ),
            (ExchangeErrorKind::Authorities, _) => {
                "name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset \
                 that and `SSL_CERT_DIR` to trust the system's"
                    .to_owned()
            }
            (ExchangeErrorKind::Proxy, _) => format!(
                "set `HTTPS_PROXY` or `ALL_PROXY` to a URL such as \
                 `http://proxy.example.com:3128`; a user name and password stand before the host as \
                 `USER:PASSWORD@`, {ENCODED}"
            ),
            (ExchangeErrorKind::TimedOut | ExchangeErrorKind::Unreachable, Some(_)) => {
                "check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`"
                    .to_owned()
            }
            (ExchangeErrorKind::Unreachable, None) => {
                "check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`".to_owned()
            }
            (ExchangeErrorKind::TimedOut, None) => {
                "try again later, or give it longer with `--timeout SECONDS`".to_owned()
            }
            (ExchangeErrorKind::Unavailable(_), _) => "try again later".to_owned(),
            (ExchangeErrorKind::Waited, _) => {
                "try again, or give it longer with `--timeout SECONDS`".to_owned()
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self.kind {
            ExchangeErrorKind::Gone(_)
            | ExchangeErrorKind::Redirected(_)
            | ExchangeErrorKind::Unexpected(_)
            | ExchangeErrorKind::Unusable
            | ExchangeErrorKind::Authorities
            | ExchangeErrorKind::Proxy => 1,
            ExchangeErrorKind::Rejected(_) => 4,
            ExchangeErrorKind::Unavailable(_)
            | ExchangeErrorKind::Untrusted
            | ExchangeErrorKind::ProxyLogin
            | ExchangeErrorKind::Expired
            | ExchangeErrorKind::WrongHost
            | ExchangeErrorKind::UnfitCertificate
            | ExchangeErrorKind::ClientCertificate
            | ExchangeErrorKind::OldTls
            | ExchangeErrorKind::TimedOut
            | ExchangeErrorKind::Unreachable
            | ExchangeErrorKind::Waited => 5,
        }
    }
}

/// The encoding of the user name and password in a proxy's URL.
const ENCODED: &str =
    "with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`";

/// Describes an error in a JSON text by its position. serde's own message may quote the text.
pub fn json_defect(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "not of this form" } else { "not JSON" };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(kind: ExchangeErrorKind, detail: &str, proxy: Option<&str>) -> Error {
        Error::Exchange {
            error: ExchangeError {
                kind,
                api: "https://api.example.com".to_owned(),
                detail: detail.to_owned(),
                proxy: proxy.map(str::to_owned),
                retry_after: None,
            },
            remembered: None,
            account: "/account.json".into(),
            padded: None,
            store: Some("astra-credential setup account --account prod".to_owned()),
        }
    }

    fn config(defect: Defect) -> Error {
        Error::Config { path: "/config.json".into(), at: None, defect }
    }

    fn config_at(defect: Defect) -> Error {
        let at = Some(Position { line: 3, column: 5 });
        Error::Config { path: "/config.json".into(), at, defect }
    }

    /// Every message with its hint and its exit code, to be read as prose.
    #[test]
    fn the_catalogue() {
        let path = || PathBuf::from("/account.json");
        let mut padded = exchange(ExchangeErrorKind::Rejected(401), "no such client", None);
        if let Error::Exchange { padded, .. } = &mut padded {
            *padded = Some("clientSecret");
        }
        let mut remembered = exchange(ExchangeErrorKind::Rejected(401), "no such client", None);
        if let Error::Exchange { remembered, store, .. } = &mut remembered {
            *store = None;
            *remembered = Some(Remembered { ago: 12, wait: 18 });
        }
        let catalogue = [
            Error::Usage {
                problem: "unexpected argument found: `--hst`".to_owned(),
                help: "astra-credential git --help".to_owned(),
            },
            Error::Setting {
                name: "--timeout",
                value: "soon".to_owned(),
                problem: "is not a number".to_owned(),
                wanted: "seconds, such as `30`",
            },
            config(Defect::Missing),
            config(Defect::Unreadable(io::Error::other("permission denied"))),
            config(Defect::NotRegular),
            config(Defect::Exposed {
                exposure: "may be changed by everybody (mode 0666)".to_owned(),
                fix: "run `chmod go-w /config.json`".to_owned(),
            }),
            config(Defect::TooLarge),
            config(Defect::NotText),
            config(Defect::Empty),
            config_at(Defect::NotJson),
            config_at(Defect::NotObject),
            config_at(Defect::UnknownKey {
                key: Some("host".to_owned()),
                nearest: Some("hosts"),
                known: &["file", "hosts"],
            }),
            config_at(Defect::UnknownKey { key: None, nearest: None, known: &["file", "hosts"] }),
            config_at(Defect::UnknownKey {
                key: Some("clientSecret".to_owned()),
                nearest: None,
                known: &["file", "hosts"],
            }),
            config_at(Defect::KeyTwice { key: Some("hosts".to_owned()) }),
            config_at(Defect::KeyTwice { key: None }),
            config_at(Defect::WrongType {
                key: "hosts".to_owned(),
                wanted: "a list of strings: `[\"git.example.com\"]`",
            }),
            config_at(Defect::Value {
                key: "api_url",
                problem: "is not `https`",
                wanted: "the API's base without `/v2`",
            }),
            config_at(Defect::Name { problem: "is not 1 to 64 letters, digits, `-` and `_`" }),
            config_at(Defect::TooManyHosts { most: 1_000 }),
            config_at(Defect::HostTwice {
                host: "git.example.com".to_owned(),
                accounts: ["default".to_owned(), "prod".to_owned()],
            }),
            Error::AccountUnknown {
                name: "prd".to_owned(),
                source: "--account".to_owned(),
                nearest: Some("prod".to_owned()),
            },
            Error::AccountUnknown {
                name: "test".to_owned(),
                source: "ASTRA_CREDENTIAL_ACCOUNT".to_owned(),
                nearest: None,
            },
            Error::AccountUnknown {
                name: "7d81c5e2-40b9-4f6a-8c3e-91f0a2b7d64e".to_owned(),
                source: "--account".to_owned(),
                nearest: None,
            },
            Error::Bound {
                host: "git.example.com".to_owned(),
                owner: "prod".to_owned(),
                named: "the account `default`".to_owned(),
                path: "/config.json".into(),
            },
            Error::AccountUnnamed,
            Error::AccountInline,
            Error::AccountMissing {
                path: path(),
                fix: Some("astra-credential setup account --account prod".to_owned()),
            },
            Error::AccountMissing { path: path(), fix: None },
            Error::AccountUnreadable { path: path(), why: io::Error::other("permission denied") },
            Error::AccountExposed {
                path: path(),
                exposure: "may be read by everybody (mode 0644)".to_owned(),
                fix: "run `chmod 600 /account.json`".to_owned(),
            },
            Error::AccountMalformed {
                path: path(),
                defect: Malformed {
                    what: "has no `clientSecret`".to_owned(),
                    fix: "copy the service account from Astra's dashboard anew",
                },
            },
            Error::AccountFolder { path: path() },
            padded,
            exchange(ExchangeErrorKind::Rejected(401), "no such client", None),
            remembered,
            exchange(ExchangeErrorKind::Gone(404), "", None),
            exchange(ExchangeErrorKind::Redirected(302), "", None),
            exchange(ExchangeErrorKind::Unavailable(503), "down", None),
            exchange(ExchangeErrorKind::Unexpected(418), "", None),
            exchange(ExchangeErrorKind::Unusable, "", None),
            exchange(
                ExchangeErrorKind::Untrusted,
                "no trusted certificate authority has signed it; it was issued by `Corp CA`",
                None,
            ),
            exchange(
                ExchangeErrorKind::Expired,
                "it expired on 2021-01-01T00:00:00Z; it is for `api`, issued by `Corp CA`",
                None,
            ),
            exchange(ExchangeErrorKind::WrongHost, "it is for `other`, issued by `Corp CA`", None),
            exchange(
                ExchangeErrorKind::UnfitCertificate,
                "it names no host among its subject alternative names",
                None,
            ),
            exchange(ExchangeErrorKind::ClientCertificate, "it wants a client certificate", None),
            exchange(ExchangeErrorKind::OldTls, "it speaks only versions of TLS before 1.2", None),
            exchange(
                ExchangeErrorKind::Authorities,
                "`/ca.pem`: it holds no PEM certificate",
                None,
            ),
            exchange(
                ExchangeErrorKind::Proxy,
                "the proxy's URL has a port that is not a number",
                None,
            ),
            exchange(
                ExchangeErrorKind::ProxyLogin,
                "the proxy wants a user name and a password (407)",
                Some("proxy:3128"),
            ),
            exchange(ExchangeErrorKind::TimedOut, "", None),
            exchange(ExchangeErrorKind::TimedOut, "", Some("proxy:3128")),
            exchange(ExchangeErrorKind::Unreachable, "connection refused", None),
            exchange(ExchangeErrorKind::Unreachable, "connection refused", Some("proxy:3128")),
            exchange(ExchangeErrorKind::Waited, "", None),
            Error::Refused {
                host: "git.example.com:8443".to_owned(),
                wait: 29,
                forget: "astra-credential forget --account prod".to_owned(),
            },
            Error::Forget { dir: "/cache".into(), why: io::Error::other("permission denied") },
            Error::Request { protocol: "git", problem: "`host` is missing".to_owned() },
            Error::EmptyRequest { protocol: "docker" },
            Error::NotOurs { protocol: "bazel", host: Some("cache.example.com".to_owned()) },
            Error::NotOurs { protocol: "kubernetes", host: None },
            Error::Url {
                protocol: "bazel",
                part: "the URI",
                why: "names a user in front of the host",
            },
            Error::Unbound {
                server: "https://registry.example.com/v1/".to_owned(),
                host: Some("registry.example.com".to_owned()),
            },
            Error::Command {
                program: "tofu".to_owned(),
                why: io::Error::new(io::ErrorKind::NotFound, "no such file"),
            },
            Error::NotForCmd { defect: "has more than 8000 characters" },
            Error::Output(io::Error::other("no space left on device")),
            Error::HostUnnamed { tool: "git" },
            Error::Unparsable { path: "/config.json".into(), defect: "is not UTF-8".to_owned() },
            Error::Taken {
                path: "/config.json".into(),
                problem: "names `other` for `h`".to_owned(),
            },
            Error::HostBound {
                host: "git.example.com".to_owned(),
                account: "default".to_owned(),
                named: "prod".to_owned(),
                path: "/config.json".into(),
            },
            Error::MachineAccount {
                name: "prod".to_owned(),
                host: "git.example.com".to_owned(),
                path: "/etc/astra-credential/config.json".into(),
            },
            Error::NotKept {
                flag: "--min-valid",
                fix: "keep it with the account: `astra-credential setup account --min-valid …`"
                    .to_owned(),
            },
            Error::SetupLocked { path: "/setup.lock".into() },
            Error::ForeignHome { home: "/home/me".into(), owner: 1000 },
            Error::ToolNotRun {
                command: "git config --global --list".to_owned(),
                why: io::Error::other("no such file"),
            },
            Error::ToolFailed {
                command: "git config --global --list".to_owned(),
                message: "fatal: bad config line 1".to_owned(),
            },
            Error::ProgramUnknown { why: io::Error::other("no such file") },
            Error::Unwritable { path: "/usr/\u{7}/astra-credential".into() },
            Error::NotWritten {
                path: "/.bazelrc".into(),
                why: io::Error::other("permission denied"),
            },
            Error::AccountKept {
                path: path(),
                fix: "mv /account.json /account.json.old".to_owned(),
            },
        ];
        let lines = catalogue.map(|error| {
            format!("{error}\n  hint: {}\n  exit code {}", error.hint(), error.exit_code())
        });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        the command line cannot be used: unexpected argument found: `--hst`
          hint: compare the command line, or the tool's configuration, with `astra-credential git --help`
          exit code 2
        `--timeout` is `soon`, which is not a number
          hint: set `--timeout` to seconds, such as `30`
          exit code 2
        the configuration file `/config.json` does not exist
          hint: name a file that exists with `--config FILE` or `ASTRA_CREDENTIAL_CONFIG`
          exit code 2
        the configuration file `/config.json` cannot be read: permission denied
          hint: put a file in its place that this user may read
          exit code 2
        the configuration file `/config.json` is not a regular file
          hint: put a regular file in its place
          exit code 2
        the configuration file `/config.json` may be changed by everybody (mode 0666)
          hint: run `chmod go-w /config.json`
          exit code 2
        the configuration file `/config.json` is larger than 1 MiB
          hint: remove everything from it that is not configuration
          exit code 2
        the configuration file `/config.json` is not UTF-8
          hint: save it as UTF-8
          exit code 2
        the configuration file `/config.json` is empty
          hint: write `{}` into it, or remove it
          exit code 2
        the configuration file `/config.json` is not JSON at line 3, column 5
          hint: correct it there: JSON, in which comments and trailing commas are allowed
          exit code 2
        the configuration file `/config.json` is not a JSON object at line 3, column 5
          hint: make it an object: `{ "accounts": { … } }`
          exit code 2
        the configuration file `/config.json` has the unknown key `host` at line 3, column 5
          hint: write `hosts`
          exit code 2
        the configuration file `/config.json` has an unknown key at line 3, column 5
          hint: use one of `file`, `hosts`
          exit code 2
        the configuration file `/config.json` has the unknown key `clientSecret` at line 3, column 5
          hint: keep the account in a file of its own, with `astra-credential setup account`
          exit code 2
        the configuration file `/config.json` has the key `hosts` twice at line 3, column 5
          hint: remove one of the two
          exit code 2
        the configuration file `/config.json` has a key twice at line 3, column 5
          hint: remove one of the two
          exit code 2
        the configuration file `/config.json` has a value of the wrong type for `hosts` at line 3, column 5
          hint: make it a list of strings: `["git.example.com"]`
          exit code 2
        the configuration file `/config.json` has a value for `api_url` that is not `https` at line 3, column 5
          hint: set it to the API's base without `/v2`
          exit code 2
        the configuration file `/config.json` has an account whose name is not 1 to 64 letters, digits, `-` and `_` at line 3, column 5
          hint: rename it, and its account file `NAME.json` too
          exit code 2
        the configuration file `/config.json` binds more than 1000 hosts at line 3, column 5
          hint: remove the hosts that no tool asks for; a file may bind 1000
          exit code 2
        the configuration file `/config.json` binds the host `git.example.com` to the accounts `default` and `prod` at line 3, column 5
          hint: leave it with one of the two
          exit code 2
        there is no account `prd`, which `--account` names
          hint: write `prod`
          exit code 2
        there is no account `test`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          hint: run `astra-credential setup account --account test`
          exit code 2
        there is no account (not shown: it may hold a secret), which `--account` names
          hint: set `--account` to the name of an account, such as `prod`; a secret belongs in the account file
          exit code 2
        the host `git.example.com` is bound to the account `prod` and gets no token of the account `default`
          hint: leave the account out, or bind the host to the other account in `/config.json`
          exit code 2
        no account file: none is named, and without an absolute `HOME` there is no default
          hint: name the file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
          exit code 3
        no account file: the path given for it (not shown: it is not certainly a path) names no file, and may be the account itself
          hint: put the account into a file for this user alone and name that file, or name `/dev/stdin` and pipe it in
          exit code 3
        no account file: `/account.json` does not exist
          hint: run `astra-credential setup account --account prod` and paste the service account copied from Astra's dashboard, or name another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
          exit code 3
        no account file: `/account.json` does not exist
          hint: name a file that exists, or leave `--service-account` and `ASTRA_SERVICE_ACCOUNT` out and run `astra-credential setup account`
          exit code 3
        cannot read the account file `/account.json`: permission denied
          hint: make it a file that this user can read, or name another with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
          exit code 3
        the account file `/account.json` may be read by everybody (mode 0644)
          hint: run `chmod 600 /account.json`, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
          exit code 3
        the account file `/account.json` has no `clientSecret`
          hint: copy the service account from Astra's dashboard anew
          exit code 3
        the account file `/account.json` is a folder
          hint: name the file in it with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`; a container engine makes an empty folder where a file to be mounted does not exist
          exit code 3
        `https://api.example.com` rejected the service account (401): no such client
          hint: take the blanks or line ends off the ends of `clientSecret` in `/account.json`, unless they belong to it
          exit code 4
        `https://api.example.com` rejected the service account (401): no such client
          hint: check in Astra's dashboard that the service account in `/account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account --account prod`
          exit code 4
        `https://api.example.com` rejected the service account (401): no such client (12 s ago; not asked again for another 18 s)
          hint: check in Astra's dashboard that the service account in `/account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, put the new one into that file
          exit code 4
        `https://api.example.com` has no `/v2/authenticateServiceAccount` (404)
          hint: check `--api-url` (the base without `/v2`); if it is right, create an application token in Astra's dashboard and put it into `/account.json`
          exit code 1
        `https://api.example.com` answered with a redirect (302), which is never followed
          hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
          exit code 1
        `https://api.example.com` cannot answer now (503): down
          hint: try again later
          exit code 5
        `https://api.example.com` gave an unexpected answer (418)
          hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
          exit code 1
        `https://api.example.com` answered without a usable token
          hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
          exit code 1
        the certificate of `https://api.example.com` is not trusted: no trusted certificate authority has signed it; it was issued by `Corp CA`
          hint: put the certificate of the authority that issued it into a PEM file and name that with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the authority is your company's
          exit code 5
        the certificate of `https://api.example.com` is not trusted: it expired on 2021-01-01T00:00:00Z; it is for `api`, issued by `Corp CA`
          hint: have it renewed at the server or the gateway in between, unless this machine's clock is wrong
          exit code 5
        the certificate of `https://api.example.com` is not trusted: it is for `other`, issued by `Corp CA`
          hint: check the host in `--api-url` or `ASTRA_API_URL`, and that nothing answers in its place; else have a certificate issued for it
          exit code 5
        the certificate of `https://api.example.com` is not trusted: it names no host among its subject alternative names
          hint: have another one issued for the server or the gateway in between: X.509 version 3, the host among its subject alternative names, a key of ECDSA or of RSA with 2048 bits, signed with SHA-256, by an authority but not for one
          exit code 5
        TLS with `https://api.example.com` is not possible: it wants a client certificate
          hint: this program has none to show: have the server or the gateway in between ask for none, or name another API base with `--api-url`
          exit code 5
        TLS with `https://api.example.com` is not possible: it speaks only versions of TLS before 1.2
          hint: have TLS 1.2 or 1.3 enabled at the server or the gateway in between, with cipher suites that use ECDHE and AES-GCM or ChaCha20
          exit code 5
        the certificate authorities for `https://api.example.com` cannot be used: `/ca.pem`: it holds no PEM certificate
          hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
          exit code 1
        `https://api.example.com` cannot be asked: the proxy's URL has a port that is not a number
          hint: set `HTTPS_PROXY` or `ALL_PROXY` to a URL such as `http://proxy.example.com:3128`; a user name and password stand before the host as `USER:PASSWORD@`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
          exit code 1
        `https://api.example.com` cannot be reached through the proxy `proxy:3128`: the proxy wants a user name and a password (407)
          hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
          exit code 5
        `https://api.example.com` did not answer in time
          hint: try again later, or give it longer with `--timeout SECONDS`
          exit code 5
        `https://api.example.com` did not answer in time through the proxy `proxy:3128`
          hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
          exit code 5
        `https://api.example.com` cannot be reached: connection refused
          hint: check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`
          exit code 5
        `https://api.example.com` cannot be reached through the proxy `proxy:3128`: connection refused
          hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
          exit code 5
        another process is still waiting for `https://api.example.com`
          hint: try again, or give it longer with `--timeout SECONDS`
          exit code 5
        `git.example.com:8443` refuses the tokens that Astra issues (it gets no other for another 29 s)
          hint: check that the account has access there, and that the host takes this kind of login; `astra-credential forget --account prod` makes the next call try at once
          exit code 4
        cannot drop the token cached in `/cache`: permission denied
          hint: try again, or remove what is in `/cache` by hand
          exit code 1
        git: `host` is missing
          hint: let the tool call this program itself; `astra-credential git --help` shows how
          exit code 1
        docker: the request is empty
          hint: let the tool call this program itself; `astra-credential docker --help` shows how
          exit code 1
        bazel: asked for `cache.example.com`, a host that no account is for
          hint: if it takes tokens of Astra, run `astra-credential setup bazel --host cache.example.com`, or name it in `ASTRA_CREDENTIAL_HOSTS`
          exit code 1
        kubernetes: asked for a host that no account is for
          hint: if it takes tokens of Astra, run `astra-credential setup kubectl --host HOST[:PORT]`, with the `--account NAME` of the kubeconfig's user if that has one
          exit code 1
        bazel: the URI names a user in front of the host, and gets no token
          hint: write it as `https://HOST[:PORT]/…` where the tool is configured
          exit code 1
        docker: the configuration names this helper for `https://registry.example.com/v1/`, a host that no account is for
          hint: if it takes tokens of Astra, run `astra-credential setup docker --host registry.example.com`, or name it in `ASTRA_CREDENTIAL_HOSTS`
          exit code 1
        cannot run `tofu`: no such file
          hint: check the command's name, its permissions and `PATH`
          exit code 127
        cmd.exe cannot take the token: it has more than 8000 characters
          hint: run `astra-credential exec -- COMMAND`, which needs no shell
          exit code 1
        cannot write the answer to standard output: no space left on device
          hint: free space where the output goes, or keep the reader open
          exit code 1
        no host is named for git
          hint: name the host that takes tokens of Astra with `--host HOST[:PORT]`
          exit code 2
        `/config.json` is not UTF-8, and is left as it is
          hint: correct it or move it away, and try again
          exit code 1
        `/config.json` names `other` for `h`
          hint: `setup` replaces only its own entries: remove this one by hand, and try again
          exit code 1
        `git.example.com` is bound to the account `default`, not to `prod`
          hint: name `--account default`, or take `git.example.com` out of its hosts in `/config.json` first
          exit code 2
        the account `prod` is the whole machine's, from `/etc/astra-credential/config.json`, and an entry of your own would replace it
          hint: have `git.example.com` added to the hosts of `prod` in `/etc/astra-credential/config.json`
          exit code 2
        `--min-valid` is not written into a tool's configuration
          hint: keep it with the account: `astra-credential setup account --min-valid …`
          exit code 2
        another `astra-credential setup` holds `/setup.lock`
          hint: try again when it has ended, or give it longer with `--timeout SECONDS`
          exit code 1
        `/home/me` belongs to another user (uid 1000), not to root
          hint: run it without `sudo`, or with `HOME` set to root's own home
          exit code 1
        `git config --global --list` failed: no such file
          hint: check that the tool is on `PATH`, and try the command by hand
          exit code 1
        `git config --global --list` failed: fatal: bad config line 1
          hint: check that the tool is on `PATH`, and try the command by hand
          exit code 1
        the path of this program is not known: no such file
          hint: run it where `/proc` is mounted, since the tools need this program's path
          exit code 1
        the path `/usr/\u{7}/astra-credential` cannot be written into a tool's configuration
          hint: move this program to a path in UTF-8 without control characters
          exit code 2
        cannot write `/.bazelrc`: permission denied
          hint: check its permissions, those of its folder and the room on its disk, and try again
          exit code 1
        `/account.json` is not the file of the same account, and is kept
          hint: move it away first: `mv /account.json /account.json.old`
          exit code 3
        "#);
    }
}
