//! The record of the edits that setup has done: `setup.json` in the configuration folder. It is removed
//! when all edits are reverted. It stores edits under names, and contains no code for a tool.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::edit::{Edit, Made};
use super::file;
use super::plan::Plan;
use crate::error::{Error, json_defect};

/// The edits, under the name of the tool for which they were done.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The objects that were created for the edits, outermost first.
    made: Vec<Made>,
    done: BTreeMap<String, Vec<Edit>>,
}

impl Record {
    /// Reads the record; an empty one when there is none.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let Some(content) = file::read(path)? else { return Ok(Self::default()) };
        let read = serde_json::from_slice(&content);
        read.map_err(|error| file::unusable(path, &format!("is {}", json_defect(&error))))
    }

    /// The edits under a name.
    pub fn of(&self, name: &str) -> &[Edit] {
        self.done.get(name).map_or(&[], Vec::as_slice)
    }

    /// Stages an edit, which replaces an earlier edit of setup at that place, and records it under `name`.
    /// A change that the user has made already is not recorded.
    ///
    /// # Errors
    /// The place has another content, which is not setup's.
    pub fn renew(&mut self, name: &str, edit: Edit, plan: &mut Plan) -> Result<(), Error> {
        let is_ours = self.done.values().flatten().any(|known| *known == edit);
        let is_old = |known: &&Edit| **known != edit && known.is_for_the_place_of(&edit);
        let olds: Vec<_> = self.of(name).iter().filter(is_old).cloned().collect();
        // A block of the same text that is not ours does not count: the tool's own reader has not found it,
        // so it is in a comment.
        let is_done = (is_ours || !matches!(edit, Edit::Block(_))) && edit.is_done(plan)?;
        if is_done && !is_ours {
            return Ok(());
        }
        if !is_done {
            let mut old = None;
            for known in &olds {
                if known.is_done(plan)? {
                    old = Some(known);
                }
            }
            match edit.apply(old, plan)? {
                Some(made) => made.into_iter().for_each(|made| self.make(made)),
                None if !is_ours => return Ok(()),
                None => {}
            }
        }
        // Another tool may rely on the same edit.
        for edits in self.done.values_mut() {
            if edits.iter().any(|known| olds.contains(known)) {
                edits.retain(|known| !olds.contains(known) && *known != edit);
                edits.push(edit.clone());
            }
        }
        for folder in file::missing_folders(edit.place()) {
            self.make(Made::Folder(folder));
        }
        let edits = self.done.entry(name.to_owned()).or_default();
        if !edits.contains(&edit) {
            edits.push(edit);
        }
        Ok(())
    }

    /// Records an object that is created for an edit.
    pub fn make(&mut self, made: Made) {
        if !self.made.contains(&made) {
            self.made.push(made);
        }
    }

    /// Merges two records. The result covers both states in which a killed process can leave the files.
    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        other.made.iter().for_each(|made| both.make(made.clone()));
        for (name, edits) in &other.done {
            let known = both.done.entry(name.clone()).or_default();
            for edit in edits {
                if !known.contains(edit) {
                    known.push(edit.clone());
                }
            }
        }
        both
    }

    /// Stages the removal of every edit under a name, except those that another name has too.
    pub fn undo(&self, name: &str, plan: &mut Plan) -> Result<(), Error> {
        let others = self.done.iter().filter(|(other, _)| *other != name);
        let is_own = |edit: &&Edit| !others.clone().any(|(_, edits)| edits.contains(edit));
        let mut left: Vec<&Path> = Vec::new();
        for edit in self.of(name).iter().rev().filter(is_own) {
            let place = edit.place();
            if !edit.revert(plan)? {
                if place.symlink_metadata().is_ok() && !left.contains(&place) {
                    left.push(place);
                }
            } else if matches!(edit, Edit::User(_))
                && self.made.contains(&Made::File(place.to_owned()))
                && !plan.sweeps.iter().any(|swept| swept == place)
            {
                plan.sweeps.push(place.to_owned());
            }
        }
        self.tidy(plan)?;
        left.retain(|place| !plan.touches(place));
        plan.notes.extend(
            left.into_iter().map(|place| {
                format!("left {} as it is: it was changed since", file::escaped(place))
            }),
        );
        Ok(())
    }

    /// Stages the removal of created objects that are empty after the other edits, in files that the plan
    /// changes.
    pub fn tidy(&self, plan: &mut Plan) -> Result<(), Error> {
        self.made.iter().rev().try_for_each(|made| made.tidy(plan))
    }

    /// Removes the edits under a name from the record, once they are reverted. Removes the empty folders,
    /// innermost first, and drops the records of other objects in files without an edit. Returns the other
    /// folders.
    pub fn drop_name(&mut self, name: &str, path: &Path) -> Result<Vec<PathBuf>, Error> {
        self.done.remove(name);
        self.made.reverse();
        self.made.retain(|made| match made {
            Made::Folder(folder) => fs::remove_dir(folder).is_err() && made.is_there(),
            Made::File(file) | Made::Object { file, .. } => {
                let is_used = self.done.values().flatten().any(|edit| edit.place() == file);
                is_used && made.is_there()
            }
        });
        self.made.reverse();
        // The record is written last, so that a killed undo can be repeated.
        match self.done.is_empty() {
            true => file::remove(path).map_err(|why| file::not_written(path, why))?,
            false => self.save(path)?,
        }
        let folders = self.made.iter().filter_map(|made| match made {
            Made::Folder(folder) => Some(folder.clone()),
            Made::File(_) | Made::Object { .. } => None,
        });
        Ok(folders.collect())
    }

    /// Writes the record.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        let saved = text.and_then(|text| file::write(path, (text + "\n").as_bytes(), None));
        saved.map_err(|why| file::not_written(path, why))
    }
}
