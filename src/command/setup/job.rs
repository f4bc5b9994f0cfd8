//! One run of `setup`: finds the changes that the edits make, and shows or makes them and keeps the record.

use std::path::PathBuf;

use super::context::Context;
use super::edit::{Edit, Made};
use super::file;
use super::lock::Lock;
use super::plan::{Plan, Stop};
use super::record::Record;
use crate::error::{Error, SetupError};
use crate::settings;

/// Attempts if other programs change the files in between.
const MOST_ATTEMPTS: usize = 10;

/// One run of `setup`.
pub struct Job<'a> {
    /// Its name in the record.
    pub name: &'a str,
    /// The inputs of the call.
    pub context: &'a Context<'a>,
    /// Only shows the changes.
    pub dry_run: bool,
}

impl Job<'_> {
    /// Does or shows the edits that `edits` returns. `edits` gets the edits that setup did earlier for this
    /// name, and a plan in which their lines are removed.
    ///
    /// # Errors
    /// An edit cannot be done. The edits before it are then reverted, unless there were some before.
    pub fn perform(
        &self,
        mut edits: impl FnMut(&[Edit], &mut Plan) -> Result<Vec<Edit>, Error>,
    ) -> Result<String, Error> {
        let mut lock = self.lock()?;
        let is_first = Record::load(&self.place())?.of(self.name).is_empty();
        let done = self.attempt(|record| {
            let mut view = Plan::new(self.context.deadline);
            let is_block = |edit: &&Edit| matches!(edit, Edit::Block(_));
            for edit in record.of(self.name).iter().rev().filter(is_block) {
                edit.revert(&mut view)?;
            }
            let wanted = edits(record.of(self.name), &mut view)?;
            let mut plan = Plan::new(self.context.deadline);
            plan.notes = view.notes;
            let mut new = record.clone();
            for folder in lock.iter().flat_map(|lock| &lock.folders) {
                new.make(Made::Folder(folder.clone()));
            }
            for edit in wanted {
                new.renew(self.name, edit, &mut plan)?;
            }
            new.tidy(&mut plan)?;
            // A defect in the configuration file would end every later call, so the new content is checked.
            let Context { config, env, .. } = self.context;
            if let Some(content) = plan.changed(config) {
                settings::check_file(content, config, *env)?;
            }
            if self.dry_run {
                return Ok(report(plan.shown(), &plan));
            }
            let mut done = String::new();
            if !plan.is_empty() {
                // The record is written first, so that an interrupted setup can be reverted too.
                let both = record.with(&new);
                both.save(&self.place())?;
                done = plan.carry_out()?;
                if both != new {
                    new.save(&self.place())?;
                }
            } else if new.of(self.name) != record.of(self.name) {
                new.save(&self.place())?;
            }
            Ok(report(done, &plan))
        });
        if done.is_err() && is_first && !self.dry_run {
            // An error here is ignored, because the first error is the one to report.
            let _ = self.attempt(|record| self.revert(record, &mut lock));
        }
        done
    }

    /// Reverts the edits under the name, or shows how.
    ///
    /// # Errors
    /// An edit cannot be reverted.
    pub fn undo(&self) -> Result<String, Error> {
        let mut lock = self.lock()?;
        self.attempt(|record| self.revert(record, &mut lock))
    }

    fn revert(&self, record: &Record, lock: &mut Option<Lock>) -> Result<String, Stop> {
        let mut plan = Plan::new(self.context.deadline);
        record.undo(self.name, &mut plan)?;
        let Some(lock) = lock else {
            return Ok(report(plan.shown(), &plan));
        };
        let done = plan.carry_out()?;
        let folders = record.clone().drop_name(self.name, &self.place())?;
        // They contain the lock file, which is removed last.
        lock.folders.extend(folders);
        if !self.place().exists() {
            lock.folders.push(self.context.folder.clone());
        }
        Ok(report(done, &plan))
    }

    /// Runs `once` again if another program has changed a file in between.
    fn attempt(
        &self,
        mut once: impl FnMut(&Record) -> Result<String, Stop>,
    ) -> Result<String, Error> {
        let place = self.place();
        let mut changed = place.clone();
        for _ in 0..MOST_ATTEMPTS {
            let record = Record::load(&place)?;
            if !self.dry_run {
                record.of(self.name).iter().map(Edit::place).chain([&*place]).for_each(file::sweep);
            }
            match once(&record) {
                Err(Stop::Changed(path)) => changed = path,
                Err(Stop::Failed(error)) => return Err(error),
                Ok(report) => return Ok(report),
            }
        }
        Err(SetupError::Busy { path: changed }.into())
    }

    fn lock(&self) -> Result<Option<Lock>, Error> {
        let lock = || Lock::take(&self.context.folder, self.context.deadline);
        (!self.dry_run).then(lock).transpose()
    }

    fn place(&self) -> PathBuf {
        self.context.folder.join("setup.json")
    }
}

/// The output: the changes or "nothing to do", then the notes.
fn report(done: String, plan: &Plan) -> String {
    let mut report = if plan.is_empty() { "nothing to do\n".to_owned() } else { done };
    report.extend(plan.notes.iter().map(|note| format!("{note}\n")));
    report
}
