//! The parts that all helper protocols share: hosts, and the reading of requests.
//!
//! An adapter converts a request to an answer. It reads the host from the request and calls one of two
//! closures with it: `serve` for the credential, or `forget` if the protocol can delete one. `serve` returns
//! `Ok(None)` if no account is configured for the host. Each protocol has its own answer for that. `Err` is a
//! failure.

use std::fmt;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, json_defect};

pub mod bazel;
pub mod docker;
pub mod git;
pub mod kubernetes;
pub mod terraform;

/// The largest request that is read, in bytes. Most requests have a few hundred bytes. A line of git's protocol
/// may have 64 KiB.
const LARGEST_REQUEST: u64 = 1024 * 1024;

/// A host and a port. The name is in lower case; an IPv6 address has brackets.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Host {
    name: String,
    port: u16,
}

/// A failed call: the error, the outputs and the exit code.
#[derive(Debug)]
pub struct Failed {
    /// The error.
    pub error: Error,
    /// The message on standard error.
    pub stderr: Option<String>,
    /// The protocol's answer on standard output.
    pub stdout: String,
    /// The exit code.
    pub exit_code: u8,
}

impl Host {
    /// Reads `HOST[:PORT]`. The default port is 443.
    ///
    /// Returns `None` for everything that two parsers might read differently: a user name, a dot at the end, an
    /// empty port or one with leading zeros, percent-encoding, letters outside ASCII.
    pub fn parse(authority: &str) -> Option<Self> {
        Self::read(authority).ok()
    }

    /// Like [`Host::parse`], with an error: the defect as a predicate, such as "names no host".
    fn read(authority: &str) -> Result<Self, &'static str> {
        if let Some(host) = Self::read_plain(authority) {
            return Ok(host);
        }
        if authority.contains('@') {
            return Err("names a user in front of the host");
        }
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').unwrap_or_default();
                let address = address.parse::<Ipv6Addr>();
                let address = address.map_err(|_| "has brackets without an IPv6 address")?;
                // All spellings of an address are one host, which may belong to one account only.
                (format!("[{address}]"), port)
            }
            None => {
                let (name, port) =
                    authority.split_at(authority.find(':').unwrap_or(authority.len()));
                (name.to_owned(), port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => port_number(digits),
            None => port.is_empty().then_some(443),
        };
        let port = port.ok_or("has a port that is not a plain number from 1 to 65535")?;
        match name.as_str() {
            "" => Err("names no host"),
            _ if name.starts_with('[') => Ok(Self { name, port }),
            _ if name.ends_with('.') => Err("has a dot at the end of the host's name"),
            _ => Err("has a host's name with other characters than letters, digits, `-` and `_`"),
        }
    }

    /// Reads a name of labels that are separated by dots, and a port. Returns `None` for any other host. It is
    /// fast, because a warm call reads every host of the configuration file.
    fn read_plain(authority: &str) -> Option<Self> {
        let mut is_in_label = false;
        let mut end = authority.len();
        for (at, byte) in authority.bytes().enumerate() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => is_in_label = true,
                b'.' if is_in_label => is_in_label = false,
                b':' => {
                    end = at;
                    break;
                }
                _ => return None,
            }
        }
        if !is_in_label {
            return None;
        }
        let (name, port) = authority.split_at(end);
        let port = port.strip_prefix(':').map_or(Some(443), port_number)?;
        Some(Self { name: name.to_ascii_lowercase(), port })
    }

    /// Reads the host of a URL that has one of `schemes`. The comparison of schemes is case-sensitive.
    ///
    /// # Errors
    /// The defect of the URL, as a predicate such as "names a user in front of the host".
    pub fn of_url(url: &str, schemes: &[&str]) -> Result<Self, &'static str> {
        if !url.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme)) {
            return Err("does not begin with `https://`");
        }
        // Browsers treat a backslash as a slash.
        if url.bytes().any(|b| b == b'\\' || !b.is_ascii_graphic()) {
            return Err("has a backslash, a space or another character that no URL has");
        }
        if url.contains('#') {
            return Err("has a fragment, which no request has");
        }
        let uri: http::Uri = url.parse().map_err(|_| "is malformed")?;
        Self::read(uri.authority().map_or("", http::uri::Authority::as_str))
    }

    /// The name, without the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `HOST:PORT`, the form for a resolver.
    pub fn with_port(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    /// True if an entry of `NO_PROXY`, in lower case, matches this host: it is the host, a domain above it, or a
    /// network (`10.0.0.0/8`) that contains its address.
    pub fn is_exempt_by(&self, entry: &str) -> bool {
        if entry == "*" {
            return true;
        }
        let (domain, port) = match entry.rsplit_once(':') {
            Some((domain, port)) if !domain.contains(':') || domain.ends_with(']') => {
                (domain, Some(port))
            }
            _ => (entry, None),
        };
        let bare = self.name.trim_start_matches('[').trim_end_matches(']');
        let is_named = match bare.parse() {
            Ok(address) => is_in_network(address, domain),
            Err(_) => {
                let domain = domain.trim_start_matches("*.").trim_matches('.');
                let above = bare.strip_suffix(domain).filter(|_| !domain.is_empty());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
        };
        is_named && port.is_none_or(|port| port == self.port.to_string())
    }
}

/// True if `network`, an address or `ADDRESS/BITS`, contains `address`.
fn is_in_network(address: IpAddr, network: &str) -> bool {
    // The address in the upper bits of a number, and its length in bits.
    let bits_of = |address| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let (first, length) = match network.split_once('/') {
        Some((first, length)) => (first, length.parse::<u32>().ok()),
        None => (network, Some(bits_of(address).1)),
    };
    let first = first.trim_start_matches('[').trim_end_matches(']').parse();
    let (Ok(first), Some(length)) = (first.map(bits_of), length) else { return false };
    let ((address, most), (first, most_of_first)) = (bits_of(address), first);
    most == most_of_first && length <= most && (address ^ first).leading_zeros() >= length
}

/// Reads a port without leading zeros or a sign.
fn port_number(digits: &str) -> Option<u16> {
    let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    canonical.then(|| digits.parse().ok()).flatten()
}

/// The form of the host in a URL: without the port if that is 443.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => f.write_str(&self.name),
            port => write!(f, "{}:{port}", self.name),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let stderr = Some(format!("{error}\nhint: {}", error.hint()));
        Self { stderr, stdout: String::new(), exit_code: error.exit_code(), error }
    }
}

