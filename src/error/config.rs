//! The defects of a configuration file.

use std::fmt;
use std::io;

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
                write!(f, "has a value of the wrong type for {key}")
            }
            Self::Value { key, problem, wanted: _ } => {
                write!(f, "has a value for `{key}` that {problem}")
            }
            Self::Name { problem } => write!(f, "has an account whose name {problem}"),
            Self::TooManyHosts { most } => write!(f, "binds more than {most} hosts"),
            Self::HostTwice { host, accounts: [one, other] } => {
                write!(f, "binds the host `{host}` to the accounts {one} and {other}")
            }
        }
    }
}

impl Defect {
    /// The hint.
    pub fn hint(&self) -> String {
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
