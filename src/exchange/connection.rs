//! Opens the connection to the API base: name lookup, TCP, proxy and TLS, with one deadline for all.
//!
//! ureq is used for HTTP alone. Its own connectors restart the time-out at each read while a proxy
//! answers, and they do not try the next address after an error such as EACCES.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::error::ExchangeErrorKind;
use crate::exchange::failure::Failure;
use crate::exchange::handshake::{self, Target};
use crate::exchange::tls::Tls;
use crate::proxy::{Protocol, Proxy};

/// Time for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before the next address is tried in parallel (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The size of ureq's input buffer. ureq clears the default of 128 KiB at each connection. The buffer must
/// be larger than the longest accepted header, 64 KiB, so that a longer one is reported as too long.
const INPUT_BUFFER: usize = 80 * 1024;

/// The size of ureq's output buffer. The largest request is an account.
const OUTPUT_BUFFER: usize = 16 * 1024;

/// Makes connections for ureq.
#[derive(Debug)]
pub struct Dialer {
    /// The proxy in between.
    pub proxy: Option<Proxy>,
    /// The deadline of every read and write, independent of ureq's own time-outs.
    pub deadline: Instant,
    /// The configuration of TLS.
    pub tls: Arc<Tls>,
    /// The `User-Agent` for a proxy.
    pub user_agent: &'static str,
}

/// Resolves nothing. The [`Dialer`] resolves the name of the proxy or of the API.
#[derive(Debug)]
pub struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

impl Connector for Dialer {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let host = details.uri.host().unwrap_or_default();
        let port = details.uri.port_u16().unwrap_or(443);
        let stream = self.open(host, port).map_err(|failure| {
            // The call's own deadline has passed, which is not an error of the connection.
            if failure.may_pass && self.deadline <= Instant::now() {
                ureq::Error::Timeout(ureq::Timeout::Global)
            } else {
                ureq::Error::Other(failure.into())
            }
        })?;
        let buffers = LazyBuffers::new(INPUT_BUFFER, OUTPUT_BUFFER);
        Ok(Some(Connection { stream, buffers, tls: Arc::clone(&self.tls) }))
    }
}

impl Dialer {
    fn open(&self, host: &str, port: u16) -> Result<StreamOwned<ClientConnection, Way>, Failure> {
        let until = self.deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let way = match &self.proxy {
            None => Way::Plain(Line { socket: race(addresses(host, port, until)?, until)?, until }),
            Some(proxy) => self.open_through(proxy, host, port, until)?,
        };
        let mut stream = self.tls.wrap(way, host)?;
        stream.sock.line().until = self.deadline;
        Ok(stream)
    }

    fn open_through(
        &self,
        proxy: &Proxy,
        host: &str,
        port: u16,
        until: Instant,
    ) -> Result<Way, Failure> {
        let is_looked_up_here = matches!(proxy.protocol, Protocol::Socks4 | Protocol::Socks5);
        let address = bare(host).parse::<IpAddr>();
        let targets = match address {
            Ok(address) => vec![Target::Address(address, port)],
            Err(_) if is_looked_up_here => addresses(host, port, until)?
                .into_iter()
                .map(|address| Target::Address(address.ip(), port))
                .filter(|target| {
                    proxy.protocol != Protocol::Socks4
                        || matches!(target, Target::Address(IpAddr::V4(_), _))
                })
                .collect(),
            Err(_) => vec![Target::Name(host, port)],
        };
        let mut failure = Failure::unreachable("it has no address that the proxy can connect to");
        for target in targets {
            let socket = race(addresses(&proxy.host, proxy.port, until)?, until)?;
            let line = Line { socket, until };
            let mut way = if proxy.protocol == Protocol::Https {
                let wrapped = self.tls.wrap(line, &proxy.host).map_err(of_proxy)?;
                Way::Tls(Box::new(wrapped))
            } else {
                Way::Plain(line)
            };
            match handshake::ask(&mut way, proxy, target, self.user_agent) {
                Ok(()) => return Ok(way),
                // The proxy may reach another of its addresses.
                Err(refused) if refused.may_pass => failure = refused,
                Err(refused) => return Err(refused),
            }
        }
        Err(failure)
    }
}

/// Marks a failure of TLS with the proxy, and not with the API base.
fn of_proxy(failure: Failure) -> Failure {
    let Failure { kind, detail, may_pass } = failure;
    let detail = match kind {
        ExchangeErrorKind::Unreachable => detail,
        ExchangeErrorKind::ClientCertificate | ExchangeErrorKind::OldTls => {
            format!("TLS with the proxy is not possible: {detail}")
        }
        _ => format!("the certificate of the proxy is not trusted: {detail}"),
    };
    Failure { kind: ExchangeErrorKind::Unreachable, detail, may_pass }
}

/// TLS with the API base, in the form that ureq uses.
pub struct Connection {
    stream: StreamOwned<ClientConnection, Way>,
    buffers: LazyBuffers,
    tls: Arc<Tls>,
}

