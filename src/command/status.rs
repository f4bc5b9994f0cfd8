//! `status`: what is set, what is known and what went wrong last, without asking anybody.
//!
//! Safe to paste: no secret, no token, no claim of one. It reads, takes no lock and writes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::account::Account;
use crate::cache::{Entry, FailedExchange, LastFailure, Refusal};
use crate::error::Error;
use crate::settings::Stated;
use crate::timestamp::Timestamp;
use crate::token::Validity;

/// What there is to be seen.
pub struct Seen<'a> {
    /// The settings.
    pub settings: Vec<Stated>,
    /// What the account file holds, or why it cannot be used.
    pub account: Result<&'a Account, &'a Error>,
    /// The cache entry.
    pub entry: Entry,
    /// The last failure of this account, or the last one without account if that is later.
    pub last_failure: Option<LastFailure>,
    /// Seconds for which a caller wants a token to serve.
    pub min_valid: Option<i64>,
    /// The digest of the route to Astra, on which a failed exchange counts or does not.
    pub route: String,
    /// The time that a call has.
    pub timeout: Duration,
    /// The time.
    pub now: Timestamp,
}

/// The answer in JSON.
#[derive(Serialize)]
struct Status {
    account: AccountStatus,
    settings: BTreeMap<String, SettingStatus>,
    token: TokenStatus,
    verdict: Option<VerdictStatus>,
    refusals: Vec<RefusalStatus>,
    last_failure: Option<FailureStatus>,
}

#[derive(Serialize)]
struct SettingStatus {
    value: String,
    source: String,
}

#[derive(Serialize)]
struct AccountStatus {
    kind: Option<&'static str>,
    client_id: Option<String>,
    problem: Option<Problem>,
}

#[derive(Serialize)]
struct Problem {
    message: String,
    hint: String,
}

#[derive(Serialize)]
struct TokenStatus {
    state: TokenState,
    renewed_at: Option<String>,
    expires_at: Option<String>,
}

#[derive(Clone, Copy, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum TokenState {
    /// Never expires.
    Endless,
    /// Served as it is.
    Fresh,
    /// Accepted, and renewed by the next call.
    Due,
    /// No longer accepted.
    Expired,
    /// Not cached.
    None,
    /// Without an account there is no entry to look at.
    Unknown,
}

#[derive(Serialize)]
struct VerdictStatus {
    message: String,
    at: String,
    until: String,
    stands: bool,
}

/// A host that has refused a token.
#[derive(Serialize)]
struct RefusalStatus {
    host: String,
    at: String,
    /// No token is given to the host before.
    until: Option<String>,
}

#[derive(Serialize)]
struct FailureStatus {
    at: String,
    command: String,
    exit_code: u8,
    message: String,
    hint: String,
}

/// The answer and its exit code.
pub fn report(seen: Seen<'_>, is_json: bool) -> (Vec<u8>, u8) {
    let Seen { settings, account, entry, last_failure, min_valid, route, timeout, now } = seen;
    let Entry { token, failure, epoch: _, refusals } = entry;
    let validity = token.map(|cached| cached.token.validity);
    let state = match (account, &validity) {
        (Ok(Account::Application(_)), _) => TokenState::Endless,
        (_, Some(life)) if life.is_fresh(now, min_valid) => TokenState::Fresh,
        (_, Some(life)) if life.is_alive(now) => TokenState::Due,
        (_, Some(_)) => TokenState::Expired,
        (Ok(_), None) => TokenState::None,
        (Err(_), None) => TokenState::Unknown,
    };
    let exit_code = match account {
        Err(error) => error.exit_code(),
        Ok(_) if matches!(state, TokenState::Endless | TokenState::Fresh) => 0,
        Ok(_) => 1,
    };
    let renewed_at = validity.map(|life| life.refresh_at(min_valid));
    let verdict = failure.map(|failure| (failure.is_current(&route, now, timeout), failure));
    let life = validity.zip(renewed_at);
    let known = Known { account, state, life, verdict, refusals, last_failure };
    let answer = if is_json {
        super::line(&known.in_json(settings))
    } else {
        known.for_people(settings, now)
    };
    (answer.into_bytes(), exit_code)
}

/// What both forms of the answer tell.
struct Known<'a> {
    account: Result<&'a Account, &'a Error>,
    state: TokenState,
    /// The token's, and when it is renewed.
    life: Option<(Validity, Timestamp)>,
    /// The last exchange if it failed, and whether that holds for a call with these settings.
    verdict: Option<(bool, FailedExchange)>,
    refusals: Vec<Refusal>,
    last_failure: Option<LastFailure>,
}

