//! Serves one account: reads its file, opens its cache, and passes the exchange to the broker.

use std::io;
use std::time::Instant;

use crate::account::{self, Account, ServiceAccount};
use crate::broker::{self, Demand, Failure};
use crate::cache::{self, Cache, LastFailure};
use crate::error::{AccountError, Error, ExchangeError, Remembered};
use crate::exchange::Exchange;
use crate::message;
use crate::protocol::Host;
use crate::seal::Seal;
use crate::settings::{self, Configuration, Environment, Flags, Settings, Sourced, Sources};
use crate::shown;
use crate::timestamp::{Moment, Timestamp};
use crate::token::{Credential, Secret};

/// Serves the accounts of a configuration to one call.
pub struct Service<'a> {
    /// The configuration, which selects the account.
    pub configuration: &'a Configuration<'a>,
    /// The name of the command. It is stored with a failure.
    pub command: &'a str,
}

impl Service<'_> {
    /// The credential of the account for calls without a host.
    ///
    /// # Errors
    /// A setting or the account file cannot be used, or the exchange failed.
    pub fn credential(&self) -> Result<Credential, Error> {
        self.serve(&self.configuration.settings()?, None)
    }

    /// The credential of the account for `host`; `None` if no account is configured for it.
    ///
    /// # Errors
    /// Those of [`Self::credential`], or a flag names another account than the host's.
    pub fn credential_for(&self, host: &Host) -> Result<Option<Credential>, Error> {
        let settings = self.configuration.settings_for(host)?;
        settings.map(|settings| self.serve(&settings, Some(host))).transpose()
    }

    fn serve(&self, settings: &Settings, host: Option<&Host>) -> Result<Credential, Error> {
        let served = serve(settings, Some(self.command), host);
        if matches!(served, Err(Error::Account(AccountError::Missing { .. }))) {
            self.configuration.sources.refuse_dangling_links()?;
        }
        served
    }

    /// Deletes the cached token and failures of the account for calls without a host, or of `all` accounts.
    ///
    /// # Errors
    /// A setting or the account file cannot be used, or the cache cannot be written.
    pub fn forget_account(&self, all: bool) -> Result<(), Error> {
        let settings = self.configuration.settings()?;
        if !all {
            return forget(&settings, None, None);
        }
        let Some(dir) = settings.common.cache_dir.as_deref() else { return Ok(()) };
        let forgotten = cache::forget_all(dir, Instant::now() + *settings.common.timeout);
        forgotten.map_err(|why| not_forgotten(&settings, why))
    }

    /// Deletes the cached token of the account for `host`, which refused it. Only the `named` token is deleted,
    /// if one is named.
    ///
    /// # Errors
    /// A setting or the account file cannot be used, or the cache cannot be written.
    pub fn forget_at(&self, host: &Host, named: Option<&Secret>) -> Result<(), Error> {
        let settings = self.configuration.settings_for(host)?;
        settings.map_or(Ok(()), |settings| forget(&settings, named, Some(host)))
    }
}

/// Stores the failure of a call as `last.failure`, for `status` to show. The failures that [`serve`] has
/// stored for their account are not stored again.
pub fn store_failure(error: &Error, command: &str, flags: &Flags, env: &Environment<'_>) {
    let is_uncached = flags.no_cache
        || settings::switch(env, settings::NO_CACHE).is_ok_and(|is_off| is_off.value);
    let is_stored = matches!(error, Error::Exchange { .. } | Error::Refused { .. });
    // These commands are run by a person, who sees the error.
    let is_seen = ["status", "doctor", "setup", "completions", "man", "help"].contains(&command);
    // Docker calls every configured helper for every registry, so "not ours" is normal.
    let is_usual = matches!(error, Error::NotOurs { protocol: "docker", .. });
    if is_uncached || is_stored || is_seen || is_usual {
        return;
    }
    let mut sources = Sources::of_user(flags, env);
    // If a configuration file has a defect, the default folder is used.
    let _ = sources.read_files();
    if let Ok(Sourced { value: Some(dir), .. }) = settings::cache_dir(&sources) {
        LastFailure::of(error, command).store(&dir, None);
    }
}

