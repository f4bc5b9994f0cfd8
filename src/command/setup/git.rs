//! git, which edits its configuration itself: <https://git-scm.com/docs/git-config>. What it adds it
//! does not always take out again without a trace; see [`Change::undo`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::{self, Sweep};
use super::{Plan, Surroundings, Tool, file, link, record};
use crate::account::quoted;
use crate::error::Error;

/// `git config --get-all` ends so when there is no such value.
const NOT_FOUND: i32 = 1;

/// A value that was added.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// The file.
    pub file: PathBuf,
    key: String,
    value: String,
    is_new: bool,
    /// The file's length, if its last line had no end.
    length: Option<u64>,
}

/// Plans to set git up: a helper for each host.
pub fn plan(around: &Surroundings<'_>, plan: &mut Plan) -> Result<(), Error> {
    link::plan_on_path(Tool::Git, "git-credential-astra", around, plan)?;
    let file = place(around)?;
    let content = file::read_bytes(&file)?;
    let is_new = content.is_none();
    let content = content.unwrap_or_default();
    let is_open = content.last().is_some_and(|last| *last != b'\n');
    let length = is_open.then_some(content.len() as u64);
    let arguments = around.arguments()?;
    for host in around.hosts {
        let key = format!("credential.https://{host}.helper");
        let words = ["--host".to_owned(), host.to_string()];
        let words = words.iter().chain(&arguments).map(|word| quoted(word));
        // git hands it to a shell.
        let value = format!("astra {}", words.collect::<Vec<_>>().join(" "));
        let found = values(&["--global"], &key)?;
        if found.contains(&value) {
            continue;
        }
        if let Some(other) = found.iter().find(|found| found.split(' ').next() == Some("astra")) {
            let problem = format!("has `{other}` for `{key}`");
            return Err(Error::Taken { path: file, problem, tool: Tool::Git.name() });
        }
        plan.commands.push(command(&["--global", "--add", &key, &value]));
        let change = Change { file: file.clone(), key, value, is_new, length };
        plan.changes.push(record::Change::Git(change));
    }
    Ok(())
}

impl Change {
    /// Plans to take the value out again, with its section if git made that; `false` when it is not there
    /// any more.
    pub fn undo(&self, plan: &mut Plan) -> Result<bool, Error> {
        let file = self.file.to_string_lossy();
        if !values(&["--file", &file], &self.key)?.contains(&self.value) {
            return Ok(false);
        }
        if !plan.text(&self.file).is_ok_and(|text| self.cut(text)) {
            let value = format!("^{}$", literal(&self.value));
            plan.commands.push(command(&["--file", &file, "--unset-all", &self.key, &value]));
        }
        let Self { file, is_new, length, .. } = self.clone();
        let sweep = Sweep { path: file, length, is_new };
        if !plan.sweeps.contains(&sweep) {
            plan.sweeps.push(sweep);
        }
        Ok(true)
    }

    /// Cuts the section that git has added, if nothing else is in it: git itself leaves its head below
    /// a comment, and takes blank lines along.
    fn cut(&self, text: &mut Option<String>) -> bool {
        let url = self.key.strip_prefix("credential.").and_then(|key| key.strip_suffix(".helper"));
        let (Some(url), Some(whole)) = (url, text.as_deref()) else {
            return false;
        };
        let section = format!("[credential \"{url}\"]\n\thelper = {}\n", written(&self.value));
        let Some((before, behind)) = whole.split_once(&section) else {
            return false;
        };
        let is_spoken = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
        let next = behind.lines().map(str::trim_start).find(is_spoken);
        let is_alone = (before.is_empty() || before.ends_with('\n'))
            && next.is_none_or(|line| line.starts_with('['));
        if is_alone {
            let rest = before.to_owned() + behind;
            *text = Some(rest).filter(|rest| !(self.is_new && rest.is_empty()));
        }
        is_alone
    }
}

/// A value as git writes it.
fn written(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', "\\\"");
    if value.contains(['#', ';']) { format!("\"{escaped}\"") } else { escaped }
}

/// The file that `git config --global` writes.
fn place(around: &Surroundings<'_>) -> Result<PathBuf, Error> {
    if let Some(file) = around.path_in("GIT_CONFIG_GLOBAL") {
        return Ok(file);
    }
    let file = around.home()?.join(".gitconfig");
    let config = around
        .folder("XDG_CONFIG_HOME")
        .map_or_else(|| around.home().map(|home| home.join(".config")), Ok)?;
    let other = config.join("git/config");
    Ok(if !file.exists() && other.exists() { other } else { file })
}

fn values(of: &[&str], key: &str) -> Result<Vec<String>, Error> {
    let asked = command(&[of, &["--get-all", key]].concat());
    let said = plan::run(&asked, &[0, NOT_FOUND])?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn command(arguments: &[&str]) -> Vec<String> {
    ["git", "config"].iter().chain(arguments).map(|&word| word.to_owned()).collect()
}

/// A regular expression that matches `text` and nothing else.
fn literal(text: &str) -> String {
    let special = |c: char| r".[]()*+?{}|^$\".contains(c);
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
