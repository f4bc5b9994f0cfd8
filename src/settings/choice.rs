//! The choice of the account for a call, by flags, environment variables and configuration files.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::file::Entry;
use super::setting::{ACCOUNT, HOST, SERVICE_ACCOUNT, text};
use super::sourced::{Source, Sourced};
use super::sources::Sources;
use super::values::{DEFAULT_ACCOUNT, DEFAULT_API};
use crate::error::Error;
use crate::protocol::Host;
use crate::shown;

/// The account that was chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChosenAccount {
    /// Chosen by name.
    Named(String),
    /// Chosen by its file, which is not the file of a named account.
    File(PathBuf),
}

impl ChosenAccount {
    /// The account of that name.
    pub fn named(name: &str) -> Self {
        Self::Named(name.to_owned())
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::File(_) => None,
        }
    }

    /// The account with that file. The file of an account that has a name is that account, however its path is
    /// written: another account would have another API, to which the secret must not be sent.
    fn of_file(path: PathBuf, sources: &Sources<'_>) -> Self {
        let named = |has_file: &dyn Fn(&Path) -> bool| {
            let has_it =
                |name: &&str| sources.account_file(name).is_some_and(|file| has_file(&file));
            sources.names().find(has_it).map(Self::named)
        };
        named(&|file| file == path)
            .or_else(|| {
                // Without an entry, a name makes no difference.
                sources.entries().next()?;
                let identity = identity(&path)?;
                named(&|file| self::identity(file).is_some_and(|other| other == identity))
            })
            .unwrap_or(Self::File(path))
    }
}

/// A value that is equal for two paths of the same file; `None` if there is no file.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|data| (data.dev(), data.ino()))
}

/// A value that is equal for two paths of the same file; `None` if there is no file.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// The account, safe to show.
impl fmt::Display for ChosenAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "the account {}", shown::account(name)),
            Self::File(path) => f.write_str(&shown::path(path)),
        }
    }
}

/// The account that a flag names.
///
/// # Errors
/// [`Error::Usage`]: two flags each name one. [`Error::Setting`]: a flag cannot be used.
pub fn typed(sources: &Sources<'_>) -> Result<Option<Sourced<ChosenAccount>>, Error> {
    let is_typed = |flag| sources.flags.value(flag).is_some();
    if is_typed(ACCOUNT.flag) && is_typed(SERVICE_ACCOUNT.flag) {
        return Err(Error::Usage {
            problem: "`--account` and `--service-account` each name an account".to_owned(),
            help: "astra-credential --help".to_owned(),
        });
    }
    either(sources.flag(&ACCOUNT)?, || sources.flag(&SERVICE_ACCOUNT), sources)
}

/// The account that a variable names.
///
/// # Errors
/// [`Error::Setting`]: the variable cannot be used.
pub fn by_variable(sources: &Sources<'_>) -> Result<Option<Sourced<ChosenAccount>>, Error> {
    either(sources.variable(&ACCOUNT)?, || sources.variable(&SERVICE_ACCOUNT), sources)
}

/// The account of that name, or else the one with that file.
fn either(
    name: Option<Sourced<String>>,
    file: impl FnOnce() -> Result<Option<Sourced<PathBuf>>, Error>,
    sources: &Sources<'_>,
) -> Result<Option<Sourced<ChosenAccount>>, Error> {
    Ok(match name {
        Some(name) => Some(name.map(ChosenAccount::Named)),
        None => file()?.map(|file| file.map(|path| ChosenAccount::of_file(path, sources))),
    })
}

/// The account that a flag or variable names, or `default`.
pub fn chosen(sources: &Sources<'_>) -> Result<Sourced<ChosenAccount>, Error> {
    typed(sources)?.map_or_else(|| untyped(sources), Ok)
}

/// The account that a variable names, or `default`.
pub fn untyped(sources: &Sources<'_>) -> Result<Sourced<ChosenAccount>, Error> {
    let default = || Sourced::default_of(ChosenAccount::named(DEFAULT_ACCOUNT));
    Ok(by_variable(sources)?.unwrap_or_else(default))
}

/// The entry of the account to which a configuration file binds `host`. Flags and variables are ignored.
pub fn owner<'s>(sources: &'s Sources<'_>, host: &Host) -> Option<&'s Entry> {
    let by_hosts = sources.entries().find(|entry| entry.hosts.contains(host));
    by_hosts.or_else(|| sole_user(sources, host))
}

/// The account whose entry has an `api_url` with that host, if no other account uses that API.
fn sole_user<'s>(sources: &'s Sources<'_>, host: &Host) -> Option<&'s Entry> {
    let has_it = |entry: &&Entry| entry.api.as_ref().is_some_and(|api| api.host == *host);
    let mut users = sources.entries().filter(has_it);
    let (Some(user), None) = (users.next(), users.next()) else {
        return None;
    };
    let is_default_api = || DEFAULT_API.strip_prefix("https://") == Some(&*host.to_string());
    let has_no_api = |name: &str| sources.entry(name).is_none_or(|entry| entry.api.is_none());
    let uses_default_api = || sources.names().any(has_no_api);
    (!(is_default_api() && uses_default_api())).then_some(user)
}

/// The hosts of `--host`, or else those of `ASTRA_CREDENTIAL_HOSTS`.
///
/// # Errors
/// [`Error::Setting`] names the flag or variable that cannot be used.
pub fn further_hosts(sources: &Sources<'_>) -> Result<Sourced<Vec<Host>>, Error> {
    match sources.flags.value(HOST.flag) {
        None => hosts_of_variable(sources),
        Some(_) => {
            let typed = sources.flags.values_of(HOST.flag).cloned();
            hosts(typed, Source::Flag(HOST.flag), sources)
        }
    }
}

/// The hosts of `ASTRA_CREDENTIAL_HOSTS`.
///
/// # Errors
/// [`Error::Setting`]: it cannot be used.
pub fn hosts_of_variable(sources: &Sources<'_>) -> Result<Sourced<Vec<Host>>, Error> {
    let Some(listed) = text(sources.env, HOST.variable) else {
        return Ok(Sourced::default_of(Vec::new()));
    };
    let parts = listed.split(',').map(str::trim).filter(|part| !part.is_empty());
    hosts(parts.map(OsString::from), Source::Variable(HOST.variable), sources)
}

fn hosts(
    listed: impl Iterator<Item = OsString>,
    source: Source,
    sources: &Sources<'_>,
) -> Result<Sourced<Vec<Host>>, Error> {
    let read = |raw| HOST.parse(Sourced::new(raw, source.clone()), sources.env);
    let hosts = listed.map(|raw| read(raw).map(|host| host.value)).collect::<Result<_, _>>()?;
    Ok(Sourced::new(hosts, source))
}
