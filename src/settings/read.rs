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
        Err(why) => match why.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
            _ => return Err(unreadable(why)),
        },
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(defect(Defect::NotRegular));
    }
    if let Some((exposure, fix)) = account::exposure(&metadata, path, false) {
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
