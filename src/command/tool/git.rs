//! git: <https://git-scm.com/docs/gitcredentials>. git itself prints its configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::entry::{Entry, Hosts};
use super::place::{self, plain};
use super::process;
use crate::error::Error;
use crate::settings::Environment;
use crate::shown::{self, shell_word};

/// The names under which git may run this program.
const NAMES: [&str; 2] = ["astra-credential", LINK];

/// The link that git looks up on `PATH` for the helper `astra`.
const LINK: &str = "git-credential-astra";

/// A helper in git's configuration.
pub struct Helper {
    /// Its key, as git prints it: `credential.https://HOST.helper`.
    pub key: String,
    /// The URL in the key; empty for a helper of all hosts.
    pub url: String,
    /// Its value: a shell command behind `!`, a path, or the end of a name. An empty value removes the
    /// helpers before it.
    pub value: String,
}

/// The file that `git config --global` writes.
///
/// # Errors
/// A variable is no usable path, or there is no home.
pub fn file(env: &Environment<'_>) -> Result<PathBuf, Error> {
    if let Some(file) = place::path_in(env, "GIT_CONFIG_GLOBAL")? {
        return Ok(file);
    }
    let file = place::home(env)?.join(".gitconfig");
    let config = match place::folder(env, "XDG_CONFIG_HOME") {
        Some(folder) => folder,
        None => place::home(env)?.join(".config"),
    };
    let other = config.join("git/config");
    Ok(if !file.exists() && other.exists() { other } else { file })
}

/// The helpers in a configuration file of that content, in its order, or else in all files that git reads.
///
/// # Errors
/// git is not there, fails, or is slower than `longest`.
pub fn helpers(content: Option<&[u8]>, longest: Duration) -> Result<Vec<Helper>, Error> {
    let from = if content.is_some() { &["--file", "-"][..] } else { &[] };
    let command = [&["git", "config"], from, &["--list", "-z"]].concat();
    let printed = process::run(&command, content.unwrap_or_default(), longest)?;
    let helper = |(key, value): (&str, &str)| {
        let url = key.strip_prefix("credential.")?.strip_suffix("helper")?;
        let url = url.trim_end_matches('.').to_owned();
        Some(Helper { key: key.to_owned(), url, value: value.to_owned() })
    };
    let settings = printed.split('\0').filter_map(|setting| setting.split_once('\n'));
    Ok(settings.filter_map(helper).collect())
}

/// The entries for this program. git calls each helper whose key fits the host, in the order of the
/// configuration.
pub fn entries(longest: Duration) -> Vec<Entry> {
    let helpers = helpers(None, longest).unwrap_or_default();
    let entry = |(at, helper): (usize, &Helper)| {
        let (program, arguments) = helper.of_us()?;
        let hosts = helper.host().map_or(Hosts::Any, |host| Hosts::One(host.to_owned()));
        Some(Entry {
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            obstacle: helper.earlier(&helpers[..at]).map(|other| helper.obstacle(other)),
            ..Entry::new(shown_key(&helper.key).unwrap_or(HIDDEN_KEY), program, hosts)
        })
    };
    helpers.iter().enumerate().filter_map(entry).collect()
}

impl Helper {
    /// The host in the URL.
    fn host(&self) -> Option<&str> {
        self.url.split_once("://").map(|(_, host)| host)
    }

    /// The program that git runs for it, and its arguments, if it is this program.
    pub fn of_us(&self) -> Option<(String, &str)> {
        let command = self.value.strip_prefix('!');
        let text = command.unwrap_or(&self.value);
        let word = first_word(text);
        let arguments = text.split_once(' ').map_or("", |(_, rest)| rest);
        if word == "astra" && command.is_none() {
            return Some((LINK.to_owned(), arguments));
        }
        let is_ours = NAMES.iter().any(|name| plain(&word).ends_with(name));
        let is_run = command.is_some() || Path::new(&word).is_absolute();
        (is_ours && is_run).then_some((word, arguments))
    }

    /// The first helper of another program that git calls before this one for the same host.
    fn earlier<'a>(&self, before: &'a [Self]) -> Option<&'a Self> {
        let fitting = before.iter().filter(|helper| fits(&helper.url, &self.url));
        fitting.fold(None, |first, helper| match helper.value.is_empty() {
            true => None,
            false => first.or(helper.of_us().is_none().then_some(helper)),
        })
    }

    /// The problem that git calls `other` before this one, and its hint.
    fn obstacle(&self, other: &Self) -> (String, String) {
        let problem = format!(
            "but `{}` of `{}` is asked before",
            shown::file(Path::new(&first_word(&other.value))),
            shown_key(&other.key).unwrap_or(HIDDEN_KEY)
        );
        let commands = match shown_key(&self.key).filter(|_| is_safe(&self.value)) {
            Some(key) => {
                let (key, value) = (shell_word(key), shell_word(&self.value));
                let replace = format!("git config --global --replace-all {key} ''");
                format!("run `{replace}`, then `git config --global --add {key} {value}`")
            }
            None => {
                let host = self.host().and_then(shown::value);
                let host = host.unwrap_or_else(|| "HOST[:PORT]".to_owned());
                format!("remove this entry, and run `astra-credential setup git --host {host}`")
            }
        };
        let hint = format!("{commands}: the empty helper keeps out those before it");
        (problem, hint)
    }
}

/// The name of a key that is not shown.
const HIDDEN_KEY: &str = "credential.URL.helper";

/// A key of git's configuration, if it is safe to show. A URL in it may contain a user name and a password.
fn shown_key(key: &str) -> Option<&str> {
    let url = key.strip_prefix("credential.")?.strip_suffix("helper")?.trim_end_matches('.');
    let is_safe = |host: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:*[]_".contains(c);
        host.chars().all(is_plain) && shown::value(&host.replace('*', "any")).is_some()
    };
    let host = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    (url.is_empty() || host.is_some_and(is_safe)).then_some(key)
}

/// True if a helper's value is safe to show. An account may stand in it in place of its name or path.
fn is_safe(value: &str) -> bool {
    value.split(' ').all(|word| {
        let word = word.trim_start_matches('!');
        let (flag, value) = word.split_once('=').unwrap_or((word, ""));
        let is_flag = flag.strip_prefix("--").is_some_and(|flag| {
            flag.len() <= 20 && flag.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        });
        match is_flag {
            true => value.is_empty() || shown::value(value).is_some(),
            false => shown::value(word).is_some(),
        }
    })
}

/// True if git calls the helpers of the URL `pattern` for `url` too. An empty pattern matches all hosts,
/// and `*` matches one label of a host.
fn fits(pattern: &str, url: &str) -> bool {
    let is_like = |(pattern, label): (&str, &str)| {
        pattern == label || pattern.trim_start_matches("https://") == "*"
    };
    let (labels, of_url) = (pattern.split('.'), url.split('.'));
    pattern.is_empty()
        || labels.clone().count() == of_url.clone().count() && labels.zip(of_url).all(is_like)
}

/// The first word of a shell command.
fn first_word(command: &str) -> String {
    let mut word = String::new();
    let mut is_quoted = false;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => word.extend(chars.next()),
            ' ' if !is_quoted => break,
            c => word.push(c),
        }
    }
    word
}