impl Known<'_> {
    fn in_json(self, settings: Vec<Stated>) -> Status {
        let Self { account, state, life, verdict, refusals, last_failure } = self;
        let problem = |error: &Error| Problem { message: error.to_string(), hint: error.hint() };
        let key = |name: &str| name.to_lowercase().replace([' ', '-'], "_");
        Status {
            account: AccountStatus {
                kind: account.ok().map(Account::kind),
                client_id: account.ok().map(|account| account.client_id().to_owned()),
                problem: account.err().map(problem),
            },
            settings: settings
                .into_iter()
                .map(|Stated { name, value, source }| {
                    (key(name), SettingStatus { value, source: source.to_string() })
                })
                .collect(),
            token: TokenStatus {
                state,
                renewed_at: life.map(|(_, renewed_at)| renewed_at.to_string()),
                expires_at: life.map(|(life, _)| life.expires_at.to_string()),
            },
            verdict: verdict.map(|(stands, verdict)| VerdictStatus {
                message: verdict.error.to_string(),
                at: verdict.at.to_string(),
                until: verdict.until.to_string(),
                stands,
            }),
            refusals: refusals
                .into_iter()
                .map(|Refusal { host, at, until }| RefusalStatus {
                    host,
                    at: at.to_string(),
                    until: until.map(|until| until.to_string()),
                })
                .collect(),
            last_failure: last_failure.map(
                |LastFailure { at, command, exit_code, message, hint }| FailureStatus {
                    at: at.to_string(),
                    command,
                    exit_code,
                    message,
                    hint,
                },
            ),
        }
    }

    fn for_people(self, settings: Vec<Stated>, now: Timestamp) -> String {
        let Self { account, state, life, verdict, refusals, last_failure } = self;
        let setting = |Stated { name, value, source }| (name, format!("{value} ({source})"));
        let mut lines: Vec<(&str, String)> = settings.into_iter().map(setting).collect();
        lines.insert(1, ("account", account_line(account)));
        lines.push(("token", token_line(state, life, now)));
        lines.push(("verdict", verdict_line(state, verdict.as_ref(), now)));
        lines.extend(refusals.iter().map(|refusal| ("refused by", refusal_line(refusal, now))));
        lines.extend(failure_lines(last_failure, now));
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }
}

const UNKNOWN: &str = "unknown without an account";

fn account_line(account: Result<&Account, &Error>) -> String {
    match account {
        Ok(account) => format!("{}, client id {}", account.kind(), account.client_id()),
        Err(error) => format!("{error}; {}", error.hint()),
    }
}

fn token_line(state: TokenState, life: Option<(Validity, Timestamp)>, now: Timestamp) -> String {
    let when = |instant| when(instant, now);
    match (state, life) {
        (TokenState::Fresh, Some((life, renewed_at))) => {
            format!("valid until {}, renewed from {}", when(life.expires_at), when(renewed_at))
        }
        (TokenState::Due, Some((life, _))) => {
            format!("valid until {}, renewed by the next call", when(life.expires_at))
        }
        (TokenState::Expired, Some((life, _))) => format!("expired {}", when(life.expires_at)),
        (TokenState::Endless, _) => {
            "the application token itself, which does not expire".to_owned()
        }
        (TokenState::Unknown, _) => UNKNOWN.to_owned(),
        _ => "none in the cache".to_owned(),
    }
}

fn verdict_line(
    state: TokenState,
    verdict: Option<&(bool, FailedExchange)>,
    now: Timestamp,
) -> String {
    let Some((stands, verdict)) = verdict else {
        return (if state == TokenState::Unknown { UNKNOWN } else { "none" }).to_owned();
    };
    let stands = if *stands {
        format!("not asked again until {}", when(verdict.until, now))
    } else if verdict.at <= now && now < verdict.until {
        "does not stand for this proxy, these authorities and this time-out".to_owned()
    } else {
        "no longer stands".to_owned()
    };
    format!("{}, {}; {stands}", verdict.error, when(verdict.at, now))
}

fn refusal_line(refusal: &Refusal, now: Timestamp) -> String {
    let Refusal { host, at, until } = refusal;
    let until = until.filter(|_| refusal.is_current(now));
    let pause = until.map(|until| format!("; it gets no token until {}", when(until, now)));
    format!("{host}, {}{}", when(*at, now), pause.unwrap_or_default())
}

fn failure_lines(failure: Option<LastFailure>, now: Timestamp) -> Vec<(&'static str, String)> {
    let Some(LastFailure { at, command, exit_code, message, hint }) = failure else {
        return vec![("last failure", "none".to_owned())];
    };
    let happened = format!("{}, `{command}`, exit code {exit_code}", when(at, now));
    vec![("last failure", happened), ("", message), ("", format!("hint: {hint}"))]
}

/// The instant, and how far away it is.
fn when(instant: Timestamp, now: Timestamp) -> String {
    let seconds = instant.since(now);
    let distance = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
    if seconds > 0 {
        format!("{instant} (in {distance})")
    } else {
        format!("{instant} ({distance} ago)")
    }
}
