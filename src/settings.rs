//! The meaning of flags, environment variables and configuration files: which account answers, and
//! with which settings.
//!
//! [`Configuration`] holds the flags, variables and files, [`Settings`] the result for one account.
//! [`Configuration::settings_for`] finds the account for a host, if there is one:
//!
//! 1. A flag decides: `--account NAME` or `--service-account FILE`. The host must then be bound to
//!    that account, be its API's, or be named by `--host` (without `--account` also by
//!    `ASTRA_CREDENTIAL_HOSTS`). A host that is bound to another account is refused.
//! 2. Otherwise the account to which a configuration file binds the host. A file binds the hosts of
//!    an entry's `hosts`, and the host of an `api_url` that no other account uses.
//! 3. Otherwise the account of `ASTRA_CREDENTIAL_ACCOUNT` or `ASTRA_SERVICE_ACCOUNT`, or `default`.
//!    Its hosts are its API's and those of `--host` or `ASTRA_CREDENTIAL_HOSTS`.
//!
//! A setting comes from its flag, or else its variable, the account's entry, the top level of the
//! user's file, that of the machine's file, or the default. Two keys of an entry count before their
//! variables, since the variables do not belong to an account: `api_url`, the server that the account's
//! secret is sent to, and `ca_file`, the authorities that are trusted for it. For the same reason
//! `ASTRA_API_URL` does not count for an account that neither is `default` nor was chosen by a
//! variable.
//!
//! This module is pure: the environment and the files are passed in. An empty variable counts as absent.

mod file;
mod flags;
mod proxy;
mod sourced;
mod values;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::file::Entry;
pub use self::file::{File, JSONC};
pub use self::flags::Flags;
use self::proxy::proxy_for;
pub use self::sourced::{Source, Sourced};
pub use self::values::Api;
pub use self::values::DEFAULT_ACCOUNT;
use self::values::{DEFAULT_API, wanted};
use crate::error::{Defect, Error};
use crate::protocol::Host;
use crate::shown::{self, redacted};
use crate::token::Secret;

/// The default folders; each is `None` without a home.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Holds the account files and `config.json`.
    pub config: Option<PathBuf>,
    /// Holds the cache.
    pub cache: Option<PathBuf>,
}

/// The flags, the environment and the configuration files.
pub struct Configuration<'a> {
    flags: &'a Flags,
    env: &'a Environment<'a>,
    folders: Folders,
    /// The files that were read; the first takes precedence.
    files: Vec<File>,
    /// True if a file exists.
    exists: &'a dyn Fn(&Path) -> bool,
    /// The hosts of `--host` or `ASTRA_CREDENTIAL_HOSTS`.
    further_hosts: Sourced<Vec<Host>>,
    common: Common,
}

/// The settings that are the same for every account.
#[derive(Clone, Debug)]
struct Common {
    allow_exposed: Sourced<bool>,
    cache_dir: Sourced<Option<PathBuf>>,
    timeout: Sourced<Duration>,
    no_cache: Sourced<bool>,
}

/// The account that was chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChosenAccount {
    /// Chosen by name.
    Named(String),
    /// Chosen by its file, which is not the file of a named account.
    File(PathBuf),
}

/// The settings of one account.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account, with the source of the choice.
    pub account: Sourced<ChosenAccount>,
    /// The account file; `None` without a home.
    pub service_account: Sourced<Option<PathBuf>>,
    /// Accepts an account file that other users may read or change.
    pub allow_exposed: Sourced<bool>,
    /// The API where the account is exchanged.
    pub api: Sourced<Api>,
    /// The cache's folder; `None` without a home.
    pub cache_dir: Sourced<Option<PathBuf>>,
    /// The certificate authorities to trust; `None` for the system's.
    pub ca_file: Sourced<Option<PathBuf>>,
    /// The folders of certificate authorities to trust if no file is named; none for the system's.
    pub ca_folders: Vec<PathBuf>,
    /// The proxy for the API, as a URL.
    pub proxy: Sourced<Option<String>>,
    /// The time-out of the whole call.
    pub timeout: Sourced<Duration>,
    /// Seconds for which the token must be valid; `None` for the leeway.
    pub min_valid: Sourced<Option<i64>>,
    /// Does an exchange even if a valid token is cached.
    pub refresh: bool,
    /// Does not use the cache.
    pub no_cache: Sourced<bool>,
}

/// A setting as `status` shows it. The value is safe to show.
#[derive(Debug)]
pub struct ListedSetting {
    /// Its key.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// The place where it was set.
    pub source: Source,
}

/// The variable that switches the log on standard error on.
pub const LOG: &str = "ASTRA_CREDENTIAL_LOG";
/// The variable that switches the cache off.
pub const NO_CACHE: &str = "ASTRA_CREDENTIAL_NO_CACHE";
const ALLOW_EXPOSED: &str = "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE";
/// The folders of certificate authorities to trust, if no file is named.
const CA_FOLDER: &str = "SSL_CERT_DIR";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The variable with the home directory.
pub const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

static ACCOUNT: Setting =
    Setting { flag: "--account", variable: "ASTRA_CREDENTIAL_ACCOUNT", wanted: wanted::ACCOUNT };
static SERVICE_ACCOUNT: Setting = Setting {
    flag: "--service-account",
    variable: "ASTRA_SERVICE_ACCOUNT",
    wanted: "the absolute path of a file",
};
static CONFIG: Setting = Setting {
    flag: "--config",
    variable: "ASTRA_CREDENTIAL_CONFIG",
    wanted: "the absolute path of a file",
};
static API_URL: Setting =
    Setting { flag: "--api-url", variable: "ASTRA_API_URL", wanted: wanted::API_URL };
static HOST: Setting =
    Setting { flag: "--host", variable: "ASTRA_CREDENTIAL_HOSTS", wanted: wanted::HOST };
static CACHE_DIR: Setting = Setting {
    flag: "--cache-dir",
    variable: "ASTRA_CREDENTIAL_CACHE_DIR",
    wanted: "the absolute path of a folder",
};
static CA_FILE: Setting = Setting {
    flag: "--ca-file",
    variable: "SSL_CERT_FILE",
    wanted: "the absolute path of a file of PEM certificates",
};
static TIMEOUT: Setting =
    Setting { flag: "--timeout", variable: "ASTRA_CREDENTIAL_TIMEOUT", wanted: wanted::TIMEOUT };
static MIN_VALID: Setting = Setting {
    flag: "--min-valid",
    variable: "ASTRA_CREDENTIAL_MIN_VALID",
    wanted: wanted::MIN_VALID,
};

/// A setting's flag, its variable, and a description of its value.
pub struct Setting {
    /// The flag.
    pub flag: &'static str,
    /// The variable.
    pub variable: &'static str,
    wanted: &'static str,
}

/// The text of a flag or variable, with its name.
struct Raw {
    value: OsString,
    source: Source,
}

impl Raw {
    fn name(&self) -> &'static str {
        match self.source {
            Source::Flag(name) | Source::Variable(name) => name,
            _ => "",
        }
    }
}

impl Setting {
    fn flag(&self, flag: Option<&OsString>) -> Option<Raw> {
        Some(Raw { value: flag?.clone(), source: Source::Flag(self.flag) })
    }

    fn variable(&self, env: &Environment<'_>) -> Option<Raw> {
        let value = variable(env, self.variable)?;
        Some(Raw { value, source: Source::Variable(self.variable) })
    }

    fn lookup(&self, flag: Option<&OsString>, env: &Environment<'_>) -> Option<Raw> {
        self.flag(flag).or_else(|| self.variable(env))
    }

    fn path(&self, raw: Raw, env: &Environment<'_>) -> Result<Sourced<PathBuf>, Error> {
        let path = expanded(&raw.value, env);
        let path = path.map_err(|problem| self.unusable(raw.name(), &raw.value, problem))?;
        Ok(Sourced::new(path, raw.source))
    }

    fn parse<T>(
        &self,
        raw: Raw,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Sourced<T>, Error> {
        let parsed = raw.value.to_str().ok_or("is not UTF-8").and_then(parse);
        let parsed = parsed.map_err(|problem| self.unusable(raw.name(), &raw.value, problem))?;
        Ok(Sourced::new(parsed, raw.source))
    }

    fn unusable(&self, name: &'static str, value: &OsStr, problem: &str) -> Error {
        Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            problem: problem.to_owned(),
            wanted: self.wanted,
        }
    }
}

/// Looks up a variable.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

fn variable(env: &Environment<'_>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
}