/// Reads a request to its end.
fn read_request(protocol: &'static str, input: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = input.take(LARGEST_REQUEST + 1).read_to_end(&mut bytes);
    read.map_err(|why| Error::RequestUnreadable { protocol, why })?;
    if bytes.len() as u64 > LARGEST_REQUEST { Err(too_large(protocol)) } else { Ok(bytes) }
}

/// The error for a request of more than [`LARGEST_REQUEST`] bytes.
fn too_large(protocol: &'static str) -> Error {
    Error::Request { protocol, problem: "the request is larger than 1 MiB".to_owned() }
}

/// Reads a JSON object. The error contains the position of the defect.
///
/// A list is refused. serde would accept it for a struct, which would be a second form of the request.
fn json_object<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a JSON object".to_owned());
    }
    serde_json::from_slice(text).map_err(|error| json_defect(&error))
}

/// Writes an answer as one line of JSON.
fn json_line(reply: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(reply).map_err(|error| Error::Output(error.into()))?;
    line.push(b'\n');
    Ok(line)
}

/// The error for an unknown verb, in the protocols that treat it as a failure.
fn unknown_verb(protocol: &'static str, verb: &str, known: &str) -> Error {
    Error::Request {
        protocol,
        problem: format!("unknown verb {}, known are {known}", crate::shown::quoted(verb)),
    }
}

/// The credential in the adapters' tests.
#[cfg(test)]
fn credential() -> crate::token::Credential {
    crate::token::Credential {
        bearer: crate::token::Secret::new("a.b.c".to_owned()),
        expires: Some(crate::timestamp::Timestamp::from_unix(1_595_636_032)),
        accepted_until: Some(crate::timestamp::Timestamp::from_unix(1_595_636_182)),
    }
}

