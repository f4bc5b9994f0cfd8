//! `setup`: configures a tool, binds its hosts to an account, and takes both back.
//!
//! A tool is a function from a [`Context`] to [`Edit`]s. The edits are staged in a [`Plan`] by reading
//! alone, so that whatever cannot be done is found before anything is done; then the plan is shown or
//! carried out. The [`Record`] holds the edits that were done, because nothing else tells a value that
//! setup wrote from the same value that was there before.
//!
//! Imports, bottom up: `file` ← `plan` ← `edit` ← {`record`, `context` ← one file for each tool} ← here.

mod account;
pub mod bazel;
mod context;
mod docker;
mod edit;
mod file;
mod git;
mod kubectl;
mod plan;
mod record;
pub mod terraform;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use self::context::{Context, World};
use self::edit::json::{self, Item, Syntax};
use self::edit::{Edit, Made};
use self::file::Lock;
use self::plan::{Plan, Stop};
use self::record::Record;
use crate::error::Error;
use crate::protocol::Host;
use crate::settings::{self, DEFAULT_ACCOUNT, Environment, Flags, NamedAccount};
use crate::shown::Escaped;

/// Attempts to do something while other programs change the files.
const MOST_ATTEMPTS: usize = 10;

/// A tool that can be set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// kubectl, and what else reads a kubeconfig.
    Kubectl,
    /// git.
    Git,
    /// Docker's command line.
    Docker,
    /// Bazel.
    Bazel,
    /// Terraform.
    Terraform,
}

impl Tool {
    /// Its name on the command line and in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Git => "git",
            Self::Docker => "docker",
            Self::Bazel => "bazel",
            Self::Terraform => "terraform",
        }
    }

    /// The tool of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Kubectl, Self::Git, Self::Docker, Self::Bazel, Self::Terraform]
            .into_iter()
            .find(|tool| tool.name() == name)
    }

    fn edits(self, context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
        match self {
            Self::Kubectl => kubectl::edits(context, view),
            Self::Git => git::edits(context, view),
            Self::Docker => docker::edits(context, view),
            Self::Bazel => bazel::edits(context, view),
            Self::Terraform => terraform::edits(context, view),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// For which tool.
    pub tool: Tool,
    /// Take back what was done, rather than do it.
    pub undo: bool,
    /// Only show it.
    pub dry_run: bool,
    /// `--api-version`, for kubectl.
    pub api_version: Option<String>,
}

/// Does what `order` says, and returns the lines that say what was done.
///
/// # Errors
/// Something cannot be done. Then nothing is, unless it adds to an earlier set-up of that tool and a
/// file or command fails in the doing.
pub fn run(order: &Order, mut context: Context<'_>, flags: &Flags) -> Result<Vec<u8>, Error> {
    context.refuse_foreign_home()?;
    let name = order.tool.name();
    let (folder, config) = (context.folder.clone(), context.config.clone());
    let Context { env, deadline, .. } = context;
    let dry_run = order.dry_run;
    let job = Job { name, folder: &folder, config: &config, env, deadline, dry_run };
    if order.undo {
        return job.undo();
    }
    refuse_flags(flags)?;
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
        edits.extend(order.tool.edits(&context, view)?);
        view.notes.extend(account_notes(&context));
        Ok(edits)
    })
}

/// Refuses the flags that a set-up of a tool cannot keep.
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

/// The command that stores an account.
fn account_command(account: &str) -> String {
    match account {
        DEFAULT_ACCOUNT => "astra-credential setup account".to_owned(),
        name => format!("astra-credential setup account --account {name}"),
    }
}

/// What remains to be done about the account.
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

/// Stores an account, or finds it in the file of `--service-account`, and enters its settings in the
/// configuration file. Returns the lines that say what was done.
///
/// # Errors
/// There is no usable account, or something cannot be written.
pub fn run_account(context: &Context<'_>) -> Result<Vec<u8>, Error> {
    context.refuse_foreign_home()?;
    let entered = context.entered()?;
    let file = entered.iter().find(|(key, _)| *key == "file");
    let mut done = match file {
        Some((_, file)) => {
            let fix = account_command(&context.account.name);
            account::found(Path::new(file), context, &fix)?
        }
        None => account::store(context)?,
    };
    if !entered.is_empty() {
        let Context { folder, config, env, deadline, .. } = context;
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

/// One set-up, under the name that the record has for it.
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
    /// Does the edits that `edits` returns, or shows them. `edits` gets the record, and a plan without
    /// the lines that setup has written for this name before.
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
            // What setup writes must not end every later call.
            if let Some(config) = plan.changed(self.config) {
                settings::check_file(config, self.config, self.env)?;
            }
            if self.dry_run {
                return Ok(report(plan.shown(), &plan));
            }
            let mut done = String::new();
            if !plan.is_empty() {
                // The record comes first, so that a set-up that is broken off can be taken back too.
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
            // As far as that goes: the first failure is the one to report.
            let _ = self.attempt(|record| self.take_back(record, &mut lock));
        }
        done
    }

    /// Takes back what is recorded under the name, or shows it.
    fn undo(&self) -> Result<Vec<u8>, Error> {
        let mut lock = self.lock()?;
        self.attempt(|record| self.take_back(record, &mut lock))
    }

    fn take_back(&self, record: &Record, lock: &mut Option<Lock>) -> Result<Vec<u8>, Stop> {
        let mut plan = Plan::default();
        record.undo(self.name, &mut plan)?;
        let Some(lock) = lock else {
            return Ok(report(plan.shown(), &plan));
        };
        let done = plan.carry_out()?;
        let folders = record.clone().drop_name(self.name, &self.place())?;
        // They hold the lock's file, which goes last.
        lock.folders.extend(folders);
        if !self.place().exists() {
            lock.folders.push(self.folder.to_owned());
        }
        Ok(report(done, &plan))
    }

    /// Tries again while other programs change the files in between.
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
        let why = "another program changes it again and again".to_owned();
        Err(Error::NotWritten { path: changed, why })
    }

    fn lock(&self) -> Result<Option<Lock>, Error> {
        let lock = || Lock::take(self.folder, self.deadline);
        (!self.dry_run).then(lock).transpose()
    }

    fn place(&self) -> PathBuf {
        self.folder.join("setup.json")
    }
}

/// The lines that say what was done, or that there was nothing to do.
fn report(done: String, plan: &Plan) -> Vec<u8> {
    let mut report = if plan.is_empty() { "nothing to do\n".to_owned() } else { done };
    report.extend(plan.notes.iter().map(|note| format!("{note}\n")));
    report.into_bytes()
}

/// The edits that bind hosts to the account in the configuration file.
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
            // An entry in the user's file would take the place of the machine's.
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

/// The configuration file's text, if it can be edited.
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
