//! Opens a connection through a proxy: CONNECT (RFC 9110, section 9.3.6), SOCKS 4 and 4a, SOCKS 5 (RFC 1928
//! and 1929).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::error::ExchangeErrorKind;
use crate::exchange::failure::Failure;
use crate::proxy::{Login, Protocol, Proxy};
use crate::shown::Escaped;

/// The host to which the proxy connects, and its port.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A name, which the proxy resolves.
    Name(&'a str, u16),
    /// An address.
    Address(IpAddr, u16),
}

/// The `User-Agent` for Astra and for a proxy.
pub const USER_AGENT: &str = concat!("astra-credential/", env!("CARGO_PKG_VERSION"));

/// The largest answer of a proxy to CONNECT that is read, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;

/// Opens a connection to `target` through `proxy`. Afterwards `stream` carries the bytes of that connection.
///
/// # Errors
/// The proxy refuses, or the connection to it fails.
pub fn open_tunnel(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    target: Target<'_>,
) -> Result<(), Failure> {
    let login = proxy.login.as_ref();
    match proxy.protocol {
        Protocol::Http | Protocol::Https => connect(stream, login, target),
        Protocol::Socks4 | Protocol::Socks4a => socks4(stream, login, target),
        Protocol::Socks5 | Protocol::Socks5h => socks5(stream, login, target),
    }
}

/// The method CONNECT of HTTP.
fn connect(
    stream: &mut (impl Read + Write),
    login: Option<&Login>,
    target: Target<'_>,
) -> Result<(), Failure> {
    let target = match target {
        Target::Name(name, port) => format!("{name}:{port}"),
        Target::Address(address, port) => std::net::SocketAddr::new(address, port).to_string(),
    };
    let mut request = Zeroizing::new(format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {USER_AGENT}\r\n\
         Proxy-Connection: Keep-Alive\r\n"
    ));
    if let Some(Login { user, password }) = login {
        let pair = Zeroizing::new([user.as_slice(), b":", password].concat());
        let basic = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&basic);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    send(stream, request.as_bytes())?;
    let head = read_head(stream)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(status_of);
    let status = status.ok_or_else(|| refusal("the proxy does not answer as an HTTP proxy"))?;
    match status {
        200..=299 => Ok(()),
        407 => Err(login_required(login.is_some(), lines)),
        _ => Err(refusal(format!("the proxy refuses to connect to it ({status})"))),
    }
}

/// Reads an answer up to its empty line.
///
/// Bytes after that line would be lost. There are none: the target is a TLS server, which does not send
/// first.
fn read_head(stream: &mut impl Read) -> Result<String, Failure> {
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let count = stream.read(&mut piece).map_err(|error| Failure::of_io(&error))?;
        head.extend_from_slice(&piece[..count]);
        let has = |end: &[u8]| head.windows(end.len()).any(|piece| piece == end);
        if has(b"\r\n\r\n") || has(b"\n\n") {
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        if count == 0 {
            return Err(Failure::transient("the proxy broke the connection off"));
        }
        if head.len() > LARGEST_HEAD {
            return Err(refusal("the proxy's answer has no end"));
        }
    }
}

/// The status in the first line of an HTTP answer.
fn status_of(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    version.starts_with("HTTP/").then_some(())?;
    rest.split(' ').next()?.parse().ok()
}

/// The failure for a 407 with these header lines.
fn login_required<'a>(has_login: bool, headers: impl Iterator<Item = &'a str>) -> Failure {
    let schemes: Vec<_> = headers
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|(_, value)| value.split_whitespace().next())
        .map(|scheme| Escaped(scheme).to_string())
        .take(4)
        .collect();
    let takes_basic = schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if !schemes.is_empty() && !takes_basic {
        let schemes = schemes.join(" or ");
        return refusal(format!(
            "the proxy requires a login by {schemes}, and this program supports only Basic (407)"
        ));
    }
    refused_login(if has_login {
        "the proxy refuses the user name and password in its URL (407)"
    } else {
        "the proxy requires a user name and a password (407)"
    })
}