/// Reads a path: a leading `~/` is replaced by the home directory.
///
/// # Errors
/// The problem, which completes "`--cache-dir` is `…`, which …".
pub fn expanded(path: &OsStr, env: &Environment<'_>) -> Result<PathBuf, &'static str> {
    values::expanded(path, home(env).as_deref())
}

fn home(env: &Environment<'_>) -> Option<PathBuf> {
    variable(env, HOME).map(PathBuf::from).filter(|home| home.is_absolute())
}

/// Reads a variable that switches something on.
pub fn is_on(env: &Environment<'_>, name: &'static str) -> Result<bool, Error> {
    let Some(value) = variable(env, name) else {
        return Ok(false);
    };
    let no = ["0", "false", "no", "off"];
    let yes = ["1", "true", "yes", "on"];
    let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match (is(yes), is(no)) {
        (false, false) => Err(Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            problem: "is neither yes nor no".to_owned(),
            wanted: "`1` or `0`",
        }),
        (yes, _) => Ok(yes),
    }
}

/// Reads a switch from a variable, with its source.
fn switch(env: &Environment<'_>, name: &'static str) -> Result<Sourced<bool>, Error> {
    let is_on = is_on(env, name)?;
    Ok(match variable(env, name) {
        Some(_) => Sourced::new(is_on, Source::Variable(name)),
        None => Sourced::default_of(is_on),
    })
}

/// Reads the configuration files: the one that `--config` or `ASTRA_CREDENTIAL_CONFIG` names, or else
/// the user's and the machine's, if they exist. The first takes precedence.
///
/// # Errors
/// [`Error::Config`]: a file cannot be read, is not to be trusted, or has a defect.
pub fn read_files(
    flags: &Flags,
    env: &Environment<'_>,
    folders: &Folders,
) -> Result<Vec<File>, Error> {
    let home = home(env);
    if let Some(named) = named_file(flags, env)? {
        let file = file::read(&named, home.as_deref())?;
        let missing = || Error::Config { path: named.value, at: None, defect: Defect::Missing };
        return Ok(vec![file.ok_or_else(missing)?]);
    }
    let files = usual_files(env, folders);
    files.filter_map(|path| file::read(&path, home.as_deref()).transpose()).collect()
}

/// The user's configuration file and the machine's.
fn usual_files(env: &Environment<'_>, folders: &Folders) -> impl Iterator<Item = PathBuf> {
    let user = folders.config.as_ref().map(|folder| folder.join("config.json"));
    user.into_iter().chain(machine_file(env))
}

/// Checks a new content for the configuration file at `path`.
///
/// # Errors
/// [`Error::Config`]: the content has a defect.
pub fn check_file(content: &[u8], path: &Path, env: &Environment<'_>) -> Result<(), Error> {
    file::check(content, path, home(env).as_deref()).map(drop)
}

/// The configuration file that `--config` or `ASTRA_CREDENTIAL_CONFIG` names.
///
/// # Errors
/// [`Error::Setting`]: it is no path that can be used.
pub fn named_file(flags: &Flags, env: &Environment<'_>) -> Result<Option<Sourced<PathBuf>>, Error> {
    let named = CONFIG.lookup(flags.config.as_ref(), env);
    let named = named.map(|raw| CONFIG.path(raw, env)).transpose()?;
    if let Some(named) = &named {
        // A relative path would name a file in the working folder, which may be an untrusted repository.
        if let Source::Variable(name) = named.source
            && named.is_relative()
        {
            return Err(CONFIG.unusable(name, named.as_os_str(), "is not absolute"));
        }
    }
    Ok(named)
}

/// The configuration file for the whole machine.
fn machine_file(env: &Environment<'_>) -> Option<PathBuf> {
    if cfg!(windows) {
        let folder = PathBuf::from(variable(env, "ProgramData")?);
        return folder.is_absolute().then(|| folder.join(r"astra-credential\config.json"));
    }
    Some("/etc/astra-credential/config.json".into())
}

impl<'a> Configuration<'a> {
    /// Reads the settings that do not depend on the account.
    ///
    /// # Errors
    /// [`Error::Setting`] names the flag or variable that cannot be used.
    pub fn new(
        flags: &'a Flags,
        env: &'a Environment<'a>,
        folders: Folders,
        files: Vec<File>,
        exists: &'a dyn Fn(&Path) -> bool,
    ) -> Result<Self, Error> {
        let timeout = match TIMEOUT.lookup(flags.timeout.as_ref(), env) {
            Some(raw) => TIMEOUT.parse(raw, values::timeout)?,
            None => from_files(&files, |file| file.timeout)
                .unwrap_or(Sourced::default_of(DEFAULT_TIMEOUT)),
        };
        let cache_dir = cache_dir(flags, env, &folders, &files)?;
        let no_cache = if flags.no_cache {
            Sourced::new(true, Source::Flag("--no-cache"))
        } else {
            switch(env, NO_CACHE)?
        };
        let allow_exposed = switch(env, ALLOW_EXPOSED)?;
        let common = Common { allow_exposed, cache_dir, timeout, no_cache };
        let further_hosts = further_hosts(&flags.host, env)?;
        Ok(Self { flags, env, folders, files, exists, further_hosts, common })
    }

    /// The settings of the account that answers calls that name no host.
    ///
    /// # Errors
    /// The account is unknown, or a setting cannot be used.
    pub fn settings(&self) -> Result<Settings, Error> {
        self.resolve(self.chosen(self.typed_account()?)?)
    }

    /// The settings of the account that answers for `host`; `None` if no account is configured for it.
    ///
    /// # Errors
    /// The account is unknown, the host is bound to another one than a flag names, or a setting
    /// cannot be used.
    pub fn settings_for(&self, host: &Host) -> Result<Option<Settings>, Error> {
        let typed = self.typed_account()?;
        match (typed, self.binding(host)) {
            (Some(typed), Some(bound)) => {
                if typed.value != ChosenAccount::Named(bound.name.to_owned()) {
                    return Err(Error::Bound {
                        host: redacted(&host.to_string()),
                        owner: bound.name.to_owned(),
                        named: typed.to_string(),
                        path: bound.place.to_path_buf(),
                    });
                }
                self.resolve(typed).map(Some)
            }
            (None, Some(bound)) => {
                let who = ChosenAccount::Named(bound.name.to_owned());
                let source = Source::Entry(Arc::clone(bound.place));
                self.resolve(Sourced::new(who, source)).map(Some)
            }
            (typed, None) => {
                let settings = self.resolve(self.chosen(typed)?)?;
                let is_ours = self.is_further(host) || settings.api.host == *host;
                Ok(is_ours.then_some(settings))
            }
        }
    }

    /// True if an account is configured for `host`, even if its settings cannot be used.
    pub fn is_ours(&self, host: &Host) -> bool {
        let is_named = self.binding(host).is_some() || self.is_further(host);
        is_named || matches!(self.settings_for(host), Ok(Some(_)))
    }

    /// The settings of the account of that name.
    ///
    /// # Errors
    /// The account is unknown, or a setting cannot be used.
    pub fn settings_of(&self, name: &str) -> Result<Settings, Error> {
        self.resolve(Sourced::default_of(ChosenAccount::Named(name.to_owned())))
    }

    /// The settings of a call that names no host, in another environment. Of the flags it has `--account` if
    /// `account` is given, and this call's `--config`.
    ///
    /// # Errors
    /// The account is unknown, or a setting or file cannot be used.
    pub fn settings_in(
        &self,
        env: &Environment<'_>,
        account: Option<&str>,
    ) -> Result<Settings, Error> {
        let config = self.flags.config.clone();
        let flags = Flags { account: account.map(Into::into), config, ..Flags::default() };
        let files = read_files(&flags, env, &self.folders)?;
        Configuration::new(&flags, env, self.folders.clone(), files, self.exists)?.settings()
    }

    /// The account to which a configuration file binds `host`. Flags and variables are ignored.
    pub fn owner_of(&self, host: &Host) -> Option<&str> {
        self.binding(host).map(|bound| bound.name)
    }

    /// True if `--host` names the host or, without `--account`, `ASTRA_CREDENTIAL_HOSTS`. The variable names
    /// no account, so it does not add hosts to an account that a flag names.
    fn is_further(&self, host: &Host) -> bool {
        let counts = match self.further_hosts.source {
            Source::Variable(_) => self.flags.account.is_none(),
            _ => true,
        };
        counts && self.further_hosts.contains(host)
    }

