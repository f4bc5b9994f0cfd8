//! Files of other programs. A file is replaced as a whole and keeps its mode, a link to it stays, and it is
//! replaced only if its content is still the one that was read.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, SetupError};
use crate::shown::Escaped;

/// The largest number of links that are followed, as on Linux.
const MOST_LINKS: usize = 40;

/// A file's content; `None` when there is no file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let content = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true => fs::read(path).map(Some),
        false => Ok(None),
    });
    match content {
        Ok(None) => Err(unusable(path, "is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => {
            content.map_err(|why| SetupError::Unreadable { path: path.to_owned(), why }.into())
        }
    }
}

/// The error for a file that setup cannot edit; `defect` completes "the file …".
pub fn unusable(path: &Path, defect: &str) -> Error {
    SetupError::Unparsable { path: path.to_owned(), defect: defect.to_owned() }.into()
}

/// A path, safe to show.
pub fn escaped(path: &Path) -> String {
    Escaped(&path.to_string_lossy()).to_string()
}

/// The error for a file that cannot be written.
pub fn not_written(path: &Path, why: io::Error) -> Error {
    SetupError::NotWritten { path: path.to_owned(), why }.into()
}

/// Replaces a file if its content still is `before`; `None` is no file. Returns `false` if another program has
/// changed it.
pub fn replace(path: &Path, before: Option<&[u8]>, after: Option<&[u8]>) -> io::Result<bool> {
    let is_unchanged = || match fs::read(path) {
        Ok(found) => before == Some(&found),
        Err(error) => error.kind() == io::ErrorKind::NotFound && before.is_none(),
    };
    match after {
        Some(after) => write_if(path, after, None, is_unchanged),
        None if is_unchanged() => remove(path).map(|()| true),
        None => Ok(false),
    }
}

/// Replaces a file's content, and creates missing folders. Without `mode` the file keeps its mode, and a
/// new file is private.
pub fn write(path: &Path, content: &[u8], mode: Option<u32>) -> io::Result<()> {
    write_if(path, content, mode, || true).map(drop)
}

fn write_if(
    path: &Path,
    content: &[u8],
    mode: Option<u32>,
    is_unchanged: impl FnOnce() -> bool,
) -> io::Result<bool> {
    let path = target(path);
    make_folders(&path)?;
    let mut name = temporary(&path);
    name.push(std::process::id().to_string());
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = private().create_new(true).open(&temporary)?;
        file.write_all(content)?;
        keep_permissions(&file, &path, mode)?;
        file.sync_all()
    };
    // Compared directly before the rename, since writing may take long.
    let done = write().and_then(|()| match is_unchanged() {
        true => fs::rename(&temporary, &path).map(|()| true),
        false => Ok(false),
    });
    if !matches!(done, Ok(true)) {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// The beginning of the names of temporary files for `path`.
fn temporary(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".astra-");
    name
}

/// Removes the temporary files for `path` of killed processes.
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

/// The options for a new file that only its owner can read.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn keep_permissions(file: &fs::File, old: &Path, mode: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let old = fs::metadata(old).ok();
    if let Some(old) = &old {
        // Only root can change the owner. For any other user this fails, and the new file has the
        // right owner already.
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

/// Removes a file if it exists. A link to it stays.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(target(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Creates a link, and missing folders.
#[cfg(unix)]
pub fn link(at: &Path, to: &Path) -> io::Result<()> {
    make_folders(at)?;
    std::os::unix::fs::symlink(to, at)
}

/// Creates a hard link, or a copy on another drive. On Windows only administrators may create symbolic links.
#[cfg(not(unix))]
pub fn link(at: &Path, to: &Path) -> io::Result<()> {
    make_folders(at)?;
    fs::hard_link(to, at).or_else(|_| fs::copy(to, at).map(drop))
}

/// True if there is a link as [`link`] creates it.
#[cfg(unix)]
pub fn is_link(at: &Path, to: &Path) -> bool {
    fs::read_link(at).is_ok_and(|found| found == to)
}

/// True if there is a link as [`link`] creates it: a file with the same content.
#[cfg(not(unix))]
pub fn is_link(at: &Path, to: &Path) -> bool {
    leads_to(at, to)
}

/// True if both are the same file, links followed.
pub fn leads_to(path: &Path, to: &Path) -> bool {
    let is_same = |path: PathBuf, to: PathBuf| {
        let content = |path: &Path| fs::read(path).ok();
        path == to || cfg!(windows) && path.is_file() && content(&path) == content(&to)
    };
    fs::canonicalize(path).is_ok_and(|path| fs::canonicalize(to).is_ok_and(|to| is_same(path, to)))
}

/// True if this process may create a file in the folder.
#[cfg(unix)]
pub fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
pub fn may_write(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|folder| folder.is_dir() && !folder.permissions().readonly())
}

/// The missing folders above `path`, outermost first.
pub fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let path = target(path);
    let above = path.ancestors().skip(1).take_while(|folder| !folder.exists());
    let mut missing: Vec<_> = above.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Creates the missing folders above `path`, with mode 0700.
pub fn make_folders(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The target of the links at `path`, even if it does not exist.
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
