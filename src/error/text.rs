//! The text of an error.

/// The parts of an error that a user sees.
pub struct Text {
    /// The exit code of the process.
    pub exit_code: u8,
    /// The message.
    pub message: String,
    /// The next step for the user.
    pub hint: String,
}

impl Text {
    /// The text of these parts.
    pub fn new(exit_code: u8, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit_code, message: message.into(), hint: hint.into() }
    }
}
