//! Opens a configuration file and checks that it can be trusted.
//!
//! It decides which host gets whose token, so it is trusted like the account file, except that other users may
//! read it.

use std::io::{self, Read as _};
use std::path::Path;

use super::file::{self, File};
use super::setting::{Environment, home};
use crate::account;
use crate::error::{Defect, Error};

/// The largest configuration file that is read, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Reads the file at `path`; `None` if there is none. `~/` at the beginning of a path in it is `home`.
///
/// # Errors
/// [`Error::Config`]: the file cannot be read, others may change it, or it has a defect.
pub fn read(path: &Path, home: Option<&Path>) -> Result<Option<File>, Error> {
    let defect = |defect| Error::Config { path: path.to_owned(), at: None, defect };
    let unreadable = |why: io::Error| defect(Defect::Unreadable(why));
    let file = match account::open(path) {
        Ok(file) => file,
        Err(why)
            if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(why) => return Err(unreadable(why)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(defect(Defect::NotRegular));
    }
    if let Some((exposure, fix)) = exposure(&metadata, path) {
        return Err(defect(Defect::Exposed { exposure, fix }));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(defect(Defect::TooLarge));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(metadata.len()).read_to_end(&mut bytes).map_err(unreadable)?;
    file::check(&bytes, path, home).map(Some)
}

/// Checks a new content for the configuration file at `path`.
///
/// # Errors
/// [`Error::Config`]: the content has a defect.
pub fn check_file(content: &[u8], path: &Path, env: &Environment<'_>) -> Result<(), Error> {
    file::check(content, path, home(env).as_deref()).map(drop)
}

/// The permission that lets other users change the file, and the hint.
#[cfg(unix)]
fn exposure(metadata: &std::fs::Metadata, path: &Path) -> Option<(String, String)> {
    use crate::shown::shell_word;
    use std::os::unix::fs::MetadataExt as _;
    const ROOT: u32 = 0;
    let caller = rustix::process::geteuid().as_raw();
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let quoted = || shell_word(&path.to_string_lossy());
    if owner != caller && owner != ROOT {
        let exposure = format!("belongs to another user (uid {owner})");
        return Some((exposure, account::owner_hint(caller)));
    }
    let by = match mode {
        _ if mode & 0o002 != 0 => "may be changed by everybody",
        _ if mode & 0o020 != 0 => "may be changed by its group",
        _ => return None,
    };
    Some((format!("{by} (mode {mode:04o})"), format!("run `chmod go-w {}`", quoted())))
}

#[cfg(not(unix))]
fn exposure(_: &std::fs::Metadata, _: &Path) -> Option<(String, String)> {
    None
}
