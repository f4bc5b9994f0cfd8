//! Docker: an entry for each host in its `config.json`.

use super::context::Inputs;
use super::edit::Edit;
use super::edit::json::{Item, Syntax};
use super::plan::Plan;
use crate::command::tool::docker::{self, HELPERS, LINK, NAME};
use crate::error::Error;

/// The edits: a helper for each host, and the link that Docker looks up on `PATH`.
pub fn edits(inputs: &Inputs<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let (link, edit) = inputs.link(LINK, true)?;
    if let Some(folder) = link.parent().filter(|folder| !inputs.is_on_path(folder)) {
        let folder = folder.display();
        view.notes
            .push(format!("remains: docker looks for its helper on `PATH`: add `{folder}` to it"));
    }
    let file = docker::file(inputs.context.env)?;
    let entry = |host: String| Edit::Entry {
        file: file.clone(),
        syntax: Syntax::Json,
        item: Item { path: vec![HELPERS.to_owned()], key: Some(host), value: NAME.to_owned() },
    };
    Ok(edit.into_iter().chain(inputs.hosts.iter().map(|host| entry(host.to_string()))).collect())
}
