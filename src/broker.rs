//! Decides between the cached token and an exchange.
//!
//! [`serve`] reads the entry. If the entry gives no answer, it queues for the exchange lock. It reads the entry
//! again after every step in the queue, and once more under the lock. Then it does the exchange and writes the
//! outcome.
//!
//! The rules are pure functions of the entry as it is at that moment:
//! - [`Call::answer`] derives an answer from an entry;
//! - [`Call::conclude`] applies the outcome of an exchange to an entry;
//! - [`without_token`] applies a `forget` or an `erase` to an entry.

use std::time::{Duration, Instant};

use crate::cache::{self, Cache, CachedToken, Entry, FailedExchange, Permit, Refusal, Turn};
use crate::error::{ExchangeError, ExchangeErrorKind, Remembered};
use crate::shown;
use crate::timestamp::{Moment, Timestamp};
use crate::token::{Credential, Secret, Token};

/// A caller's requirements.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Requires a token whose exchange begins after this call.
    pub refresh: bool,
    /// Seconds for which the token must be valid; `None` for the leeway.
    pub min_valid: Option<i64>,
    /// The deadline of this call.
    pub deadline: Instant,
    /// The host that gets the token, with its port unless that is 443; `None` if the caller names no host.
    pub host: Option<&'a str>,
    /// The API base, for errors that occur before a request.
    pub api: &'a str,
    /// The proxy, with its password, and the trusted authorities. A cached transient failure applies only to
    /// calls on the same route.
    pub route: &'a Secret,
}

/// The error of a call without a credential.
#[derive(Debug)]
pub enum Failure {
    /// The exchange failed.
    Exchange {
        /// The error.
        error: ExchangeError,
        /// Set if an earlier call did the exchange, and its failure was cached.
        remembered: Option<Remembered>,
    },
    /// The host has refused two tokens in a row.
    Refused {
        /// The host.
        host: String,
        /// Seconds until the pause is over.
        wait: i64,
    },
}

/// Seconds for which a rejection is cached: long enough for many calls at once, short enough for a second
/// attempt by hand.
const REJECTION: i64 = 30;

/// Seconds for which any other failure of Astra is cached, unless it has a `Retry-After`.
const TRANSIENT_FAILURE: i64 = 5;

/// The bounds of a `Retry-After`, in seconds.
const RETRY_AFTER: std::ops::RangeInclusive<i64> = 1..=60;

/// Seconds of the pause for a host that has refused two tokens in a row. The second one must have been refused
/// within the same number of seconds after its exchange.
const REFUSAL: i64 = 30;

/// The largest number of hosts whose refusals an entry stores.
const MOST_REFUSALS: usize = 32;

/// Returns the credential for `demand`: from `cache`, or from the exchange that `mint` does.
///
/// # Errors
/// The exchange fails and no valid token is cached, or the host has refused two tokens in a row.
pub fn serve(
    cache: &Cache,
    demand: Demand<'_>,
    clock: impl Fn() -> Moment,
    mint: impl FnOnce() -> Result<Token, ExchangeError>,
) -> Result<Credential, Failure> {
    let left = || demand.deadline.saturating_duration_since(Instant::now());
    let route = || cache.digest(demand.route.expose());
    let began = clock();
    let call = Call { demand, began, left: &left, route: &route };
    let give_up = |entry: &Entry, error: ExchangeError, now: Timestamp| {
        call.old_token_or_error(entry.token.as_ref(), error, now).into_result(demand, now)
    };
    let mut entry = cache.read();
    if let Some(answer) = call.answer(&entry, began.timestamp()) {
        return answer.into_result(demand, began.timestamp());
    }
    let mut queue = cache.queue(demand.deadline);
    let permit = loop {
        match queue.step() {
            Ok(Turn::Exchange(permit)) => break permit,
            Ok(Turn::Wait) => queue.when_long(|holder| {
                let api = shown::quoted(demand.api);
                log::info!("waiting for {holder}, which is requesting a token from {api}");
            }),
            Ok(Turn::TooLate) => {
                let error = demand.error(ExchangeErrorKind::Waited);
                return give_up(&entry, error, clock().timestamp());
            }
            Err(error) => {
                cache.warn(&error);
                break Permit::unlocked();
            }
        }
        entry = cache.read();
        let now = clock().timestamp();
        if let Some(answer) = call.answer(&entry, now) {
            return answer.into_result(demand, now);
        }
    };
    // If the entry cannot be read now, the one that was read last is used.
    entry = cache.read_or_error().unwrap_or(entry);
    let before = Snapshot { entry, at: clock(), left: left() };
    let now = before.at.timestamp();
    if let Some(answer) = call.answer(&before.entry, now) {
        return answer.into_result(demand, now);
    }
    if before.left.is_zero() {
        return give_up(&before.entry, demand.error(ExchangeErrorKind::TimedOut), now);
    }
    log::debug!("requesting a token from {}", shown::quoted(demand.api));
    let outcome = match permit.with_heartbeat(demand.deadline, mint) {
        Ok(Token { bearer, validity }) => {
            Ok(Token { bearer, validity: validity.for_min_valid(demand.min_valid) })
        }
        // A local error (CA file, proxy address) is not cached, so that the next call sees the fix at once.
        Err(error) if error.is_local() => {
            return give_up(&before.entry, error, clock().timestamp());
        }
        Err(error) => {
            let has_timed_out = error.kind == ExchangeErrorKind::TimedOut || left().is_zero();
            Err(Failed { error, has_timed_out })
        }
    };
    let conclude = |entry: &Entry| call.conclude(entry, &before, &outcome, clock().timestamp());
    let answer = match cache.update(false, demand.deadline, conclude) {
        Ok(answer) => {
            cache.sweep();
            answer
        }
        Err(why) => {
            cache.warn(&why);
            conclude(&before.entry).1
        }
    };
    drop(permit);
    answer.into_result(demand, clock().timestamp())
}

