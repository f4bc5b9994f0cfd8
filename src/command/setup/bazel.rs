//! Bazel: a line for each host in `~/.bazelrc`.

use super::context::{Context, Inputs, quoted};
use super::edit::Edit;
use super::edit::block::Block;
use super::file;
use super::plan::Plan;
use crate::command::tool::bazel::{self, FLAG, Helper, LINK};
use crate::error::{Error, SetupError};
use crate::shown;

/// The edits: a line for each host, and the link in it.
pub fn edits(inputs: &Inputs<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let (link, edit) = inputs.link(LINK, false)?;
    let helper = Context::written(&link)?;
    let rc = bazel::file(inputs.context.env)?;
    let text = view.text(&rc)?;
    // A line that is added here would become part of the last line.
    if text.trim_end_matches(['\r', '\n']).ends_with('\\') {
        return Err(file::unusable(&rc, "ends in the middle of a line"));
    }
    let helpers = bazel::helpers(&rc, &text);
    let mut edits = Vec::from_iter(edit);
    for host in &inputs.hosts {
        let name = host.name();
        if edits.iter().any(|edit| edit.name() == name) {
            continue;
        }
        // The last line for a host counts.
        let found = helpers.iter().rev().find(|found| found.host.eq_ignore_ascii_case(name));
        match found {
            None => edits.push(Edit::Block(Block {
                file: rc.clone(),
                name: name.to_owned(),
                head: String::new(),
                body: format!("common {}", quoted(format!("{FLAG}={name}={helper}"), " \t#'\"\\")),
            })),
            Some(found) if found.program == helper => {}
            Some(Helper { file, program, .. }) => {
                let problem = format!("names {} for `{name}`", shown::command(program));
                return Err(SetupError::Taken { path: file.clone(), problem }.into());
            }
        }
    }
    Ok(edits)
}
