//! The last failure. It is stored for `status`, because many tools do not show a helper's standard error.
//!
//! An account's last failure is a file next to its entry, under the same seal. The failure of a call that has
//! not read an account is `last.failure`, in clear text: there is no key without an account. The messages are
//! those of the catalogue in [`crate::error`] and contain no secret.
//!
//! Storing a failure takes no lock, and errors are ignored.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file::{self, UNNAMED};
use crate::error::Error;
use crate::seal::Seal;
use crate::timestamp::Timestamp;

/// The last failure of a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LastFailure {
    /// The time of the failure.
    pub at: Timestamp,
    /// The name of the command that failed.
    pub command: String,
    /// The exit code of the error. A call by Docker's protocol ends with 1 all the same.
    pub exit_code: u8,
    /// The error's message.
    pub message: String,
    /// The error's hint.
    pub hint: String,
}

/// The largest failure that is read, in bytes.
const LARGEST: u64 = 64 * 1024;

impl LastFailure {
    /// The failure of a call of `command`, with the current time.
    pub fn of(error: &Error, command: &str) -> Self {
        // The message of a cached failure also has times that are relative to the call.
        let message = match error {
            Error::Exchange { error, .. } => error.to_string(),
            error => error.to_string(),
        };
        Self {
            at: Timestamp::now(),
            command: command.to_owned(),
            exit_code: error.exit_code(),
            message,
            hint: error.hint(),
        }
    }

    /// Stores it in `dir`, for the account of `seal` or for no account.
    pub fn store(&self, dir: &Path, seal: Option<&Seal>) {
        let json = serde_json::to_vec(self).ok();
        let content = match seal {
            Some(seal) => json.and_then(|json| seal.seal(json)),
            None => json,
        };
        let Some(content) = content else { return };
        let name = name(seal);
        let temporary = file::temporary(dir, &name);
        let written = file::create(&temporary)
            .and_then(|mut file| file.write_all(&content))
            .and_then(|()| file::rename(&temporary, &dir.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
    }

    /// Reads the last failure in `dir` of the account of `seal`, or of no account.
    pub fn read(dir: &Path, seal: Option<&Seal>) -> Option<Self> {
        let mut content = file::read(&dir.join(name(seal)), LARGEST).ok()??;
        let json = match seal {
            Some(seal) => seal.open(&mut content)?,
            None => &mut content,
        };
        serde_json::from_slice(json).ok()
    }

    /// Removes the last failure in `dir` of the account of `seal`, or of no account.
    pub fn remove(dir: &Path, seal: Option<&Seal>) {
        if file::check_owner(dir).is_ok() {
            let _ = fs::remove_file(dir.join(name(seal)));
        }
    }
}

/// The name of the file.
fn name(seal: Option<&Seal>) -> String {
    format!("{}.failure", seal.map_or(UNNAMED.to_owned(), Seal::name))
}
