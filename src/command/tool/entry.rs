//! A tool's entry for this program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shown;

/// The largest configuration that is read, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// An entry in a tool's configuration that names this program.
#[derive(Clone)]
pub struct Entry {
    /// The file or key that holds it, for messages.
    pub place: String,
    /// The program that the tool runs: a path, or a name that it looks up on `PATH`.
    pub program: PathBuf,
    /// The arguments that the entry names.
    pub arguments: Vec<String>,
    /// The variables that the entry sets.
    pub variables: Vec<(String, String)>,
    /// The hosts for which the tool runs it.
    pub hosts: Hosts,
    /// A problem outside of the entry, and its hint.
    pub obstacle: Option<(String, String)>,
}

/// The hosts for which a tool runs this program.
#[derive(Clone)]
pub enum Hosts {
    /// One host, as it is written there.
    One(String),
    /// Any host, which the tool names in each call.
    Any,
    /// The tool does not name the host.
    Unnamed,
}

impl Entry {
    /// An entry in a file, see [`Entry::new`].
    pub fn in_file(file: &Path, program: impl Into<PathBuf>, hosts: Hosts) -> Self {
        Self::new(&shown::file(file), program, hosts)
    }

    /// An entry that names nothing but the program and its hosts. `place` is the file or key that holds it.
    pub fn new(place: &str, program: impl Into<PathBuf>, hosts: Hosts) -> Self {
        let (place, program) = (format!("`{place}`"), program.into());
        let (arguments, variables) = (Vec::new(), Vec::new());
        Self { place, program, arguments, variables, hosts, obstacle: None }
    }

    /// The host, if there is only one.
    pub fn host(&self) -> Option<&str> {
        match &self.hosts {
            Hosts::One(host) => Some(host),
            Hosts::Any | Hosts::Unnamed => None,
        }
    }
}

/// The text of a configuration file. A file that cannot be read is skipped.
pub fn text(file: &Path) -> Option<String> {
    // Reading a pipe could block.
    let length = fs::metadata(file).ok().filter(fs::Metadata::is_file)?.len();
    (length <= LARGEST_FILE).then(|| fs::read_to_string(file).ok()).flatten()
}
