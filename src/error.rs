//! The catalogue of errors: the message, the hint and the exit code of each.
//!
//! They are in one arm of a match for each error, and one snapshot shows them all for review. Style: lower case,
//! no full stop, backticks around literals; a hint is an imperative that names the exact command, file or
//! variable.
//!
//! Imports, bottom up: `text` ← one file for each group of errors ← this file.

mod account;
#[cfg(test)]
mod catalogue;
mod config;
mod exchange;
mod setup;
mod text;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use self::account::{AccountError, Malformed};
pub use self::config::{Defect, Position};
pub use self::exchange::{ExchangeError, ExchangeErrorKind};
pub use self::setup::SetupError;
use self::text::Text;
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
        /// The account that was named, safe to show.
        named: String,
        /// The configuration file that binds it.
        path: PathBuf,
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
    /// There is no usable account.
    Account(AccountError),
    /// `setup` cannot do its work.
    Setup(SetupError),
}

/// The times of a cached failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remembered {
    /// Seconds since the exchange failed.
    pub ago: i64,
    /// Seconds until the next exchange.
    pub wait: i64,
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        Self::Account(error)
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

/// The cause is also part of the message.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Forget { why, .. }
            | Self::RequestUnreadable { why, .. }
            | Self::Command { why, .. }
            | Self::Output(why)
            | Self::Config { defect: Defect::Unreadable(why), .. } => Some(why),
            Self::Exchange { error, .. } => Some(error),
            Self::Account(AccountError::Unreadable { why, .. })
            | Self::Setup(
                SetupError::Unreadable { why, .. }
                | SetupError::ToolNotRun { why, .. }
                | SetupError::ProgramUnknown { why }
                | SetupError::NotWritten { why, .. },
            ) => Some(why),
            _ => None,
        }
    }
}

/// The message.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().message)
    }
}

impl Error {
    /// The hint: the next step for the user.
    pub fn hint(&self) -> String {
        self.text().hint
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.text().exit_code
    }

