//! Edits JSON as text. A new item gets the layout of its neighbours, no other byte changes, and removing
//! the item restores the text.

mod layout;
mod node;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::layout::unit;
use self::node::{Defect, Kind, MARK, Node, shown};
pub use self::node::{Member, Syntax};

/// An item of an object or a list, and the keys that lead there from the top.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Item {
    /// The keys of the objects around the item.
    pub path: Vec<String>,
    /// The item's key; `None` in a list.
    pub key: Option<String>,
    /// The item's value, a string.
    pub value: String,
}

/// The result of adding an item.
#[derive(Debug, Eq, PartialEq)]
pub enum Added {
    /// It was added, with the objects around it from this depth on. 0 is the document. The depth is larger than
    /// the path's length if no object was added.
    New(usize),
    /// It was there already.
    Same,
    /// Its key has another value, which is given if it is a string.
    Other(Option<String>),
}

/// A document without content. It ends with a line end, as files do.
const SKELETON: &str = "{\n}\n";

/// Adds an item, and the document and objects that it needs.
pub fn add(text: &mut String, syntax: Syntax, item: &Item) -> Result<Added, Defect> {
    let Item { path, key, value } = item;
    let mut made_from = path.len() + 1;
    if text.trim_ascii().is_empty() {
        text.insert_str(0, SKELETON);
        made_from = 0;
    }
    let unit = unit(text, &Node::whole(text, syntax)?).unwrap_or("\t").to_owned();
    let is_not = |path, what| Err(format!("has {} that is not {what}", shown(path)));
    for (depth, name) in path.iter().enumerate() {
        let around = Node::at(text, syntax, &path[..depth])?;
        if around.find(name, syntax).is_some() {
            continue;
        }
        if around.kind != Kind::Object {
            return is_not(&path[..depth], "an object");
        }
        let is_list = key.is_none() && depth + 1 == path.len();
        let value = if is_list { "[]".to_owned() } else { around.new_object(text, &unit) };
        around.insert(text, &format!("{}: {value}", quoted(name)), &unit);
        made_from = made_from.min(depth + 1);
    }
    let around = Node::at(text, syntax, path)?;
    let written = match (&around.kind, key) {
        (Kind::List, None) => quoted(value),
        (Kind::Object, Some(key)) => format!("{}: {}", quoted(key), quoted(value)),
        (_, None) => return is_not(path, "a list"),
        (_, Some(_)) => return is_not(path, "an object"),
    };
    if position(&around, item, syntax).is_some() {
        return Ok(Added::Same);
    }
    let other = key.as_ref().and_then(|key| around.find(key, syntax));
    if let Some(at) = other {
        return Ok(Added::Other(around.members[at].value.text().map(str::to_owned)));
    }
    around.insert(text, &written, &unit);
    Ok(Added::New(made_from))
}

/// True if the text has the item.
pub fn has(text: &str, syntax: Syntax, item: &Item) -> bool {
    Node::at(text, syntax, &item.path).is_ok_and(|around| position(&around, item, syntax).is_some())
}

/// True if the text has an object or list at `path`.
pub fn has_object(text: &str, syntax: Syntax, path: &[String]) -> bool {
    Node::at(text, syntax, path).is_ok()
}

/// Removes an item. Returns `false` if it is missing or has another value.
pub fn remove(text: &mut String, syntax: Syntax, item: &Item) -> Result<bool, Defect> {
    check(text, syntax)?;
    let Ok(around) = Node::at(text, syntax, &item.path) else { return Ok(false) };
    let Some(at) = position(&around, item, syntax) else { return Ok(false) };
    around.cut(text, syntax, at);
    Ok(true)
}

/// Removes the object, list or document at `path` if it is empty.
pub fn remove_empty(text: &mut String, syntax: Syntax, path: &[String]) {
    let Ok(node) = Node::at(text, syntax, path) else { return };
    let Range { start, end } = node.range;
    if !node.members.is_empty() || !text[start + 1..end - 1].trim_ascii().is_empty() {
        return;
    }
    let Some((key, above)) = path.split_last() else {
        // The line end of the skeleton is removed too, and a byte order mark that was added since.
        let start = text[..start].strip_suffix(MARK).map_or(start, str::len);
        let end = if text[end..].starts_with('\n') { end + 1 } else { end };
        return text.replace_range(start..end, "");
    };
    if let Ok(around) = Node::at(text, syntax, above)
        && let Some(at) = around.find(key, syntax)
    {
        around.cut(text, syntax, at);
    }
}

/// The values in the object or list at `path`; none if there is neither.
pub fn members(text: &str, syntax: Syntax, path: &[String]) -> Vec<Member> {
    Node::at(text, syntax, path).map(|node| node.members).unwrap_or_default()
}

