//! The URL of a proxy, in the form that curl accepts in `HTTPS_PROXY`:
//! `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]`.
//!
//! Everything before the last `@` is the user name and the password. So neither becomes part of a host name,
//! an error or a DNS query, even if the URL is malformed. A URL parser would not guarantee that.

use std::fmt;

use zeroize::Zeroizing;

/// The parts of a proxy's URL.
pub struct Proxy {
    /// The proxy's protocol.
    pub protocol: Protocol,
    /// The user name and password, percent-decoded.
    pub login: Option<Login>,
    /// A name or an IP address. An IPv6 address has no brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The protocols of proxies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// CONNECT over plain HTTP.
    Http,
    /// CONNECT over TLS.
    Https,
    /// SOCKS 4; this machine resolves the target's name.
    Socks4,
    /// SOCKS 4a; the proxy resolves the target's name.
    Socks4a,
    /// SOCKS 5; this machine resolves the target's name.
    Socks5,
    /// SOCKS 5; the proxy resolves the target's name.
    Socks5h,
}

/// A user name and a password.
pub struct Login {
    /// The user name.
    pub user: Zeroizing<Vec<u8>>,
    /// The password; empty if there is none.
    pub password: Zeroizing<Vec<u8>>,
}

/// The schemes, each with its protocol and default port.
const SCHEMES: [(&str, Protocol, u16); 7] = [
    ("http", Protocol::Http, 80),
    ("https", Protocol::Https, 443),
    ("socks4", Protocol::Socks4, 1080),
    ("socks4a", Protocol::Socks4a, 1080),
    ("socks5", Protocol::Socks5, 1080),
    ("socks5h", Protocol::Socks5h, 1080),
    ("socks", Protocol::Socks5, 1080),
];

impl Proxy {
    /// Reads a URL.
    ///
    /// # Errors
    /// The defect, as the predicate of "the URL". It contains no part of the URL.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let url = url.trim();
        if url.contains(char::REPLACEMENT_CHARACTER) {
            return Err("is not UTF-8");
        }
        let (protocol, default_port, rest) = scheme(url)?;
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(Login::parse(login)?), place),
            None => (None, rest),
        };
        let (host, port) = host_and_port(place)?;
        Ok(Self { protocol, login, host: host.to_owned(), port: port.unwrap_or(default_port) })
    }
}

/// `HOST:PORT`, without the login. An IPv6 address has brackets.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {self})", self.protocol)
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['/', '?', '#']) || text.contains(char::is_whitespace) {
            return Err("has a `/`, `?`, `#` or blank in its user name or password");
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let (user, password) = (decoded(user), decoded(password));
        if user.iter().chain(&*password).any(u8::is_ascii_control) {
            return Err("has a control character in its user name or password");
        }
        Ok(Self { user, password })
    }
}

/// The proxy of a URL, safe to show: `HOST:PORT`, or a placeholder if the URL cannot be used.
pub fn shown(url: &str) -> String {
    Proxy::parse(url).map_or_else(
        |_| "(not a usable URL)".to_owned(),
        |proxy| crate::shown::redacted(&proxy.to_string()),
    )
}

/// The protocol, its default port, and the URL after the scheme. Without a scheme, the protocol is `http`.
fn scheme(url: &str) -> Result<(Protocol, u16, &str), &'static str> {
    let is_scheme =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    // Without this check, a `://` in a password would end the scheme.
    let Some((name, rest)) = url.split_once("://").filter(|(name, _)| is_scheme(name)) else {
        // In `http:/proxy`, the host would be `http`.
        let is_short = |(name, ..): &(&str, Protocol, u16)| {
            url.split_once(":/").is_some_and(|(before, _)| before.eq_ignore_ascii_case(name))
        };
        return match SCHEMES.iter().any(is_short) {
            true => Err("has one `/` after its scheme in place of two"),
            false => Ok((Protocol::Http, 80, url)),
        };
    };
    let known = SCHEMES.into_iter().find(|(known, ..)| name.eq_ignore_ascii_case(known));
    known.map(|(_, protocol, port)| (protocol, port, rest)).ok_or(
        "has a scheme other than `http`, `https`, `socks4`, `socks4a`, `socks5` and `socks5h`",
    )
}

/// The host and the port. Like curl, ignores a path.
fn host_and_port(place: &str) -> Result<(&str, Option<u16>), &'static str> {
    let place = place.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("has a `[` without a `]`")?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address in `[…]`")?;
            (address, port)
        }
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            // A value that may be a secret must not become part of a DNS query.
            let is_usable = crate::shown::is_usable_host(host);
            if host.is_empty() || !host.bytes().all(plain) || !is_usable {
                return Err("has no host that can be looked up");
            }
            (host, port)
        }
    };
    let port = match port.strip_prefix(':') {
        _ if ["", ":"].contains(&port) => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let number = digits.parse().ok().filter(|port| *port > 0);
            Some(number.ok_or("has a port that is not between 1 and 65535")?)
        }
        _ => return Err("has a port that is not a number"),
    };
    Ok((host, port))
}

