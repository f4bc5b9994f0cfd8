//! The settings on the command line. Values stay text here.

use std::ffi::OsString;

/// The settings on the command line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// The flags with a value: `--timeout` and its text. If a flag occurs twice, the last one counts.
    pub values: Vec<(&'static str, OsString)>,
    /// `--refresh`
    pub refresh: bool,
    /// `--no-cache`
    pub no_cache: bool,
    /// `-v`
    pub verbose: bool,
}

impl Flags {
    /// The value of a flag.
    pub fn value(&self, flag: &str) -> Option<&OsString> {
        self.values_of(flag).last()
    }

    /// The values of a flag that may be repeated.
    pub fn values_of(&self, flag: &str) -> impl Iterator<Item = &OsString> {
        self.values.iter().filter(move |(name, _)| *name == flag).map(|(_, value)| value)
    }

    /// Merges two sets of flags: these take precedence over `others`, and hosts are added up.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            values: [others.values, self.values].concat(),
            refresh: self.refresh || others.refresh,
            no_cache: self.no_cache || others.no_cache,
            verbose: self.verbose || others.verbose,
        }
    }
}
