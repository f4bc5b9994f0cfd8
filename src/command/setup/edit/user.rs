//! A user in a kubeconfig. kubectl's own commands edit the file:
//! <https://kubernetes.io/docs/reference/kubectl/generated/kubectl_config/kubectl_config_set-credentials/>.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::setup::plan::Plan;
use crate::command::tool::kubectl::{self, Config};
use crate::error::Error;

/// A user whose token comes from a command.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct User {
    /// The kubeconfig.
    pub file: PathBuf,
    /// The user's name in it.
    pub name: String,
    /// The command.
    pub command: String,
    /// The command's arguments.
    pub arguments: Vec<String>,
    /// The version of the answer that the client expects, such as `v1`.
    pub api_version: String,
}

impl User {
    /// The content of the kubeconfig, if it has this user.
    pub fn in_file(&self, plan: &Plan) -> Result<Option<Config>, Error> {
        if !self.file.exists() {
            return Ok(None);
        }
        let config = Config::read(Some(&self.file), plan.left())?;
        Ok(Some(config).filter(|config| config.user(&self.name).is_some_and(|it| self.is(it))))
    }

    /// True if the user of that name in all files that kubectl reads is this one; `None` if there is none.
    pub fn found(&self, plan: &Plan) -> Result<Option<bool>, Error> {
        let config = Config::read(None, plan.left())?;
        Ok(config.user(&self.name).map(|found| self.is(found)))
    }

    /// Stages the user. It replaces another user of that name in the kubeconfig.
    pub fn stage(&self, plan: &mut Plan) {
        let mut words = self.kubectl(&["config", "set-credentials", &self.name]);
        words.push(format!("--exec-command={}", self.command));
        words.extend(self.arguments.iter().map(|word| format!("--exec-arg={}", field(word))));
        words.push("--exec-interactive-mode=Never".to_owned());
        words.push(format!("--exec-api-version={}", self.full_version()));
        plan.commands.push(words);
    }

    /// Stages the user's removal, with a note about the contexts that use it.
    pub fn revert(&self, plan: &mut Plan) -> Result<bool, Error> {
        let Some(config) = self.in_file(plan)? else { return Ok(false) };
        let name = &self.name;
        let note = |context| {
            format!("remains: the context `{context}` names the user `{name}`, which is gone")
        };
        plan.notes.extend(config.contexts_of(name).into_iter().map(note));
        plan.commands.push(self.kubectl(&["config", "unset", &format!("users.{name}")]));
        Ok(true)
    }

    /// A command of kubectl for this kubeconfig.
    fn kubectl(&self, words: &[&str]) -> Vec<String> {
        let option = kubectl::option(&self.file);
        [&["kubectl", &option], words].concat().into_iter().map(str::to_owned).collect()
    }

    fn full_version(&self) -> String {
        format!("client.authentication.k8s.io/{}", self.api_version)
    }

    /// True if a user is exactly this one.
    fn is(&self, user: &Value) -> bool {
        let wanted = json!({"exec": {
            "apiVersion": self.full_version(),
            "command": self.command,
            "args": self.arguments,
            "interactiveMode": "Never",
        }});
        let mut user = user.clone();
        if let Some(exec) = user.get_mut("exec").and_then(Value::as_object_mut) {
            // kubectl writes defaults (`env: null`, `provideClusterInfo: false`); they are ignored.
            exec.retain(|_, value| !value.is_null() && *value != Value::Bool(false));
        }
        user == wanted
    }
}

/// Quotes an argument for kubectl, which reads it as a line of CSV.
fn field(word: &str) -> String {
    match word.contains([',', '"']) {
        true => format!("\"{}\"", word.replace('"', "\"\"")),
        false => word.to_owned(),
    }
}
