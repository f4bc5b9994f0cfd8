//! Times: read from the clock, stored as Unix seconds, written as RFC 3339. Only this module reads the
//! clock.
//!
//! A [`Timestamp`] has whole seconds, as the protocols do: Bazel drops a reply with a fraction of a second.
//! A [`Moment`] has nanoseconds, and only decides which of two events was first.

use std::fmt;
use std::fs::{File, Metadata};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time on this machine's clock, in whole Unix seconds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59Z, the last time that RFC 3339 can express.
const LAST: i64 = 253_402_300_799;

impl Timestamp {
    /// Reads this machine's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The time `seconds` after the Unix epoch.
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// The time `seconds` later, or earlier if `seconds` is negative. Saturates.
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time; negative if `earlier` is later. Saturates.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time of a file's last change; `None` if the system does not store it.
    pub fn of_change(metadata: &Metadata) -> Option<Self> {
        metadata.modified().ok().map(Self::from)
    }

    /// Reads a time in the form of RFC 3339.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        humantime::parse_rfc3339(text).ok().map(Self::from)
    }

    /// Reads an HTTP date (RFC 9110, section 5.6.7), in any of its three forms.
    pub fn from_http_date(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text).ok().map(Self::from)
    }
}

/// A point in time on this machine's clock, in nanoseconds since the Unix epoch. It orders events within one
/// second.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Moment(i64);

const NANOSECONDS: i64 = 1_000_000_000;

impl Moment {
    /// Reads this machine's clock.
    pub fn now() -> Self {
        let since = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Self(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => since(after),
            Err(before) => -since(before.duration()),
        })
    }

    /// The whole second.
    pub fn timestamp(self) -> Timestamp {
        Timestamp(self.0.div_euclid(NANOSECONDS))
    }
}

/// Converts to the beginning of the second.
#[cfg(test)]
impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.0.saturating_mul(NANOSECONDS))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => seconds(after),
            Err(before) => -seconds(before.duration()),
        })
    }
}

/// RFC 3339 in UTC, with whole seconds and `Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = u64::try_from(self.0.clamp(0, LAST)).unwrap_or(0);
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).fmt(f)
    }
}

/// A heartbeat: the modification time of a file, which [`beat`] updates and [`heartbeat`] reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heartbeat(SystemTime);

/// The coarsest clock of a file system, that of FAT.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// Updates the modification time of `file`, so that it differs from `last`. Returns the new heartbeat; `None`
/// after an error.
///
/// If the file system stores whole seconds, the time is set ahead of the clock. Otherwise several heartbeats
/// within one second would be equal.
pub fn beat(file: &File, last: Option<Heartbeat>) -> Option<Heartbeat> {
    let now = SystemTime::now();
    let is_whole = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0)
    };
    let next = match last {
        Some(Heartbeat(last)) if is_whole(last) => now.max(last + COARSEST_CLOCK),
        _ => now,
    };
    file.set_modified(next).ok()?;
    heartbeat(file)
}

/// Reads the heartbeat of `file`; `None` after an error. It may only be compared with an earlier heartbeat, and
/// not with this machine's clock: the file may be on another machine.
pub fn heartbeat(file: &File) -> Option<Heartbeat> {
    file.metadata().ok()?.modified().ok().map(Heartbeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_whole_seconds_with_a_z() {
        let shown = Timestamp::from_unix(1_595_600_182).to_string();
        assert_eq!(shown, "2020-07-24T14:16:22Z");
    }

    #[test]
    fn the_ends_of_the_number_line_are_written_and_not_panicked_over() {
        let shown = [i64::MIN, -1, LAST, LAST + 1, i64::MAX]
            .map(|seconds| Timestamp::from_unix(seconds).to_string());
        let (first, last) = ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z");
        assert_eq!(shown, [first, first, last, last, last]);
    }

    #[test]
    fn it_reads_an_http_date() {
        let read = Timestamp::from_http_date("Fri, 24 Jul 2020 14:16:22 GMT");
        assert_eq!(read, Some(Timestamp::from_unix(1_595_600_182)));
        assert_eq!(Timestamp::from_http_date("soon"), None);
    }
}
