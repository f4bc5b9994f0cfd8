//! The content of a cache entry, and its form under the seal.

use serde::{Deserialize, Serialize};

use crate::error::ExchangeError;
use crate::timestamp::{Moment, Timestamp};
use crate::token::{Secret, Token, Validity};

/// A cache entry: the last token, the last failed exchange, both or neither, and the refusals of hosts.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// The last token, which may have expired.
    pub token: Option<CachedToken>,
    /// The last exchange, if it failed.
    pub failure: Option<FailedExchange>,
    /// The number that each `forget` draws anew; `None` if the entry cannot be read.
    ///
    /// An exchange notes it before it sends its request, and its outcome is written only into an
    /// entry of the same epoch. So the result of an exchange that was under way during a `forget` is not
    /// cached.
    pub epoch: Option<u64>,
    /// The hosts at which a token was erased.
    pub refusals: Vec<Refusal>,
}

/// The epoch of an entry that does not exist.
pub const FIRST_EPOCH: u64 = 0;

/// A cached token and the times of its exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CachedToken {
    /// The token.
    pub token: Token,
    /// The start of its exchange.
    pub asked_at: Moment,
    /// The time at which it was written to the entry.
    pub cached_at: Timestamp,
}

/// A cached failure: a failed exchange, and the time until the next one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FailedExchange {
    /// The error.
    pub error: ExchangeError,
    /// The digest of the exchange's route (see [`super::Cache::digest`]).
    pub route: String,
    /// The start of the exchange.
    pub asked_at: Moment,
    /// The time of the failure.
    pub at: Timestamp,
    /// The end of the failure's validity.
    pub until: Timestamp,
    /// For a time-out, the time that the exchange had, in milliseconds.
    pub waited: Option<u64>,
}

/// A host at which a token was erased because the host refused it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// The host, with its port unless that is 443.
    pub host: String,
    /// The time at which the last token was erased.
    pub at: Timestamp,
    /// The end of the pause for the host; `None` after a single refusal.
    pub until: Option<Timestamp>,
}

impl Refusal {
    /// True during the pause for the host. It ends if the clock jumps back.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| self.at <= now && now < until)
    }
}

/// The plaintext of an entry.
#[derive(Deserialize, Serialize)]
struct Wire<Bearer, Failure, Refusals> {
    token: Option<WireToken<Bearer>>,
    failure: Failure,
    epoch: u64,
    refusals: Refusals,
}

#[derive(Deserialize, Serialize)]
struct WireToken<Bearer> {
    bearer: Bearer,
    validity: Validity,
    asked_at: Moment,
    cached_at: Timestamp,
}

impl Entry {
    /// The plaintext; `None` if it cannot be written.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let Self { token, failure, epoch, refusals } = self;
        let token = token.as_ref().map(|cached| {
            let CachedToken { token: Token { bearer, validity }, asked_at, cached_at } = cached;
            let (validity, asked_at, cached_at) = (*validity, *asked_at, *cached_at);
            WireToken { bearer: bearer.expose(), validity, asked_at, cached_at }
        });
        let epoch = epoch.unwrap_or(FIRST_EPOCH);
        serde_json::to_vec(&Wire { token, failure, epoch, refusals }).ok()
    }

    /// Reads a plaintext; `None` for anything but what [`Entry::to_json`] writes.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let Wire::<Secret, _, _> { token, failure, epoch, refusals } =
            serde_json::from_slice(json).ok()?;
        let token = token.map(|wire| {
            let WireToken { bearer, validity, asked_at, cached_at } = wire;
            CachedToken { token: Token { bearer, validity }, asked_at, cached_at }
        });
        Some(Self { token, failure, epoch: Some(epoch), refusals })
    }

    /// The entry in place of a file that does not open under the seal. The first bytes of the file
    /// are its epoch, because `forget --all` overwrites entries to which it has no key. An empty file
    /// is the entry of a full disk.
    pub fn foreign(content: &[u8]) -> Self {
        const SHORT: u64 = FIRST_EPOCH.wrapping_add(1);
        let epoch = content.first_chunk().map_or(SHORT, |bytes| u64::from_le_bytes(*bytes));
        Self { epoch: Some(epoch), ..Self::default() }
    }
}
