//! The settings of one account, each from the nearest place that sets it.

use std::path::PathBuf;
use std::time::Duration;

use super::choice::{self, ChosenAccount};
use super::file::Entry;
use super::proxy::proxy_for;
use super::setting::{
    ALLOW_EXPOSED, API_URL, CA_FILE, CA_FOLDER, CACHE_DIR, MIN_VALID, NO_CACHE, SERVICE_ACCOUNT,
    TIMEOUT, paths, switch, text, variable,
};
use super::sourced::{Source, Sourced};
use super::sources::Sources;
use super::values::{self, Api, DEFAULT_ACCOUNT, DEFAULT_API};
use crate::error::{AccountError, Error};
use crate::shown;
use crate::token::Secret;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of one account.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account, with the source of the choice.
    pub account: Sourced<ChosenAccount>,
    /// The account file; `None` without a home.
    pub service_account: Sourced<Option<PathBuf>>,
    /// The API where the account is exchanged.
    pub api: Sourced<Api>,
    /// The certificate authorities to trust; `None` for the system's.
    pub ca_file: Sourced<Option<PathBuf>>,
    /// The folders of certificate authorities to trust if no file is named; none for the system's.
    pub ca_folders: Vec<PathBuf>,
    /// The proxy for the API, as a URL.
    pub proxy: Sourced<Option<String>>,
    /// Seconds for which the token must be valid; `None` for the leeway.
    pub min_valid: Sourced<Option<i64>>,
    /// Does an exchange even if a valid token is cached.
    pub refresh: bool,
    /// The settings that are the same for every account.
    pub common: Common,
}

/// The settings that are the same for every account.
#[derive(Clone, Debug)]
pub struct Common {
    /// Accepts an account file that other users may read or change.
    pub allow_exposed: Sourced<bool>,
    /// The cache's folder; `None` without a home.
    pub cache_dir: Sourced<Option<PathBuf>>,
    /// The time-out of the whole call.
    pub timeout: Sourced<Duration>,
    /// Does not use the cache.
    pub no_cache: Sourced<bool>,
}

impl Common {
    /// Reads these settings.
    ///
    /// # Errors
    /// [`Error::Setting`] names the flag or variable that cannot be used.
    pub fn read(sources: &Sources<'_>) -> Result<Self, Error> {
        let timeout = sources.flag_or_variable(&TIMEOUT)?;
        let timeout = timeout.or_else(|| sources.top_level(|file| file.timeout));
        let cache_dir = cache_dir(sources)?;
        let no_cache = match sources.flags.no_cache {
            true => Sourced::new(true, Source::Flag("--no-cache")),
            false => switch(sources.env, NO_CACHE)?,
        };
        Ok(Self {
            allow_exposed: switch(sources.env, ALLOW_EXPOSED)?,
            cache_dir,
            timeout: timeout.unwrap_or(Sourced::default_of(DEFAULT_TIMEOUT)),
            no_cache,
        })
    }
}

/// The cache's folder.
///
/// # Errors
/// [`Error::Setting`] names the flag or variable that cannot be used.
pub fn cache_dir(sources: &Sources<'_>) -> Result<Sourced<Option<PathBuf>>, Error> {
    let set = sources.flag_or_variable(&CACHE_DIR)?;
    let set = set.or_else(|| sources.top_level(|file| file.cache_dir.clone()));
    let default = || Sourced::default_of(sources.folders.cache.clone());
    Ok(set.map_or_else(default, |folder| folder.map(Some)))
}

