//! kubectl's kubeconfigs: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>. kubectl itself
//! prints them. On a machine without kubectl other programs may use them, so `doctor` then searches their
//! text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::entry::{Entry, Hosts, text};
use super::place::{self, plain};
use super::process;
use crate::error::Error;
use crate::settings::{Environment, paths};
use crate::shown::Escaped;

/// A user's command.
#[derive(Deserialize)]
struct Exec {
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    value: String,
}

/// The variable that lists kubeconfigs.
const VARIABLE: &str = "KUBECONFIG";

/// A configuration as kubectl prints it, which leaves out secrets.
pub struct Config(Value);

/// The kubeconfig into which kubectl writes a new user: the first that exists, or else the last.
///
/// # Errors
/// Its path is not usable, or there is no home.
pub fn file(env: &Environment<'_>) -> Result<PathBuf, Error> {
    let named = paths(env, VARIABLE);
    match named.iter().find(|path| path.exists()).or(named.last()) {
        Some(path) => place::usable(VARIABLE, path),
        None => default_file(env),
    }
}

fn default_file(env: &Environment<'_>) -> Result<PathBuf, Error> {
    Ok(place::home(env)?.join(".kube/config"))
}

impl Config {
    /// Reads one kubeconfig, or else all that kubectl reads.
    ///
    /// # Errors
    /// kubectl is not there, fails, or is slower than `longest`.
    pub fn read(file: Option<&Path>, longest: Duration) -> Result<Self, Error> {
        let option = file.map(option);
        let mut command = vec!["kubectl"];
        command.extend(option.as_deref());
        command.extend(["config", "view", "-o", "json"]);
        let printed = process::run(&command, &[], longest)?;
        Ok(Self(serde_json::from_str(&printed).unwrap_or_default()))
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&Value> {
        self.list("users").find(|user| user["name"] == *name).map(|user| &user["user"])
    }

    /// The names of the contexts that use a user, safe to show.
    pub fn contexts_of(&self, user: &str) -> Vec<String> {
        let contexts = self.list("contexts").filter(|it| it["context"]["user"] == *user);
        contexts.map(|it| Escaped(it["name"].as_str().unwrap_or_default()).to_string()).collect()
    }

    fn execs(&self) -> Vec<Exec> {
        let exec = |user: &Value| Exec::deserialize(user.get("user")?.get("exec")?).ok();
        self.list("users").filter_map(exec).collect()
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten()
    }
}

/// The option that names a kubeconfig.
pub fn option(file: &Path) -> String {
    format!("--kubeconfig={}", file.display())
}

/// The entries for this program. A command is a path relative to the kubeconfig, or a name on `PATH`.
pub fn entries(env: &Environment<'_>, longest: Duration) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut files = paths(env, VARIABLE);
    if files.is_empty() {
        files.extend(default_file(env).ok());
    }
    for file in files {
        let Some(text) = text(&file) else { continue };
        let file = std::path::absolute(&file).unwrap_or(file);
        let execs = Config::read(Some(&file), longest).map(|config| config.execs());
        for exec in execs.unwrap_or_else(|_| execs_in(&text)) {
            if !plain(&exec.command).ends_with("astra-credential") {
                continue;
            }
            let program = match file.parent() {
                Some(folder) if exec.command.contains('/') => folder.join(&exec.command),
                _ => exec.command.into(),
            };
            let variables = exec.env.unwrap_or_default().into_iter();
            entries.push(Entry {
                arguments: exec.args.unwrap_or_default(),
                variables: variables.map(|Variable { name, value }| (name, value)).collect(),
                ..Entry::in_file(&file, program, Hosts::Unnamed)
            });
        }
    }
    entries
}

/// Searches the text of a kubeconfig, in the form in which kubectl writes it, for the same.
fn execs_in(config: &str) -> Vec<Exec> {
    let word = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let mut found: Vec<Exec> = Vec::new();
    let mut name = None;
    for line in config.lines().map(str::trim) {
        if line == "exec:" {
            found.push(Exec { command: String::new(), args: None, env: None });
        }
        let Some(exec) = found.last_mut() else { continue };
        let item = line.strip_prefix("- ");
        let field = |field: &str| {
            let rest = item.unwrap_or(line).strip_prefix(field)?;
            rest.strip_prefix(':').map(word)
        };
        if let Some(command) = field("command") {
            exec.command = command;
        } else if let Some(variable) = field("name") {
            name = Some(variable);
        } else if let (Some(value), Some(name)) = (field("value"), &name) {
            exec.env.get_or_insert_default().push(Variable { name: name.clone(), value });
        } else if let Some(argument) = item {
            exec.args.get_or_insert_default().push(word(argument));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_kubeconfig_is_searched_as_kubectl_writes_it() {
        let text = "contexts:\n- context:\n    user: a\n  name: here\nusers:\n- name: a\n  user:\n    exec:\n      \
                    apiVersion: client.authentication.k8s.io/v1\n      args:\n      - kubernetes\n      \
                    - \"--account\"\n      - prod\n      command: /bin/astra-credential\n      env: null\n\
                    - name: b\n  user:\n    exec:\n      command: astra-credential\n      args:\n      \
                    - kubernetes\n      env:\n      - name: ASTRA_CREDENTIAL_ACCOUNT\n        value: 'test'\n";
        let found = execs_in(text).into_iter().map(|Exec { command, args, env }| {
            let env = env.unwrap_or_default().into_iter();
            let env: Vec<_> =
                env.map(|Variable { name, value }| format!("{name}={value}")).collect();
            format!("{} {command} {}", env.join(" "), args.unwrap_or_default().join(" "))
        });
        insta::assert_snapshot!(found.collect::<Vec<_>>().join("\n"), @"
         /bin/astra-credential kubernetes --account prod
        ASTRA_CREDENTIAL_ACCOUNT=test astra-credential kubernetes
        ");
    }
}