/// A `serve` for the adapters' tests, with one configured host.
#[cfg(test)]
fn serve_for(ours: &str) -> impl Fn(&Host) -> Result<Option<crate::token::Credential>, Error> {
    let ours = Host::parse(ours);
    move |host| Ok((Some(host) == ours.as_ref()).then(credential))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_is_read_exactly_or_not_at_all() {
        let cases = [
            "api.example.com",
            "API.example.COM",
            "api.example.com:8443",
            "localhost:1",
            "[::1]:8443",
            "[::1]",
            "[0:0:0::0:0001]",
            "[FD00::A:0]:8443",
            "10.0.0.1",
            "under_score.example",
            "",
            ":443",
            "api.example.com.",
            ".example.com",
            "a..b",
            "api.example.com:",
            "api.example.com:0",
            "api.example.com:0443",
            "api.example.com:+443",
            "api.example.com:65536",
            "api.example.com:443:443",
            "user@h",
            "h/",
            "h%2e",
            "é.example",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[example.com]",
            "[::1%25lo]",
            "a b",
            "a\n",
            "a\0",
        ];
        let table: Vec<_> = cases
            .map(|case| match Host::parse(case) {
                Some(host) => format!("{case:?} is {} port {}", host.name, host.port),
                None => format!("{case:?} is refused"),
            })
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "api.example.com" is api.example.com port 443
        "API.example.COM" is api.example.com port 443
        "api.example.com:8443" is api.example.com port 8443
        "localhost:1" is localhost port 1
        "[::1]:8443" is [::1] port 8443
        "[::1]" is [::1] port 443
        "[0:0:0::0:0001]" is [::1] port 443
        "[FD00::A:0]:8443" is [fd00::a:0] port 8443
        "10.0.0.1" is 10.0.0.1 port 443
        "under_score.example" is under_score.example port 443
        "" is refused
        ":443" is refused
        "api.example.com." is refused
        ".example.com" is refused
        "a..b" is refused
        "api.example.com:" is refused
        "api.example.com:0" is refused
        "api.example.com:0443" is refused
        "api.example.com:+443" is refused
        "api.example.com:65536" is refused
        "api.example.com:443:443" is refused
        "user@h" is refused
        "h/" is refused
        "h%2e" is refused
        "é.example" is refused
        "::1" is refused
        "[::1" is refused
        "[::1]x" is refused
        "[::1]:" is refused
        "[example.com]" is refused
        "[::1%25lo]" is refused
        "a b" is refused
        "a\n" is refused
        "a\0" is refused
        "#);
    }

    #[test]
    fn a_request_of_1_mib_is_read_and_a_larger_one_refused() {
        let length = |bytes| read_request("docker", std::io::repeat(b'x').take(bytes));
        assert_eq!(length(1_048_576).unwrap().len(), 1_048_576);
        let error = length(1_048_577).unwrap_err().to_string();
        assert_eq!(error, "docker: the request is larger than 1 MiB");
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_and_networks() {
        let exempt = |host: &str, entries: &[&str]| {
            let host = Host::parse(host).unwrap();
            let is_exempt = |entry: &&&str| host.is_exempt_by(entry);
            entries.iter().filter(is_exempt).copied().collect::<Vec<_>>().join(" ")
        };
        let names =
            ["*", "example.com", ".example.com", "*.example.com", "ample.com", "", ".", ":443"];
        assert_eq!(exempt("api.example.com", &names), "* example.com .example.com *.example.com");
        let ports = ["api.example.com:443", "example.com:8443", "api.example.com:0443"];
        assert_eq!(exempt("api.example.com", &ports), "api.example.com:443");
        let networks = [
            "10.1.2.3",
            "10.1.2.3:443",
            "10.1.2.3:444",
            "10.1.2.3/32",
            "10.1.2.2/31",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "10.1.2.2/32",
            "10.1.2.4/31",
            "11.0.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "10.0.0.0/",
            "10.1.2.0",
            "0.3",
            "3",
            "::/0",
            "example.com/8",
        ];
        insta::assert_snapshot!(exempt("10.1.2.3", &networks), @"10.1.2.3 10.1.2.3:443 10.1.2.3/32 10.1.2.2/31 10.0.0.0/8 0.0.0.0/0");
        let networks = [
            "fd00::1:2",
            "[fd00::1:2]",
            "[fd00::1:2]:443",
            "[fd00::1:2]:444",
            "fd00:0:0::1:2",
            "fd00::1:2/128",
            "fd00::1:3/127",
            "[fd00::]/8",
            "fd00::/8",
            "::/0",
            "fd00::1:0/127",
            "fe00::/8",
            "fd00::/129",
            "fd00::1",
            "2",
            "1:2",
            "10.0.0.0/0",
        ];
        insta::assert_snapshot!(exempt("[fd00::1:2]", &networks), @"fd00::1:2 [fd00::1:2] [fd00::1:2]:443 fd00:0:0::1:2 fd00::1:2/128 fd00::1:3/127 [fd00::]/8 fd00::/8 ::/0");
    }

    #[test]
    fn the_host_of_a_url_is_the_one_it_is_sent_to() {
        let cases = [
            "https://ours",
            "https://ours/",
            "https://OURS:443/p?q=1",
            "https://ours/@scope/x",
            "grpcs://ours",
            "http://ours/",
            "HTTPS://ours/",
            "ours",
            "//ours/",
            "https:ours",
            "https:///ours",
            "https://ours@evil/",
            "https://evil@ours/",
            "https://evil/#@ours",
            "https://ours#@evil/",
            "https://evil/?ours",
            "https://evil?@ours/",
            "https://evil\\@ours/",
            "https://ours\\.evil/",
            "https://ours%2eevil/",
            "https://ours.evil/",
            "https://evil.ours/",
            "https://ours:444/",
            "https://ours./",
            "https://ours :443/",
            " https://ours/",
            "https://ours/\n",
            "https://öurs/",
        ];
        let table: Vec<_> = cases
            .map(|case| match Host::of_url(case, &["https", "grpcs"]) {
                Ok(host) => format!("{case:?} goes to {} port {}", host.name, host.port),
                Err(why) => format!("{case:?} {why}"),
            })
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "https://ours" goes to ours port 443
        "https://ours/" goes to ours port 443
        "https://OURS:443/p?q=1" goes to ours port 443
        "https://ours/@scope/x" goes to ours port 443
        "grpcs://ours" goes to ours port 443
        "http://ours/" does not begin with `https://`
        "HTTPS://ours/" does not begin with `https://`
        "ours" does not begin with `https://`
        "//ours/" does not begin with `https://`
        "https:ours" does not begin with `https://`
        "https:///ours" is malformed
        "https://ours@evil/" names a user in front of the host
        "https://evil@ours/" names a user in front of the host
        "https://evil/#@ours" has a fragment, which no request has
        "https://ours#@evil/" has a fragment, which no request has
        "https://evil/?ours" goes to evil port 443
        "https://evil?@ours/" goes to evil port 443
        "https://evil\\@ours/" has a backslash, a space or another character that no URL has
        "https://ours\\.evil/" has a backslash, a space or another character that no URL has
        "https://ours%2eevil/" is malformed
        "https://ours.evil/" goes to ours.evil port 443
        "https://evil.ours/" goes to evil.ours port 443
        "https://ours:444/" goes to ours port 444
        "https://ours./" has a dot at the end of the host's name
        "https://ours :443/" has a backslash, a space or another character that no URL has
        " https://ours/" does not begin with `https://`
        "https://ours/\n" has a backslash, a space or another character that no URL has
        "https://öurs/" has a backslash, a space or another character that no URL has
        "#);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic_or_yields_an_odd_host(text in "\\PC*|[a-z@:/.\\[\\]#?]{1,30}") {
            for host in [Host::parse(&text), Host::of_url(&format!("https://{text}"), &["https"]).ok()].into_iter().flatten() {
                let odd = |b: u8| b"@/?#%\\ ".contains(&b) || b.is_ascii_uppercase() || !b.is_ascii_graphic();
                prop_assert!(!host.name.bytes().any(odd) && host.port > 0);
            }
        }
    }
}
