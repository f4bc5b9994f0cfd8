//! The differences of two texts, in the form of a unified diff.

use std::fmt::Write as _;
use std::ops::Range;

/// The largest number of changed lines that are compared. The diff of a larger change shows only its place.
const MOST_LINES: usize = 2000;

/// The hunks of a unified diff. Unchanged text is left out, since it may contain a secret: a hunk has no
/// context lines, and `…` replaces the unchanged words of a line.
pub fn hunks(before: &str, after: &str) -> String {
    let [old, new] = [before, after].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let shown_range = |range: &Range<usize>| match range.len() {
        0 => format!("{},0", range.start),
        count => format!("{},{count}", range.start + 1),
    };
    let mut shown = String::new();
    for (removed, added) in differences(&old, &new) {
        let _ = writeln!(shown, "@@ -{} +{} @@", shown_range(&removed), shown_range(&added));
        let (old, new) = elided(&old[removed].concat(), &new[added].concat());
        for (mark, text) in [('-', old), ('+', new)] {
            for line in text.split_inclusive('\n') {
                shown.push(mark);
                shown += line;
                if !line.ends_with('\n') {
                    shown += "\n\\ No newline at end of file\n";
                }
            }
        }
    }
    shown
}

/// The ranges of different lines in two texts, by their longest common subsequence of lines.
fn differences(old: &[&str], new: &[&str]) -> Vec<(Range<usize>, Range<usize>)> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = tail.take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let (rows, columns) = (old.len() - head, new.len() - head);
    if rows > MOST_LINES || columns > MOST_LINES {
        return vec![(head..head, head..head)];
    }
    // `common[i][j]`: the length of the common subsequence from line i of the old and line j of the new
    // text on.
    let mut common = vec![vec![0_u16; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            common[i][j] = match old[head + i] == new[head + j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let is_same = |i: usize, j: usize| i < rows && j < columns && old[head + i] == new[head + j];
    let mut hunks = Vec::new();
    while i < rows || j < columns {
        let (old_start, new_start) = (head + i, head + j);
        while (i < rows || j < columns) && !is_same(i, j) {
            if j == columns || i < rows && common[i + 1][j] >= common[i][j + 1] {
                i += 1;
            } else {
                j += 1;
            }
        }
        hunks.push((old_start..head + i, new_start..head + j));
        while is_same(i, j) {
            i += 1;
            j += 1;
        }
    }
    hunks
}

/// Two texts without the text that is in both: their beginning, their end and, if an item and its comma were
/// inserted at two places, the text in between.
fn elided(old: &str, new: &str) -> (String, String) {
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new);
    let start: usize = same.map(|(c, _)| c.len_utf8()).sum();
    let same = old[start..].chars().rev().zip(new[start..].chars().rev());
    let end: usize = same.take_while(|(old, new)| old == new).map(|(c, _)| c.len_utf8()).sum();
    let short = |part: &str| match part.contains(char::is_alphanumeric) {
        true if part.ends_with('\n') => "…\n".to_owned(),
        true => "…".to_owned(),
        false => part.to_owned(),
    };
    let inside = |text: &'_ str| start..text.len() - end;
    let (old_inside, new_inside) = (&old[inside(old)], &new[inside(new)]);
    let shorter = if old_inside.len() < new_inside.len() { old_inside } else { new_inside };
    let is_unchanged = old_inside.contains(shorter) && new_inside.contains(shorter);
    let elided = |text: &str| {
        let mut inside = text[inside(text)].to_owned();
        if is_unchanged {
            inside = inside.replacen(shorter, &short(shorter), 1);
        }
        short(&text[..start]) + &inside + &short(&text[text.len() - end..])
    };
    (elided(old), elided(new))
}

#[cfg(test)]
mod tests {
    use super::hunks;

    #[test]
    fn unchanged_text_between_an_item_and_its_comma_is_left_out() {
        let before = "{\n  \"a\": {} // b c\n}\n";
        let after = "{\n  \"a\": {}, // b c\n  \"d\": {}\n}\n";
        assert_eq!(hunks(before, after), "@@ -2,1 +2,2 @@\n-……\n+…,…\n+  \"d\": {}\n");
        assert_eq!(hunks(after, before), "@@ -2,2 +2,1 @@\n-…,…\n-  \"d\": {}\n+……\n");
    }
}
