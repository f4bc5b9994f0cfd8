//! The configuration file: accounts, the hosts that are bound to them, and settings.
//!
//! It is JSON with comments and trailing commas. Every defect is an error; nothing in it is skipped. No error
//! shows a value, since one may be a secret in the wrong place.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonc_parser::ast::{Array, Object, ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::setting::{API_URL, HOST, MIN_VALID, TIMEOUT};
use super::sourced::{Source, Sourced};
use super::values::{self, Api};
use crate::error::{Defect, Error, Position};
use crate::protocol::Host;
use crate::shown::{self, redacted};

/// The content of a configuration file.
#[derive(Debug)]
pub struct File {
    /// The file.
    pub path: Arc<Path>,
    /// The accounts, in the file's order.
    pub accounts: Vec<Entry>,
    /// `cache_dir`.
    pub cache_dir: Option<PathBuf>,
    /// `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `min_valid`, in seconds.
    pub min_valid: Option<i64>,
}

/// An account's entry.
#[derive(Debug)]
pub struct Entry {
    /// The account's name.
    pub name: String,
    /// The configuration file that holds the entry.
    pub place: Arc<Path>,
    /// `file`: the account file.
    pub file: Option<PathBuf>,
    /// `hosts`: the hosts that are bound to this account.
    pub hosts: Vec<Host>,
    /// `api_url`.
    pub api: Option<Api>,
    /// `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `min_valid`, in seconds.
    pub min_valid: Option<i64>,
}

impl Entry {
    /// The entry, as the source of a value.
    pub fn source(&self) -> Source {
        Source::Entry(Arc::clone(&self.place))
    }

    /// A value of this entry, with its source.
    pub fn sourced<T>(&self, value: Option<T>) -> Option<Sourced<T>> {
        Some(Sourced::new(value?, self.source()))
    }
}

/// The keys of the top level.
const TOP: [&str; 5] = ["accounts", "cache_dir", "ca_file", "timeout", "min_valid"];

/// The keys of an account's entry.
const ENTRY: [&str; 5] = ["file", "hosts", "api_url", "ca_file", "min_valid"];

/// The largest number of hosts in one file. Every call reads all of them.
const MOST_HOSTS: usize = 1_000;

/// The syntax of the configuration file: JSON with comments and trailing commas.
pub const JSONC: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads the content of the file at `path`.
///
/// # Errors
/// [`Error::Config`]: it is not UTF-8, or has a defect.
pub fn check(bytes: &[u8], path: &Path, home: Option<&Path>) -> Result<File, Error> {
    let not_text = || Error::Config { path: path.to_owned(), at: None, defect: Defect::NotText };
    parse(std::str::from_utf8(bytes).map_err(|_| not_text())?, path, home)
}

/// Reads the content of the file at `path`.
///
/// # Errors
/// [`Error::Config`], with line and column.
pub fn parse(text: &str, path: &Path, home: Option<&Path>) -> Result<File, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let reader = Reader { path: path.into(), folder: path.parent().unwrap_or(path), home };
    reader.file(text).map_err(|Located { offset, defect }| {
        let at = Some(Position::in_text(text, offset));
        Error::Config { path: path.to_owned(), at, defect }
    })
}

/// A defect and its place, in bytes from the start.
struct Located {
    offset: usize,
    defect: Defect,
}

struct Reader<'a> {
    path: Arc<Path>,
    /// Paths in the file are relative to it.
    folder: &'a Path,
    home: Option<&'a Path>,
}

