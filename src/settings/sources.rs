//! The places where values are set: flags, environment variables and configuration files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file::{Entry, File};
use super::flags::Flags;
use super::folders::Folders;
use super::read::read;
use super::setting::{CONFIG, Environment, Setting, home, variable};
use super::sourced::{Source, Sourced};
use super::values::DEFAULT_ACCOUNT;
use crate::error::{Defect, Error};
use crate::shown;

/// The flags, the environment, and the files that were read.
pub struct Sources<'a> {
    /// The flags.
    pub flags: &'a Flags,
    /// Looks up a variable.
    pub env: &'a Environment<'a>,
    /// The default folders.
    pub folders: Folders,
    /// The configuration file that `--config` or `ASTRA_CREDENTIAL_CONFIG` names.
    pub named: Option<PathBuf>,
    /// The configuration files that were read; the first takes precedence.
    pub files: Vec<File>,
}

impl<'a> Sources<'a> {
    /// The sources without configuration files, with the platform's default folders.
    pub fn of_user(flags: &'a Flags, env: &'a Environment<'a>) -> Self {
        Self { flags, env, folders: Folders::of_user(env), named: None, files: Vec::new() }
    }

    /// Reads the configuration files: the named one, or else the user's and the machine's, if they exist.
    ///
    /// # Errors
    /// [`Error::Setting`]: the name cannot be used. [`Error::Config`]: a file cannot be read, is not to be
    /// trusted, or has a defect. No file counts then.
    pub fn read_files(&mut self) -> Result<(), Error> {
        self.named = self.named_file()?;
        let home = home(self.env);
        let places = self.places().into_iter();
        let files = places.filter_map(|path| read(&path, home.as_deref()).transpose());
        self.files = files.collect::<Result<_, _>>()?;
        match &self.named {
            Some(path) if self.files.is_empty() => {
                Err(Error::Config { path: path.clone(), at: None, defect: Defect::Missing })
            }
            _ => Ok(()),
        }
    }

    /// The configuration file that a flag or variable names.
    fn named_file(&self) -> Result<Option<PathBuf>, Error> {
        let named = self.flag_or_variable(&CONFIG)?;
        // A relative path would name a file in the working folder, which may be an untrusted repository.
        if let Some(named) = &named
            && matches!(named.source, Source::Variable(_))
            && named.is_relative()
        {
            return Err(CONFIG.unusable(named, "is not absolute"));
        }
        Ok(named.map(|named| named.value))
    }

    /// The named configuration file, for a command that writes it.
    ///
    /// # Errors
    /// [`Error::Setting`]: the file does not exist, and its name may be a secret.
    pub fn named_for_writing(&self) -> Result<Option<&Path>, Error> {
        let Some(named) = &self.named else { return Ok(None) };
        if shown::is_usable_path(named) {
            return Ok(Some(named));
        }
        match self.flag_or_variable(&CONFIG)? {
            Some(raw) => Err(CONFIG.unusable(&raw, "is no usable path")),
            None => Ok(None),
        }
    }

    /// The paths of the configuration files, also of those that do not exist.
    pub fn places(&self) -> Vec<PathBuf> {
        match &self.named {
            Some(named) => vec![named.clone()],
            None => self.folders.configuration_files(self.env).collect(),
        }
    }

    /// The configuration files that are links to nowhere. To [`Self::read_files`] they are missing, since a
    /// warm call cannot afford the system call that tells the two apart.
    pub fn dangling_links(&self) -> impl Iterator<Item = PathBuf> {
        self.places().into_iter().filter(|path| path.is_symlink() && !path.exists())
    }

    /// Fails if a configuration file is a link to nowhere. Call this before an answer that depends on the absence of
    /// an entry.
    ///
    /// # Errors
    /// [`Error::Config`]: there is such a link.
    pub fn refuse_dangling_links(&self) -> Result<(), Error> {
        let refused = |path| Error::Config { path, at: None, defect: Defect::DanglingLink };
        self.dangling_links().next().map_or(Ok(()), |path| Err(refused(path)))
    }

    /// A setting's value on the command line.
    ///
    /// # Errors
    /// [`Error::Setting`]: it cannot be used.
    pub fn flag<T>(&self, setting: &Setting<T>) -> Result<Option<Sourced<T>>, Error> {
        let typed = self.flags.value(setting.flag).cloned();
        self.parse(setting, typed, Source::Flag(setting.flag))
    }

    /// A setting's value in its variable.
    ///
    /// # Errors
    /// [`Error::Setting`]: it cannot be used.
    pub fn variable<T>(&self, setting: &Setting<T>) -> Result<Option<Sourced<T>>, Error> {
        let value = variable(self.env, setting.variable);
        self.parse(setting, value, Source::Variable(setting.variable))
    }

    /// A setting's value on the command line, or else in its variable.
    ///
    /// # Errors
    /// [`Error::Setting`]: it cannot be used.
    pub fn flag_or_variable<T>(&self, setting: &Setting<T>) -> Result<Option<Sourced<T>>, Error> {
        match self.flag(setting)? {
            None => self.variable(setting),
            typed => Ok(typed),
        }
    }

    /// Reads the text of a flag or variable, if there is one.
    fn parse<T>(
        &self,
        setting: &Setting<T>,
        raw: Option<OsString>,
        source: Source,
    ) -> Result<Option<Sourced<T>>, Error> {
        raw.map(|raw| setting.parse(Sourced::new(raw, source), self.env)).transpose()
    }

    /// A setting at the top level of the first configuration file that has it.
    pub fn top_level<T>(&self, get: impl Fn(&File) -> Option<T>) -> Option<Sourced<T>> {
        let source = |file: &File| Source::File(file.path.clone());
        self.files.iter().find_map(|file| Some(Sourced::new(get(file)?, source(file))))
    }

    /// The entries in use: those of the first file, and those of the second file for other accounts.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().enumerate().flat_map(move |(index, file)| {
            let above = &self.files[..index];
            file.accounts.iter().filter(move |entry| {
                let mut above = above.iter().flat_map(|file| &file.accounts);
                !above.any(|other| other.name == entry.name)
            })
        })
    }

    /// The entry of an account.
    pub fn entry(&self, account: &str) -> Option<&Entry> {
        self.files.iter().flat_map(|file| &file.accounts).find(|entry| entry.name == account)
    }

    /// The names of the accounts: `default`, and those that have an entry.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let others = self.entries().map(|entry| entry.name.as_str());
        [DEFAULT_ACCOUNT].into_iter().chain(others.filter(|name| *name != DEFAULT_ACCOUNT))
    }

    /// The file of an account.
    pub fn account_file(&self, account: &str) -> Option<PathBuf> {
        let in_entry = self.entry(account).and_then(|entry| entry.file.clone());
        in_entry.or_else(|| self.folders.account_file(account))
    }
}
