//! `setup`: configures a tool and binds its hosts to an account, and reverts both.
//!
//! A tool is a function from [`Inputs`] to edits. Staging the edits in a plan only reads files, so
//! errors are found before the first change. Then the plan is shown or carried out. The record stores the
//! edits that were done: without it, a value that setup wrote looks the same as one that was there before.
//!
//! Imports, bottom up: `diff`, `file` ← `lock`, `plan` ← `edit` ← `record`, `context` ← `account`, `config`,
//! `job`, one file for each tool ← this file.
//! [`tool`](super::tool) finds and reads a tool's configuration.

mod account;
mod bazel;
mod config;
mod context;
mod diff;
mod docker;
mod edit;
mod file;
mod git;
mod job;
mod kubectl;
mod lock;
mod plan;
mod record;
mod terraform;

use std::path::{Path, PathBuf};

use self::context::{Context, Inputs};
use self::job::Job;
use super::tool::Tool;
use crate::error::{Error, SetupError};
use crate::protocol::Host;
use crate::settings::{self, Configuration, DEFAULT_ACCOUNT, Flags, NamedAccount, account_command};

/// The arguments of `setup`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// The tool; `None` to store the account file.
    pub tool: Option<Tool>,
    /// Revert the edits.
    pub undo: bool,
    /// Only show the changes.
    pub dry_run: bool,
    /// `--api-version`, for kubectl.
    pub api_version: Option<String>,
}

/// Configures a tool or stores the account file, as `order` says. Returns a line for each change. `program` is this
/// program's own file.
///
/// # Errors
/// An edit cannot be done. The edits before it are then reverted, unless the tool was configured before.
pub fn run(
    order: &Order,
    program: PathBuf,
    configuration: &Configuration<'_>,
) -> Result<Vec<u8>, Error> {
    match order.tool {
        Some(tool) => run_tool(tool, order, program, configuration).map(String::into_bytes),
        None if order.undo || order.dry_run => Err(Error::Usage {
            problem: "`--undo` and `--dry-run` are for tools; the account file is yours to remove"
                .to_owned(),
            help: "astra-credential setup --help".to_owned(),
        }),
        None => run_account(program, configuration).map(String::into_bytes),
    }
}

/// Configures a tool.
fn run_tool(
    tool: Tool,
    order: &Order,
    program: PathBuf,
    configuration: &Configuration<'_>,
) -> Result<String, Error> {
    let context = &Context::new(program, configuration, order.undo)?;
    context.refuse_foreign_home()?;
    let Order { tool: _, undo, dry_run, api_version } = order;
    let job = Job { name: tool.name(), context, dry_run: *dry_run };
    if *undo {
        return job.undo();
    }
    refuse_flags(configuration.sources.flags)?;
    job.perform(|ours, view| {
        let mut hosts = context.named.clone();
        for host in ours.iter().filter_map(|edit| Host::parse(edit.name())) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if tool != Tool::Kubectl && hosts.is_empty() {
            return Err(SetupError::HostUnnamed { tool: tool.name() }.into());
        }
        let mut edits = config::bindings(context, ours, view)?;
        let inputs = Inputs { context, api_version: api_version.as_deref(), hosts, ours };
        edits.extend(match tool {
            Tool::Kubectl => kubectl::edits(&inputs, view),
            Tool::Git => git::edits(&inputs, view),
            Tool::Docker => docker::edits(&inputs, view),
            Tool::Bazel => bazel::edits(&inputs, view),
            Tool::Terraform => terraform::edits(&inputs, view),
        }?);
        view.notes.extend(account_notes(context));
        Ok(edits)
    })
}

/// Refuses the flags that `setup` for a tool does not write into its configuration.
fn refuse_flags(flags: &Flags) -> Result<(), SetupError> {
    let of_account = |flag, value| {
        let command = format!("astra-credential setup account {flag} {value}");
        (flag, format!("keep it with the account: `{command}`"))
    };
    let refused = [
        of_account("--service-account", "FILE"),
        of_account("--api-url", "URL"),
        of_account("--ca-file", "FILE"),
        of_account("--min-valid", "DURATION"),
        ("--cache-dir", "write `cache_dir` into `config.json`".to_owned()),
    ];
    match refused.into_iter().find(|(flag, _)| flags.value(flag).is_some()) {
        Some((flag, fix)) => Err(SetupError::NotKept { flag, fix }),
        None if flags.no_cache => Err(SetupError::NotKept {
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
/// configuration file.
///
/// # Errors
/// There is no usable account, or a file cannot be written.
fn run_account(program: PathBuf, configuration: &Configuration<'_>) -> Result<String, Error> {
    let context = &Context::new(program, configuration, true)?;
    context.refuse_foreign_home()?;
    let entered = settings::entered(&configuration.sources)?;
    let enter = |dry_run| {
        let job = Job { name: "account", context, dry_run };
        job.perform(|_, view| config::entries(context, &entered, view))
    };
    if !entered.is_empty() {
        config::refuse_machine_account(context, &entered)?;
        // An account whose settings cannot be written is not stored either.
        enter(true)?;
    }
    let file = entered.iter().find(|(key, _)| *key == "file");
    let mut done = match file {
        Some((_, file)) => account::found(Path::new(file), context)?,
        None => account::store(context, !entered.is_empty())?,
    };
    if !entered.is_empty() {
        done += &match enter(false)? {
            report if report == "nothing to do\n" => {
                let file = file::escaped(&context.config);
                format!("found the account `{}` in {file}\n", context.account.name)
            }
            report => report,
        };
    }
    let NamedAccount { name, file, other_file, .. } = &context.account;
    if other_file.is_some() && other_file != file && name == DEFAULT_ACCOUNT {
        done += "remains: unset `ASTRA_SERVICE_ACCOUNT`, which names another file\n";
    }
    Ok(done)
}
