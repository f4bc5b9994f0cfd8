//! The defects of a configuration file.

use std::io;

use super::text::Text;

/// The defects of a configuration file. None holds a value from the file, since one may be a secret.
#[derive(Debug)]
pub enum Defect {
    /// The named file does not exist.
    Missing,
    /// It is a link to a file that does not exist.
    DanglingLink,
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
        /// Its key, safe to show.
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
        /// The two accounts, safe to show.
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

impl Defect {
    /// The message, as a predicate, with the hint and the exit code.
    pub fn text(&self) -> Text {
        let text = |message: &str, hint: &str| Text::new(2, message, hint);
        match self {
            Self::Missing => text(
                "does not exist",
                "name a file that exists with `--config FILE` or `ASTRA_CREDENTIAL_CONFIG`",
            ),
            Self::DanglingLink => text(
                "is a link that leads nowhere",
                "restore the file to which it leads, or remove the link",
            ),
            Self::Unreadable(why) => text(
                &format!("cannot be read: {why}"),
                "put a file in its place that this user may read",
            ),
            Self::NotRegular => text("is not a regular file", "put a regular file in its place"),
            Self::Exposed { exposure, fix } => text(exposure, fix),
            Self::TooLarge => {
                text("is larger than 1 MiB", "remove everything from it that is not configuration")
            }
            Self::NotText => text("is not UTF-8", "save it as UTF-8"),
            Self::Empty => text("is empty", "write `{}` into it, or remove it"),
            Self::NotJson => text(
                "is not JSON",
                "correct it there: JSON, in which comments and trailing commas are allowed",
            ),
            Self::NotObject => {
                text("is not a JSON object", "make it an object: `{ \"accounts\": { … } }`")
            }
            Self::UnknownKey { key, nearest, known } => {
                const OF_ACCOUNT: [&str; 3] = ["clientId", "clientName", "clientSecret"];
                let hint = match (key.as_deref(), nearest) {
                    (Some(key), _) if OF_ACCOUNT.contains(&key) => {
                        "keep the account in a file of its own, with `astra-credential setup account`"
                            .to_owned()
                    }
                    (_, Some(nearest)) => format!("write `{nearest}`"),
                    (_, None) => format!("use one of `{}`", known.join("`, `")),
                };
                let key = key.as_ref().map(|key| format!("the unknown key `{key}`"));
                text(&format!("has {}", key.as_deref().unwrap_or("an unknown key")), &hint)
            }
            Self::KeyTwice { key } => {
                let key = key.as_ref().map_or("a key".to_owned(), |key| format!("the key `{key}`"));
                text(&format!("has {key} twice"), "remove one of the two")
            }
            Self::WrongType { key, wanted } => text(
                &format!("has a value of the wrong type for {key}"),
                &format!("make it {wanted}"),
            ),
            Self::Value { key, problem, wanted } => text(
                &format!("has a value for `{key}` that {problem}"),
                &format!("set it to {wanted}"),
            ),
            Self::Name { problem } => text(
                &format!("has an account whose name {problem}"),
                "rename it, and its account file `NAME.json` too",
            ),
            Self::TooManyHosts { most } => text(
                &format!("binds more than {most} hosts"),
                &format!("remove the hosts that no tool asks for; a file may bind {most}"),
            ),
            Self::HostTwice { host, accounts: [one, other] } => text(
                &format!("binds the host `{host}` to the accounts {one} and {other}"),
                "leave it with one of the two",
            ),
        }
    }
}
