//! What is to be changed: to be shown as a diff, or to be carried out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt::Write as _, fs, io};

use super::file;
use super::record::Change;
use crate::account::quoted;
use crate::error::{Error, Shown};

/// Characters that are shown of what a command complains.
const LONGEST_COMPLAINT: usize = 300;

/// Changes to the user's files, in the order in which they are made.
#[derive(Default)]
pub struct Plan {
    /// Links to remove.
    pub unlinks: Vec<PathBuf>,
    /// Links to make: where, and to what.
    pub links: Vec<(PathBuf, PathBuf)>,
    drafts: Vec<Draft>,
    /// Commands of the tool to run.
    pub commands: Vec<Vec<String>>,
    /// What to tidy up behind the commands.
    pub sweeps: Vec<Sweep>,
    /// What is to be told at the end.
    pub notes: Vec<String>,
    /// What takes it all back.
    pub changes: Vec<Change>,
}

/// A file's content before and after; `None` when there is no file.
struct Draft {
    path: PathBuf,
    before: Option<String>,
    after: Option<String>,
}

/// What a tool leaves behind in its file when a value is taken out again.
#[derive(Clone, Eq, PartialEq)]
pub struct Sweep {
    /// The file.
    pub path: PathBuf,
    /// The file's length before, if it was there and its last line had no end.
    pub length: Option<u64>,
    /// Whether the file was not there.
    pub is_new: bool,
}

impl Plan {
    /// A file's content as it is after what is planned so far.
    pub fn text(&mut self, path: &Path) -> Result<&mut Option<String>, Error> {
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

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.unlinks.is_empty()
            && self.links.is_empty()
            && self.commands.is_empty()
            && self.edits().next().is_none()
    }

    fn edits(&self) -> impl Iterator<Item = &Draft> {
        self.drafts.iter().filter(|draft| draft.before != draft.after)
    }

    /// What would be done.
    pub fn shown(&self) -> String {
        let mut said = String::new();
        for path in &self.unlinks {
            let _ = writeln!(said, "would remove {}", path.display());
        }
        for (at, to) in &self.links {
            let _ = writeln!(said, "would link {} to {}", at.display(), to.display());
        }
        for draft in self.edits() {
            said += &draft.diff();
        }
        for command in &self.commands {
            let _ = writeln!(said, "would run {}", line(command));
        }
        let is_removed =
            |path: &Path| self.edits().any(|draft| draft.path == *path && draft.after.is_none());
        let sweeps = self.sweeps.iter().filter(|sweep| sweep.is_new && !is_removed(&sweep.path));
        for Sweep { path, .. } in sweeps {
            let _ = writeln!(said, "would remove {} if nothing is left in it", path.display());
        }
        said
    }

    /// Does it, and tells what was done.
    pub fn carry_out(&self) -> Result<String, Error> {
        let mut said = String::new();
        for path in &self.unlinks {
            fs::remove_file(path).map_err(|why| file::not_written(path, &why))?;
            let _ = writeln!(said, "removed {}", path.display());
        }
        for (at, to) in &self.links {
            file::link(at, to).map_err(|why| file::not_written(at, &why))?;
            let _ = writeln!(said, "linked {} to {}", at.display(), to.display());
        }
        for Draft { path, after, .. } in self.edits() {
            let done = match after {
                Some(text) => file::write(path, text.as_bytes(), None).map(|()| "wrote"),
                None => file::remove(path).map(|()| "removed"),
            };
            let done = done.map_err(|why| file::not_written(path, &why))?;
            let _ = writeln!(said, "{done} {}", path.display());
        }
        for command in &self.commands {
            run(command, &[0])?;
            let _ = writeln!(said, "ran {}", line(command));
        }
        for sweep in &self.sweeps {
            if sweep.carry_out().map_err(|why| file::not_written(&sweep.path, &why))? {
                let _ = writeln!(said, "removed {}", sweep.path.display());
            }
        }
        Ok(said)
    }
}

impl Sweep {
    /// Whether the file was removed.
    fn carry_out(&self) -> io::Result<bool> {
        let Ok(content) = fs::read(&self.path) else {
            return Ok(false);
        };
        // What kubectl writes when it has nothing to write.
        let says_nothing = |line: &str| {
            let empty = [": null", ": []", ": {}", ": \"\""];
            matches!(line, "apiVersion: v1" | "kind: Config")
                || empty.iter().any(|end| line.ends_with(end))
        };
        if self.is_new && String::from_utf8_lossy(&content).lines().all(says_nothing) {
            return file::remove(&self.path).map(|()| true);
        }
        // git ends the last line, and leaves it so.
        if self.length.is_some_and(|length| length + 1 == content.len() as u64)
            && let Some(content) = content.strip_suffix(b"\n")
        {
            file::write(&self.path, content, None)?;
        }
        Ok(false)
    }
}

impl Draft {
    /// A unified diff. What setup adds or takes away lies together, so it is one hunk. What stays is
    /// not shown, since it may be a secret: no lines around the hunk, and `…` for the rest of a line.
    fn diff(&self) -> String {
        let name = |text: &Option<String>| match text {
            Some(_) => self.path.display().to_string(),
            None => "/dev/null".to_owned(),
        };
        let mut said = format!("--- {}\n+++ {}\n", name(&self.before), name(&self.after));
        let lines = |text: &Option<String>| -> Vec<String> {
            text.iter().flat_map(|text| text.split_inclusive('\n')).map(str::to_owned).collect()
        };
        let (old, new) = (lines(&self.before), lines(&self.after));
        let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let tail = old[same..].iter().rev().zip(new[same..].iter().rev());
        let tail = tail.take_while(|(old, new)| old == new).count();
        let (old, new) = (&old[same..old.len() - tail], &new[same..new.len() - tail]);
        let range = |lines: &[String]| match lines.len() {
            0 => format!("{same},0"),
            count => format!("{},{count}", same + 1),
        };
        let _ = writeln!(said, "@@ -{} +{} @@", range(old), range(new));
        let (old, new) = elided(&old.concat(), &new.concat());
        let lines = |text: String| -> Vec<String> {
            text.split_inclusive('\n').map(str::to_owned).collect()
        };
        let groups = [('-', lines(old)), ('+', lines(new))];
        for (mark, line) in groups.iter().flat_map(|(mark, of)| of.iter().map(move |l| (mark, l))) {
            said.push(*mark);
            said += line;
            if !line.ends_with('\n') {
                said += "\n\\ No newline at end of file\n";
            }
        }
        said
    }
}

/// Two texts without the words that both begin or end with.
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

/// Runs a command of a tool, which may end with one of `codes`, and gives what it says.
pub fn run(command: &[String], codes: &[i32]) -> Result<String, Error> {
    let failed = |why: String| Error::ToolFailed { command: line(command), why };
    let Some((program, arguments)) = command.split_first() else {
        return Ok(String::new());
    };
    let mut child = Command::new(program);
    let output = child.args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.code() {
        Some(code) if codes.contains(&code) => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        _ => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            let complaint = complaint.trim().chars().take(LONGEST_COMPLAINT).collect::<String>();
            Err(failed(match complaint.as_str() {
                "" => output.status.to_string(),
                complaint => Shown(complaint).to_string(),
            }))
        }
    }
}

/// A command as a shell takes it.
pub fn line(command: &[String]) -> String {
    command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}
