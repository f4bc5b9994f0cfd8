//! The bearer token, and how long it may be used.
//!
//! The lifetime of Astra's tokens is not documented. It is read from the claims `exp` and `iat` in the token's
//! payload. The rest of the token is not read, because the vendor's own example has a damaged header and
//! invalid claims.
//!
//! The expiry is the time just before the request was sent, on this machine's clock, plus the lifetime. So
//! neither a wrong clock nor a late answer makes a token look valid for too long.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::timestamp::Timestamp;

/// A text that must not be shown: a client secret or a token.
///
/// It has no `Display`, and its `Debug` is a placeholder. Its memory is zeroed on drop. Only
/// [`Secret::expose`] returns the text.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of `text`. The caller must not keep a copy.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the text. An audit has to look at every call of this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The result of a call: a token and its times.
#[derive(Debug)]
pub struct Credential {
    /// The bearer token, without `Bearer `.
    pub bearer: Secret,
    /// The time of renewal: a caller that calls again then gets a new token. `None` for a token that never
    /// expires.
    pub expires: Option<Timestamp>,
    /// The token's own expiry, for a caller that cannot call again. `None` for a token that never expires.
    pub accepted_until: Option<Timestamp>,
}

/// A token as Astra issued it, with its validity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// The bearer token, without `Bearer `.
    pub bearer: Secret,
    /// The times of its renewal and expiry.
    pub validity: Validity,
}

/// The times of a token, on this machine's clock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Validity {
    /// The time just before the request was sent.
    pub requested_at: Timestamp,
    /// The time of renewal: `expires_at` less the leeway that was drawn for this token.
    pub refresh_at: Timestamp,
    /// The time of expiry.
    pub expires_at: Timestamp,
    /// True if the exchange was for a `min_valid` that the token does not meet.
    pub falls_short: bool,
}

/// The error for a token that had expired before it was issued.
#[derive(Debug, Eq, PartialEq)]
pub struct AlreadyExpired;

/// The longest lifetime of a token, in seconds. A longer one is cut to this.
const LONGEST_LIFETIME: i64 = 24 * 60 * 60;

/// The assumed lifetime of a token without a readable `exp`, in seconds.
const UNKNOWN_LIFETIME: i64 = 5 * 60;

/// The bounds of the leeway, in seconds. Within them it is a tenth of the lifetime. It is long enough for a
/// request on its way and for the drift of clocks, and does not renew a long-lived token early.
const LEEWAY: std::ops::RangeInclusive<i64> = 5..=300;

/// The smallest number that is a time in milliseconds: March 1973. In seconds it would be the year 5138.
const FIRST_MILLISECONDS: f64 = 1e11;

/// The largest token that is accepted, in bytes.
pub const LARGEST_BEARER: usize = 64 * 1024;

const _: () = assert!(UNKNOWN_LIFETIME < LONGEST_LIFETIME);

impl Validity {
    /// The validity of `bearer`, which was issued when the issuer's clock showed `issuer_date`.
    ///
    /// The lifetime is the time from `issuer_date` to `exp`, and at most the time from `iat` to `exp`. So a
    /// wrong `issuer_date` can shorten it, but not lengthen it. It is counted from `requested_at`, which is
    /// earlier than the time at which the token was issued.
    ///
    /// `random` sets the leeway between half and the whole of the tenth. So machines that started together do
    /// not renew together.
    ///
    /// # Errors
    /// The token has expired already.
    pub fn of(
        bearer: &str,
        issuer_date: Option<Timestamp>,
        requested_at: Timestamp,
        random: u32,
    ) -> Result<Self, AlreadyExpired> {
        let claims = Claims::of(bearer);
        let issued_at = issuer_date.or(claims.iat).unwrap_or(requested_at);
        let lifetime = match claims.exp {
            Some(exp) => {
                let claimed = claims.iat.map_or(LONGEST_LIFETIME, |iat| exp.since(iat));
                exp.since(issued_at).min(claimed).min(LONGEST_LIFETIME)
            }
            None => UNKNOWN_LIFETIME,
        };
        if lifetime <= 0 {
            return Err(AlreadyExpired);
        }
        let longest = (lifetime / 10).clamp(*LEEWAY.start(), *LEEWAY.end());
        let shortest = (longest + 1) / 2;
        let leeway = shortest + i64::from(random) % (longest - shortest + 1);
        let expires_at = requested_at.plus(lifetime);
        let refresh_at = expires_at.plus(-leeway);
        Ok(Self { requested_at, refresh_at, expires_at, falls_short: false })
    }

