//! What the command line and the environment mean: flags, then variables, then defaults.
//!
//! Pure: the environment is a function, so that a test can be one. An empty variable counts as
//! absent.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, harmless};
use crate::protocol::{Host, Hosts};
use crate::proxy;
use crate::shown;
use crate::token::Secret;

/// The settings as they were typed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// `--service-account FILE`
    pub service_account: Option<OsString>,
    /// `--api-url URL`
    pub api_url: Option<OsString>,
    /// `--host HOST[:PORT]`
    pub host: Vec<OsString>,
    /// `--cache-dir DIR`
    pub cache_dir: Option<OsString>,
    /// `--ca-file FILE`
    pub ca_file: Option<OsString>,
    /// `--timeout SECONDS`
    pub timeout: Option<OsString>,
    /// `--min-valid DURATION`
    pub min_valid: Option<OsString>,
    /// `--refresh`
    pub refresh: bool,
    /// `--no-cache`
    pub no_cache: bool,
    /// `-v`
    pub verbose: bool,
}

impl Flags {
    /// These flags, and `others` where these say nothing; of hosts both.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            service_account: self.service_account.or(others.service_account),
            api_url: self.api_url.or(others.api_url),
            host: [others.host, self.host].concat(),
            cache_dir: self.cache_dir.or(others.cache_dir),
            ca_file: self.ca_file.or(others.ca_file),
            timeout: self.timeout.or(others.timeout),
            min_valid: self.min_valid.or(others.min_valid),
            refresh: self.refresh || others.refresh,
            no_cache: self.no_cache || others.no_cache,
            verbose: self.verbose || others.verbose,
        }
    }
}

impl Flags {
    /// What was typed and holds for a helper's later calls too: the setting, its value, and whether
    /// that is a path. Hosts aside.
    pub fn for_helpers(&self) -> impl Iterator<Item = (&'static Setting, &OsString, bool)> {
        let typed = [
            (&SERVICE_ACCOUNT, &self.service_account, true),
            (&API_URL, &self.api_url, false),
            (&CACHE_DIR, &self.cache_dir, true),
            (&CA_FILE, &self.ca_file, true),
            (&TIMEOUT, &self.timeout, false),
            (&MIN_VALID, &self.min_valid, false),
        ];
        typed
            .into_iter()
            .filter_map(|(setting, said, is_path)| Some((setting, said.as_ref()?, is_path)))
    }
}

/// Where files lie when nothing is said; each is `None` without a home.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Holds `service-account.json`.
    pub config: Option<PathBuf>,
    /// Holds the cache.
    pub cache: Option<PathBuf>,
}

/// What the program is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account file; `None` without a home.
    pub service_account: Option<PathBuf>,
    /// Use the account file even if others may read or change it.
    pub allow_exposed: bool,
    /// Where service accounts are exchanged.
    pub api: Api,
    /// The hosts that the token is for.
    pub hosts: Hosts,
    /// The cache's folder; `None` without a home.
    pub cache_dir: Option<PathBuf>,
    /// The certificate authorities to trust; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// The folders of certificate authorities to trust if no file is named; none for the system's.
    pub ca_folders: Vec<PathBuf>,
    /// The proxy for the API, as a URL.
    pub proxy: Option<String>,
    /// How long the whole call may take.
    pub timeout: Duration,
    /// Seconds for which the token must serve; `None` for the leeway.
    pub min_valid: Option<i64>,
    /// Exchange even if there is a token.
    pub refresh: bool,
    /// Neither read nor write the cache.
    pub no_cache: bool,
}

/// A setting as it stands, safe to show, and where it was said.
#[derive(Debug)]
pub struct Stated {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// The flag or variable that says so, or `default`.
    pub source: &'static str,
}

/// The base URL of the DevOps API: `https`, without userinfo, query, fragment or trailing slash.
#[derive(Clone, Debug)]
pub struct Api {
    /// The base, as `/v2/…` is appended to it.
    pub base: String,
    /// The host it names.
    pub host: Host,
}

