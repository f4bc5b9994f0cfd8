//! Makes values from flags, variables and files safe to show and to store.
//!
//! Users sometimes give the account or a token where a path, a host or a duration belongs: quoted, in base64,
//! after a name. Not all such forms can be recognised. So a value is shown only if it is certainly a path, a
//! host, a URL, a duration or a short word. `tests/cli/spellings.rs` lists the known forms of secrets.

use std::fmt;
use std::path::{Component, Path};

/// The note in place of a value that is not shown.
pub const NOT_SHOWN: &str = "(not shown: it may hold a secret)";

/// The longest name of a file or folder that is shown, in bytes. A longer one may be a secret.
const LONGEST_NAME: usize = 40;

/// The largest number of digits in a name that is shown. A date has 8; a name with more may be a secret.
const MOST_DIGITS: usize = 8;

/// The extensions of the files that settings name.
const EXTENSIONS: [&str; 10] =
    ["json", "jsonc", "txt", "pem", "crt", "cer", "key", "yaml", "yml", "env"];

/// The value of a setting, or a note in its place.
pub fn redacted(value: &str) -> String {
    self::value(value).unwrap_or_else(|| NOT_SHOWN.to_owned())
}

/// The value of a setting between backticks, or a note in its place.
pub fn quoted(value: &str) -> String {
    in_backticks(self::value(value))
}

/// The name of an account between backticks, or a note in its place.
pub fn account(name: &str) -> String {
    in_backticks(self::name(name))
}

fn in_backticks(shown: Option<String>) -> String {
    shown.map_or_else(|| NOT_SHOWN.to_owned(), |shown| format!("`{shown}`"))
}

/// The name of an account or a key, if it is safe to show. Unlike other values, it may consist of many words.
pub fn name(name: &str) -> Option<String> {
    let is_ordinary = name.split(['-', '_']).all(is_word) && has_few_digits(name);
    let shown = if is_ordinary && !is_mixed(name) { Some(name.to_owned()) } else { value(name) };
    shown.filter(|name| !name.is_empty())
}

/// The value of a setting, if it is safe to show. In a list, a comma separates hosts and URLs.
pub fn value(value: &str) -> Option<String> {
    if is_path(Path::new(value)) {
        return Some(Escaped(value).to_string());
    }
    if is_plain(value) {
        return Some(value.to_owned());
    }
    let part = |part: &str| if is_host(part) { Some(part.to_owned()) } else { url(part) };
    // Short words and numbers in a list may be the pieces of a secret.
    let is_list = value.contains(", ");
    let is_bare = |part: &str| !part.contains(['.', ':']) && part != "localhost";
    let parts: Option<Vec<_>> =
        value.split(", ").map(|text| part(text).filter(|_| !is_list || !is_bare(text))).collect();
    parts.map(|parts| parts.join(", "))
}

/// A word of a command line for a shell, quoted if necessary. Unlike the functions above, it does not look for
/// secrets.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let safe = Escaped(word).to_string();
    format!("'{}'", safe.replace('\'', r"'\''"))
}

/// A path between backticks, or a note in its place.
pub fn path(path: &Path) -> String {
    if is_path(path) {
        format!("`{}`", Escaped(&path.to_string_lossy()))
    } else {
        "(not shown: it is not certainly a path)".to_owned()
    }
}

/// A command's name between backticks, or a note in its place.
pub fn command(name: &str) -> String {
    if is_command(name) { format!("`{name}`") } else { quoted(name) }
}

/// The name of a command or the path of a file, or a note in its place.
pub fn file(name: &Path) -> String {
    let name = name.to_string_lossy();
    if is_command(&name) { name.into_owned() } else { redacted(&name) }
}

/// True for a name that consists of words in lower case, as the name of a command does.
fn is_command(name: &str) -> bool {
    name.len() <= 32 && is_ordinary(name) && !name.contains(char::is_uppercase)
}

/// True if a text is certainly a path: it exists, or the part that does not exist has ordinary names. A relative
/// path without an existing part must also begin with `.` or `~`, or have one of the known extensions.
pub fn is_path(path: &Path) -> bool {
    let Some((rest, is_anchored)) = missing_part(path) else {
        return true;
    };
    let is_file = || {
        let extension = rest.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
    };
    has_ordinary_names(rest) && (is_anchored || is_file())
}

/// True if a new account may have this name: it is short or consists of words. The name becomes a part of a
/// file name, and must not be a secret.
pub fn is_usable_name(name: &str) -> bool {
    name.len() <= 24 || has_few_digits(name) && name.split(['-', '_']).all(is_word)
}

