//! Docker's `config.json`: <https://docs.docker.com/reference/cli/docker/login/#credential-helpers>.
//!
//! The text is edited, not the value: whatever else is in the file keeps its bytes. Docker's own
//! reader takes keys in any case, and so it is done here.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Plan, Surroundings, Tool, link, record};
use crate::error::{Error, json_defect};

const KEY: &str = "credHelpers";

/// The name by which Docker knows the helper `docker-credential-astra`.
const HELPER: &str = "astra";

/// What was done to the file.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// The file.
    pub file: PathBuf,
    hosts: Vec<String>,
    made: Made,
}

/// What had to be made around the entries; each includes those before it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Made {
    Entries,
    Key,
    Document,
    File,
}

/// Plans to set Docker up.
pub fn plan(around: &Surroundings<'_>, plan: &mut Plan) -> Result<(), Error> {
    link::plan_on_path(Tool::Docker, "docker-credential-astra", around, plan)?;
    let folder = around
        .path_in("DOCKER_CONFIG")
        .map_or_else(|| around.home().map(|home| home.join(".docker")), Ok)?;
    let file = folder.join("config.json");
    let hosts: Vec<_> = around.hosts.iter().map(ToString::to_string).collect();
    let text = plan.text(&file)?;
    let added = add(text.as_deref(), &hosts).map_err(|refusal| match refusal {
        Refusal::Defect(defect) => Error::Unparsable { path: file.clone(), defect },
        Refusal::Taken(problem) => {
            Error::Taken { path: file.clone(), problem, tool: Tool::Docker.name() }
        }
    })?;
    let Added { text: after, hosts, made } = added;
    *text = after.or(text.take());
    if !hosts.is_empty() {
        plan.changes.push(record::Change::Docker(Change { file, hosts, made }));
    }
    around.note_exports(plan)
}

impl Change {
    /// Plans to take the entries out again, and what was made around them; `false` when they are not
    /// there any more.
    pub fn undo(&self, plan: &mut Plan) -> Result<bool, Error> {
        let text = plan.text(&self.file)?;
        let Some(before) = text else {
            return Ok(false);
        };
        let after = remove(before, &self.hosts, self.made).map_err(|error| Error::Unparsable {
            path: self.file.clone(),
            defect: defect(&error),
        })?;
        let is_changed = after != *before;
        *text = Some(after).filter(|after| self.made < Made::File || !after.is_empty());
        Ok(is_changed)
    }
}

struct Added {
    text: Option<String>,
    hosts: Vec<String>,
    made: Made,
}

/// Why entries cannot be added.
#[derive(Debug)]
enum Refusal {
    Defect(String),
    Taken(String),
}

fn defect(error: &serde_json::Error) -> String {
    match error.is_data() {
        true => "is not a JSON object with each key once".to_owned(),
        false => format!("is {}", json_defect(error)),
    }
}

/// Adds an entry for each host that has none.
fn add(text: Option<&str>, hosts: &[String]) -> Result<Added, Refusal> {
    let refused = |error: serde_json::Error| Refusal::Defect(defect(&error));
    let (mut after, mut made) = match text {
        Some(text) if !text.trim_ascii().is_empty() => (text.to_owned(), Made::Entries),
        Some(blank) => (format!("{SKELETON}{blank}"), Made::Document),
        None => (SKELETON.to_owned(), Made::File),
    };
    let document = Object::whole(&after).map_err(refused)?;
    let unit = document.unit(&after);
    if document.find(KEY).is_none() {
        let between = document.between(&after, &unit);
        let value = if between.contains('\n') { format!("{{{between}}}") } else { "{}".to_owned() };
        document.insert(&mut after, KEY, &value, &unit);
        made = if made < Made::Key { Made::Key } else { made };
    }
    let mut added = Vec::new();
    for host in hosts {
        let helpers = helpers(&after).map_err(Refusal::Defect)?;
        match helpers.find(host) {
            None => {
                helpers.insert(&mut after, host, &format!("\"{HELPER}\""), &unit);
                added.push(host.clone());
            }
            Some(at) if helpers.is_helper(&after, at) => {}
            Some(at) => {
                let other = &after[helpers.members[at].value.clone()];
                return Err(Refusal::Taken(format!("names {other} for `{host}`")));
            }
        }
    }
    let text = (!added.is_empty()).then_some(after);
    Ok(Added { text, hosts: added, made })
}

/// A document that will be filled; it ends in a line's end as files do.
const SKELETON: &str = "{\n}\n";