/// The error of a text that is not JSON, as a predicate: completes "the file …".
pub fn check(text: &str, syntax: Syntax) -> Result<(), Defect> {
    if text.trim_ascii().is_empty() { Ok(()) } else { Node::whole(text, syntax).map(drop) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The number of an item among those of the object or list around it.
fn position(around: &Node, item: &Item, syntax: Syntax) -> Option<usize> {
    let is_it = |member: &Member| member.value.text() == Some(&item.value);
    match &item.key {
        Some(key) => around.find(key, syntax).filter(|at| is_it(&around.members[*at])),
        None => around.members.iter().position(is_it).filter(|_| around.kind == Kind::List),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(key: &str) -> Item {
        let path = vec!["credHelpers".to_owned()];
        Item { path, key: Some(key.to_owned()), value: "astra".to_owned() }
    }

    fn element(host: &str) -> Item {
        let path = ["accounts", "prod", "hosts"].map(str::to_owned).into();
        Item { path, key: None, value: host.to_owned() }
    }

    /// Adds the items, and checks that removing them restores the text.
    fn there_and_back(text: &str, syntax: Syntax, items: &[Item]) -> String {
        let mut after = text.to_owned();
        let mut done = Vec::new();
        for item in items {
            match add(&mut after, syntax, item) {
                Ok(Added::New(made_from)) => done.push((item, made_from)),
                Ok(Added::Same) => {}
                Ok(Added::Other(other)) => return format!("Other({other:?})"),
                Err(defect) => return format!("Err({defect})"),
            }
            assert!(has(&after, syntax, item), "{after}");
        }
        let mut before = after.clone();
        for (item, made_from) in done.into_iter().rev() {
            assert_eq!(remove(&mut before, syntax, item), Ok(true), "{before}");
            for depth in (made_from..=item.path.len()).rev() {
                remove_empty(&mut before, syntax, &item.path[..depth]);
            }
        }
        assert_eq!(before, text, "{after}");
        after
    }

    #[test]
    fn entries_get_the_layout_of_their_neighbours() {
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
        let items = [member("h:5000"), member("i")];
        let table: Vec<_> = texts
            .map(|text| format!("{text:?}\n  {:?}", there_and_back(text, Syntax::Json, &items)))
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        ""
          "{\n\t\"credHelpers\": {\n\t\t\"h:5000\": \"astra\",\n\t\t\"i\": \"astra\"\n\t}\n}\n"
        "\n"
          "{\n\t\"credHelpers\": {\n\t\t\"h:5000\": \"astra\",\n\t\t\"i\": \"astra\"\n\t}\n}\n\n"
        "{}"
          "{\"credHelpers\": {\"h:5000\": \"astra\", \"i\": \"astra\"}}"
        "{\n}\n"
          "{\n\t\"credHelpers\": {\n\t\t\"h:5000\": \"astra\",\n\t\t\"i\": \"astra\"\n\t}\n}\n"
        "{\"a\":1}"
          "{\"a\":1,\"credHelpers\": {\"h:5000\": \"astra\", \"i\": \"astra\"}}"
        "{ \"a\": [1, {}] }"
          "{ \"a\": [1, {}], \"credHelpers\": { \"h:5000\": \"astra\", \"i\": \"astra\" } }"
        "{\r\n  \"a\": \"}\\\"\"\r\n}"
          "{\r\n  \"a\": \"}\\\"\",\r\n  \"credHelpers\": {\r\n    \"h:5000\": \"astra\",\r\n    \"i\": \"astra\"\r\n  }\r\n}"
        "{\n    \"credHelpers\": {\"x\": \"y\"},\n    \"b\": {}\n}\n"
          "{\n    \"credHelpers\": {\"x\": \"y\", \"h:5000\": \"astra\", \"i\": \"astra\"},\n    \"b\": {}\n}\n"
        "{\n\t\"CredHelpers\": {\n\t\t\"i\": \"astra\"\n\t}\n}"
          "{\n\t\"CredHelpers\": {\n\t\t\"i\": \"astra\",\n\t\t\"h:5000\": \"astra\"\n\t}\n}"
        "{\"credHelpers\": {}}"
          "{\"credHelpers\": {\"h:5000\": \"astra\", \"i\": \"astra\"}}"
        "{\"credHelpers\": {\"i\": \"other\"}}"
          "Other(Some(\"other\"))"
        "{\"credHelpers\": null}"
          "Err(has a `credHelpers` that is not an object)"
        "{\"a\":1,\"A\":2}"
          "Err(has the key `A` twice)"
        "{\"a\":1,}"
          "Err(is not JSON at line 1, column 8)"
        "// no\n{}"
          "Err(is not JSON at line 1, column 1)"
        "[]"
          "Err(is not a JSON object)"
        "#);
    }

    #[test]
    fn a_new_object_has_the_layout_of_the_objects_beside_it() {
        let texts = [
            "{\n  \"accounts\": {\n    \"default\": { \"hosts\": [\"a\"] }\n  }\n}\n",
            "{\n  \"accounts\": {\n    \"default\": {\"hosts\": [\"a\"]},\n  },\n}\n",
            "{ \"accounts\": { \"default\": { \"hosts\": [\"a\"] } } }\n",
            "{ \"accounts\": {\n    \"a\": {},\n    \"default\": {\n      \"hosts\": []\n    }\n  }\n}\n",
            "{\"accounts\": {\n    \"default\": {\n        \"hosts\": []\n    }\n}}\n",
            "{\n \"accounts\": { }\n}\n",
            "{\n  \"accounts\": { \"default\": {} // mine\n  }\n}\n",
        ];
        let items = [element("h"), member("i"), member("j")];
        let table: Vec<_> = texts
            .map(|text| format!("{text}=>\n{}", there_and_back(text, Syntax::Jsonc, &items)))
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        {
          "accounts": {
            "default": { "hosts": ["a"] }
          }
        }
        =>
        {
          "accounts": {
            "default": { "hosts": ["a"] },
            "prod": { "hosts": ["h"] }
          },
          "credHelpers": {
            "i": "astra",
            "j": "astra"
          }
        }

        {
          "accounts": {
            "default": {"hosts": ["a"]},
          },
        }
        =>
        {
          "accounts": {
            "default": {"hosts": ["a"]},
            "prod": {"hosts": ["h"]},
          },
          "credHelpers": {
            "i": "astra",
            "j": "astra"
          },
        }

        { "accounts": { "default": { "hosts": ["a"] } } }
        =>
        { "accounts": { "default": { "hosts": ["a"] }, "prod": { "hosts": ["h"] } }, "credHelpers": { "i": "astra", "j": "astra" } }

        { "accounts": {
            "a": {},
            "default": {
              "hosts": []
            }
          }
        }
        =>
        { "accounts": {
            "a": {},
            "default": {
              "hosts": []
            },
            "prod": {
              "hosts": ["h"]
            }
          }, "credHelpers": {"i": "astra", "j": "astra"}
        }

        {"accounts": {
            "default": {
                "hosts": []
            }
        }}
        =>
        {"accounts": {
            "default": {
                "hosts": []
            },
            "prod": {
                "hosts": ["h"]
            }
        }, "credHelpers": {"i": "astra", "j": "astra"}}

        {
         "accounts": { }
        }
        =>
        {
         "accounts": { "prod": { "hosts": ["h"] } },
         "credHelpers": { "i": "astra", "j": "astra" }
        }

        {
          "accounts": { "default": {} // mine
          }
        }
        =>
        {
          "accounts": { "default": {}, // mine
            "prod": { "hosts": ["h"] }
          },
          "credHelpers": {
            "i": "astra",
            "j": "astra"
          }
        }
        "#);
    }

    #[test]
    fn comments_and_trailing_commas_stay() {
        let texts = [
            "",
            "// mine\n{}\n",
            "{ // none yet\n}",
            "{ /* none */ }",
            "{\n  \"timeout\": \"10s\", // short\n}\n",
            "{\n  \"timeout\": \"10s\" // short\n  // more\n}\n",
            "{\n  \"accounts\": {\n    \"prod\": { \"hosts\": [\"a\"] },\n  },\n}\n",
            "{\n  \"accounts\": {\n    \"prod\": { \"hosts\": [\n      \"a\", // b\n    ] }\n  }\n}\n",
            "{\"accounts\":{\"prod\":{\"hosts\":[\"a\",],},},}",
            "{\"accounts\":{\"prod\":{\"hosts\":[] // x\n}}}",
            "{\"accounts\":{\"prod\":{\"hosts\":\"a\"}}}",
            "{\"accounts\":[]}",
        ];
        let items = [element("h"), element("i")];
        let table: Vec<_> = texts
            .map(|text| format!("{text}\n=>\n{}\n", there_and_back(text, Syntax::Jsonc, &items)))
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"

        =>
        {
        	"accounts": {
        		"prod": {
        			"hosts": ["h", "i"]
        		}
        	}
        }


        // mine
        {}

        =>
        // mine
        {"accounts": {"prod": {"hosts": ["h", "i"]}}}


        { // none yet
        }
        =>
        { // none yet
        	"accounts": {
        		"prod": {
        			"hosts": ["h", "i"]
        		}
        	}
        }

        { /* none */ }
        =>
        { /* none */ "accounts": { "prod": { "hosts": ["h", "i"] } } }

        {
          "timeout": "10s", // short
        }

        =>
        {
          "timeout": "10s", // short
          "accounts": {
            "prod": {
              "hosts": ["h", "i"]
            }
          },
        }


        {
          "timeout": "10s" // short
          // more
        }

        =>
        {
          "timeout": "10s", // short
          // more
          "accounts": {
            "prod": {
              "hosts": ["h", "i"]
            }
          }
        }


        {
          "accounts": {
            "prod": { "hosts": ["a"] },
          },
        }

        =>
        {
          "accounts": {
            "prod": { "hosts": ["a", "h", "i"] },
          },
        }


        {
          "accounts": {
            "prod": { "hosts": [
              "a", // b
            ] }
          }
        }

        =>
        {
          "accounts": {
            "prod": { "hosts": [
              "a", // b
              "h",
              "i",
            ] }
          }
        }


        {"accounts":{"prod":{"hosts":["a",],},},}
        =>
        {"accounts":{"prod":{"hosts":["a", "h", "i",],},},}

        {"accounts":{"prod":{"hosts":[] // x
        }}}
        =>
        {"accounts":{"prod":{"hosts":["h", "i"] // x
        }}}

        {"accounts":{"prod":{"hosts":"a"}}}
        =>
        Err(has a `accounts.prod.hosts` that is not an object)

        {"accounts":[]}
        =>
        Err(has a `accounts` that is not an object)
        "#);
    }

    #[test]
    fn removing_an_item_after_a_comment_keeps_the_comments_line_end() {
        let mut text = "{\"a\": [ // c\n  \"h\", \"z\"]}".to_owned();
        let item = Item { path: vec!["a".to_owned()], key: None, value: "h".to_owned() };
        assert_eq!(remove(&mut text, Syntax::Jsonc, &item), Ok(true));
        let left = members(&text, Syntax::Jsonc, &item.path);
        assert_eq!(left.iter().map(|left| left.value.text()).collect::<Vec<_>>(), [Some("z")]);
    }

    #[test]
    fn a_duplicate_key_is_named_if_it_is_safe_to_show() {
        let defect = |key: &str| check(&format!("{{\"{key}\": 1, \"{key}\": 2}}"), Syntax::Json);
        assert_eq!(defect("auths"), Err("has the key `auths` twice".to_owned()));
        for key in ["\\u001b[2J", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9wX1"] {
            assert_eq!(defect(key), Err("has a key twice".to_owned()));
        }
    }

    #[test]
    fn an_item_is_found_after_docker_has_rewritten_the_file() {
        let mut text = String::new();
        add(&mut text, Syntax::Json, &member("h")).unwrap();
        let mut rewritten = text.replace("{\n\t\"c", "{\n\t\"auths\": {},\n\t\"c");
        assert_eq!(remove(&mut rewritten, Syntax::Json, &member("h")), Ok(true));
        remove_empty(&mut rewritten, Syntax::Json, &member("h").path);
        assert_eq!(rewritten, "{\n\t\"auths\": {}\n}\n");
        let mut changed = text.replace("astra", "other");
        assert_eq!(remove(&mut changed, Syntax::Json, &member("h")), Ok(false));
    }

    proptest! {
        #[test]
        fn any_object_comes_back_byte_for_byte(
            keys in prop::collection::vec(
                ("[a-c]{1,3}|accounts|prod", "\"[0-9\\[]{1,2}\"|\\{[ \n]?(\"a\":[\n ]?1)?[ \n]?\\}"), 0..4
            ),
            space in "[ \n\t\r]{0,3}",
            comment in "|/\\*[a-c,]{0,2}\\*/|//[a-c,]{0,2}\n",
            comma in any::<bool>(),
        ) {
            let members: Vec<_> = keys.iter().map(|(k, v)| {
                format!("{space}\"{k}\"{space}:{space}{v}{space}{comment}")
            }).collect();
            let mut inside = members.join(&format!("{space},{comment}"));
            if members.is_empty() {
                inside = format!("{space}{comment}");
            } else if comma {
                inside += ",";
                inside += &comment;
            }
            let text = format!("{space}{{{inside}}}{space}");
            there_and_back(&text, Syntax::Jsonc, &[element("h"), element("i"), member("k")]);
            there_and_back(&text, Syntax::Json, &[member("h"), member("i")]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a\"{}\\[\\],:/*\n\\\\é ]{0,20}") {
            let mut text = text;
            let _ = remove(&mut text, Syntax::Jsonc, &member("h"));
            remove_empty(&mut text, Syntax::Jsonc, &[]);
            let _ = add(&mut text, Syntax::Jsonc, &element("h"));
        }
    }
}
