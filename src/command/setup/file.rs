//! Files of other programs: replaced whole, with the mode they had, behind whatever link leads there.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::message;

/// Links that lead to links; Linux follows no more.
const MOST_LINKS: usize = 40;

/// A file's text; `None` when there is no file.
pub fn read(path: &Path) -> Result<Option<String>, Error> {
    let text = read_bytes(path)?.map(String::from_utf8).transpose();
    text.map_err(|_| unusable(path, "is not UTF-8"))
}

/// A file's content, whatever its encoding.
pub fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let content = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true => fs::read(path).map(Some),
        false => Ok(None),
    });
    match content {
        Ok(None) => Err(unusable(path, "is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map_err(|error| unusable(path, &format!("cannot be read: {error}"))),
    }
}

fn unusable(path: &Path, defect: &str) -> Error {
    Error::Unparsable { path: path.to_owned(), defect: defect.to_owned() }
}

/// Replaces a file's content at one stroke, and makes the folders it needs. The file has `mode`
/// afterwards, or else the mode it had, and is private when it is new.
pub fn write(path: &Path, content: &[u8], mode: Option<u32>) -> io::Result<()> {
    let path = target(path);
    make_folders(&path)?;
    let mut name = temporary(&path);
    name.push(std::process::id().to_string());
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, content, &path, mode);
    let done = written.and_then(|()| fs::rename(&temporary, &path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// How the names of the files begin that are written beside `path` to take its place.
fn temporary(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".astra-");
    name
}

/// Removes what processes left that were killed while they wrote that file.
pub fn sweep(path: &Path) {
    let path = target(path);
    let start = temporary(&path);
    let items = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    for item in items.into_iter().flatten().flatten() {
        if item.file_name().as_encoded_bytes().starts_with(start.as_encoded_bytes()) {
            let _ = fs::remove_file(item.path());
        }
    }
}

/// Waits until no other set-up has its turn in that folder, and keeps others waiting until what is
/// given is dropped. It is the folder itself that is locked, so that no lock file stays behind; `None`
/// where that cannot be done, as on NFS.
pub fn turn(folder: &Path) -> Option<fs::File> {
    let folder = fs::File::open(folder).ok()?;
    let locked = message::explain("waiting for another `astra-credential setup`", || folder.lock());
    message::wipe();
    locked.ok().map(|()| folder)
}

fn write_new(temporary: &Path, content: &[u8], old: &Path, mode: Option<u32>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(temporary)?;
    file.write_all(content)?;
    keep_permissions(&file, old, mode)?;
    file.sync_all()
}

#[cfg(unix)]
fn keep_permissions(file: &fs::File, old: &Path, mode: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let old = fs::metadata(old).ok();
    if let Some(old) = &old {
        // Of use to root alone, and whoever may not do it owns the file anyway.
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    match mode.or(old.map(|old| old.mode() & 0o7777)) {
        Some(mode) => file.set_permissions(fs::Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

#[cfg(not(unix))]
fn keep_permissions(_: &fs::File, _: &Path, _: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Removes a file if it is there, but not the link that leads to it.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(target(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a link, and the folders it needs.
pub fn link(at: &Path, to: &Path) -> io::Result<()> {
    make_folders(at)?;
    symlink(to, at)
}

#[cfg(unix)]
use std::os::unix::fs::symlink;

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "links are made on Unix only"))
}

/// The folders that are missing for a file to be written at `path`, outermost first.
pub fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let path = target(path);
    let above = path.ancestors().skip(1).take_while(|folder| !folder.exists());
    let mut missing: Vec<_> = above.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Makes the folders above `path`, private.
fn make_folders(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Where the links at `path` lead, even if nothing is there yet.
fn target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => break,
        }
    }
    path
}

/// The error for what could not be done to `path`.
pub fn not_written(path: &Path, why: &io::Error) -> Error {
    Error::NotWritten { path: path.to_owned(), why: why.to_string() }
}
