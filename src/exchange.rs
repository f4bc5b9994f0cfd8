//! Posts the service account to `/v2/authenticateServiceAccount` and reads the token from the answer.
//! This module and those below it are the only code that uses the network.
//!
//! The secret is sent only to the API base: over `https`, after the certificate has been verified.
//! Redirects are never followed. The whole exchange has one deadline, and bodies are read up to 1 MiB.

mod certificate;
mod connection;
mod failure;
mod handshake;
mod tls;
mod trust;

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::http::header::{DATE, HeaderMap, RETRY_AFTER};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::account::ServiceAccount;
use crate::error::{ExchangeError, ExchangeErrorKind};
use crate::exchange::connection::{Dialer, NoResolver};
use crate::exchange::failure::Failure;
use crate::exchange::handshake::USER_AGENT;
use crate::exchange::tls::Tls;
use crate::exchange::trust::Trust;
use crate::proxy::Proxy;
use crate::seal;
use crate::shown::Escaped;
use crate::timestamp::Timestamp;
use crate::token::{self, AlreadyExpired, Secret, Token, Validity};

/// The inputs of an exchange, except the account.
pub struct Exchange<'a> {
    /// The API base, without `/v2`.
    pub api: &'a str,
    /// A file of PEM certificates, which are trusted instead of the system's.
    pub ca_file: Option<&'a Path>,
    /// Folders of PEM certificates, which are trusted instead of the system's. Used only without `ca_file`.
    pub ca_folders: &'a [PathBuf],
    /// The proxy's URL; `None` for a direct connection.
    pub proxy: Option<&'a str>,
    /// The deadline of the whole exchange.
    pub deadline: Instant,
}

/// The result of [`Exchange::probe`].
pub struct Probe {
    /// The time from the start of the connection to the answer, TLS included.
    pub took: Duration,
    /// Seconds by which this machine's clock is ahead of the server's; `None` if the answer has no `Date`.
    pub clock_ahead: Option<i64>,
}

/// The largest answer that is read, in bytes after decompression.
const LARGEST_BODY: u64 = 1024 * 1024;

/// The largest number of attempts, the first included.
const ATTEMPTS: u32 = 3;

/// The pause before the second attempt; doubled before the third, each with jitter.
const PAUSE: Duration = Duration::from_millis(250);

/// The longest `Retry-After` that an exchange waits for. With a longer one, the failure is cached.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The largest number of messages that are read from one failure.
const MOST_MESSAGES: usize = 16;

/// The largest number of characters of a server's message that are shown.
const LONGEST_DETAIL: usize = 200;

/// The body of the request: the three fields that the API documents.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    client_name: &'a str,
    client_id: &'a str,
    client_secret: &'a str,
}

/// The body of the documented answer. The API's documentation does not mark `token` as required, so
/// [`token_in`] accepts other forms too.
#[derive(Deserialize)]
struct Answer {
    token: Secret,
}

/// The body of an error: `{"errors":[{"ID":340012,"message":"…"}]}`.
///
/// The elements stay text until they are read one by one. As JSON values, 1 MiB of `{"":0}` would take
/// 100 MiB of memory.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Errors<'a> {
    #[serde(borrow)]
    errors: Vec<&'a RawValue>,
}

/// An element of [`Errors`] that is an object.
#[derive(Deserialize)]
struct Described {
    message: String,
}

