//! The parts of the environment in which a tool finds its configuration and its helpers: variables, the
//! home, and the folders on `PATH`.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::settings::{Environment, Folders, HOME};
use crate::shown;

/// The environment of the process.
pub struct World<'a> {
    /// Looks up a variable.
    pub env: &'a Environment<'a>,
    /// Looks up a variable that lists paths.
    pub paths: &'a dyn Fn(&str) -> Vec<PathBuf>,
    /// This program's default folders.
    pub folders: Folders,
}

impl World<'_> {
    /// The user's home.
    ///
    /// # Errors
    /// [`Error::Setting`]: there is no absolute home.
    pub fn home(&self) -> Result<PathBuf, Error> {
        self.folder(HOME).ok_or_else(|| Error::Setting {
            name: HOME,
            value: (self.env)(HOME).unwrap_or_default().to_string_lossy().into_owned(),
            problem: "is not an absolute path".to_owned(),
            wanted: "the absolute path of your home",
        })
    }

    /// An absolute path in a variable.
    pub fn folder(&self, variable: &str) -> Option<PathBuf> {
        (self.env)(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// A path in a variable. A relative path is relative to the working folder, as the tools read it.
    ///
    /// # Errors
    /// [`Error::Setting`], see [`Self::path_of`].
    pub fn path_in(&self, variable: &'static str) -> Result<Option<PathBuf>, Error> {
        let value = (self.env)(variable).filter(|value| !value.is_empty());
        value.map(|value| Self::path_of(variable, Path::new(&value))).transpose()
    }

    /// The absolute form of a path in a tool's variable.
    ///
    /// # Errors
    /// [`Error::Setting`]: the path begins with `~`, which neither a shell nor the tool replaces, or it may
    /// be a secret.
    pub fn path_of(variable: &'static str, path: &Path) -> Result<PathBuf, Error> {
        let problem = if path.as_os_str().as_encoded_bytes().starts_with(b"~") {
            "begins with `~`, which the tool does not replace by the home"
        } else {
            let path = std::path::absolute(path).ok();
            match path.filter(|path| shown::is_usable_path(path)) {
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
    pub fn on_path(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let name = executable(name);
        (self.paths)("PATH").into_iter().map(move |folder| folder.join(&name))
    }
}

/// The name of a program's file.
pub fn executable(name: &str) -> String {
    if cfg!(windows) { format!("{}.exe", plain(name)) } else { name.to_owned() }
}

/// A program's path or name without `.exe`.
pub fn plain(program: &str) -> &str {
    program.strip_suffix(".exe").unwrap_or(program)
}
