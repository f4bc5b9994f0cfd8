//! The lock that keeps two `setup` processes from running at the same time. It is on a file in the
//! configuration folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::file::{make_folders, missing_folders, not_written, private};
use crate::cache;
use crate::error::{Error, SetupError};
use crate::message;

/// The interval of attempts to take the lock.
const INTERVAL: Duration = Duration::from_millis(20);

/// The lock. Its file is removed when the lock is dropped.
pub struct Lock {
    path: PathBuf,
    /// Holds the lock, unless the file system cannot lock.
    _file: fs::File,
    /// Folders that are removed after the file if they are empty, outermost first.
    pub folders: Vec<PathBuf>,
}

impl Lock {
    /// Waits for the lock until `deadline`.
    pub fn take(folder: &Path, deadline: Instant) -> Result<Self, Error> {
        let path = folder.join("setup.lock");
        let mut is_told = false;
        let mut folders = Vec::new();
        loop {
            for made in missing_folders(&path) {
                if !folders.contains(&made) {
                    folders.push(made);
                }
            }
            let opened = make_folders(&path).and_then(|()| private().create(true).open(&path));
            match opened.map(|file| (cache::try_lock(&file), file)) {
                Ok((Ok(false), _)) => {
                    if !is_told {
                        log::info!("waiting for another `astra-credential setup`");
                    }
                    is_told = true;
                }
                // Another process has removed the file in between.
                Ok((Ok(true), file)) if !cache::is_at(&file, &path) => {}
                // On a file system that cannot lock, setup continues without the lock.
                Ok((_, file)) => {
                    if is_told {
                        message::wipe();
                    }
                    return Ok(Self { path, _file: file, folders });
                }
                // Another process has ended and removed the empty folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(not_written(&path, error)),
            }
            if Instant::now() >= deadline {
                message::wipe();
                return Err(SetupError::Locked { path }.into());
            }
            thread::sleep(INTERVAL);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}
