//! The edits of this program's own configuration file.

use std::path::Path;

use super::context::Context;
use super::edit::Edit;
use super::edit::json::{self, Item, Syntax};
use super::file;
use super::plan::Plan;
use crate::error::{Error, SetupError};
use crate::protocol::Host;
use crate::settings::NamedAccount;

/// The edits that bind the named hosts to the account. `ours` are the edits that setup did earlier.
pub fn bindings(context: &Context<'_>, ours: &[Edit], view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let (file, named) = (&context.config, &context.account.name);
    let text = text(context, view)?;
    let list = |account: &str| ["accounts", account, "hosts"].map(str::to_owned).to_vec();
    let accounts = json::members(&text, Syntax::Jsonc, &["accounts".to_owned()]);
    let accounts: Vec<_> = accounts.into_iter().map(|member| member.key).collect();
    let mut edits = Vec::new();
    for host in &context.named {
        let bound = accounts.iter().find_map(|account| {
            let hosts = json::members(&text, Syntax::Jsonc, &list(account));
            let mut hosts = hosts.iter().filter_map(|member| member.value.text());
            let spelling = hosts.find(|bound| Host::parse(bound).as_ref() == Some(host))?;
            Some((account, entry(context, list(account), None, spelling.to_owned())))
        });
        match (bound, context.account.place) {
            // A host moves to another account only if that account is named.
            (Some((account, edit)), _)
                if account == named || !context.account.is_named && ours.contains(&edit) =>
            {
                edits.push(edit);
            }
            (Some((account, edit)), _) if !ours.contains(&edit) => {
                return Err(SetupError::HostBound {
                    host: host.to_string(),
                    account: account.clone(),
                    named: named.clone(),
                    path: file.clone(),
                }
                .into());
            }
            // An entry in the user's file would replace the whole entry of the machine's file.
            (_, Some(place)) if place != file && !accounts.contains(named) => {
                if context.configuration.owner_of(host) != Some(named) {
                    let change = format!("`{host}` added to the hosts of `{named}`");
                    return Err(machine_account(named, change, place).into());
                }
            }
            _ => edits.push(entry(context, list(named), None, host.to_string())),
        }
    }
    Ok(edits)
}

/// The text of the configuration file, if it can be edited.
fn text(context: &Context<'_>, view: &mut Plan) -> Result<String, Error> {
    let text = view.text(&context.config)?;
    let checked = json::check(&text, Syntax::Jsonc);
    checked.map_err(|defect| file::unusable(&context.config, &defect)).map(|()| text)
}

/// Fails if the account's entry is the machine's, since an entry in the user's file would replace the whole entry:
/// its hosts and the API that gets the account's secret.
pub fn refuse_machine_account(
    context: &Context<'_>,
    values: &[(&str, String)],
) -> Result<(), SetupError> {
    let NamedAccount { name, place, .. } = &context.account;
    // With `--config` the one file that is read is also the one that is written.
    let is_named = context.configuration.sources.named.is_some();
    let Some(place) = place.filter(|place| !is_named && *place != context.config) else {
        return Ok(());
    };
    let keys: Vec<_> = values.iter().map(|(key, _)| format!("`{key}`")).collect();
    Err(machine_account(name, format!("{} of `{name}` set", keys.join(" and ")), place))
}

fn machine_account(name: &str, change: String, path: &Path) -> SetupError {
    SetupError::MachineAccount { name: name.to_owned(), change, path: path.to_owned() }
}

/// The edits that write settings, each a key and a value, into the account's entry.
pub fn entries(
    context: &Context<'_>,
    values: &[(&str, String)],
    view: &mut Plan,
) -> Result<Vec<Edit>, Error> {
    text(context, view)?;
    let path = ["accounts", &context.account.name].map(str::to_owned).to_vec();
    let entry = |(key, value): &(&str, String)| {
        entry(context, path.clone(), Some((*key).to_owned()), value.clone())
    };
    Ok(values.iter().map(entry).collect())
}

fn entry(context: &Context<'_>, path: Vec<String>, key: Option<String>, value: String) -> Edit {
    let item = Item { path, key, value };
    Edit::Entry { file: context.config.clone(), syntax: Syntax::Jsonc, item }
}
