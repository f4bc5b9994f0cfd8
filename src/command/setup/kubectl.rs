//! kubectl: adds a user for contexts to use. It needs no link, since the user contains this program's path.

use super::context::{Context, Inputs};
use super::edit::Edit;
use super::edit::user::User;
use super::plan::Plan;
use crate::command::tool::kubectl::{self, Config};
use crate::error::Error;
use crate::settings::DEFAULT_ACCOUNT;

/// The edits: the user of the account. The users of other accounts that setup has written get this
/// program's current path too.
pub fn edits(inputs: &Inputs<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let command = Context::written(&inputs.context.program)?;
    let mut arguments = vec!["kubernetes".to_owned()];
    let mut name = "astra".to_owned();
    if inputs.context.account.name != DEFAULT_ACCOUNT {
        name = format!("astra-{}", inputs.context.account.name);
        arguments.extend(["--account".to_owned(), inputs.context.account.name.clone()]);
    }
    let file = kubectl::file(inputs.context.env)?;
    let known = inputs.ours.iter().filter_map(|edit| match edit {
        Edit::User(user) => Some(user),
        _ => None,
    });
    let (same, others): (Vec<_>, Vec<_>) =
        known.partition(|user| (&user.file, &user.name) == (&file, &name));
    let recorded = same.first().map(|user| user.api_version.as_str());
    let api_version = inputs.api_version.or(recorded).unwrap_or("v1").to_owned();
    let mut words = same.iter().take(1).flat_map(|user| &user.arguments);
    if inputs.api_version.is_some() || words.any(|word| word == "--api-version") {
        arguments.extend(["--api-version".to_owned(), api_version.clone()]);
    }
    if Config::read(None, view.left())?.contexts_of(&name).is_empty() {
        let command = format!("kubectl config set-context --current --user={name}");
        view.notes.push(format!("remains: `{command}`, in the context that is to use it"));
    }
    let others = others.into_iter().filter(|user| user.file.exists());
    let others = others.map(|user| User { command: command.clone(), ..user.clone() });
    let mut users: Vec<_> = others.map(Edit::User).collect();
    users.push(Edit::User(User { file, name, command, arguments, api_version }));
    Ok(users)
}
