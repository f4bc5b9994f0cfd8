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
    let text = text.replace(['"', '\''], "");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let mut found = None;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix(FLAG) {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        if let Some((name, helper)) = value.and_then(|value| value.split_once('='))
            && name.eq_ignore_ascii_case(host)
        {
            found = Some(helper.to_owned());
        }
    }
    Ok(found)
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
                    build --credential_helper_timeout=h=5s\n";
        for (host, found) in [("h", "a"), ("j", "d"), ("k", "e")] {
            assert_eq!(helper(text, host), Ok(Some(found.to_owned())));
        }
        assert_eq!(helper(text, "i"), Ok(None));
        assert_eq!(helper("", "h"), Ok(None));
        assert!(helper("build --jobs=4 \\\n", "h").is_err());
    }
}
