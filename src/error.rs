//! The catalogue of errors: the message, the hint and the exit code of each.
//!
//! Message, hint and exit code are exhaustive matches, and one snapshot shows them all for review. Style:
//! lower case, no full stop, backticks around literals; a hint is an imperative that names the exact
//! command, file or variable.

mod account;
#[cfg(test)]
mod catalogue;
mod config;
mod exchange;
mod setup;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use self::account::{AccountError, Malformed};
pub use self::config::{Defect, Position};
pub use self::exchange::{ExchangeError, ExchangeErrorKind};
pub use self::setup::SetupError;
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

/// The message.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { problem, help: _ } => {
                write!(f, "the command line cannot be used: {problem}")
            }
            Self::Setting { name, value, problem, wanted: _ } => match shown::value(value) {
                Some(value) => write!(f, "`{name}` is `{value}`, which {problem}"),
                None => write!(f, "`{name}` has a value that {problem} {NOT_SHOWN}"),
            },
            Self::Config { path, at, defect } => {
                write!(f, "the configuration file {} {defect}", shown::path(path))?;
                at.map_or(Ok(()), |Position { line, column }| {
                    write!(f, " at line {line}, column {column}")
                })
            }
            Self::AccountUnknown { name, source, nearest: _ } => {
                write!(f, "there is no account {}, which `{source}` names", shown::account(name))
            }
            Self::Bound { host, owner, named, path: _ } => {
                let owner = shown::account(owner);
                write!(
                    f,
                    "the host `{host}` is bound to the account {owner} and gets no token of {named}"
                )
            }
            Self::Exchange { error, remembered, account: _, padded: _, store: _ } => {
                error.fmt(f)?;
                match remembered {
                    Some(Remembered { ago, wait }) => {
                        write!(f, " ({ago} s ago; not asked again for another {wait} s)")
                    }
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
            Self::NotOurs { protocol, host } => {
                write!(f, "{protocol}: no account is configured for the host")?;
                host.as_deref().map_or(Ok(()), |host| write!(f, " {}", shown::quoted(host)))
            }
            Self::Url { protocol, part, why } => {
                write!(f, "{protocol}: {part} {why}, and gets no token")
            }
            Self::Unbound { server, host } => write!(
                f,
                "docker: the configuration names this helper for {}, and no account is configured for \
                 that host",
                shown::quoted(
                    shown::value(server).as_deref().or(host.as_deref()).unwrap_or(server)
                )
            ),
            Self::EmptyRequest { protocol } => write!(f, "{protocol}: the request is empty"),
            Self::Command { program, why } => {
                write!(f, "cannot run {}: {why}", shown::command(program))
            }
            Self::NotForCmd { defect } => write!(f, "cmd.exe cannot take the token: it {defect}"),
            Self::Output(why) => write!(f, "cannot write the answer to standard output: {why}"),
            Self::Account(error) => error.fmt(f),
            Self::Setup(error) => error.fmt(f),
        }
    }
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
            Self::Account(error) => error.source(),
            Self::Setup(error) => error.source(),
            _ => None,
        }
    }
}

impl Error {
    /// The hint: the next step for the user.
    pub fn hint(&self) -> String {
        let named = |host: &Option<String>| {
            host.as_deref().and_then(shown::value).unwrap_or_else(|| "HOST[:PORT]".to_owned())
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
            Self::AccountUnknown { name, source, .. } => match shown::name(name) {
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
            Self::Account(error) => error.hint(),
            Self::Setup(error) => error.hint(),
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
            | Self::NotForCmd { .. }
            | Self::Output(_) => 1,
            Self::Usage { .. }
            | Self::Setting { .. }
            | Self::Config { .. }
            | Self::AccountUnknown { .. }
            | Self::Bound { .. } => 2,
            // The exit codes of a shell.
            Self::Command { why, .. } if why.kind() == io::ErrorKind::NotFound => 127,
            Self::Command { .. } => 126,
            Self::Account(_) => 3,
            Self::Exchange { error, .. } => error.exit_code(),
            Self::Refused { .. } => 4,
            Self::Setup(error) => error.exit_code(),
        }
    }
}

/// Describes an error in a JSON text by its position. serde's own message may quote the text.
pub fn json_defect(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "not of this form" } else { "not JSON" };
    format!("{what} at line {}, column {}", error.line(), error.column())
}
