//! The last failure. It is stored for `status`, because many tools do not show a helper's standard error.
//!
//! An account's last failure is a file next to its entry, under the same seal. The failure of a call that has
//! not read an account is `last.failure`, in clear text: there is no key without an account. The messages are
//! those of the catalogue in [`crate::error`] and contain no secret.
//!
//! Storing a failure takes no lock, and errors are ignored.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, UNNAMED};
use crate::error::Error;
use crate::seal::Seal;
use crate::timestamp::Timestamp;

/// The last failure of a call.
#[derive(Debug, Deserialize, Serialize)]
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

    /// Stores it in `dir`, for no account.
    pub fn store(&self, dir: &Path) {
        if let Ok(json) = serde_json::to_vec(self) {
            let _ = replace(dir, UNNAMED, &json);
        }
    }

    /// Reads the last failure in `dir` without an account.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&content(&path(dir, UNNAMED))?).ok()
    }

    /// Removes the last failure in `dir` without an account.
    pub fn remove(dir: &Path) {
        remove_of(dir, UNNAMED);
    }

    /// Stores it in `dir` for the account of `seal`.
    pub fn store_under(&self, seal: &Seal, dir: &Path) {
        let json = serde_json::to_vec(self).ok();
        if let Some(sealed) = json.and_then(|json| seal.seal(json)) {
            let _ = replace(dir, &seal.name(), &sealed);
        }
    }

    /// Reads the last failure in `dir` of the account of `seal`.
    pub fn read_under(seal: &Seal, dir: &Path) -> Option<Self> {
        let mut sealed = content(&path(dir, &seal.name()))?;
        serde_json::from_slice(seal.open(&mut sealed)?).ok()
    }

    /// Removes the last failure in `dir` of the account of `seal`.
    pub fn remove_under(seal: &Seal, dir: &Path) {
        remove_of(dir, &seal.name());
    }
}

/// The file of the failure of `identity`.
fn path(dir: &Path, identity: &str) -> PathBuf {
    dir.join(format!("{identity}.failure"))
}

fn remove_of(dir: &Path, identity: &str) {
    if file::check_owner(dir).is_ok() {
        let _ = fs::remove_file(path(dir, identity));
    }
}

/// Reads a failure; `None` if it is missing, or is not a private file of this user.
fn content(path: &Path) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let mut file = file::open_to_read(path).ok()?;
    let length = file::trusted_length(&file, path, LARGEST).ok()??;
    file::read_exactly(&mut file, length).ok()
}

/// Replaces the failure of `identity`. A folder of that name is renamed first.
fn replace(dir: &Path, identity: &str, content: &[u8]) -> io::Result<()> {
    let prefix = format!("{identity}.failure");
    let temporary = file::temporary(dir, &prefix);
    let target = path(dir, identity);
    let written = file::create(&temporary).and_then(|mut created| {
        created.write_all(content)?;
        drop(created);
        fs::rename(&temporary, &target).or_else(|error| {
            if !fs::symlink_metadata(&target).is_ok_and(|found| found.is_dir()) {
                return Err(error);
            }
            fs::rename(&target, file::temporary(dir, &prefix))?;
            fs::rename(&temporary, &target)
        })
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
