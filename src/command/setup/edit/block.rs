//! A block of lines in a file of any encoding. It is added at the end, with the file's own line ends, and
//! found again anywhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Lines in a file: a head line, such as a section's name, and the lines below it. Either may be empty.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Block {
    /// The file.
    pub file: PathBuf,
    /// The host or block that the lines are for. A file has one block for each name.
    pub name: String,
    /// The first line, which is kept if the user has added lines below it.
    pub head: String,
    /// The lines below it, without the last line end.
    pub body: String,
}

impl Block {
    /// Adds the block at the end.
    pub fn append(&self, text: &mut Vec<u8>) {
        let [end, _] = line_ends(text);
        let lines = self.lines(end);
        // A last line without a line end must stay one, so that removing the block restores the file.
        let added = match text.last() {
            None | Some(b'\n') => lines + end,
            Some(_) => end.to_owned() + &lines,
        };
        text.extend_from_slice(added.as_bytes());
    }

    /// True if the whole block is there.
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.find(text).is_some()
    }

    /// Removes the block. Returns `false` if it is missing. If other lines than the beginning of a section follow
    /// it, its head is kept for them.
    pub fn cut(&self, text: &mut Vec<u8>) -> bool {
        let Some((start, end)) = self.find(text) else { return false };
        let below = text[end..].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
        let next = below.filter_map(|line| line.first()).find(|first| !b"#;".contains(first));
        let is_alone = self.head.is_empty() || next.is_none_or(|first| *first == b'[');
        let start = if is_alone { start } else { end_of_line(text, start, &self.head) };
        text.drain(start..end);
        true
    }

    fn lines(&self, end: &str) -> String {
        let parts = [&*self.head, &*self.body].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("\n").replace('\n', end)
    }

    /// The place of the block: the last one if there are two.
    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let forms = line_ends(text).into_iter().flat_map(|end| {
            let lines = self.lines(end);
            [lines.clone() + end, end.to_owned() + &lines]
        });
        forms.into_iter().find_map(|form| {
            let form = form.as_bytes();
            let is_whole = |at: usize| {
                let is_end = |text: &[u8]| text.starts_with(b"\n") || text.starts_with(b"\r\n");
                let (before, behind) = (&text[..at], &text[at + form.len()..]);
                let starts = is_end(form) || before.is_empty() || before.ends_with(b"\n");
                starts && (form.ends_with(b"\n") || behind.is_empty() || is_end(behind))
            };
            let last = text.len().checked_sub(form.len())?;
            let at = (0..=last).rev().find(|at| text[*at..].starts_with(form) && is_whole(*at))?;
            Some((at, at + form.len()))
        })
    }
}

/// The line end of the first line, and the other kind.
fn line_ends(text: &[u8]) -> [&'static str; 2] {
    let first = text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.ends_with(b"\r\n") || first.ends_with(b"\r") { ["\r\n", "\n"] } else { ["\n", "\r\n"] }
}

/// The end of the head in a block that begins at `start`.
fn end_of_line(text: &[u8], start: usize, head: &str) -> usize {
    let at = text[start..].windows(head.len()).position(|window| window == head.as_bytes());
    let at = start + at.unwrap_or(0) + head.len();
    at + text[at..].iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(head: &str, body: &str) -> Block {
        let [name, head, body] = ["", head, body].map(str::to_owned);
        Block { file: PathBuf::new(), name, head, body }
    }

    fn cut(text: &str, block: &Block) -> Option<String> {
        let mut text = text.as_bytes().to_vec();
        block.cut(&mut text).then(|| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_line_that_was_changed_since_is_left_alone() {
        let block = &block("", "b");
        for changed in ["a\n# b\n", "a\nb c\n", "ab\n", "a\nbc", ""] {
            assert_eq!(cut(changed, block), None, "{changed:?}");
        }
        assert_eq!(cut("a\nb\nc", block).unwrap(), "a\nc");
    }

    #[test]
    fn a_section_to_which_lines_were_added_keeps_its_head() {
        let block = &block("[s]", "\tx\n\ty");
        assert_eq!(cut("[s]\n\tx\n\ty\n# c\n\n[t]\n", block).unwrap(), "# c\n\n[t]\n");
        assert_eq!(cut("[s]\n\tx\n\ty\n# c\n\tz\n", block).unwrap(), "[s]\n# c\n\tz\n");
        assert_eq!(cut("[r]\n[s]\r\n\tx\r\n\ty\r\n\tz\r\n", block).unwrap(), "[r]\n[s]\r\n\tz\r\n");
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_out(text in "[ab\r\n]{0,9}", body in "[cd]{1,3}(\n[cd])?", head in "|\\[c") {
            let block = block(&head, &body);
            let mut changed = text.clone().into_bytes();
            block.append(&mut changed);
            prop_assert!(block.is_in(&changed));
            prop_assert!(block.cut(&mut changed));
            prop_assert_eq!(changed, text.into_bytes());
        }
    }
}