/// Removes the entries that are still ours, and what was made around them if nothing else is in it.
fn remove(text: &str, hosts: &[String], made: Made) -> serde_json::Result<String> {
    let mut after = text.to_owned();
    Object::whole(&after)?;
    for host in hosts {
        let Ok(helpers) = helpers(&after) else { break };
        if let Some(at) = helpers.find(host).filter(|at| helpers.is_helper(&after, *at)) {
            helpers.remove(&mut after, at);
        }
    }
    if made >= Made::Key && after != text && helpers(&after).is_ok_and(|found| found.is_empty()) {
        let document = Object::whole(&after)?;
        if let Some(at) = document.find(KEY) {
            document.remove(&mut after, at);
        }
    }
    let document = Object::whole(&after)?;
    if made >= Made::Document && after != text && document.is_empty() {
        let end = document.range.end;
        let end = if after[end..].starts_with('\n') { end + 1 } else { end };
        after.replace_range(document.range.start..end, "");
    }
    Ok(after)
}

/// The object of the helpers; the error completes "the file …".
fn helpers(text: &str) -> Result<Object, String> {
    let document = Object::whole(text).map_err(|error| defect(&error))?;
    let Some(at) = document.find(KEY) else {
        return Err(format!("has no `{KEY}`"));
    };
    let member = &document.members[at];
    Object::at(text, member.value.clone())
        .map_err(|_| format!("has a `{KEY}` that is not a JSON object with each key once"))
}

/// Where an object and its members lie in a text.
struct Object {
    range: Range<usize>,
    members: Vec<Member>,
}

struct Member {
    key: String,
    value: Range<usize>,
}

impl Object {
    fn whole(text: &str) -> serde_json::Result<Self> {
        let start = text.len() - text.trim_ascii_start().len();
        Self::at(text, start..text.trim_ascii_end().len())
    }

    fn at(text: &str, range: Range<usize>) -> serde_json::Result<Self> {
        let Members(members) = serde_json::from_str(&text[range.clone()])?;
        let start = text.as_ptr().addr();
        let place = |value: &RawValue| {
            let from = value.get().as_ptr().addr() - start;
            from..from + value.get().len()
        };
        let members = members.into_iter();
        let members = members.map(|(key, value)| Member { key, value: place(value) });
        Ok(Self { range, members: members.collect() })
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.members.iter().position(|member| member.key.eq_ignore_ascii_case(key))
    }

    fn is_helper(&self, text: &str, at: usize) -> bool {
        let value: Option<String> =
            serde_json::from_str(&text[self.members[at].value.clone()]).ok();
        value.as_deref() == Some(HELPER)
    }

    /// What stands before the first member, or all that stands in an empty object.
    fn separator<'a>(&self, text: &'a str) -> &'a str {
        let inside = &text[self.range.start + 1..];
        &inside[..inside.len() - inside.trim_ascii_start().len()]
    }

    /// By how much the members of a whole document are indented.
    fn unit(&self, text: &str) -> String {
        let indent = self.separator(text).rsplit('\n').next().unwrap_or_default();
        if self.is_empty() || indent.is_empty() { "\t".to_owned() } else { indent.to_owned() }
    }

    /// What is to stand before a member that is added.
    fn between(&self, text: &str, unit: &str) -> String {
        match self.separator(text) {
            inside if !self.is_empty() => inside.to_owned(),
            inside if inside.contains('\n') => format!("{inside}{unit}"),
            _ => String::new(),
        }
    }

    /// Adds a member behind the last one, in the manner of the others.
    fn insert(&self, text: &mut String, key: &str, value: &str, unit: &str) {
        let between = self.between(text, unit);
        let (at, comma) = match self.members.last() {
            Some(last) => (last.value.end, ","),
            None => (self.range.start + 1, ""),
        };
        text.insert_str(at, &format!("{comma}{between}\"{key}\": {value}"));
    }

    /// The reverse of [`Self::insert`] when it is the last.
    fn remove(&self, text: &mut String, at: usize) {
        let end = self.members[at].value.end;
        let range = match at.checked_sub(1) {
            Some(previous) => self.members[previous].value.end..end,
            None if self.members.len() == 1 => self.range.start + 1..end,
            // Only white space stands before the comma.
            None => self.range.start + 1..end + text[end..].find(',').map_or(0, |comma| comma + 1),
        };
        text.replace_range(range, "");
    }
}

