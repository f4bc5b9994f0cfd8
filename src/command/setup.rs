//! `setup`: configures a tool and binds its hosts to an account, and reverts both.
//!
//! A tool is a function from a [`Context`] to [`Edit`]s. Staging the edits in a [`Plan`] only reads files, so
//! errors are found before the first change. Then the plan is shown or carried out. The [`Record`] stores the
//! edits that were done: without it, a value that setup wrote looks the same as one that was there before.
//!
//! Imports, bottom up: `file` ← `plan` ← `edit` ← `record`, `context` ← one file for each tool ← this file.
//! [`tool`](super::tool) finds and reads a tool's configuration.

mod account;
mod bazel;
mod context;
pub mod docker;
mod edit;
mod file;
mod git;
mod kubectl;
mod plan;
mod record;
mod terraform;

use std::path::{Path, PathBuf};
use std::time::Instant;

use self::context::Context;
use self::edit::json::{self, Item, Syntax};
use self::edit::{Edit, Made};
use self::file::Lock;
use self::plan::{Plan, Stop};
use self::record::Record;
use super::tool::Tool;
use crate::error::Error;
use crate::protocol::Host;
use crate::settings::{
    self, Configuration, DEFAULT_ACCOUNT, Environment, Flags, NamedAccount, account_command,
};
use crate::shown::Escaped;

/// Attempts if other programs change the files in between.
const MOST_ATTEMPTS: usize = 10;

/// The arguments of `setup` for a tool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// The tool.
    pub tool: Tool,
    /// Revert the edits.
    pub undo: bool,
    /// Only show the changes.
    pub dry_run: bool,
    /// `--api-version`, for kubectl.
    pub api_version: Option<String>,
}

/// Configures a tool as `order` says, and returns a line for each change. `program` is this program's own file.
///
/// # Errors
/// An edit cannot be done. The edits before it are then reverted, unless the tool was configured before.
pub fn run(
    order: &Order,
    program: PathBuf,
    configuration: &Configuration<'_>,
) -> Result<Vec<u8>, Error> {
    let mut context = Context::new(program, configuration, order.undo)?;
    context.refuse_foreign_home()?;
    let name = order.tool.name();
    let (folder, config) = (context.folder.clone(), context.config.clone());
    let (env, deadline, dry_run) = (context.env, context.deadline, order.dry_run);
    let job = Job { name, folder: &folder, config: &config, env, deadline, dry_run };
    if order.undo {
        return job.undo();
    }
    refuse_flags(configuration.sources.flags)?;
    context.api_version.clone_from(&order.api_version);
    job.perform(|record, view| {
        context.ours = record.of(name).to_vec();
        context.hosts.clone_from(&context.named);
        for host in context.ours.iter().filter_map(|edit| Host::parse(edit.name())) {
            if !context.hosts.contains(&host) {
                context.hosts.push(host);
            }
        }
        if order.tool != Tool::Kubectl && context.hosts.is_empty() {
            return Err(Error::HostUnnamed { tool: name });
        }
        let mut edits = bindings(&context, view)?;
        edits.extend(edits_of(order.tool, &context, view)?);
        view.notes.extend(account_notes(&context));
        Ok(edits)
    })
}

fn edits_of(tool: Tool, context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    match tool {
        Tool::Kubectl => kubectl::edits(context, view),
        Tool::Git => git::edits(context, view),
        Tool::Docker => docker::edits(context, view),
        Tool::Bazel => bazel::edits(context, view),
        Tool::Terraform => terraform::edits(context, view),
    }
}

