//! kubectl, which edits its configuration itself:
//! <https://kubernetes.io/docs/reference/kubectl/generated/kubectl_config/kubectl_config_set-credentials/>.
//!
//! Needs no link: the user names this program by its path.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::plan::{self, Sweep};
use super::{Plan, Surroundings, Tool, record};
use crate::error::{Error, Shown};

/// The name of the user in the kubeconfig.
const USER: &str = "astra";

const API_VERSION: &str = "client.authentication.k8s.io/v1";

/// A user that was added.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// The file.
    pub file: PathBuf,
    command: String,
    arguments: Vec<String>,
    is_new: bool,
}

/// Plans to set kubectl up: a user for contexts to name.
pub fn plan(around: &Surroundings<'_>, plan: &mut Plan) -> Result<(), Error> {
    let file = file(around)?;
    let mut arguments = vec!["kubernetes".to_owned()];
    arguments.extend(around.arguments()?);
    let command = around.program.to_string_lossy().into_owned();
    let change = Change { is_new: !file.exists(), file, command, arguments };
    let config = config(&[])?;
    match user(&config) {
        None => {
            let mut words =
                vec!["config".to_owned(), "set-credentials".to_owned(), USER.to_owned()];
            words.push(format!("--exec-command={}", change.command));
            words.extend(change.arguments.iter().map(|word| format!("--exec-arg={}", field(word))));
            words.push("--exec-interactive-mode=Never".to_owned());
            words.push(format!("--exec-api-version={API_VERSION}"));
            plan.commands.push(kubectl(words));
            plan.changes.push(record::Change::Kubectl(change));
        }
        Some(found) if change.is(&found) => {}
        Some(_) => {
            let problem = format!("has another user `{USER}`");
            return Err(Error::Taken { path: change.file, problem, tool: Tool::Kubectl.name() });
        }
    }
    if contexts(&config).next().is_none() {
        let command = format!("kubectl config set-context --current --user={USER}");
        plan.notes.push(format!("remains: `{command}`, in the context that is to use it"));
    }
    Ok(())
}

impl Change {
    /// Plans to remove the user; `false` when it is not there any more, or another.
    pub fn undo(&self, plan: &mut Plan) -> Result<bool, Error> {
        if !self.file.exists() {
            return Ok(false);
        }
        let option = format!("--kubeconfig={}", self.file.display());
        let config = config(std::slice::from_ref(&option))?;
        if !user(&config).is_some_and(|found| self.is(&found)) {
            return Ok(false);
        }
        for context in contexts(&config) {
            let name = Shown(context["name"].as_str().unwrap_or_default());
            let problem = format!("the context `{name}` names the user `{USER}`, who is gone");
            plan.notes.push(format!("remains: {problem}"));
        }
        let words = ["config", "unset", &format!("users.{USER}")].map(str::to_owned);
        plan.commands.push(kubectl([option].into_iter().chain(words)));
        plan.sweeps.push(Sweep { path: self.file.clone(), length: None, is_new: self.is_new });
        Ok(true)
    }

    /// Whether a user is this one, and nothing was added to it.
    fn is(&self, user: &Value) -> bool {
        let wanted = json!({"exec": {
            "apiVersion": API_VERSION,
            "command": self.command,
            "args": self.arguments,
            "interactiveMode": "Never",
        }});
        let mut user = user.clone();
        if let Some(exec) = user.get_mut("exec").and_then(Value::as_object_mut) {
            // What kubectl adds that says nothing.
            exec.retain(|_, value| !value.is_null() && *value != Value::Bool(false));
        }
        user == wanted
    }
}

/// The file into which kubectl writes a new user.
fn file(around: &Surroundings<'_>) -> Result<PathBuf, Error> {
    let mut named = (around.paths)("KUBECONFIG");
    named.retain(|path| !path.as_os_str().is_empty());
    let found = named.iter().find(|path| path.exists()).or(named.last());
    match found {
        Some(path) => Ok(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        None => Ok(around.home()?.join(".kube/config")),
    }
}

/// The configuration as kubectl knows it, with its secrets left out.
fn config(options: &[String]) -> Result<Map<String, Value>, Error> {
    let words = ["config", "view", "-o", "json"].map(str::to_owned);
    let asked = kubectl(options.iter().cloned().chain(words));
    let said = plan::run(&asked, &[0])?;
    Ok(serde_json::from_str(&said).unwrap_or_default())
}

/// The user that setup adds.
fn user(config: &Map<String, Value>) -> Option<Value> {
    let users = config.get("users").and_then(Value::as_array);
    let named = |user: &&Value| user["name"] == USER;
    users.into_iter().flatten().find(named).map(|user| user["user"].clone())
}

/// The contexts that name that user.
fn contexts(config: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let contexts = config.get("contexts").and_then(Value::as_array);
    contexts.into_iter().flatten().filter(|context| context["context"]["user"] == USER)
}

fn kubectl(words: impl IntoIterator<Item = String>) -> Vec<String> {
    ["kubectl".to_owned()].into_iter().chain(words).collect()
}

/// kubectl reads an argument as a line of CSV.
fn field(word: &str) -> String {
    match word.contains([',', '"']) {
        true => format!("\"{}\"", word.replace('"', "\"\"")),
        false => word.to_owned(),
    }
}
