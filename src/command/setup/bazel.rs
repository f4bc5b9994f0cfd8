//! `~/.bazelrc`: <https://bazel.build/run/bazelrc>.
//!
//! A helper is named for a host without its port, and for all its ports.

use super::record::Change;
use super::{Plan, Surroundings, Tool, lines, link};
use crate::error::Error;

const FLAG: &str = "--credential_helper";
const HELPER: &str = "bazel-credential-astra";

/// Plans to set Bazel up.
pub fn plan(around: &Surroundings<'_>, plan: &mut Plan) -> Result<(), Error> {
    link::plan_on_path(Tool::Bazel, HELPER, around, plan)?;
    let file = around.home()?.join(".bazelrc");
    for host in around.hosts {
        let text = plan.text(&file)?;
        let is_new = text.is_none();
        let text = text.get_or_insert_default();
        match helper(text, host.name()) {
            Ok(None) => {
                let added = lines::append(text, &format!("common {FLAG}={}={HELPER}", host.name()));
                plan.changes.push(Change::Lines { file: file.clone(), added, is_new });
            }
            Ok(Some(other)) if other == HELPER => {}
            Ok(Some(other)) => {
                let problem = format!("names `{other}` for `{}`", host.name());
                return Err(Error::Taken { path: file, problem, tool: Tool::Bazel.name() });
            }
            Err(defect) => return Err(Error::Unparsable { path: file, defect: defect.to_owned() }),
        }
    }
    around.note_exports(plan)
}

/// The helper that the file names for that host.
fn helper(text: &str, host: &str) -> Result<Option<String>, &'static str> {
    // A line that is added would become a part of the last one, were it a comment.
    if text.trim_end_matches(['\r', '\n']).ends_with('\\') {
        return Err("ends in the middle of a line");
    }
    let mut last_first = helpers(text).into_iter().rev();
    let found = last_first.find(|(name, _)| name.eq_ignore_ascii_case(host));
    Ok(found.map(|(_, helper)| helper))
}

/// The helpers that a file names, each behind its host; that of all hosts behind nothing.
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
            assert_eq!(helper(text, host), Ok(Some(found.to_owned())));
        }
        assert_eq!(helper(text, "i"), Ok(None));
        assert_eq!(helper("", "h"), Ok(None));
        assert!(helper("build --jobs=4 \\\n", "h").is_err());
    }
}
