//! The staged changes to the user's files: shown as a diff, or carried out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::diff;
use super::file::{self, escaped};
use crate::command::tool::process;
use crate::error::Error;

/// Changes to the user's files, in the order in which they are made.
pub struct Plan {
    /// The end of the time for the commands of tools.
    deadline: Instant,
    links: Vec<Link>,
    drafts: Vec<Draft>,
    /// Commands of the tool to run.
    pub commands: Vec<Vec<String>>,
    /// Kubeconfigs to remove if they are empty after the commands.
    pub sweeps: Vec<PathBuf>,
    /// Lines to print at the end.
    pub notes: Vec<String>,
}

/// A link to create, or to remove if there is no target.
struct Link {
    at: PathBuf,
    to: Option<PathBuf>,
    /// True if an old link of setup is there, which is removed first.
    is_there: bool,
}

/// A file's content before and after; `None` is no file.
struct Draft {
    path: PathBuf,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// The reason why a plan was not carried out.
pub enum Stop {
    /// Another program has changed this file since the plan was made.
    Changed(PathBuf),
    /// An edit failed.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Plan {
    /// A plan without changes.
    pub fn new(deadline: Instant) -> Self {
        let (links, drafts, commands) = (Vec::new(), Vec::new(), Vec::new());
        Self { deadline, links, drafts, commands, sweeps: Vec::new(), notes: Vec::new() }
    }

    /// The time that is left for a tool's own command.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// A file's content after the changes staged so far.
    pub fn file(&mut self, path: &Path) -> Result<&mut Option<Vec<u8>>, Error> {
        let at = match self.drafts.iter().position(|draft| draft.path == path) {
            Some(at) => at,
            None => {
                let before = file::read(path)?;
                let after = before.clone();
                self.drafts.push(Draft { path: path.to_owned(), before, after });
                self.drafts.len() - 1
            }
        };
        Ok(&mut self.drafts[at].after)
    }

    /// The same as text; empty if there is no file.
    pub fn text(&mut self, path: &Path) -> Result<String, Error> {
        let content = self.file(path)?.clone().unwrap_or_default();
        String::from_utf8(content).map_err(|_| file::unusable(path, "is not UTF-8"))
    }

    /// Stages a change of a file's text. The error of `edit` completes "the file …".
    pub fn edit<T>(
        &mut self,
        path: &Path,
        edit: impl FnOnce(&mut String) -> Result<T, String>,
    ) -> Result<T, Error> {
        let before = self.text(path)?;
        let mut text = before.clone();
        let done = edit(&mut text).map_err(|defect| file::unusable(path, &defect))?;
        if text != before {
            *self.file(path)? = Some(text.into_bytes());
        }
        Ok(done)
    }

    /// True if the link exists after the changes staged so far.
    pub fn has_link(&self, at: &Path, to: &Path) -> bool {
        match self.links.iter().find(|link| link.at == at) {
            Some(link) => link.to.as_deref() == Some(to),
            None => file::is_link(at, to),
        }
    }

    /// True if anything exists at the place of a link after the changes staged so far.
    pub fn is_taken(&self, at: &Path) -> bool {
        match self.links.iter().find(|link| link.at == at) {
            Some(link) => link.to.is_some(),
            None => at.symlink_metadata().is_ok(),
        }
    }

    /// Stages a link at a free place or, without a target, the removal of a link that setup created.
    pub fn link(&mut self, at: &Path, to: Option<&Path>) {
        let to = to.map(Path::to_owned);
        match self.links.iter_mut().find(|link| link.at == at) {
            Some(link) => link.to = to,
            None => self.links.push(Link { at: at.to_owned(), is_there: to.is_none(), to }),
        }
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.commands.is_empty() && self.edits().next().is_none()
    }

    /// True if the plan changes that file.
    pub fn touches(&self, path: &Path) -> bool {
        self.edits().any(|draft| draft.path == path)
            || self.links.iter().any(|link| link.at == path)
            || self.commands.iter().flatten().any(|word| {
                word.strip_prefix("--kubeconfig=").is_some_and(|file| path == Path::new(file))
            })
    }

    /// The new content of that file, if the plan changes it.
    pub fn changed(&self, path: &Path) -> Option<&[u8]> {
        self.edits().find(|draft| draft.path == path)?.after.as_deref()
    }

    fn edits(&self) -> impl Iterator<Item = &Draft> {
        self.drafts.iter().filter(|draft| draft.before != draft.after)
    }

    /// A description of the changes, for `--dry-run`.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for Link { at, to, .. } in &self.links {
            let _ = match to {
                Some(to) => writeln!(shown, "would link {} to {}", escaped(at), escaped(to)),
                None => writeln!(shown, "would remove {}", escaped(at)),
            };
        }
        for draft in self.edits() {
            let name = |content: &Option<Vec<u8>>| match content {
                Some(_) => escaped(&draft.path),
                None => "/dev/null".to_owned(),
            };
            let _ = writeln!(shown, "--- {}\n+++ {}", name(&draft.before), name(&draft.after));
            let [before, after] = [&draft.before, &draft.after]
                .map(|content| String::from_utf8_lossy(content.as_deref().unwrap_or_default()));
            shown += &diff::hunks(&before, &after);
        }
        for command in &self.commands {
            let _ = writeln!(shown, "would run {}", process::line(command));
        }
        for swept in &self.sweeps {
            let _ = writeln!(shown, "would remove {} if nothing is left in it", escaped(swept));
        }
        shown
    }

    /// Carries out the changes, and returns a line for each.
    pub fn carry_out(&self) -> Result<String, Stop> {
        let mut done = String::new();
        for Link { at, to, is_there } in &self.links {
            let not_written = |why| file::not_written(at, why);
            if *is_there {
                fs::remove_file(at).map_err(not_written)?;
            }
            if let Some(to) = to {
                file::link(at, to).map_err(not_written)?;
            }
            let _ = match to {
                Some(to) => writeln!(done, "linked {} to {}", escaped(at), escaped(to)),
                None => writeln!(done, "removed {}", escaped(at)),
            };
        }
        for Draft { path: at, before, after } in self.edits() {
            let replaced = file::replace(at, before.as_deref(), after.as_deref());
            if !replaced.map_err(|why| file::not_written(at, why))? {
                return Err(Stop::Changed(at.clone()));
            }
            let verb = if after.is_some() { "wrote" } else { "removed" };
            let _ = writeln!(done, "{verb} {}", escaped(at));
        }
        for command in &self.commands {
            process::run(command, &[], self.left())?;
            let _ = writeln!(done, "ran {}", process::line(command));
        }
        for swept in self.sweeps.iter().filter(|swept| is_blank_kubeconfig(swept)) {
            file::remove(swept).map_err(|why| file::not_written(swept, why))?;
            let _ = writeln!(done, "removed {}", escaped(swept));
        }
        Ok(done)
    }
}

/// True if a kubeconfig has only the lines that kubectl writes into an empty one.
fn is_blank_kubeconfig(path: &Path) -> bool {
    let is_blank = |line: &str| {
        let empty = [": null", ": []", ": {}", ": \"\""];
        matches!(line, "apiVersion: v1" | "kind: Config")
            || empty.iter().any(|end| line.ends_with(end))
    };
    fs::read(path).is_ok_and(|content| String::from_utf8_lossy(&content).lines().all(is_blank))
}
