//! The staged changes to the user's files: shown as a diff, or carried out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{self, Failure};
use crate::command::tool::process;
use crate::error::Error;
use crate::shown::Escaped;

/// The time-out of a tool's own command.
pub const LONGEST_COMMAND: Duration = Duration::from_secs(60);

/// The largest number of changed lines that are compared. The diff of a larger change shows only its place.
const MOST_LINES: usize = 2000;

/// Changes to the user's files, in the order in which they are made.
#[derive(Default)]
pub struct Plan {
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

/// A file's content before and after; `None` stands for no file.
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

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Plan {
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
        file::text(path, content)
    }

    /// True if the link exists after the changes staged so far.
    pub fn has_link(&self, at: &Path, to: &Path) -> bool {
        match self.staged_link(at) {
            Some(link) => link.to.as_deref() == Some(to),
            None => file::is_link(at, to),
        }
    }

    /// True if anything exists at the place of a link after the changes staged so far.
    pub fn is_taken(&self, at: &Path) -> bool {
        match self.staged_link(at) {
            Some(link) => link.to.is_some(),
            None => at.symlink_metadata().is_ok(),
        }
    }

    fn staged_link(&self, at: &Path) -> Option<&Link> {
        self.links.iter().find(|link| link.at == at)
    }

    /// Stages a link at a free place.
    pub fn link(&mut self, at: &Path, to: &Path) {
        let to = Some(to.to_owned());
        match self.links.iter_mut().find(|link| link.at == at) {
            Some(link) => link.to = to,
            None => self.links.push(Link { at: at.to_owned(), to, is_there: false }),
        }
    }

    /// Stages the removal of a link that setup created.
    pub fn unlink(&mut self, at: &Path) {
        match self.links.iter_mut().find(|link| link.at == at) {
            Some(link) => link.to = None,
            None => self.links.push(Link { at: at.to_owned(), to: None, is_there: true }),
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
                Some(to) => writeln!(shown, "would link {} to {}", path(at), path(to)),
                None => writeln!(shown, "would remove {}", path(at)),
            };
        }
        for draft in self.edits() {
            shown += &draft.diff();
        }
        for command in &self.commands {
            let _ = writeln!(shown, "would run {}", process::line(command));
        }
        for swept in &self.sweeps {
            let _ = writeln!(shown, "would remove {} if nothing is left in it", path(swept));
        }
        shown
    }

    /// Carries out the changes, and returns a line for each.
    pub fn carry_out(&self) -> Result<String, Stop> {
        let mut done = String::new();
        for Link { at, to, is_there } in &self.links {
            let removed = if *is_there { fs::remove_file(at) } else { Ok(()) };
            let linked = removed.and_then(|()| match to {
                Some(to) => file::link(at, to),
                None => Ok(()),
            });
            linked.map_err(|why| file::not_written(at, why))?;
            let _ = match to {
                Some(to) => writeln!(done, "linked {} to {}", path(at), path(to)),
                None => writeln!(done, "removed {}", path(at)),
            };
        }
        for Draft { path: at, before, after } in self.edits() {
            file::replace(at, before.as_deref(), after.as_deref()).map_err(
                |failure| match failure {
                    Failure::Changed => Stop::Changed(at.clone()),
                    Failure::Io(why) => file::not_written(at, why).into(),
                },
            )?;
            let verb = if after.is_some() { "wrote" } else { "removed" };
            let _ = writeln!(done, "{verb} {}", path(at));
        }
        for command in &self.commands {
            process::run(command, &[], &[0], LONGEST_COMMAND)?;
            let _ = writeln!(done, "ran {}", process::line(command));
        }
        for swept in self.sweeps.iter().filter(|swept| is_blank_kubeconfig(swept)) {
            file::remove(swept).map_err(|why| file::not_written(swept, why))?;
            let _ = writeln!(done, "removed {}", path(swept));
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

impl Draft {
    /// A unified diff. Unchanged text is left out, since it may contain a secret: a hunk has no context
    /// lines, and `…` replaces the unchanged words of a line.
    fn diff(&self) -> String {
        let name = |content: &Option<Vec<u8>>| match content {
            Some(_) => path(&self.path),
            None => "/dev/null".to_owned(),
        };
        let mut shown = format!("--- {}\n+++ {}\n", name(&self.before), name(&self.after));
        let [old, new] = [&self.before, &self.after].map(|content| {
            let text = String::from_utf8_lossy(content.as_deref().unwrap_or_default());
            text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>()
        });
        for hunk in hunks(&old, &new) {
            let range = |start: usize, count: usize| match count {
                0 => format!("{start},0"),
                count => format!("{},{count}", start + 1),
            };
            let Hunk { old_start, old, new_start, new } = hunk;
            let ranges = (range(old_start, old.len()), range(new_start, new.len()));
            let _ = writeln!(shown, "@@ -{} +{} @@", ranges.0, ranges.1);
            let (old, new) = elided(&old.concat(), &new.concat());
            for (mark, text) in [('-', old), ('+', new)] {
                for line in text.split_inclusive('\n') {
                    shown.push(mark);
                    shown += line;
                    if !line.ends_with('\n') {
                        shown += "\n\\ No newline at end of file\n";
                    }
                }
            }
        }
        shown
    }
}

/// Different lines, and the numbers of lines before them.
struct Hunk<'a> {
    old_start: usize,
    old: &'a [String],
    new_start: usize,
    new: &'a [String],
}

/// The differences of two texts, by their longest common subsequence of lines.
fn hunks<'a>(old: &'a [String], new: &'a [String]) -> Vec<Hunk<'a>> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = tail.take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let (rows, columns) = (old.len() - head, new.len() - head);
    if rows > MOST_LINES || columns > MOST_LINES {
        return vec![Hunk { old_start: head, old: &[], new_start: head, new: &[] }];
    }
    // `common[i][j]`: the length of the common subsequence from line i of the old and line j of the new
    // text on.
    let mut common = vec![vec![0_u16; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            common[i][j] = match old[head + i] == new[head + j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let is_same = |i: usize, j: usize| i < rows && j < columns && old[head + i] == new[head + j];
    let mut hunks = Vec::new();
    while i < rows || j < columns {
        let (old_start, new_start) = (head + i, head + j);
        while (i < rows || j < columns) && !is_same(i, j) {
            if j == columns || i < rows && common[i + 1][j] >= common[i][j + 1] {
                i += 1;
            } else {
                j += 1;
            }
        }
        let (old, new) = (&old[old_start..head + i], &new[new_start..head + j]);
        hunks.push(Hunk { old_start, old, new_start, new });
        while is_same(i, j) {
            i += 1;
            j += 1;
        }
    }
    hunks
}

/// Two texts without their common beginning and end.
fn elided(old: &str, new: &str) -> (String, String) {
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new);
    let start: usize = same.map(|(c, _)| c.len_utf8()).sum();
    let same = old[start..].chars().rev().zip(new[start..].chars().rev());
    let end: usize = same.take_while(|(old, new)| old == new).map(|(c, _)| c.len_utf8()).sum();
    let short = |part: &str| match part.contains(char::is_alphanumeric) {
        true if part.ends_with('\n') => "…\n".to_owned(),
        true => "…".to_owned(),
        false => part.to_owned(),
    };
    let elided = |text: &str| {
        let end = text.len() - end;
        short(&text[..start]) + &text[start..end] + &short(&text[end..])
    };
    (elided(old), elided(new))
}

/// A path, safe to show.
fn path(path: &Path) -> String {
    Escaped(&path.to_string_lossy()).to_string()
}
