//! The errors of account files.

use std::io;
use std::path::PathBuf;

use super::text::Text;
use crate::shown;

/// The errors of an account file, with exit code 3.
#[derive(Debug)]
pub enum AccountError {
    /// No account file is named, and without a home there is no default.
    Unnamed,
    /// The path of the account file names no file and is not certainly a path: it may be the account
    /// itself.
    Inline,
    /// The account file does not exist.
    Missing {
        /// The account file.
        path: PathBuf,
        /// The command that stores one there; `None` if the file was named and not the account.
        fix: Option<String>,
    },
    /// The account file cannot be read.
    Unreadable {
        /// The account file.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// The account file is a folder.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Other users may read or change the account file.
    Exposed {
        /// The account file.
        path: PathBuf,
        /// The permission, as a predicate: `may be read by everybody (mode 0644)`.
        exposure: String,
        /// The hint, as an imperative.
        fix: String,
    },
    /// The content of the account file is not an account.
    Malformed {
        /// The account file.
        path: PathBuf,
        /// The defect, without any part of the content.
        defect: Malformed,
    },
    /// The place for a new account file has the file of another account.
    Kept {
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

impl AccountError {
    /// The message, the hint and the exit code.
    pub fn text(&self) -> Text {
        match self {
            Self::Unnamed => Text::new(
                3,
                "no account file: none is named, and without an absolute `HOME` there is no default",
                "name the file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`",
            ),
            Self::Inline => Text::new(
                3,
                "no account file: the path given for it (not shown: it is not certainly a path) names \
                 no file, and may be the account itself",
                "put the account into a file for this user alone and name that file, or name \
                 `/dev/stdin` and pipe it in",
            ),
            Self::Missing { path, fix } => Text::new(
                3,
                format!("no account file: {} does not exist", shown::path(path)),
                match fix {
                    Some(fix) => format!(
                        "run `{fix}` and paste the service account copied from Astra's dashboard, or \
                         name another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`"
                    ),
                    None => "name a file that exists, or leave `--service-account` and \
                             `ASTRA_SERVICE_ACCOUNT` out and run `astra-credential setup account`"
                        .to_owned(),
                },
            ),
            Self::Unreadable { path, why } => Text::new(
                3,
                format!("cannot read the account file {}: {why}", shown::path(path)),
                "make it a file that this user can read, or name another with `--service-account \
                 FILE` or `ASTRA_SERVICE_ACCOUNT`",
            ),
            Self::Exposed { path, exposure, fix } => Text::new(
                3,
                format!("the account file {} {exposure}", shown::path(path)),
                format!(
                    "{fix}, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same"
                ),
            ),
            Self::Malformed { path, defect: Malformed { what, fix } } => {
                Text::new(3, format!("the account file {} {what}", shown::path(path)), *fix)
            }
            Self::Folder { path } => Text::new(
                3,
                format!("the account file {} is a folder", shown::path(path)),
                "name the file in it with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`; a \
                 container engine makes an empty folder where a file to be mounted does not exist",
            ),
            Self::Kept { path, fix } => Text::new(
                3,
                format!("{} is not the file of the same account, and is kept", shown::path(path)),
                format!("move it away first: `{fix}`"),
            ),
        }
    }
}
