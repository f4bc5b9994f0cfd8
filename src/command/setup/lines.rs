//! Lines that are added to the end of a file, and found again.

/// Adds `line`, which may be several, in the file's own manner, and gives exactly what was added.
pub fn append(text: &mut String, line: &str) -> String {
    let end = match text.split_inclusive('\n').next() {
        Some(first) if first.ends_with("\r\n") => "\r\n",
        _ => "\n",
    };
    let line = line.replace('\n', end);
    // A last line without an end stays one, so that what was added can be taken out again.
    let added =
        if text.is_empty() || text.ends_with('\n') { line + end } else { end.to_owned() + &line };
    text.push_str(&added);
    added
}

/// Takes out what [`append`] has added; `false` when it is not there any more as whole lines.
pub fn cut(text: &mut String, added: &str) -> bool {
    let is_whole = |at: usize| {
        let (before, behind) = (&text[..at], &text[at + added.len()..]);
        let starts = added.starts_with(['\r', '\n']) || before.is_empty() || before.ends_with('\n');
        starts && (added.ends_with('\n') || behind.is_empty() || behind.starts_with(['\r', '\n']))
    };
    let found = text.rmatch_indices(added).map(|(at, _)| at).find(|at| is_whole(*at));
    if let Some(at) = found {
        text.replace_range(at..at + added.len(), "");
    }
    found.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_that_was_changed_since_is_left_alone() {
        let mut text = "a\n".to_owned();
        let added = append(&mut text, "b");
        assert_eq!((text.as_str(), added.as_str()), ("a\nb\n", "b\n"));
        for changed in ["a\n# b\n", "a\nb c\n", "a\nb", ""] {
            assert!(!cut(&mut changed.to_owned(), &added), "{changed:?}");
        }
        let mut text = "a".to_owned();
        let added = append(&mut text, "b");
        assert_eq!((text.as_str(), added.as_str()), ("a\nb", "\nb"));
        assert!(!cut(&mut "a\nbc".to_owned(), &added));
        let mut more = "a\nb\nc".to_owned();
        assert!(cut(&mut more, &added));
        assert_eq!(more, "a\nc");
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_out(text in "[ab\r\n]{0,9}", line in "[ab]{1,3}(\n[ab])?") {
            let mut changed = text.clone();
            let added = append(&mut changed, &line);
            prop_assert!(cut(&mut changed, &added));
            prop_assert_eq!(changed, text);
        }
    }
}