    /// Notes if the token does not meet the `min_valid` of the call that did its exchange.
    #[must_use]
    pub fn for_min_valid(self, min_valid: Option<i64>) -> Self {
        let required_until = self.expires_at.plus(-min_valid.unwrap_or(0));
        Self { falls_short: required_until < self.earliest_renewal(), ..self }
    }

    /// The time at which a call with this `min_valid` renews the token.
    ///
    /// If the lifetime of Astra's tokens is shorter than `min_valid`, a token is renewed once per leeway instead
    /// of at every call.
    pub fn refresh_at(&self, min_valid: Option<i64>) -> Timestamp {
        let required_until = self.expires_at.plus(-min_valid.unwrap_or(0));
        let soonest = if self.falls_short { self.earliest_renewal() } else { required_until };
        self.refresh_at.min(required_until.max(soonest))
    }

    /// One leeway after the request.
    fn earliest_renewal(&self) -> Timestamp {
        self.requested_at.plus(self.expires_at.since(self.refresh_at))
    }

    /// True if a call with this `min_valid` may use the token.
    ///
    /// If the clock shows a time before the request, it has jumped back. The remaining lifetime is then
    /// unknown, and the token is not fresh.
    pub fn is_fresh(&self, now: Timestamp, min_valid: Option<i64>) -> bool {
        self.requested_at <= now && now < self.refresh_at(min_valid)
    }

    /// True if the token has not expired, even if it is due for renewal.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.requested_at <= now && now < self.expires_at
    }
}

/// Removes the prefix `Bearer ` from `text`, if there is one.
///
/// Returns `None` if the rest is empty, is only the word `Bearer`, is larger than [`LARGEST_BEARER`], or has a character outside the
/// `b64token` alphabet of RFC 6750, section 2.1. A line end in a token would break kubectl, git and every
/// header.
pub fn bearer(text: &str) -> Option<&str> {
    let prefixed = text.get(..7).is_some_and(|p| p.eq_ignore_ascii_case("bearer "));
    let bare = if prefixed { &text[7..] } else { text };
    let b64token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let is_token = !bare.is_empty() && !bare.eq_ignore_ascii_case("bearer");
    (is_token && bare.len() <= LARGEST_BEARER && bare.bytes().all(b64token)).then_some(bare)
}

/// The claims that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    #[serde(deserialize_with = "instant")]
    exp: Option<Timestamp>,
    #[serde(deserialize_with = "instant")]
    iat: Option<Timestamp>,
}

