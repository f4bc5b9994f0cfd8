//! git: a section for each host in the file that `git config --global` writes.

use super::context::{Context, Inputs, quoted};
use super::edit::Edit;
use super::edit::block::Block;
use super::file;
use super::plan::Plan;
use crate::command::tool::git;
use crate::error::{Error, SetupError};
use crate::protocol::Host;
use crate::shown::shell_word;

/// A helper for each host.
pub fn edits(inputs: &Inputs<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let file = git::file(inputs.context.env)?;
    let helper = helper(&Context::written(&inputs.context.program)?);
    let written = quoted(helper.clone(), "#;\"\\");
    let content = view.file(&file)?.clone().unwrap_or_default();
    // git would read a section that is added here as part of the last line.
    if content.trim_ascii_end().ends_with(b"\\") {
        return Err(file::unusable(&file, "ends in the middle of a line"));
    }
    let found = git::helpers(Some(&content), view.left())?;
    let mut edits = Vec::new();
    for host in &inputs.hosts {
        let url = format!("https://{host}");
        let mut found = found.iter().filter(|found| found.url == url);
        if found.clone().any(|found| found.value == helper) {
            continue;
        }
        if let Some(other) = found.find(|found| found.of_us().is_some()) {
            // Not shown: an account may have been written in place of its path.
            let problem = format!("has another command of this program for `{}`", other.key);
            return Err(SetupError::Taken { path: file, problem }.into());
        }
        // The empty helper removes the helpers before it: git would call them first, and `store` would
        // write the token to the disk.
        edits.push(Edit::Block(Block {
            file: file.clone(),
            name: host.to_string(),
            head: format!("[credential \"{url}\"]"),
            body: format!("\thelper =\n\thelper = {written}"),
        }));
        // libgit2, which cargo uses, ignores the port when it looks up a helper. For git this section is for
        // another host, so it must not remove other helpers.
        let is_plain = Host::parse(host.name()).is_some_and(|plain| inputs.hosts.contains(&plain));
        let name = format!("{} without its port", host.name());
        if host.to_string() != host.name()
            && !is_plain
            && !edits.iter().any(|edit: &Edit| edit.name() == name)
        {
            edits.push(Edit::Block(Block {
                file: file.clone(),
                name,
                head: format!("[credential \"https://{}\"]", host.name()),
                body: format!("\thelper = {written}"),
            }));
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
