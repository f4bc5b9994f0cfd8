//! The settings that have a flag and a variable, and the variables without a flag.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::sourced::{Source, Sourced};
use super::values::{self, Api};
use crate::error::Error;
use crate::protocol::Host;

/// Looks up a variable.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// A setting: its flag, its variable, and how their text is read.
pub struct Setting<T> {
    /// The flag.
    pub flag: &'static str,
    /// The variable.
    pub variable: &'static str,
    /// The description of its value, for hints.
    pub wanted: &'static str,
    /// Reads a value. The error is a predicate, such as "is not a duration".
    parse: fn(&OsStr, &Environment<'_>) -> Result<T, &'static str>,
}

pub static ACCOUNT: Setting<String> = Setting {
    flag: "--account",
    variable: "ASTRA_CREDENTIAL_ACCOUNT",
    wanted: "the name of an account: up to 64 letters, digits, `-` and `_`",
    parse: |raw, _| utf_8(raw, values::account_name),
};
pub static SERVICE_ACCOUNT: Setting<PathBuf> = Setting {
    flag: "--service-account",
    variable: "ASTRA_SERVICE_ACCOUNT",
    wanted: "the absolute path of a file",
    parse: expanded,
};
pub static CONFIG: Setting<PathBuf> = Setting {
    flag: "--config",
    variable: "ASTRA_CREDENTIAL_CONFIG",
    wanted: "the absolute path of a file",
    parse: expanded,
};
pub static API_URL: Setting<Api> = Setting {
    flag: "--api-url",
    variable: "ASTRA_API_URL",
    wanted: "the API's base without `/v2`, such as `https://api.astra.datastax.com`",
    parse: |raw, _| utf_8(raw, Api::parse),
};
/// The variable lists several, separated by commas.
pub static HOST: Setting<Host> = Setting {
    flag: "--host",
    variable: "ASTRA_CREDENTIAL_HOSTS",
    wanted: "a host as it stands in a URL, with its port unless that is 443, such as \
             `git.example.com:8443`",
    parse: |raw, _| utf_8(raw, values::typed_host),
};
pub static CACHE_DIR: Setting<PathBuf> = Setting {
    flag: "--cache-dir",
    variable: "ASTRA_CREDENTIAL_CACHE_DIR",
    wanted: "the absolute path of a folder",
    parse: expanded,
};
pub static CA_FILE: Setting<PathBuf> = Setting {
    flag: "--ca-file",
    variable: "SSL_CERT_FILE",
    wanted: "the absolute path of a file of PEM certificates",
    parse: expanded,
};
pub static TIMEOUT: Setting<std::time::Duration> = Setting {
    flag: "--timeout",
    variable: "ASTRA_CREDENTIAL_TIMEOUT",
    wanted: "seconds or a duration, such as `30`, `2.5` or `10s`",
    parse: |raw, _| utf_8(raw, values::timeout),
};
pub static MIN_VALID: Setting<i64> = Setting {
    flag: "--min-valid",
    variable: "ASTRA_CREDENTIAL_MIN_VALID",
    wanted: "a duration, such as `90s`, `30m`, `2h` or bare seconds",
    parse: |raw, _| utf_8(raw, values::whole_seconds),
};

/// The flags of these settings.
pub static FLAGS: [&str; 9] = [
    ACCOUNT.flag,
    SERVICE_ACCOUNT.flag,
    CONFIG.flag,
    API_URL.flag,
    HOST.flag,
    CACHE_DIR.flag,
    CA_FILE.flag,
    TIMEOUT.flag,
    MIN_VALID.flag,
];

/// The variable that switches the log on standard error on.
pub const LOG: &str = "ASTRA_CREDENTIAL_LOG";
/// The variable that switches the cache off.
pub const NO_CACHE: &str = "ASTRA_CREDENTIAL_NO_CACHE";
/// The variable that accepts an account file which other users may read or change.
pub const ALLOW_EXPOSED: &str = "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE";
/// The variable that lists folders of certificate authorities to trust, if no file is named.
pub const CA_FOLDER: &str = "SSL_CERT_DIR";
/// The variable with the home directory.
pub const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

impl<T> Setting<T> {
    /// Reads the text of a flag or variable.
    ///
    /// # Errors
    /// [`Error::Setting`]: it cannot be used.
    pub fn parse(
        &self,
        raw: Sourced<OsString>,
        env: &Environment<'_>,
    ) -> Result<Sourced<T>, Error> {
        match (self.parse)(&raw.value, env) {
            Ok(value) => Ok(Sourced::new(value, raw.source)),
            Err(problem) => Err(self.unusable(&raw, problem)),
        }
    }

    /// The error for a value that cannot be used.
    pub fn unusable(&self, raw: &Sourced<impl AsRef<OsStr>>, problem: &str) -> Error {
        let name = match raw.source {
            Source::Flag(name) | Source::Variable(name) => name,
            _ => self.variable,
        };
        let value = raw.value.as_ref().to_string_lossy().into_owned();
        Error::Setting { name, value, problem: problem.to_owned(), wanted: self.wanted }
    }
}

/// Reads a value that has to be UTF-8.
fn utf_8<T>(
    raw: &OsStr,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, &'static str> {
    raw.to_str().ok_or("is not UTF-8").and_then(parse)
}

/// The value of a variable. An empty one counts as absent.
pub fn variable(env: &Environment<'_>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
}

/// The same as a text. Bytes that are not UTF-8 become U+FFFD.
pub fn text(env: &Environment<'_>, name: &str) -> Option<String> {
    Some(variable(env, name)?.to_string_lossy().into_owned())
}

/// The folders or files in a variable such as `PATH`. Empty parts are left out.
pub fn paths(env: &Environment<'_>, name: &str) -> Vec<PathBuf> {
    let listed = env(name).unwrap_or_default();
    std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The home directory, if its variable has an absolute path.
pub fn home(env: &Environment<'_>) -> Option<PathBuf> {
    variable(env, HOME).map(PathBuf::from).filter(|home| home.is_absolute())
}

/// Reads a path: a leading `~/` is replaced by the home directory.
fn expanded(path: &OsStr, env: &Environment<'_>) -> Result<PathBuf, &'static str> {
    values::expanded(path, home(env).as_deref())
}

/// True if the locale uses UTF-8, by the variables of setlocale(3).
pub fn is_utf_8(env: &Environment<'_>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| text(env, name));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    cfg!(windows) || locale.contains("utf-8") || locale.contains("utf8")
}

/// Reads a variable that switches something on.
///
/// # Errors
/// [`Error::Setting`]: it is neither yes nor no.
pub fn switch(env: &Environment<'_>, name: &'static str) -> Result<Sourced<bool>, Error> {
    let Some(value) = variable(env, name) else {
        return Ok(Sourced::default_of(false));
    };
    let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match (is(["1", "true", "yes", "on"]), is(["0", "false", "no", "off"])) {
        (false, false) => Err(Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            problem: "is neither yes nor no".to_owned(),
            wanted: "`1` or `0`",
        }),
        (yes, _) => Ok(Sourced::new(yes, Source::Variable(name))),
    }
}