/// The settings of `account`.
///
/// # Errors
/// The account is unknown, or a setting cannot be used.
pub fn resolve(
    account: Sourced<ChosenAccount>,
    sources: &Sources<'_>,
    common: &Common,
) -> Result<Settings, Error> {
    let entry = account.name().and_then(|name| sources.entry(name));
    let service_account = account_file(&account, sources)?;
    let in_entry = || entry.and_then(|entry| entry.sourced(entry.api.clone()));
    let api = match sources.flag(&API_URL)?.or_else(in_entry) {
        Some(api) => Some(api),
        None if is_the_variables(&account, sources)? => sources.variable(&API_URL)?,
        None => None,
    };
    let in_entry = || entry.and_then(|entry| entry.sourced(entry.ca_file.clone()));
    let ca_file = match sources.flag(&CA_FILE)?.or_else(in_entry) {
        Some(file) => Some(file),
        None => sources.variable(&CA_FILE)?,
    };
    let ca_file = match ca_file {
        Some(file) => file.map(Some),
        None if variable(sources.env, CA_FOLDER).is_some() => {
            Sourced::new(None, Source::Variable(CA_FOLDER))
        }
        None => optional(sources.top_level(|file| file.ca_file.clone())),
    };
    let min_valid = sources
        .flag_or_variable(&MIN_VALID)?
        .or_else(|| entry.and_then(|entry| entry.sourced(entry.min_valid)))
        .or_else(|| sources.top_level(|file| file.min_valid));
    let api = match api {
        Some(api) => api,
        None => API_URL.parse(Sourced::default_of(DEFAULT_API.into()), sources.env)?,
    };
    // A proxy whose URL is not UTF-8 must become an error later, so it is kept here.
    let proxy = proxy_for(&api.host, |name| text(sources.env, name));
    Ok(Settings {
        account,
        service_account,
        api,
        ca_file,
        ca_folders: paths(sources.env, CA_FOLDER),
        proxy,
        min_valid: optional(min_valid),
        refresh: sources.flags.refresh,
        common: common.clone(),
    })
}

/// A setting without a default value.
fn optional<T>(set: Option<Sourced<T>>) -> Sourced<Option<T>> {
    set.map_or(Sourced::default_of(None), |set| set.map(Some))
}

/// The account's file.
///
/// # Errors
/// [`Error::AccountUnknown`]: the name has neither an entry nor a file.
pub fn account_file(
    account: &Sourced<ChosenAccount>,
    sources: &Sources<'_>,
) -> Result<Sourced<Option<PathBuf>>, Error> {
    let name = match &account.value {
        ChosenAccount::File(path) => return Ok(account.clone().map(|_| Some(path.clone()))),
        ChosenAccount::Named(name) => name,
    };
    let file = sources.account_file(name);
    let entry = sources.entry(name);
    let is_stored = || file.as_ref().is_some_and(|file| file.exists());
    if entry.is_none() && name != DEFAULT_ACCOUNT && !is_stored() {
        sources.refuse_dangling_links()?;
        let nearest = values::nearest(name, sources.names()).and_then(shown::name);
        let source = account.source.to_string();
        return Err(Error::AccountUnknown { name: name.clone(), source, nearest });
    }
    let by_file = [Source::Flag(SERVICE_ACCOUNT.flag), Source::Variable(SERVICE_ACCOUNT.variable)];
    let source = match entry {
        _ if by_file.contains(&account.source) => account.source.clone(),
        Some(entry @ Entry { file: Some(_), .. }) => entry.source(),
        _ => Source::Default,
    };
    Ok(Sourced::new(file, source))
}

/// True if variables such as `ASTRA_API_URL` apply to this account. They apply to an account without a name,
/// to `default`, and to the account that a variable chooses.
fn is_the_variables(account: &ChosenAccount, sources: &Sources<'_>) -> Result<bool, Error> {
    Ok(match account.name() {
        None | Some(DEFAULT_ACCOUNT) => true,
        Some(_) => choice::by_variable(sources)?.is_some_and(|chosen| chosen.value == *account),
    })
}

impl Settings {
    /// Puts the command for this account into the hint of a missing account file.
    pub fn of_account(&self, error: AccountError) -> AccountError {
        match error {
            AccountError::Missing { path, fix: _ } => {
                AccountError::Missing { path, fix: self.store_command() }
            }
            error => error,
        }
    }

    /// The command that deletes this account's token.
    pub fn forget_command(&self) -> String {
        let flag = match (&self.account.value, &self.account.source) {
            (_, Source::Default) => String::new(),
            (ChosenAccount::Named(name), _) => format!(" --account {}", name_or_placeholder(name)),
            (ChosenAccount::File(path), _) => {
                format!(" --service-account {}", shown::redacted(&path.to_string_lossy()))
            }
        };
        format!("astra-credential forget{flag}")
    }

