//! The last failure, kept because many callers swallow standard error.
//!
//! An account's last failure lies beside its entry and under the same seal, so that a copy of the
//! cache still tells nothing. What fails before an account is known has neither name nor key: that is
//! kept in the clear, as `last.failure`. Messages are the catalogue's, which hold no secret.
//!
//! Keeping one is a courtesy: it takes no lock, and where it does not succeed nobody hears of it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Cache, make_private_dir, open_to_read, private_length, read_exactly, replace};
use crate::error::Error;
use crate::timestamp::Timestamp;

/// What a call told its caller, and when.
#[derive(Debug, Deserialize, Serialize)]
pub struct LastFailure {
    /// When.
    pub at: Timestamp,
    /// Which command was called.
    pub command: String,
    /// With which exit code it ended.
    pub exit_code: u8,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// In place of an account's name.
pub const UNNAMED: &str = "last";

const EXTENSION: &str = "failure";

impl LastFailure {
    /// The failure of a call of `command`.
    pub fn of(error: &Error, command: &str) -> Self {
        Self {
            at: Timestamp::now(),
            command: command.to_owned(),
            exit_code: error.exit_code(),
            message: error.to_string(),
            hint: error.hint(),
        }
    }

    /// Keeps it in `dir`, for no account.
    pub fn keep(&self, dir: &Path) {
        if let Ok(json) = serde_json::to_vec(self) {
            let _ = make_private_dir(dir).and_then(|()| replace(dir, UNNAMED, EXTENSION, &json));
        }
    }

    /// The last one kept in `dir` for no account.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&content(&dir.join(format!("{UNNAMED}.{EXTENSION}")))?).ok()
    }

    /// Removes it.
    pub fn remove(dir: &Path) {
        let _ = fs::remove_file(dir.join(format!("{UNNAMED}.{EXTENSION}")));
    }
}

impl Cache {
    /// Keeps the last failure of this identity.
    pub fn keep_failure(&self, failure: &LastFailure) {
        let Some(place) = &self.place else {
            return;
        };
        let json = serde_json::to_vec(failure).ok();
        if let Some(sealed) = json.and_then(|json| place.seal.seal(json)) {
            let _ = make_private_dir(&place.dir)
                .and_then(|()| replace(&place.dir, &place.name, EXTENSION, &sealed));
        }
    }

    /// The last failure of this identity.
    pub fn last_failure(&self) -> Option<LastFailure> {
        let place = self.place.as_ref()?;
        let mut sealed = content(&place.file(EXTENSION))?;
        serde_json::from_slice(place.seal.open(&mut sealed)?).ok()
    }

    /// Removes it.
    pub fn remove_failure(&self) {
        if let Some(place) = &self.place {
            let _ = fs::remove_file(place.file(EXTENSION));
        }
    }
}

fn content(path: &Path) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let mut file = open_to_read(path).ok()?;
    let length = private_length(&file).ok()??;
    read_exactly(&mut file, length).ok()
}