/// Refuses the flags that `setup` for a tool does not write into its configuration.
fn refuse_flags(flags: &Flags) -> Result<(), Error> {
    let of_account = |flag: &str, value: &str| {
        format!("keep it with the account: `astra-credential setup account {flag} {value}`")
    };
    let refused = [
        ("--service-account", &flags.service_account, of_account("--service-account", "FILE")),
        ("--api-url", &flags.api_url, of_account("--api-url", "URL")),
        ("--ca-file", &flags.ca_file, of_account("--ca-file", "FILE")),
        ("--min-valid", &flags.min_valid, of_account("--min-valid", "DURATION")),
        ("--cache-dir", &flags.cache_dir, "write `cache_dir` into `config.json`".to_owned()),
    ];
    match refused.into_iter().find(|(_, value, _)| value.is_some()) {
        Some((flag, _, fix)) => Err(Error::NotKept { flag, fix }),
        None if flags.no_cache => Err(Error::NotKept {
            flag: "--no-cache",
            fix: "set `ASTRA_CREDENTIAL_NO_CACHE=1` where the tool runs".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The notes about steps that remain for the user, concerning the account.
fn account_notes(context: &Context<'_>) -> Vec<String> {
    let NamedAccount { name, file, other_file, .. } = &context.account;
    let mut notes = Vec::new();
    if file.as_deref().is_some_and(|file| !file.exists()) {
        notes.push(format!("remains: `{}`", account_command(name)));
    }
    if other_file.is_some() && other_file != file {
        let variable = "`ASTRA_SERVICE_ACCOUNT` names another file";
        notes.push(format!("{variable}: these hosts get the token of the account `{name}`"));
    }
    notes
}

/// Stores an account, or checks the one in the file of `--service-account`, and writes its settings into the
/// configuration file. Returns a line for each change.
///
/// # Errors
/// There is no usable account, or a file cannot be written.
pub fn run_account(program: PathBuf, configuration: &Configuration<'_>) -> Result<Vec<u8>, Error> {
    let context = &Context::new(program, configuration, true)?;
    context.refuse_foreign_home()?;
    let entered = context.entered()?;
    let file = entered.iter().find(|(key, _)| *key == "file");
    let mut done = match file {
        Some((_, file)) => account::found(Path::new(file), context)?,
        None => account::store(context, !entered.is_empty())?,
    };
    if !entered.is_empty() {
        let Context { env, folder, config, deadline, .. } = context;
        let (name, dry_run) = ("account", false);
        let job = Job { name, folder, config, env: *env, deadline: *deadline, dry_run };
        let entered = job.perform(|_, view| {
            check_config(context, view)?;
            Ok(entries(context, &entered))
        })?;
        done += &match entered.as_slice() {
            b"nothing to do\n" => {
                let file = Escaped(&context.config.to_string_lossy()).to_string();
                format!("found the account `{}` in {file}\n", context.account.name)
            }
            entered => String::from_utf8_lossy(entered).into_owned(),
        };
    }
    let NamedAccount { name, file, other_file, .. } = &context.account;
    if other_file.is_some() && other_file != file && name == DEFAULT_ACCOUNT {
        done += "remains: unset `ASTRA_SERVICE_ACCOUNT`, which names another file\n";
    }
    Ok(done.into_bytes())
}

/// One run of `setup`, with its name in the record.
struct Job<'a> {
    name: &'a str,
    /// The folder of the record and of the lock.
    folder: &'a Path,
    /// The configuration file.
    config: &'a Path,
    env: &'a Environment<'a>,
    deadline: Instant,
    dry_run: bool,
}

impl Job<'_> {
    /// Does or shows the edits that `edits` returns. `edits` gets the record, and a plan in which the lines
    /// that setup wrote earlier for this name are removed.
    fn perform(
        &self,
        mut edits: impl FnMut(&Record, &mut Plan) -> Result<Vec<Edit>, Error>,
    ) -> Result<Vec<u8>, Error> {
        let mut lock = self.lock()?;
        let is_first = Record::load(&self.place())?.of(self.name).is_empty();
        let done = self.attempt(|record| {
            let mut view = Plan::default();
            for edit in record.of(self.name).iter().rev() {
                if matches!(edit, Edit::Block { .. }) {
                    edit.revert(&mut view)?;
                }
            }
            let wanted = edits(record, &mut view)?;
            let mut plan = Plan::default();
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
            if let Some(config) = plan.changed(self.config) {
                settings::check_file(config, self.config, self.env)?;
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
    fn undo(&self) -> Result<Vec<u8>, Error> {
        let mut lock = self.lock()?;
        self.attempt(|record| self.revert(record, &mut lock))
    }

    fn revert(&self, record: &Record, lock: &mut Option<Lock>) -> Result<Vec<u8>, Stop> {
        let mut plan = Plan::default();
        record.undo(self.name, &mut plan)?;
        let Some(lock) = lock else {
            return Ok(report(plan.shown(), &plan));
        };
        let done = plan.carry_out()?;
        let folders = record.clone().drop_name(self.name, &self.place())?;
        // They contain the lock file, which is removed last.
        lock.folders.extend(folders);
        if !self.place().exists() {
            lock.folders.push(self.folder.to_owned());
        }
        Ok(report(done, &plan))
    }

    /// Runs `once` again if another program has changed a file in between.
    fn attempt(
        &self,
        mut once: impl FnMut(&Record) -> Result<Vec<u8>, Stop>,
    ) -> Result<Vec<u8>, Error> {
        let place = self.place();
        let mut changed = place.clone();
        for _ in 0..MOST_ATTEMPTS {
            let record = Record::load(&place)?;
            if !self.dry_run {
                record.places(self.name).chain([&*place]).for_each(file::sweep);
            }
            match once(&record) {
                Err(Stop::Changed(path)) => changed = path,
                Err(Stop::Failed(error)) => return Err(error),
                Ok(report) => return Ok(report),
            }
        }
        Err(Error::Busy { path: changed })
    }

    fn lock(&self) -> Result<Option<Lock>, Error> {
        let lock = || Lock::take(self.folder, self.deadline);
        (!self.dry_run).then(lock).transpose()
    }

    fn place(&self) -> PathBuf {
        self.folder.join("setup.json")
    }
}

/// The output: the changes or "nothing to do", then the notes.
fn report(done: String, plan: &Plan) -> Vec<u8> {
    let mut report = if plan.is_empty() { "nothing to do\n".to_owned() } else { done };
    report.extend(plan.notes.iter().map(|note| format!("{note}\n")));
    report.into_bytes()
}

/// The edits that bind the hosts to the account in the configuration file.
fn bindings(context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let (file, named) = (&context.config, &context.account.name);
    let text = check_config(context, view)?;
    let list = |account: &str| ["accounts", account, "hosts"].map(str::to_owned).to_vec();
    let accounts = json::keys(&text, Syntax::Jsonc, &["accounts".to_owned()]);
    let entry = |account: &str, value: String| Edit::Entry {
        file: file.clone(),
        syntax: Syntax::Jsonc,
        item: Item { path: list(account), key: None, value },
    };
    let mut edits = Vec::new();
    for host in &context.named {
        let bound = accounts.iter().find_map(|account| {
            let mut hosts = json::strings(&text, Syntax::Jsonc, &list(account)).into_iter();
            let spelling = hosts.find(|bound| Host::parse(bound).as_ref() == Some(host))?;
            Some((account, entry(account, spelling)))
        });
        let refused = |account: &str, path: &Path| Error::HostBound {
            host: host.to_string(),
            account: account.to_owned(),
            named: named.clone(),
            path: path.to_owned(),
        };
        match (bound, context.account.place) {
            (Some((account, edit)), _) if account == named => edits.push(edit),
            // A host moves to another account only if that account is named.
            (Some((_, edit)), _) if !context.account.is_named && context.ours.contains(&edit) => {
                edits.push(edit);
            }
            (Some((account, edit)), _) if !context.ours.contains(&edit) => {
                return Err(refused(account, file));
            }
            // An entry in the user's file would replace the whole entry of the machine's file.
            (_, Some(place)) if place != file && !accounts.contains(named) => {
                if context.owner_of(host) != Some(named) {
                    return Err(Error::MachineAccount {
                        name: named.clone(),
                        host: host.to_string(),
                        path: place.to_owned(),
                    });
                }
            }
            _ => edits.push(entry(named, host.to_string())),
        }
    }
    Ok(edits)
}

/// The text of the configuration file, if it can be edited.
fn check_config(context: &Context<'_>, view: &mut Plan) -> Result<String, Error> {
    let text = view.text(&context.config)?;
    let checked = json::check(&text, Syntax::Jsonc);
    checked.map_err(|defect| file::unusable(&context.config, &defect)).map(|()| text)
}

/// The entries of an account in the configuration file: key and value.
fn entries(context: &Context<'_>, values: &[(&str, String)]) -> Vec<Edit> {
    let entry = |(key, value): &(&str, String)| Edit::Entry {
        file: context.config.clone(),
        syntax: Syntax::Jsonc,
        item: Item {
            path: vec!["accounts".to_owned(), context.account.name.clone()],
            key: Some((*key).to_owned()),
            value: value.clone(),
        },
    };
    values.iter().map(entry).collect()
}
