//! JSON as a tree of values, each with its place in the text.

use std::borrow::Cow;
use std::ops::Range;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::{Deserialize, Serialize};

use crate::error::json_defect;
use crate::settings::JSONC;

/// The syntax of the file, as the program that uses the file reads it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syntax {
    /// JSON, with keys in any case, as Docker reads it.
    Json,
    /// JSON with comments and trailing commas, and a byte order mark if there is one.
    Jsonc,
}

/// The byte order mark, with which Windows' editors begin a file.
pub const MARK: char = '\u{feff}';

/// The reason why a text cannot be edited, as a predicate: completes "the file …".
pub type Defect = String;

/// A value and its place in the text.
pub struct Node {
    /// Its place.
    pub range: Range<usize>,
    /// Its value.
    pub kind: Kind,
}

/// The value of a [`Node`].
pub enum Kind {
    /// Each member's key, the place of the key, and the value.
    Object(Vec<(String, usize, Node)>),
    List(Vec<Node>),
    Text(String),
    Other,
}

impl Node {
    /// The document, which must be an object.
    pub fn whole(text: &str, syntax: Syntax) -> Result<Self, Defect> {
        let is_loose = syntax == Syntax::Jsonc;
        if !is_loose {
            // serde_json is as strict as Docker's own reader.
            let read = serde_json::from_str::<serde::de::IgnoredAny>(text);
            read.map_err(|error| format!("is {}", json_defect(&error)))?;
        }
        let options =
            ParseOptions { allow_comments: is_loose, allow_trailing_commas: is_loose, ..JSONC };
        // Blanks of the same length replace a byte order mark, so that the places stay right.
        let text = match text.strip_prefix(MARK) {
            Some(rest) if is_loose => Cow::from(" ".repeat(MARK.len_utf8()) + rest),
            _ => text.into(),
        };
        let parsed = parse_to_ast(&text, &CollectOptions::default(), &options);
        let parsed = parsed.map_err(|error| {
            let (line, column) = (error.line_display(), error.column_display());
            format!("is not JSON at line {line}, column {column}")
        })?;
        let node = parsed.value.map(Self::from).filter(|node| matches!(node.kind, Kind::Object(_)));
        let node = node.ok_or("is not a JSON object")?;
        node.check_keys(syntax, &[])?;
        Ok(node)
    }

    /// The value to which these keys lead.
    pub fn at(text: &str, syntax: Syntax, path: &[String]) -> Result<Self, Defect> {
        let mut node = Self::whole(text, syntax)?;
        for (depth, key) in path.iter().enumerate() {
            let Some((at, _)) = node.find(key, syntax) else {
                return Err(format!("has no {}", shown(&path[..=depth])));
            };
            if let Kind::Object(mut members) = node.kind {
                node = members.swap_remove(at).2;
            } else {
                break;
            }
            if !matches!(node.kind, Kind::Object(_) | Kind::List(_)) {
                return Err(format!("has {} that is not an object", shown(&path[..=depth])));
            }
            node.check_keys(syntax, &path[..=depth])?;
        }
        Ok(node)
    }

    /// Refuses a duplicate key, since readers differ in which of the two they use.
    fn check_keys(&self, syntax: Syntax, path: &[String]) -> Result<(), Defect> {
        let Kind::Object(members) = &self.kind else { return Ok(()) };
        for (at, (key, ..)) in members.iter().enumerate() {
            if members[..at].iter().any(|(other, ..)| syntax.is_same(other, key)) {
                let place =
                    if path.is_empty() { "".into() } else { format!(" in {}", shown(path)) };
                let key = crate::shown::value(key)
                    .map_or("a key".to_owned(), |key| format!("the key `{key}`"));
                return Err(format!("has {key} twice{place}"));
            }
        }
        Ok(())
    }

    /// The place of a member among the members, and its value.
    pub fn find(&self, key: &str, syntax: Syntax) -> Option<(usize, &Node)> {
        let Kind::Object(members) = &self.kind else { return None };
        let at = members.iter().position(|(name, ..)| syntax.is_same(name, key))?;
        Some((at, &members[at].2))
    }

    /// True for this string.
    pub fn is_text(&self, value: &str) -> bool {
        matches!(&self.kind, Kind::Text(text) if text == value)
    }

    /// The place and the key of each item.
    pub fn items(&self) -> Vec<Range<usize>> {
        match &self.kind {
            Kind::Object(members) => {
                members.iter().map(|(_, start, node)| *start..node.range.end).collect()
            }
            Kind::List(items) => items.iter().map(|node| node.range.clone()).collect(),
            Kind::Text(_) | Kind::Other => Vec::new(),
        }
    }

    /// The values in this one.
    pub fn values(&self) -> impl Iterator<Item = &Self> {
        let (members, items): (&[_], &[_]) = match &self.kind {
            Kind::Object(members) => (members, &[]),
            Kind::List(items) => (&[], items),
            Kind::Text(_) | Kind::Other => (&[], &[]),
        };
        members.iter().map(|(.., value): &(String, usize, Self)| value).chain(items)
    }

    /// The number of values, with this one.
    pub fn size(&self) -> usize {
        1 + self.values().map(Self::size).sum::<usize>()
    }
}

impl From<Value<'_>> for Node {
    fn from(value: Value<'_>) -> Self {
        let range = value.range().start..value.range().end;
        let kind = match value {
            Value::Object(object) => {
                let members = object.properties.into_iter().map(|member| {
                    let start = member.range.start;
                    let key = match member.name {
                        ObjectPropName::String(name) => name.value.into_owned(),
                        ObjectPropName::Word(name) => name.value.to_owned(),
                    };
                    (key, start, Self::from(member.value))
                });
                Kind::Object(members.collect())
            }
            Value::Array(list) => Kind::List(list.elements.into_iter().map(Self::from).collect()),
            Value::StringLit(text) => Kind::Text(text.value.into_owned()),
            Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => Kind::Other,
        };
        Self { range, kind }
    }
}

impl Syntax {
    fn is_same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Json => one.eq_ignore_ascii_case(other),
            Self::Jsonc => one == other,
        }
    }
}

/// The name of an object or list, for a [`Defect`].
pub fn shown(path: &[String]) -> String {
    format!("a `{}`", path.join("."))
}
