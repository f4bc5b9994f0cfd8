//! The places in which a tool finds its configuration and its helpers: the home, paths in variables, and the
//! folders on `PATH`.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::settings::{Environment, HOME, paths};
use crate::shown;

/// The user's home.
///
/// # Errors
/// [`Error::Setting`]: there is no absolute home.
pub fn home(env: &Environment<'_>) -> Result<PathBuf, Error> {
    folder(env, HOME).ok_or_else(|| Error::Setting {
        name: HOME,
        value: env(HOME).unwrap_or_default().to_string_lossy().into_owned(),
        problem: "is not an absolute path".to_owned(),
        wanted: "the absolute path of your home",
    })
}

/// An absolute path in a variable.
pub fn folder(env: &Environment<'_>, variable: &str) -> Option<PathBuf> {
    env(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// A path in a variable. A relative path is relative to the working folder, as the tools read it.
///
/// # Errors
/// [`Error::Setting`], see [`usable`].
pub fn path_in(env: &Environment<'_>, variable: &'static str) -> Result<Option<PathBuf>, Error> {
    let value = env(variable).filter(|value| !value.is_empty());
    value.map(|value| usable(variable, Path::new(&value))).transpose()
}

/// The absolute form of a path in a tool's variable.
///
/// # Errors
/// [`Error::Setting`]: the path begins with `~`, which neither a shell nor the tool replaces, or it may be a
/// secret.
pub fn usable(variable: &'static str, path: &Path) -> Result<PathBuf, Error> {
    let problem = if path.as_os_str().as_encoded_bytes().starts_with(b"~") {
        "begins with `~`, which the tool does not replace by the home"
    } else {
        // The absolute form is below the working folder, in which a secret would be an unusual name.
        let usable = shown::is_usable_path(path).then_some(path);
        match usable.and_then(|path| std::path::absolute(path).ok()) {
            Some(path) => return Ok(path),
            None => "is no usable path",
        }
    };
    Err(Error::Setting {
        name: variable,
        value: path.to_string_lossy().into_owned(),
        problem: problem.to_owned(),
        wanted: "an absolute path",
    })
}

/// The files of that program's name in the folders on `PATH`, also those that do not exist.
pub fn on_path(env: &Environment<'_>, name: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let name = executable(name);
    paths(env, "PATH").into_iter().map(move |folder| folder.join(&name))
}

/// The name of a program's file.
pub fn executable(name: &str) -> String {
    if cfg!(windows) { format!("{}.exe", plain(name)) } else { name.to_owned() }
}

/// A program's path or name without `.exe`.
pub fn plain(program: &str) -> &str {
    program.strip_suffix(".exe").unwrap_or(program)
}