    fn binding(&self, host: &Host) -> Option<Bound<'_>> {
        let bound = |entry: &'_ Entry| -> bool { entry.hosts.contains(host) };
        let by_hosts = self.entries().find(|entry| bound(entry));
        by_hosts
            .or_else(|| self.sole_user(host))
            .map(|entry| Bound { name: &entry.name, place: &entry.place })
    }

    /// The account whose entry has an `api_url` with that host, if no other account uses that API.
    fn sole_user(&self, host: &Host) -> Option<&Entry> {
        let has_it = |entry: &&Entry| entry.api.as_ref().is_some_and(|api| api.host == *host);
        let mut users = self.entries().filter(has_it);
        let (Some(user), None) = (users.next(), users.next()) else {
            return None;
        };
        let is_default_api = || DEFAULT_API.strip_prefix("https://") == Some(&*host.to_string());
        let uses_default_api =
            || self.names().any(|name| self.entry(name).is_none_or(|entry| entry.api.is_none()));
        (!(is_default_api() && uses_default_api())).then_some(user)
    }

    /// The entries in use: those of the first file, and those of the second file for other accounts.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().enumerate().flat_map(move |(index, file)| {
            let above = &self.files[..index];
            file.accounts.iter().filter(move |entry| {
                let mut above = above.iter().flat_map(|file| &file.accounts);
                !above.any(|other| other.name == entry.name)
            })
        })
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.files.iter().flat_map(|file| &file.accounts).find(|entry| entry.name == name)
    }

    /// The names of the accounts: `default`, and those that have an entry.
    fn names(&self) -> impl Iterator<Item = &str> {
        let others = self.entries().map(|entry| entry.name.as_str());
        [DEFAULT_ACCOUNT].into_iter().chain(others.filter(|name| *name != DEFAULT_ACCOUNT))
    }

    /// The account that a flag names.
    fn typed_account(&self) -> Result<Option<Sourced<ChosenAccount>>, Error> {
        let flags = self.flags;
        if flags.account.is_some() && flags.service_account.is_some() {
            return Err(Error::Usage {
                problem: "`--account` and `--service-account` each name an account".to_owned(),
                help: "astra-credential --help".to_owned(),
            });
        }
        let account = ACCOUNT.flag(self.flags.account.as_ref());
        let file = SERVICE_ACCOUNT.flag(self.flags.service_account.as_ref());
        self.account_of(account, file)
    }

    /// The account that a flag or variable names, or `default`.
    fn chosen(
        &self,
        typed: Option<Sourced<ChosenAccount>>,
    ) -> Result<Sourced<ChosenAccount>, Error> {
        let default = || Sourced::default_of(ChosenAccount::Named(DEFAULT_ACCOUNT.to_owned()));
        match typed {
            Some(typed) => Ok(typed),
            None => Ok(self.account_of_variables()?.unwrap_or_else(default)),
        }
    }

    fn account_of_variables(&self) -> Result<Option<Sourced<ChosenAccount>>, Error> {
        let account = ACCOUNT.variable(self.env);
        self.account_of(account, SERVICE_ACCOUNT.variable(self.env))
    }

    fn account_of(
        &self,
        account: Option<Raw>,
        file: Option<Raw>,
    ) -> Result<Option<Sourced<ChosenAccount>>, Error> {
        if let Some(raw) = account {
            return ACCOUNT
                .parse(raw, values::account_name)
                .map(|name| Some(name.map(ChosenAccount::Named)));
        }
        let Some(raw) = file else {
            return Ok(None);
        };
        let path = SERVICE_ACCOUNT.path(raw, self.env)?;
        // The file of an account that has a name is that account.
        let name = self.names().find(|name| self.file_of(name).as_ref() == Some(&path.value));
        let name = name.map(str::to_owned);
        Ok(Some(
            path.map(|path| name.map_or_else(|| ChosenAccount::File(path), ChosenAccount::Named)),
        ))
    }

    /// The account file of a name.
    fn file_of(&self, name: &str) -> Option<PathBuf> {
        if let Some(file) = self.entry(name).and_then(|entry| entry.file.as_ref()) {
            return Some(file.clone());
        }
        let stem = if name == DEFAULT_ACCOUNT { "service-account" } else { name };
        self.folders.config.as_ref().map(|folder| folder.join(format!("{stem}.json")))
    }

    fn resolve(&self, account: Sourced<ChosenAccount>) -> Result<Settings, Error> {
        let Self { flags, env, files, .. } = self;
        let entry = match &account.value {
            ChosenAccount::Named(name) => self.entry(name),
            ChosenAccount::File(_) => None,
        };
        let service_account = self.account_file(&account, entry)?;
        let place = |entry: &Entry| Source::Entry(Arc::clone(&entry.place));
        let in_entry = entry.and_then(|entry| Some(Sourced::new(entry.api.clone()?, place(entry))));
        let api = match (API_URL.flag(flags.api_url.as_ref()), in_entry) {
            (Some(raw), _) => API_URL.parse(raw, Api::parse)?,
            (None, Some(api)) => api,
            (None, None) => {
                let counts = self.is_the_variables(&account)?;
                match API_URL.variable(env).filter(|_| counts) {
                    Some(raw) => API_URL.parse(raw, Api::parse)?,
                    None => Sourced::default_of(default_api()?),
                }
            }
        };
        let in_entry =
            entry.and_then(|entry| Some(Sourced::new(entry.ca_file.clone()?, place(entry))));
        let ca_file = match (CA_FILE.flag(flags.ca_file.as_ref()), in_entry) {
            (Some(raw), _) => CA_FILE.path(raw, env)?.map(Some),
            (None, Some(file)) => file.map(Some),
            (None, None) => match (CA_FILE.variable(env), variable(env, CA_FOLDER)) {
                (Some(raw), _) => CA_FILE.path(raw, env)?.map(Some),
                (None, Some(_)) => Sourced::new(None, Source::Variable(CA_FOLDER)),
                (None, None) => from_files(files, |file| file.ca_file.clone())
                    .map_or(Sourced::default_of(None), |file| file.map(Some)),
            },
        };
        let in_entry = entry.and_then(|entry| Some(Sourced::new(entry.min_valid?, place(entry))));
        let min_valid = match MIN_VALID.lookup(flags.min_valid.as_ref(), env) {
            Some(raw) => MIN_VALID.parse(raw, values::whole_seconds)?.map(Some),
            None => in_entry
                .or_else(|| from_files(files, |file| file.min_valid))
                .map_or(Sourced::default_of(None), |seconds| seconds.map(Some)),
        };
        // A proxy whose URL is not UTF-8 must become an error later, so it is kept here.
        let text =
            |name: &str| variable(env, name).map(|value| value.to_string_lossy().into_owned());
        let proxy = proxy_for(&api.host, text)
            .map_or(Sourced::default_of(None), |(proxy, variable)| {
                Sourced::new(proxy, Source::Variable(variable))
            });
        let Common { allow_exposed, cache_dir, timeout, no_cache } = self.common.clone();
        Ok(Settings {
            account,
            service_account,
            allow_exposed,
            api,
            cache_dir,
            ca_file,
            ca_folders: ca_folders(env),
            proxy,
            timeout,
            min_valid,
            refresh: flags.refresh,
            no_cache,
        })
    }

    /// The account's file. It is an error if the name has neither an entry nor a file.
    fn account_file(
        &self,
        account: &Sourced<ChosenAccount>,
        entry: Option<&Entry>,
    ) -> Result<Sourced<Option<PathBuf>>, Error> {
        let name = match &account.value {
            ChosenAccount::File(path) => return Ok(account.clone().map(|_| Some(path.clone()))),
            ChosenAccount::Named(name) => name,
        };
        let file = self.file_of(name);
        if entry.is_none() && name != DEFAULT_ACCOUNT {
            let exists = file.as_deref().is_some_and(self.exists);
            if !exists {
                let nearest = values::nearest(name, self.names()).map(str::to_owned);
                let source = account.source.to_string();
                return Err(Error::AccountUnknown { name: name.clone(), source, nearest });
            }
        }
        let source = match (entry, &account.source) {
            (_, Source::Flag("--service-account") | Source::Variable("ASTRA_SERVICE_ACCOUNT")) => {
                account.source.clone()
            }
            (Some(Entry { file: Some(_), place, .. }), _) => Source::Entry(Arc::clone(place)),
            _ => Source::Default,
        };
        Ok(Sourced::new(file, source))
    }

    /// True if variables such as `ASTRA_API_URL` apply to this account. They apply to an account without a
    /// name, to `default`, and to the account that a variable chooses.
    fn is_the_variables(&self, account: &Sourced<ChosenAccount>) -> Result<bool, Error> {
        Ok(match &account.value {
            ChosenAccount::File(_) => true,
            ChosenAccount::Named(name) if name == DEFAULT_ACCOUNT => true,
            named @ ChosenAccount::Named(_) => {
                self.account_of_variables()?.is_some_and(|chosen| chosen.value == *named)
            }
        })
    }
}

