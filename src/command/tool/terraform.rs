//! Terraform's CLI configuration: <https://developer.hashicorp.com/terraform/cli/config/config-file>.
//!
//! The reader distinguishes blocks, strings, comments and heredocs, and no more.

use std::fs;
use std::path::{Path, PathBuf};

use super::entry::{Entry, Hosts, text};
use super::place::{self, executable};
use crate::error::Error;
use crate::settings::Environment;

/// The block that names the helper.
pub const BLOCK: &str = "credentials_helper";

/// The name of this helper there. Terraform puts `terraform-credentials-` before it.
pub const NAME: &str = "astra";

/// The files that Terraform reads, also those that do not exist.
pub struct Files {
    /// The file of a variable, or else the user's file.
    pub main: PathBuf,
    /// The file that OpenTofu reads in place of the user's file, unless a variable names one.
    pub tofu: Option<PathBuf>,
    /// The files in Terraform's folder, unless a variable names one.
    pub further: Vec<PathBuf>,
    /// The link to this program in Terraform's folder for plug-ins. `PATH` is not searched.
    pub link: PathBuf,
}

/// The files that Terraform reads.
///
/// # Errors
/// A variable is no usable path, or there is no home.
pub fn files(env: &Environment<'_>) -> Result<Files, Error> {
    let base = match place::folder(env, "APPDATA") {
        Some(folder) if cfg!(windows) => folder,
        _ => place::home(env)?,
    };
    let folder = base.join(if cfg!(windows) { "terraform.d" } else { ".terraform.d" });
    let link = folder.join("plugins").join(executable("terraform-credentials-astra"));
    let named = match place::path_in(env, "TF_CLI_CONFIG_FILE")? {
        None => place::path_in(env, "TERRAFORM_CONFIG")?,
        named => named,
    };
    if let Some(main) = named {
        return Ok(Files { main, tofu: None, further: Vec::new(), link });
    }
    let main = base.join(if cfg!(windows) { "terraform.rc" } else { ".terraformrc" });
    let items = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_read = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".tfrc") || name.ends_with(".tfrc.json")
    };
    let further = items.map(|item| item.path()).filter(is_read).collect();
    Ok(Files { main, tofu: Some(place::home(env)?.join(".tofurc")), further, link })
}

/// The entry for this program. Terraform allows one helper in all its files.
pub fn entries(env: &Environment<'_>) -> Vec<Entry> {
    let Ok(Files { main, tofu, further, link }) = files(env) else { return Vec::new() };
    let mut files = [main].into_iter().chain(tofu).chain(further);
    let file = files.find(|file| helper_in(file).as_deref() == Some(NAME));
    file.map(|file| Entry::in_file(&file, link, Hosts::Any)).into_iter().collect()
}

/// The name of the helper in a file; empty if it has none. `None` if the file has no helper or cannot be
/// read.
pub fn helper_in(path: &Path) -> Option<String> {
    let text = text(path)?;
    match path.extension().is_some_and(|end| end == "json") {
        true => helper_in_json(&text),
        false => helpers(&text).ok()?.into_iter().next(),
    }
}

/// The helper in the JSON form, in which a block may also be a list.
fn helper_in_json(text: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(text).ok()?;
    let block = config.get(BLOCK)?;
    let mut names = block.get(0).unwrap_or(block).as_object()?.keys();
    Some(names.next().cloned().unwrap_or_default())
}