const DEFAULT_API: &str = "https://api.astra.datastax.com";
/// Says that this program is to say what happens.
pub const LOG: &str = "ASTRA_CREDENTIAL_LOG";
const ALLOW_EXPOSED: &str = "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE";
/// Says that there is to be no cache.
pub const NO_CACHE: &str = "ASTRA_CREDENTIAL_NO_CACHE";
/// Each in the order in which they count.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];
/// The folders of certificate authorities to trust, if no file is named.
const CA_FOLDER: &str = "SSL_CERT_DIR";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Past this a time-out is no time-out.
const LONGEST_TIMEOUT: f64 = 24.0 * 60.0 * 60.0;

static TIMEOUT: Setting = Setting {
    flag: "--timeout",
    variable: "ASTRA_CREDENTIAL_TIMEOUT",
    wanted: "seconds, such as `30` or `2.5`",
};
static MIN_VALID: Setting = Setting {
    flag: "--min-valid",
    variable: "ASTRA_CREDENTIAL_MIN_VALID",
    wanted: "a duration, such as `90s`, `30m`, `2h` or bare seconds",
};
static API_URL: Setting = Setting {
    flag: "--api-url",
    variable: "ASTRA_API_URL",
    wanted: "the API's base without `/v2`, such as `https://api.astra.datastax.com`",
};
const HOST: Setting = Setting {
    flag: "--host",
    variable: "ASTRA_CREDENTIAL_HOSTS",
    wanted: "a host as it stands in a URL, with its port unless that is 443, such as \
             `git.example.com:8443`",
};
static SERVICE_ACCOUNT: Setting = Setting {
    flag: "--service-account",
    variable: "ASTRA_SERVICE_ACCOUNT",
    wanted: "the absolute path of a file",
};
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

/// A setting's two names, and what it takes.
pub struct Setting {
    /// On the command line.
    pub flag: &'static str,
    /// In the environment.
    pub variable: &'static str,
    wanted: &'static str,
}

/// A value with the name under which it was given.
struct Said {
    name: &'static str,
    value: OsString,
}

impl Setting {
    fn said(&self, flag: Option<&OsString>, env: &Environment<'_>) -> Option<Said> {
        let flag = flag.map(|value| (self.flag, value.clone()));
        let variable = || variable(env, self.variable).map(|value| (self.variable, value));
        let (name, value) = flag.or_else(variable)?;
        Some(Said { name, value })
    }

    fn path(
        &self,
        flag: Option<&OsString>,
        env: &Environment<'_>,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(Said { name, value }) = self.said(flag, env) else {
            return Ok(None);
        };
        expanded(&value, env).map(Some).map_err(|problem| Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            problem: problem.to_owned(),
            wanted: self.wanted,
        })
    }

    fn parse<T>(
        &self,
        Said { name, value }: Said,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<T, Error> {
        let parsed = value.to_str().ok_or("is not UTF-8").and_then(parse);
        parsed.map_err(|problem| Error::Setting {
            name,
            value: value.to_string_lossy().into_owned(),
            problem: problem.to_owned(),
            wanted: self.wanted,
        })
    }
}

/// Looks a variable up.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

fn variable(env: &Environment<'_>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
}

