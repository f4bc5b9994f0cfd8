//! Terraform: a block at the end of its configuration, and the link in its folder for plug-ins. Terraform
//! allows one helper in all its files, so another helper is an error.

use std::path::PathBuf;

use super::context::Inputs;
use super::edit::Edit;
use super::edit::block::Block;
use super::file;
use super::plan::Plan;
use crate::command::tool::terraform::{self, BLOCK, Files, NAME};
use crate::error::{Error, SetupError};
use crate::shown::shell_word;

/// The edits: the helper's block and the link.
pub fn edits(inputs: &Inputs<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let Files { main, tofu, further, link } = terraform::files(inputs.context.env)?;
    let link = Edit::Link { at: link, to: inputs.context.program.clone() };
    let has_helper = |path: &PathBuf| terraform::helper_in(path).is_some();
    if let Some(tofu) = tofu.filter(|tofu| tofu.exists() && !has_helper(tofu)) {
        let variable = format!("TF_CLI_CONFIG_FILE={}", shell_word(&tofu.to_string_lossy()));
        view.notes.push(format!("remains: for OpenTofu, the same with `{variable}` before it"));
    }
    let block = Edit::Block(Block {
        file: main.clone(),
        name: BLOCK.to_owned(),
        head: String::new(),
        body: format!("{BLOCK} \"{NAME}\" {{}}"),
    });
    let text = view.text(&main)?;
    let found = terraform::helpers(&text).map_err(|defect| file::unusable(&main, &defect))?;
    if found == [NAME] && block.is_done(view)? {
        return Ok(vec![link]);
    }
    let here = (!found.is_empty()).then_some(main);
    if let Some(path) = here.or_else(|| further.into_iter().find(has_helper)) {
        let problem = format!("has a `{BLOCK}` already, and Terraform allows one");
        return Err(SetupError::Taken { path, problem }.into());
    }
    Ok(vec![link, block])
}