impl Reader<'_> {
    fn file(&self, text: &str) -> Result<File, Located> {
        let parsed = parse_to_ast(text, &CollectOptions::default(), &JSONC)
            .map_err(|error| located(error.range().start, Defect::NotJson))?;
        let root = parsed.value.ok_or_else(|| located(0, Defect::Empty))?;
        // Not dropped on purpose: the process is about to end, and dropping a tree takes time.
        let root = ManuallyDrop::new(root);
        let root =
            root.as_object().ok_or_else(|| located(root.range().start, Defect::NotObject))?;
        let mut file = File {
            path: Arc::clone(&self.path),
            accounts: Vec::new(),
            cache_dir: None,
            ca_file: None,
            timeout: None,
            min_valid: None,
        };
        for property in fields(root, &TOP)? {
            let ObjectProp { name, value, .. } = property;
            match name.as_str() {
                "accounts" => file.accounts = self.accounts(value)?,
                "cache_dir" => file.cache_dir = Some(self.new_folder("cache_dir", value)?),
                "ca_file" => file.ca_file = Some(self.path("ca_file", value)?),
                "timeout" => {
                    file.timeout = Some(scalar("timeout", value, TIMEOUT.wanted, values::timeout)?);
                }
                _ => file.min_valid = Some(min_valid(value)?),
            }
        }
        Ok(file)
    }

    fn accounts(&self, value: &Value<'_>) -> Result<Vec<Entry>, Located> {
        let accounts = object(value, "accounts", "an object: `{ \"NAME\": { … } }`")?;
        not_twice(accounts)?;
        let mut entries = Vec::with_capacity(accounts.properties.len());
        for ObjectProp { name, value, .. } in &accounts.properties {
            let account = values::account_name(name.as_str())
                .map_err(|problem| located(name.range().start, Defect::Name { problem }))?;
            entries.push(self.entry(account, value)?);
        }
        if let Some((_, entry, host)) = every_host(&entries).nth(MOST_HOSTS) {
            let defect = Defect::TooManyHosts { most: MOST_HOSTS };
            return Err(located(offset_of(accounts, entry, host), defect));
        }
        if let Some((before, entry, host)) = bound_twice(&entries) {
            let offset = offset_of(accounts, entry, host);
            let host = redacted(&entries[entry].hosts[host].to_string());
            let accounts = [before, entry].map(|entry| shown::account(&entries[entry].name));
            return Err(located(offset, Defect::HostTwice { host, accounts }));
        }
        Ok(entries)
    }

    fn entry(&self, name: String, value: &Value<'_>) -> Result<Entry, Located> {
        let entry = object(value, &name, "an object: `{ \"hosts\": [ … ] }`")?;
        let mut read = Entry {
            name,
            place: Arc::clone(&self.path),
            file: None,
            hosts: Vec::new(),
            api: None,
            ca_file: None,
            min_valid: None,
        };
        for ObjectProp { name, value, .. } in fields(entry, &ENTRY)? {
            match name.as_str() {
                "file" => read.file = Some(self.path("file", value)?),
                "hosts" => read.hosts = hosts(value)?,
                "api_url" => {
                    read.api = Some(string("api_url", value, API_URL.wanted, Api::parse)?);
                }
                "ca_file" => read.ca_file = Some(self.path("ca_file", value)?),
                _ => read.min_valid = Some(min_valid(value)?),
            }
        }
        Ok(read)
    }

    fn path(&self, key: &'static str, value: &Value<'_>) -> Result<PathBuf, Located> {
        string(key, value, WANTED_PATH, |text| {
            // An account in place of its path must not turn up in a message about a missing file.
            let is_account = text.contains("AstraCS:") || text.trim_start().starts_with('{');
            // The parser accepts a line break or a NUL in a string, although JSON forbids them.
            if text.is_empty() || is_account || text.contains(char::is_control) {
                return Err("is not a path");
            }
            values::expanded(text.as_ref(), self.home).map(|path| self.folder.join(path))
        })
    }

    /// The path of a folder that may be created. A secret in its place must not become the folder's name.
    fn new_folder(&self, key: &'static str, value: &Value<'_>) -> Result<PathBuf, Located> {
        let path = self.path(key, value)?;
        let name = path.strip_prefix(self.folder).unwrap_or(Path::new(""));
        // The client secret is ASCII without blanks.
        let name: String =
            name.to_string_lossy().chars().filter(|c| c.is_ascii_graphic()).collect();
        if shown::has_ordinary_names(Path::new(&name)) {
            return Ok(path);
        }
        string(key, value, WANTED_PATH, |_| Err("is no usable path"))
    }
}

/// The description of a path, for hints.
const WANTED_PATH: &str =
    "a path: absolute, relative to the folder of this file, or with a leading `~/`";

fn located(offset: usize, defect: Defect) -> Located {
    Located { offset, defect }
}

/// Returns the properties, unless one is not in `known` or occurs twice.
fn fields<'a, 'b>(
    object: &'b Object<'a>,
    known: &'static [&'static str],
) -> Result<&'b [ObjectProp<'a>], Located> {
    for property in &object.properties {
        let key = property.name.as_str();
        if !known.contains(&key) {
            let nearest = values::nearest(key, known.iter().copied());
            let defect = Defect::UnknownKey { key: shown::name(key), nearest, known };
            return Err(located(property.name.range().start, defect));
        }
    }
    not_twice(object)?;
    Ok(&object.properties)
}

