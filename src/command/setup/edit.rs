//! An edit: one change that setup makes. It can be staged in a [`Plan`], found again and reverted.

pub mod block;
pub mod json;
pub mod user;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::block::Block;
use self::json::{Added, Item, Syntax};
use self::user::User;
use super::file;
use super::plan::Plan;
use crate::error::{Error, SetupError};
use crate::shown::{Escaped, NOT_SHOWN, quoted};

/// One change that setup makes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// A link.
    Link {
        /// The link.
        at: PathBuf,
        /// The file to which it leads.
        to: PathBuf,
    },
    /// Lines in a file that are added at its end.
    Block(Block),
    /// An entry in a JSON file.
    Entry {
        /// The file.
        file: PathBuf,
        /// The syntax of the file.
        syntax: Syntax,
        /// The entry.
        item: Item,
    },
    /// A user in a kubeconfig.
    User(User),
}

/// An object that setup created for an edit, and removes again if it is empty.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Made {
    /// A folder.
    Folder(PathBuf),
    /// A file.
    File(PathBuf),
    /// An object or list in a JSON file; the document itself at an empty path.
    Object {
        /// The file.
        file: PathBuf,
        /// The syntax of the file.
        syntax: Syntax,
        /// The keys that lead there.
        path: Vec<String>,
    },
}

impl Edit {
    /// The file or link.
    pub fn place(&self) -> &Path {
        match self {
            Self::Link { at, .. } => at,
            Self::Entry { file, .. } => file,
            Self::Block(block) => &block.file,
            Self::User(user) => &user.file,
        }
    }

    /// The name of the edit in the tool's configuration: that of a host or of a user.
    pub fn name(&self) -> &str {
        match self {
            Self::Link { .. } => "",
            Self::Block(block) => &block.name,
            Self::Entry { item, .. } => item.key.as_deref().unwrap_or(&item.value),
            Self::User(user) => &user.name,
        }
    }

    /// True if both edits are for the same place, so that only one can be done.
    pub fn is_for_the_place_of(&self, other: &Self) -> bool {
        let is_alike = match (self, other) {
            (Self::Entry { item, .. }, Self::Entry { item: other, .. }) => {
                // A host may be in only one list of the file.
                item.key == other.key && (item.key.is_none() || item.path == other.path)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        };
        is_alike && self.place() == other.place() && self.name() == other.name()
    }

    /// True if it is done.
    pub fn is_done(&self, plan: &mut Plan) -> Result<bool, Error> {
        Ok(match self {
            Self::Link { at, to } => plan.has_link(at, to),
            Self::Block(block) => {
                block.is_in(plan.file(&block.file)?.as_deref().unwrap_or_default())
            }
            Self::Entry { file, syntax, item } => json::has(&plan.text(file)?, *syntax, item),
            Self::User(user) => user.in_file(plan)?.is_some(),
        })
    }

    /// Stages it. `old` is an earlier edit of setup that is done, and that it replaces. Returns the objects that
    /// have to be created for it, outermost first; `None` if the user has made the same change already.
    ///
    /// # Errors
    /// Its place has another content.
    pub fn apply(&self, old: Option<&Self>, plan: &mut Plan) -> Result<Option<Vec<Made>>, Error> {
        // kubectl's command replaces an earlier user itself.
        if let Some(old) = old.filter(|_| !matches!(self, Self::User(_))) {
            old.revert(plan)?;
        }
        let taken = |problem| SetupError::Taken { path: self.place().to_owned(), problem };
        let mut made = Vec::new();
        match self {
            Self::Link { at, to } if plan.is_taken(at) => {
                return match file::leads_to(at, to) {
                    true => Ok(None),
                    false => Err(taken("is there and leads elsewhere".to_owned()).into()),
                };
            }
            Self::Link { at, to } => plan.link(at, Some(to)),
            Self::Block(block) => {
                let content = plan.file(&block.file)?;
                made.extend(content.is_none().then(|| Made::File(block.file.clone())));
                block.append(content.get_or_insert_default());
            }
            Self::Entry { file, syntax, item } => {
                made.extend(plan.file(file)?.is_none().then(|| Made::File(file.clone())));
                let made_from = match plan.edit(file, |text| json::add(text, *syntax, item))? {
                    Added::New(made_from) => made_from,
                    Added::Same => return Ok(None),
                    Added::Other(other) => {
                        let other = other.map_or(NOT_SHOWN.to_owned(), |other| quoted(&other));
                        let name = Escaped(item.key.as_deref().unwrap_or_default());
                        return Err(taken(format!("names {other} for `{name}`")).into());
                    }
                };
                made.extend((made_from..=item.path.len()).map(|depth| Made::Object {
                    file: file.clone(),
                    syntax: *syntax,
                    path: item.path[..depth].into(),
                }));
            }
            Self::User(user) => match user.found(plan)? {
                Some(true) => return Ok(None),
                Some(false) if old.is_none() => {
                    return Err(taken(format!("has another user `{}`", user.name)).into());
                }
                _ => {
                    made.extend((!user.file.exists()).then(|| Made::File(user.file.clone())));
                    user.stage(plan);
                }
            },
        }
        Ok(Some(made))
    }

    /// Stages its removal. Returns `false` if it is missing or was changed.
    pub fn revert(&self, plan: &mut Plan) -> Result<bool, Error> {
        match self {
            Self::Link { at, to } => {
                let is_there = plan.has_link(at, to);
                if is_there {
                    plan.link(at, None);
                }
                Ok(is_there)
            }
            Self::Block(block) => {
                Ok(plan.file(&block.file)?.as_mut().is_some_and(|content| block.cut(content)))
            }
            Self::Entry { file, syntax, item } => {
                plan.edit(file, |text| json::remove(text, *syntax, item))
            }
            Self::User(user) => user.revert(plan),
        }
    }
}

impl Made {
    /// True if it still exists.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Folder(path) | Self::File(path) => path.exists(),
            Self::Object { file, syntax, path } => {
                let content = file::read(file).ok().flatten().unwrap_or_default();
                json::has_object(&String::from_utf8_lossy(&content), *syntax, path)
            }
        }
    }

    /// Stages its removal if it is empty after the other edits, in files that the plan changes. Folders are
    /// removed elsewhere.
    pub fn tidy(&self, plan: &mut Plan) -> Result<(), Error> {
        match self {
            Self::Object { file, syntax, path } if plan.touches(file) => plan.edit(file, |text| {
                json::remove_empty(text, *syntax, path);
                Ok(())
            }),
            Self::File(file) if plan.touches(file) => {
                let content = plan.file(file)?;
                *content = content.take().filter(|content| !content.is_empty());
                Ok(())
            }
            Self::Folder(_) | Self::File(_) | Self::Object { .. } => Ok(()),
        }
    }
}
