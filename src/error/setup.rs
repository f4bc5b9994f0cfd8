//! The errors of `setup`, and of the tools that it configures.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::shown::{self, Escaped};

/// The errors of `setup`.
#[derive(Debug)]
pub enum SetupError {
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
        /// The change to make in that file, such as "`h` added to the hosts of `prod`".
        change: String,
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
    Locked {
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
}

/// The message.
impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
                let (account, named) = (shown::account(account), shown::account(named));
                write!(f, "`{host}` is bound to the account {account}, not to {named}")
            }
            Self::MachineAccount { name, path, change: _ } => write!(
                f,
                "the account `{name}` is the whole machine's, from {}, and an entry of your own \
                 would replace it",
                shown::path(path)
            ),
            Self::NotKept { flag, fix: _ } => {
                write!(f, "`{flag}` is not written into a tool's configuration")
            }
            Self::Locked { path } => {
                write!(f, "another `astra-credential setup` holds {}", shown::path(path))
            }
            Self::ForeignHome { home, owner } => {
                write!(
                    f,
                    "{} belongs to another user (uid {owner}), not to root",
                    shown::path(home)
                )
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
            Self::NotWritten { path, why } => {
                write!(f, "cannot write {}: {why}", shown::path(path))
            }
            Self::Busy { path } => write!(
                f,
                "cannot write {}: another program changes it again and again",
                shown::path(path)
            ),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { why, .. }
            | Self::ToolNotRun { why, .. }
            | Self::ProgramUnknown { why }
            | Self::NotWritten { why, .. } => Some(why),
            _ => None,
        }
    }
}

impl SetupError {
    /// The hint: the next step for the user.
    pub fn hint(&self) -> String {
        match self {
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
                "name `--account {}`, or take `{host}` out of its hosts in {} first",
                shown::name(account).as_deref().unwrap_or("NAME"),
                shown::path(path)
            ),
            Self::MachineAccount { change, path, name: _ } => {
                format!("have {change} in {}", shown::path(path))
            }
            Self::NotKept { fix, .. } => fix.clone(),
            Self::Locked { .. } => {
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
        }
    }
}

impl SetupError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. }
            | Self::Unparsable { .. }
            | Self::Taken { .. }
            | Self::Locked { .. }
            | Self::ForeignHome { .. }
            | Self::ToolNotRun { .. }
            | Self::ToolFailed { .. }
            | Self::ProgramUnknown { .. }
            | Self::NotWritten { .. }
            | Self::Busy { .. } => 1,
            Self::HostUnnamed { .. }
            | Self::HostBound { .. }
            | Self::MachineAccount { .. }
            | Self::NotKept { .. }
            | Self::Unwritable { .. } => 2,
        }
    }
}