fn not_twice(object: &Object<'_>) -> Result<(), Located> {
    if object.properties.len() < 2 {
        return Ok(());
    }
    let mut keys: Vec<_> = object
        .properties
        .iter()
        .map(|property| (property.name.as_str(), property.name.range().start))
        .collect();
    keys.sort_unstable();
    let twice = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).min_by_key(|pair| pair[1].1);
    twice.map_or(Ok(()), |pair| {
        Err(located(pair[1].1, Defect::KeyTwice { key: shown::name(pair[1].0) }))
    })
}

/// Every host, with the index of its entry and its own index there.
fn every_host(entries: &[Entry]) -> impl Iterator<Item = (&Host, usize, usize)> {
    entries.iter().enumerate().flat_map(|(entry, Entry { hosts, .. })| {
        hosts.iter().enumerate().map(move |(index, host)| (host, entry, index))
    })
}

/// The first host that an earlier entry has too: the index of that entry, and the host's own two.
fn bound_twice(entries: &[Entry]) -> Option<(usize, usize, usize)> {
    // Most files bind hosts to one account alone.
    entries.iter().filter(|entry| !entry.hosts.is_empty()).nth(1)?;
    let mut bound: Vec<_> = every_host(entries).collect();
    bound.sort_unstable();
    let twice = bound.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1);
    let twice = twice.map(|pair| (pair[0].1, pair[1].1, pair[1].2));
    twice.min_by_key(|(_, entry, host)| (*entry, *host))
}

/// The place of a host in the file.
fn offset_of(accounts: &Object<'_>, entry: usize, host: usize) -> usize {
    let entry = accounts.properties.get(entry).and_then(|property| property.value.as_object());
    let mut properties = entry.into_iter().flat_map(|entry| &entry.properties);
    let hosts = properties.find(|property| property.name.as_str() == "hosts");
    let hosts = hosts.and_then(|hosts| hosts.value.as_array());
    let host = hosts.and_then(|hosts| hosts.elements.get(host));
    host.map_or(accounts.range.start, |host| host.range().start)
}

fn object<'a, 'b>(
    value: &'b Value<'a>,
    key: &str,
    wanted: &'static str,
) -> Result<&'b Object<'a>, Located> {
    value.as_object().ok_or_else(|| wrong_type(value, key, wanted))
}

fn wrong_type(value: &Value<'_>, key: &str, wanted: &'static str) -> Located {
    located(value.range().start, Defect::WrongType { key: shown::account(key), wanted })
}

/// A string that `parse` accepts.
fn string<T>(
    key: &'static str,
    value: &Value<'_>,
    wanted: &'static str,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Located> {
    match value {
        Value::StringLit(_) => scalar(key, value, wanted, parse),
        _ => Err(wrong_type(value, key, wanted)),
    }
}

/// A string or a number that `parse` accepts.
fn scalar<T>(
    key: &'static str,
    value: &Value<'_>,
    wanted: &'static str,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Located> {
    let text = match value {
        Value::StringLit(text) => &text.value,
        Value::NumberLit(number) => number.value,
        _ => return Err(wrong_type(value, key, wanted)),
    };
    parse(text)
        .map_err(|problem| located(value.range().start, Defect::Value { key, problem, wanted }))
}

fn min_valid(value: &Value<'_>) -> Result<i64, Located> {
    scalar("min_valid", value, MIN_VALID.wanted, values::whole_seconds)
}