/// True if a path may be created, or written into a configuration. It must not be a secret.
///
/// Accepts more than [`is_path`]: ordinary names everywhere, and unusual names below an existing folder.
pub fn is_usable_path(path: &Path) -> bool {
    let Some((rest, _)) = missing_part(path) else {
        return true;
    };
    let is_plain = |c: char| c.is_alphanumeric() || " ._+@~:,=-".contains(c);
    let is_below_a_folder =
        path.ancestors().any(|above| above.parent().is_some() && above.is_dir());
    let has_possible_names = || {
        rest.to_str().is_some_and(|rest| !rest.contains("AstraCS:"))
            && rest.components().all(|part| {
                let name = part.as_os_str().to_str();
                name.is_some_and(|name| name.len() <= 64 && name.chars().all(is_plain))
            })
    };
    has_ordinary_names(rest) || is_below_a_folder && has_possible_names()
}

/// The part of a path that does not exist, with true if the path begins with an existing folder, `.` or `~`.
/// `None` if the whole path exists.
fn missing_part(path: &Path) -> Option<(&Path, bool)> {
    let exists = |path: &&Path| path.symlink_metadata().is_ok();
    match path.ancestors().find(exists) {
        Some(existing) if existing == path => None,
        Some(existing) => Some((path.strip_prefix(existing).unwrap_or(path), true)),
        None => {
            let is_home = path.as_os_str().as_encoded_bytes().starts_with(b"~");
            Some((path, is_home || path.starts_with(".") || path.starts_with("..")))
        }
    }
}

/// True if all names of a path consist of words and a few digits.
pub fn has_ordinary_names(path: &Path) -> bool {
    let is_ordinary = |name: &str| name == "~" || is_ordinary(name.trim_start_matches('~'));
    path.components().all(|part| match part {
        Component::Normal(name) => name.to_str().is_some_and(is_ordinary),
        _ => true,
    })
}

/// True if a name consists of words and a few digits, unlike a random string.
fn is_ordinary(name: &str) -> bool {
    let is_short = !name.is_empty() && name.len() <= LONGEST_NAME && has_few_digits(name);
    is_short && name.split(['.', '-', '_', '+']).all(is_word) && !is_mixed(name)
}

/// True if a name is mixed like a random string although each of its pieces is a word: the kind of character
/// changes at more than every second place, or a capital follows a small letter more than twice.
fn is_mixed(name: &str) -> bool {
    let kind = |b: u8| (b.is_ascii_lowercase(), b.is_ascii_uppercase(), b.is_ascii_digit());
    let pairs = || name.as_bytes().windows(2).map(|pair| (pair[0], pair[1]));
    let changes = pairs().filter(|&(a, b)| kind(a) != kind(b)).count();
    let humps = pairs().filter(|(a, b)| a.is_ascii_lowercase() && b.is_ascii_uppercase()).count();
    name.len() > 12 && (changes * 2 > name.len() + 3 || humps > 2)
}

fn has_few_digits(name: &str) -> bool {
    name.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS
}

/// True for letters that are followed by digits or nothing. The letters have the case of `lower`, `UPPER`,
/// `Capital` or `camelCase`.
fn is_word(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.len() > 20 || !letters.bytes().all(|b| b.is_ascii_alphabetic()) {
        return false;
    }
    let is_upper = letters.len() <= 12 && letters.bytes().all(|b| b.is_ascii_uppercase());
    // The letters after each capital.
    let mut syllables = letters.split(|c: char| c.is_ascii_uppercase()).skip(1);
    is_upper || syllables.all(|rest| rest.len() >= 2)
}

/// True for a number, a duration or a short word. They are too short for a secret.
fn is_plain(value: &str) -> bool {
    let is_part = |part: &str| {
        let number = part.trim_start_matches(['-', '+']);
        let word = number.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        part.len() - number.len() <= 1
            && word.len() <= 9
            && word.bytes().all(|b| b.is_ascii_alphabetic())
    };
    value.len() <= 16 && value.split(' ').all(is_part)
}

/// True for a host with an optional port, as in a URL.
fn is_host(text: &str) -> bool {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (text, ""),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    if bare.unwrap_or(name).parse::<std::net::IpAddr>().is_ok() {
        return is_port(port);
    }
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        is_ordinary(label) || !label.is_empty() && label.len() <= 20 && label.bytes().all(plain)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = match name.rsplit_once('.') {
        // The host of an Astra database begins with a UUID.
        Some((below, "com")) if below.ends_with(".datastax") => {
            below.split('.').all(|label| is_label(label) || is_uuid_of_a_database(label))
        }
        Some((below, top)) => {
            (2..=12).contains(&top.len()) && is_word(top) && below.split('.').all(is_label)
        }
        None => name.len() <= 20 && is_ordinary(name),
    };
    is_name && is_port(port)
}

fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
}

/// True if a host may be written into a configuration: it is a short label, or its last label may be a top-level
/// domain. Without these rules, a secret of letters, digits and hyphens would be a host.
pub fn is_usable_host(text: &str) -> bool {
    // The cheap checks come first, because a warm call does them for each host of the configuration file.
    let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let has_form = match name.rfind('.') {
        Some(dot) => {
            let top = &name.as_bytes()[dot + 1..];
            matches!(top.len(), 2..=24)
                && top.iter().all(u8::is_ascii_alphabetic)
                && name.len() < 254
        }
        None => name.len() <= 24,
    };
    has_form && is_port(port) || is_host(text)
}

/// True for a UUID with a region after it, such as `3f2a9c1b-…-eu-west-1`. No client secret has that form.
fn is_uuid_of_a_database(label: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    label.split_at_checked(36).is_some_and(|(uuid, region)| {
        is_hex(uuid) && region.strip_prefix('-').is_some_and(is_ordinary)
    })
}

/// A URL without user, password and query; `None` if the text is not certainly a URL.
fn url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https", "socks4", "socks5", "socks5h"].contains(&scheme) {
        return None;
    }
    let (before, user) = rest.rsplit_once('@').map_or((rest, ""), |(_, rest)| (rest, "…@"));
    let end = before.find(['?', '#']).unwrap_or(before.len());
    let query = before[end..].chars().next().map(|mark| format!("{mark}…"));
    let (host, path) = before[..end].split_at(before[..end].find('/').unwrap_or(end));
    let is_shown = (host.is_empty() || is_host(host))
        && path.split('/').all(|name| name.is_empty() || is_ordinary(name));
    is_shown.then(|| format!("{scheme}://{user}{host}{path}{}", query.unwrap_or_default()))
}