    /// The message, the hint and the exit code.
    fn text(&self) -> Text {
        match self {
            Self::Usage { problem, help } => Text::new(
                2,
                format!("the command line cannot be used: {problem}"),
                format!("compare the command line, or the tool's configuration, with `{help}`"),
            ),
            Self::Setting { name, value, problem, wanted } => {
                let message = match shown::value(value) {
                    Some(value) => format!("`{name}` is `{value}`, which {problem}"),
                    None => format!("`{name}` has a value that {problem} {NOT_SHOWN}"),
                };
                Text::new(2, message, format!("set `{name}` to {wanted}"))
            }
            Self::Config { path, at, defect } => {
                let text = defect.text();
                let at = at.map(|at| format!(" at line {}, column {}", at.line, at.column));
                let (path, at) = (shown::path(path), at.unwrap_or_default());
                let message = format!("the configuration file {path} {}{at}", text.message);
                Text { message, ..text }
            }
            Self::AccountUnknown { name, source, nearest } => Text::new(
                2,
                format!("there is no account {}, which `{source}` names", shown::account(name)),
                match (nearest, shown::name(name)) {
                    (Some(nearest), _) => format!("write `{nearest}`"),
                    (None, Some(name)) => {
                        format!("run `astra-credential setup account --account {name}`")
                    }
                    (None, None) => format!(
                        "set `{source}` to the name of an account, such as `prod`; a secret belongs in \
                         the account file"
                    ),
                },
            ),
            Self::Bound { host, owner, named, path } => Text::new(
                2,
                format!(
                    "the host `{host}` is bound to the account {} and gets no token of {named}",
                    shown::account(owner)
                ),
                format!(
                    "leave the account out, or bind the host to the other account in {}",
                    shown::path(path)
                ),
            ),
            Self::Exchange { error, remembered, account, padded, store } => {
                let account = shown::path(account);
                let (exit_code, hint) = error.advice(&account, store.as_deref());
                let hint = match padded {
                    Some(field) if error.is_rejection() => format!(
                        "take the blanks or line ends off the ends of `{field}` in {account}, unless \
                         they belong to it"
                    ),
                    _ => hint,
                };
                let times = remembered.map(|Remembered { ago, wait }| {
                    format!(" ({ago} s ago; not asked again for another {wait} s)")
                });
                Text::new(exit_code, format!("{error}{}", times.unwrap_or_default()), hint)
            }
            Self::Refused { host, wait, forget } => Text::new(
                4,
                format!(
                    "`{}` refuses the tokens that Astra issues (it gets no other for another {wait} s)",
                    Escaped(host)
                ),
                format!(
                    "check that the account has access there, and that the host takes this kind of \
                     login; `{forget}` makes the next call try at once"
                ),
            ),
            Self::Forget { dir, why } => Text::new(
                1,
                format!("cannot drop the token cached in {}: {why}", shown::path(dir)),
                format!("try again, or remove what is in {} by hand", shown::path(dir)),
            ),
            Self::RequestUnreadable { protocol, why } => {
                unusable_request(protocol, &format!("cannot read the request: {why}"))
            }
            Self::Request { protocol, problem } => unusable_request(protocol, problem),
            Self::EmptyRequest { protocol } => unusable_request(protocol, "the request is empty"),
            Self::NotOurs { protocol, host } => {
                let named = host.as_deref().map(|host| format!(" {}", shown::quoted(host)));
                let hint = match *protocol {
                    "kubernetes" => format!(
                        "if it takes tokens of Astra, run `astra-credential setup kubectl --host {}`, \
                         with the `--account NAME` of the kubeconfig's user if that has one",
                        host_for_setup(host)
                    ),
                    tool => bind(tool, host),
                };
                let host = named.unwrap_or_default();
                Text::new(
                    1,
                    format!("{protocol}: no account is configured for the host{host}"),
                    hint,
                )
            }
            Self::Url { protocol, part, why } => Text::new(
                1,
                format!("{protocol}: {part} {why}, and gets no token"),
                "write it as `https://HOST[:PORT]/…` where the tool is configured",
            ),
            Self::Unbound { server, host } => {
                let safe = shown::value(server);
                let server = shown::quoted(safe.as_deref().or(host.as_deref()).unwrap_or(server));
                Text::new(
                    1,
                    format!(
                        "docker: the configuration names this helper for {server}, and no account is \
                         configured for that host"
                    ),
                    bind("docker", host),
                )
            }
            Self::Command { program, why } => Text::new(
                // The exit codes of a shell.
                if why.kind() == io::ErrorKind::NotFound { 127 } else { 126 },
                format!("cannot run {}: {why}", shown::command(program)),
                "check the command's name, its permissions and `PATH`",
            ),
            Self::NotForCmd { defect } => Text::new(
                1,
                format!("cmd.exe cannot take the token: it {defect}"),
                "run `astra-credential exec -- COMMAND`, which needs no shell",
            ),
            Self::Output(why) => Text::new(
                1,
                format!("cannot write the answer to standard output: {why}"),
                "free space where the output goes, or keep the reader open",
            ),
            Self::Account(error) => error.text(),
            Self::Setup(error) => error.text(),
        }
    }
}

fn unusable_request(protocol: &str, problem: &str) -> Text {
    Text::new(
        1,
        format!("{protocol}: {problem}"),
        format!(
            "let the tool call this program itself; `astra-credential {protocol} --help` shows how"
        ),
    )
}

/// The hint to bind the host of a tool's request.
fn bind(tool: &str, host: &Option<String>) -> String {
    format!(
        "if it takes tokens of Astra, run `astra-credential setup {tool} --host {}`, or name it in \
         `ASTRA_CREDENTIAL_HOSTS`",
        host_for_setup(host)
    )
}

fn host_for_setup(host: &Option<String>) -> String {
    host.as_deref().and_then(shown::value).unwrap_or_else(|| "HOST[:PORT]".to_owned())
}

/// Describes an error in a JSON text by its position. serde's own message may quote the text.
pub fn json_defect(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "not of this form" } else { "not JSON" };
    format!("{what} at line {}, column {}", error.line(), error.column())
}
