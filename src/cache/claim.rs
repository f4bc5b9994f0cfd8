//! Replaces an entry only if no other process has replaced it since it was read, without a lock and without
//! waiting.
//!
//! To change the entry `ID.entry`, a process
//!
//! 1. creates a temporary file `ID.RANDOM.tmp`, its *claim*;
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

/// A claim on an entry. Dropping it removes the temporary file.
pub struct Claim {
    path: PathBuf,
    /// `None` after it has been published.
    file: Option<File>,
    entry: PathBuf,
}

impl Claim {
    /// Claims the entry of `identity` in `dir`, and removes every other claim on it.
    ///
    /// # Errors
    /// The claim cannot be written, or another one cannot be removed.
    pub fn new(dir: &Path, identity: &str) -> io::Result<Self> {
        let path = file::temporary(dir, identity);
        let file = Some(file::create(&path)?);
        let claim = Self { path, file, entry: dir.join(format!("{identity}.entry")) };
        for name in file::names(dir)? {
            let name = name?;
            let other = dir.join(&name);
            if file::parse(&name) != Some((identity, Kind::Claim)) || other == claim.path {
                continue;
            }
            match file::remove(&other) {
                // A folder is not a claim.
                Err(_) if is_folder(&other) => drop(fs::remove_dir(&other)),
                removed => removed?,
            }
        }
        Ok(claim)
    }

    /// Replaces the entry by `content`. Returns `false` if another process has claimed the entry since.
    ///
    /// If `content` cannot be written and `is_deletion` is true, an empty file replaces the entry. It opens
    /// under no seal, so the old token is deleted on a full disk too.
    ///
    /// The file is not synced to disk. An entry that a power cut damages does not open under the seal and is a
    /// miss.
    ///
    /// # Errors
    /// The file cannot be written or renamed.
    pub fn publish(mut self, content: &[u8], is_deletion: bool) -> io::Result<bool> {
        let written = self.file.as_mut().map_or(Ok(()), |file| {
            let written = file.write_all(content);
            written.or_else(|error| if is_deletion { file.set_len(0) } else { Err(error) })
        });
        let published = written.and_then(|()| {
            fs::rename(&self.path, &self.entry).or_else(|error| {
                if !is_folder(&self.entry) {
                    return Err(error);
                }
                self.move_folder_away();
                fs::rename(&self.path, &self.entry)
            })
        });
        match published {
            Ok(()) => {
                self.file = None;
                Ok(true)
            }
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves a folder that has the entry's name away, by renaming it to an empty folder. If another process has
    /// replaced that folder by an entry since, the rename fails and the entry stays: a file cannot be renamed to
    /// a folder.
    fn move_folder_away(&self) {
        let aside = self.path.with_extension("folder.tmp");
        if fs::create_dir(&aside).is_ok() {
            let _ = fs::rename(&self.entry, &aside);
            // This fails if the folder is not empty, and leaves it there.
            let _ = fs::remove_dir(&aside);
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

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// True if the error means that the file no longer exists. NFS returns `ESTALE` for such a file. Windows
/// refuses access to a file that is being deleted.
fn is_gone(error: &io::Error) -> bool {
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::StaleNetworkFileHandle];
    gone.contains(&error.kind()) || cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied
}