impl Claims {
    /// Reads the claims. A claim that cannot be read counts as absent, so that an opaque token is accepted.
    fn of(bearer: &str) -> Self {
        const UNPADDED: GeneralPurpose = GeneralPurpose::new(
            &URL_SAFE,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        bearer
            .split('.')
            .nth(1)
            .and_then(|payload| UNPADDED.decode(payload).ok())
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }
}

/// Reads the time in a claim: a number, or a string with a number. It is in seconds, or in milliseconds from
/// [`FIRST_MILLISECONDS`] on.
fn instant<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<Timestamp>, D::Error> {
    let number = match Value::deserialize(claim)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(number.filter(|number: &f64| number.is_finite()).map(|number| {
        let seconds = if number >= FIRST_MILLISECONDS { number / 1000.0 } else { number };
        // `as` saturates.
        Timestamp::from_unix(seconds.floor() as i64)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000_000;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload))
    }

    /// The lifetime and the shortest leeway of a token that is issued now, in seconds.
    fn life(payload: &str) -> String {
        let now = Timestamp::from_unix(NOW);
        match Validity::of(&token(payload), Some(now), now, 0) {
            Ok(validity) => format!(
                "lives {} s, leeway {} s",
                validity.expires_at.since(now),
                validity.expires_at.since(validity.refresh_at)
            ),
            Err(AlreadyExpired) => "expired at birth".to_owned(),
        }
    }

    #[test]
    fn exp_is_read_in_every_form_that_servers_write() {
        let forms = [
            r#"{"exp":1000036000}"#,
            r#"{"exp":1000036000.9}"#,
            r#"{"exp":"1000036000"}"#,
            r#"{"exp":1000036000000}"#,
            r#"{"exp":1000000040}"#,
            r#"{"exp":1000000004}"#,
            r#"{}"#,
            r#"{"exp":null}"#,
            r#"{"exp":[1000036000]}"#,
            r#"{"exp":"soon"}"#,
            r#"{"exp":"NaN"}"#,
            r#"{"exp":1e308}"#,
            r#"{"exp":1e309}"#,
            r#"{"exp":9223372036854775808}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1000000000}"#,
            r#"{"exp":1,"exp":1000036000}"#,
            "not json",
        ];
        let table: Vec<_> = forms.map(|form| format!("{form} {}", life(form))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        {"exp":1000036000} lives 36000 s, leeway 150 s
        {"exp":1000036000.9} lives 36000 s, leeway 150 s
        {"exp":"1000036000"} lives 36000 s, leeway 150 s
        {"exp":1000036000000} lives 36000 s, leeway 150 s
        {"exp":1000000040} lives 40 s, leeway 3 s
        {"exp":1000000004} lives 4 s, leeway 3 s
        {} lives 300 s, leeway 15 s
        {"exp":null} lives 300 s, leeway 15 s
        {"exp":[1000036000]} lives 300 s, leeway 15 s
        {"exp":"soon"} lives 300 s, leeway 15 s
        {"exp":"NaN"} lives 300 s, leeway 15 s
        {"exp":1e308} lives 86400 s, leeway 150 s
        {"exp":1e309} lives 300 s, leeway 15 s
        {"exp":9223372036854775808} lives 86400 s, leeway 150 s
        {"exp":-1} expired at birth
        {"exp":1000000000} expired at birth
        {"exp":1,"exp":1000036000} lives 300 s, leeway 15 s
        not json lives 300 s, leeway 15 s
        "#);
    }

    #[test]
    fn life_is_counted_by_the_issuers_clock_from_the_moment_of_the_request() {
        // The local clock is two hours fast; the issuer's says that an hour is left.
        let local = Timestamp::from_unix(NOW + 7200);
        let bearer = token(r#"{"iat":1000000000,"exp":1000003600}"#);
        for issuer in [Some(Timestamp::from_unix(NOW)), None] {
            let validity = Validity::of(&bearer, issuer, local, 0).unwrap();
            assert_eq!(validity.expires_at, local.plus(3600));
        }
    }

    #[test]
    fn a_wrong_date_makes_no_token_live_longer_than_from_iat_to_exp() {
        let now = Timestamp::from_unix(NOW);
        let life = |claims: &str, date: i64| {
            let date = Some(now.plus(date));
            Validity::of(&token(claims), date, now, 0).map(|life| life.expires_at.since(now))
        };
        let five_minutes = r#"{"iat":1000000000,"exp":1000000300}"#;
        let dates = [-100_000, -30, 0, 100, 300];
        let lives = dates.map(|date| life(five_minutes, date));
        assert_eq!(lives, [Ok(300), Ok(300), Ok(300), Ok(200), Err(AlreadyExpired)]);
        // Without `iat` there is nothing to compare the date with.
        assert_eq!(life(r#"{"exp":1000000300}"#, -100), Ok(400));
        assert_eq!(life(r#"{"iat":1000000300,"exp":1000000300}"#, 0), Err(AlreadyExpired));
    }

    #[test]
    fn the_vendors_damaged_example_is_a_token() {
        let payload = r#"{"iat":1595600182,"exp":1595636182,"nbf":0,"auth_time":0,"typ":"Bearer"}"#;
        let damaged = "qyJhbGciOiJSUzI1NiIsInR5cCIgOiAiSldUIiwia2lkIiA6ICJ4In0";
        let example = format!("{damaged}.{}.eA", BASE64_URL_SAFE_NO_PAD.encode(payload));
        let then = Timestamp::from_unix(1_595_600_182);
        let validity = Validity::of(&example, None, then, 0).unwrap();
        assert_eq!(validity.expires_at, then.plus(36_000));
        assert_eq!(bearer(&example), Some(example.as_str()));
    }

    #[test]
    fn a_bearer_prefix_is_stripped_and_anything_odd_refused() {
        let cases = [
            "abc",
            "Bearer abc",
            "bEARER abc",
            "a-._~+/=",
            "",
            "Bearer ",
            "Bearer  abc",
            "a b",
            "a\n",
            "a:b",
            "é",
            "\"a\"",
        ];
        let table: Vec<_> = cases.map(|case| format!("{case:?} {:?}", bearer(case))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "abc" Some("abc")
        "Bearer abc" Some("abc")
        "bEARER abc" Some("abc")
        "a-._~+/=" Some("a-._~+/=")
        "" None
        "Bearer " None
        "Bearer  abc" None
        "a b" None
        "a\n" None
        "a:b" None
        "é" None
        "\"a\"" None
        "#);
        assert!(bearer(&"a".repeat(LARGEST_BEARER)).is_some());
        assert_eq!(bearer(&"a".repeat(LARGEST_BEARER + 1)), None);
    }

    #[test]
    fn the_leeway_that_is_drawn_lies_between_half_and_the_whole() {
        let now = Timestamp::from_unix(NOW);
        let leeways = |life: i64, draws: [u32; 4]| {
            let bearer = token(&format!(r#"{{"exp":{}}}"#, NOW + life));
            draws.map(|draw| {
                let validity = Validity::of(&bearer, Some(now), now, draw).unwrap();
                validity.expires_at.since(validity.refresh_at)
            })
        };
        assert_eq!(leeways(36_000, [0, 150, 151, 301]), [150, 300, 150, 300]);
        assert_eq!(leeways(50, [0, 2, 3, 5]), [3, 5, 3, 5]);
    }

    #[test]
    fn a_token_is_not_fresh_from_its_renewal_on_and_not_alive_from_its_expiry_on() {
        let validity = ten_hours();
        let Validity { refresh_at, expires_at, .. } = validity;
        assert!(validity.is_valid(expires_at.plus(-1)) && !validity.is_valid(expires_at));
        assert!(validity.is_fresh(refresh_at.plus(-1), None));
        assert!(!validity.is_fresh(refresh_at, None));
        let asked = expires_at.plus(-3600);
        assert!(validity.is_fresh(asked.plus(-1), Some(3600)));
        assert!(!validity.is_fresh(asked, Some(3600)));
        // The longest `min_valid` that a token of ten hours meets, less its leeway.
        assert!(!ten_hours().for_min_valid(Some(36_000 - 150)).falls_short);
        assert!(ten_hours().for_min_valid(Some(36_000 - 149)).falls_short);
    }

    fn ten_hours() -> Validity {
        let now = Timestamp::from_unix(NOW);
        Validity::of(&token(r#"{"exp":1000036000}"#), Some(now), now, 0).unwrap()
    }

    #[test]
    fn a_clock_that_jumped_back_is_noticed() {
        let validity = ten_hours();
        assert!(validity.is_fresh(validity.requested_at, None));
        assert!(!validity.is_fresh(validity.requested_at.plus(-1), None));
        assert!(!validity.is_valid(validity.requested_at.plus(-1)));
    }

    #[test]
    fn a_min_valid_that_no_token_meets_renews_it_but_not_at_each_call() {
        let min_valid = Some(20 * 3600);
        assert!(!ten_hours().is_fresh(ten_hours().requested_at, min_valid));
        let validity = ten_hours().for_min_valid(min_valid);
        assert!(validity.is_fresh(validity.requested_at, min_valid));
        assert!(validity.is_fresh(validity.requested_at.plus(149), min_valid));
        assert!(!validity.is_fresh(validity.requested_at.plus(150), min_valid));
        assert!(validity.is_fresh(validity.requested_at.plus(150), None));
        assert!(!ten_hours().for_min_valid(Some(3600)).falls_short);
    }

    #[test]
    fn min_valid_asks_for_more_than_the_leeway_and_never_for_less() {
        let validity = ten_hours();
        let until = |min_valid| validity.expires_at.since(validity.refresh_at(min_valid));
        assert_eq!([until(None), until(Some(0)), until(Some(3600))], [150, 150, 3600]);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Secret::new("hush".to_owned())), "Secret(…)");
    }

    proptest! {
        #[test]
        fn no_payload_makes_a_token_live_longer_than_a_day(
            payload in any::<Vec<u8>>(),
            exp in any::<f64>(),
            date in any::<i64>(),
            draw in any::<u32>(),
        ) {
            let now = Timestamp::from_unix(NOW);
            let odd = format!("x.{}.y", BASE64_URL_SAFE_NO_PAD.encode(&payload));
            let sized = token(&format!(r#"{{"exp":{exp:e}}}"#));
            for bearer in [odd, sized] {
                if let Ok(validity) = Validity::of(&bearer, Some(Timestamp::from_unix(date)), now, draw) {
                    let life = validity.expires_at.since(now);
                    prop_assert!(0 < life && life <= LONGEST_LIFETIME);
                    let leeway = validity.expires_at.since(validity.refresh_at);
                    let whole = (life / 10).clamp(5, 300);
                    prop_assert!(whole <= 2 * leeway && leeway <= whole);
                }
            }
        }

        #[test]
        fn a_bearer_is_visible_ascii(text in any::<String>()) {
            if let Some(bare) = bearer(&text) {
                prop_assert!(bare.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
