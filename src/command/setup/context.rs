//! The inputs of a tool's edits: the user's folders, this program's path, the hosts and the account.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::edit::Edit;
use super::file;
use crate::command::tool::place::{self, executable};
use crate::error::{Error, SetupError};
use crate::protocol::Host;
use crate::settings::{Configuration, Environment, NamedAccount, Source, Sourced, paths};
use crate::shown::Escaped;

/// The inputs of a call.
pub struct Context<'a> {
    /// Looks up a variable.
    pub env: &'a Environment<'a>,
    /// This program's own file, as `PATH` finds it.
    pub program: PathBuf,
    /// The folder of the record and of the lock.
    pub folder: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The account.
    pub account: NamedAccount<'a>,
    /// The configuration as it was when this process started.
    pub configuration: &'a Configuration<'a>,
    /// The hosts that were named.
    pub named: Vec<Host>,
    /// The deadline of the whole call.
    pub deadline: Instant,
}

/// The inputs of a tool's edits.
pub struct Inputs<'a> {
    /// The inputs of the call.
    pub context: &'a Context<'a>,
    /// The version of the Kubernetes API, if it was named.
    pub api_version: Option<&'a str>,
    /// The hosts that were named, and those for which `setup` configured the tool earlier.
    pub hosts: Vec<Host>,
    /// The edits that `setup` did earlier for the tool.
    pub ours: &'a [Edit],
}

impl<'a> Context<'a> {
    /// Collects the inputs. `program` is this program's own file. If `may_be_new` is true, the account may be
    /// one that does not exist yet.
    ///
    /// # Errors
    /// There is no such account, or no home.
    pub fn new(
        program: PathBuf,
        configuration: &'a Configuration<'a>,
        may_be_new: bool,
    ) -> Result<Self, Error> {
        let env = configuration.sources.env;
        let named = match &configuration.further_hosts {
            Sourced { value, source: Source::Flag(_) } => value.clone(),
            _ => Vec::new(),
        };
        let folder = configuration.sources.folders.config.clone();
        let folder = folder.map_or_else(|| place::home(env), Ok)?;
        let config = configuration.sources.named_for_writing()?;
        let config = config.and_then(|config| std::path::absolute(config).ok());
        Ok(Self {
            env,
            program: as_found(program, env),
            config: config.unwrap_or_else(|| folder.join("config.json")),
            folder,
            account: NamedAccount::find(&configuration.sources, may_be_new)?,
            configuration,
            named,
            deadline: Instant::now() + *configuration.common.timeout,
        })
    }
}

impl Context<'_> {
    /// Fails for root in the home of another user, who could not change the files that root writes there.
    #[cfg(unix)]
    pub fn refuse_foreign_home(&self) -> Result<(), Error> {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(home) = place::home(self.env) else { return Ok(()) };
        let owner = std::fs::metadata(&home).map(|home| home.uid()).unwrap_or_default();
        match rustix::process::geteuid().is_root() && owner != 0 {
            true => Err(SetupError::ForeignHome { home, owner }.into()),
            false => Ok(()),
        }
    }

    /// Succeeds: on this system only the owner can write here.
    #[cfg(not(unix))]
    pub fn refuse_foreign_home(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The text of a path, if it can be written into a tool's configuration.
    pub fn written(path: &Path) -> Result<String, Error> {
        let text = path.to_str().filter(|text| Escaped(text).to_string() == **text);
        let unwritable = || SetupError::Unwritable { path: path.to_owned() };
        Ok(text.map(str::to_owned).ok_or_else(unwritable)?)
    }
}

impl Inputs<'_> {
    /// The link with that name through which a tool starts this program, and the edit that creates it if it
    /// is missing. `is_searched` is true if the tool looks it up on `PATH`.
    pub fn link(&self, name: &str, is_searched: bool) -> Result<(PathBuf, Option<Edit>), Error> {
        let Context { program, env, .. } = self.context;
        let name = executable(name);
        let beside = program.parent().map(Path::to_owned);
        let edit = |at| Edit::Link { at, to: program.clone() };
        // A tool uses the first link on `PATH`, also one that setup has not created.
        let first = place::on_path(env, &name).find(|path| path.is_file());
        let others = beside.iter().filter(|_| !is_searched).map(|folder| folder.join(&name));
        let mut found = first.iter().cloned().chain(others);
        if let Some(found) = found.find(|path| file::leads_to(path, program)) {
            let edit = edit(found.clone());
            return Ok((found, self.ours.contains(&edit).then_some(edit)));
        }
        // If another program of that name is found first on `PATH`, the tool would start that one: the edit
        // is then for its place, and is refused.
        let at = match first.filter(|_| is_searched) {
            Some(first) => first,
            None => self.new_link(&name, is_searched, beside)?,
        };
        Ok((at.clone(), Some(edit(at))))
    }

    /// The place of a new link: the recorded one, or else in the first usable folder.
    fn new_link(
        &self,
        name: &str,
        is_searched: bool,
        beside: Option<PathBuf>,
    ) -> Result<PathBuf, Error> {
        let mut recorded = self.ours.iter().filter_map(|edit| match edit {
            Edit::Link { at, .. } if at.ends_with(name) => Some(at),
            _ => None,
        });
        let is_found = |at: &&PathBuf| {
            !is_searched || at.parent().is_some_and(|folder| self.is_on_path(folder))
        };
        if let Some(at) = recorded.find(is_found) {
            return Ok(at.clone());
        }
        // This folder is on the `PATH` of every user and every service.
        let system = Some(PathBuf::from("/usr/local/bin")).filter(|_| is_searched && cfg!(unix));
        let usable = |folder: &PathBuf| self.is_on_path(folder) && file::may_write(folder);
        let folder = match system.into_iter().chain(beside).find(usable) {
            Some(folder) => folder,
            None => place::home(self.context.env)?.join(".local/bin"),
        };
        Ok(folder.join(name))
    }

    /// True if that folder is on `PATH`.
    pub fn is_on_path(&self, folder: &Path) -> bool {
        let folders = paths(self.context.env, "PATH");
        folders.iter().any(|searched| searched == folder || file::leads_to(searched, folder))
    }
}

/// A text, between quotation marks if it has one of the special characters.
pub fn quoted(text: String, special: &str) -> String {
    match text.contains(|c| special.contains(c)) {
        true => format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")),
        false => text,
    }
}

/// The program's path as found on `PATH`, otherwise its own path. The path on `PATH` may be a link that still
/// works after an update has moved the program.
fn as_found(program: PathBuf, env: &Environment<'_>) -> PathBuf {
    let mut places = place::on_path(env, "astra-credential");
    let found = places.find(|place| place.is_absolute() && file::leads_to(place, &program));
    found.unwrap_or(program)
}