/// The account that `setup` configures.
pub struct NamedAccount<'a> {
    /// Its name.
    pub name: String,
    /// True if a flag or a variable names it.
    pub is_named: bool,
    /// Its file.
    pub file: Option<PathBuf>,
    /// The configuration file that has its entry.
    pub place: Option<&'a Path>,
    /// The file that `ASTRA_SERVICE_ACCOUNT` names.
    pub other_file: Option<PathBuf>,
}

/// An account to which a host is bound.
struct Bound<'a> {
    name: &'a str,
    /// The configuration file that binds it.
    place: &'a Arc<Path>,
}

/// A setting at the top level of the first file that has it.
fn from_files<T>(files: &[File], get: impl Fn(&File) -> Option<T>) -> Option<Sourced<T>> {
    files
        .iter()
        .find_map(|file| Some(Sourced::new(get(file)?, Source::File(Arc::clone(&file.path)))))
}

fn default_api() -> Result<Api, Error> {
    Api::parse(DEFAULT_API)
        .map_err(|problem| API_URL.unusable(API_URL.variable, OsStr::new(DEFAULT_API), problem))
}

/// The cache's folder.
///
/// # Errors
/// [`Error::Setting`] names the flag or variable that cannot be used.
pub fn cache_dir(
    flags: &Flags,
    env: &Environment<'_>,
    folders: &Folders,
    files: &[File],
) -> Result<Sourced<Option<PathBuf>>, Error> {
    if let Some(raw) = CACHE_DIR.lookup(flags.cache_dir.as_ref(), env) {
        return CACHE_DIR.path(raw, env).map(|path| path.map(Some));
    }
    let in_file = from_files(files, |file| file.cache_dir.clone());
    Ok(in_file.map_or_else(|| Sourced::default_of(folders.cache.clone()), |path| path.map(Some)))
}

/// The folders in `SSL_CERT_DIR`, which OpenSSL separates as `PATH` does.
fn ca_folders(env: &Environment<'_>) -> Vec<PathBuf> {
    let listed = variable(env, CA_FOLDER).unwrap_or_default();
    std::env::split_paths(&listed).filter(|folder| !folder.as_os_str().is_empty()).collect()
}

/// The hosts of the flags, or else those of the comma-separated variable.
fn further_hosts(flags: &[OsString], env: &Environment<'_>) -> Result<Sourced<Vec<Host>>, Error> {
    let parse = |value: OsString, source: Source| {
        HOST.parse(Raw { value, source }, values::typed_host).map(|host| host.value)
    };
    if !flags.is_empty() {
        let source = Source::Flag(HOST.flag);
        let hosts = flags.iter().map(|value| parse(value.clone(), source.clone()));
        return Ok(Sourced::new(hosts.collect::<Result<_, _>>()?, source));
    }
    let Some(listed) = variable(env, HOST.variable) else {
        return Ok(Sourced::default_of(Vec::new()));
    };
    let source = Source::Variable(HOST.variable);
    let lossy = listed.to_string_lossy();
    let parts = lossy.split(',').map(str::trim).filter(|part| !part.is_empty());
    let hosts = parts.map(|part| parse(part.into(), source.clone()));
    Ok(Sourced::new(hosts.collect::<Result<_, _>>()?, source))
}

impl Settings {
    /// Puts the command for this account into the hint of a missing account file.
    pub fn of_account(&self, error: Error) -> Error {
        match error {
            Error::AccountMissing { path, fix: _ } => {
                Error::AccountMissing { path, fix: self.store_command() }
            }
            error => error,
        }
    }

    /// The command that deletes this account's token.
    pub fn forget_command(&self) -> String {
        let flag = match (&self.account.value, &self.account.source) {
            (_, Source::Default) => String::new(),
            (ChosenAccount::Named(name), _) => format!(" --account {name}"),
            (ChosenAccount::File(path), _) => {
                format!(" --service-account {}", shown::redacted(&path.to_string_lossy()))
            }
        };
        format!("astra-credential forget{flag}")
    }

    /// The command that stores a new secret of this account; `None` for one without a name.
    pub fn store_command(&self) -> Option<String> {
        match &self.account.value {
            ChosenAccount::Named(name) => Some(account_command(name)),
            ChosenAccount::File(_) => None,
        }
    }

    /// The route to Astra: the proxy, with its user and password, and the trusted authorities. A failure
    /// on one route does not apply to another. It is not shown; the cache keeps a digest of it.
    pub fn route(&self) -> Secret {
        let proxy = self.proxy.as_deref().unwrap_or_default();
        Secret::new(format!("{proxy} {:?} {:?}", self.ca_file.value, self.ca_folders))
    }
}

/// The command that stores the account of that name.
pub fn account_command(account: &str) -> String {
    match account {
        DEFAULT_ACCOUNT => "astra-credential setup account".to_owned(),
        name => format!("astra-credential setup account --account {name}"),
    }
}

/// The account, for messages.
impl fmt::Display for ChosenAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "the account `{name}`"),
            Self::File(path) => f.write_str(&shown::path(path)),
        }
    }
}

