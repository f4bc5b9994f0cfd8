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
        let refused = |account: &str, path: &Path| SetupError::HostBound {
            host: host.to_string(),
            account: account.to_owned(),
            named: named.clone(),
            path: path.to_owned(),
        };
        match (bound, context.account.place) {
            (Some((account, edit)), _) if account == named => edits.push(edit),
            // A host moves to another account only if that account is named.
            (Some((_, edit)), _) if !context.account.is_named && ours.contains(&edit) => {
                edits.push(edit);
            }
            (Some((account, edit)), _) if !ours.contains(&edit) => {
                return Err(refused(account, file).into());
            }
            // An entry in the user's file would replace the whole entry of the machine's file.
            (_, Some(place)) if place != file && !accounts.contains(named) => {
                if context.configuration.owner_of(host) != Some(named) {
                    return Err(SetupError::MachineAccount {
                        name: named.clone(),
                        change: format!("`{host}` added to the hosts of `{named}`"),
                        path: place.to_owned(),
                    }
                    .into());
                }
            }
            _ => edits.push(entry(named, host.to_string())),
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
    match place {
        // With `--config` the one file that is read is also the one that is written.
        Some(place)
            if context.configuration.sources.named.is_none() && *place != context.config =>
        {
            let keys: Vec<_> = values.iter().map(|(key, _)| format!("`{key}`")).collect();
            Err(SetupError::MachineAccount {
                name: name.clone(),
                change: format!("{} of `{name}` set", keys.join(" and ")),
                path: place.to_path_buf(),
            })
        }
        _ => Ok(()),
    }
}

/// The edits that write settings, each a key and a value, into the account's entry.
pub fn entries(
    context: &Context<'_>,
    values: &[(&str, String)],
    view: &mut Plan,
) -> Result<Vec<Edit>, Error> {
    text(context, view)?;
    let entry = |(key, value): &(&str, String)| Edit::Entry {
        file: context.config.clone(),
        syntax: Syntax::Jsonc,
        item: Item {
            path: vec!["accounts".to_owned(), context.account.name.clone()],
            key: Some((*key).to_owned()),
            value: value.clone(),
        },
    };
    Ok(values.iter().map(entry).collect())
}
