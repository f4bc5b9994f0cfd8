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
    /// A number that each `forget` changes; `None` if the entry cannot be read.
    ///
    /// The outcome of an exchange is written only if the entry has the same epoch as before the request. So
    /// the result of an exchange that was under way during a `forget` is not cached.
    pub epoch: Option<u64>,
    /// The hosts that refused a token.
    pub refusals: Vec<Refusal>,
}

/// The epoch of the first entry of an identity.
pub const FIRST_EPOCH: u64 = 0;

/// A cached token and the times of its exchange.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CachedToken {
    /// The token.
    pub token: Token,
    /// The start of its exchange.
    pub started_at: Moment,
    /// The time at which it was written to the entry.
    pub cached_at: Timestamp,
}

/// A cached failure. Until it ends, calls get its error and do no exchange.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FailedExchange {
    /// The error.
    pub error: ExchangeError,
    /// The digest of the route of the exchange (see [`super::Cache::digest`]).
    pub route: String,
    /// The start of the exchange.
    pub started_at: Moment,
    /// The time of the failure.
    pub at: Timestamp,
    /// The time until which the failure is cached.
    pub until: Timestamp,
    /// For a time-out, the time that the call had left for the exchange, in milliseconds.
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
    /// True during the pause for the host. The pause also ends if the clock jumps back.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| self.at <= now && now < until)
    }
}

/// The plaintext of an entry, as JSON.
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
    started_at: Moment,
    cached_at: Timestamp,
}

impl Entry {
    /// Writes the plaintext; `None` if it cannot be serialised.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let Self { token, failure, epoch, refusals } = self;
        let token = token.as_ref().map(|cached| {
            let CachedToken { token: Token { bearer, validity }, started_at, cached_at } = cached;
            let (validity, started_at, cached_at) = (*validity, *started_at, *cached_at);
            WireToken { bearer: bearer.expose(), validity, started_at, cached_at }
        });
        let epoch = epoch.unwrap_or(FIRST_EPOCH);
        serde_json::to_vec(&Wire { token, failure, epoch, refusals }).ok()
    }

    /// Reads a plaintext; `None` for anything but what [`Entry::to_json`] writes.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let Wire::<Secret, _, _> { token, failure, epoch, refusals } =
            serde_json::from_slice(json).ok()?;
        let token = token.map(|wire| {
            let WireToken { bearer, validity, started_at, cached_at } = wire;
            CachedToken { token: Token { bearer, validity }, started_at, cached_at }
        });
        Some(Self { token, failure, epoch: Some(epoch), refusals })
    }

    /// The entry for a file that does not open under the seal. It has no token.
    ///
    /// The first eight bytes of the file are its epoch: `forget --all` overwrites entries whose keys are unknown
    /// with random bytes. A shorter file has an epoch of its own: on a full disk a deletion leaves an empty file.
    pub fn foreign(content: &[u8]) -> Self {
        const SHORT: u64 = FIRST_EPOCH.wrapping_add(1);
        let epoch = content.first_chunk().map_or(SHORT, |bytes| u64::from_le_bytes(*bytes));
        Self { epoch: Some(epoch), ..Self::default() }
    }
}
