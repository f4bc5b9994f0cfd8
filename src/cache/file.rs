//! The files of the cache, their names and their permissions.
//!
//! Files are created with mode 0600 and folders with mode 0700, regardless of the umask. Some file systems have
//! no modes or no owners (Windows drives under WSL, CIFS), so a failed `chmod` is not always an error. Opening
//! a file neither follows a link nor waits for the writer of a pipe.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

#[cfg(unix)]
use rustix::io::retry_on_intr;
use zeroize::Zeroizing;

use crate::seal;
use crate::shown;

/// Takes the place of the identity in the name of a failure without an account.
pub const UNNAMED: &str = "last";

/// The kinds of files in the folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `ID.entry`
    Entry,
    /// `ID.failure`
    Failure,
    /// `ID.lock`, `ID.2.lock` …
    Lock,
    /// `ID.RANDOM.tmp`: a claim on the entry (see `claim`).
    Claim,
    /// `ID.failure.RANDOM.tmp`: a failure that is being written.
    Temporary,
}

/// Splits a file name into the identity and the kind of file. Returns `None` for a file that is not part of
/// the cache.
pub fn parse(name: &OsStr) -> Option<(&str, Kind)> {
    let (identity, rest) = name.to_str()?.split_once('.')?;
    let is_hex = identity.len() == 32 && identity.bytes().all(|b| b.is_ascii_hexdigit());
    let kind = match rest {
        "entry" => Kind::Entry,
        "failure" => Kind::Failure,
        "lock" => Kind::Lock,
        _ if rest.ends_with(".lock") => Kind::Lock,
        _ if rest.starts_with("failure.") && rest.ends_with(".tmp") => Kind::Temporary,
        _ if rest.ends_with(".tmp") => Kind::Claim,
        _ => return None,
    };
    (is_hex || identity == UNNAMED).then_some((identity, kind))
}

/// A name for a temporary file, which begins with `prefix`.
pub fn temporary(dir: &Path, prefix: &str) -> PathBuf {
    dir.join(format!("{prefix}.{:016x}.tmp", seal::random()))
}

/// Lists the names in a folder. Does not use the standard library, which panics if the folder cannot be closed.
#[cfg(unix)]
pub fn names(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    use rustix::fs::{Dir, Mode, OFlags};
    use std::os::unix::ffi::OsStringExt as _;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = retry_on_intr(|| rustix::fs::open(dir, flags, Mode::empty()))?;
    let name = |item: rustix::fs::DirEntry| OsString::from_vec(item.file_name().to_bytes().into());
    Ok(Dir::new(opened)?.map(move |item| Ok(name(item?))))
}

#[cfg(not(unix))]
pub fn names(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    Ok(fs::read_dir(dir)?.map(|item| Ok(item?.file_name())))
}

/// Opens a file for reading.
#[cfg(unix)]
pub fn open_to_read(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?.into())
}

#[cfg(not(unix))]
pub fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Reads a file into memory that is zeroed on drop. Returns `None` if the file is missing, is not regular, is
/// longer than `largest`, belongs to another user, or can be accessed by other users.
pub fn read(path: &Path, largest: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut file = match open_to_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > largest || !is_trusted(&metadata, path) {
        log::debug!("a file of the cache is not a private file of this user's, and is ignored");
        return Ok(None);
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(metadata.len()).unwrap_or_default()]);
    file.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Opens a lock file, and creates it and its folder if they are missing. It is opened for reading and writing,
/// because NFS refuses an exclusive lock on a file that is open for one of them.
///
/// # Errors
/// The file cannot be opened or created, or it is not a regular file.
pub fn open_to_lock(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    let open = || {
        use rustix::fs::{Mode, OFlags};
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        io::Result::Ok(File::from(retry_on_intr(|| rustix::fs::open(path, flags, mode))?))
    };
    #[cfg(not(unix))]
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(path);
    let lock = in_folder(path, open)?;
    if !lock.metadata()?.is_file() {
        return Err(io::Error::other("its lock is not a regular file"));
    }
    make_private(&lock)?;
    Ok(lock)
}

