//! The meaning of flags, environment variables and configuration files: which account answers, and
//! with which settings.
//!
//! [`Sources`] holds the flags, variables and files, [`Configuration`] answers questions about them, and
//! [`Settings`] is the result for one account.
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
//! An empty variable counts as absent.
//!
//! Imports, bottom up: `flags`, `sourced`, `values` ← `setting`, `proxy` ← `file`, `folders` ← `read` ←
//! `sources` ← `choice` ← `resolve` ← `contradictions`, `listed`, `named` ← this file.

mod choice;
mod contradictions;
mod file;
mod flags;
mod folders;
mod listed;
mod named;
mod proxy;
mod read;
mod resolve;
mod setting;
mod sourced;
mod sources;
mod values;

use std::collections::BTreeSet;
use std::path::Path;

pub use self::choice::ChosenAccount;
pub use self::contradictions::contradictions;
pub use self::file::JSONC;
pub use self::flags::Flags;
pub use self::listed::ListedSetting;
pub use self::named::{NamedAccount, entered};
pub use self::read::check_file;
use self::resolve::Common;
pub use self::resolve::{Settings, account_command, cache_dir};
pub use self::setting::{
    ACCOUNT, API_URL, CA_FILE, CACHE_DIR, CONFIG, Environment, FLAGS, HOME, HOST, LOG, MIN_VALID,
    NO_CACHE, SERVICE_ACCOUNT, Setting, TIMEOUT, is_utf_8, paths, switch, text, variable,
};
pub use self::sourced::{Source, Sourced};
pub use self::sources::Sources;
pub use self::values::DEFAULT_ACCOUNT;
use crate::error::Error;
use crate::protocol::Host;
use crate::shown::redacted;

/// The flags, the environment and the configuration files, and the settings that do not depend on the
/// account.
pub struct Configuration<'a> {
    /// The flags, the environment and the files.
    pub sources: Sources<'a>,
    /// The hosts of `--host` or `ASTRA_CREDENTIAL_HOSTS`.
    pub further_hosts: Sourced<Vec<Host>>,
    /// The settings that are the same for every account.
    pub common: Common,
}

impl<'a> Configuration<'a> {
    /// Reads the settings that do not depend on the account.
    ///
    /// # Errors
    /// [`Error::Setting`] names the flag or variable that cannot be used.
    pub fn new(sources: Sources<'a>) -> Result<Self, Error> {
        let common = Common::read(&sources)?;
        let further_hosts = choice::further_hosts(&sources)?;
        Ok(Self { sources, further_hosts, common })
    }

    /// The settings of the account that answers calls that name no host.
    ///
    /// # Errors
    /// The account is unknown, or a setting cannot be used.
    pub fn settings(&self) -> Result<Settings, Error> {
        self.resolve(choice::chosen(&self.sources)?)
    }

    /// The settings of the account that answers for `host`; `None` if no account is configured for it.
    ///
    /// # Errors
    /// The account is unknown, the host is bound to another one than a flag names, or a setting
    /// cannot be used.
    pub fn settings_for(&self, host: &Host) -> Result<Option<Settings>, Error> {
        let typed = choice::typed(&self.sources)?;
        let account = match (typed, choice::owner(&self.sources, host)) {
            (Some(typed), Some(owner)) if typed.name() != Some(&owner.name) => {
                return Err(Error::Bound {
                    host: redacted(&host.to_string()),
                    owner: owner.name.clone(),
                    named: typed.to_string(),
                    path: owner.place.to_path_buf(),
                });
            }
            (Some(typed), Some(_)) => typed,
            (None, Some(owner)) => Sourced::new(ChosenAccount::named(&owner.name), owner.source()),
            (typed, None) => {
                let chosen = typed.map_or_else(|| choice::untyped(&self.sources), Ok)?;
                let settings = self.resolve(chosen)?;
                let is_ours = self.is_further(host) || settings.api.host == *host;
                if is_ours {
                    return Ok(Some(settings));
                }
                return self.sources.refuse_dangling_links().map(|()| None);
            }
        };
        self.resolve(account).map(Some)
    }

    /// The settings of the account of that name.
    ///
    /// # Errors
    /// The account is unknown, or a setting cannot be used.
    pub fn settings_of(&self, name: &str) -> Result<Settings, Error> {
        self.resolve(Sourced::default_of(ChosenAccount::named(name)))
    }