impl Connection {
    /// Converts an error that comes after the handshake. ureq takes `UnexpectedEof` and a reset for the end
    /// of a body without a length; as `Other` they are errors, because such a body may be cut off.
    fn error(&self, error: &io::Error) -> ureq::Error {
        match error.kind() {
            io::ErrorKind::TimedOut => ureq::Error::Timeout(ureq::Timeout::Global),
            _ => ureq::Error::Other(self.tls.failure(error).into()),
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = &self.buffers.output()[..amount];
        let sent = self.stream.write_all(output).and_then(|()| self.stream.flush());
        sent.map_err(|error| self.error(&error))
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let read = self.stream.read(self.buffers.input_append_buf());
        let count = read.map_err(|error| self.error(&error))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Connections are used once.
    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// A socket with one deadline for all reads and writes together.
#[derive(Debug)]
pub struct Line {
    socket: TcpStream,
    until: Instant,
}

impl Line {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// Makes a call with the time that is left, again after EINTR. A time-out is `TimedOut` on every system.
/// macOS refuses to set the time-out of a socket that the peer has closed; the call itself then returns the
/// error.
fn in_time<T>(
    mut left: impl FnMut() -> io::Result<Duration>,
    set: impl Fn(Duration) -> io::Result<()>,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match set(left()?) {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
            _ => {}
        }
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            done => return done,
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = &self.socket;
        in_time(
            || self.left(),
            |left| self.socket.set_read_timeout(Some(left)),
            || socket.read(buffer),
        )
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = &self.socket;
        in_time(
            || self.left(),
            |left| self.socket.set_write_timeout(Some(left)),
            || socket.write(bytes),
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream below TLS with the API base.
#[derive(Debug)]
pub enum Way {
    /// A socket to the server, or to a proxy without TLS.
    Plain(Line),
    /// TLS to a proxy.
    Tls(Box<StreamOwned<ClientConnection, Line>>),
}

impl Way {
    fn line(&mut self) -> &mut Line {
        match self {
            Self::Plain(line) => line,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Way {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(line) => line.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Way {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(line) => line.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(line) => line.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A host as a URL writes it, without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The addresses of `host`, at least one.
///
/// The system's resolver has no time-out, so it runs in a thread that is abandoned at `until`; without
/// threads it runs in this one.
///
/// # Errors
/// The system's reason, or that it did not answer in time.
pub fn addresses(host: &str, port: u16, until: Instant) -> Result<Vec<SocketAddr>, Failure> {
    let host = bare(host);
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    #[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static", not(test)))]
    crate::start::resolve_without_modules();
    let (sender, receiver) = channel();
    let name = host.to_owned();
    let look_up =
        move || drop(sender.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    let here = look_up.clone();
    if thread::Builder::new().spawn(look_up).is_err() {
        here();
    }
    let answer = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
    match answer {
        Ok(Ok(found)) if found.is_empty() => Err(Failure::unreachable("there is no such host")),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Failure::unreachable(error.to_string())),
        Err(_) => Err(Failure::unreachable("its name was not looked up in time")),
    }
}

/// Connects to the first of `addresses` that answers ("happy eyeballs", RFC 8305): each is tried when
/// the one before it has failed, or has not answered for [`HEAD_START`].
///
/// # Errors
/// The error of the address that failed last.
fn race(addresses: Vec<SocketAddr>, until: Instant) -> Result<TcpStream, Failure> {
    let left =
        move || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let connect = move |address: SocketAddr| {
        let socket = TcpStream::connect_timeout(&address, left())?;
        socket.set_nodelay(true).map(|()| socket)
    };
    if let [only] = addresses[..] {
        return connect(only).map_err(|error| Failure::of_connecting(&error));
    }
    let (sender, receiver) = channel();
    let mut failure = Failure::unreachable("it has no address");
    let mut under_way = 0;
    let mut waiting = interleaved(addresses).into_iter();
    let mut next = waiting.next();
    while next.is_some() || under_way > 0 {
        if let Some(address) = next.take() {
            let teller = sender.clone();
            let attempt = move || drop(teller.send(connect(address)));
            under_way += 1;
            if thread::Builder::new().spawn(attempt).is_err() {
                drop(sender.send(connect(address)));
            }
        }
        let is_last = waiting.len() == 0;
        match receiver.recv_timeout(if is_last { left() } else { HEAD_START.min(left()) }) {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => {
                log::debug!("one address failed: {error}");
                under_way -= 1;
                failure = Failure::of_connecting(&error);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(failure),
            Err(RecvTimeoutError::Timeout) if until <= Instant::now() => {
                return Err(Failure::unreachable("no connection in time"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        next = waiting.next();
    }
    Err(failure)
}

/// `addresses` in their order, but alternating between IPv6 and IPv4 (RFC 8305, section 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (these, those): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut these, mut those) = (these.into_iter(), those.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [these.next(), those.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}
