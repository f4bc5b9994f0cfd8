//! Replaces an entry only if no other process has replaced it since it was read, without a lock and without
//! waiting.
//!
//! A process that wants to change the entry `ID.entry`
//!
//! 1. creates a temporary file of its own, `ID.RANDOM.tmp`: its *claim*;
//! 2. lists the folder and removes every other claim on this entry;
//! 3. reads the entry and computes the new entry;
//! 4. writes that into its claim, and renames the claim over the entry.
//!
//! If the rename fails because the claim is missing, another process has claimed the entry, and all steps are
//! repeated. A rename that succeeds replaces exactly what step 3 read. For suppose that process B
//! renamed its claim between the reading and the renaming of process A. Either B created its claim
//! after A did. Then B has listed the folder after A created its claim, so B removed A's claim before B
//! read and renamed, and A's rename fails. Or B created its claim before A did. Then A removed it
//! before A read, so B's rename came before A's reading.
//!
//! A process that is stopped or killed between two of these steps blocks no other process: the next claim
//! removes its claim. This works without `flock`, on every file system with an atomic rename.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::file::{self, Kind};

/// A claim on an entry. Dropping it removes the temporary file.
pub struct Claim {
    path: PathBuf,
    /// `None` once it has been published.
    file: Option<File>,
    entry: PathBuf,
}

impl Claim {
    /// Claims the entry of `identity` in `dir`, and ends every other claim on it.
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

    /// Replaces the entry by `content`. Returns `false` if another process has claimed the entry since. If
    /// `content` cannot be written and the new entry `drops` the token, an empty file replaces the entry: it
    /// opens under no seal.
    ///
    /// The file is not synced to disk: an entry that a power cut damages does not open under the seal, and
    /// is a miss.
    ///
    /// # Errors
    /// The file system refuses to write or to rename.
    pub fn publish(mut self, content: &[u8], drops: bool) -> io::Result<bool> {
        let written = self.file.as_mut().map_or(Ok(()), |file| {
            let written = file.write_all(content);
            written.or_else(|error| if drops { file.set_len(0) } else { Err(error) })
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

    /// Moves a folder at the entry's place onto an empty folder. A rename onto a folder
    /// fails if the source is a file, so an entry that has been written there since stays.
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

/// True if the file no longer exists. NFS returns `ESTALE`, and Windows refuses access to a file that is
/// being deleted.
fn is_gone(error: &io::Error) -> bool {
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::StaleNetworkFileHandle];
    gone.contains(&error.kind()) || cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied
}