/// An object's members as they stand; a key that is there twice is refused, since readers differ.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, _>()? {
                    if members.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
                        return Err(serde::de::Error::duplicate_field("key"));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn added(text: &str) -> String {
        match add(Some(text), &["h:5000".to_owned(), "i".to_owned()]) {
            Ok(added) => {
                let after = added.text.clone().unwrap_or(text.to_owned());
                assert_eq!(remove(&after, &added.hosts, added.made).unwrap(), text);
                serde_json::from_str::<serde_json::Value>(&after).unwrap();
                after
            }
            Err(refusal) => format!("{refusal:?}"),
        }
    }

    #[test]
    fn entries_are_added_in_the_files_own_manner() {
        let texts = [
            "",
            "\n",
            "{}",
            "{\n}\n",
            "{\"a\":1}",
            "{ \"a\": [1, {}] }",
            "{\r\n  \"a\": \"}\\\"\"\r\n}",
            "{\n    \"credHelpers\": {\"x\": \"y\"},\n    \"b\": {}\n}\n",
            "{\n\t\"CredHelpers\": {\n\t\t\"i\": \"astra\"\n\t}\n}",
            "{\"credHelpers\": {}}",
            "{\"credHelpers\": {\"i\": \"other\"}}",
            "{\"credHelpers\": null}",
            "{\"a\":1,\"A\":2}",
            "{\"a\":1,}",
            "// no\n{}",
            "[]",
        ];
        let table: Vec<_> = texts.map(|text| format!("{text:?}\n  {:?}", added(text))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        ""
          "{\n\t\"credHelpers\": {\n\t\t\"h:5000\": \"astra\",\n\t\t\"i\": \"astra\"\n\t}\n}\n"
        "\n"
          "{\n\t\"credHelpers\": {\n\t\t\"h:5000\": \"astra\",\n\t\t\"i\": \"astra\"\n\t}\n}\n\n"
        "{}"
          "{\"credHelpers\": {\"h:5000\": \"astra\",\"i\": \"astra\"}}"
        "{\n}\n"
          "{\n\t\"credHelpers\": {\n\t\t\"h:5000\": \"astra\",\n\t\t\"i\": \"astra\"\n\t}\n}\n"
        "{\"a\":1}"
          "{\"a\":1,\"credHelpers\": {\"h:5000\": \"astra\",\"i\": \"astra\"}}"
        "{ \"a\": [1, {}] }"
          "{ \"a\": [1, {}], \"credHelpers\": {\"h:5000\": \"astra\",\"i\": \"astra\"} }"
        "{\r\n  \"a\": \"}\\\"\"\r\n}"
          "{\r\n  \"a\": \"}\\\"\",\r\n  \"credHelpers\": {\r\n    \"h:5000\": \"astra\",\r\n    \"i\": \"astra\"\r\n  }\r\n}"
        "{\n    \"credHelpers\": {\"x\": \"y\"},\n    \"b\": {}\n}\n"
          "{\n    \"credHelpers\": {\"x\": \"y\",\"h:5000\": \"astra\",\"i\": \"astra\"},\n    \"b\": {}\n}\n"
        "{\n\t\"CredHelpers\": {\n\t\t\"i\": \"astra\"\n\t}\n}"
          "{\n\t\"CredHelpers\": {\n\t\t\"i\": \"astra\",\n\t\t\"h:5000\": \"astra\"\n\t}\n}"
        "{\"credHelpers\": {}}"
          "{\"credHelpers\": {\"h:5000\": \"astra\",\"i\": \"astra\"}}"
        "{\"credHelpers\": {\"i\": \"other\"}}"
          "Taken(\"names \\\"other\\\" for `i`\")"
        "{\"credHelpers\": null}"
          "Defect(\"has a `credHelpers` that is not a JSON object with each key once\")"
        "{\"a\":1,\"A\":2}"
          "Defect(\"is not a JSON object with each key once\")"
        "{\"a\":1,}"
          "Defect(\"is not JSON at line 1, column 8\")"
        "// no\n{}"
          "Defect(\"is not JSON at line 1, column 1\")"
        "[]"
          "Defect(\"is not a JSON object with each key once\")"
        "#);
    }

    #[test]
    fn what_docker_has_rewritten_is_found_all_the_same() {
        let Ok(Added { text, hosts, made }) = add(None, &["h".to_owned()]) else { unreachable!() };
        let text = text.unwrap();
        assert_eq!(remove(&text, &hosts, made).unwrap(), "");
        let rewritten = text.replace("{\n\t\"c", "{\n\t\"auths\": {},\n\t\"c");
        assert_eq!(remove(&rewritten, &hosts, made).unwrap(), "{\n\t\"auths\": {}\n}\n");
        let changed = text.replace("astra", "other");
        assert_eq!(remove(&changed, &hosts, made).unwrap(), changed);
    }

    proptest! {
        #[test]
        fn any_object_comes_back_byte_for_byte(
            keys in prop::collection::vec(("[a-c]{1,3}", "[0-9\\[]{1,2}"), 0..4),
            space in "[ \n\t\r]{0,3}",
        ) {
            let members: Vec<_> = keys.iter().map(|(k, v)| {
                format!("{space}\"{k}\"{space}:{space}\"{v}\"{space}")
            }).collect();
            let inside = if members.is_empty() { space.clone() } else { members.join(",") };
            let text = format!("{space}{{{inside}}}{space}");
            if let Ok(done) = add(Some(&text), &["h".to_owned(), "i".to_owned()]) {
                prop_assert_eq!(remove(&done.text.unwrap(), &done.hosts, done.made).unwrap(), text);
            }
        }
    }
}
