//! `~/.bazelrc`: <https://bazel.build/run/bazelrc>.
//!
//! A helper is named for a host without its port, and for all its ports.

use super::record::Change;
use super::{Plan, Surroundings, Tool, lines, link};
use crate::error::Error;

const FLAG: &str = "--credential_helper=";
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
                let added = lines::append(text, &format!("build {FLAG}{}={HELPER}", host.name()));
                plan.changes.push(Change::Lines { file: file.clone(), added, is_new });
            }
            Ok(Some(HELPER)) => {}
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
fn helper<'a>(text: &'a str, host: &str) -> Result<Option<&'a str>, &'static str> {
    // A line that is added would become a part of the last one, were it a comment.
    if text.trim_end_matches(['\r', '\n']).ends_with('\\') {
        return Err("ends in the middle of a line");
    }
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = words.flat_map(|line| line.split_whitespace().skip(1));
    let named = words.filter_map(|word| {
        let (name, helper) = word.trim_matches(['"', '\'']).strip_prefix(FLAG)?.split_once('=')?;
        name.eq_ignore_ascii_case(host).then_some(helper)
    });
    Ok(named.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_of_a_host_is_found() {
        let text = "build --jobs=4 --credential_helper=h=a # x\n\
                    # build --credential_helper=h=b\n\
                    common '--credential_helper=*.h=c'\n\
                    build --credential_helper=all\n";
        assert_eq!(helper(text, "h"), Ok(Some("a")));
        assert_eq!(helper(text, "i"), Ok(None));
        assert_eq!(helper("", "h"), Ok(None));
        assert!(helper("build --jobs=4 \\\n", "h").is_err());
    }
}
