//! The account that `setup` configures, and the flags that it writes into the account's entry.

use std::path::{Path, PathBuf};

use super::choice::ChosenAccount;
use super::resolve::account_file;
use super::setting::{ACCOUNT, API_URL, CA_FILE, MIN_VALID, SERVICE_ACCOUNT, Setting, variable};
use super::sourced::{Source, Sourced};
use super::sources::Sources;
use super::values::DEFAULT_ACCOUNT;
use crate::error::Error;
use crate::shown;

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

impl<'a> NamedAccount<'a> {
    /// The account that a flag or a variable names, or `default`.
    ///
    /// # Errors
    /// The name cannot be used, or, unless it `may_be_new`, there is no such account.
    pub fn find(sources: &'a Sources<'_>, may_be_new: bool) -> Result<Self, Error> {
        let named = sources.flag_or_variable(&ACCOUNT)?;
        let account = named.unwrap_or_else(|| Sourced::default_of(DEFAULT_ACCOUNT.to_owned()));
        let known = account_file(&account.clone().map(ChosenAccount::Named), sources);
        let Sourced { value: name, source } = account;
        let is_named = source != Source::Default;
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
        Ok(Self {
            file: sources.account_file(&name),
            place: sources.entry(&name).map(|entry| &*entry.place),
            other_file: variable(sources.env, SERVICE_ACCOUNT.variable).map(PathBuf::from),
            name,
            is_named,
        })
    }
}

/// The flags that `setup account` writes into the account's entry, each as key and value.
///
/// # Errors
/// [`Error::Setting`]: a value cannot be used.
pub fn entered(sources: &Sources<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let values = [
        ("api_url", text(&API_URL, sources)?),
        ("file", path(&SERVICE_ACCOUNT, sources)?),
        ("ca_file", path(&CA_FILE, sources)?),
        ("min_valid", text(&MIN_VALID, sources)?),
    ];
    Ok(values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// The text of a flag, if it can be used.
fn text<T>(setting: &Setting<T>, sources: &Sources<'_>) -> Result<Option<String>, Error> {
    let Some(raw) = sources.flags.value(setting.flag) else { return Ok(None) };
    sources.flag(setting)?;
    Ok(Some(raw.to_string_lossy().into_owned()))
}

/// The absolute form of a flag's path. The path is checked as it was typed: its absolute form is below the
/// working folder, in which a secret would be an unusual name.
fn path(setting: &Setting<PathBuf>, sources: &Sources<'_>) -> Result<Option<String>, Error> {
    let Some(path) = sources.flag(setting)? else { return Ok(None) };
    let usable = shown::is_usable_path(&path.value).then_some(&path.value);
    let absolute = usable.and_then(|path| std::path::absolute(path).ok());
    match absolute.and_then(|path| path.to_str().map(str::to_owned)) {
        None => Err(setting.unusable(&path, "is no usable path")),
        text => Ok(text),
    }
}