/// SOCKS 4 and 4a. The login has no password.
fn socks4(
    stream: &mut (impl Read + Write),
    login: Option<&Login>,
    target: Target<'_>,
) -> Result<(), Failure> {
    /// In SOCKS 4a, an address 0.0.0.x means that a name follows.
    const NAMED: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);
    let (address, port, name) = match target {
        Target::Address(IpAddr::V4(address), port) => (address, port, None),
        Target::Name(name, port) => (NAMED, port, Some(name)),
        Target::Address(IpAddr::V6(_), _) => return Err(refusal("SOCKS 4 has no IPv6")),
    };
    let mut request = Zeroizing::new(vec![4, 1]);
    request.extend(port.to_be_bytes());
    request.extend(address.octets());
    request.extend(login.iter().flat_map(|login| login.user.iter().copied()));
    request.push(0);
    if let Some(name) = name {
        request.extend(name.as_bytes());
        request.push(0);
    }
    send(stream, &request)?;
    match receive::<8>(stream)? {
        [0, 90, ..] => Ok(()),
        [0, 91, ..] => Err(refusal("the proxy refuses to connect to it")),
        [0, 92 | 93, ..] => Err(refused_login("the proxy refuses the user name")),
        _ => Err(no_socks()),
    }
}

/// SOCKS 5: RFC 1928.
fn socks5(
    stream: &mut (impl Read + Write),
    login: Option<&Login>,
    target: Target<'_>,
) -> Result<(), Failure> {
    const NO_LOGIN: u8 = 0;
    const PASSWORD: u8 = 2;
    send(stream, if login.is_some() { &[5, 2, PASSWORD, NO_LOGIN] } else { &[5, 1, NO_LOGIN] })?;
    match (receive(stream)?, login) {
        ([5, NO_LOGIN], _) => {}
        ([5, PASSWORD], Some(login)) => log_in(stream, login)?,
        ([5, _], None) => {
            return Err(refused_login("the proxy requires a user name and a password"));
        }
        ([5, _], Some(_)) => {
            return Err(refused_login("the proxy takes no login by user name and password"));
        }
        _ => return Err(no_socks()),
    }
    let mut request = vec![5, 1, 0];
    let (Target::Name(_, port) | Target::Address(_, port)) = target;
    match target {
        Target::Address(IpAddr::V4(address), _) => {
            request.push(1);
            request.extend(address.octets());
        }
        Target::Address(IpAddr::V6(address), _) => {
            request.push(4);
            request.extend(address.octets());
        }
        Target::Name(name, _) => {
            let length = u8::try_from(name.len());
            request.extend([3, length.map_err(|_| refusal("the host's name is too long"))?]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    send(stream, &request)?;
    let [version, reply, _, kind] = receive(stream)?;
    if version != 5 {
        return Err(no_socks());
    }
    match reply {
        0 => {}
        1 => return Err(refusal("the proxy has failed")),
        2 => return Err(refusal("the proxy forbids connecting to it")),
        3..=6 => return Err(Failure::transient("the proxy cannot reach it")),
        _ => return Err(refusal("the proxy refuses to connect to it")),
    }
    // The address from which the proxy connects. It is not used.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(receive::<1>(stream)?[0]),
        _ => return Err(no_socks()),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).map_err(|error| Failure::of_io(&error))
}

/// The login of SOCKS 5 by user name and password: RFC 1929.
fn log_in(stream: &mut (impl Read + Write), login: &Login) -> Result<(), Failure> {
    let Login { user, password } = login;
    let length = |text: &[u8]| {
        u8::try_from(text.len()).map_err(|_| {
            refused_login("a user name or password of more than 255 bytes cannot be sent to it")
        })
    };
    let mut request = Zeroizing::new(vec![1, length(user)?]);
    request.extend_from_slice(user);
    request.push(length(password)?);
    request.extend_from_slice(password);
    send(stream, &request)?;
    match receive(stream)? {
        [_, 0] => Ok(()),
        _ => Err(refused_login("the proxy refuses the user name and password in its URL")),
    }
}

fn send(stream: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    let sent: io::Result<()> = stream.write_all(bytes).and_then(|()| stream.flush());
    sent.map_err(|error| Failure::of_io(&error))
}

fn receive<const LENGTH: usize>(stream: &mut impl Read) -> Result<[u8; LENGTH], Failure> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::transient("the proxy broke the connection off"),
        _ => Failure::of_io(&error),
    })?;
    Ok(bytes)
}

fn refusal(detail: impl Into<String>) -> Failure {
    Failure::permanent(ExchangeErrorKind::Unreachable, detail)
}

fn refused_login(detail: &str) -> Failure {
    Failure::permanent(ExchangeErrorKind::ProxyLogin, detail)
}

fn no_socks() -> Failure {
    refusal("the proxy does not answer as a SOCKS proxy")
}