/// Deletes the cached token if it is the `named` one, or if no token is named.
///
/// `at` is the host that refused the token; the refusal is stored. Without a host and a token, everything
/// that is cached for the account is deleted, and the results of exchanges under way are not cached.
/// [`without_token`] has the rules.
///
/// # Errors
/// The entry cannot be read or replaced.
pub fn forget(
    cache: &Cache,
    named: Option<&Secret>,
    at: Option<&str>,
    now: Timestamp,
    deadline: Instant,
) -> std::io::Result<()> {
    // Nothing to delete: return before the cache folder is created.
    if !cache.exists() {
        return Ok(());
    }
    let random = cache::random();
    cache.update(true, deadline, |entry| (without_token(entry, named, at, now, random), ()))
}

/// A call, with its demand and its start.
struct Call<'a> {
    demand: Demand<'a>,
    began: Moment,
    /// Returns the time until the deadline. A closure, because most answers do not need it.
    left: &'a dyn Fn() -> Duration,
    /// Returns the digest of the route. A closure for the same reason.
    route: &'a dyn Fn() -> String,
}

/// The state just before an exchange.
struct Snapshot {
    /// The entry.
    entry: Entry,
    /// The start of the exchange.
    at: Moment,
    /// The time until the call's deadline.
    left: Duration,
}

/// An exchange that failed.
struct Failed {
    error: ExchangeError,
    /// True if an exchange with more time may succeed.
    has_timed_out: bool,
}

/// The answer to a call.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    /// A token that meets the demand, or a new one that comes closest to it.
    Token(Token),
    /// The old token, which is still valid, and the error of the exchange.
    Old(Token, ExchangeError),
    /// The error of an exchange, with [`Remembered`] if it was cached.
    Failed(ExchangeError, Option<Remembered>),
    /// The host that has refused tokens, and the seconds until the pause is over.
    Refused(String, i64),
}

impl Call<'_> {
    /// Derives the answer from `entry`. Returns `None` if an exchange is necessary.
    fn answer(&self, entry: &Entry, now: Timestamp) -> Option<Answer> {
        let Entry { token, failure, epoch: _, refusals } = entry;
        let is_here = |refusal: &&Refusal| Some(refusal.host.as_str()) == self.demand.host;
        if let Some(Refusal { host, until: Some(until), .. }) =
            refusals.iter().find(is_here).filter(|refusal| refusal.is_current(now))
        {
            return Some(Answer::Refused(host.clone(), until.since(now)));
        }
        if let Some(cached) = token.as_ref().filter(|cached| self.is_met_by(cached, now)) {
            let token = cached.token.clone();
            log::debug!("a cached token serves, valid until {}", token.validity.expires_at);
            return Some(Answer::Token(token));
        }
        let failure = failure.as_ref().filter(|failure| {
            let is_in_time = !self.demand.refresh || failure.started_at > self.began;
            is_in_time && failure.is_current(&(self.route)(), now, (self.left)())
        })?;
        let remembered = Remembered { ago: now.since(failure.at), wait: failure.until.since(now) };
        let old = token.as_ref().filter(|_| !failure.error.is_rejection());
        Some(match self.old_token_or_error(old, failure.error.clone(), now) {
            Answer::Failed(error, None) => Answer::Failed(error, Some(remembered)),
            other => other,
        })
    }

    /// True if the cached token meets the demand.
    ///
    /// With `--refresh` its exchange must have begun after this call. If the exchange began in the future, the
    /// clock has jumped back. The order of the two is then unknown, and the token is not used.
    fn is_met_by(&self, cached: &CachedToken, now: Timestamp) -> bool {
        let CachedToken { token: Token { validity, .. }, started_at, .. } = cached;
        if self.demand.refresh {
            *started_at > self.began && started_at.timestamp() <= now && validity.is_valid(now)
        } else {
            validity.is_fresh(now, self.demand.min_valid)
        }
    }

    /// Applies the outcome of an exchange to `entry`. Returns the new entry, or `None` to leave it as it is,
    /// and this call's answer.
    ///
    /// "Later" means that the exchange of the token or failure in the entry began after this call's exchange.
    ///
    /// | outcome | entry now | new entry | answer |
    /// |---|---|---|---|
    /// | any | of another epoch, after a `forget` | as it is | as below |
    /// | token | a later token that is fresh | as it is | the new token |
    /// | token | anything else | the new token | the new token |
    /// | failure | a token that was cached since | as it is | that token, if it meets the demand |
    /// | transient failure | a later failure | as it is | the old token while it is valid |
    /// | transient failure | the token as it was, or none | the same, and the failure | the old token while it is valid |
    /// | rejection | the token as it was, or none | no token, and the failure | the failure |
    fn conclude(
        &self,
        entry: &Entry,
        before: &Snapshot,
        outcome: &Result<Token, Failed>,
        now: Timestamp,
    ) -> (Option<Entry>, Answer) {
        let is_same_epoch = entry.epoch == before.entry.epoch;
        let Failed { error, has_timed_out } = match outcome {
            Ok(token) => {
                let is_later = |cached: &CachedToken| {
                    cached.started_at > before.at && cached.token.validity.is_fresh(now, None)
                };
                let is_cached = is_same_epoch && !entry.token.as_ref().is_some_and(is_later);
                let new = is_cached.then(|| entry.with_token(token, before.at, now));
                return (new, Answer::Token(token.clone()));
            }
            Err(failed) => failed,
        };
        let is_since = |cached: &&CachedToken| {
            before.entry.token.as_ref() != Some(*cached) && cached.token.validity.is_valid(now)
        };
        let old = |token: Option<&CachedToken>| {
            self.old_token_or_error(token.filter(|_| !error.is_rejection()), error.clone(), now)
        };
        if let Some(since) = entry.token.as_ref().filter(is_since) {
            let is_met = self.is_met_by(since, now);
            return (
                None,
                if is_met { Answer::Token(since.token.clone()) } else { old(Some(since)) },
            );
        }
        let is_later = |failure: &FailedExchange| {
            failure.started_at > before.at && !error.is_rejection() && failure.at <= now
        };
        // An entry that cannot be read may contain a valid token, so a failure does not replace it.
        let is_written =
            is_same_epoch && entry.epoch.is_some() && !entry.failure.as_ref().is_some_and(is_later);
        let new = is_written.then(|| Entry {
            token: entry.token.clone().filter(|_| !error.is_rejection()),
            failure: Some(FailedExchange {
                error: error.clone(),
                route: (self.route)(),
                started_at: before.at,
                at: now,
                until: now.plus(error.cached_for()),
                waited: has_timed_out
                    .then(|| u64::try_from(before.left.as_millis()).unwrap_or(u64::MAX)),
            }),
            epoch: entry.epoch,
            refusals: entry.refusals.clone(),
        });
        (new, old(entry.token.as_ref()))
    }

    /// Answers with the old token if it is still valid, and otherwise with the error. `--refresh` never returns
    /// the old token.
    fn old_token_or_error(
        &self,
        cached: Option<&CachedToken>,
        error: ExchangeError,
        now: Timestamp,
    ) -> Answer {
        let is_usable =
            |cached: &&CachedToken| !self.demand.refresh && cached.token.validity.is_valid(now);
        match cached.filter(is_usable) {
            Some(cached) => Answer::Old(cached.token.clone(), error),
            None => Answer::Failed(error, None),
        }
    }
}