pub const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// The path with a leading `~/` replaced by the home directory. No shell reads a kubeconfig, a
/// systemd unit or an `.env` file, and a relative `~` would be another folder in each working directory.
///
/// # Errors
/// The problem, which completes "`--cache-dir` is `…`, which …".
pub fn expanded(path: &OsStr, env: &Environment<'_>) -> Result<PathBuf, &'static str> {
    if !path.as_encoded_bytes().starts_with(b"~") {
        return Ok(path.into());
    }
    // Whole components are compared: `~user` does not begin with `~`.
    let below = Path::new(path).strip_prefix("~");
    let below = below.map_err(|_| "begins with `~` and a name, which is not replaced by a home")?;
    let home = variable(env, HOME).map(PathBuf::from).filter(|home| home.is_absolute());
    let home = home.ok_or("begins with `~/`, and there is no absolute `HOME`")?;
    Ok(home.join(below))
}

/// Whether a variable says yes.
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

impl Settings {
    /// Puts `flags`, the environment and the defaults together.
    ///
    /// # Errors
    /// [`Error::Setting`] names the flag or variable that cannot be used.
    pub fn resolve(flags: &Flags, env: &Environment<'_>, folders: Folders) -> Result<Self, Error> {
        let api = match API_URL.said(flags.api_url.as_ref(), env) {
            Some(said) => API_URL.parse(said, Api::parse)?,
            None => Api::parse(DEFAULT_API).map_err(|problem| Error::Setting {
                name: API_URL.variable,
                value: DEFAULT_API.to_owned(),
                problem: problem.to_owned(),
                wanted: API_URL.wanted,
            })?,
        };
        let mut hosts = vec![api.host.clone()];
        hosts.extend(further_hosts(&flags.host, env)?);
        let timeout = match TIMEOUT.said(flags.timeout.as_ref(), env) {
            Some(said) => TIMEOUT.parse(said, seconds)?,
            None => DEFAULT_TIMEOUT,
        };
        let min_valid = match MIN_VALID.said(flags.min_valid.as_ref(), env) {
            Some(said) => Some(MIN_VALID.parse(said, whole_seconds)?),
            None => None,
        };
        Ok(Self {
            service_account: SERVICE_ACCOUNT
                .path(flags.service_account.as_ref(), env)?
                .or_else(|| Some(folders.config?.join("service-account.json"))),
            allow_exposed: is_on(env, ALLOW_EXPOSED)?,
            proxy: proxy_for(&api.host, env),
            api,
            hosts: Hosts(hosts),
            cache_dir: CACHE_DIR.path(flags.cache_dir.as_ref(), env)?.or(folders.cache),
            ca_file: CA_FILE.path(flags.ca_file.as_ref(), env)?,
            ca_folders: ca_folders(env),
            timeout,
            min_valid,
            refresh: flags.refresh,
            no_cache: flags.no_cache || is_on(env, NO_CACHE)?,
        })
    }
}

impl Settings {
    /// Every setting as it stands, given what it was resolved from. Where a setting comes from is
    /// asked a second time here, so that no other call pays for knowing it.
    pub fn stated(&self, flags: &Flags, env: &Environment<'_>) -> Vec<Stated> {
        let heard = |name: &'static str| variable(env, name).map(|_| name);
        let said = |setting: &Setting, flag: Option<&OsString>| {
            setting.said(flag, env).map(|said| said.name)
        };
        let path = |path: &Option<PathBuf>, none: &str| {
            path.as_deref().map_or(none.to_owned(), |path| harmless(&path.to_string_lossy()))
        };
        let seconds =
            |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string();
        let hosts: Vec<_> = self.hosts.0.iter().map(ToString::to_string).collect();
        let exempt =
            || PROXIES.into_iter().find_map(heard).and(NO_PROXY.into_iter().find_map(heard));
        [
            (
                "account file",
                path(&self.service_account, "none"),
                said(&SERVICE_ACCOUNT, flags.service_account.as_ref()),
            ),
            (
                "exposed file",
                (if self.allow_exposed { "allowed" } else { "refused" }).to_owned(),
                heard(ALLOW_EXPOSED),
            ),
            ("API base", harmless(&self.api.base), said(&API_URL, flags.api_url.as_ref())),
            ("hosts", harmless(&hosts.join(", ")), said(&HOST, flags.host.first())),
            if self.no_cache {
                let flag = flags.no_cache.then_some("--no-cache");
                ("cache", "off".to_owned(), flag.or_else(|| heard(NO_CACHE)))
            } else {
                let cache = path(&self.cache_dir, "none");
                ("cache", cache, said(&CACHE_DIR, flags.cache_dir.as_ref()))
            },
            (
                "trust",
                match (&self.ca_file, self.ca_folders.as_slice()) {
                    (None, []) => "the system's".to_owned(),
                    (None, folders) => {
                        let shown = folders.iter().map(|folder| folder.to_string_lossy());
                        shown.collect::<Vec<_>>().join(", ")
                    }
                    (file, _) => path(file, ""),
                },
                said(&CA_FILE, flags.ca_file.as_ref()).or_else(|| heard(CA_FOLDER)),
            ),
            match self.proxy.as_deref() {
                Some(url) => ("proxy", proxy::shown(url), PROXIES.into_iter().find_map(heard)),
                None => ("proxy", "none".to_owned(), exempt()),
            },
            (
                "time-out",
                humantime::format_duration(self.timeout).to_string(),
                said(&TIMEOUT, flags.timeout.as_ref()),
            ),
            (
                "validity wanted",
                self.min_valid
                    .and_then(|wanted| u64::try_from(wanted).ok())
                    .map_or("the leeway".to_owned(), seconds),
                said(&MIN_VALID, flags.min_valid.as_ref()),
            ),
            if flags.verbose {
                ("verbose", "on".to_owned(), Some("--verbose"))
            } else {
                let is_on = is_on(env, LOG).unwrap_or_default();
                ("verbose", (if is_on { "on" } else { "off" }).to_owned(), heard(LOG))
            },
        ]
        .map(|(name, value, source)| Stated { name, value, source: source.unwrap_or("default") })
        .into()
    }

    /// The route to Astra: the proxy, with its user and password, and the trusted authorities. A failure
    /// on one route says nothing of another. It is not shown; the cache keeps a digest of it.
    pub fn route(&self) -> Secret {
        let proxy = self.proxy.as_deref().unwrap_or_default();
        Secret::new(format!("{proxy} {:?} {:?}", self.ca_file, self.ca_folders))
    }
}

impl Api {
    /// Reads a base URL; the error completes "`--api-url` is `…`, which …".
    fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with("https://") {
            return Err("is not `https`");
        }
        let base = text.trim_end_matches('/');
        if base.contains('?') {
            return Err("has a query");
        }
        // A value that may be a secret must not end up in a DNS query.
        let is_usable = |host: &Host| shown::is_usable_host(&host.to_string());
        let host = Host::of_url(base, &["https"]).ok().filter(is_usable);
        let host = host.ok_or("is not a plain URL")?;
        // The host's case must not make another identity of the same account.
        let authority =
            base["https://".len()..].find('/').map_or(base.len(), |at| at + "https://".len());
        let mut base = base.to_owned();
        base[..authority].make_ascii_lowercase();
        Ok(Self { base, host })
    }
}