    fn resolve(&self, account: Sourced<ChosenAccount>) -> Result<Settings, Error> {
        resolve::resolve(account, &self.sources, &self.common)
    }

    /// True if an account is configured for `host`, even if its settings cannot be used.
    pub fn is_ours(&self, host: &Host) -> bool {
        let is_named = self.owner_of(host).is_some() || self.is_further(host);
        is_named || matches!(self.settings_for(host), Ok(Some(_)))
    }

    /// The settings of a call in another environment: for `host` if the call names one, and `None` if no account
    /// is configured for it. Of the flags it has `--account` if `account` is given, and this call's `--config`.
    ///
    /// # Errors
    /// The account is unknown, or a setting or file cannot be used.
    pub fn settings_in(
        &self,
        env: &Environment<'_>,
        account: Option<&str>,
        host: Option<&Host>,
    ) -> Result<Option<Settings>, Error> {
        let account = account.map(|name| (ACCOUNT.flag, name.into()));
        let config = self.sources.flags.value(CONFIG.flag);
        let config = config.map(|config| (CONFIG.flag, config.clone()));
        let values = account.into_iter().chain(config).collect();
        let flags = Flags { values, ..Flags::default() };
        let mut sources = Sources::of_user(&flags, env);
        sources.read_files()?;
        let configuration = Configuration::new(sources)?;
        match host {
            Some(host) => configuration.settings_for(host),
            None => configuration.settings().map(Some),
        }
    }

    /// The account to which a configuration file binds `host`. Flags and variables are ignored.
    pub fn owner_of(&self, host: &Host) -> Option<&str> {
        choice::owner(&self.sources, host).map(|owner| owner.name.as_str())
    }

    /// True if `--host` names the host or, without `--account`, `ASTRA_CREDENTIAL_HOSTS`. The variable names
    /// no account, so it does not add hosts to an account that a flag names.
    fn is_further(&self, host: &Host) -> bool {
        let is_variable = matches!(self.further_hosts.source, Source::Variable(_));
        let counts = !is_variable || self.sources.flags.value(ACCOUNT.flag).is_none();
        counts && self.further_hosts.contains(host)
    }

    /// The settings of every account, the chosen one first; if a flag names an account, only that one.
    ///
    /// # Errors
    /// An account is unknown, or a setting cannot be used.
    pub fn every_account(&self) -> Result<Vec<Settings>, Error> {
        if let Some(typed) = choice::typed(&self.sources)? {
            return Ok(vec![self.resolve(typed)?]);
        }
        let chosen = choice::untyped(&self.sources)?;
        let entered = self.sources.entries();
        let entered = entered.map(|entry| Sourced::new(entry.name.clone(), entry.source()));
        let stored = self.sources.folders.stored_accounts().map(Sourced::default_of);
        let known = entered.chain(stored).map(|name| name.map(ChosenAccount::Named));
        let known: Vec<_> = known.collect();
        // `default` without an entry and a file is listed only if there is no other account.
        let is_known = known.iter().any(|account| account.value == chosen.value);
        let is_listed = is_known || known.is_empty() || chosen.source != Source::Default;
        let mut accounts: Vec<Sourced<ChosenAccount>> = Vec::new();
        for account in is_listed.then_some(chosen).into_iter().chain(known) {
            if !accounts.iter().any(|listed| listed.value == account.value) {
                accounts.push(account);
            }
        }
        accounts.into_iter().map(|account| self.resolve(account)).collect()
    }

    /// The hosts that get this account's token from a call without flags.
    ///
    /// # Errors
    /// A variable cannot be used.
    pub fn hosts_of(&self, settings: &Settings) -> Result<Vec<Sourced<Host>>, Error> {
        let Settings { account, api, .. } = settings;
        let is_chosen = choice::chosen(&self.sources)?.value == account.value;
        let entry = account.name().and_then(|name| self.sources.entry(name));
        let own = [Sourced::new(&api.host, api.source.clone())];
        let bound = entry
            .into_iter()
            .flat_map(|entry| entry.hosts.iter().map(|host| Sourced::new(host, entry.source())));
        let further = self.further_hosts.iter().filter(|host| self.is_further(host));
        let further = further.map(|host| Sourced::new(host, self.further_hosts.source.clone()));
        let is_ours = |host: &Host| match self.owner_of(host) {
            Some(owner) => Some(owner) == account.name(),
            None => is_chosen,
        };
        let mut seen = BTreeSet::new();
        let hosts = own.into_iter().chain(bound).chain(further);
        let hosts = hosts.filter(|host| is_ours(host) && seen.insert(host.value));
        Ok(hosts.map(|host| host.map(Host::clone)).collect())
    }

