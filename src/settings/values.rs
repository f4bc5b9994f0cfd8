//! The values of settings, read from text. The same readers serve flags, variables and the
//! configuration file.
//!
//! An error completes the sentence "`--timeout` is `soon`, which …".

use std::time::Duration;

use crate::protocol::Host;

/// The base URL of the DevOps API: `https`, without userinfo, query, fragment or trailing slash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Api {
    /// The base, as `/v2/…` is appended to it.
    pub base: String,
    /// The host it names.
    pub host: Host,
}

/// The API base that is used unless another is set.
pub const DEFAULT_API: &str = "https://api.astra.datastax.com";

/// The account that is used unless another is chosen.
pub const DEFAULT_ACCOUNT: &str = "default";

/// The longest name of an account, in bytes.
const LONGEST_NAME: usize = 64;

/// Seconds above which a time-out has no effect.
const LONGEST_TIMEOUT: f64 = 24.0 * 60.0 * 60.0;

/// The descriptions of the values that are read here, for hints.
pub mod wanted {
    /// Of [`super::account_name`].
    pub const ACCOUNT: &str = "the name of an account: up to 64 letters, digits, `-` and `_`";
    /// Of [`super::timeout`].
    pub const TIMEOUT: &str = "seconds or a duration, such as `30`, `2.5` or `10s`";
    /// Of [`super::whole_seconds`].
    pub const MIN_VALID: &str = "a duration, such as `90s`, `30m`, `2h` or bare seconds";
    /// Of [`super::Api::parse`].
    pub const API_URL: &str =
        "the API's base without `/v2`, such as `https://api.astra.datastax.com`";
    /// Of [`super::host`].
    pub const HOST: &str = "a host as it stands in a URL, with its port unless that is 443, such as \
                            `git.example.com:8443`";
}

impl Api {
    /// Reads a base URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with("https://") {
            return Err("is not `https`");
        }
        let base = text.trim_end_matches('/');
        if base.contains('?') {
            return Err("has a query");
        }
        let host = Host::of_url(base, &["https"]).ok_or("is not a plain URL")?;
        // The host's case must not make another identity of the same account.
        let authority =
            base["https://".len()..].find('/').map_or(base.len(), |at| at + "https://".len());
        let mut base = base.to_owned();
        base[..authority].make_ascii_lowercase();
        Ok(Self { base, host })
    }
}

/// Reads `HOST[:PORT]`.
pub fn host(text: &str) -> Result<Host, &'static str> {
    Host::parse(text).ok_or("is not a host")
}

/// Reads a time-out.
pub fn timeout(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => humantime::parse_duration(text).map_err(|_| "is not a duration")?.as_secs_f64(),
    };
    if seconds > 0.0 && seconds <= LONGEST_TIMEOUT {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("is not between 0 and a day")
    }
}

/// Reads a duration, as whole seconds.
pub fn whole_seconds(text: &str) -> Result<i64, &'static str> {
    let duration = match text.trim().parse::<u64>() {
        Ok(bare) => Duration::from_secs(bare),
        Err(_) => humantime::parse_duration(text.trim()).map_err(|_| "is not a duration")?,
    };
    i64::try_from(duration.as_secs()).map_err(|_| "is too long")
}

/// Reads the name of an account. `NAME.json` must not be another file of this program.
pub fn account_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(is_plain) {
        return Err("is not 1 to 64 letters, digits, `-` and `_`");
    }
    if ["config", "setup", "service-account"].iter().any(|file| text.eq_ignore_ascii_case(file)) {
        return Err("belongs to another file of this program");
    }
    Ok(text.to_owned())
}

/// The word of `known` that `text` is most likely meant to be, if one is near.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.7;
    let text = text.to_ascii_lowercase().replace('-', "_");
    let likeness =
        |word: &str| strsim::jaro_winkler(&text, &word.to_ascii_lowercase().replace('-', "_"));
    let rated = known.into_iter().map(|word| (likeness(word), word));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= NEAR).map(|(_, word)| word)
}