/// The cache's folder, which is known even where another setting cannot be used. `None` where its own
/// setting cannot be used: a failure is then not kept.
pub fn cache_dir(
    flags: &Flags,
    env: &Environment<'_>,
    default: Option<PathBuf>,
) -> Option<PathBuf> {
    CACHE_DIR.path(flags.cache_dir.as_ref(), env).ok()?.or(default)
}

/// The flags, or else the comma-separated variable.
fn further_hosts(flags: &[OsString], env: &Environment<'_>) -> Result<Vec<Host>, Error> {
    let said: Vec<Said> = if flags.is_empty() {
        let listed = variable(env, HOST.variable).unwrap_or_default();
        let name = HOST.variable;
        let lossy = listed.to_string_lossy();
        let parts = lossy.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| Said { name, value: part.into() }).collect()
    } else {
        let name = HOST.flag;
        flags.iter().map(|value| Said { name, value: value.clone() }).collect()
    };
    let host = |text: &str| Host::parse(text).filter(|_| shown::is_usable_host(text));
    let host = |said| HOST.parse(said, |text| host(text).ok_or("is not a host"));
    said.into_iter().map(host).collect()
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.trim().parse().map_err(|_| "is not a number")?;
    if seconds > 0.0 && seconds <= LONGEST_TIMEOUT {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("is not between 0 and a day")
    }
}

