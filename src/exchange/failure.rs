//! The error of a connection.

use std::fmt;

use crate::error::ExchangeErrorKind;

/// A failed connection. The detail is safe to show.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The kind of error.
    pub kind: ExchangeErrorKind,
    /// The reason, from the system, the proxy or the server.
    pub detail: String,
    /// True if another attempt may succeed.
    pub is_transient: bool,
}

impl Failure {
    /// A failed connection for which another attempt may succeed.
    pub fn transient(detail: impl Into<String>) -> Self {
        let kind = ExchangeErrorKind::Unreachable;
        Self { kind, detail: detail.into(), is_transient: true }
    }

    /// A failure that another attempt would repeat.
    pub fn permanent(kind: ExchangeErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), is_transient: false }
    }

    /// Converts an I/O error of a connection.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        match error.kind() {
            K::TimedOut | K::WouldBlock => Self::transient("no connection in time"),
            K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => {
                Self::transient("the connection broke off")
            }
            _ => Self::transient(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}
