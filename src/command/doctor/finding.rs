//! One line of `doctor`: a check and what it came to.

use serde::Serialize;

use crate::command::{Colour, Verdict};

/// The outcome of one check.
#[derive(Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// Whether it works.
    pub state: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// Something that works.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, state: Verdict::Ok, detail: detail.into(), hint: None }
    }

    /// Something that works, and may not be meant so.
    pub fn warning(
        check: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into());
        Self { check, state: Verdict::Warning, detail: detail.into(), hint }
    }

    /// Something that does not work.
    pub fn failure(
        check: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { state: Verdict::Failure, ..Self::warning(check, detail, hint) }
    }

    /// The line, and the line of its hint.
    pub fn lines(&self, colour: Colour) -> String {
        let Self { check, state, detail, hint } = self;
        let state = colour.paint(state, &format!("{:8}", state.word()));
        let hint = hint.as_ref().map(|hint| format!("{:23}hint: {hint}\n", ""));
        format!("{state} {check:13} {detail}\n{}", hint.unwrap_or_default())
    }
}
