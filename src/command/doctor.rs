//! `doctor`: checks everything that can be wrong, prints a line for each check, and a hint for each failure.
//!
//! Run it in the environment in which a tool fails. It sends no secret, except in the exchange of
//! `--online`. All checks of the network together end within `--timeout`, each within five seconds.
//!
//! Imports, bottom up: `finding` ← `folder`, `subject` ← `account`, `cache`, `network`, `tools` ← this file.

mod account;
mod cache;
mod finding;
mod folder;
mod network;
mod subject;
mod tools;

use std::collections::BTreeMap;
use std::path::PathBuf;

use self::finding::Finding;
use self::subject::Subject;
use self::tools::Tools;
use super::{State, Style};
use crate::error::{Defect, Error};
use crate::message;
use crate::service::{self, Inspected};
use crate::settings::{self, Configuration, Settings};
use crate::shown;

/// Returns the answer and the exit code. `binary` is this program's own file. `is_online` also does an
/// exchange for each account.
///
/// # Errors
/// A setting cannot be used.
pub fn run(
    configuration: &Configuration<'_>,
    binary: Option<PathBuf>,
    is_online: bool,
    style: Style,
) -> Result<(Vec<u8>, u8), Error> {
    let settings = configuration.every_account()?;
    let is_alone = settings.len() == 1;
    let subject = |settings: Settings| {
        let prefix = if is_alone { String::new() } else { format!("{}: ", settings.account.value) };
        let Inspected { settings, account, cache } = service::inspect(settings);
        Subject { prefix, settings, account, cache }
    };
    let examine = || {
        let accounts = settings.into_iter().map(subject).collect::<Vec<_>>();
        // The network comes first, so that the cache is shown as it is after the exchanges.
        let network = network::examine(&accounts, is_online);
        let mut findings = files(configuration);
        findings.extend(accounts.iter().flat_map(Subject::file));
        findings.extend(accounts.iter().flat_map(|subject| subject.token(is_alone)));
        findings.extend(cache::examine(&accounts));
        findings.extend(network);
        findings.extend(tools::examine(&Tools { configuration, binary }));
        findings
    };
    let findings = message::explain_wait("checking what can be wrong", examine);
    message::wipe();
    let has_failed = findings.iter().any(|finding| finding.state == State::Failure);
    let answer = match style {
        Style::Json => super::line(&BTreeMap::from([("checks", findings)])),
        Style::Text { colour, .. } => {
            let lines: String = findings.iter().map(|finding| finding.lines(colour)).collect();
            message::in_locale(&lines).into_owned()
        }
    };
    Ok((answer.into_bytes(), u8::from(has_failed)))
}

/// The configuration files, and the variables that contradict them.
fn files(configuration: &Configuration<'_>) -> Vec<Finding> {
    const CHECK: &str = "config";
    let files: Vec<_> = configuration.files().map(shown::path).collect();
    let read = (!files.is_empty()).then(|| Finding::ok(CHECK, files.join(", then ")));
    let mut findings = Vec::from_iter(read);
    findings.extend(configuration.sources.dangling_links().map(|path| {
        let error = Error::Config { path, at: None, defect: Defect::DanglingLink };
        Finding::failure(CHECK, error.to_string(), error.hint())
    }));
    match settings::contradictions(&configuration.sources) {
        Ok(found) => findings.extend(found.into_iter().map(|(variable, says)| {
            let hint = format!("unset `{variable}` where the tools are started from");
            Finding::warning(CHECK, format!("`{variable}` {says}"), hint)
        })),
        Err(error) => findings.push(Finding::error(CHECK, "", &error)),
    }
    findings
}
