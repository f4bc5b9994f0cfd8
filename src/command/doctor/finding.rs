//! A line of `doctor`: the result of one check.

use serde::Serialize;

use crate::command::{Colour, State};
use crate::error::Error;

/// The name of a check.
pub type Check = &'static str;

/// The outcome of one check.
#[derive(Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: Check,
    /// Success, warning or failure.
    pub state: State,
    /// The result in words.
    pub detail: String,
    /// The next step for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// A check that succeeded.
    pub fn ok(check: Check, detail: impl Into<String>) -> Self {
        Self { check, state: State::Ok, detail: detail.into(), hint: None }
    }

    /// A check that succeeded, with a result that may not be intended.
    pub fn warning(check: Check, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, state: State::Warning, detail: detail.into(), hint: Some(hint.into()) }
    }

    /// A check that failed.
    pub fn failure(check: Check, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Failure, ..Self::warning(check, detail, hint) }
    }

    /// A check that failed with that error. `before` is the beginning of the result.
    pub fn error(check: Check, before: &str, error: &Error) -> Self {
        Self::failure(check, format!("{before}{error}"), error.hint())
    }

    /// The line, and the line of its hint.
    pub fn lines(&self, colour: Colour) -> String {
        let Self { check, state, detail, hint } = self;
        let state = colour.paint(state, &format!("{:8}", state.word()));
        let hint = hint.as_ref().map(|hint| format!("{:23}hint: {hint}\n", ""));
        format!("{state} {check:13} {detail}\n{}", hint.unwrap_or_default())
    }
}
