//! The errors of account files.

use std::fmt;
use std::io;
use std::path::PathBuf;

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

/// The message.
impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed => f.write_str(
                "no account file: none is named, and without an absolute `HOME` there is no default",
            ),
            Self::Inline => f.write_str(
                "no account file: the path given for it (not shown: it is not certainly a path) names \
                 no file, and may be the account itself",
            ),
            Self::Missing { path, fix: _ } => {
                write!(f, "no account file: {} does not exist", shown::path(path))
            }
            Self::Unreadable { path, why } => {
                write!(f, "cannot read the account file {}: {why}", shown::path(path))
            }
            Self::Exposed { path, exposure, fix: _ } => {
                write!(f, "the account file {} {exposure}", shown::path(path))
            }
            Self::Malformed { path, defect } => {
                write!(f, "the account file {} {}", shown::path(path), defect.what)
            }
            Self::Folder { path } => {
                write!(f, "the account file {} is a folder", shown::path(path))
            }
            Self::Kept { path, fix: _ } => {
                write!(f, "{} is not the file of the same account, and is kept", shown::path(path))
            }
        }
    }
}

impl std::error::Error for AccountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { why, .. } => Some(why),
            _ => None,
        }
    }
}

impl AccountError {
    /// The hint: the next step for the user.
    pub fn hint(&self) -> String {
        match self {
            Self::Unnamed => {
                "name the file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`".to_owned()
            }
            Self::Inline => {
                "put the account into a file for this user alone and name that file, or name \
                 `/dev/stdin` and pipe it in"
                    .to_owned()
            }
            Self::Missing { fix: Some(fix), .. } => format!(
                "run `{fix}` and paste the service account copied from Astra's dashboard, or name \
                 another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`"
            ),
            Self::Missing { fix: None, .. } => {
                "name a file that exists, or leave `--service-account` and `ASTRA_SERVICE_ACCOUNT` \
                 out and run `astra-credential setup account`"
                    .to_owned()
            }
            Self::Unreadable { .. } => {
                "make it a file that this user can read, or name another with `--service-account \
                 FILE` or `ASTRA_SERVICE_ACCOUNT`"
                    .to_owned()
            }
            Self::Exposed { fix, .. } => format!(
                "{fix}, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same"
            ),
            Self::Malformed { defect, .. } => defect.fix.to_owned(),
            Self::Folder { .. } => {
                "name the file in it with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`; a \
                 container engine makes an empty folder where a file to be mounted does not exist"
                    .to_owned()
            }
            Self::Kept { fix, .. } => format!("move it away first: `{fix}`"),
        }
    }
}
