//! The values of settings, read from text. The same readers serve flags, variables and the
//! configuration file.
//!
//! An error completes the sentence "`--timeout` is `soon`, which …".

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::Host;
use crate::shown;

/// The base URL of the DevOps API: `https`, without userinfo, query, fragment or trailing slash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Api {
    /// The base, as `/v2/…` is appended to it.
    pub base: String,
    /// The host in it.
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
        // A value that may be a secret must not end up in a DNS query.
        let is_usable = |host: &Host| shown::is_usable_host(&host.to_string());
        let host = Host::of_url(base, &["https"]).ok().filter(is_usable);
        let host = host.ok_or("is not a plain URL")?;
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

/// Reads `HOST[:PORT]` from a flag or variable, and refuses a value that may be a secret.
pub fn typed_host(text: &str) -> Result<Host, &'static str> {
    host(text)
        .and_then(|host| if shown::is_usable_host(text) { Ok(host) } else { Err("is not a host") })
}

/// Reads a path: a leading `~/` is replaced by the home directory. No shell reads a kubeconfig, a
/// systemd unit or an `.env` file, and a relative `~` would be another folder in each working directory.
pub fn expanded(path: &OsStr, home: Option<&Path>) -> Result<PathBuf, &'static str> {
    if begins_with_variable(path.as_encoded_bytes()) {
        return Err("begins with a variable, which no shell has replaced");
    }
    if !path.as_encoded_bytes().starts_with(b"~") {
        return Ok(path.into());
    }
    // Whole components are compared: `~user` does not begin with `~`.
    let below = Path::new(path).strip_prefix("~");
    let below = below.map_err(|_| "begins with `~` and a name, which is not replaced by a home")?;
    let home = home.filter(|home| home.is_absolute());
    let home = home.ok_or("begins with `~/`, and there is no absolute `HOME`")?;
    Ok(home.join(below))
}

/// `$HOME/…`, `${HOME}/…`, `%USERPROFILE%\…`, or systemd's `%h/…`.
fn begins_with_variable(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
    };
    let between = |start: &[u8], end: &[u8]| {
        let name = path.strip_prefix(start)?;
        let name = &name[..name.iter().position(|b| b"/\\".contains(b))?];
        name.strip_suffix(end).filter(|name| is_name(name))
    };
    let is_one_letter = |name: &[u8]| name.len() == 1;
    between(b"$", b"").is_some()
        || between(b"${", b"}").is_some()
        || between(b"%", b"%").is_some()
        || between(b"%", b"").is_some_and(is_one_letter)
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

#[cfg(test)]
mod tests {
    use super::*;

    // Its paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn a_leading_tilde_is_the_home_or_an_error() {
        let under = |home: &'static str, path: &str| match expanded(
            OsStr::new(path),
            Some(Path::new(home)),
        ) {
            Ok(path) => path.display().to_string(),
            Err(problem) => format!("`{path}` {problem}"),
        };
        let paths = [
            "~/a/b",
            "~",
            "~/",
            "~//a",
            "~/~",
            "~user/a",
            "~a.json",
            "./~/a",
            "a/~",
            "",
            "$HOME/a",
            "${HOME}/a",
            r"%USERPROFILE%\a",
            "%h/a",
            "$/a",
            "$a",
            "%7B/a",
            "$(a)/b",
            "./$a/b",
        ];
        let table = paths.map(|path| format!("{path} => {}", under("/home/me", path)));
        let homeless = ["", "relative"].map(|home| under(home, "~/a"));
        insta::assert_snapshot!(table.into_iter().chain(homeless).collect::<Vec<_>>().join("\n"), @r"
        ~/a/b => /home/me/a/b
        ~ => /home/me/
        ~/ => /home/me/
        ~//a => /home/me/a
        ~/~ => /home/me/~
        ~user/a => `~user/a` begins with `~` and a name, which is not replaced by a home
        ~a.json => `~a.json` begins with `~` and a name, which is not replaced by a home
        ./~/a => ./~/a
        a/~ => a/~
         => 
        $HOME/a => `$HOME/a` begins with a variable, which no shell has replaced
        ${HOME}/a => `${HOME}/a` begins with a variable, which no shell has replaced
        %USERPROFILE%\a => `%USERPROFILE%\a` begins with a variable, which no shell has replaced
        %h/a => `%h/a` begins with a variable, which no shell has replaced
        $/a => $/a
        $a => $a
        %7B/a => %7B/a
        $(a)/b => $(a)/b
        ./$a/b => ./$a/b
        `~/a` begins with `~/`, and there is no absolute `HOME`
        `~/a` begins with `~/`, and there is no absolute `HOME`
        ");
    }

    #[test]
    fn a_duration_is_seconds_or_has_a_unit() {
        for (text, seconds) in [("30", 30.0), ("2.5", 2.5), ("10s", 10.0), ("1m 30s", 90.0)] {
            assert_eq!(timeout(text), Ok(Duration::from_secs_f64(seconds)));
        }
        for text in ["0", "-1", "NaN", "inf", "0s", "2 days", "soon", ""] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_accounts_name_is_plain_and_no_other_file_of_ours() {
        let longest = "x".repeat(64);
        for name in ["default", "prod", "a", "A-b_9", &longest] {
            assert_eq!(account_name(name).as_deref(), Ok(name));
        }
        let too_long = "x".repeat(65);
        for name in
            ["", "a.b", "a/b", "..", "a b", "é", "config", "SETUP", "service-account", &too_long]
        {
            assert!(account_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["accounts", "cache_dir", "ca_file", "timeout", "min_valid"];
        let found = ["acounts", "cachedir", "ca-file", "time_out", "minvalid", "account", "zebra"]
            .map(|word| format!("{word} => {:?}", nearest(word, known)));
        insta::assert_snapshot!(found.join("\n"), @r#"
        acounts => Some("accounts")
        cachedir => Some("cache_dir")
        ca-file => Some("ca_file")
        time_out => Some("timeout")
        minvalid => Some("min_valid")
        account => Some("accounts")
        zebra => None
        "#);
    }
}
