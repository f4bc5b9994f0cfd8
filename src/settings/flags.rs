//! The settings on the command line. Values stay text here.

use std::ffi::OsString;

/// The settings on the command line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// `--account NAME`
    pub account: Option<OsString>,
    /// `--service-account FILE`
    pub service_account: Option<OsString>,
    /// `--config FILE`
    pub config: Option<OsString>,
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
    /// Merges two sets of flags: these take precedence over `others`, and hosts are added up.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            account: self.account.or(others.account),
            service_account: self.service_account.or(others.service_account),
            config: self.config.or(others.config),
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
