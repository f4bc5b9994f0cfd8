//! The errors of `setup`, and of the tools that it configures.

use std::io;
use std::path::PathBuf;

use super::text::Text;
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

impl SetupError {
    /// The message, the hint and the exit code.
    pub fn text(&self) -> Text {
        match self {
            Self::HostUnnamed { tool } => Text::new(
                2,
                format!("no host is named for {tool}"),
                "name the host that takes tokens of Astra with `--host HOST[:PORT]`",
            ),
            Self::Unreadable { path, why } => Text::new(
                1,
                format!("{} cannot be read: {why}, and is left as it is", shown::path(path)),
                UNUSABLE,
            ),
            Self::Unparsable { path, defect } => Text::new(
                1,
                format!("{} {}, and is left as it is", shown::path(path), Escaped(defect)),
                UNUSABLE,
            ),
            Self::Taken { path, problem } => Text::new(
                1,
                format!("{} {}", shown::path(path), Escaped(problem)),
                "`setup` replaces only its own entries: remove this one by hand, and try again",
            ),
            Self::HostBound { host, account, named, path } => Text::new(
                2,
                format!(
                    "`{host}` is bound to the account {}, not to {}",
                    shown::account(account),
                    shown::account(named)
                ),
                format!(
                    "name `--account {}`, or take `{host}` out of its hosts in {} first",
                    shown::name(account).as_deref().unwrap_or("NAME"),
                    shown::path(path)
                ),
            ),
            Self::MachineAccount { name, change, path } => Text::new(
                2,
                format!(
                    "the account `{name}` is the whole machine's, from {}, and an entry of your own \
                     would replace it",
                    shown::path(path)
                ),
                format!("have {change} in {}", shown::path(path)),
            ),
            Self::NotKept { flag, fix } => {
                Text::new(2, format!("`{flag}` is not written into a tool's configuration"), fix)
            }
            Self::Locked { path } => Text::new(
                1,
                format!("another `astra-credential setup` holds {}", shown::path(path)),
                "try again when it has ended, or give it longer with `--timeout SECONDS`",
            ),
            Self::ForeignHome { home, owner } => Text::new(
                1,
                format!("{} belongs to another user (uid {owner}), not to root", shown::path(home)),
                "run it without `sudo`, or with `HOME` set to root's own home",
            ),
            Self::ToolNotRun { command, why } => {
                Text::new(1, format!("`{}` failed: {why}", Escaped(command)), FAILED)
            }
            Self::ToolFailed { command, message } => {
                Text::new(1, format!("`{}` failed: {message}", Escaped(command)), FAILED)
            }
            Self::ProgramUnknown { why } => Text::new(
                1,
                format!("the path of this program is not known: {why}"),
                "run it where `/proc` is mounted, since the tools need this program's path",
            ),
            Self::Unwritable { path } => Text::new(
                2,
                format!(
                    "the path `{}` cannot be written into a tool's configuration",
                    Escaped(&path.to_string_lossy())
                ),
                "move this program to a path in UTF-8 without control characters",
            ),
            Self::NotWritten { path, why } => Text::new(
                1,
                format!("cannot write {}: {why}", shown::path(path)),
                "check its permissions, those of its folder and the room on its disk, and try again",
            ),
            Self::Busy { path } => Text::new(
                1,
                format!(
                    "cannot write {}: another program changes it again and again",
                    shown::path(path)
                ),
                "close the program that changes it, and try again",
            ),
        }
    }
}

/// The hint for a file that cannot be edited.
const UNUSABLE: &str = "correct it or move it away, and try again";

/// The hint for a failed command of a tool.
const FAILED: &str = "check that the tool is on `PATH`, and try the command by hand";