/// The labels of the helpers in a text. The error completes "the file …".
pub fn helpers(text: &str) -> Result<Vec<String>, String> {
    let mut rest = text;
    let mut open = Vec::new();
    // The words of the current line, outside of brackets.
    let mut words: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '#' => Ok(line_length(rest)),
            '/' if rest.starts_with("//") => Ok(line_length(rest)),
            '/' if rest.starts_with("/*") => {
                let end = rest[2..].find("*/").map(|end| end + 4);
                end.ok_or("has a comment without an end")
            }
            '<' if rest.starts_with("<<") => {
                heredoc_length(rest).ok_or("has a heredoc without an end")
            }
            '"' => string_length(rest).ok_or("has a string without an end"),
            '{' | '[' | '(' if open.is_empty() && words.is_empty() => {
                Err("is JSON, or has a block without a name,")
            }
            _ if is_word(c) => Ok(rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            _ => Ok(c.len_utf8()),
        };
        let defect = |what: &str| {
            let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
            format!("{what} at line {line}")
        };
        let length = length.map_err(defect)?;
        match c {
            '{' => open.push('}'),
            '[' => open.push(']'),
            '(' => open.push(')'),
            '}' | ']' | ')' if open.pop() != Some(c) => {
                return Err(defect(&format!("has a `{c}` too many")));
            }
            _ => {}
        }
        match c {
            _ if !open.is_empty() => {}
            '\n' | '}' | ']' | ')' => words.clear(),
            _ if c == '"' || is_word(c) => {
                words.push(rest[..length].trim_matches('"'));
                match words.as_slice() {
                    [BLOCK] => found.push(""),
                    [BLOCK, label] => {
                        found.pop();
                        found.push(label);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    match open.pop() {
        Some(bracket) => Err(format!("lacks a `{bracket}` at its end")),
        None => Ok(found.into_iter().map(str::to_owned).collect()),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn line_length(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// The length of a string, in bytes. A `${…}` in it may contain quotes and line ends.
fn string_length(rest: &str) -> Option<usize> {
    let mut braces = 0;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if braces == 0 => return Some(at + 1),
            '\n' if braces == 0 => return None,
            '\\' => {
                chars.next();
            }
            '$' if braces == 0 && chars.peek().is_some_and(|(_, next)| *next == '{') => {
                chars.next();
                braces = 1;
            }
            '{' if braces > 0 => braces += 1,
            '}' if braces > 0 => braces -= 1,
            _ => {}
        }
    }
    None
}

/// The length of a heredoc, from `<<EOT` or `<<-EOT` to the line `EOT`.
fn heredoc_length(rest: &str) -> Option<usize> {
    let (head, _) = rest.split_once('\n')?;
    let name = head[2..].trim_start_matches('-').trim();
    let mut at = head.len() + 1;
    for line in rest[at..].split_inclusive('\n') {
        if !name.is_empty() && line.trim() == name {
            // The line end after it is not part of the heredoc.
            return Some(at + line.trim_end_matches(['\r', '\n']).len());
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn helpers_in_strings_comments_and_heredocs_are_not_found() {
        let texts = [
            "",
            "credentials_helper \"astra\" {}",
            "\"credentials_helper\" \"other\" {\n}\ncredentials_helper x {}\n",
            "credentials_helper = { other = {} }",
            "# credentials_helper \"a\" {\n// credentials_helper \"b\" {\n/* credentials_helper \"c\" {\n*/",
            "host \"h\" {\n  services = {\n    a = \"credentials_helper {\"\n  }\n}\n",
            "a = <<EOT\ncredentials_helper \"x\" {\nEOT\ncredentials_helper \"y\" {}",
            "a = \"${ \"{\" }\"\nb = \"\\\"{\"",
            "a = [\n  credentials_helper\n]",
            "credentials \"h\" {\n  token = \"x\"\n",
            "a }",
            "a = \"x\nb\"",
            "a = <<EOT\nx",
            "/* x",
            "{\"credentials_helper\": {}}",
        ];
        let table: Vec<_> = texts.map(|text| format!("{text:?}\n  {:?}", helpers(text))).into();
        insta::assert_snapshot!(table.join("\n"), @r##"
        ""
          Ok([])
        "credentials_helper \"astra\" {}"
          Ok(["astra"])
        "\"credentials_helper\" \"other\" {\n}\ncredentials_helper x {}\n"
          Ok(["other", "x"])
        "credentials_helper = { other = {} }"
          Ok([""])
        "# credentials_helper \"a\" {\n// credentials_helper \"b\" {\n/* credentials_helper \"c\" {\n*/"
          Ok([])
        "host \"h\" {\n  services = {\n    a = \"credentials_helper {\"\n  }\n}\n"
          Ok([])
        "a = <<EOT\ncredentials_helper \"x\" {\nEOT\ncredentials_helper \"y\" {}"
          Ok(["y"])
        "a = \"${ \"{\" }\"\nb = \"\\\"{\""
          Err("has a string without an end at line 1")
        "a = [\n  credentials_helper\n]"
          Ok([])
        "credentials \"h\" {\n  token = \"x\"\n"
          Err("lacks a `}` at its end")
        "a }"
          Err("has a `}` too many at line 1")
        "a = \"x\nb\""
          Err("has a string without an end at line 1")
        "a = <<EOT\nx"
          Err("has a heredoc without an end at line 1")
        "/* x"
          Err("has a comment without an end at line 1")
        "{\"credentials_helper\": {}}"
          Err("is JSON, or has a block without a name, at line 1")
        "##);
    }

    #[test]
    fn the_helper_is_found_in_both_forms_of_json() {
        for (text, found) in [
            (r#"{"credentials_helper": {"astra": {}}}"#, Some("astra")),
            (r#"{"credentials_helper": [{"other": {}}]}"#, Some("other")),
            (r#"{"credentials_helper": {}}"#, Some("")),
            (r#"{"credentials": {"credentials_helper": {}}}"#, None),
            ("", None),
        ] {
            assert_eq!(helper_in_json(text).as_deref(), found, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a\"{}\\[\\]<#/*\n\r$\\\\é-]{0,20}") {
            let _ = helpers(&text);
        }
    }
}