    /// Every host that gets a token.
    ///
    /// # Errors
    /// An account is unknown, or a setting cannot be used.
    pub fn hosts(&self) -> Result<Vec<Host>, Error> {
        let accounts = self.every_account()?;
        let hosts = accounts.iter().map(|settings| self.hosts_of(settings));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        Ok(hosts.map(|host| host.value).collect())
    }

    /// The configuration files that were read; the first takes precedence.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files.iter().map(|file| &*file.path)
    }
}

#[cfg(test)]
mod tests {
    use super::folders::Folders;
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;

    pub const USER: &str = "/home/x/.config/astra-credential/config.json";
    #[cfg(unix)]
    const MACHINE: &str = "/etc/astra-credential/config.json";

    /// Four accounts besides `default`. `alone` has an API of its own; `one` and `two` share another.
    pub const ACCOUNTS: [(&str, &str); 1] = [(
        USER,
        r#"{
          "accounts": {
            "default": { "hosts": ["git.example.com"] },
            "prod": { "hosts": ["git.prod.example"], "api_url": "https://api.astra.datastax.com" },
            "alone": { "api_url": "https://api.alone.example", "hosts": [] },
            "one": { "api_url": "https://api.shared.example" },
            "two": { "api_url": "https://api.shared.example" },
          }
        }"#,
    )];

    /// Calls `ask` with the configuration of these words, such as `--account`, `prod` and `NAME=value`, and
    /// these files.
    pub fn with<T>(
        words: &[&str],
        files: &[(&str, &str)],
        ask: impl FnOnce(&Configuration<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let folders = Folders {
            config: Some("/home/x/.config/astra-credential".into()),
            cache: Some("/home/x/.cache/astra-credential".into()),
        };
        with_folders(folders, words, files, ask)
    }

    fn with_folders<T>(
        folders: Folders,
        words: &[&str],
        files: &[(&str, &str)],
        ask: impl FnOnce(&Configuration<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut flags = Flags::default();
        let mut variables = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match FLAGS.iter().find(|flag| *flag == word) {
                Some(flag) => flags.values.push((flag, words.next().unwrap().into())),
                None => variables.push(word.split_once('=').unwrap()),
            }
        }
        let env = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let mut sources = Sources { folders, ..Sources::of_user(&flags, &env) };
        for (path, text) in files {
            sources.files.push(file::parse(text, Path::new(path), Some(Path::new("/home/x")))?);
        }
        ask(&Configuration::new(sources)?)
    }

    fn split(words: &str) -> Vec<&str> {
        words.split(' ').filter(|word| !word.is_empty()).collect()
    }

    /// The account and the settings of a call that names no host, a line each.
    pub fn listed(words: &[&str], files: &[(&str, &str)]) -> String {
        let listed = with(words, files, |configuration| {
            let settings = configuration.settings()?;
            let mut lines = format!("{} ({})", settings.account.value, settings.account.source);
            let listed = settings.listed(&configuration.hosts_of(&settings)?);
            for ListedSetting { name, value, source } in listed {
                lines += &format!("\n{name}: {value} ({source})");
            }
            Ok(lines)
        });
        listed.unwrap_or_else(|error| error.to_string())
    }

    /// The same, without the settings that have their default values.
    #[cfg(unix)]
    pub fn set(words: &str, files: &[(&str, &str)]) -> String {
        let listed = listed(&split(words), files);
        let is_set = |line: &&str| !line.ends_with("(default)");
        listed.lines().filter(is_set).map(|line| format!("{line}\n")).collect()
    }

    /// The account for a host.
    fn answer(words: &str, files: &[(&str, &str)], host: &str) -> String {
        let answer = with(&split(words), files, |configuration| {
            let settings = configuration.settings_for(&Host::parse(host).unwrap())?;
            Ok(settings.map_or("nobody".to_owned(), |settings| {
                format!("{} at {}", settings.account.value, settings.api.host)
            }))
        });
        answer.unwrap_or_else(|error| error.to_string())
    }

    /// The account for each host without words; then, for each of `cases`, the answers that differ.
    fn answers(files: &[(&str, &str)], hosts: &[&str], cases: &[&str]) -> String {
        let usual: Vec<_> = hosts.iter().map(|host| answer("", files, host)).collect();
        let mut table = String::new();
        for (host, usual) in hosts.iter().zip(&usual) {
            table += &format!("{host}: {usual}\n");
        }
        for case in cases {
            table += &format!("`{case}`\n");
            for (host, usual) in hosts.iter().zip(&usual) {
                let answer = answer(case, files, host);
                if answer != *usual {
                    table += &format!("  {host}: {answer}\n");
                }
            }
        }
        table
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
            "--account default",
            "--account prod",
            "--account one",
            "--account nope",
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
        insta::assert_snapshot!(answers(&ACCOUNTS, &hosts, &cases), @"
        api.astra.datastax.com: the account `default` at api.astra.datastax.com
        git.example.com: the account `default` at api.astra.datastax.com
        git.prod.example: the account `prod` at api.astra.datastax.com
        api.alone.example: the account `alone` at api.alone.example
        api.shared.example: nobody
        further.example: nobody
        stranger.example: nobody
        `--account default`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `default`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `default`
        `--account prod`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
        `--account one`
          api.astra.datastax.com: nobody
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `one`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `one`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `one`
          api.shared.example: the account `one` at api.shared.example
        `--account nope`
          api.astra.datastax.com: there is no account `nope`, which `--account` names
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `nope`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of the account `nope`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `nope`
          api.shared.example: there is no account `nope`, which `--account` names
          further.example: there is no account `nope`, which `--account` names
          stranger.example: there is no account `nope`, which `--account` names
        `--service-account /x.json`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of `/x.json`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of `/x.json`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of `/x.json`
        `--service-account /home/x/.config/astra-credential/prod.json`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
        `--host further.example`
          further.example: the account `default` at api.astra.datastax.com
        `--host git.prod.example --host further.example`
          further.example: the account `default` at api.astra.datastax.com
        `--account prod --host further.example --host git.example.com`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
          further.example: the account `prod` at api.astra.datastax.com
        `--account prod --api-url https://api.alone.example`
          api.astra.datastax.com: nobody
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          git.prod.example: the account `prod` at api.alone.example
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
        `--account prod ASTRA_CREDENTIAL_HOSTS=further.example`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of the account `prod`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of the account `prod`
        `--service-account /x.json ASTRA_CREDENTIAL_HOSTS=further.example`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          git.example.com: the host `git.example.com` is bound to the account `default` and gets no token of `/x.json`
          git.prod.example: the host `git.prod.example` is bound to the account `prod` and gets no token of `/x.json`
          api.alone.example: the host `api.alone.example` is bound to the account `alone` and gets no token of `/x.json`
          further.example: `/x.json` at api.astra.datastax.com
        `ASTRA_CREDENTIAL_ACCOUNT=prod ASTRA_CREDENTIAL_HOSTS=further.example,git.example.com`
          api.astra.datastax.com: the account `prod` at api.astra.datastax.com
          further.example: the account `prod` at api.astra.datastax.com
        `ASTRA_CREDENTIAL_ACCOUNT=one`
          api.astra.datastax.com: nobody
          api.shared.example: the account `one` at api.shared.example
        `ASTRA_CREDENTIAL_ACCOUNT=nope`
          api.astra.datastax.com: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          api.shared.example: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          further.example: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
          stranger.example: there is no account `nope`, which `ASTRA_CREDENTIAL_ACCOUNT` names
        `ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_CREDENTIAL_HOSTS=git.example.com,git.prod.example,further.example`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          further.example: `/x.json` at api.astra.datastax.com
        `ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.alone.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.alone.example
        `ASTRA_API_URL=https://api.elsewhere.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.elsewhere.example
        `ASTRA_API_URL=https://git.prod.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at git.prod.example
        `ASTRA_CREDENTIAL_ACCOUNT=alone ASTRA_API_URL=https://api.elsewhere.example`
          api.astra.datastax.com: nobody
          git.example.com: the account `default` at api.elsewhere.example
        ");
    }

    #[test]
    fn without_a_file_the_variables_choose_account_and_hosts() {
        let hosts = ["api.astra.datastax.com", "api.other.example", "git.example.com", "x.example"];
        let cases = [
            "--host git.example.com ASTRA_CREDENTIAL_HOSTS=x.example",
            "ASTRA_CREDENTIAL_HOSTS=git.example.com",
            "--service-account /x.json ASTRA_CREDENTIAL_HOSTS=git.example.com",
            "ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.other.example",
        ];
        insta::assert_snapshot!(answers(&[], &hosts, &cases), @"
        api.astra.datastax.com: the account `default` at api.astra.datastax.com
        api.other.example: nobody
        git.example.com: nobody
        x.example: nobody
        `--host git.example.com ASTRA_CREDENTIAL_HOSTS=x.example`
          git.example.com: the account `default` at api.astra.datastax.com
        `ASTRA_CREDENTIAL_HOSTS=git.example.com`
          git.example.com: the account `default` at api.astra.datastax.com
        `--service-account /x.json ASTRA_CREDENTIAL_HOSTS=git.example.com`
          api.astra.datastax.com: `/x.json` at api.astra.datastax.com
          git.example.com: `/x.json` at api.astra.datastax.com
        `ASTRA_SERVICE_ACCOUNT=/x.json ASTRA_API_URL=https://api.other.example`
          api.astra.datastax.com: nobody
          api.other.example: `/x.json` at api.other.example
        ");
    }

    #[test]
    fn a_variable_does_not_send_another_accounts_secret_elsewhere() {
        let files = [(USER, r#"{ "accounts": { "prod": { "hosts": ["git.prod.example"] } } }"#)];
        let cases = [
            "ASTRA_API_URL=https://dev.example",
            "ASTRA_API_URL=https://dev.example --account prod",
            "ASTRA_API_URL=https://dev.example ASTRA_CREDENTIAL_ACCOUNT=prod",
        ];
        insta::assert_snapshot!(answers(&files, &["git.prod.example"], &cases), @"
        git.prod.example: the account `prod` at api.astra.datastax.com
        `ASTRA_API_URL=https://dev.example`
        `ASTRA_API_URL=https://dev.example --account prod`
        `ASTRA_API_URL=https://dev.example ASTRA_CREDENTIAL_ACCOUNT=prod`
          git.prod.example: the account `prod` at dev.example
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
            "prod": { "file": "prod.json", "hosts": ["theirs.example"], "min_valid": "2h" },
            "ci": { "file": "ci.json", "hosts": ["ci.example", "both.example"], "min_valid": "1h" },
          },
          "timeout": "9s",
          "cache_dir": "cache",
        }"#;
        let files = [(USER, user), (MACHINE, machine)];
        let hosts = ["both.example", "mine.example", "theirs.example", "ci.example"];
        insta::assert_snapshot!(answers(&files, &hosts, &[]), @"
        both.example: the account `default` at api.astra.datastax.com
        mine.example: the account `prod` at api.astra.datastax.com
        theirs.example: nobody
        ci.example: the account `ci` at api.astra.datastax.com
        ");
        insta::assert_snapshot!(set("--account prod", &files), @"
        the account `prod` (--account)
        file: /home/x/.config/astra-credential/mine.json (/home/x/.config/astra-credential/config.json)
        hosts: mine.example (/home/x/.config/astra-credential/config.json)
        cache_dir: /etc/astra-credential/cache (/etc/astra-credential/config.json)
        timeout: 5s (/home/x/.config/astra-credential/config.json)
        ");
        insta::assert_snapshot!(set("--account ci", &files), @"
        the account `ci` (--account)
        file: /etc/astra-credential/ci.json (/etc/astra-credential/config.json)
        hosts: ci.example (/etc/astra-credential/config.json)
        cache_dir: /etc/astra-credential/cache (/etc/astra-credential/config.json)
        timeout: 5s (/home/x/.config/astra-credential/config.json)
        min_valid: 1h (/etc/astra-credential/config.json)
        ");
    }

    /// The names of the accounts in the order of `status`.
    fn accounts(configuration: &Configuration<'_>) -> Result<String, Error> {
        let accounts = configuration.every_account()?.into_iter();
        let names = accounts.map(|settings| settings.account.value.to_string());
        Ok(names.collect::<Vec<_>>().join(", ").replace("the account ", ""))
    }

    #[test]
    fn every_account_is_listed_once_and_the_chosen_one_first() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["stored.json", "default.json", "b.json", "a b.json", "c.txt"] {
            std::fs::write(folder.path().join(file), "{}").unwrap();
        }
        let named = |words: &str, files: &[(&str, &str)]| {
            let folders = Folders { config: Some(folder.path().to_owned()), cache: None };
            with_folders(folders, &split(words), files, accounts).unwrap()
        };
        let sole = [(USER, r#"{ "accounts": { "sole": {} } }"#)];
        insta::assert_snapshot!(named("", &ACCOUNTS), @"`default`, `prod`, `alone`, `one`, `two`, `b`, `stored`");
        insta::assert_snapshot!(named("ASTRA_CREDENTIAL_ACCOUNT=one", &ACCOUNTS), @"`one`, `default`, `prod`, `alone`, `two`, `b`, `stored`");
        insta::assert_snapshot!(named("ASTRA_SERVICE_ACCOUNT=/x.json", &[]), @"`/x.json`, `b`, `stored`");
        insta::assert_snapshot!(named("--account stored", &ACCOUNTS), @"`stored`");
        insta::assert_snapshot!(named("", &sole), @"`sole`, `b`, `stored`");
        std::fs::write(folder.path().join("service-account.json"), "{}").unwrap();
        insta::assert_snapshot!(named("", &sole), @"`default`, `sole`, `b`, `stored`");
        assert_eq!(with(&[], &[], accounts).unwrap(), "`default`");
    }

    #[test]
    fn each_account_is_listed_with_the_hosts_that_get_its_token() {
        let hosts = |words: &str| {
            let listed = with(&split(words), &ACCOUNTS, |configuration| {
                let mut table = String::new();
                for settings in configuration.every_account()? {
                    let hosts = configuration.hosts_of(&settings)?;
                    for Sourced { value: host, source: _ } in &hosts {
                        let answering = configuration.settings_for(host)?.unwrap();
                        assert_eq!(answering.account.value, settings.account.value, "{host}");
                    }
                    let hosts: String =
                        hosts.iter().map(|host| format!(" {}", host.value)).collect();
                    table += &format!("{}:{hosts}\n", settings.account.value);
                }
                Ok(table)
            });
            listed.unwrap()
        };
        insta::assert_snapshot!(hosts("ASTRA_CREDENTIAL_HOSTS=further.example,git.prod.example"), @"
        the account `default`: api.astra.datastax.com git.example.com further.example
        the account `prod`: git.prod.example
        the account `alone`: api.alone.example
        the account `one`:
        the account `two`:
        ");
        insta::assert_snapshot!(hosts("ASTRA_CREDENTIAL_ACCOUNT=one ASTRA_CREDENTIAL_HOSTS=further.example"), @"
        the account `one`: api.shared.example further.example
        the account `default`: git.example.com
        the account `prod`: git.prod.example
        the account `alone`: api.alone.example
        the account `two`:
        ");
        insta::assert_snapshot!(hosts("--account prod ASTRA_CREDENTIAL_HOSTS=further.example"), @"the account `prod`: api.astra.datastax.com git.prod.example");
    }

    fn sometimes(values: &[&'static str]) -> impl Strategy<Value = Option<&'static str>> {
        proptest::option::of(proptest::sample::select(values.to_vec()))
    }

    proptest! {
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
            let words: Vec<_> = raw.into_iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let bound = [("git.example.com", "default"), ("git.prod.example", "prod"),
                ("api.alone.example", "alone")];
            for (host, owner) in bound {
                let settings = with(&words, &ACCOUNTS, |configuration| {
                    configuration.settings_for(&Host::parse(host).unwrap())
                }).unwrap().unwrap();
                prop_assert_eq!(settings.account.name(), Some(owner));
                if owner == "alone" {
                    prop_assert_eq!(settings.api.host.to_string(), "api.alone.example");
                }
            }
        }
    }
}