/// Creates a file that does not exist yet, and its folder if that is missing.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = in_folder(path, || options.open(path))?;
    if let Err(error) = make_private(&file) {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Runs `open`, which opens `path`. If the folder is missing, creates it and runs `open` again.
fn in_folder(path: &Path, open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    let dir = path.parent().unwrap_or(path);
    check_owner(dir)?;
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_private_dir(dir)?;
            open()
        }
        opened => opened,
    }
}

/// Keeps root from writing into another user's folder, or into a new folder below it. That user's own calls
/// could not use the files.
///
/// # Errors
/// The caller is root, and `dir` or its nearest existing ancestor belongs to another user.
pub fn check_owner(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt as _;
        let owner = dir.ancestors().find_map(|folder| folder.metadata().ok()).map(|m| m.uid());
        if let Some(owner) = owner.filter(|owner| *owner != 0) {
            let why = format!("it belongs to another user (uid {owner}); run this without `sudo`");
            return Err(io::Error::other(why));
        }
    }
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

/// True if the mode of an open file lets only its owner access it.
#[cfg(unix)]
pub fn is_private(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| !is_open(&metadata))
}

#[cfg(not(unix))]
pub fn is_private(_: &File) -> bool {
    true
}

/// True if the mode lets other users access the file.
#[cfg(unix)]
fn is_open(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 != 0
}

/// True if owner and mode are those of a private file of this user, or if the folder has the same defect.
///
/// This is a second check, besides the seal. A file system without modes reports every file as open to other
/// users, and one without owners reports another owner. Both report the same for the folder.
#[cfg(unix)]
fn is_trusted(metadata: &fs::Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if is_ours && !is_open(metadata) {
        return true;
    }
    let folder = path.parent().and_then(|dir| dir.metadata().ok());
    folder.is_some_and(|folder| {
        (is_ours || metadata.uid() == folder.uid()) && (!is_open(metadata) || is_open(&folder))
    })
}

#[cfg(not(unix))]
fn is_trusted(_: &fs::Metadata, _: &Path) -> bool {
    true
}

/// Sets the mode of an open file to 0600.
#[cfg(unix)]
fn make_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata()?.permissions().mode();
    set_mode(mode, 0o600, || file.set_permissions(fs::Permissions::from_mode(0o600)))
}

#[cfg(not(unix))]
fn make_private(_: &File) -> io::Result<()> {
    Ok(())
}

/// Runs `set` unless the mode is `wanted` already. An error is ignored if `mode` includes all bits of `wanted`:
/// the file system then has no modes, and the owner can use the file.
#[cfg(unix)]
fn set_mode(mode: u32, wanted: u32, set: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if mode & 0o777 == wanted {
        return Ok(());
    }
    set().or_else(|error| if mode & wanted == wanted { Ok(()) } else { Err(error) })
}

/// Creates the folder, and missing folders above it, with mode 0700.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    // Without this check, an account that was given as a path would become the name of a folder.
    if !shown::is_usable_path(dir) {
        return Err(io::Error::other("no folder of that name is made"));
    }
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_private_dir(above)?;
    }
    #[cfg_attr(not(unix), allow(unused_mut, reason = "there are no modes to set"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        // Another process has created it in between.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => return Ok(()),
        made => made?,
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(dir)?.permissions().mode();
        set_mode(mode, 0o700, || fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))?;
    }
    Ok(())
}

/// Renames `from` to `to`. A folder with that name is first moved away.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).or_else(|error| {
        if !is_folder(to) {
            return Err(error);
        }
        let aside = from.with_extension("folder.tmp");
        if fs::create_dir(&aside).is_ok() {
            // If another process has replaced the folder by a file since, this fails and the file stays.
            let _ = fs::rename(to, &aside);
            // This fails if the folder is not empty, and leaves it there.
            let _ = fs::remove_dir(&aside);
        }
        fs::rename(from, to)
    })
}

/// True for a folder, and not for a link to one.
pub fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Removes a file. A missing file is not an error.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
