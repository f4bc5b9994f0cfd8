//! JSON as a tree of values, each with its place in the text.

use std::borrow::Cow;
use std::ops::Range;

use jsonc_parser::ast::Value;
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
    /// The values in it.
    pub members: Vec<Member>,
}

/// The value of a [`Node`].
#[derive(Eq, PartialEq)]
pub enum Kind {
    Object,
    List,
    Text(String),
    Other,
}

/// A value in another one.
pub struct Member {
    /// Its key; empty in a list.
    pub key: String,
    /// The place of the key and the value.
    pub range: Range<usize>,
    /// The value.
    pub value: Node,
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
        let node = parsed.value.map(Self::from).filter(|node| node.kind == Kind::Object);
        let node = node.ok_or("is not a JSON object")?;
        node.check_keys(syntax, &[])?;
        Ok(node)
    }

    /// The object or list to which these keys lead.
    pub fn at(text: &str, syntax: Syntax, path: &[String]) -> Result<Self, Defect> {
        let mut node = Self::whole(text, syntax)?;
        for (depth, key) in path.iter().enumerate() {
            let path = &path[..=depth];
            let at = node.find(key, syntax).ok_or_else(|| format!("has no {}", shown(path)))?;
            node = node.members.swap_remove(at).value;
            if !matches!(node.kind, Kind::Object | Kind::List) {
                return Err(format!("has {} that is not an object", shown(path)));
            }
            node.check_keys(syntax, path)?;
        }
        Ok(node)
    }

    /// Refuses a duplicate key, since readers differ in which of the two they use.
    fn check_keys(&self, syntax: Syntax, path: &[String]) -> Result<(), Defect> {
        if self.kind != Kind::Object {
            return Ok(());
        }
        for (at, Member { key, .. }) in self.members.iter().enumerate() {
            if self.find(key, syntax) != Some(at) {
                let place =
                    if path.is_empty() { "".into() } else { format!(" in {}", shown(path)) };
                let key = crate::shown::value(key)
                    .map_or("a key".to_owned(), |key| format!("the key `{key}`"));
                return Err(format!("has {key} twice{place}"));
            }
        }
        Ok(())
    }

    /// The number of the member with that key.
    pub fn find(&self, key: &str, syntax: Syntax) -> Option<usize> {
        let is_same = |member: &Member| match syntax {
            Syntax::Json => member.key.eq_ignore_ascii_case(key),
            Syntax::Jsonc => member.key == key,
        };
        self.members.iter().position(is_same).filter(|_| self.kind == Kind::Object)
    }

    /// Its text, if it is a string.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of values, with this one.
    pub fn size(&self) -> usize {
        1 + self.members.iter().map(|member| member.value.size()).sum::<usize>()
    }
}

impl From<Value<'_>> for Node {
    fn from(value: Value<'_>) -> Self {
        let range = value.range().start..value.range().end;
        let member = |key: &str, start: usize, value: Value<'_>| {
            let value = Self::from(value);
            Member { key: key.to_owned(), range: start..value.range.end, value }
        };
        let (kind, members) = match value {
            Value::Object(object) => {
                let members = object.properties.into_iter();
                let members = members.map(|it| member(it.name.as_str(), it.range.start, it.value));
                (Kind::Object, members.collect())
            }
            Value::Array(list) => {
                let members = list.elements.into_iter();
                (Kind::List, members.map(|it| member("", it.range().start, it)).collect())
            }
            Value::StringLit(text) => (Kind::Text(text.value.into_owned()), Vec::new()),
            _ => (Kind::Other, Vec::new()),
        };
        Self { range, kind, members }
    }
}

/// The name of an object or list, for a [`Defect`].
pub fn shown(path: &[String]) -> String {
    format!("a `{}`", path.join("."))
}
