//! The names under which tools look for this program on `PATH`.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::Change;
use super::{Plan, Surroundings, Tool};
use crate::error::Error;

/// Plans a link of that name where a tool finds it, unless there is one: beside this program, or in
/// `~/.local/bin`.
pub fn plan_on_path(
    tool: Tool,
    name: &str,
    around: &Surroundings<'_>,
    plan: &mut Plan,
) -> Result<(), Error> {
    let folders = (around.paths)("PATH");
    if folders.iter().any(|folder| leads_to(&folder.join(name), &around.program)) {
        return Ok(());
    }
    let is_searched = |folder: &Path| {
        folders.iter().any(|searched| searched == folder || leads_to(searched, folder))
    };
    let beside = around.program.parent().filter(|folder| is_searched(folder) && may_write(folder));
    let folder = match beside {
        Some(folder) => folder.to_owned(),
        None => around.home()?.join(".local/bin"),
    };
    if !is_searched(&folder) {
        let line = "export PATH=\"$HOME/.local/bin:$PATH\"";
        plan.notes.push(format!("remains: put `{line}` into your shell's profile"));
    }
    self::plan(tool, folder.join(name), around, plan)
}

/// Plans a link to this program.
pub fn plan(
    tool: Tool,
    at: PathBuf,
    around: &Surroundings<'_>,
    plan: &mut Plan,
) -> Result<(), Error> {
    let to = around.program.clone();
    if leads_to(&at, &to) {
        return Ok(());
    }
    if at.symlink_metadata().is_ok() {
        let problem = "is there and leads elsewhere".to_owned();
        return Err(Error::Taken { path: at, problem, tool: tool.name() });
    }
    plan.links.push((at.clone(), to.clone()));
    plan.changes.push(Change::Link { at, to });
    Ok(())
}

/// Plans to remove the link, if it still leads there.
pub fn undo(at: &Path, to: &Path, plan: &mut Plan) -> bool {
    let is_ours = fs::read_link(at).is_ok_and(|found| found == to);
    if is_ours {
        plan.unlinks.push(at.to_owned());
    }
    is_ours
}

/// A program as `PATH` finds it, else by its own path: an update may put it elsewhere, and a link to it
/// in the old one's place.
pub fn as_found(program: PathBuf, folders: &[PathBuf]) -> PathBuf {
    let mut places = folders.iter().map(|folder| folder.join("astra-credential"));
    let found = places.find(|place| place.is_absolute() && leads_to(place, &program));
    found.unwrap_or(program)
}

fn leads_to(path: &Path, to: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|path| fs::canonicalize(to).is_ok_and(|to| path == to))
}

#[cfg(unix)]
fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
fn may_write(_: &Path) -> bool {
    false
}