fn hosts(value: &Value<'_>) -> Result<Vec<Host>, Located> {
    const WANTED: &str = "a list of strings: `[\"git.example.com\"]`";
    let Some(Array { elements, .. }) = value.as_array() else {
        return Err(wrong_type(value, "hosts", WANTED));
    };
    // Collecting into a `Result` would not reserve the capacity.
    let mut hosts = Vec::with_capacity(elements.len());
    for element in elements {
        hosts.push(string("hosts", element, HOST.wanted, values::host)?);
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The settings in a file of that text, or the error without its beginning, which is always the same.
    fn read(text: &str) -> String {
        let path = Path::new("/home/x/.config/astra-credential/config.json");
        let frame = format!("the configuration file `{}` ", path.display());
        match parse(text, path, Some(Path::new("/home/x"))) {
            Ok(File { path: _, accounts, cache_dir, ca_file, timeout, min_valid }) => {
                let mut lines = Vec::new();
                for Entry { name, place: _, file, hosts, api, ca_file, min_valid } in accounts {
                    let hosts: Vec<_> = hosts.iter().map(Host::to_string).collect();
                    let api = api.map(|api| api.base);
                    lines.push(format!(
                        "{name}: file {file:?} hosts {hosts:?} api_url {api:?} ca_file {ca_file:?} min_valid {min_valid:?}"
                    ));
                }
                lines.push(format!(
                    "cache_dir {cache_dir:?} ca_file {ca_file:?} timeout {timeout:?} min_valid {min_valid:?}"
                ));
                lines.join("\n")
            }
            Err(error) => format!("{error}; hint: {}", error.hint()).replace(&frame, ""),
        }
    }

    // Its paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn each_key_is_read() {
        let text = r#"
            // Two accounts.
            {
              "accounts": {
                "default": { "hosts": ["git.example.com"] },
                "prod": {
                  "file": "prod.json", /* beside this file */
                  "hosts": ["Git.Prod.example.com", "registry.prod.example.com:5000",],
                  "api_url": "https://API.example.com/",
                  "ca_file": "~/ca.pem",
                  "min_valid": 90,
                },
                "test": {},
              },
              "cache_dir": "/var/cache/astra",
              "ca_file": "company-ca.pem",
              "timeout": "10s",
              "min_valid": "30m",
            }"#;
        insta::assert_snapshot!(read(text), @r#"
        default: file None hosts ["git.example.com"] api_url None ca_file None min_valid None
        prod: file Some("/home/x/.config/astra-credential/prod.json") hosts ["git.prod.example.com", "registry.prod.example.com:5000"] api_url Some("https://api.example.com") ca_file Some("/home/x/ca.pem") min_valid Some(90)
        test: file None hosts [] api_url None ca_file None min_valid None
        cache_dir Some("/var/cache/astra") ca_file Some("/home/x/.config/astra-credential/company-ca.pem") timeout Some(10s) min_valid Some(1800)
        "#);
        assert_eq!(read("\u{feff}{}"), read("{}"));
    }

    #[test]
    fn each_defect_is_named_with_its_place() {
        let texts = [
            "",
            " // nothing\n",
            "[]",
            "null",
            "{",
            "{ \"accounts\": { }",
            "{ 'accounts': {} }",
            "{ accounts: {} }",
            "{} {}",
            "{\n  \"acounts\": {}\n}",
            "{\n  \"accounts\": {},\n  \"accounts\": {}\n}",
            r#"{"accounts": []}"#,
            r#"{"accounts": {"prod": "prod.json"}}"#,
            r#"{"accounts": {"prod": {"host": ["h"]}}}"#,
            r#"{"accounts": {"prod": {"hosts": "h"}}}"#,
            r#"{"accounts": {"prod": {"hosts": [7]}}}"#,
            r#"{"accounts": {"prod": {"hosts": ["https://h"]}}}"#,
            r#"{"accounts": {"prod": {"hosts": [""]}}}"#,
            r#"{"accounts": {"prod": {"api_url": "http://h"}}}"#,
            r#"{"accounts": {"prod": {"file": ""}}}"#,
            r#"{"accounts": {"prod": {"file": "a\u0000b"}}}"#,
            "{\"ca_file\": \"ca.\npem\"}",
            r#"{"accounts": {"prod": {"file": null}}}"#,
            r#"{"accounts": {"prod": {"ca_file": "~me/ca.pem"}}}"#,
            r#"{"accounts": {"prod": {}, "prod": {}}}"#,
            r#"{"accounts": {"a b": {}}}"#,
            r#"{"accounts": {"setup": {}}}"#,
            r#"{"accounts": {"a": {"hosts": ["h", "x"]}, "b": {"hosts": ["H:443"]}}}"#,
            r#"{"timeout": "soon"}"#,
            r#"{"timeout": 0}"#,
            r#"{"timeout": true}"#,
            r#"{"min_valid": "-1"}"#,
            r#"{"min_valid": {}}"#,
            r#"{"clientId": "i", "clientName": "n", "clientSecret": "s"}"#,
            r#"{"api_url": "https://h"}"#,
        ];
        let line = |text: &str| format!("`{}`\n  {}", text.replace('\n', "\\n"), read(text));
        insta::assert_snapshot!(texts.map(line).join("\n"), @r#"
        ``
          is empty at line 1, column 1; hint: write `{}` into it, or remove it
        ` // nothing\n`
          is empty at line 1, column 1; hint: write `{}` into it, or remove it
        `[]`
          is not a JSON object at line 1, column 1; hint: make it an object: `{ "accounts": { … } }`
        `null`
          is not a JSON object at line 1, column 1; hint: make it an object: `{ "accounts": { … } }`
        `{`
          is not JSON at line 1, column 1; hint: correct it there: JSON, in which comments and trailing commas are allowed
        `{ "accounts": { }`
          is not JSON at line 1, column 1; hint: correct it there: JSON, in which comments and trailing commas are allowed
        `{ 'accounts': {} }`
          is not JSON at line 1, column 3; hint: correct it there: JSON, in which comments and trailing commas are allowed
        `{ accounts: {} }`
          is not JSON at line 1, column 3; hint: correct it there: JSON, in which comments and trailing commas are allowed
        `{} {}`
          is not JSON at line 1, column 4; hint: correct it there: JSON, in which comments and trailing commas are allowed
        `{\n  "acounts": {}\n}`
          has the unknown key `acounts` at line 2, column 3; hint: write `accounts`
        `{\n  "accounts": {},\n  "accounts": {}\n}`
          has the key `accounts` twice at line 3, column 3; hint: remove one of the two
        `{"accounts": []}`
          has a value of the wrong type for `accounts` at line 1, column 14; hint: make it an object: `{ "NAME": { … } }`
        `{"accounts": {"prod": "prod.json"}}`
          has a value of the wrong type for `prod` at line 1, column 23; hint: make it an object: `{ "hosts": [ … ] }`
        `{"accounts": {"prod": {"host": ["h"]}}}`
          has the unknown key `host` at line 1, column 24; hint: write `hosts`
        `{"accounts": {"prod": {"hosts": "h"}}}`
          has a value of the wrong type for `hosts` at line 1, column 33; hint: make it a list of strings: `["git.example.com"]`
        `{"accounts": {"prod": {"hosts": [7]}}}`
          has a value of the wrong type for `hosts` at line 1, column 34; hint: make it a host as it stands in a URL, with its port unless that is 443, such as `git.example.com:8443`
        `{"accounts": {"prod": {"hosts": ["https://h"]}}}`
          has a value for `hosts` that is not a host at line 1, column 34; hint: set it to a host as it stands in a URL, with its port unless that is 443, such as `git.example.com:8443`
        `{"accounts": {"prod": {"hosts": [""]}}}`
          has a value for `hosts` that is not a host at line 1, column 34; hint: set it to a host as it stands in a URL, with its port unless that is 443, such as `git.example.com:8443`
        `{"accounts": {"prod": {"api_url": "http://h"}}}`
          has a value for `api_url` that is not `https` at line 1, column 35; hint: set it to the API's base without `/v2`, such as `https://api.astra.datastax.com`
        `{"accounts": {"prod": {"file": ""}}}`
          has a value for `file` that is not a path at line 1, column 32; hint: set it to a path: absolute, relative to the folder of this file, or with a leading `~/`
        `{"accounts": {"prod": {"file": "a\u0000b"}}}`
          has a value for `file` that is not a path at line 1, column 32; hint: set it to a path: absolute, relative to the folder of this file, or with a leading `~/`
        `{"ca_file": "ca.\npem"}`
          has a value for `ca_file` that is not a path at line 1, column 13; hint: set it to a path: absolute, relative to the folder of this file, or with a leading `~/`
        `{"accounts": {"prod": {"file": null}}}`
          has a value of the wrong type for `file` at line 1, column 32; hint: make it a path: absolute, relative to the folder of this file, or with a leading `~/`
        `{"accounts": {"prod": {"ca_file": "~me/ca.pem"}}}`
          has a value for `ca_file` that begins with `~` and a name, which is not replaced by a home at line 1, column 35; hint: set it to a path: absolute, relative to the folder of this file, or with a leading `~/`
        `{"accounts": {"prod": {}, "prod": {}}}`
          has the key `prod` twice at line 1, column 27; hint: remove one of the two
        `{"accounts": {"a b": {}}}`
          has an account whose name is not 1 to 64 letters, digits, `-` and `_` at line 1, column 15; hint: rename it, and its account file `NAME.json` too
        `{"accounts": {"setup": {}}}`
          has an account whose name belongs to another file of this program at line 1, column 15; hint: rename it, and its account file `NAME.json` too
        `{"accounts": {"a": {"hosts": ["h", "x"]}, "b": {"hosts": ["H:443"]}}}`
          binds the host `h` to the accounts `a` and `b` at line 1, column 59; hint: leave it with one of the two
        `{"timeout": "soon"}`
          has a value for `timeout` that is not a duration at line 1, column 13; hint: set it to seconds or a duration, such as `30`, `2.5` or `10s`
        `{"timeout": 0}`
          has a value for `timeout` that is not between 0 and a day at line 1, column 13; hint: set it to seconds or a duration, such as `30`, `2.5` or `10s`
        `{"timeout": true}`
          has a value of the wrong type for `timeout` at line 1, column 13; hint: make it seconds or a duration, such as `30`, `2.5` or `10s`
        `{"min_valid": "-1"}`
          has a value for `min_valid` that is not a duration at line 1, column 15; hint: set it to a duration, such as `90s`, `30m`, `2h` or bare seconds
        `{"min_valid": {}}`
          has a value of the wrong type for `min_valid` at line 1, column 15; hint: make it a duration, such as `90s`, `30m`, `2h` or bare seconds
        `{"clientId": "i", "clientName": "n", "clientSecret": "s"}`
          has the unknown key `clientId` at line 1, column 2; hint: keep the account in a file of its own, with `astra-credential setup account`
        `{"api_url": "https://h"}`
          has the unknown key `api_url` at line 1, column 2; hint: use one of `accounts`, `cache_dir`, `ca_file`, `timeout`, `min_valid`
        "#);
    }

    #[test]
    fn no_defect_shows_a_value() {
        for text in [
            r#"{"AstraCS:hush:hush": 1}"#,
            r#"{"accounts": {"AstraCS:hush:hush": {}}}"#,
            r#"{"accounts": {"prod": {"file": "AstraCS:hush:hush"}}}"#,
            r#"{"accounts": {"prod": {"file": "{\"clientSecret\":\"hush\"}"}}}"#,
            r#"{"accounts": {"prod": {"hosts": ["AstraCS:hush:hush"]}}}"#,
            r#"{"accounts": {"prod": {"api_url": "hush"}}}"#,
            r#"{"accounts": {"prod": {"clientSecret": "hush"}}}"#,
            r#"{"timeout": "hush"}"#,
            r#"{"clientSecret": "hush", "clientSecret": "hush"}"#,
            "{\"clientSecret\": hush}",
        ] {
            let shown = read(text);
            assert!(shown.contains("hint") && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        for deep in ["[".repeat(500_000), "{\"a\":".repeat(100_000)] {
            assert!(read(&deep).contains("is not JSON"), "{}", read(&deep));
        }
    }

    #[test]
    fn a_file_has_at_most_a_thousand_hosts_in_all() {
        let list = |from: usize, count: usize| {
            let hosts = (from..from + count).map(|n| format!("\n\"h{n}.example.com\""));
            hosts.collect::<Vec<_>>().join(",")
        };
        let file = |a: &str, b: &str| {
            format!(
                "{{\"accounts\": {{ \"a\": {{ \"hosts\": [{a}] }}, \"b\": {{ \"hosts\": [{b}] }} }} }}"
            )
        };
        assert!(read(&file(&list(0, 600), &list(600, 400))).starts_with("a: "));
        insta::assert_snapshot!(read(&file(&list(0, 600), &list(600, 401))), @"binds more than 1000 hosts at line 1002, column 1; hint: remove the hosts that no tool asks for; a file may bind 1000");
        assert!(read(&file(&list(0, 10_000), "")).contains("line 1002,"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in "\\PC*|([{}\\[\\],:]|\"accounts\"|\"hosts\"|\"a\"|1e9|-|\\\\|/\\*|//|\u{e9}| |\n){0,40}"
        ) {
            let _ = read(&text);
        }
    }
}