impl Exchange<'_> {
    /// Exchanges `account` for a token.
    ///
    /// After a connection error or a status 429, 502, 503 or 504, the exchange is tried again: [`ATTEMPTS`]
    /// times at most, with a pause in between, and only before the deadline.
    ///
    /// # Errors
    /// The error of the last attempt. It does not contain the secret.
    pub fn mint(self, account: &ServiceAccount) -> Result<Token, ExchangeError> {
        let agent = self.agent()?;
        let body = self.body(account)?;
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let (error, is_transient) = match self.attempt(&agent, &body, account) {
                Ok(token) => return Ok(token),
                Err(failure) => failure,
            };
            let retry_after = error.retry_after.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
            let wait = Duration::from_secs(retry_after).max(seal::jittered(pause));
            pause *= 2;
            let left = self.deadline.saturating_duration_since(Instant::now());
            if !is_transient || attempt == ATTEMPTS || wait > LONGEST_PAUSE || wait >= left {
                return Err(error);
            }
            log::debug!("{error}; trying again in {} ms", wait.as_millis());
            thread::sleep(wait);
            attempt += 1;
        }
    }

    /// Sends a `HEAD` request without any secret to the API base.
    ///
    /// # Errors
    /// The error that an exchange would return: no connection, or a certificate that is not trusted.
    pub fn probe(&self) -> Result<Probe, ExchangeError> {
        let agent = self.agent()?;
        let start = Instant::now();
        let left = self.deadline.saturating_duration_since(start);
        let request = agent.head(format!("{}/", self.api));
        let answer = request.config().timeout_global(Some(left)).build().call();
        let headers =
            answer.map_err(|error| self.transport_error(&error).0)?.into_parts().0.headers;
        let clock_ahead = date(&headers).map(|date| Timestamp::now().since(date));
        Ok(Probe { took: start.elapsed(), clock_ahead })
    }

    /// An HTTP client for the API base.
    fn agent(&self) -> Result<Agent, ExchangeError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = Trust::of(self.ca_file, self.ca_folders, &provider, self.deadline)
            .and_then(|trust| Tls::new(trust, provider))
            .map_err(|why| self.error(ExchangeErrorKind::Authorities, why))?;
        let proxy = self.proxy.map(Proxy::parse).transpose();
        let proxy = proxy.map_err(|why| {
            self.error(ExchangeErrorKind::Proxy, format!("the proxy's URL {why}"))
        })?;
        let config = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            // The dialer uses the proxy. Without this, ureq would read one from the environment.
            .proxy(None)
            .build();
        let (deadline, tls) = (self.deadline, Arc::new(tls));
        let dialer = Dialer { proxy, deadline, tls };
        Ok(Agent::with_parts(config, dialer, NoResolver))
    }

    /// The request's body, in memory that is zeroed on drop and large enough not to be moved.
    fn body(&self, account: &ServiceAccount) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        let ServiceAccount { client_name, client_id, client_secret } = account;
        let client_secret = client_secret.expose();
        let escaped = 6 * (client_name.len() + client_id.len() + client_secret.len());
        let mut body = Zeroizing::new(Vec::with_capacity(escaped + 64));
        let request = Request { client_name, client_id, client_secret };
        serde_json::to_writer(&mut *body, &request).map_err(|_| {
            self.error(ExchangeErrorKind::Unusable, "the account cannot be written".to_owned())
        })?;
        Ok(body)
    }

    /// Sends one POST. An error comes with true if another attempt may succeed.
    fn attempt(
        &self,
        agent: &Agent,
        body: &[u8],
        account: &ServiceAccount,
    ) -> Result<Token, (ExchangeError, bool)> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // The token's lifetime is counted from here, so that a late answer does not lengthen it.
        let requested_at = Timestamp::now();
        let sent = agent
            .post(format!("{}/v2/authenticateServiceAccount", self.api))
            .config()
            .timeout_global(Some(left))
            .build()
            .content_type("application/json")
            .header("accept", "application/json")
            .send(body);
        let (parts, mut body) = sent.map_err(|error| self.transport_error(&error))?.into_parts();
        let status = parts.status.as_u16();
        if status != 200 {
            // A body that cannot be read must not hide the status.
            let (text, _) = read_text(&mut body);
            let mut error = self.error(kind_of(status), detail(&text, account));
            error.retry_after = retry_after(&parts.headers, Timestamp::now());
            return Err((error, matches!(status, 429 | 502 | 503 | 504)));
        }
        let unusable = |what: String| (self.error(ExchangeErrorKind::Unusable, what), false);
        let (text, read) = read_text(&mut body);
        read.map_err(|error| self.transport_error(&error.into()))?;
        // An answer that repeats the request must not make the secret a token.
        let secret = account.client_secret.expose();
        let is_secret = |bearer: &Secret| bearer.expose() == secret;
        let Some(bearer) = token_in(&text).filter(|bearer| !is_secret(bearer)) else {
            return Err(unusable(detail(&text, account)));
        };
        let validity = Validity::of(
            bearer.expose(),
            date(&parts.headers),
            requested_at,
            seal::random() as u32,
        )
        .map_err(|AlreadyExpired| unusable("the token it gave had already expired".to_owned()))?;
        // This process may have been stopped before it read the answer.
        if validity.expires_at <= Timestamp::now() {
            let (error, _) = unusable("its token expired before the answer was read".to_owned());
            return Err((error, true));
        }
        Ok(Token { bearer, validity })
    }

    /// An error with the API base and the proxy.
    fn error(&self, kind: ExchangeErrorKind, detail: String) -> ExchangeError {
        ExchangeError {
            kind,
            api: self.api.to_owned(),
            detail,
            proxy: self.proxy.and_then(|url| Proxy::parse(url).ok()).map(|proxy| proxy.to_string()),
            retry_after: None,
        }
    }

    /// Converts an error of ureq. It comes with true if another attempt may succeed.
    fn transport_error(&self, error: &ureq::Error) -> (ExchangeError, bool) {
        use ureq::Error as E;
        let failure = match error {
            E::Timeout(_) => Failure::permanent(ExchangeErrorKind::TimedOut, ""),
            E::Other(inner) => match inner.downcast_ref::<Failure>() {
                Some(failure) => failure.clone(),
                None => Failure::transient(inner.to_string()),
            },
            E::Io(error) => Failure::of_io(error),
            E::Protocol(error) => {
                log::debug!("HTTP: {error}");
                Failure::permanent(ExchangeErrorKind::Unusable, "it does not answer in HTTP")
            }
            other => Failure::permanent(ExchangeErrorKind::Unusable, other.to_string()),
        };
        (self.error(failure.kind, clipped(&failure.detail)), failure.is_transient)
    }
}