impl Configuration<'_> {
    /// The configuration files that were read; the first counts most.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| &*file.path)
    }

    /// The paths of the configuration files, also of those that do not exist.
    pub fn places(&self) -> Result<Vec<PathBuf>, Error> {
        let named = named_file(self.flags, self.env)?;
        Ok(match named {
            Some(named) => vec![named.value],
            None => usual_files(self.env, &self.folders).collect(),
        })
    }

    /// The settings of every account, the chosen one first; if a flag names an account, only that one.
    /// `stored` are the names of the account files in the configuration folder.
    ///
    /// # Errors
    /// An account is unknown, or a setting cannot be used.
    pub fn every_account(&self, stored: &[String]) -> Result<Vec<Settings>, Error> {
        if let Some(typed) = self.typed_account()? {
            return Ok(vec![self.resolve(typed)?]);
        }
        let chosen = self.chosen(None)?;
        let entered = self.entries().map(|entry| {
            let source = Source::Entry(Arc::clone(&entry.place));
            Sourced::new(ChosenAccount::Named(entry.name.clone()), source)
        });
        let others = stored
            .iter()
            .filter(|name| values::account_name(name).is_ok() && **name != DEFAULT_ACCOUNT);
        let others = others.map(|name| Sourced::default_of(ChosenAccount::Named(name.clone())));
        let default = Sourced::default_of(ChosenAccount::Named(DEFAULT_ACCOUNT.to_owned()));
        let has_default = self.file_of(DEFAULT_ACCOUNT).as_deref().is_some_and(self.exists);
        let default = has_default.then_some(default);
        let mut accounts: Vec<Sourced<ChosenAccount>> = Vec::new();
        for account in entered.chain(default).chain(others) {
            if !accounts.iter().any(|known| known.value == account.value) {
                accounts.push(account);
            }
        }
        // `default` without an entry and a file is listed only if there is no other account.
        let at = accounts.iter().position(|account| account.value == chosen.value);
        if at.is_some() || accounts.is_empty() || chosen.source != Source::Default {
            if let Some(at) = at {
                accounts.remove(at);
            }
            accounts.insert(0, chosen);
        }
        accounts.into_iter().map(|account| self.resolve(account)).collect()
    }

    /// The hosts that get this account's token from a call without flags.
    pub fn hosts_of(&self, settings: &Settings) -> Result<Vec<Sourced<Host>>, Error> {
        let Settings { account, api, .. } = settings;
        let name = match &account.value {
            ChosenAccount::Named(name) => Some(name.as_str()),
            ChosenAccount::File(_) => None,
        };
        let is_chosen = self.chosen(self.typed_account()?)?.value == account.value;
        let entry = name.and_then(|name| self.entry(name));
        let bound = entry.into_iter().flat_map(|entry| {
            let source = Source::Entry(Arc::clone(&entry.place));
            entry.hosts.iter().map(move |host| Sourced::new(host, source.clone()))
        });
        let further = self.further_hosts.iter().filter(|host| is_chosen && self.is_further(host));
        let further = further.map(|host| Sourced::new(host, self.further_hosts.source.clone()));
        let own = Sourced::new(&api.host, api.source.clone());
        let mut hosts: Vec<Sourced<Host>> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for host in [own].into_iter().chain(bound).chain(further) {
            let is_ours = match self.owner_of(host.value) {
                Some(owner) => Some(owner) == name,
                None => is_chosen,
            };
            if is_ours && seen.insert(host.value) {
                hosts.push(host.map(Host::clone));
            }
        }
        Ok(hosts)
    }

    /// The named account, or `default`, for `setup`.
    ///
    /// # Errors
    /// The name cannot be used, or, unless it `may_be_new`, there is no such account.
    pub fn named_account(&self, may_be_new: bool) -> Result<NamedAccount<'_>, Error> {
        let raw = ACCOUNT.lookup(self.flags.account.as_ref(), self.env);
        let account = match raw {
            Some(raw) => ACCOUNT.parse(raw, values::account_name)?,
            None => Sourced::default_of(DEFAULT_ACCOUNT.to_owned()),
        };
        let name = account.value.clone();
        let source = account.source.clone();
        let is_named = !matches!(source, Source::Default);
        let known = self.account_file(&account.map(ChosenAccount::Named), self.entry(&name));
        match (known, source) {
            (Err(unknown), _) if !may_be_new => return Err(unknown),
            (Err(_), Source::Flag(said) | Source::Variable(said))
                if !shown::is_usable_name(&name) =>
            {
                return Err(Error::Setting {
                    name: said,
                    value: name,
                    problem: "may be a secret and not the name of an account".to_owned(),
                    wanted: "a name made of words, such as `prod` or `team-eu2`",
                });
            }
            _ => {}
        }
        Ok(NamedAccount {
            file: self.file_of(&name),
            place: self.entry(&name).map(|entry| &*entry.place),
            other_file: SERVICE_ACCOUNT.variable(self.env).map(|raw| raw.value.into()),
            name,
            is_named,
        })
    }

    /// The flags that `setup account` writes into the account's entry, each as key and value.
    ///
    /// # Errors
    /// [`Error::Setting`]: a value cannot be used.
    pub fn entered(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let Self { flags, env, .. } = self;
        let text = |raw: &Raw| raw.value.to_string_lossy().into_owned();
        let mut entered = Vec::new();
        if let Some(raw) = API_URL.flag(flags.api_url.as_ref()) {
            let value = text(&raw);
            API_URL.parse(raw, Api::parse)?;
            entered.push(("api_url", value));
        }
        for (key, setting, flag) in [
            ("file", &SERVICE_ACCOUNT, &flags.service_account),
            ("ca_file", &CA_FILE, &flags.ca_file),
        ] {
            let Some(raw) = setting.flag(flag.as_ref()) else { continue };
            let value = raw.value.clone();
            let path = setting.path(raw, env)?.value;
            let path = std::path::absolute(&path).ok().filter(|path| shown::is_usable_path(path));
            let path = path.and_then(|path| path.to_str().map(str::to_owned));
            let path =
                path.ok_or_else(|| setting.unusable(setting.flag, &value, "is no usable path"));
            entered.push((key, path?));
        }
        if let Some(raw) = MIN_VALID.flag(flags.min_valid.as_ref()) {
            let value = text(&raw);
            MIN_VALID.parse(raw, values::whole_seconds)?;
            entered.push(("min_valid", value));
        }
        Ok(entered)
    }

    /// The time-out of the whole call.
    pub fn timeout(&self) -> Duration {
        *self.common.timeout
    }

    /// True if an account file is accepted that other users may read or change.
    pub fn allows_exposed(&self) -> bool {
        *self.common.allow_exposed
    }

    /// Every host that gets a token.
    ///
    /// # Errors
    /// An account is unknown, or a setting cannot be used.
    pub fn hosts(&self) -> Result<Vec<Host>, Error> {
        let accounts = self.every_account(&[])?;
        let hosts = accounts.iter().map(|settings| self.hosts_of(settings));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        Ok(hosts.map(|host| host.value).collect())
    }

    /// The hosts that flags or the environment add to those of the API and of the files.
    pub fn further_hosts(&self) -> &Sourced<Vec<Host>> {
        &self.further_hosts
    }

    /// The variables that contradict a configuration file, each with a predicate such as "names `prod`,
    /// which …".
    ///
    /// # Errors
    /// A variable cannot be used.
    pub fn contradictions(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let mut found = Vec::new();
        let chosen = self.account_of_variables()?;
        let binds = self.entries().find(|entry| !entry.hosts.is_empty());
        if let (Some(chosen), Some(entry)) = (&chosen, binds)
            && let Source::Variable(name) = chosen.source
            && self.entries().any(|entry| {
                !entry.hosts.is_empty() && chosen.value != ChosenAccount::Named(entry.name.clone())
            })
        {
            let says = format!(
                "names {}, which answers for no host that {} binds to another account",
                chosen.value,
                shown::path(&entry.place)
            );
            found.push((name, says));
        }
        let by_variable =
            chosen.map_or(ChosenAccount::Named(DEFAULT_ACCOUNT.to_owned()), |chosen| chosen.value);
        let listed = further_hosts(&[], self.env)?;
        for host in &listed.value {
            if let Some(bound) = self.binding(host)
                && by_variable != ChosenAccount::Named(bound.name.to_owned())
            {
                let says = format!(
                    "names {}, which {} binds to the account `{}`",
                    shown::quoted(&host.to_string()),
                    shown::path(bound.place),
                    bound.name
                );
                found.push((HOST.variable, says));
            }
        }
        if let ChosenAccount::Named(name) = &by_variable
            && let Some(entry) = self.entry(name)
            && let Some(api) = &entry.api
            && let Some(raw) = API_URL.variable(self.env)
            && API_URL.parse(raw, Api::parse).is_ok_and(|raw| raw.value != *api)
        {
            let says = format!(
                "does not count for the account `{name}`, whose `api_url` in {} is `{}`",
                shown::path(&entry.place),
                api.base
            );
            found.push((API_URL.variable, says));
        }
        Ok(found)
    }
}

