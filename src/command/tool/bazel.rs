//! `.bazelrc`: <https://bazel.build/run/bazelrc>.
//!
//! A helper is named for a host without its port, and serves all its ports. A file is split into words as in
//! Bazel's `src/main/cpp/rc_file.cc`.

use std::mem;
use std::path::{Path, PathBuf};

use super::entry::{Entry, Hosts, text};
use super::place::{self, plain};
use crate::error::Error;
use crate::settings::Environment;

/// The flag that names a helper.
pub const FLAG: &str = "--credential_helper";

/// The name of the file in a home or a workspace.
const RC: &str = ".bazelrc";

/// Replaced by the workspace's folder.
const WORKSPACE: &str = "%workspace%";

/// The files that mark the workspace's folder.
const BOUNDARIES: [&str; 4] = ["MODULE.bazel", "REPO.bazel", "WORKSPACE.bazel", "WORKSPACE"];

/// The link to this program.
pub const LINK: &str = "bazel-credential-astra";

/// The user's file.
///
/// # Errors
/// There is no home.
pub fn file(env: &Environment<'_>) -> Result<PathBuf, Error> {
    Ok(place::home(env)?.join(RC))
}

/// The entries for this program: those of the workspace, which may be a folder above this one, or else those
/// of the user.
pub fn entries(env: &Environment<'_>) -> Vec<Entry> {
    let here = working_folder();
    let mut files = here.ancestors().map(|folder| folder.join(RC)).chain(file(env).ok());
    let found = files.find_map(|file| {
        let mut helpers = helpers(&file, &text(&file)?);
        helpers.retain(|helper| plain(&helper.program).ends_with(LINK));
        (!helpers.is_empty()).then(|| (workspace(&file), helpers))
    });
    let Some((workspace, helpers)) = found else { return Vec::new() };
    let entry = |Helper { file, host, program }| {
        let hosts = if host.is_empty() { Hosts::Any } else { Hosts::One(host) };
        Entry::in_file(&file, program.replace(WORKSPACE, &workspace), hosts)
    };
    helpers.into_iter().map(entry).collect()
}

/// A helper that a file names.
pub struct Helper {
    /// The file.
    pub file: PathBuf,
    /// The host; empty for a helper of all hosts.
    pub host: String,
    /// The program.
    pub program: String,
}

/// The helpers in a file of that text and in the files that it imports, in the order in which Bazel reads them.
pub fn helpers(file: &Path, text: &str) -> Vec<Helper> {
    read(file, text, &workspace(file), &mut Vec::new())
}

/// Reads a file, and each imported file once. `files` are those that were read.
fn read(file: &Path, text: &str, workspace: &str, files: &mut Vec<PathBuf>) -> Vec<Helper> {
    files.push(file.to_owned());
    let mut found = Vec::new();
    for line in text.replace("\\\r\n", "").replace("\\\n", "").lines() {
        let words = words(line);
        if let [command, imported] = words.as_slice()
            && matches!(command.as_str(), "import" | "try-import")
        {
            let imported = PathBuf::from(imported.replace(WORKSPACE, workspace));
            let imported = imported.canonicalize().unwrap_or_default();
            if !files.contains(&imported)
                && let Some(text) = self::text(&imported)
            {
                found.extend(read(&imported, &text, workspace, files));
            }
        }
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = match word.strip_prefix(FLAG) {
                Some("") => words.next().map(String::as_str),
                Some(value) => value.strip_prefix('='),
                None => None,
            };
            let Some(value) = value else { continue };
            let (host, program) = value.split_once('=').unwrap_or(("", value));
            let [host, program] = [host, program].map(str::to_owned);
            found.push(Helper { file: file.to_owned(), host, program });
        }
    }
    found
}

/// The words of a line.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if quote == Some(c) => quote = None,
            c if quote.is_some() => word.push(c),
            '#' => break,
            '\'' | '"' => quote = Some(c),
            c if c.is_whitespace() => words.push(mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The folder that replaces [`WORKSPACE`] in a user's or workspace's file.
fn workspace(file: &Path) -> String {
    let here = working_folder();
    let is_workspace = |folder: &&Path| BOUNDARIES.iter().any(|name| folder.join(name).exists());
    let workspace = here.ancestors().find(is_workspace).or(file.parent());
    workspace.unwrap_or(Path::new("")).to_string_lossy().into_owned()
}

fn working_folder() -> PathBuf {
    Path::new(".").canonicalize().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_helper_is_found_with_its_host() {
        let text = "build --jobs=4 --credential_helper=h=a # x\n\
                    # build --credential_helper=h=b\n\
                    common '--credential_helper=*.h=c'\n\
                    common --credential_helper=\"j=d\" \\\n\
                    --credential_helper k=e\n\
                    build --credential_helper=all\n\
                    build --jobs=4 # --credential_helper=h=f\n\
                    build --credential_helper_timeout=h=5s\n";
        let found = helpers(Path::new("/.bazelrc"), text);
        let found: Vec<_> = found.iter().map(|found| (&*found.host, &*found.program)).collect();
        assert_eq!(found, [("h", "a"), ("*.h", "c"), ("j", "d"), ("k", "e"), ("", "all")]);
    }
}
