//! Removes what dead processes and unused accounts have left in the folder.
//!
//! Each exchange does a bounded part of the work, from a random place on, so that every file has its
//! turn however many there are.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::file::{self, Kind};
use super::queue;
use crate::seal;
use crate::timestamp::Timestamp;

/// Seconds after which no living process still writes a temporary file.
pub const STALE_TEMPORARY: i64 = 60 * 60;

/// Seconds after which the other files are taken for those of an account that is no longer used.
const STALE: i64 = 30 * 24 * 60 * 60;

/// How long one exchange sweeps.
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

/// Whether the file was last written more than `seconds` ago.
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
        // On a file system that cannot lock, the age has to do.
        let is_free = queue::try_lock(&opened).unwrap_or(true) && queue::is_at(&opened, lock);
        if is_free && is_older(path, STALE) {
            file::remove(path)?;
            // Whoever waits for the lock notices that its file is gone.
            file::remove(lock)?;
        }
        Ok(())
    };
    let _ = removed();
}
