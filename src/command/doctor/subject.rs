//! An account that `doctor` checks.

use crate::account::Account;
use crate::cache::Cache;
use crate::error::{Error, ExchangeError};
use crate::settings::Settings;

/// One account.
pub struct Subject {
    /// The account's name before each of its lines; empty if there is no other account.
    pub prefix: String,
    /// Its settings.
    pub settings: Settings,
    /// The content of its file.
    pub account: Result<Account, Error>,
    /// Its cache entry.
    pub cache: Cache,
}

impl Subject {
    /// The error of the catalogue for a failed probe.
    pub fn error(&self, error: ExchangeError) -> Error {
        let account = self.settings.service_account.value.clone().unwrap_or_default();
        let store = self.settings.store_command();
        Error::Exchange { error, remembered: None, account, padded: None, store }
    }
}
