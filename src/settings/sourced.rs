//! A value together with the place where it was set.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::shown::Escaped;

/// A value, and where it was set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// The place where it was set.
    pub source: Source,
}

/// The place where a value was set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// A flag: `--timeout`.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// An account's entry in the configuration file at this path.
    Entry(Arc<Path>),
    /// The top level of the configuration file at this path.
    File(Arc<Path>),
    /// Nowhere: the built-in value.
    Default,
}

impl<T> Sourced<T> {
    /// A value that was set by `source`.
    pub fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }

    /// The built-in value.
    pub fn default_of(value: T) -> Self {
        Self::new(value, Source::Default)
    }

    /// The same source for a value made from this one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced::new(change(self.value), self.source)
    }
}

impl<T> Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// As `status` shows it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Entry(path) | Self::File(path) => Escaped(&path.to_string_lossy()).fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