/// Looks up the IP addresses of `host`, until `deadline`.
///
/// # Errors
/// The system's message, or that the lookup took too long.
pub fn addresses(host: &str, deadline: Instant) -> Result<Vec<String>, String> {
    // The lookup requires a port, which has no effect here.
    let found = connection::addresses(host, 443, deadline).map_err(|failure| failure.detail)?;
    let mut addresses: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    addresses.dedup();
    Ok(addresses)
}

/// The kind of error for a status other than 200.
fn kind_of(status: u16) -> ExchangeErrorKind {
    match status {
        400 | 401 | 403 => ExchangeErrorKind::Rejected(status),
        404 | 410 => ExchangeErrorKind::Gone(status),
        300..=399 => ExchangeErrorKind::Redirected(status),
        429 | 500..=599 => ExchangeErrorKind::Unavailable(status),
        _ => ExchangeErrorKind::Unexpected(status),
    }
}

/// Reads a body as text. Returns the text that was read before an error, and the error. Bytes that are not
/// UTF-8 are replaced: no token contains them, and messages do not need them.
fn read_text(body: &mut Body) -> (Zeroizing<String>, io::Result<usize>) {
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let read = body.with_config().limit(LARGEST_BODY).reader().read_to_end(&mut bytes);
    (Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()), read)
}

/// The time on the server's clock.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::from_http_date(headers.get(DATE)?.to_str().ok()?)
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date on the server's clock. Returns seconds.
fn retry_after(headers: &HeaderMap, received_at: Timestamp) -> Option<i64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // A number that is too large for `i64` is the longest wait.
        return Some(value.parse().unwrap_or(i64::MAX));
    }
    let wait = Timestamp::from_http_date(value)?.since(date(headers).unwrap_or(received_at));
    Some(wait.max(0))
}

/// Finds the token in an answer: an object's `token`, a JSON string, or the whole body.
///
/// A token that is the whole body must have the three segments of a JWT. Without that rule, a body such as
/// `OK` would be a token.
fn token_in(text: &str) -> Option<Secret> {
    let text = text.trim();
    let is_segment = |part: &str| {
        let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !part.is_empty() && part.bytes().all(base64url)
    };
    let is_jwt = |bare: &str| bare.split('.').count() == 3 && bare.split('.').all(is_segment);
    let found = match text.as_bytes().first()? {
        b'{' => serde_json::from_str::<Answer>(text).ok()?.token,
        b'"' => serde_json::from_str(text).ok()?,
        _ if token::bearer(text).is_some_and(is_jwt) => Secret::new(text.to_owned()),
        _ => return None,
    };
    token::bearer(found.expose()).map(|bearer| Secret::new(bearer.to_owned()))
}

/// The messages in the body of an error, or the body itself if it is plain text. The result is safe to show.
fn detail(text: &str, account: &ServiceAccount) -> String {
    let message = |raw: &&RawValue| match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'{' => {
            serde_json::from_str::<Described>(raw.get()).ok().map(|described| described.message)
        }
        _ => None,
    };
    let text = text.trim();
    let found = match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        Some(b'{') => {
            let Errors { errors } = serde_json::from_str(text).unwrap_or_default();
            let messages = errors.iter().filter_map(message).take(MOST_MESSAGES);
            messages.collect::<Vec<_>>().join("; ")
        }
        Some(b'<' | b'[') | None => String::new(),
        Some(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => String::new(),
        // The body is not text: it may be compressed in a way that was not asked for.
        Some(_) if text.contains(char::REPLACEMENT_CHARACTER) => String::new(),
        Some(_) => text.to_owned(),
    };
    clipped(&redacted(&found, account.client_secret.expose()))
}