/// Returns the account's credential, for `host` if the caller names one. If `command` is set, a failed exchange
/// is stored for `status` under that name.
///
/// # Errors
/// The account file cannot be used, or the exchange failed.
pub fn serve(
    settings: &Settings,
    command: Option<&str>,
    host: Option<&Host>,
) -> Result<Credential, Error> {
    let deadline = Instant::now() + *settings.common.timeout;
    let account = match account(settings, deadline)? {
        Account::Application(bearer) => {
            return Ok(Credential { bearer, expires: None, accepted_until: None });
        }
        Account::Service(account) => account,
    };
    let host = host.map(ToString::to_string);
    let demand = Demand {
        refresh: settings.refresh,
        min_valid: *settings.min_valid,
        deadline,
        host: host.as_deref(),
        api: &settings.api.base,
        route: &settings.route(),
    };
    let exchange = Exchange {
        api: &settings.api.base,
        ca_file: settings.ca_file.as_deref(),
        ca_folders: &settings.ca_folders,
        proxy: settings.proxy.as_deref(),
        deadline,
    };
    let cache = cache(settings, &account);
    let mint = || {
        let why = format!("waiting for {}", shown::quoted(&settings.api.base));
        message::explain_wait(&why, || exchange.mint(&account))
    };
    let served = broker::serve(&cache, demand, Moment::now, mint);
    message::wipe();
    served.map_err(|failure| {
        let error = match failure {
            Failure::Exchange { error, remembered } => {
                exchange_error(settings, &account, error, remembered)
            }
            Failure::Refused { host, wait } => {
                Error::Refused { host, wait, forget: settings.forget_command() }
            }
        };
        if let Some(command) = command {
            cache.store_failure(&LastFailure::of(&error, command));
        }
        error
    })
}

/// The error of the catalogue for a failed exchange of this account.
pub fn exchange_error(
    settings: &Settings,
    account: &ServiceAccount,
    error: ExchangeError,
    remembered: Option<Remembered>,
) -> Error {
    let path = settings.service_account.value.clone().unwrap_or_default();
    let (padded, store) = (account.padded_field(), settings.store_command());
    Error::Exchange { error, remembered, account: path, padded, store }
}

/// Deletes the account's cached token if it is the `named` one, or if no token is named. `at` is the host that
/// refused the token. Without both, the last failure is removed too.
///
/// # Errors
/// The account file cannot be used, or the cache cannot be written.
fn forget(settings: &Settings, named: Option<&Secret>, at: Option<&Host>) -> Result<(), Error> {
    let deadline = Instant::now() + *settings.common.timeout;
    let is_whole = named.is_none() && at.is_none();
    let forgotten = match account(settings, deadline)? {
        Account::Application(_) => Ok(()),
        Account::Service(account) => {
            // `forget` deletes the token despite `--no-cache`.
            let mut settings = settings.clone();
            settings.common.no_cache.value = false;
            let cache = cache(&settings, &account);
            let host = at.map(ToString::to_string);
            if is_whole {
                cache.remove_failure();
            }
            broker::forget(&cache, named, host.as_deref(), Timestamp::now(), deadline)
        }
    };
    message::wipe();
    if is_whole {
        settings.common.cache_dir.as_deref().inspect(|dir| LastFailure::remove(dir, None));
    }
    forgotten.map_err(|why| not_forgotten(settings, why))
}

fn not_forgotten(settings: &Settings, why: io::Error) -> Error {
    Error::Forget { dir: settings.common.cache_dir.value.clone().unwrap_or_default(), why }
}

/// Reads the account file.
///
/// # Errors
/// The account file cannot be used.
fn account(settings: &Settings, deadline: Instant) -> Result<Account, Error> {
    let path = settings.service_account.value.as_ref().ok_or(AccountError::Unnamed)?;
    let account = account::read(path, *settings.common.allow_exposed, deadline);
    message::wipe();
    Ok(account.map_err(|error| settings.of_account(error))?)
}

/// The cache of the account. Warns if there is no folder for it.
fn cache(settings: &Settings, account: &ServiceAccount) -> Cache {
    if *settings.common.no_cache {
        return Cache::none();
    }
    let Some(dir) = settings.common.cache_dir.value.clone() else {
        log::warn!(
            "no cache: without an absolute `HOME`, name a folder with `ASTRA_CREDENTIAL_CACHE_DIR`"
        );
        return Cache::none();
    };
    let seal = Seal::new(&settings.api.base, account);
    seal.map_or_else(Cache::none, |seal| Cache::new(dir, seal))
}

/// An account's state, read without a request.
pub struct Inspected {
    /// Its settings.
    pub settings: Settings,
    /// The content of its file, or the error.
    pub account: Result<Account, Error>,
    /// Its cache.
    pub cache: Cache,
}

/// Reads an account's file and cache entry.
pub fn inspect(settings: Settings) -> Inspected {
    let account = account(&settings, Instant::now() + *settings.common.timeout);
    let cache = match &account {
        Ok(Account::Service(account)) => cache(&settings, account),
        _ => Cache::none(),
    };
    Inspected { settings, account, cache }
}