/// Applies a `forget` or an `erase` to `entry`. Returns the new entry, or `None` to leave it as it is.
///
/// | named | at a host | entry now | new entry |
/// |---|---|---|---|
/// | no | no | anything | empty |
/// | no, or the cached token | yes | a token | no token, and the refusal |
/// | the cached token | no | that token | no token |
/// | another token | | anything | as it is |
/// | no | yes | no token | as it is |
///
/// Each new entry has a new epoch. The host gets a pause if it has also refused the token before, and has
/// refused this one within [`REFUSAL`] seconds of its exchange.
fn without_token(
    entry: &Entry,
    named: Option<&Secret>,
    at: Option<&str>,
    now: Timestamp,
    random: u64,
) -> Option<Entry> {
    // An odd number, so that the epoch changes.
    let epoch = Some(entry.epoch.unwrap_or(cache::FIRST_EPOCH).wrapping_add(random | 1));
    if named.is_none() && at.is_none() {
        return Some(Entry { epoch, ..Entry::default() });
    }
    let cached = entry.token.as_ref()?;
    if named.is_some_and(|named| cached.token.bearer != *named) {
        return None;
    }
    let mut refusals = entry.refusals.clone();
    if let Some(host) = at {
        let earlier = refusals.iter().position(|refusal| refusal.host == host);
        let age = now.since(cached.cached_at);
        let is_second = earlier.is_some() && (0..=REFUSAL).contains(&age);
        earlier.map(|at| refusals.remove(at));
        if refusals.len() == MOST_REFUSALS {
            refusals.remove(0);
        }
        let until = is_second.then(|| now.plus(REFUSAL));
        refusals.push(Refusal { host: host.to_owned(), at: now, until });
    }
    Some(Entry { epoch, refusals, ..Entry::default() })
}

impl Entry {
    /// Replaces the token, and removes the failure.
    ///
    /// If the entry still has a token, no host has refused that token. Refusals without a pause are then
    /// deleted.
    fn with_token(&self, token: &Token, started_at: Moment, now: Timestamp) -> Self {
        let is_kept = |refusal: &&Refusal| self.token.is_none() || refusal.is_current(now);
        Self {
            token: Some(CachedToken { token: token.clone(), started_at, cached_at: now }),
            failure: None,
            // The epoch of an entry that cannot be read is unknown. No exchange under way has this one.
            epoch: Some(self.epoch.unwrap_or(u64::MAX)),
            refusals: self.refusals.iter().filter(is_kept).cloned().collect(),
        }
    }
}

impl Answer {
    /// Converts the answer to the result of the call. Warns if the token is old or does not meet the demand.
    fn into_result(self, demand: Demand<'_>, now: Timestamp) -> Result<Credential, Failure> {
        match self {
            Self::Token(token) => Ok(demand.credential(&token, now)),
            Self::Old(token, error) => {
                let until = Some(token.validity.expires_at);
                log::warn!("{error}; the cached token serves until {}", token.validity.expires_at);
                Ok(Credential { bearer: token.bearer, expires: until, accepted_until: until })
            }
            Self::Failed(error, remembered) => Err(Failure::Exchange { error, remembered }),
            Self::Refused(host, wait) => Err(Failure::Refused { host, wait }),
        }
    }
}