/// Puts `text` on one line, escapes control characters, and cuts it to [`LONGEST_DETAIL`].
fn clipped(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = Escaped(&line).to_string();
    match shown.char_indices().nth(LONGEST_DETAIL - 1) {
        Some((at, _)) if shown.chars().count() > LONGEST_DETAIL => format!("{}…", &shown[..at]),
        _ => shown,
    }
}

/// Replaces each piece of the secret and each token in a server's `text` by a note.
fn redacted(text: &str, secret: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let mut is_hidden = vec![false; text.len()];
    let in_json = serde_json::to_string(secret).unwrap_or_default();
    hide_pieces(&text, &[secret, in_json.trim_matches('"')], |at| at, &mut is_hidden);
    // Between the letters of a piece, there may be blanks, hyphens, quotes or line breaks.
    let (places, letters): (Vec<u32>, Vec<char>) =
        (0..).zip(&text).filter(|(_, c)| c.is_alphanumeric()).unzip();
    let forms: Vec<String> = encodings(secret)
        .map(|form| form.chars().filter(|c| c.is_alphanumeric()).collect())
        .collect();
    hide_pieces(&letters, &forms, |at| places[at] as usize, &mut is_hidden);
    drop((places, letters));
    hide_tokens(&text, &mut is_hidden);
    let marked: Vec<_> = text.into_iter().zip(is_hidden).collect();
    let shown = |run: &[(char, bool)]| match run {
        [(_, true), ..] => "[redacted]".to_owned(),
        _ => run.iter().map(|(c, _)| c).collect(),
    };
    marked.chunk_by(|one, next| one.1 == next.1).map(shown).collect()
}

/// The encodings in which a server may repeat a secret: as it is, each byte as a number, as in percent-encoding
/// and in the escapes of JSON, HTML and C, and base64 with zero to two bytes before it.
fn encodings(secret: &str) -> impl Iterator<Item = String> {
    let numbers: [fn(u8) -> String; 4] = [
        |b| format!("{b}"),
        |b| format!("{b:02x}"),
        |b| format!("x{b:02x}"),
        |b| format!("u{b:04x}"),
    ];
    let of_bytes = move |number: fn(u8) -> String| secret.bytes().map(number).collect::<String>();
    let base64 = |before: usize| {
        // The characters that also depend on the bytes before are left out.
        let encoded =
            BASE64_STANDARD_NO_PAD.encode(["\0".repeat(before).as_str(), secret].concat());
        encoded[before + usize::from(before > 0)..].to_owned()
    };
    let numbers = numbers.into_iter().map(of_bytes);
    std::iter::once(secret.to_owned()).chain(numbers).chain((0..3).map(base64))
}

/// Hides each piece of the secret's `forms` in `text`. The comparison is case-insensitive. `place` converts an
/// index in `text` to one in `is_hidden`.
fn hide_pieces(
    text: &[char],
    forms: &[impl AsRef<str>],
    place: impl Fn(usize) -> usize,
    is_hidden: &mut [bool],
) {
    /// The length of the shortest piece that is hidden, in characters.
    const PIECE: usize = 6;
    let lower = |c: &char| c.to_lowercase().next().unwrap_or(*c);
    let text: Vec<_> = text.iter().map(lower).collect();
    for form in forms {
        let form: Vec<_> = form.as_ref().chars().map(|c| lower(&c)).collect();
        let length = PIECE.min(form.len()).max(1);
        let pieces: HashSet<_> = form.windows(length).collect();
        for (at, window) in text.windows(length).enumerate() {
            if pieces.contains(window) {
                (at..at + length).for_each(|at| is_hidden[place(at)] = true);
            }
        }
    }
}