impl Settings {
    /// Every setting, in the order of the configuration file.
    pub fn listed(&self, hosts: &[Sourced<Host>]) -> Vec<ListedSetting> {
        let listed = |name, value: String, source: &Source| ListedSetting {
            name,
            value,
            source: source.clone(),
        };
        let path = |name, path: &Sourced<Option<PathBuf>>, none: &str| {
            let text = path.as_deref().map(|path| redacted(&path.to_string_lossy()));
            listed(name, text.unwrap_or_else(|| none.to_owned()), &path.source)
        };
        let seconds = |seconds: u64| humantime::format_duration(Duration::from_secs(seconds));
        let min_valid = self.min_valid.and_then(|wanted| u64::try_from(wanted).ok());
        let min_valid =
            min_valid.map_or("the leeway".to_owned(), |wanted| seconds(wanted).to_string());
        let proxy = self.proxy.as_deref().map_or("none".to_owned(), crate::proxy::shown);
        let allowed = if *self.allow_exposed { "allowed" } else { "refused" };
        let timeout = humantime::format_duration(*self.timeout).to_string();
        let mut all = vec![
            path("file", &self.service_account, "none"),
            listed("api_url", redacted(&self.api.base), &self.api.source),
        ];
        all.extend(
            hosts.iter().map(|host| listed("hosts", redacted(&host.to_string()), &host.source)),
        );
        all.push(if *self.no_cache {
            listed("cache_dir", "off".to_owned(), &self.no_cache.source)
        } else {
            path("cache_dir", &self.cache_dir, "none")
        });
        let folders = self.ca_folders.iter().map(|folder| redacted(&folder.to_string_lossy()));
        all.push(match (&self.ca_file.value, self.ca_folders.is_empty()) {
            (None, false) => {
                let folders = folders.collect::<Vec<_>>().join(", ");
                listed("ca_file", folders, &self.ca_file.source)
            }
            _ => path("ca_file", &self.ca_file, "the system's"),
        });
        all.push(listed("proxy", proxy, &self.proxy.source));
        all.push(listed("timeout", timeout, &self.timeout.source));
        all.push(listed("min_valid", min_valid, &self.min_valid.source));
        all.push(listed("exposed_file", allowed.to_owned(), &self.allow_exposed.source));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USER: &str = "/home/x/.config/astra-credential/config.json";
    #[cfg(unix)]
    const MACHINE: &str = "/etc/astra-credential/config.json";

    fn folders() -> Folders {
        Folders {
            config: Some("/home/x/.config/astra-credential".into()),
            cache: Some("/home/x/.cache/astra-credential".into()),
        }
    }

    /// Calls `ask` with the configuration of these flags, `NAME=value` variables and files. No account
    /// file exists but `stored.json`.
    fn with<T>(
        flags: &Flags,
        variables: &[&str],
        files: &[(&str, &str)],
        ask: impl FnOnce(&Configuration<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let env = |name: &str| {
            let found =
                variables.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.map(OsString::from)
        };
        let parse = |(path, text): &(&str, &str)| {
            file::parse(text, Path::new(path), Some(Path::new("/home/x")))
        };
        let files = files.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let exists = |path: &Path| path.ends_with("stored.json");
        ask(&Configuration::new(flags, &env, folders(), files, &exists)?)
    }

    fn listing(settings: &Settings, hosts: &[Sourced<Host>]) -> String {
        let line = |ListedSetting { name, value, source }: ListedSetting| {
            format!("{name}: {value} ({source})")
        };
        let lines: Vec<_> = settings.listed(hosts).into_iter().map(line).collect();
        format!("{} ({})\n{}", settings.account.value, settings.account.source, lines.join("\n"))
    }

    fn shown(flags: &Flags, variables: &[&str], files: &[(&str, &str)]) -> String {
        let listed = with(flags, variables, files, |configuration| {
            let settings = configuration.settings()?;
            Ok(listing(&settings, &configuration.hosts_of(&settings)?))
        });
        listed.unwrap_or_else(|error| error.to_string())
    }

    fn from(variables: &[&str]) -> String {
        shown(&Flags::default(), variables, &[])
    }

    // Its paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn without_flags_variables_and_files_the_defaults_apply() {
        insta::assert_snapshot!(from(&[]), @"
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://api.astra.datastax.com (default)
        hosts: api.astra.datastax.com (default)
        cache_dir: /home/x/.cache/astra-credential (default)
        ca_file: the system's (default)
        proxy: none (default)
        timeout: 30s (default)
        min_valid: the leeway (default)
        exposed_file: refused (default)
        ");
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let empty = [
            "ASTRA_CREDENTIAL_ACCOUNT=",
            "ASTRA_SERVICE_ACCOUNT=",
            "ASTRA_API_URL=",
            "ASTRA_CREDENTIAL_HOSTS=",
            "ASTRA_CREDENTIAL_CACHE_DIR=",
            "SSL_CERT_FILE=",
            "ASTRA_CREDENTIAL_TIMEOUT=",
            "ASTRA_CREDENTIAL_MIN_VALID=",
            "ASTRA_CREDENTIAL_NO_CACHE=",
            "HTTPS_PROXY=",
            "https_proxy=",
        ];
        assert_eq!(from(&empty), from(&[]));
    }

    #[test]
    fn every_variable_counts() {
        let raw = [
            "ASTRA_SERVICE_ACCOUNT=/a.json",
            "ASTRA_API_URL=https://API.example.com:8443/astra/",
            "ASTRA_CREDENTIAL_HOSTS=git.example.com, Mirror.example.com:444",
            "ASTRA_CREDENTIAL_CACHE_DIR=/c",
            "SSL_CERT_FILE=/ca.pem",
            "ASTRA_CREDENTIAL_TIMEOUT=2.5",
            "ASTRA_CREDENTIAL_MIN_VALID=1h 30m",
            "HTTPS_PROXY=http://proxy:3128",
            "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=yes",
        ];
        insta::assert_snapshot!(from(&raw), @"
        `/a.json` (ASTRA_SERVICE_ACCOUNT)
        file: /a.json (ASTRA_SERVICE_ACCOUNT)
        api_url: https://api.example.com:8443/astra (ASTRA_API_URL)
        hosts: api.example.com:8443 (ASTRA_API_URL)
        hosts: git.example.com (ASTRA_CREDENTIAL_HOSTS)
        hosts: mirror.example.com:444 (ASTRA_CREDENTIAL_HOSTS)
        cache_dir: /c (ASTRA_CREDENTIAL_CACHE_DIR)
        ca_file: /ca.pem (SSL_CERT_FILE)
        proxy: proxy:3128 (HTTPS_PROXY)
        timeout: 2s 500ms (ASTRA_CREDENTIAL_TIMEOUT)
        min_valid: 1h 30m (ASTRA_CREDENTIAL_MIN_VALID)
        exposed_file: allowed (ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE)
        ");
        assert!(from(&["ASTRA_CREDENTIAL_NO_CACHE=1"]).contains("cache_dir: off"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_an_error_that_names_it() {
        let cases = [
            "ASTRA_API_URL=http://api.example.com",
            "ASTRA_API_URL=api.example.com",
            "ASTRA_API_URL=https://",
            "ASTRA_API_URL=https://user:pass@h",
            "ASTRA_API_URL=https://h/?q",
            "ASTRA_API_URL=https://h/#f",
            "ASTRA_CREDENTIAL_HOSTS=https://h",
            "ASTRA_CREDENTIAL_TIMEOUT=0",
            "ASTRA_CREDENTIAL_TIMEOUT=-1",
            "ASTRA_CREDENTIAL_TIMEOUT=NaN",
            "ASTRA_CREDENTIAL_TIMEOUT=inf",
            "ASTRA_CREDENTIAL_TIMEOUT=soon",
            "ASTRA_CREDENTIAL_MIN_VALID=-5",
            "ASTRA_CREDENTIAL_MIN_VALID=1 fortnight",
            "ASTRA_CREDENTIAL_NO_CACHE=maybe",
            "ASTRA_CREDENTIAL_ACCOUNT=a b",
            "ASTRA_CREDENTIAL_ACCOUNT=nope",
            "ASTRA_SERVICE_ACCOUNT=~me/a.json",
        ];
        let table: Vec<_> = cases.iter().map(|case| from(&[case])).collect();
        insta::assert_snapshot!(table.join("\n"), @"
        `ASTRA_API_URL` is `http://api.example.com`, which is not `https`
        `ASTRA_API_URL` is `api.example.com`, which is not `https`
        `ASTRA_API_URL` is `https://`, which is not a plain URL
        `ASTRA_API_URL` is `https://…@h`, which is not a plain URL
        `ASTRA_API_URL` is `https://h/?…`, which has a query
        `ASTRA_API_URL` is `https://h/#…`, which is not a plain URL
        `ASTRA_CREDENTIAL_HOSTS` is `https://h`, which is not a host
        `ASTRA_CREDENTIAL_TIMEOUT` is `0`, which is not between 0 and a day
        `ASTRA_CREDENTIAL_TIMEOUT` is `-1`, which is not between 0 and a day
        `ASTRA_CREDENTIAL_TIMEOUT` is `NaN`, which is not between 0 and a day
        `ASTRA_CREDENTIAL_TIMEOUT` is `inf`, which is not between 0 and a day
        `ASTRA_CREDENTIAL_TIMEOUT` is `soon`, which is not a duration
        `ASTRA_CREDENTIAL_MIN_VALID` is `-5`, which is not a duration
        `ASTRA_CREDENTIAL_MIN_VALID` is `1 fortnight`, which is not a duration
        `ASTRA_CREDENTIAL_NO_CACHE` is `maybe`, which is neither yes nor no
        `ASTRA_CREDENTIAL_ACCOUNT` is `a b`, which is not 1 to 64 letters, digits, `-` and `_`
        there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
        `ASTRA_SERVICE_ACCOUNT` is `~me/a.json`, which begins with `~` and a name, which is not replaced by a home
        ");
    }

    /// Four accounts. `alone` has an API of its own; `one` and `two` share another.
    const ACCOUNTS: &str = r#"{
      "accounts": {
        "default": { "hosts": ["git.example.com"] },
        "prod": { "hosts": ["git.prod.example"], "api_url": "https://api.astra.datastax.com" },
        "alone": { "api_url": "https://api.alone.example", "hosts": [] },
        "one": { "api_url": "https://api.shared.example" },
        "two": { "api_url": "https://api.shared.example" },
      }
    }"#;

    /// The account for each host, given words such as `--account prod` and `NAME=value`.
    fn answers(words: &str, files: &[(&str, &str)], hosts: &[&str]) -> String {
        let mut flags = Flags::default();
        let mut variables = Vec::new();
        let mut words = words.split(' ').filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let mut value = || Some(OsString::from(words.next().unwrap()));
            match word {
                "--account" => flags.account = value(),
                "--service-account" => flags.service_account = value(),
                "--api-url" => flags.api_url = value(),
                "--host" => flags.host.extend(value()),
                _ => variables.push(word),
            }
        }
        let answer = |host: &&str| {
            let answer = with(&flags, &variables, files, |configuration| {
                let settings = configuration.settings_for(&Host::parse(host).unwrap())?;
                Ok(settings.map_or("nobody".to_owned(), |settings| {
                    format!("{} at {}", settings.account.value, settings.api.host)
                }))
            });
            format!("  {host}: {}", answer.unwrap_or_else(|error| error.to_string()))
        };
        hosts.iter().map(answer).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn which_account_answers() {
        let hosts = [
            "api.astra.datastax.com",
            "git.example.com",
            "git.prod.example",
            "api.alone.example",
            "api.shared.example",
            "further.example",
            "stranger.example",
        ];
        let cases = [
            "",
            "--account default",
            "--account prod",
            "--account one",
            "--account nope",
            "--account stored",
            "--service-account /x.json",
            "--service-account /home/x/.config/astra-credential/prod.json",
            "--host further.example",
            "--host git.prod.example --host further.example",
            "--account prod --host further.example --host git.example.com",
            "--account prod --api-url https://api.alone.example",
            "--account prod ASTRA_CREDENTIAL_HOSTS=further.example",
            "--service-account /x.json ASTRA_CREDENTIAL_HOSTS=further.example",
            "ASTRA_CREDENTIAL_ACCOUNT=prod ASTRA_CREDENTIAL_HOSTS=further.example,git.example.com",
            "ASTRA_CREDENTIAL_ACCOUNT=one",
            "ASTRA_CREDENTIAL_ACCOUNT=nope",
            "ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_CREDENTIAL_HOSTS=git.example.com,git.prod.example,further.example",
            "ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.alone.example",
            "ASTRA_API_URL=https://api.elsewhere.example",
            "ASTRA_API_URL=https://git.prod.example",
            "ASTRA_CREDENTIAL_ACCOUNT=alone ASTRA_API_URL=https://api.elsewhere.example",
        ];
        let files = [(USER, ACCOUNTS)];
        let table: Vec<_> =
            cases.map(|case| format!("`{case}`\n{}", answers(case, &files, &hosts))).into();
        insta::assert_snapshot!(table.join("\n"), @"
        ``
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--account default`
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `default`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `default`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--account prod`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--account one`
          api.astra.datastax.com: nobody
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `one`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `one`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `one`
          api.shared.example: the account `one` at api.shared.example
          further.example: nobody
          stranger.example: nobody
        `--account nope`
          api.astra.datastax.com: there is no account `nope`, which `--account` names
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `nope`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `nope`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `nope`
          api.shared.example: there is no account `nope`, which `--account` names
          further.example: there is no account `nope`, which `--account` names
          stranger.example: there is no account `nope`, which `--account` names
        `--account stored`
          api.astra.datastax.com: the account `stored` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `stored`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `stored`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `stored`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--service-account /x.json`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of `/x.json`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of `/x.json`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of `/x.json`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--service-account /home/x/.config/astra-credential/prod.json`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--host further.example`
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: the account `default` at api.astra.datastax.com
          stranger.example: nobody
        `--host git.prod.example --host further.example`
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: the account `default` at api.astra.datastax.com
          stranger.example: nobody
        `--account prod --host further.example --host git.example.com`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
          api.shared.example: nobody
          further.example: the account `prod` at api.astra.datastax.com
          stranger.example: nobody
        `--account prod --api-url https://api.alone.example`
          api.astra.datastax.com: nobody
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          git.prod.example: the account `prod` at api.alone.example
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--account prod ASTRA_CREDENTIAL_HOSTS=further.example`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `--service-account /x.json ASTRA_CREDENTIAL_HOSTS=further.example`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of `/x.json`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of `/x.json`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of `/x.json`
          api.shared.example: nobody
          further.example: `/x.json` at api.astra.datastax.com
          stranger.example: nobody
        `ASTRA_CREDENTIAL_ACCOUNT=prod ASTRA_CREDENTIAL_HOSTS=further.example,git.example.com`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: the account `prod` at api.astra.datastax.com
          stranger.example: nobody
        `ASTRA_CREDENTIAL_ACCOUNT=one`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: the account `one` at api.shared.example
          further.example: nobody
          stranger.example: nobody
        `ASTRA_CREDENTIAL_ACCOUNT=nope`
          api.astra.datastax.com: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          further.example: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          stranger.example: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
        `ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_CREDENTIAL_HOSTS=git.example.com,git.prod.example,further.example`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          git.example.com: the account `default` at api.astra.datastax.com
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: `/x.json` at api.astra.datastax.com
          stranger.example: nobody
        `ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.alone.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.alone.example
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `ASTRA_API_URL=https://api.elsewhere.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.elsewhere.example
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `ASTRA_API_URL=https://git.prod.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at git.prod.example
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        `ASTRA_CREDENTIAL_ACCOUNT=alone ASTRA_API_URL=https://api.elsewhere.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.elsewhere.example
          git.prod.example: the account `prod` at api.astra.datastax.com
          api.alone.example: the account `alone` at api.alone.example
          api.shared.example: nobody
          further.example: nobody
          stranger.example: nobody
        ");
    }

    #[test]
    fn without_a_file_the_variables_choose_account_and_hosts() {
        let hosts = ["api.astra.datastax.com", "api.other.example", "git.example.com", "x.example"];
        let cases = [
            "",
            "--host git.example.com ASTRA_CREDENTIAL_HOSTS=x.example",
            "ASTRA_CREDENTIAL_HOSTS=git.example.com",
            "--service-account /x.json ASTRA_CREDENTIAL_HOSTS=git.example.com",
            "ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.other.example",
        ];
        let table: Vec<_> =
            cases.map(|case| format!("`{case}`\n{}", answers(case, &[], &hosts))).into();
        insta::assert_snapshot!(table.join("\n"), @"
        ``
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          api.other.example: nobody
          git.example.com: nobody
          x.example: nobody
        `--host git.example.com ASTRA_CREDENTIAL_HOSTS=x.example`
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          api.other.example: nobody
          git.example.com: the account `default` at api.astra.datastax.com
          x.example: nobody
        `ASTRA_CREDENTIAL_HOSTS=git.example.com`
          api.astra.datastax.com: the account `default` at api.astra.datastax.com
          api.other.example: nobody
          git.example.com: the account `default` at api.astra.datastax.com
          x.example: nobody
        `--service-account /x.json ASTRA_CREDENTIAL_HOSTS=git.example.com`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          api.other.example: nobody
          git.example.com: `/x.json` at api.astra.datastax.com
          x.example: nobody
        `ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.other.example`
          api.astra.datastax.com: nobody
          api.other.example: `/x.json` at api.other.example
          git.example.com: nobody
          x.example: nobody
        ");
    }

    // Its paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn the_users_file_is_laid_over_the_machines() {
        let user = r#"{
          "accounts": {
            "default": { "hosts": ["both.example"] },
            "prod": { "file": "mine.json", "hosts": ["mine.example"] },
          },
          "timeout": "5s",
        }"#;
        let machine = r#"{
          "accounts": {
            "prod": { "file": "prod.json", "hosts": ["theirs.example"] },
            "ci": { "file": "ci.json", "hosts": ["ci.example", "both.example"], "min_valid": "1h" },
          },
          "timeout": "9s",
          "cache_dir": "cache",
        }"#;
        let files = [(USER, user), (MACHINE, machine)];
        let hosts = ["both.example", "mine.example", "theirs.example", "ci.example"];
        insta::assert_snapshot!(answers("", &files, &hosts), @"
        both.example: the account `default` at api.astra.datastax.com
        mine.example: the account `prod` at api.astra.datastax.com
        theirs.example: nobody
        ci.example: the account `ci` at api.astra.datastax.com
        ");
        for name in ["prod", "ci"] {
            let flags = Flags { account: Some(name.into()), ..Flags::default() };
            insta::allow_duplicates! {
                let listed = shown(&flags, &[], &files);
                assert!(!listed.contains("theirs") && !listed.contains("9s"), "{listed}");
            }
        }
        let flags = Flags { account: Some("ci".into()), ..Flags::default() };
        insta::assert_snapshot!(shown(&flags, &[], &files), @"
        the account `ci` (--account)
        file: /etc/astra-credential/ci.json (/etc/astra-credential/config.json)
        api_url: https://api.astra.datastax.com (default)
        hosts: api.astra.datastax.com (default)
        hosts: ci.example (/etc/astra-credential/config.json)
        cache_dir: /etc/astra-credential/cache (/etc/astra-credential/config.json)
        ca_file: the system's (default)
        proxy: none (default)
        timeout: 5s (/home/x/.config/astra-credential/config.json)
        min_valid: 1h (/etc/astra-credential/config.json)
        exposed_file: refused (default)
        ");
    }

    // Its paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn a_setting_comes_from_the_nearest_place() {
        let file = r#"{
          "accounts": { "default": {
            "api_url": "https://entry.example", "ca_file": "/entry.pem", "min_valid": "2h",
          } },
          "ca_file": "/top.pem", "min_valid": "3h", "timeout": "3s", "cache_dir": "/top",
        }"#;
        let top = r#"{ "ca_file": "/top.pem", "min_valid": "3h" }"#;
        let variables = [
            "ASTRA_API_URL=https://variable.example",
            "SSL_CERT_FILE=/variable.pem",
            "ASTRA_CREDENTIAL_MIN_VALID=1h",
            "ASTRA_CREDENTIAL_TIMEOUT=1",
            "ASTRA_CREDENTIAL_CACHE_DIR=/variable",
        ];
        let flags = Flags {
            api_url: Some("https://flag.example".into()),
            ca_file: Some("/flag.pem".into()),
            min_valid: Some("10m".into()),
            timeout: Some("0.5".into()),
            cache_dir: Some("/flag".into()),
            ..Flags::default()
        };
        let none = Flags::default();
        let cases = [
            ("flags", shown(&flags, &variables, &[(USER, file)])),
            ("variables and an entry", shown(&none, &variables, &[(USER, file)])),
            ("variables and the top level", shown(&none, &variables, &[(USER, top)])),
            ("an entry", shown(&none, &[], &[(USER, file)])),
            ("the top level", shown(&none, &[], &[(USER, top)])),
        ];
        let table = cases.map(|(case, listed)| format!("{case}:\n{listed}"));
        insta::assert_snapshot!(table.join("\n"), @"
        flags:
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://flag.example (--api-url)
        hosts: flag.example (--api-url)
        cache_dir: /flag (--cache-dir)
        ca_file: /flag.pem (--ca-file)
        proxy: none (default)
        timeout: 500ms (--timeout)
        min_valid: 10m (--min-valid)
        exposed_file: refused (default)
        variables and an entry:
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://entry.example (/home/x/.config/astra-credential/config.json)
        hosts: entry.example (/home/x/.config/astra-credential/config.json)
        cache_dir: /variable (ASTRA_CREDENTIAL_CACHE_DIR)
        ca_file: /entry.pem (/home/x/.config/astra-credential/config.json)
        proxy: none (default)
        timeout: 1s (ASTRA_CREDENTIAL_TIMEOUT)
        min_valid: 1h (ASTRA_CREDENTIAL_MIN_VALID)
        exposed_file: refused (default)
        variables and the top level:
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://variable.example (ASTRA_API_URL)
        hosts: variable.example (ASTRA_API_URL)
        cache_dir: /variable (ASTRA_CREDENTIAL_CACHE_DIR)
        ca_file: /variable.pem (SSL_CERT_FILE)
        proxy: none (default)
        timeout: 1s (ASTRA_CREDENTIAL_TIMEOUT)
        min_valid: 1h (ASTRA_CREDENTIAL_MIN_VALID)
        exposed_file: refused (default)
        an entry:
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://entry.example (/home/x/.config/astra-credential/config.json)
        hosts: entry.example (/home/x/.config/astra-credential/config.json)
        cache_dir: /top (/home/x/.config/astra-credential/config.json)
        ca_file: /entry.pem (/home/x/.config/astra-credential/config.json)
        proxy: none (default)
        timeout: 3s (/home/x/.config/astra-credential/config.json)
        min_valid: 2h (/home/x/.config/astra-credential/config.json)
        exposed_file: refused (default)
        the top level:
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://api.astra.datastax.com (default)
        hosts: api.astra.datastax.com (default)
        cache_dir: /home/x/.cache/astra-credential (default)
        ca_file: /top.pem (/home/x/.config/astra-credential/config.json)
        proxy: none (default)
        timeout: 30s (default)
        min_valid: 3h (/home/x/.config/astra-credential/config.json)
        exposed_file: refused (default)
        ");
    }

    #[test]
    fn a_variable_does_not_send_another_accounts_secret_elsewhere() {
        let file = r#"{ "accounts": { "prod": { "hosts": ["git.prod.example"] } } }"#;
        let files = [(USER, file)];
        let case = |words: &str| answers(words, &files, &["git.prod.example"]);
        let home = "  git.prod.example: the account `prod` at api.astra.datastax.com";
        assert_eq!(case("ASTRA_API_URL=https://dev.example"), home);
        assert_eq!(case("ASTRA_API_URL=https://dev.example --account prod"), home);
        let chosen = case("ASTRA_API_URL=https://dev.example ASTRA_CREDENTIAL_ACCOUNT=prod");
        assert_eq!(chosen, "  git.prod.example: the account `prod` at dev.example");
    }

    #[test]
    fn left_over_variables_that_contradict_a_file_are_named() {
        let variables = [
            "ASTRA_SERVICE_ACCOUNT=/x.json",
            "ASTRA_CREDENTIAL_HOSTS=git.prod.example,other.example",
        ];
        let listed = |variables: &[&str]| {
            let found = with(&Flags::default(), variables, &[(USER, ACCOUNTS)], |configuration| {
                configuration.contradictions()
            });
            let lines = found.unwrap().into_iter().map(|(name, says)| format!("{name} {says}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(listed(&variables), @"
        ASTRA_SERVICE_ACCOUNT names `/x.json`, which answers for no host that `/home/x/.config/astra-credential/config.json` binds to another account
        ASTRA_CREDENTIAL_HOSTS names `git.prod.example`, which `/home/x/.config/astra-credential/config.json` binds to the account `prod`
        ");
        insta::assert_snapshot!(listed(&["ASTRA_CREDENTIAL_ACCOUNT=alone", "ASTRA_API_URL=https://h"]), @"
        ASTRA_CREDENTIAL_ACCOUNT names the account `alone`, which answers for no host that `/home/x/.config/astra-credential/config.json` binds to another account
        ASTRA_API_URL does not count for the account `alone`, whose `api_url` in `/home/x/.config/astra-credential/config.json` is `https://api.alone.example`
        ");
        assert_eq!(
            listed(&["ASTRA_CREDENTIAL_HOSTS=git.example.com", "ASTRA_API_URL=https://h"]),
            ""
        );
    }

    #[test]
    fn every_account_is_listed_once_and_the_chosen_one_first() {
        let names = |variables: &[&str], files: &[(&str, &str)]| {
            let found = with(&Flags::default(), variables, files, |configuration| {
                configuration.every_account(&["stored".to_owned()])
            });
            let found =
                found.unwrap().into_iter().map(|settings| settings.account.value.to_string());
            found.collect::<Vec<_>>().join(", ")
        };
        insta::assert_snapshot!(names(&[], &[(USER, ACCOUNTS)]), @"the account `default`, the account `prod`, the account `alone`, the account `one`, the account `two`, the account `stored`");
        insta::assert_snapshot!(names(&["ASTRA_CREDENTIAL_ACCOUNT=one"], &[(USER, ACCOUNTS)]), @"the account `one`, the account `default`, the account `prod`, the account `alone`, the account `two`, the account `stored`");
        insta::assert_snapshot!(names(&["ASTRA_SERVICE_ACCOUNT=/x.json"], &[]), @"`/x.json`, the account `stored`");
        let sole = r#"{ "accounts": { "sole": {} } }"#;
        insta::assert_snapshot!(names(&[], &[(USER, sole)]), @"the account `sole`, the account `stored`");
    }

    fn sometimes(values: &[&'static str]) -> impl Strategy<Value = Option<&'static str>> {
        proptest::option::of(proptest::sample::select(values.to_vec()))
    }

    proptest! {
        #[test]
        fn no_value_makes_a_setting_panic(value in any::<String>()) {
            for name in ["ASTRA_API_URL", "ASTRA_CREDENTIAL_HOSTS", "ASTRA_CREDENTIAL_TIMEOUT",
                "ASTRA_CREDENTIAL_MIN_VALID", "ASTRA_CREDENTIAL_ACCOUNT", "HTTPS_PROXY", "NO_PROXY"] {
                from(&[&format!("{name}={value}")]);
            }
        }

        /// With any variables, a bound host gets its own account or none.
        #[test]
        fn no_variable_moves_a_bound_host(
            account in sometimes(&["default", "prod", "alone", "one"]),
            file in sometimes(&["/x.json", "/home/x/.config/astra-credential/prod.json",
                "/home/x/.config/astra-credential/service-account.json"]),
            api in sometimes(&["https://git.prod.example", "https://git.example.com",
                "https://api.alone.example", "https://x.example"]),
            hosts in sometimes(&["git.prod.example", "git.example.com,git.prod.example",
                "api.alone.example"]),
        ) {
            let raw = [("ASTRA_CREDENTIAL_ACCOUNT", account), ("ASTRA_SERVICE_ACCOUNT", file),
                ("ASTRA_API_URL", api), ("ASTRA_CREDENTIAL_HOSTS", hosts)];
            let variables: Vec<_> = raw.into_iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
            let variables: Vec<_> = variables.iter().map(String::as_str).collect();
            let bound = [("git.example.com", "default"), ("git.prod.example", "prod"),
                ("api.alone.example", "alone")];
            for (host, owner) in bound {
                let settings = with(&Flags::default(), &variables, &[(USER, ACCOUNTS)], |c| {
                    c.settings_for(&Host::parse(host).unwrap())
                }).unwrap().unwrap();
                prop_assert_eq!(&settings.account.value, &ChosenAccount::Named(owner.to_owned()));
                if owner == "alone" {
                    prop_assert_eq!(settings.api.host.to_string(), "api.alone.example");
                }
            }
        }
    }
}
