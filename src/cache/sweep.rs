//! Removes the files of killed processes and unused accounts from the folder.
//!
//! A sweep follows each exchange and has a time limit. It begins at a random file, so that every file is
//! examined by some sweep.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::file::{self, Kind};
use super::queue;
use crate::seal;
use crate::timestamp::Timestamp;

/// The age from which a temporary file is stale, in seconds. No process needs one for so long.
pub const STALE_TEMPORARY: i64 = 60 * 60;

/// The age from which an entry, lock or failure is stale, in seconds. Its account is no longer used.
const STALE: i64 = 30 * 24 * 60 * 60;

/// The longest time of one sweep.
const LONGEST_SWEEP: Duration = Duration::from_millis(50);

/// Removes stale files from `dir`, except the entry of the identity `own`.
pub fn sweep(dir: &Path, own: &str) {
    let Ok(names) = file::names(dir) else {
        return;
    };
    let mut names: Vec<_> = names.map_while(Result::ok).collect();
    if names.is_empty() {
        return;
    }
    let start = seal::random() % names.len() as u64;
    names.rotate_left(usize::try_from(start).unwrap_or_default());
    let end = Instant::now() + LONGEST_SWEEP;
    for name in names {
        let Some((identity, kind)) = file::parse(&name) else {
            continue;
        };
        let path = dir.join(&name);
        let _ = match kind {
            Kind::Entry if identity == own => Ok(()),
            Kind::Entry if is_older(&path, STALE) => {
                remove_locked(&path, &queue::path(dir, identity, 1))
            }
            Kind::Lock if is_older(&path, STALE) => remove_locked(&path, &path),
            Kind::Failure if is_older(&path, STALE) => file::remove(&path),
            Kind::Claim | Kind::Temporary if is_older(&path, STALE_TEMPORARY) => {
                fs::remove_file(&path).or_else(|_| fs::remove_dir(&path))
            }
            _ => Ok(()),
        };
        if Instant::now() >= end {
            break;
        }
    }
}

/// True if the file was last written more than `seconds` ago.
pub fn is_older(path: &Path, seconds: i64) -> bool {
    let changed_at = fs::symlink_metadata(path).ok().as_ref().and_then(Timestamp::of_change);
    changed_at.is_some_and(|changed_at| Timestamp::now().since(changed_at) > seconds)
}

/// Removes a file and its lock file, if no other process holds the lock.
fn remove_locked(path: &Path, lock: &Path) -> io::Result<()> {
    let opened = file::open_to_lock(lock)?;
    // If the file system cannot lock, only the age is checked.
    let is_free = queue::try_lock(&opened).unwrap_or(true) && queue::is_at(&opened, lock);
    if is_free && is_older(path, STALE) {
        file::remove(path)?;
        // A process that waits for the lock checks if the file was removed.
        file::remove(lock)?;
    }
    Ok(())
}