/// Percent-decodes `text`. Like curl, keeps a `%` without two hexadecimal digits.
fn decoded(text: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend(percent_encoding::percent_decode_str(text));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_proxys_url_is_read_as_curl_reads_it_and_cut_at_the_last_at() {
        let urls = [
            "proxy",
            "proxy:3128",
            "http://proxy:3128",
            "HTTP://Proxy:3128/",
            "https://proxy",
            "socks5h://proxy",
            "socks4a://proxy:9",
            "http://[::1]:3128",
            "[::1]",
            " http://proxy:3128\r\n",
            "me:pw@proxy:3128",
            "http://me@proxy",
            "http://me:p@ss@proxy:3128/x",
            "http://me:a:b@proxy",
            "http://DOM\\me:pw@proxy",
            "http://mé:pä@proxy",
            "http://me:100%@proxy",
            "http://me:%53%2f%zz%@proxy",
            "me:a://b@proxy:1",
            "http://me:S3cr/t@proxy:3128",
            "http://me:S3cr#t@proxy:3128",
            "http://me:S3cr?t@proxy:3128",
            "http://me:S3 cr@proxy:3128",
            "http://me:%0d%0a@proxy",
            "http://me:pw@",
            "http://me:hush",
            "http://pröxy",
            "http://proxy:0",
            "http://proxy:99999",
            "http://[::1",
            "gopher://me:hush@proxy",
            "http:/proxy:3128",
            "http://me:h\u{fffd}sh@proxy",
            "",
        ];
        let table: Vec<_> = urls
            .map(|url| match Proxy::parse(url) {
                Ok(proxy) => {
                    let login = proxy.login.as_ref().map(|Login { user, password }| {
                        format!(
                            " as {} with {}",
                            String::from_utf8_lossy(user),
                            String::from_utf8_lossy(password)
                        )
                    });
                    let login = login.unwrap_or_default();
                    format!("{url:?} is {:?} {proxy}{login}", proxy.protocol)
                }
                Err(why) => format!("{url:?} {why}"),
            })
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "proxy" is Http proxy:80
        "proxy:3128" is Http proxy:3128
        "http://proxy:3128" is Http proxy:3128
        "HTTP://Proxy:3128/" is Http Proxy:3128
        "https://proxy" is Https proxy:443
        "socks5h://proxy" is Socks5h proxy:1080
        "socks4a://proxy:9" is Socks4a proxy:9
        "http://[::1]:3128" is Http [::1]:3128
        "[::1]" is Http [::1]:80
        " http://proxy:3128\r\n" is Http proxy:3128
        "me:pw@proxy:3128" is Http proxy:3128 as me with pw
        "http://me@proxy" is Http proxy:80 as me with 
        "http://me:p@ss@proxy:3128/x" is Http proxy:3128 as me with p@ss
        "http://me:a:b@proxy" is Http proxy:80 as me with a:b
        "http://DOM\\me:pw@proxy" is Http proxy:80 as DOM\me with pw
        "http://mé:pä@proxy" is Http proxy:80 as mé with pä
        "http://me:100%@proxy" is Http proxy:80 as me with 100%
        "http://me:%53%2f%zz%@proxy" is Http proxy:80 as me with S/%zz%
        "me:a://b@proxy:1" has a `/`, `?`, `#` or blank in its user name or password
        "http://me:S3cr/t@proxy:3128" has a `/`, `?`, `#` or blank in its user name or password
        "http://me:S3cr#t@proxy:3128" has a `/`, `?`, `#` or blank in its user name or password
        "http://me:S3cr?t@proxy:3128" has a `/`, `?`, `#` or blank in its user name or password
        "http://me:S3 cr@proxy:3128" has a `/`, `?`, `#` or blank in its user name or password
        "http://me:%0d%0a@proxy" has a control character in its user name or password
        "http://me:pw@" has no host that can be looked up
        "http://me:hush" has a port that is not a number
        "http://pröxy" has no host that can be looked up
        "http://proxy:0" has a port that is not between 1 and 65535
        "http://proxy:99999" has a port that is not between 1 and 65535
        "http://[::1" has a `[` without a `]`
        "gopher://me:hush@proxy" has a scheme other than `http`, `https`, `socks4`, `socks4a`, `socks5` and `socks5h`
        "http:/proxy:3128" has one `/` after its scheme in place of two
        "http://me:h�sh@proxy" is not UTF-8
        "" has no host that can be looked up
        "#);
    }

    proptest! {
        #[test]
        fn nothing_before_the_last_at_is_ever_shown(
            scheme in "(http://|https://|socks5h?://|socks4a?://|ftp://|)",
            login in "[^@]{0,3}[QZX]{6}[^@]{0,3}(@[QZX]{6}|)",
            place in "([a-p.:/\\[\\]]{0,12}|proxy:3128)",
        ) {
            let url = format!("{scheme}{login}@{place}");
            let parsed = Proxy::parse(&url);
            let texts = [
                shown(&url),
                format!("{parsed:?}"),
                parsed.map_or_else(str::to_owned, |proxy| proxy.host),
            ];
            for text in texts {
                prop_assert!(!text.contains(['Q', 'Z', 'X']), "{text}");
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_yields_an_odd_host(url in "\\PC*|[a-z@:/.\\[\\]#?%]{1,30}") {
            if let Ok(proxy) = Proxy::parse(&url) {
                let odd = |b: u8| b"@/?#%\\ []".contains(&b) || !b.is_ascii_graphic();
                prop_assert!(!proxy.host.bytes().any(odd) && proxy.port > 0);
            }
        }
    }
}
