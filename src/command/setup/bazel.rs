//! `~/.bazelrc`: <https://bazel.build/run/bazelrc>.
//!
//! A helper is named for a host without its port, and serves all its ports.

use super::context::Context;
use super::edit::Edit;
use super::file;
use super::plan::Plan;
use crate::error::Error;
use crate::shown;

const FLAG: &str = "--credential_helper";

/// The edits: a line for each host, and the link in it.
pub fn edits(context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let (link, edit) = context.link("bazel-credential-astra", false)?;
    let helper = Context::written(&link)?;
    let rc = context.home()?.join(".bazelrc");
    let text = view.text(&rc)?;
    let mut edits = Vec::from_iter(edit);
    for host in &context.hosts {
        let name = host.name();
        if edits.iter().any(|edit| edit.name() == name) {
            continue;
        }
        match helper_for(&text, name) {
            Ok(None) => edits.push(Edit::Block {
                file: rc.clone(),
                name: name.to_owned(),
                head: String::new(),
                body: format!("common {}", word(&format!("{FLAG}={name}={helper}"))),
            }),
            Ok(Some(other)) if other == helper => {}
            Ok(Some(other)) => {
                let problem = format!("names {} for `{name}`", shown::command(&other));
                return Err(Error::Taken { path: rc, problem });
            }
            Err(defect) => return Err(file::unusable(&rc, defect)),
        }
    }
    Ok(edits)
}

/// A word, quoted for a `.bazelrc` if that is necessary.
fn word(word: &str) -> String {
    match word.contains([' ', '\t', '#', '\'', '"', '\\']) {
        true => format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"")),
        false => word.to_owned(),
    }
}

/// The helper that the file names for that host.
fn helper_for(text: &str, host: &str) -> Result<Option<String>, &'static str> {
    // A line that is added here would become part of the last line.
    if text.trim_end_matches(['\r', '\n']).ends_with('\\') {
        return Err("ends in the middle of a line");
    }
    let mut last_first = helpers(text).into_iter().rev();
    let found = last_first.find(|(name, _)| name.eq_ignore_ascii_case(host));
    Ok(found.map(|(_, helper)| helper))
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
    fn the_helper_of_a_host_is_found() {
        let text = "build --jobs=4 --credential_helper=h=a # x\n\
                    # build --credential_helper=h=b\n\
                    common '--credential_helper=*.h=c'\n\
                    common --credential_helper=\"j=d\" \\\n\
                    --credential_helper k=e\n\
                    build --credential_helper=all\n\
                    build --jobs=4 # --credential_helper=h=f\n\
                    build --credential_helper_timeout=h=5s\n";
        assert!(helpers(text).contains(&(String::new(), "all".to_owned())));
        for (host, found) in [("h", "a"), ("j", "d"), ("k", "e")] {
            assert_eq!(helper_for(text, host), Ok(Some(found.to_owned())));
        }
        assert_eq!(helper_for(text, "i"), Ok(None));
        assert_eq!(helper_for("", "h"), Ok(None));
        assert!(helper_for("build --jobs=4 \\\n", "h").is_err());
    }
}