    /// The command that stores a new secret of this account; `None` for one without a name.
    pub fn store_command(&self) -> Option<String> {
        self.account.name().map(account_command)
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
        name => format!("astra-credential setup account --account {}", name_or_placeholder(name)),
    }
}

/// The name of an account for a command that is shown.
fn name_or_placeholder(name: &str) -> String {
    shown::name(name).unwrap_or_else(|| "NAME".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::settings::tests::listed;
    #[cfg(unix)]
    use crate::settings::tests::{USER, set};
    use proptest::prelude::*;

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
        assert_eq!(listed(&empty, &[]), listed(&[], &[]));
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
        insta::assert_snapshot!(listed(&raw, &[]), @"
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
        let table = cases.map(|case| listed(&[case], &[]));
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
        let variables = "ASTRA_API_URL=https://variable.example SSL_CERT_FILE=/variable.pem \
                         ASTRA_CREDENTIAL_MIN_VALID=1h ASTRA_CREDENTIAL_TIMEOUT=1 \
                         ASTRA_CREDENTIAL_CACHE_DIR=/variable";
        let flags = "--api-url https://flag.example --ca-file /flag.pem --min-valid 10m \
                     --timeout 0.5 --cache-dir /flag";
        let cases = [
            ("flags", set(&format!("{flags} {variables}"), &[(USER, file)])),
            ("variables and an entry", set(variables, &[(USER, file)])),
            ("variables and the top level", set(variables, &[(USER, top)])),
            ("an entry", set("", &[(USER, file)])),
            ("the top level", set("", &[(USER, top)])),
        ];
        let table = cases.map(|(case, set)| format!("{case}:\n{set}"));
        insta::assert_snapshot!(table.concat(), @"
        flags:
        api_url: https://flag.example (--api-url)
        hosts: flag.example (--api-url)
        cache_dir: /flag (--cache-dir)
        ca_file: /flag.pem (--ca-file)
        timeout: 500ms (--timeout)
        min_valid: 10m (--min-valid)
        variables and an entry:
        api_url: https://entry.example (/home/x/.config/astra-credential/config.json)
        hosts: entry.example (/home/x/.config/astra-credential/config.json)
        cache_dir: /variable (ASTRA_CREDENTIAL_CACHE_DIR)
        ca_file: /entry.pem (/home/x/.config/astra-credential/config.json)
        timeout: 1s (ASTRA_CREDENTIAL_TIMEOUT)
        min_valid: 1h (ASTRA_CREDENTIAL_MIN_VALID)
        variables and the top level:
        api_url: https://variable.example (ASTRA_API_URL)
        hosts: variable.example (ASTRA_API_URL)
        cache_dir: /variable (ASTRA_CREDENTIAL_CACHE_DIR)
        ca_file: /variable.pem (SSL_CERT_FILE)
        timeout: 1s (ASTRA_CREDENTIAL_TIMEOUT)
        min_valid: 1h (ASTRA_CREDENTIAL_MIN_VALID)
        an entry:
        api_url: https://entry.example (/home/x/.config/astra-credential/config.json)
        hosts: entry.example (/home/x/.config/astra-credential/config.json)
        cache_dir: /top (/home/x/.config/astra-credential/config.json)
        ca_file: /entry.pem (/home/x/.config/astra-credential/config.json)
        timeout: 3s (/home/x/.config/astra-credential/config.json)
        min_valid: 2h (/home/x/.config/astra-credential/config.json)
        the top level:
        ca_file: /top.pem (/home/x/.config/astra-credential/config.json)
        min_valid: 3h (/home/x/.config/astra-credential/config.json)
        ");
    }

    proptest! {
        #[test]
        fn no_value_makes_a_setting_panic(value in any::<String>()) {
            for name in ["ASTRA_API_URL", "ASTRA_CREDENTIAL_HOSTS", "ASTRA_CREDENTIAL_TIMEOUT",
                "ASTRA_CREDENTIAL_MIN_VALID", "ASTRA_CREDENTIAL_ACCOUNT", "HTTPS_PROXY", "NO_PROXY"] {
                listed(&[&format!("{name}={value}")], &[]);
            }
        }
    }
}