/// Hides all words that look like tokens.
fn hide_tokens(text: &[char], is_hidden: &mut [bool]) {
    /// The length from which a word counts as a token.
    const TOKEN: usize = 48;
    let mut start = 0;
    let mut is_application_token = false;
    for word in text.split(|c| !(c.is_ascii_alphanumeric() || "-._~+/=".contains(*c))) {
        // A colon joins the parts of an application token.
        let is_joined = is_application_token && text[start - 1] == ':';
        is_application_token = is_joined || word.iter().collect::<String>().contains("AstraCS");
        if is_application_token || word.len() >= TOKEN || word.starts_with(&['e', 'y', 'J']) {
            is_hidden[start - usize::from(is_joined)..start + word.len()].fill(true);
        }
        start += word.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(secret: &str) -> ServiceAccount {
        ServiceAccount {
            client_name: "n".to_owned(),
            client_id: "i".to_owned(),
            client_secret: Secret::new(secret.to_owned()),
        }
    }

    #[test]
    fn a_token_is_found_in_every_form_that_the_api_gives_it() {
        let bodies = [
            r#"{"token":"abc"}"#,
            r#"{"token":"Bearer abc","more":1}"#,
            r#""abc""#,
            "a.b.c",
            " a.b.c\n",
            "bearer a.b.c",
            "",
            "null",
            "true",
            "17",
            "[]",
            "{}",
            "OK",
            "a..c",
            "access_token=a.b.c",
            "<html>a.b.c</html>",
            r#"{"token":null}"#,
            r#"{"token":7}"#,
            r#"{"token":""}"#,
            r#"{"token":"Bearer"}"#,
            r#"{"token":"bearer "}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":"a b"}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a""#,
            r#"{"errors":[]}"#,
            r#"["a.b.c"]"#,
        ];
        let found = |body| token_in(body).map(|token| token.expose().to_owned());
        let table: Vec<_> = bodies.map(|body| format!("{body:?} {:?}", found(body))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "{\"token\":\"abc\"}" Some("abc")
        "{\"token\":\"Bearer abc\",\"more\":1}" Some("abc")
        "\"abc\"" Some("abc")
        "a.b.c" Some("a.b.c")
        " a.b.c\n" Some("a.b.c")
        "bearer a.b.c" Some("a.b.c")
        "" None
        "null" None
        "true" None
        "17" None
        "[]" None
        "{}" None
        "OK" None
        "a..c" None
        "access_token=a.b.c" None
        "<html>a.b.c</html>" None
        "{\"token\":null}" None
        "{\"token\":7}" None
        "{\"token\":\"\"}" None
        "{\"token\":\"Bearer\"}" None
        "{\"token\":\"bearer \"}" None
        "{\"token\":\"a\\nb\"}" None
        "{\"token\":\"a b\"}" None
        "{\"token\":\"a\",\"token\":\"b\"}" None
        "{\"token\":\"a\"" None
        "{\"errors\":[]}" None
        "[\"a.b.c\"]" None
        "#);
        assert!(token_in(&"[".repeat(10_000)).is_none());
        assert!(token_in(&format!("{{\"a\":{}", "[".repeat(10_000))).is_none());
    }

    #[test]
    fn a_failures_body_is_shown_as_far_as_that_is_safe() {
        let long = "words ".repeat(50);
        let bodies = [
            r#"{"errors":[{"ID":340012,"message":"no such client"}]}"#,
            r#"{"errors":[{"id":"7","message":"one"},{"message":"two"},"three",4]}"#,
            r#"{"errors":"none"}"#,
            r#"{"message":"unread"}"#,
            r#""just text""#,
            "null",
            "",
            "plain text\n",
            "<html>gateway</html>",
            "[broken",
            "a\u{1b}[31mred\u{202e}",
            "the secret hunter2-hunter2 was wrong",
            "the secret HUNTER2-HUN was wrong",
            "you sent eyJhbGciOi.e30.x and AstraCS:abc:def",
            "token=qyJhbGciOiJSUzI1NiIsInR5cCIgOiAiSldUIiwia2lkIiA6ICJ4In0.e30.x was bad",
            &long,
        ];
        let account = account("hunter2-hunter2");
        let table: Vec<_> = bodies.map(|body| format!("{:?}", detail(body, &account))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "no such client"
        "one; two; three"
        ""
        ""
        "just text"
        ""
        ""
        "plain text"
        ""
        ""
        "a\\u{1b}[31mred\\u{202e}"
        "the secret [redacted] was wrong"
        "the secret [redacted] was wrong"
        "you sent [redacted] and [redacted]"
        "[redacted] was bad"
        "words words words words words words words words words words words words words words words words words words words words words words words words words words words words words words words words words w…"
        "#);
    }

    #[test]
    fn a_secret_is_hidden_in_every_case_and_an_answer_of_a_mebibyte_in_little_time() {
        assert_eq!(redacted("the secret aİb-σΣ-xyz", "AİB-ΣΣ-XYZ"), "the secret [redacted]");
        let parts = "AstraCS:".repeat(128 * 1024);
        assert_eq!(redacted(&format!("{parts} and more"), "hunter2"), "[redacted] and more");
    }

    #[test]
    fn a_secret_is_hidden_in_every_encoding_and_between_separators() {
        for secret in
            ["Zq7vKx2mW9rTb4Hs6Yp1Jd8Lf3Nc5Gu0aXoE", "7d81c5e2-40b9-4f6a-8c3e-91f0a2b7d64e"]
        {
            let bytes = |number: fn(u8) -> String| secret.bytes().map(number).collect::<String>();
            let parts = |length: usize, between: &str| {
                let parts = secret.as_bytes().chunks(length).map(String::from_utf8_lossy);
                parts.collect::<Vec<_>>().join(between)
            };
            let base64 = |before: &str| BASE64_STANDARD_NO_PAD.encode(format!("{before}{secret}"));
            let forms = [
                parts(1, " "),
                parts(1, "','"),
                parts(4, "-"),
                parts(5, "\n"),
                parts(3, "\u{200b}"),
                secret.replace('-', ""),
                bytes(|b| format!("{b:02X} ")),
                bytes(|b| format!("{b:02x}:")),
                bytes(|b| format!("%{b:02X}")),
                bytes(|b| format!("\\x{b:02x}")),
                bytes(|b| format!("\\u{b:04x}")),
                bytes(|b| format!("&#{b};")),
                bytes(|b| format!("{b}, ")),
                base64("")[..24].to_owned(),
                base64("i:")[4..28].to_owned(),
                base64("id:x")[8..].chars().flat_map(|c| [c, ' ']).collect(),
            ];
            for form in forms {
                let shown = redacted(&format!("the key ({form}) is wrong"), secret);
                let kept = shown.replace("[redacted]", "");
                let kept =
                    kept.strip_prefix("the key (").unwrap().strip_suffix(") is wrong").unwrap();
                // A rest of less than a piece may be left at the ends.
                let kept = kept.chars().filter(|c| c.is_alphanumeric()).count();
                assert!(kept < 12, "{form:?}: {shown}");
            }
        }
        let message =
            "the address 192.0.2.17 is not in the list of the organisation (request 4711-0815)";
        assert_eq!(redacted(message, "7d81c5e2-40b9-4f6a-8c3e-91f0a2b7d64e"), message);
    }

    #[test]
    fn a_body_that_is_not_text_is_not_shown() {
        assert_eq!(detail("\u{fffd}PNG\u{1a} token", &account("hunter2-hunter2")), "");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |value: &str, date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            headers.insert(DATE, date.parse().unwrap());
            retry_after(&headers, Timestamp::from_unix(0))
        };
        let date = "Fri, 24 Jul 2020 14:16:22 GMT";
        assert_eq!(read("7", date), Some(7));
        assert_eq!(read("Fri, 24 Jul 2020 14:16:32 GMT", date), Some(10));
        assert_eq!(read("Fri, 24 Jul 2020 14:16:02 GMT", date), Some(0));
        assert_eq!(read("Friday, 24-Jul-20 14:16:32 GMT", date), Some(10));
        assert_eq!(read("Fri Jul 24 14:16:32 2020", date), Some(10));
        assert_eq!(read("99999999999999999999", date), Some(i64::MAX));
        assert_eq!(read(&"9".repeat(400), date), Some(i64::MAX));
        assert_eq!(read("007", date), Some(7));
        assert_eq!(read("", date), None);
        assert_eq!(read("1.5", date), None);
        assert_eq!(read("-7", date), None);
        assert_eq!(read("soon", date), None);
    }

    proptest! {
        #[test]
        fn no_body_makes_a_parser_panic_or_gives_an_odd_token(body in "\\PC*|\\{\"token\":\".*\"\\}") {
            if let Some(found) = token_in(&body) {
                prop_assert!(found.expose().bytes().all(|b| b.is_ascii_graphic()));
            }
        }

        #[test]
        fn no_message_shows_the_secret(secret in "[a-zA-Z0-9-]{6,40}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
            let shown = detail(&format!("{before}{secret}{after}"), &account(&secret));
            prop_assert!(!shown.to_lowercase().contains(&secret.to_lowercase()), "{shown}");
            prop_assert!(shown.chars().count() <= LONGEST_DETAIL);
        }
    }
}
