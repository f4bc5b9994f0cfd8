//! Removes the files of dead processes and unused accounts from the folder.
//!
//! After each exchange, a bounded part of the files is examined, from a random one on, so that every file is
//! examined at some time.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::file::{self, Kind};
use super::queue;
use crate::seal;
use crate::timestamp::Timestamp;

/// The age of a stale temporary file, in seconds. No process writes one for so long.
pub const STALE_TEMPORARY: i64 = 60 * 60;

/// The age of a stale entry, lock or failure, in seconds. Its account is no longer used.
const STALE: i64 = 30 * 24 * 60 * 60;

/// The time for one sweep.
const AT_MOST: Duration = Duration::from_millis(50);

/// Removes old files from `dir`, but not the entry of `own`.
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
    let end = Instant::now() + AT_MOST;
    for name in names {
        let Some((identity, kind)) = file::parse(&name) else {
            continue;
        };
        let path = dir.join(&name);
        match kind {
            Kind::Entry if identity == own => {}
            Kind::Entry if is_older(&path, STALE) => {
                let lock = queue::path(dir, identity, 1);
                remove_locked(&path, &lock);
            }
            Kind::Lock if is_older(&path, STALE) => remove_locked(&path, &path),
            Kind::Failure if is_older(&path, STALE) => drop(file::remove(&path)),
            Kind::Claim | Kind::Temporary if is_older(&path, STALE_TEMPORARY) => {
                drop(fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)));
            }
            _ => {}
        }
        if Instant::now() >= end {
            break;
        }
    }
}

/// True if the file was last written more than `seconds` ago.
pub fn is_older(path: &Path, seconds: i64) -> bool {
    let age = || {
        let changed_at = Timestamp::of_change(&fs::symlink_metadata(path).ok()?)?;
        Some(Timestamp::now().since(changed_at))
    };
    age().is_some_and(|age| age > seconds)
}

/// Removes a file while no exchange is under way that might write it.
fn remove_locked(path: &Path, lock: &Path) {
    let removed = || -> io::Result<()> {
        let opened = file::open_to_lock(lock)?;
        // On a file system that cannot lock, only the age counts.
        let is_free = queue::try_lock(&opened).unwrap_or(true) && queue::is_at(&opened, lock);
        if is_free && is_older(path, STALE) {
            file::remove(path)?;
            // A process that waits for the lock notices that the file was removed.
            file::remove(lock)?;
        }
        Ok(())
    };
    let _ = removed();
}
