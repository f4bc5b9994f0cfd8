//! The one decision: reuse the token, or mint another.
//!
//! Look; if nothing answers, queue for the right to write, looking again after every step; look once
//! more under the lock; mint; fill. Every rule about expiry, outage and rejection is in [`Demand::answer`]
//! and in the match at the end of [`serve`].

use std::time::Duration;

use crate::cache::{Cache, Entry, Turn, Verdict};
use crate::error::{ExchangeError, ExchangeErrorKind, Remembered};
use crate::shown;
use crate::timestamp::Timestamp;
use crate::token::{Credential, Secret, Token};

/// What a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
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
    pub trouble: ExchangeError,
    /// Set when it happened to an earlier call.
    pub remembered: Option<Remembered>,
}

/// Seconds for which a rejection stands: long enough for a storm, short enough to try again by hand.
const REJECTION_STANDS: i64 = 30;

/// Seconds for which passing trouble stands, unless the server says how long, within bounds.
const TROUBLE_STANDS: i64 = 5;
const RETRY_AFTER: std::ops::RangeInclusive<i64> = 1..=60;

/// Answers `demand` from `cache`, or by `mint`.
///
/// # Errors
/// [`Failure`] when there is no token to be had, and none that is still valid.
pub fn serve(
    cache: &Cache,
    demand: Demand<'_>,
    clock: impl Fn() -> Timestamp,
    mint: impl FnOnce() -> Result<Token, ExchangeError>,
) -> Result<Credential, Failure> {
    let mut queue = cache.queue(demand.timeout);
    let (slot, seen) = loop {
        let entry = cache.read();
        if let Some(answer) = demand.answer(&entry, clock()) {
            return answer;
        }
        match queue.step() {
            Turn::Yours(slot) => break (slot, entry),
            Turn::Wait => queue.when_long(|holder| {
                log::info!("waiting for {holder}, which is asking {}", shown::quoted(demand.api));
            }),
            Turn::TooLate => return demand.make_do(entry.token, waited_for(demand.api), clock()),
        }
    };
    let entry = slot.read(seen);
    if let Some(answer) = demand.answer(&entry, clock()) {
        return answer;
    }
    log::debug!("asking {} for a token", shown::quoted(demand.api));
    match slot.hold(mint) {
        Ok(token) => {
            let validity = token.validity.asked_for(demand.min_valid);
            let token = Token { validity, ..token };
            let credential = demand.credential(&token, clock());
            slot.fill(&Entry { token: Some(token), verdict: None });
            Ok(credential)
        }
        Err(trouble) => {
            let now = clock();
            // A rejection takes the token along: what was revoked must be noticed.
            let token = entry.token.filter(|_| !trouble.is_rejection());
            // What is wrong on this machine alone is mended here, and counts from then on.
            if !trouble.is_local() {
                let verdict = Some(Verdict::of(trouble.clone(), demand.route, now));
                slot.fill(&Entry { token: token.clone(), verdict });
            }
            demand.make_do(token, trouble, now)
        }
    }
}

/// Drops the cached token, and whatever is remembered, if the token is `named` or none is.
///
/// # Errors
/// The entry cannot be removed, or others kept it locked for all of `timeout`.
pub fn forget(cache: &Cache, named: Option<&Secret>, timeout: Duration) -> std::io::Result<()> {
    // What is not there needs no lock, and no folder to put one in.
    if cache.look().is_ok_and(|entry| !entry.is_named(named)) {
        return Ok(());
    }
    let mut queue = cache.queue(timeout);
    let slot = loop {
        match queue.step() {
            Turn::Yours(slot) => break slot,
            Turn::Wait => queue.when_long(|holder| log::info!("waiting for {holder}")),
            Turn::TooLate => return Err(std::io::Error::other("another process holds its lock")),
        }
    };
    // What cannot be read may be the one that is named.
    match cache.look() {
        Ok(entry) if !entry.is_named(named) => Ok(()),
        Err(error) if named.is_some() => Err(error),
        _ => slot.clear(),
    }
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

impl Demand<'_> {
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
        trouble: ExchangeError,
        now: Timestamp,
    ) -> Result<Credential, Failure> {
        let alive = self.still_alive(token.as_ref(), &trouble, now);
        alive.ok_or(Failure { trouble, remembered: None })
    }

    /// Who asked for a new token by name is not given the old one.
    fn still_alive(
        self,
        token: Option<&Token>,
        trouble: &ExchangeError,
        now: Timestamp,
    ) -> Option<Credential> {
        let token = token.filter(|token| !self.refresh && token.validity.is_alive(now))?;
        let until = token.validity.expires_at;
        log::warn!("{trouble}; the cached token serves until {until}");
        Some(Credential {
            bearer: token.bearer.clone(),
            expires: Some(until),
            accepted_until: Some(until),
        })
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
            accepted_until: Some(validity.expires_at),
        }
    }
}

impl Verdict {
    fn of(trouble: ExchangeError, route: &str, at: Timestamp) -> Self {
        let seconds = if trouble.is_rejection() {
            REJECTION_STANDS
        } else {
            trouble.retry_after.map_or(TROUBLE_STANDS, |asked| {
                asked.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
            })
        };
        Self { trouble, route: route.to_owned(), at, until: at.plus(seconds) }
    }

    /// Whether it holds for a call on this way to Astra. A clock that jumped back must not make a
    /// verdict outlive its cause.
    pub fn stands(&self, route: &str, now: Timestamp) -> bool {
        let is_same_way = self.trouble.is_rejection() || self.route == route;
        is_same_way && self.at <= now && now < self.until
    }
}

