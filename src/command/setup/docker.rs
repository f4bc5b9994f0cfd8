//! Docker's `config.json`: <https://docs.docker.com/reference/cli/docker/login/#credential-helpers>.

use std::path::PathBuf;

use super::context::Context;
use super::edit::Edit;
use super::edit::json::{Item, Syntax};
use super::plan::Plan;
use crate::error::Error;
use crate::settings::{Environment, HOME, variable};

/// The configuration file of Docker's command line.
pub fn config_file(env: &Environment<'_>) -> Option<PathBuf> {
    let folder = variable(env, "DOCKER_CONFIG").map(PathBuf::from);
    let default = || Some(PathBuf::from(variable(env, HOME)?).join(".docker"));
    Some(folder.or_else(default)?.join("config.json"))
}

/// The edits: a helper for each host, and the link that Docker looks up on `PATH`.
pub fn edits(context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let (link, edit) = context.link("docker-credential-astra", true)?;
    if let Some(folder) = link.parent().filter(|folder| !context.is_on_path(folder)) {
        let folder = folder.display();
        view.notes
            .push(format!("remains: docker looks for its helper on `PATH`: add `{folder}` to it"));
    }
    let folder = match context.path_in("DOCKER_CONFIG")? {
        Some(folder) => folder,
        None => context.home()?.join(".docker"),
    };
    let entry = |host: String| Edit::Entry {
        file: folder.join("config.json"),
        syntax: Syntax::Json,
        item: Item {
            path: vec!["credHelpers".to_owned()],
            key: Some(host),
            value: "astra".to_owned(),
        },
    };
    Ok(edit.into_iter().chain(context.hosts.iter().map(|host| entry(host.to_string()))).collect())
}
