//! Docker's `config.json`: <https://docs.docker.com/reference/cli/docker/login/#credential-helpers>.

use std::path::PathBuf;

use serde_json::Value;

use super::entry::{Entry, Hosts, text};
use super::place::{self, executable};
use crate::error::Error;
use crate::settings::Environment;

/// The key of the helpers for single hosts.
pub const HELPERS: &str = "credHelpers";

/// The name of this helper there. Docker puts `docker-credential-` before it.
pub const NAME: &str = "astra";

/// The link that Docker looks up on `PATH`.
pub const LINK: &str = "docker-credential-astra";

/// Docker's configuration file.
///
/// # Errors
/// A variable is no usable path.
pub fn file(env: &Environment<'_>) -> Result<PathBuf, Error> {
    let folder = match place::path_in(env, "DOCKER_CONFIG")? {
        Some(folder) => folder,
        None => place::home(env)?.join(".docker"),
    };
    Ok(folder.join("config.json"))
}

/// The entries for this program.
pub fn entries(env: &Environment<'_>) -> Vec<Entry> {
    let file = file(env).ok();
    let config = file.as_deref().and_then(text);
    let config = config.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let (Some(file), Some(config)) = (file, config) else { return Vec::new() };
    let is_us = |value: &Value| value == NAME;
    let helpers = config.get(HELPERS).and_then(Value::as_object);
    let ours = helpers.into_iter().flatten().filter(|(_, value)| is_us(value));
    let mut hosts: Vec<_> = ours.map(|(host, _)| Hosts::One(host.clone())).collect();
    if config.get("credsStore").is_some_and(is_us) {
        hosts.push(Hosts::Any);
    }
    hosts.into_iter().map(|hosts| Entry::in_file(&file, executable(LINK), hosts)).collect()
}