fn whole_seconds(text: &str) -> Result<i64, &'static str> {
    let duration = match text.trim().parse::<u64>() {
        Ok(bare) => Duration::from_secs(bare),
        Err(_) => humantime::parse_duration(text.trim()).map_err(|_| "is not a duration")?,
    };
    i64::try_from(duration.as_secs()).map_err(|_| "is too long")
}

/// The proxy for `https` to `host`, by the rules of curl: lower case first, `ALL_PROXY` last, and
/// `HTTP_PROXY` not at all.
fn proxy_for(host: &Host, env: &Environment<'_>) -> Option<String> {
    let text = |name: &str| variable(env, name)?.into_string().ok();
    let proxy = PROXIES.into_iter().find_map(text)?;
    let exempt = NO_PROXY.into_iter().find_map(text).unwrap_or_default();
    let is_exempt = exempt
        .split([',', ' '])
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| host.is_exempt_by(&entry));
    (!is_exempt).then_some(proxy)
}

/// The folders in `SSL_CERT_DIR`, which OpenSSL separates as `PATH` does.
fn ca_folders(env: &Environment<'_>) -> Vec<PathBuf> {
    let listed = variable(env, CA_FOLDER).unwrap_or_default();
    std::env::split_paths(&listed).filter(|folder| !folder.as_os_str().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The settings from `NAME=value` variables, as far as they are decided here.
    fn from(variables: &[&str]) -> String {
        let env = |name: &str| {
            let found =
                variables.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.map(OsString::from)
        };
        let folders = Folders {
            config: Some("/home/x/.config/astra-credential".into()),
            cache: Some("/home/x/.cache/astra-credential".into()),
        };
        match Settings::resolve(&Flags::default(), &env, folders) {
            Ok(settings) => format!("{settings:#?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        insta::assert_snapshot!(from(&[]), @r#"
        Settings {
            service_account: Some(
                "/home/x/.config/astra-credential/service-account.json",
            ),
            allow_exposed: false,
            api: Api {
                base: "https://api.astra.datastax.com",
                host: Host {
                    name: "api.astra.datastax.com",
                    port: 443,
                },
            },
            hosts: Hosts(
                [
                    Host {
                        name: "api.astra.datastax.com",
                        port: 443,
                    },
                ],
            ),
            cache_dir: Some(
                "/home/x/.cache/astra-credential",
            ),
            ca_file: None,
            ca_folders: [],
            proxy: None,
            timeout: 30s,
            min_valid: None,
            refresh: false,
            no_cache: false,
        }
        "#);
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let empty = [
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
    fn every_variable_is_heard() {
        let said = [
            "ASTRA_SERVICE_ACCOUNT=/a.json",
            "ASTRA_API_URL=https://API.example.com:8443/astra/",
            "ASTRA_CREDENTIAL_HOSTS=git.example.com, Mirror.example.com:444",
            "ASTRA_CREDENTIAL_CACHE_DIR=/c",
            "SSL_CERT_FILE=/ca.pem",
            "ASTRA_CREDENTIAL_TIMEOUT=2.5",
            "ASTRA_CREDENTIAL_MIN_VALID=1h 30m",
            "ASTRA_CREDENTIAL_NO_CACHE=1",
            "HTTPS_PROXY=http://proxy:3128",
            "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=yes",
        ];
        insta::assert_snapshot!(from(&said), @r#"
        Settings {
            service_account: Some(
                "/a.json",
            ),
            allow_exposed: true,
            api: Api {
                base: "https://api.example.com:8443/astra",
                host: Host {
                    name: "api.example.com",
                    port: 8443,
                },
            },
            hosts: Hosts(
                [
                    Host {
                        name: "api.example.com",
                        port: 8443,
                    },
                    Host {
                        name: "git.example.com",
                        port: 443,
                    },
                    Host {
                        name: "mirror.example.com",
                        port: 444,
                    },
                ],
            ),
            cache_dir: Some(
                "/c",
            ),
            ca_file: Some(
                "/ca.pem",
            ),
            ca_folders: [],
            proxy: Some(
                "http://proxy:3128",
            ),
            timeout: 2.5s,
            min_valid: Some(
                5400,
            ),
            refresh: false,
            no_cache: true,
        }
        "#);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
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
        `ASTRA_CREDENTIAL_TIMEOUT` is `soon`, which is not a number
        `ASTRA_CREDENTIAL_MIN_VALID` is `-5`, which is not a duration
        `ASTRA_CREDENTIAL_MIN_VALID` is `1 fortnight`, which is not a duration
        `ASTRA_CREDENTIAL_NO_CACHE` is `maybe`, which is neither yes nor no
        ");
    }

    #[test]
    fn the_proxy_is_chosen_as_curl_chooses_it() {
        let proxy = |variables: &[&str]| {
            let env = |name: &str| {
                let found =
                    variables.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                found.map(OsString::from)
            };
            proxy_for(&Host::parse("api.example.com").unwrap(), &env).unwrap_or("direct".to_owned())
        };
        let cases: [&[&str]; 12] = [
            &["HTTPS_PROXY=a", "https_proxy=b"],
            &["ALL_PROXY=a"],
            &["ALL_PROXY=a", "HTTPS_PROXY=b"],
            &["HTTP_PROXY=a", "http_proxy=b"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com"],
            &["HTTPS_PROXY=a", "NO_PROXY=localhost, EXAMPLE.com"],
            &["HTTPS_PROXY=a", "NO_PROXY=.example.com"],
            &["HTTPS_PROXY=a", "NO_PROXY=*.example.com"],
            &["HTTPS_PROXY=a", "no_proxy=*"],
            &["HTTPS_PROXY=a", "NO_PROXY=ample.com,api.example.com.evil"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com:443"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com:444"],
        ];
        let table: Vec<_> =
            cases.map(|case| format!("{} => {}", case.join(" "), proxy(case))).into();
        insta::assert_snapshot!(table.join("\n"), @"
        HTTPS_PROXY=a https_proxy=b => b
        ALL_PROXY=a => a
        ALL_PROXY=a HTTPS_PROXY=b => b
        HTTP_PROXY=a http_proxy=b => direct
        HTTPS_PROXY=a NO_PROXY=api.example.com => direct
        HTTPS_PROXY=a NO_PROXY=localhost, EXAMPLE.com => direct
        HTTPS_PROXY=a NO_PROXY=.example.com => direct
        HTTPS_PROXY=a NO_PROXY=*.example.com => direct
        HTTPS_PROXY=a no_proxy=* => direct
        HTTPS_PROXY=a NO_PROXY=ample.com,api.example.com.evil => a
        HTTPS_PROXY=a NO_PROXY=api.example.com:443 => direct
        HTTPS_PROXY=a NO_PROXY=api.example.com:444 => a
        ");
    }

    proptest! {
        #[test]
        fn no_value_makes_a_setting_panic(value in any::<String>()) {
            for name in ["ASTRA_API_URL", "ASTRA_CREDENTIAL_HOSTS", "ASTRA_CREDENTIAL_TIMEOUT",
                "ASTRA_CREDENTIAL_MIN_VALID", "HTTPS_PROXY", "NO_PROXY"] {
                from(&[&format!("{name}={value}")]);
            }
        }
    }
}
