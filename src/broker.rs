//! The one decision: reuse the token, or mint another.
//!
//! Look; if nothing answers, queue for the right to write, looking again after every step; look once
//! more under the lock; mint; fill. Every rule about expiry, outage and rejection is in [`Wish::answer`]
//! and in the match at the end of [`serve`].

use std::time::Duration;

use crate::cache::{Cache, Entry, Turn, Verdict};
use crate::error::{Kind, Remembered, Trouble};
use crate::timestamp::Timestamp;
use crate::token::{Credential, Secret, Token};

/// What a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// An exchange, whatever is cached or remembered.
    pub refresh: bool,
    /// Seconds for which the token must serve; `None` for the leeway.
    pub min_valid: Option<i64>,
    /// How long to wait for others.
    pub timeout: Duration,
    /// The API base, for the failure that is the broker's own: the others did not finish.
    pub api: &'a str,
    /// Through which proxy and trusting whom Astra is asked: trouble on one way there says nothing
    /// of another.
    pub route: &'a str,
}

/// Why there is no credential.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub trouble: Trouble,
    /// Set when it happened to an earlier call.
    pub remembered: Option<Remembered>,
}

/// Seconds for which a rejection stands: long enough for a storm, short enough to try again by hand.
const REJECTION_STANDS: i64 = 30;

/// Seconds for which passing trouble stands, unless the server says how long, within bounds.
const TROUBLE_STANDS: i64 = 5;
const RETRY_AFTER: std::ops::RangeInclusive<i64> = 1..=60;

/// Answers `wish` from `cache`, or by `mint`.
///
/// # Errors
/// [`Failure`] when there is no token to be had, and none that is still valid.
pub fn serve(
    cache: &Cache,
    wish: Wish<'_>,
    clock: impl Fn() -> Timestamp,
    mint: impl FnOnce() -> Result<Token, Trouble>,
) -> Result<Credential, Failure> {
    let mut queue = cache.queue(wish.timeout);
    let slot = loop {
        let entry = cache.read();
        if let Some(answer) = wish.answer(&entry, clock()) {
            return answer;
        }
        match queue.step() {
            Turn::Yours(slot) => break slot,
            Turn::Wait => {}
            Turn::TooLate => return wish.make_do(entry.token, waited_for(wish.api), clock()),
        }
    };
    let entry = slot.read();
    if let Some(answer) = wish.answer(&entry, clock()) {
        return answer;
    }
    log::debug!("asking `{}` for a token", wish.api);
    match slot.hold(mint) {
        Ok(token) => {
            let validity = token.validity.asked_for(wish.min_valid);
            let token = Token { validity, ..token };
            let credential = wish.credential(&token, clock());
            slot.fill(&Entry { token: Some(token), verdict: None });
            Ok(credential)
        }
        Err(trouble) => {
            let now = clock();
            // A rejection takes the token along: what was revoked must be noticed.
            let token = entry.token.filter(|_| !trouble.is_rejection());
            // What is wrong on this machine alone is mended here, and counts from then on.
            if !trouble.is_local() {
                let verdict = Some(Verdict::of(trouble.clone(), wish.route, now));
                slot.fill(&Entry { token: token.clone(), verdict });
            }
            wish.make_do(token, trouble, now)
        }
    }
}

/// Drops the cached token, and whatever is remembered, if the token is `named` or none is.
///
/// # Errors
/// The entry cannot be removed, or others kept it locked for all of `timeout`.
pub fn forget(cache: &Cache, named: Option<&Secret>, timeout: Duration) -> std::io::Result<()> {
    // What is not there needs no lock, and no folder to put one in.
    if !cache.read().is_named(named) {
        return Ok(());
    }
    let mut queue = cache.queue(timeout);
    let slot = loop {
        match queue.step() {
            Turn::Yours(slot) => break slot,
            Turn::Wait => {}
            Turn::TooLate => return Err(std::io::Error::other("another process holds its lock")),
        }
    };
    if slot.read().is_named(named) { slot.clear() } else { Ok(()) }
}

