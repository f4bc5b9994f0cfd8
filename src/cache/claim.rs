//! Replaces an entry only if no other process has replaced it since it was read, without a lock and without
//! waiting.
//!
//! To change the entry `ID.entry`, a process
//!
//! 1. creates a temporary file `ID.RANDOM.tmp`, its *claim*, or renames another file to it;
//! 2. lists the folder and removes every other claim on this entry;
//! 3. reads the entry and computes the new entry;
//! 4. writes the new entry into its claim, and renames the claim to the entry.
//!
//! If the rename fails because the claim is missing, another process has claimed the entry. All steps are then
//! repeated.
//!
//! A rename that succeeds replaces exactly the entry that step 3 read. Proof: suppose that process A renames
//! its claim, and that process B renamed its own between step 3 and step 4 of A.
//! - If B created its claim after A, B listed the folder after A had created its claim. So B removed A's claim
//!   before B's rename, and A's rename fails.
//! - If B created its claim before A, A removed it before step 3. So B's rename was before step 3 of A.
//!
//! Both contradict the assumption.
//!
//! A process that is stopped or killed between two steps blocks no other process, because the next claim
//! removes its claim. This works without `flock`, on every file system with an atomic rename.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::file::{self, Kind};
use super::queue;

/// A claim on an entry. Dropping it removes the temporary file.
pub struct Claim {
    path: PathBuf,
    /// `None` after it has been published.
    file: Option<File>,
    entry: PathBuf,
    is_deletion: bool,
}

impl Claim {
    /// Claims the entry of `identity` in `dir`, and removes every other claim on it.
    ///
    /// A deletion must also succeed on a full disk. If there is no room for a new file, it renames the lock file
    /// to its claim. The lock only keeps the number of exchanges small, and the next exchange creates it again.
    ///
    /// # Errors
    /// The claim cannot be written, or another one cannot be removed.
    pub fn new(dir: &Path, identity: &str, is_deletion: bool) -> io::Result<Self> {
        let path = file::temporary(dir, identity);
        let created = file::create(&path).or_else(|error| {
            let is_full =
                [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind());
            if !is_deletion || !is_full || fs::rename(queue::path(dir, identity, 1), &path).is_err()
            {
                return Err(error);
            }
            file::open_to_lock(&path)
        });
        let file = Some(created?);
        let claim = Self { path, file, entry: dir.join(format!("{identity}.entry")), is_deletion };
        for name in file::names(dir)? {
            let name = name?;
            let other = dir.join(&name);
            if file::parse(&name) != Some((identity, Kind::Claim)) || other == claim.path {
                continue;
            }
            match file::remove(&other) {
                // A folder is not a claim.
                Err(_) if file::is_folder(&other) => drop(fs::remove_dir(&other)),
                removed => removed?,
            }
        }
        Ok(claim)
    }

    /// Replaces the entry by `content`. Returns `false` if another process has claimed the entry since.
    ///
    /// If the content of a deletion cannot be written, an empty file replaces the entry. It opens under no seal,
    /// so the old token is deleted on a full disk too.
    ///
    /// The file is not synced to disk. An entry that a power cut damages does not open under the seal and is a
    /// miss.
    ///
    /// # Errors
    /// The file cannot be written or renamed.
    pub fn publish(mut self, content: &[u8]) -> io::Result<bool> {
        let written = self.file.as_mut().map_or(Ok(()), |file| {
            let written = file.write_all(content);
            written.or_else(|error| if self.is_deletion { file.set_len(0) } else { Err(error) })
        });
        match written.and_then(|()| file::rename(&self.path, &self.entry)) {
            Ok(()) => {
                self.file = None;
                Ok(true)
            }
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// True if the error means that the file no longer exists. NFS returns `ESTALE` for such a file. Windows
/// refuses access to a file that is being deleted.
fn is_gone(error: &io::Error) -> bool {
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::StaleNetworkFileHandle];
    gone.contains(&error.kind()) || cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied
}
