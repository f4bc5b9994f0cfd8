//! The error of a connection.

use std::fmt;

use crate::error::ExchangeErrorKind;

/// A connection that failed. Its detail is safe to show.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The kind of error.
    pub kind: ExchangeErrorKind,
    /// The reason that the system, the proxy or the server gave.
    pub detail: String,
    /// True if another attempt may succeed.
    pub may_pass: bool,
}

impl Failure {
    /// No connection, for a reason that may pass.
    pub fn unreachable(detail: impl Into<String>) -> Self {
        let kind = ExchangeErrorKind::Unreachable;
        Self { kind, detail: detail.into(), may_pass: true }
    }

    /// A failure that the next attempt would meet too.
    pub fn lasting(kind: ExchangeErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), may_pass: false }
    }

    /// An error of the connection while it was made.
    pub fn of_connecting(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        match error.kind() {
            K::TimedOut | K::WouldBlock => Self::unreachable("no connection in time"),
            K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => {
                Self::unreachable("the connection broke off")
            }
            _ => Self::unreachable(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}