impl Entry {
    /// Whether the entry holds the token `named`, or anything when none is.
    fn is_named(&self, named: Option<&Secret>) -> bool {
        let Self { token, verdict } = self;
        match named {
            Some(named) => token.as_ref().is_some_and(|token| token.bearer == *named),
            None => token.is_some() || verdict.is_some(),
        }
    }
}

impl Wish<'_> {
    /// The answer that `entry` gives; `None` when Astra has to be asked.
    fn answer(self, entry: &Entry, now: Timestamp) -> Option<Result<Credential, Failure>> {
        if self.refresh {
            return None;
        }
        let Entry { token, verdict } = entry;
        if let Some(token) = token
            && token.validity.is_fresh(now, self.min_valid)
        {
            log::debug!("a cached token serves, valid until {}", token.validity.expires_at);
            return Some(Ok(self.credential(token, now)));
        }
        let verdict = verdict.as_ref().filter(|verdict| verdict.stands(self.route, now))?;
        if !verdict.trouble.is_rejection()
            && let Some(credential) = self.still_alive(token.as_ref(), &verdict.trouble, now)
        {
            return Some(Ok(credential));
        }
        let (ago, wait) = (now.since(verdict.at), verdict.until.since(now));
        Some(Err(Failure {
            trouble: verdict.trouble.clone(),
            remembered: Some(Remembered { ago, wait }),
        }))
    }

    /// After passing trouble, the old token for as long as it is accepted; else the trouble.
    fn make_do(
        self,
        token: Option<Token>,
        trouble: Trouble,
        now: Timestamp,
    ) -> Result<Credential, Failure> {
        let alive = self.still_alive(token.as_ref(), &trouble, now);
        alive.ok_or(Failure { trouble, remembered: None })
    }

    /// Who asked for a new token by name is not given the old one.
    fn still_alive(
        self,
        token: Option<&Token>,
        trouble: &Trouble,
        now: Timestamp,
    ) -> Option<Credential> {
        let token = token.filter(|token| !self.refresh && token.validity.is_alive(now))?;
        let until = token.validity.expires_at;
        log::warn!("{trouble}; the cached token serves until {until}");
        Some(Credential { bearer: token.bearer.clone(), expires: Some(until) })
    }

    /// The expiry that callers are told is the instant at which this program would renew, so that
    /// who comes back then gets a new token; but never one that has passed.
    fn credential(self, token: &Token, now: Timestamp) -> Credential {
        let validity = token.validity;
        let left = validity.expires_at.since(now);
        if let Some(wanted) = self.min_valid
            && left < wanted
        {
            log::warn!("the token is valid for {left} s, less than the {wanted} s asked for");
        }
        let refresh_at = validity.refresh_at(self.min_valid);
        Credential {
            bearer: token.bearer.clone(),
            expires: Some(if now < refresh_at { refresh_at } else { validity.expires_at }),
        }
    }
}

impl Verdict {
    fn of(trouble: Trouble, route: &str, at: Timestamp) -> Self {
        let seconds = if trouble.is_rejection() {
            REJECTION_STANDS
        } else {
            trouble.retry_after.map_or(TROUBLE_STANDS, |asked| {
                asked.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
            })
        };
        Self { trouble, route: route.to_owned(), at, until: at.plus(seconds) }
    }

    /// A clock that jumped back must not make a verdict outlive its cause.
    fn stands(&self, route: &str, now: Timestamp) -> bool {
        let is_same_way = self.trouble.is_rejection() || self.route == route;
        is_same_way && self.at <= now && now < self.until
    }
}

fn waited_for(api: &str) -> Trouble {
    Trouble {
        kind: Kind::Waited,
        api: api.to_owned(),
        detail: String::new(),
        proxy: None,
        retry_after: None,
    }
}
