//! Reads the record in the form of version 0.1, which listed changes of tools instead of edits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::command::setup::edit::json::{Item, Syntax};
use crate::command::setup::edit::user::User;
use crate::command::setup::edit::{Edit, Made};

/// The content of a record, with its changes converted to edits.
pub struct Content {
    /// The objects that setup created.
    pub made: Vec<Made>,
    /// The edits under each name.
    pub done: BTreeMap<String, Vec<Edit>>,
}

#[derive(Deserialize)]
struct Old {
    folders: Vec<PathBuf>,
    done: BTreeMap<String, Vec<Change>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Link { at: PathBuf, to: PathBuf },
    Lines { file: PathBuf, added: String, is_new: bool },
    Docker { file: PathBuf, hosts: Vec<String>, made: DockerMade },
    Git { file: PathBuf, key: String, value: String, is_new: bool, length: Option<u64> },
    Kubectl { file: PathBuf, command: String, arguments: Vec<String>, is_new: bool },
}

#[derive(Deserialize, Eq, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
enum DockerMade {
    Entries,
    Key,
    Document,
    File,
}

/// Reads a record; `None` if it does not have the old form.
pub fn read(content: &[u8]) -> Option<Content> {
    let Old { folders, done } = serde_json::from_slice(content).ok()?;
    let mut made: Vec<_> = folders.into_iter().map(Made::Folder).collect();
    let mut edits = |changes: Vec<Change>| {
        changes.into_iter().flat_map(|change| change.edits(&mut made)).collect()
    };
    let done = done.into_iter().map(|(name, changes)| (name, edits(changes))).collect();
    Some(Content { made, done })
}

impl Change {
    fn edits(self, created: &mut Vec<Made>) -> Vec<Edit> {
        let mut make = |file: &PathBuf, is_new: bool| {
            if is_new {
                created.push(Made::File(file.clone()));
            }
        };
        match self {
            Self::Link { at, to } => vec![Edit::Link { at, to }],
            Self::Lines { file, added, is_new } => {
                make(&file, is_new);
                let body = added.trim_matches(['\r', '\n']).replace("\r\n", "\n");
                let name = body.split('=').nth(1).filter(|_| body.starts_with("common"));
                let name = name.unwrap_or_default().to_owned();
                vec![Edit::Block { file, name, head: String::new(), body }]
            }
            Self::Docker { file, hosts, made } => {
                make(&file, made == DockerMade::File);
                let path = vec!["credHelpers".to_owned()];
                let depths = [DockerMade::Document, DockerMade::Key].into_iter().zip(0..);
                for (_, depth) in depths.filter(|(least, _)| made >= *least) {
                    let path = path[..depth].into();
                    created.push(Made::Object { file: file.clone(), syntax: Syntax::Json, path });
                }
                let entry = |host| {
                    let (path, key) = (path.clone(), Some(host));
                    let item = Item { path, key, value: "astra".to_owned() };
                    Edit::Entry { file: file.clone(), syntax: Syntax::Json, item }
                };
                hosts.into_iter().map(entry).collect()
            }
            Self::Git { file, key, value, is_new, length } => {
                make(&file, is_new);
                let url = key.trim_start_matches("credential.").trim_end_matches(".helper");
                let name = url.trim_start_matches("https://").to_owned();
                // git has ended the last line.
                let start = if length.is_some() { "\n" } else { "" };
                let head = format!("{start}[credential \"{url}\"]");
                let escaped = value.replace('\\', r"\\").replace('"', "\\\"");
                let value = match value.contains(['#', ';']) {
                    true => format!("\"{escaped}\""),
                    false => escaped,
                };
                vec![Edit::Block { file, name, head, body: format!("\thelper = {value}") }]
            }
            Self::Kubectl { file, command, arguments, is_new } => {
                make(&file, is_new);
                let (name, api_version) = ("astra".to_owned(), "v1".to_owned());
                vec![Edit::User(User { file, name, command, arguments, api_version })]
            }
        }
    }
}
