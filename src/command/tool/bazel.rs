//! `.bazelrc`: <https://bazel.build/run/bazelrc>.
//!
//! A helper is named for a host without its port, and serves all its ports.

use std::path::{Path, PathBuf};

use super::entry::{Entry, Hosts, text};
use super::place::{self, plain};
use crate::error::Error;
use crate::settings::Environment;

/// The flag that names a helper.
pub const FLAG: &str = "--credential_helper";

/// The link to this program.
pub const LINK: &str = "bazel-credential-astra";

/// The user's file.
///
/// # Errors
/// There is no home.
pub fn file(env: &Environment<'_>) -> Result<PathBuf, Error> {
    Ok(place::home(env)?.join(".bazelrc"))
}

/// The entries for this program: those of the workspace, which may be a folder above this one, or else those
/// of the user.
pub fn entries(env: &Environment<'_>) -> Vec<Entry> {
    let here = Path::new(".").canonicalize().unwrap_or_default();
    let above = here.ancestors().map(|folder| folder.join(".bazelrc"));
    let found = above.chain(file(env).ok()).find_map(|file| {
        let mut helpers = helpers(&text(&file)?);
        helpers.retain(|(_, program)| plain(program).ends_with(LINK));
        (!helpers.is_empty()).then_some((file, helpers))
    });
    let Some((file, helpers)) = found else { return Vec::new() };
    let workspace = file.parent().unwrap_or(Path::new("")).to_string_lossy();
    let entry = |(host, program): (String, String)| {
        let hosts = if host.is_empty() { Hosts::Any } else { Hosts::One(host) };
        Entry::in_file(&file, program.replace("%workspace%", &workspace), hosts)
    };
    helpers.into_iter().map(entry).collect()
}

/// The helpers in a file, each with its host. The host is empty for a helper of all hosts.
pub fn helpers(text: &str) -> Vec<(String, String)> {
    let text = text.replace(['"', '\''], "");
    let lines = text.lines().map(|line| match line.split_once('#') {
        Some((before, _)) if before.is_empty() || before.ends_with([' ', '\t']) => before,
        _ => line,
    });
    let mut words = lines.flat_map(str::split_whitespace);
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let value = match word.strip_prefix(FLAG) {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        let helper = value.map(|value| value.split_once('=').unwrap_or(("", value)));
        found.extend(helper.map(|(host, helper)| (host.to_owned(), helper.to_owned())));
    }
    found
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
        let found = helpers(text);
        let found: Vec<_> = found.iter().map(|(host, helper)| (&**host, &**helper)).collect();
        assert_eq!(found, [("h", "a"), ("*.h", "c"), ("j", "d"), ("k", "e"), ("", "all")]);
        assert!(helpers("").is_empty());
    }
}