/// Foreign text, safe for a terminal: control characters and characters that change the direction of text are
/// escaped.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_format = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        self.0.chars().try_for_each(|c| {
            if c.is_control() || is_format(c) {
                write!(f, "{}", c.escape_default())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

#[cfg(test)]
#[path = "../tests/cli/spellings.rs"]
mod spellings;

#[cfg(test)]
mod tests {
    use super::spellings::spellings;
    use super::*;
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    #[test]
    fn no_spelling_of_an_account_is_shown() {
        for (what, value) in spellings() {
            assert_eq!(redacted(&value), NOT_SHOWN, "{what}");
            assert!(path(Path::new(&value)).starts_with("(not shown"), "{what}");
            assert_eq!(command(&value), NOT_SHOWN, "{what}");
            assert!(!is_usable_path(Path::new(&value)), "{what}");
            assert!(!is_usable_name(&value), "{what}");
        }
    }

    #[test]
    fn an_account_may_have_a_name_of_words_or_a_short_one() {
        for name in [
            "prod",
            "A-b_9",
            "vhLkzQnWXbJmTYrGsPdCfAoE",
            "platform-team-staging-eu-west-1-read-only",
            "0123456789",
        ] {
            assert!(is_usable_name(name), "{name}");
        }
    }

    #[test]
    fn no_spelling_of_an_account_is_shown_inside_of_something_else() {
        for (what, value) in spellings() {
            let inside = [
                format!("./{value}"),
                format!("/run/{value}"),
                format!("/run/{value}/account.json"),
                format!("https://{value}"),
                format!("https://{value}.example.com"),
                format!("https://api.example.com/{value}"),
                format!("https://api.example.com/?{value}"),
                format!("https://me:{value}@api.example.com"),
                format!("api.example.com, {value}"),
                format!("{value}:443"),
                format!("{value}.json"),
                format!("30 {value}"),
            ];
            for text in inside {
                let shown = redacted(&text);
                let piece = &value[value.len() / 2..];
                let piece = &piece[..piece.len().min(8)];
                assert!(!shown.contains(piece), "{what}: {shown}");
                assert!(!super::path(Path::new(&text)).contains(piece), "{what}: {text}");
            }
        }
    }

    /// Values that users put into settings.
    #[test]
    fn a_value_that_is_certainly_no_secret_is_shown() {
        let values = [
            "30",
            "-1",
            "2.5",
            "30m",
            "1h 30m",
            "1 fortnight",
            "soon",
            "NaN",
            "maybe",
            "none",
            "localhost",
            "localhost:8443",
            "git",
            "registry:5000",
            "git.example.com",
            "Mirror.example.com:444",
            "git.example.com, mirror.example.com:444",
            "api.astra.datastax.com",
            "3f2a9c1b-77d0-4e5f-9a61-c0ffee15dead-us-east1.apps.astra.datastax.com",
            "d1a2b3c4.cloudfront.example.net",
            "10.0.0.1:3128",
            "[::1]:8443",
            "::1",
            "https://api.astra.datastax.com",
            "http://localhost:8443/astra/v2",
            "https://",
            "/account.json",
            "/none/service-account.json",
            "~/.config/astra-credential/service-account.json",
            "~me/account.json",
            "./account.json",
            "../prod.json",
            "prod.json",
            "/none/run/secrets/astra-account",
            "/none/serviceAccount2.json",
            "/none/backup-20261125/ca.pem",
            "/dev/stdin",
            "/dev/fd/63",
            "/proc/self/fd/63",
            r"/tmp",
        ];
        for value in values {
            assert_eq!(redacted(value), value);
        }
        for (value, shown) in [
            ("https://me:word@api.example.com/v2", "https://…@api.example.com/v2"),
            ("https://h/?q=1", "https://h/?…"),
            ("https://h/v2#f", "https://h/v2#…"),
        ] {
            assert_eq!(redacted(value), shown);
        }
        for name in ["tofu", "no-such-command", "kubectl-astra", "/none/bin/tool"] {
            assert_eq!(command(name), format!("`{name}`"));
        }
    }

    #[test]
    fn a_host_with_an_unusual_label_is_taken_but_a_secret_is_none() {
        for host in
            ["f3a9c1b2d4e5:5000", "9f86d081884c7d659a2feaa0c55ad015.example.com", "h", "::1"]
        {
            assert!(is_usable_host(host), "{host}");
        }
        for (what, value) in spellings() {
            assert!(!is_usable_host(&value), "{what}");
        }
    }

    #[test]
    fn an_existing_file_is_a_path_even_with_an_unusual_name() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join(spellings::SECRET);
        assert!(!is_path(&odd) && is_usable_path(&odd));
        std::fs::write(&odd, "").unwrap();
        assert_eq!(path(&odd), format!("`{}`", odd.display()));
        assert!(is_path(&folder.path().join("account.json")));
        assert!(!is_path(&folder.path().join(format!("{}.json", spellings::SECRET))));
    }

    #[test]
    fn a_path_that_is_created_may_have_an_unusual_name_below_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["9f86d081884c7d659a2feaa0c55ad015", "Jürgen's".trim_end_matches("'s"), "a b"]
        {
            assert!(is_usable_path(&folder.path().join(name).join("cache")), "{name}");
        }
        assert!(is_usable_path(Path::new("cache/astra")));
        for name in ["{}", "a\"b", "AstraCS:i", &"a".repeat(65)] {
            assert!(!is_usable_path(&folder.path().join(name)), "{name}");
        }
    }

    #[test]
    fn control_characters_in_foreign_text_are_escaped() {
        let shown = Escaped("a\u{1b}[2J\r\n\u{202e}b\u{200b}é").to_string();
        assert_eq!(shown, r"a\u{1b}[2J\r\n\u{202e}b\u{200b}é");
    }

    /// Random keys as tools print them: in base64, base64url, hexadecimal, letters and digits, and as a UUID.
    fn key() -> impl Strategy<Value = String> {
        let bytes = |length| prop::collection::vec(any::<u8>(), length);
        let digit = |byte: &u8| b"0123456789abcdef"[usize::from(byte % 16)] as char;
        let hexadecimal = move |bytes: Vec<u8>| bytes.iter().map(digit).collect::<String>();
        prop_oneof![
            bytes(18..150).prop_map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes)),
            bytes(18..150).prop_map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes)),
            bytes(32..64).prop_map(hexadecimal),
            "[A-Za-z0-9]{24,64}",
            bytes(32..33).prop_map(hexadecimal).prop_map(|hex| {
                [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
            }),
        ]
    }

    #[test]
    fn a_key_of_many_short_pieces_is_not_shown() {
        for key in
            ["_____A_0_-aa--A0--a-Aaa_", "0-AA_A_-_00_A_A0_A0-a_-A", "fobEeoleilWypAvbmjx-E-ep"]
        {
            assert_eq!(redacted(key), NOT_SHOWN, "{key}");
            assert!(!is_path(&Path::new("/").join(key)), "{key}");
        }
    }

    proptest! {
        #[test]
        fn nothing_drawn_at_random_is_shown(key in key()) {
            prop_assert_eq!(redacted(&key), NOT_SHOWN);
            prop_assert_eq!(command(&key), NOT_SHOWN);
            prop_assert!(!is_path(&Path::new("/").join(&key)));
        }

        #[test]
        fn no_value_makes_it_panic(value in any::<String>()) {
            let _ = (redacted(&value), path(Path::new(&value)), is_usable_path(Path::new(&value)));
        }
    }
}