impl Demand<'_> {
    /// The credential for the caller. Its `expires` is the time of renewal, not the token's own expiry: a caller
    /// that calls again at that time gets a new token. If that time has passed, `expires` is the token's own
    /// expiry.
    fn credential(self, token: &Token, now: Timestamp) -> Credential {
        let validity = token.validity;
        if let Some((left, required)) = self.shortfall(token, now) {
            log::warn!("the token is valid for {left} s, less than the {required} s asked for");
        }
        let refresh_at = validity.refresh_at(self.min_valid);
        Credential {
            bearer: token.bearer.clone(),
            expires: Some(if now < refresh_at { refresh_at } else { validity.expires_at }),
            accepted_until: Some(validity.expires_at),
        }
    }

    /// The seconds for which the token is valid, and the seconds that are demanded. `None` if the token is valid
    /// for long enough.
    fn shortfall(self, token: &Token, now: Timestamp) -> Option<(i64, i64)> {
        let (left, required) = (token.validity.expires_at.since(now), self.min_valid?);
        (left < required).then_some((left, required))
    }

    /// An error of a call that sent no request.
    fn error(self, kind: ExchangeErrorKind) -> ExchangeError {
        let api = self.api.to_owned();
        ExchangeError { kind, api, detail: String::new(), proxy: None, retry_after: None }
    }
}

impl ExchangeError {
    /// Seconds for which the failure is cached.
    fn cached_for(&self) -> i64 {
        let bounded = |seconds: i64| seconds.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end());
        match self.is_rejection() {
            true => REJECTION,
            false => self.retry_after.map_or(TRANSIENT_FAILURE, bounded),
        }
    }
}

impl FailedExchange {
    /// True if the cached failure applies to a call on the route with this digest that has this much time left.
    ///
    /// A cached failure ends early if the clock jumps back. A time-out applies only to a call that has no more
    /// time than the exchange had. The comparison has a tolerance, because two calls with the same `--timeout`
    /// have slightly different times left at this point.
    pub fn is_current(&self, route: &str, now: Timestamp, left: Duration) -> bool {
        let is_same_route = self.error.is_rejection() || self.route == route;
        let has_more_time = self.waited.is_some_and(|waited| {
            left > Duration::from_millis(waited.saturating_add(waited / 10).saturating_add(100))
        });
        is_same_route && !has_more_time && self.at <= now && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::ServiceAccount;
    use crate::seal::Seal;
    use crate::token::Validity;
    use proptest::prelude::*;
    use std::cell::Cell;

    const API: &str = "https://api.example";

    /// Astra's answer to an exchange.
    #[derive(Clone, Copy, Debug)]
    enum Astra {
        /// A token with a lifetime of this many seconds.
        Issues(i64),
        /// A rejection of the account.
        Rejects,
        /// A transient failure, with a `Retry-After` or without.
        Fails(Option<i64>),
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The clock moves, forward or back.
        Clock(i64),
        /// A process calls [`serve`].
        Call { refresh: bool, min_valid: Option<i64>, astra: Astra },
        /// A process is killed between the exchange and the write.
        DiesBeforeWriting(Astra),
        /// A process calls [`forget`].
        Forget,
    }

    /// A simple model of the cache entry.
    #[derive(Default)]
    struct Model {
        token: Option<(String, Validity)>,
        rejected: Option<(i64, i64)>,
        failed: Option<(i64, i64)>,
    }

    impl Model {
        /// True if a call at `now` must not do an exchange.
        fn must_not_ask(&self, now: i64, min_valid: Option<i64>) -> bool {
            let is_current = |failure: Option<(i64, i64)>| {
                failure.is_some_and(|(at, until)| at <= now && now < until)
            };
            self.is_fresh(now, min_valid) || is_current(self.rejected) || is_current(self.failed)
        }

        fn is_fresh(&self, now: i64, min_valid: Option<i64>) -> bool {
            self.token.as_ref().is_some_and(|(_, life)| {
                let (request, renewal, expiry) =
                    (life.requested_at.unix(), life.refresh_at.unix(), life.expires_at.unix());
                let leeway = expiry - renewal;
                let wanted = expiry - min_valid.unwrap_or(0);
                let wanted = if life.falls_short { wanted.max(request + leeway) } else { wanted };
                request <= now && now < renewal && now < wanted
            })
        }

        fn is_valid(&self, token: &str, now: i64) -> bool {
            let known = self.token.as_ref().filter(|(known, _)| known == token);
            known.is_some_and(|(_, life)| {
                life.requested_at.unix() <= now && now < life.expires_at.unix()
            })
        }
    }

    fn exchange_error(kind: ExchangeErrorKind, retry_after: Option<i64>) -> ExchangeError {
        ExchangeError { kind, api: API.to_owned(), detail: String::new(), proxy: None, retry_after }
    }

    /// A demand without requirements.
    fn demand() -> Demand<'static> {
        let route = Box::leak(Box::new(Secret::new(String::new())));
        let deadline = Instant::now();
        Demand { refresh: false, min_valid: None, deadline, host: None, api: API, route }
    }

