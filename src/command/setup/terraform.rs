//! Terraform's CLI configuration: <https://developer.hashicorp.com/terraform/cli/config/config-file>.
//!
//! The reader distinguishes blocks, strings, comments and heredocs, and no more. The helper's block is
//! added at the end of the file. Terraform allows one helper in all its files, so another helper is an
//! error.

use std::fs;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::edit::Edit;
use super::file;
use super::plan::Plan;
use crate::error::Error;
use crate::shown::shell_word;

const BLOCK: &str = "credentials_helper";
const HELPER: &str = "astra";

/// The edits: the helper's block, and the link in Terraform's folder for plug-ins.
pub fn edits(context: &Context<'_>, view: &mut Plan) -> Result<Vec<Edit>, Error> {
    let folder = folder(context)?;
    let name = if cfg!(windows) {
        "terraform-credentials-astra.exe"
    } else {
        "terraform-credentials-astra"
    };
    let link = Edit::Link { at: folder.join("plugins").join(name), to: context.program.clone() };
    let named = match context.path_in("TF_CLI_CONFIG_FILE")? {
        None => context.path_in("TERRAFORM_CONFIG")?,
        named => named,
    };
    // Terraform also reads the files in its folder, unless one of these variables is set.
    let further = if named.is_some() { Vec::new() } else { further_files(&folder) };
    let tofu = context.home()?.join(".tofurc");
    if named.is_none() && tofu.exists() && !names_a_helper(&tofu) {
        let tofu = shell_word(&tofu.to_string_lossy());
        let variable = format!("TF_CLI_CONFIG_FILE={tofu}");
        view.notes.push(format!("remains: for OpenTofu, the same with `{variable}` before it"));
    }
    let usual = if cfg!(windows) { "terraform.rc" } else { ".terraformrc" };
    let rc = match named {
        Some(file) => file,
        None => base(context)?.join(usual),
    };
    let block = Edit::Block {
        file: rc.clone(),
        name: BLOCK.to_owned(),
        head: String::new(),
        body: format!("{BLOCK} \"{HELPER}\" {{}}"),
    };
    let text = view.text(&rc)?;
    let found = helpers(&text).map_err(|defect| file::unusable(&rc, &defect))?;
    if found == [HELPER] && block.is_done(view)? {
        return Ok(vec![link]);
    }
    let here = (!found.is_empty()).then(|| rc.clone());
    if let Some(path) = here.or_else(|| further.into_iter().find(|path| names_a_helper(path))) {
        let problem = format!("has a `{BLOCK}` already, and Terraform allows one");
        return Err(Error::Taken { path, problem });
    }
    Ok(vec![link, block])
}

/// The folder above Terraform's folder.
fn base(context: &Context<'_>) -> Result<PathBuf, Error> {
    match context.folder("APPDATA") {
        Some(folder) if cfg!(windows) => Ok(folder),
        _ => context.home(),
    }
}

/// Terraform's folder.
fn folder(context: &Context<'_>) -> Result<PathBuf, Error> {
    Ok(base(context)?.join(if cfg!(windows) { "terraform.d" } else { ".terraform.d" }))
}

/// True if a configuration file of Terraform names this program.
pub fn names_us(path: &Path) -> bool {
    let Some(text) = text_of(path) else { return false };
    match path.extension() {
        Some(end) if end == "json" => {
            text.contains(&format!("\"{BLOCK}\"")) && text.contains(&format!("\"{HELPER}\""))
        }
        _ => helpers(&text).is_ok_and(|found| found == [HELPER]),
    }
}

/// The configuration files in Terraform's folder.
pub fn further_files(folder: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_read = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".tfrc") || name.ends_with(".tfrc.json")
    };
    items.map(|item| item.path()).filter(is_read).collect()
}

fn names_a_helper(path: &Path) -> bool {
    let Some(text) = text_of(path) else { return false };
    match path.extension() {
        Some(end) if end == "json" => text.contains(&format!("\"{BLOCK}\"")),
        _ => helpers(&text).is_ok_and(|found| !found.is_empty()),
    }
}

fn text_of(path: &Path) -> Option<String> {
    file::read(path).ok().flatten().and_then(|content| String::from_utf8(content).ok())
}

/// The labels of the helpers in a text. The error completes "the file …".
fn helpers(text: &str) -> Result<Vec<String>, String> {
    let mut rest = text;
    let mut open = Vec::new();
    // The words of the current line, outside of brackets.
    let mut words: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    let defect = |rest: &str, what: &str| {
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        format!("{what} at line {line}")
    };
    while let Some(c) = rest.chars().next() {
        let length =
            match c {
                '\n' => {
                    if open.is_empty() {
                        words.clear();
                    }
                    1
                }
                '#' => line_length(rest),
                '/' if rest.starts_with("//") => line_length(rest),
                '/' if rest.starts_with("/*") => {
                    let end = rest[2..].find("*/");
                    end.ok_or_else(|| defect(rest, "has a comment without an end"))? + 4
                }
                '<' if rest.starts_with("<<") => heredoc_length(rest)
                    .ok_or_else(|| defect(rest, "has a heredoc without an end"))?,
                '"' => string_length(rest)
                    .ok_or_else(|| defect(rest, "has a string without an end"))?,
                '{' | '[' | '(' => {
                    if open.is_empty() && words.is_empty() {
                        return Err(defect(rest, "is JSON, or has a block without a name,"));
                    }
                    open.push(match c {
                        '{' => '}',
                        '[' => ']',
                        _ => ')',
                    });
                    1
                }
                '}' | ']' | ')' => {
                    if open.pop() != Some(c) {
                        return Err(defect(rest, &format!("has a `{c}` too many")));
                    }
                    if open.is_empty() {
                        words.clear();
                    }
                    1
                }
                _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                _ => c.len_utf8(),
            };
        if open.is_empty() && (c == '"' || is_word(c)) {
            words.push(rest[..length].trim_matches('"'));
            match words.as_slice() {
                [BLOCK] => found.push(String::new()),
                [BLOCK, label] => {
                    found.iter_mut().rev().take(1).for_each(|of| *of = (*label).to_owned())
                }
                _ => {}
            }
        }
        rest = &rest[length..];
    }
    match open.pop() {
        Some(bracket) => Err(format!("lacks a `{bracket}` at its end")),
        None => Ok(found),
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

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a\"{}\\[\\]<#/*\n\r$\\\\é-]{0,20}") {
            let _ = helpers(&text);
        }
    }
}
