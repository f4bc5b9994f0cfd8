//! What setup has done: `setup.json` in the configuration folder, gone when all is taken back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::{Tool, docker, file, git, kubectl, lines, link};
use crate::error::{Error, json_defect};

/// What has been done, for every tool.
#[derive(Default, Deserialize, Serialize)]
pub struct Record {
    /// The folders that were made, outermost first.
    folders: Vec<PathBuf>,
    done: BTreeMap<String, Vec<Change>>,
}

/// One thing that was done, with what is needed to take it back and no more.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A link was made.
    Link {
        /// Where.
        at: PathBuf,
        /// To what.
        to: PathBuf,
    },
    /// Lines were added to a file.
    Lines {
        /// The file.
        file: PathBuf,
        /// What was added.
        added: String,
        /// Whether there was no file.
        is_new: bool,
    },
    /// Docker was told of a helper.
    Docker(docker::Change),
    /// git was told of a helper.
    Git(git::Change),
    /// kubectl was told of a user.
    Kubectl(kubectl::Change),
}

impl Record {
    /// Reads the record; an empty one when there is none.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let Some(text) = file::read(path)? else {
            return Ok(Self::default());
        };
        serde_json::from_str(&text).map_err(|error| {
            let defect = format!("is {}", json_defect(&error));
            Error::Unparsable { path: path.to_owned(), defect }
        })
    }

    /// Where something was done for a tool.
    pub fn places(&self, tool: Tool) -> impl Iterator<Item = &Path> {
        self.of(tool).iter().map(Change::place)
    }

    /// Plans to take back what was done for a tool.
    pub fn undo(&self, tool: Tool) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.of(tool).iter().rev().try_for_each(|change| change.undo(&mut plan))?;
        Ok(plan)
    }

    fn of(&self, tool: Tool) -> &[Change] {
        self.done.get(tool.name()).map_or(&[], Vec::as_slice)
    }

    /// Adds what is planned for a tool, and the folders that will be made for it and for the record
    /// itself at `path`.
    pub fn add(&mut self, tool: Tool, plan: &Plan, path: &Path) {
        let done = self.done.entry(tool.name().to_owned()).or_default();
        for change in &plan.changes {
            if !done.contains(change) {
                done.push(change.clone());
            }
        }
        let places = plan.changes.iter().map(Change::place).chain([path]);
        for folder in places.flat_map(file::missing_folders) {
            if !self.folders.contains(&folder) {
                self.folders.push(folder);
            }
        }
    }

    /// Writes the record.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        let saved = text.and_then(|text| file::write(path, (text + "\n").as_bytes(), None));
        saved.map_err(|why| file::not_written(path, &why))
    }

    /// Drops what was done for a tool, once it is taken back, and the folders that nobody else uses.
    pub fn drop_tool(&mut self, tool: Tool, path: &Path) -> Result<(), Error> {
        if self.done.remove(tool.name()).is_none() {
            return Ok(());
        }
        // Last of all the record, and the folders that hold it: who is killed here can do it again.
        self.remove_folders();
        if !self.done.is_empty() {
            return self.save(path);
        }
        file::remove(path).map_err(|why| file::not_written(path, &why))?;
        self.remove_folders();
        Ok(())
    }

    /// Innermost first; one that is not empty stays.
    fn remove_folders(&mut self) {
        let mut kept = Vec::new();
        while let Some(folder) = self.folders.pop() {
            if fs::remove_dir(&folder).is_err() && folder.exists() {
                kept.push(folder);
            }
        }
        kept.reverse();
        self.folders = kept;
    }
}

impl Change {
    fn place(&self) -> &Path {
        match self {
            Self::Link { at, .. } => at,
            Self::Lines { file, .. } => file,
            Self::Docker(change) => &change.file,
            Self::Git(change) => &change.file,
            Self::Kubectl(change) => &change.file,
        }
    }

    /// Plans to take it back, unless somebody has changed it since.
    fn undo(&self, plan: &mut Plan) -> Result<(), Error> {
        let is_ours = match self {
            Self::Link { at, to } => link::undo(at, to, plan),
            Self::Lines { file, added, is_new } => undo_lines(file, added, *is_new, plan)?,
            Self::Docker(change) => change.undo(plan)?,
            Self::Git(change) => change.undo(plan)?,
            Self::Kubectl(change) => change.undo(plan)?,
        };
        if !is_ours && self.place().symlink_metadata().is_ok() {
            let place = self.place().display();
            plan.notes.push(format!("left {place} as it is: it was changed since"));
        }
        Ok(())
    }
}

/// Whether the lines were there.
fn undo_lines(path: &Path, added: &str, is_new: bool, plan: &mut Plan) -> Result<bool, Error> {
    let text = plan.text(path)?;
    let is_ours = text.as_mut().is_some_and(|text| lines::cut(text, added));
    if is_ours && is_new && text.as_deref() == Some("") {
        *text = None;
    }
    Ok(is_ours)
}