    /// A call with nine seconds left.
    fn call(demand: Demand<'static>, began: Moment) -> Call<'static> {
        Call { demand, began, left: &|| Duration::from_secs(9), route: &String::new }
    }

    /// A token whose `exp` is `life` seconds away, issued at `now`.
    fn issue(life: i64, now: i64, number: u32) -> Token {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let claims = format!(r#"{{"iat":{now},"exp":{}}}"#, now + life);
        let bearer = format!("{number}.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let validity = Validity::of(&bearer, None, Timestamp::from_unix(now), number * 37).unwrap();
        Token { bearer: Secret::new(bearer), validity }
    }

    /// A token whose exchange began at this second, with a lifetime of an hour.
    fn cached(number: u32, started_at: i64) -> CachedToken {
        let token = issue(3600, started_at, number);
        let at = Timestamp::from_unix(started_at);
        CachedToken { token, started_at: at.into(), cached_at: at }
    }

    /// Applies the outcome of an exchange to the entry that it finds at second 110, and shows the new entry
    /// and the answer. The exchange began at second 100, with the token 1 of second 90 in the entry of
    /// epoch 7.
    fn concluded(found: &Entry, outcome: Result<u32, ExchangeErrorKind>, refresh: bool) -> String {
        let seen = Entry { token: Some(cached(1, 90)), epoch: Some(7), ..Entry::default() };
        let at = Timestamp::from_unix(100).into();
        let before = Snapshot { entry: seen, at, left: Duration::from_secs(9) };
        let outcome = outcome.map(|number| issue(3600, 100, number)).map_err(|kind| Failed {
            error: exchange_error(kind, None),
            has_timed_out: kind == ExchangeErrorKind::TimedOut,
        });
        let call = call(Demand { refresh, ..demand() }, at);
        let (new, answer) = call.conclude(found, &before, &outcome, Timestamp::from_unix(110));
        let new = new.as_ref().map_or_else(|| "left".to_owned(), shown);
        let number = |token: &Token| token.bearer.expose()[..1].to_owned();
        let answer = match answer {
            Answer::Token(token) => number(&token),
            Answer::Old(token, _) => format!("old {}", number(&token)),
            Answer::Failed(..) => "failure".to_owned(),
            Answer::Refused(..) => "refused".to_owned(),
        };
        format!("{new:22} answer {answer}")
    }

    /// An entry in a few words: the token's number, the failure, the epoch.
    fn shown(entry: &Entry) -> String {
        let number = |cached: &CachedToken| cached.token.bearer.expose()[..1].to_owned();
        let token = entry.token.as_ref().map_or("-".to_owned(), number);
        let failure = entry.failure.as_ref().map_or(String::new(), |failed| {
            format!(" {:?}{}", failed.error.kind, failed.waited.map_or("", |_| " waited"))
        });
        let epoch = entry.epoch.map_or("unreadable".to_owned(), |epoch| epoch.to_string());
        format!("{token}{failure} @{epoch}")
    }

    #[test]
    fn an_exchange_changes_the_entry_by_these_rules() {
        use ExchangeErrorKind::{Rejected, TimedOut, Unavailable};
        let entry = |token: Option<CachedToken>, epoch| Entry { token, epoch, ..Entry::default() };
        let found = [
            ("as it was", entry(Some(cached(1, 90)), Some(7))),
            ("emptied by a rejection", entry(None, Some(7))),
            ("forgotten", entry(None, Some(8))),
            ("forgotten and filled again", entry(Some(cached(3, 105)), Some(8))),
            ("a token requested earlier, cached since", entry(Some(cached(3, 95)), Some(7))),
            ("a token requested later", entry(Some(cached(3, 105)), Some(7))),
            ("a token that has expired since", entry(Some(cached(3, -3500)), Some(7))),
            ("unreadable", entry(None, None)),
            ("a failure of a later request", {
                let error = exchange_error(Unavailable(500), None);
                let at = Timestamp::from_unix(105);
                let (started_at, until) = (at.into(), at.plus(5));
                let route = String::new();
                let failed = FailedExchange { error, route, started_at, at, until, waited: None };
                Entry { failure: Some(failed), ..entry(Some(cached(1, 90)), Some(7)) }
            }),
        ];
        let outcomes = [
            ("success", Ok(2), false),
            ("503", Err(Unavailable(503)), false),
            ("time-out", Err(TimedOut), false),
            ("401", Err(Rejected(401)), false),
            ("--refresh, success", Ok(2), true),
            ("--refresh, 503", Err(Unavailable(503)), true),
        ];
        let mut table = String::new();
        for (what, found) in &found {
            table += &format!("{what}: {}\n", shown(found));
            for (outcome, result, refresh) in outcomes {
                let concluded = concluded(found, result, refresh);
                table += &format!("  {outcome:18} {concluded}\n");
            }
        }
        insta::assert_snapshot!(table, @"
        as it was: 1 @7
          success            2 @7                   answer 2
          503                1 Unavailable(503) @7  answer old 1
          time-out           1 TimedOut waited @7   answer old 1
          401                - Rejected(401) @7     answer failure
          --refresh, success 2 @7                   answer 2
          --refresh, 503     1 Unavailable(503) @7  answer failure
        emptied by a rejection: - @7
          success            2 @7                   answer 2
          503                - Unavailable(503) @7  answer failure
          time-out           - TimedOut waited @7   answer failure
          401                - Rejected(401) @7     answer failure
          --refresh, success 2 @7                   answer 2
          --refresh, 503     - Unavailable(503) @7  answer failure
        forgotten: - @8
          success            left                   answer 2
          503                left                   answer failure
          time-out           left                   answer failure
          401                left                   answer failure
          --refresh, success left                   answer 2
          --refresh, 503     left                   answer failure
        forgotten and filled again: 3 @8
          success            left                   answer 2
          503                left                   answer 3
          time-out           left                   answer 3
          401                left                   answer 3
          --refresh, success left                   answer 2
          --refresh, 503     left                   answer 3
        a token requested earlier, cached since: 3 @7
          success            2 @7                   answer 2
          503                left                   answer 3
          time-out           left                   answer 3
          401                left                   answer 3
          --refresh, success 2 @7                   answer 2
          --refresh, 503     left                   answer failure
        a token requested later: 3 @7
          success            left                   answer 2
          503                left                   answer 3
          time-out           left                   answer 3
          401                left                   answer 3
          --refresh, success left                   answer 2
          --refresh, 503     left                   answer 3
        a token that has expired since: 3 @7
          success            2 @7                   answer 2
          503                3 Unavailable(503) @7  answer failure
          time-out           3 TimedOut waited @7   answer failure
          401                - Rejected(401) @7     answer failure
          --refresh, success 2 @7                   answer 2
          --refresh, 503     3 Unavailable(503) @7  answer failure
        unreadable: - @unreadable
          success            left                   answer 2
          503                left                   answer failure
          time-out           left                   answer failure
          401                left                   answer failure
          --refresh, success left                   answer 2
          --refresh, 503     left                   answer failure
        a failure of a later request: 1 Unavailable(500) @7
          success            2 @7                   answer 2
          503                left                   answer old 1
          time-out           left                   answer old 1
          401                - Rejected(401) @7     answer failure
          --refresh, success 2 @7                   answer 2
          --refresh, 503     left                   answer failure
        ");
    }

    #[test]
    fn dropping_a_token_changes_the_entry_by_these_rules() {
        let token = |number| Some(cached(number, 90));
        let refusal = |host: &str, until: Option<i64>| Refusal {
            host: host.to_owned(),
            at: Timestamp::from_unix(80),
            until: until.map(Timestamp::from_unix),
        };
        let entry = |token, refusals| Entry { token, refusals, epoch: Some(7), ..Entry::default() };
        let found = [
            ("no token", entry(None, vec![])),
            ("token 1", entry(token(1), vec![])),
            ("token 1, after a refusal by h", entry(token(1), vec![refusal("h", None)])),
            ("token 1, after a refusal by g", entry(token(1), vec![refusal("g", Some(111))])),
            ("unreadable", Entry::default()),
        ];
        let bearer = |number| issue(3600, 90, number).bearer;
        let (one, two) = (bearer(1), bearer(2));
        let orders = [
            ("forget", None, None, 110),
            ("erase 1 at h", Some(&one), Some("h"), 110),
            ("erase 1 at h, later", Some(&one), Some("h"), 121),
            ("erase 2 at h", Some(&two), Some("h"), 110),
            ("erase at h", None, Some("h"), 110),
            ("erase 1", Some(&one), None, 110),
        ];
        let mut table = String::new();
        for (what, found) in &found {
            table += &format!("{what}\n");
            for (order, named, at, now) in orders {
                let new = without_token(found, named, at, Timestamp::from_unix(now), 2);
                let shown = new.map_or("left".to_owned(), |new| {
                    let refusals = new.refusals.iter().map(|refusal| {
                        let until = refusal.until.map_or(0, Timestamp::unix);
                        format!(", {} at {} until {until}", refusal.host, refusal.at.unix())
                    });
                    shown(&new) + &refusals.collect::<String>()
                });
                table += &format!("  {order:20} {shown}\n");
            }
        }
        insta::assert_snapshot!(table, @"
        no token
          forget               - @10
          erase 1 at h         left
          erase 1 at h, later  left
          erase 2 at h         left
          erase at h           left
          erase 1              left
        token 1
          forget               - @10
          erase 1 at h         - @10, h at 110 until 0
          erase 1 at h, later  - @10, h at 121 until 0
          erase 2 at h         left
          erase at h           - @10, h at 110 until 0
          erase 1              - @10
        token 1, after a refusal by h
          forget               - @10
          erase 1 at h         - @10, h at 110 until 140
          erase 1 at h, later  - @10, h at 121 until 0
          erase 2 at h         left
          erase at h           - @10, h at 110 until 140
          erase 1              - @10, h at 80 until 0
        token 1, after a refusal by g
          forget               - @10
          erase 1 at h         - @10, g at 80 until 111, h at 110 until 0
          erase 1 at h, later  - @10, g at 80 until 111, h at 121 until 0
          erase 2 at h         left
          erase at h           - @10, g at 80 until 111, h at 110 until 0
          erase 1              - @10, g at 80 until 111
        unreadable
          forget               - @3
          erase 1 at h         left
          erase 1 at h, later  left
          erase 2 at h         left
          erase at h           left
          erase 1              left
        ");
    }

    #[test]
    fn a_refusal_is_kept_until_a_token_expires_without_being_erased() {
        let at = Timestamp::from_unix(80);
        let refusal = |until| Refusal { host: "h".to_owned(), at, until };
        let (token, now) = (issue(3600, 100, 2), Timestamp::from_unix(110));
        let kept = |token: Option<CachedToken>, until| {
            let refusals = vec![refusal(until)];
            let entry = Entry { token, refusals, ..Entry::default() };
            entry
                .with_token(&issue(3600, 100, 2), Timestamp::from_unix(100).into(), now)
                .refusals
                .len()
        };
        assert_eq!(kept(None, None), 1);
        assert_eq!(kept(Some(cached(1, 90)), None), 0);
        assert_eq!(kept(Some(cached(1, 90)), Some(now.plus(1))), 1);
        assert_eq!(kept(Some(cached(1, 90)), Some(now)), 0);
        assert!(token.validity.is_valid(now));
        // The oldest refusal is removed.
        let host = |number: usize| Refusal { host: number.to_string(), at, until: None };
        let refusals = (0..MOST_REFUSALS).map(host).collect();
        let full = Entry { token: Some(cached(1, 90)), refusals, ..Entry::default() };
        let refusals = without_token(&full, None, Some("h"), now, 0).unwrap().refusals;
        assert_eq!(refusals.len(), MOST_REFUSALS);
        assert_eq!((&*refusals[0].host, &*refusals[MOST_REFUSALS - 1].host), ("1", "h"));
    }

    #[test]
    fn an_unreadable_entry_is_replaced_by_a_token_and_not_by_a_failure() {
        let (unreadable, now) = (Entry::default(), Timestamp::from_unix(110));
        let at = Timestamp::from_unix(100).into();
        let before = Snapshot { entry: Entry::default(), at, left: Duration::from_secs(9) };
        let call = call(demand(), at);
        let token = Ok(issue(3600, 100, 2));
        assert!(call.conclude(&unreadable, &before, &token, now).0.is_some());
        let error = exchange_error(ExchangeErrorKind::Rejected(401), None);
        let failed = Err(Failed { error, has_timed_out: false });
        assert!(call.conclude(&unreadable, &before, &failed, now).0.is_none());
    }

    #[test]
    fn a_refresh_takes_only_a_result_whose_exchange_began_after_it() {
        let answer = |entry: &Entry, began: i64, now: i64| {
            let call =
                call(Demand { refresh: true, ..demand() }, Timestamp::from_unix(began).into());
            call.answer(entry, Timestamp::from_unix(now))
        };
        let token = Entry { token: Some(cached(1, 100)), ..Entry::default() };
        assert!(matches!(answer(&token, 99, 110), Some(Answer::Token(_))));
        assert_eq!(answer(&token, 100, 110), None);
        assert_eq!(answer(&token, 101, 110), None);
        // The clock has jumped back since.
        assert_eq!(answer(&token, 90, 99), None);
        assert_eq!(answer(&token, 99, 3700), None, "it has expired");
        let (at, until) = (Timestamp::from_unix(105), Timestamp::from_unix(200));
        let failure = FailedExchange {
            error: exchange_error(ExchangeErrorKind::Unavailable(503), None),
            route: String::new(),
            started_at: Timestamp::from_unix(100).into(),
            at,
            until,
            waited: None,
        };
        let failed = Entry { failure: Some(failure), ..Entry::default() };
        assert!(matches!(answer(&failed, 99, 110), Some(Answer::Failed(_, Some(_)))));
        assert_eq!(answer(&failed, 100, 110), None);
    }

    #[test]
    fn a_host_that_refuses_gets_no_token_and_others_do() {
        let refusal =
            |until| Refusal { host: "h".to_owned(), at: Timestamp::from_unix(100), until };
        let answer = |until: Option<i64>, host, now| {
            let refusals = vec![refusal(until.map(Timestamp::from_unix))];
            let entry = Entry { token: Some(cached(1, 90)), refusals, ..Entry::default() };
            let call = call(Demand { host, ..demand() }, Timestamp::from_unix(now).into());
            match call.answer(&entry, Timestamp::from_unix(now)) {
                Some(Answer::Refused(host, wait)) => format!("{host} {wait}"),
                other => format!("{}", matches!(other, Some(Answer::Token(_)))),
            }
        };
        assert_eq!(answer(Some(130), Some("h"), 110), "h 20");
        assert_eq!(answer(Some(130), Some("h"), 130), "true");
        assert_eq!(answer(Some(130), Some("h"), 99), "true");
        assert_eq!(answer(Some(130), Some("g"), 110), "true");
        assert_eq!(answer(Some(130), None, 110), "true");
        assert_eq!(answer(None, Some("h"), 110), "true");
    }

    #[test]
    fn a_token_that_is_valid_for_less_than_demanded_has_a_shortfall() {
        let (token, now) = (issue(3600, 100, 1), Timestamp::from_unix(110));
        let shortfall = |min_valid| Demand { min_valid, ..demand() }.shortfall(&token, now);
        assert_eq!(shortfall(None), None);
        assert_eq!(shortfall(Some(3590)), None);
        assert_eq!(shortfall(Some(3591)), Some((3590, 3591)));
    }

    #[test]
    fn a_cached_time_out_applies_to_calls_without_more_time_and_a_rejection_to_all() {
        let at = Timestamp::from_unix(100);
        let failed = |kind, waited| FailedExchange {
            error: exchange_error(kind, None),
            route: "r".to_owned(),
            started_at: at.into(),
            at,
            until: at.plus(5),
            waited,
        };
        let second = Duration::from_secs(1);
        let timed_out = failed(ExchangeErrorKind::TimedOut, Some(1000));
        assert!(timed_out.is_current("r", at, second));
        assert!(timed_out.is_current("r", at, second.mul_f64(1.2)));
        assert!(!timed_out.is_current("r", at, second.mul_f64(1.21)));
        assert!(!timed_out.is_current("s", at, second));
        let down = failed(ExchangeErrorKind::Unavailable(503), None);
        assert!(down.is_current("r", at, 100 * second) && !down.is_current("s", at, second));
        assert!(failed(ExchangeErrorKind::Rejected(401), None).is_current("s", at, 100 * second));
        assert!(
            !down.is_current("r", at.plus(5), second) && down.is_current("r", at.plus(4), second)
        );
        assert!(!down.is_current("r", at.plus(-1), second));
    }

    struct Machine {
        dir: tempfile::TempDir,
        now: i64,
        issued: u32,
        model: Model,
    }

    impl Machine {
        fn cache(&self) -> Cache {
            let account = ServiceAccount {
                client_name: "n".to_owned(),
                client_id: "i".to_owned(),
                client_secret: Secret::new("s".to_owned()),
            };
            Cache::new(self.dir.path().to_owned(), Seal::new(API, &account).unwrap())
        }

        fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
            match step {
                Step::Clock(by) => self.now += by,
                Step::Forget => {
                    let now = Timestamp::from_unix(self.now);
                    forget(&self.cache(), None, None, now, Instant::now()).unwrap();
                    self.model = Model::default();
                }
                Step::DiesBeforeWriting(astra) => {
                    // The answer is lost, and the entry has not changed.
                    let _ = self.exchange(astra);
                }
                Step::Call { refresh, min_valid, astra } => self.call(refresh, min_valid, astra)?,
            }
            Ok(())
        }

        fn exchange(&mut self, astra: Astra) -> Result<Token, ExchangeError> {
            self.issued += 1;
            match astra {
                Astra::Issues(life) => Ok(issue(life, self.now, self.issued)),
                Astra::Rejects => Err(exchange_error(ExchangeErrorKind::Rejected(401), None)),
                Astra::Fails(retry_after) => {
                    Err(exchange_error(ExchangeErrorKind::Unavailable(503), retry_after))
                }
            }
        }

        fn call(
            &mut self,
            refresh: bool,
            min_valid: Option<i64>,
            astra: Astra,
        ) -> Result<(), TestCaseError> {
            let deadline = Instant::now() + Duration::from_secs(1);
            let demand = Demand { refresh, min_valid, deadline, ..demand() };
            let (cache, now) = (self.cache(), self.now);
            let answered = self.exchange(astra);
            let has_asked = Cell::new(false);
            let mint = || {
                has_asked.set(true);
                answered.clone()
            };
            let answer = serve(&cache, demand, || Timestamp::from_unix(now).into(), mint);

            let must_not = !refresh && self.model.must_not_ask(now, min_valid);
            prop_assert_eq!(has_asked.get(), !must_not, "did an exchange, or did not");
            if has_asked.get() {
                self.learn(&answered, min_valid);
            }
            match &answer {
                Ok(credential) => {
                    let token = credential.bearer.expose();
                    prop_assert!(self.model.is_valid(token, now), "an expired token was served");
                    prop_assert!(credential.expires.unwrap().unix() > now, "the expiry has passed");
                }
                Err(Failure::Refused { .. }) => prop_assert!(false, "no host was named"),
                Err(Failure::Exchange { error, remembered }) => {
                    let has_token = self
                        .model
                        .token
                        .as_ref()
                        .is_some_and(|(token, _)| self.model.is_valid(token, now));
                    let is_transient = !error.is_rejection();
                    prop_assert!(
                        refresh || !(has_token && is_transient),
                        "a transient failure hid a valid token"
                    );
                    prop_assert_eq!(remembered.is_none(), has_asked.get());
                }
            }
            if has_asked.get() && answered.is_ok() {
                prop_assert!(answer.is_ok(), "a fresh token was not served");
            }
            Ok(())
        }

        fn learn(&mut self, answered: &Result<Token, ExchangeError>, min_valid: Option<i64>) {
            let now = self.now;
            match answered {
                Ok(token) => {
                    let life = token.validity.for_min_valid(min_valid);
                    self.model = Model::default();
                    self.model.token = Some((token.bearer.expose().to_owned(), life));
                }
                Err(error) if error.is_rejection() => {
                    self.model = Model::default();
                    self.model.rejected = Some((now, now + 30));
                }
                Err(error) => {
                    let wait = error.retry_after.unwrap_or(5).clamp(1, 60);
                    self.model.rejected = None;
                    self.model.failed = Some((now, now + wait));
                }
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let astra = || {
            prop_oneof![
                4 => (1_i64..40_000).prop_map(Astra::Issues),
                2 => (1_i64..20).prop_map(Astra::Issues),
                1 => Just(Astra::Rejects),
                2 => proptest::option::of(0_i64..100).prop_map(Astra::Fails),
            ]
        };
        let clock = prop_oneof![
            4 => 0_i64..10,
            2 => 0_i64..400,
            2 => 0_i64..40_000,
            1 => -10_i64..0,
            1 => -40_000_i64..0,
        ];
        let min_valid = proptest::option::weighted(0.2, 0_i64..50_000);
        let call = (proptest::bool::weighted(0.1), min_valid, astra());
        let step = prop_oneof![
            4 => clock.prop_map(Step::Clock),
            6 => call.prop_map(|(refresh, min_valid, astra)| Step::Call { refresh, min_valid, astra }),
            1 => astra().prop_map(Step::DiesBeforeWriting),
            1 => Just(Step::Forget),
        ];
        proptest::collection::vec(step, 1..40)
    }

    proptest! {
        #[test]
        fn the_rules_hold_whatever_happens(steps in steps()) {
            let dir = tempfile::tempdir().unwrap();
            let mut machine = Machine { dir, now: 2_000_000_000, issued: 0, model: Model::default() };
            for step in steps {
                machine.step(step)?;
            }
        }
    }
}
