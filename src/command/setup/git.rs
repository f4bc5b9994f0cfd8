//! git: a section for each host in the file that `git config --global` writes,
//! <https://git-scm.com/docs/gitcredentials>.

use std::path::PathBuf;

use super::context::Context;
use super::edit::Edit;
use super::file;
use super::plan::{self, Plan};
use crate::error::Error;
use crate::protocol::Host;
use crate::shown::shell_word;

/// The exit code of `git config --get-all` for a key without a value.
const NOT_FOUND: i32 = 1;

/// A helper for each host.
pub fn edits(context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let file = place(context)?;
    let helper = helper(&Context::written(&context.program)?);
    let content = view.file(&file)?.clone().unwrap_or_default();
    // git would read a section that is added here as part of the last line.
    if content.trim_ascii_end().ends_with(b"\\") {
        return Err(file::unusable(&file, "ends in the middle of a line"));
    }
    let mut edits = Vec::new();
    for host in &context.hosts {
        let key = format!("credential.https://{host}.helper");
        let found = values(&content, &key)?;
        if found.contains(&helper) {
            continue;
        }
        if found.iter().any(|found| runs_us(found)) {
            // Not shown: an account may have been written in place of its path.
            let problem = format!("has another command of this program for `{key}`");
            return Err(Error::Taken { path: file, problem });
        }
        // The empty helper removes the helpers before it: git would call them first, and `store` would
        // write the token to the disk.
        edits.push(Edit::Block {
            file: file.clone(),
            name: host.to_string(),
            head: format!("[credential \"https://{host}\"]"),
            body: format!("\thelper =\n\thelper = {}", written(&helper)),
        });
        // libgit2, which cargo uses, ignores the port when it looks up a helper. For git this section
        // stands for another host, so it must not remove other helpers.
        let is_plain = Host::parse(host.name()).is_some_and(|plain| context.hosts.contains(&plain));
        let name = format!("{} without its port", host.name());
        if host.to_string() != host.name()
            && !is_plain
            && !edits.iter().any(|edit: &Edit| edit.name() == name)
        {
            edits.push(Edit::Block {
                file: file.clone(),
                name,
                head: format!("[credential \"https://{}\"]", host.name()),
                body: format!("\thelper = {}", written(&helper)),
            });
        }
    }
    Ok(edits)
}

/// The helper's value for git: a path that begins with `/`, or a shell command.
fn helper(program: &str) -> String {
    // git's shell on Windows requires a path with slashes.
    let program = if cfg!(windows) { program.replace('\\', "/") } else { program.to_owned() };
    match shell_word(&program) {
        plain if plain == program => format!("{program} git"),
        quoted => format!("!{quoted} git"),
    }
}

/// True if a helper is this program, also through a link.
fn runs_us(helper: &str) -> bool {
    let word = helper.split(' ').next().unwrap_or_default();
    word == "astra" || word.ends_with("astra-credential") || word.ends_with("git-credential-astra")
}

/// A value, escaped for git's configuration.
fn written(value: &str) -> String {
    match value.contains(['#', ';', '"', '\\']) {
        true => format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")),
        false => value.to_owned(),
    }
}

/// The file that `git config --global` writes.
fn place(context: &Context<'_>) -> Result<PathBuf, Error> {
    if let Some(file) = context.path_in("GIT_CONFIG_GLOBAL")? {
        return Ok(file);
    }
    let file = context.home()?.join(".gitconfig");
    let config = match context.folder("XDG_CONFIG_HOME") {
        Some(folder) => folder,
        None => context.home()?.join(".config"),
    };
    let other = config.join("git/config");
    Ok(if !file.exists() && other.exists() { other } else { file })
}

/// The values of a key in a configuration with that content, read by git.
fn values(content: &[u8], key: &str) -> Result<Vec<String>, Error> {
    let command = ["git", "config", "--file", "-", "--get-all", key].map(str::to_owned);
    let printed = plan::run(&command, content, &[0, NOT_FOUND])?;
    Ok(printed.lines().map(str::to_owned).collect())
}
