//! The layout of JSON: adds an item with the layout of its neighbours, and removes it without a trace.

use std::ops::Range;

use super::node::{Kind, Node, Syntax};

impl Node {
    /// The white space before a new item.
    fn separator(&self, text: &str, unit: &str) -> String {
        let close = blank_before(text, self.range.end - 1);
        let Some(last) = self.members.last() else {
            return close.to_owned() + if close.contains('\n') { unit } else { "" };
        };
        let blank = blank_before(text, last.range.start);
        let is_only = self.members.len() == 1 && !blank.contains('\n');
        let value = last.value.range.start;
        let is_spaced = self.kind != Kind::Object || !blank_before(text, value).is_empty();
        if is_only && is_spaced { " ".to_owned() } else { blank.to_owned() }
    }

    /// The text of a new, empty object in this one: on one line or several, as the last object in it.
    pub fn new_object(&self, text: &str, unit: &str) -> String {
        let separator = self.separator(text, unit);
        let values = self.members.iter().map(|member| &member.value);
        let is_filled = |value: &&Self| value.kind == Kind::Object && !value.members.is_empty();
        let Range { start, end } = values.rev().find(is_filled).unwrap_or(self).range;
        let inside = match separator.find(['\r', '\n']) {
            Some(line) if start == self.range.start || text[start..end].contains('\n') => {
                &separator[line..]
            }
            _ => {
                let inside = &text[start + 1..end - 1];
                let blank = &inside[..inside.len() - inside.trim_ascii_start().len()];
                if blank.contains('\n') { "" } else { blank }
            }
        };
        format!("{{{inside}}}")
    }

    /// Adds an item after the last one, and after its comments.
    pub fn insert(&self, text: &mut String, item: &str, unit: &str) {
        let mut separator = self.separator(text, unit);
        let close = self.range.end - 1;
        let last = self.members.last().map(|last| last.range.end);
        let rest = last.unwrap_or(self.range.start + 1);
        let comments = text[rest..close].trim_ascii_end();
        let end = rest + comments.len();
        let is_line_comment = comments.rsplit('\n').next().is_some_and(|line| line.contains("//"));
        if is_line_comment && !separator.contains('\n') {
            separator = format!("\n{}{unit}", indentation(text, self.range.start));
        }
        match last {
            None => text.insert_str(end, &(separator + item)),
            Some(last) if comments.is_empty() || comments == "," => {
                text.insert_str(last, &format!(",{separator}{item}"));
            }
            Some(last) if text[skip(text, last)..].starts_with(',') => {
                text.insert_str(end, &format!("{separator}{item},"));
            }
            Some(last) => {
                text.insert_str(end, &(separator + item));
                text.insert(last, ',');
            }
        }
    }

    /// Removes an item with the white space before it and one comma.
    pub fn cut(&self, text: &mut String, syntax: Syntax, at: usize) {
        let items = &self.members;
        let Range { start, end } = items[at].range;
        let is_comma = |at: &usize| text[*at..].starts_with(',');
        let behind = Some(skip(text, end)).filter(is_comma);
        let before =
            || at.checked_sub(1).map(|at| skip(text, items[at].range.end)).filter(is_comma);
        let comma = behind.or_else(before);
        let blank = text[..start].trim_ascii_end().len();
        // The next item moves to the place of the first one.
        if let (0, Some(comma), Some(next)) = (at, behind, items.get(1))
            && text[comma + 1..next.range.start].trim_ascii().is_empty()
        {
            return text.replace_range(start..next.range.start, "");
        }
        let without = |from: usize| {
            let mut cut = text.clone();
            // The later part is removed first, so that the earlier place stays valid.
            if let Some(at) = comma.filter(|at| *at >= end) {
                cut.remove(at);
            }
            cut.replace_range(from..end, "");
            if let Some(at) = comma.filter(|at| *at < from) {
                cut.remove(at);
            }
            cut
        };
        let tidy = without(blank);
        // The line end before the item may be the end of a comment.
        let count = |text: &str| Node::whole(text, syntax).map(|node| node.size()).ok();
        let rest = count(&without(start));
        *text = if count(&tidy) == rest { tidy } else { without(start) };
    }
}

/// The white space before `at`.
fn blank_before(text: &str, at: usize) -> &str {
    let before = &text[..at];
    &before[before.trim_ascii_end().len()..]
}

/// The white space at the beginning of the line of `at`.
fn indentation(text: &str, at: usize) -> &str {
    let line = text[..at].rsplit('\n').next().unwrap_or_default();
    &line[..line.len() - line.trim_ascii_start().len()]
}

/// One level of indentation: that of the first value whose items begin on lines of their own.
pub fn unit<'a>(text: &'a str, node: &Node) -> Option<&'a str> {
    let indent = |at: usize| blank_before(text, at).rsplit_once('\n').map(|(_, indent)| indent);
    let own = node.members.first().and_then(|first| {
        let around =
            indent(node.range.end - 1).unwrap_or_else(|| indentation(text, node.range.start));
        indent(first.range.start)?.strip_prefix(around).filter(|unit| !unit.is_empty())
    });
    own.or_else(|| node.members.iter().find_map(|member| unit(text, &member.value)))
}

/// The end of the white space and comments at `at`.
fn skip(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let blank = rest.len() - rest.trim_ascii_start().len();
        let rest = &rest[blank..];
        let comment = match rest.get(..2) {
            Some("//") => rest.find('\n').unwrap_or(rest.len()),
            Some("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => return at + blank,
        };
        at += blank + comment;
    }
}