fn waited_for(api: &str) -> ExchangeError {
    ExchangeError {
        kind: ExchangeErrorKind::Waited,
        api: api.to_owned(),
        detail: String::new(),
        proxy: None,
        retry_after: None,
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

    /// What Astra does with an exchange.
    #[derive(Clone, Copy, Debug)]
    enum Astra {
        /// Answers with a token that lives this many seconds.
        Issues(i64),
        /// Says no.
        Refuses,
        /// Fails in passing, perhaps saying for how long.
        Fails(Option<i64>),
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The clock moves, forward or back.
        Clock(i64),
        /// A process asks.
        Call { refresh: bool, min_valid: Option<i64>, astra: Astra },
        /// A process asks, and dies between the exchange and the write.
        DiesBeforeWriting(Astra),
        /// Somebody forgets the token.
        Forget,
    }

    /// What ought to be known, kept in the plainest way.
    #[derive(Default)]
    struct Model {
        token: Option<(String, Validity)>,
        rejected: Option<(i64, i64)>,
        troubled: Option<(i64, i64)>,
    }

    impl Model {
        /// Whether a call at `now` has no business asking Astra.
        fn must_not_ask(&self, now: i64, min_valid: Option<i64>) -> bool {
            let stands = |verdict: Option<(i64, i64)>| {
                verdict.is_some_and(|(at, until)| at <= now && now < until)
            };
            self.is_fresh(now, min_valid) || stands(self.rejected) || stands(self.troubled)
        }

        fn is_fresh(&self, now: i64, min_valid: Option<i64>) -> bool {
            self.token.as_ref().is_some_and(|(_, life)| {
                let (born, renew, dead) =
                    (life.requested_at.unix(), life.refresh_at.unix(), life.expires_at.unix());
                let leeway = dead - renew;
                let wanted = dead - min_valid.unwrap_or(0);
                let wanted = if life.falls_short { wanted.max(born + leeway) } else { wanted };
                born <= now && now < renew && now < wanted
            })
        }

        fn is_alive(&self, token: &str, now: i64) -> bool {
            let known = self.token.as_ref().filter(|(known, _)| known == token);
            known.is_some_and(|(_, life)| {
                life.requested_at.unix() <= now && now < life.expires_at.unix()
            })
        }
    }

    fn trouble(kind: ExchangeErrorKind, retry_after: Option<i64>) -> ExchangeError {
        ExchangeError { kind, api: API.to_owned(), detail: String::new(), proxy: None, retry_after }
    }

    /// A token whose `exp` is `life` seconds away, issued at `now`.
    fn issue(life: i64, now: i64, number: u32) -> Token {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let claims = format!(r#"{{"iat":{now},"exp":{}}}"#, now + life);
        let bearer = format!("{number}.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let validity = Validity::of(&bearer, None, Timestamp::from_unix(now), number * 37).unwrap();
        Token { bearer: Secret::new(bearer), validity }
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
                    forget(&self.cache(), None, Duration::from_secs(1)).unwrap();
                    self.model = Model::default();
                }
                Step::DiesBeforeWriting(astra) => {
                    // Whatever Astra answered is lost; what is on disk has not changed.
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
                Astra::Refuses => Err(trouble(ExchangeErrorKind::Rejected(401), None)),
                Astra::Fails(retry_after) => {
                    Err(trouble(ExchangeErrorKind::Unavailable(503), retry_after))
                }
            }
        }

        fn call(
            &mut self,
            refresh: bool,
            min_valid: Option<i64>,
            astra: Astra,
        ) -> Result<(), TestCaseError> {
            let demand =
                Demand { refresh, min_valid, timeout: Duration::from_secs(1), api: API, route: "" };
            let (cache, now) = (self.cache(), self.now);
            let answered = self.exchange(astra);
            let has_asked = Cell::new(false);
            let mint = || {
                has_asked.set(true);
                answered.clone()
            };
            let answer = serve(&cache, demand, || Timestamp::from_unix(now), mint);

            let must_not = !refresh && self.model.must_not_ask(now, min_valid);
            prop_assert_eq!(has_asked.get(), !must_not, "asked Astra, or did not");
            if has_asked.get() {
                self.learn(&answered, min_valid);
            }
            match &answer {
                Ok(credential) => {
                    let token = credential.bearer.expose();
                    prop_assert!(self.model.is_alive(token, now), "served what has expired");
                    prop_assert!(
                        credential.expires.unwrap().unix() > now,
                        "told an expiry that has passed"
                    );
                }
                Err(failure) => {
                    let has_token = self
                        .model
                        .token
                        .as_ref()
                        .is_some_and(|(token, _)| self.model.is_alive(token, now));
                    let is_passing = !failure.trouble.is_rejection();
                    prop_assert!(
                        refresh || !(has_token && is_passing),
                        "an outage cost a valid token"
                    );
                    prop_assert_eq!(failure.remembered.is_none(), has_asked.get());
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
                    let life = token.validity.asked_for(min_valid);
                    self.model = Model::default();
                    self.model.token = Some((token.bearer.expose().to_owned(), life));
                }
                Err(trouble) if trouble.is_rejection() => {
                    self.model = Model::default();
                    self.model.rejected = Some((now, now + 30));
                }
                Err(trouble) => {
                    let wait = trouble.retry_after.unwrap_or(5).clamp(1, 60);
                    self.model.rejected = None;
                    self.model.troubled = Some((now, now + wait));
                }
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let astra = || {
            prop_oneof![
                4 => (1_i64..40_000).prop_map(Astra::Issues),
                2 => (1_i64..20).prop_map(Astra::Issues),
                1 => Just(Astra::Refuses),
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
