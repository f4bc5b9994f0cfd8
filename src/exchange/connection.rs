//! Opens the connection to the API base: name lookup, TCP, proxy and TLS, with one deadline for all.
//!
//! ureq is used for HTTP alone. Its own connectors are not used, for two reasons. They restart the time-out
//! at each read while a proxy answers, and they do not try the next address after an error such as EACCES.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
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

/// The time-out of a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The time after which the next address is tried in parallel (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The size of ureq's input buffer. ureq clears the default of 128 KiB at each connection. The buffer must
/// be larger than the longest accepted header, 64 KiB, so that a longer one is reported as too long.
const INPUT_BUFFER: usize = 80 * 1024;

/// The size of ureq's output buffer. The largest request is an account.
const OUTPUT_BUFFER: usize = 16 * 1024;

/// Opens connections for ureq.
#[derive(Debug)]
pub struct Dialer {
    /// The proxy; `None` for a direct connection.
    pub proxy: Option<Proxy>,
    /// The deadline of every read and write. It does not depend on ureq's own time-outs.
    pub deadline: Instant,
    /// The configuration of TLS.
    pub tls: Arc<Tls>,
}

/// Keeps ureq from resolving names. The [`Dialer`] resolves the name of the proxy or of the API.
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
            // After the call's own deadline, the error is the time-out and not the connection.
            if failure.is_transient && self.deadline <= Instant::now() {
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
    /// Opens TLS with `host`, directly or through the proxy.
    fn open(
        &self,
        host: &str,
        port: u16,
    ) -> Result<StreamOwned<ClientConnection, Box<dyn Raw>>, Failure> {
        let deadline = self.deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let raw = match &self.proxy {
            None => Box::new(Socket::open(host, port, deadline)?),
            Some(proxy) => self.open_through(proxy, host, port, deadline)?,
        };
        let mut stream = self.tls.connect(raw, bare(host))?;
        stream.sock.set_deadline(self.deadline);
        Ok(stream)
    }

    /// Opens a stream to `host` through `proxy`. If this machine resolves the name, its addresses are tried in
    /// turn.
    fn open_through(
        &self,
        proxy: &Proxy,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Box<dyn Raw>, Failure> {
        let resolves_here = matches!(proxy.protocol, Protocol::Socks4 | Protocol::Socks5);
        let targets = match bare(host).parse() {
            Ok(address) => vec![Target::Address(address, port)],
            Err(_) if resolves_here => addresses(host, port, deadline)?
                .iter()
                .filter(|address| proxy.protocol != Protocol::Socks4 || address.is_ipv4())
                .map(|address| Target::Address(address.ip(), port))
                .collect(),
            Err(_) => vec![Target::Name(host, port)],
        };
        let mut failure = Failure::transient("it has no address that the proxy can connect to");
        for target in targets {
            let socket = Socket::open(&proxy.host, proxy.port, deadline)?;
            let mut raw: Box<dyn Raw> = match proxy.protocol {
                Protocol::Https => {
                    Box::new(self.tls.connect(socket, &proxy.host).map_err(of_proxy)?)
                }
                _ => Box::new(socket),
            };
            match handshake::open_tunnel(&mut raw, proxy, target) {
                Ok(()) => return Ok(raw),
                // The proxy may be able to connect to the next address.
                Err(refused) if refused.is_transient => failure = refused,
                Err(refused) => return Err(refused),
            }
        }
        Err(failure)
    }
}

/// Makes the detail of a TLS failure name the proxy. Without this, the message would name the API base.
fn of_proxy(failure: Failure) -> Failure {
    let Failure { kind, detail, is_transient } = failure;
    let detail = match kind {
        ExchangeErrorKind::Unreachable => detail,
        ExchangeErrorKind::ClientCertificate | ExchangeErrorKind::OldTls => {
            format!("TLS with the proxy is not possible: {detail}")
        }
        _ => format!("the certificate of the proxy is not trusted: {detail}"),
    };
    Failure { kind: ExchangeErrorKind::Unreachable, detail, is_transient }
}

/// TLS with the API base, in the form that ureq uses.
pub struct Connection {
    stream: StreamOwned<ClientConnection, Box<dyn Raw>>,
    buffers: LazyBuffers,
    tls: Arc<Tls>,
}

impl Connection {
    /// Converts an error after the handshake. ureq treats `UnexpectedEof` and a reset as the end of a body
    /// without a length. Such a body may be cut off, so both are converted to `Other`, which is an error.
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

    /// Always false: a connection is used for one request.
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
struct Socket {
    stream: TcpStream,
    deadline: Instant,
}

impl Socket {
    fn open(host: &str, port: u16, deadline: Instant) -> Result<Self, Failure> {
        let stream = race(addresses(host, port, deadline)?, deadline)?;
        Ok(Self { stream, deadline })
    }

    /// Sets the remaining time as the socket's time-out by `set`, and makes a system call, again after EINTR. A
    /// time-out is `TimedOut` on every system.
    ///
    /// On macOS the time-out of a socket that the peer has closed cannot be set. That error is ignored, because
    /// the call itself then returns one.
    fn in_time(
        &self,
        set: impl Fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match set(&self.stream, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
                _ => {}
            }
            match call(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                done => return done,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time(TcpStream::set_read_timeout, |mut stream| stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_time(TcpStream::set_write_timeout, |mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream that carries TLS with the API base: TCP, or TLS to a proxy.
trait Raw: Read + Write + Send + Sync {
    fn set_deadline(&mut self, deadline: Instant);
}

impl Raw for Socket {
    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl Raw for StreamOwned<ClientConnection, Socket> {
    fn set_deadline(&mut self, deadline: Instant) {
        self.sock.deadline = deadline;
    }
}

/// Removes the brackets that an IPv6 address has in a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Looks up the addresses of `host`, at least one.
///
/// The system's resolver has no time-out, so it runs in a thread that is abandoned at `deadline`. If no
/// thread can be started, it runs in this one.
///
/// # Errors
/// The system's message, or that the lookup took too long.
pub fn addresses(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
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
    let answer = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    match answer {
        Ok(Ok(found)) if found.is_empty() => Err(Failure::transient("there is no such host")),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Failure::transient(error.to_string())),
        Err(_) => Err(Failure::transient("its name was not looked up in time")),
    }
}

/// Connects to the first of `addresses` that answers ("happy eyeballs", RFC 8305). An address is tried when
/// the one before it has failed, or has not answered within [`HEAD_START`].
///
/// # Errors
/// The error of the address that failed last.
fn race(addresses: Vec<SocketAddr>, deadline: Instant) -> Result<TcpStream, Failure> {
    let left =
        move || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let connect = move |address: SocketAddr| {
        let socket = TcpStream::connect_timeout(&address, left())?;
        socket.set_nodelay(true).map(|()| socket)
    };
    if let [only] = addresses[..] {
        return connect(only).map_err(|error| Failure::of_io(&error));
    }
    let (sender, receiver) = channel();
    let mut failure = Failure::transient("it has no address");
    let mut pending = 0;
    let mut untried = interleaved(addresses).into_iter();
    let mut next = untried.next();
    while next.is_some() || pending > 0 {
        if let Some(address) = next.take() {
            let result = sender.clone();
            let attempt = move || drop(result.send(connect(address)));
            pending += 1;
            if thread::Builder::new().spawn(attempt).is_err() {
                drop(sender.send(connect(address)));
            }
        }
        let is_last = untried.len() == 0;
        match receiver.recv_timeout(if is_last { left() } else { HEAD_START.min(left()) }) {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => {
                log::debug!("one address failed: {error}");
                pending -= 1;
                failure = Failure::of_io(&error);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(failure),
            Err(RecvTimeoutError::Timeout) if deadline <= Instant::now() => {
                return Err(Failure::transient("no connection in time"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        next = untried.next();
    }
    Err(failure)
}

/// Makes `addresses` alternate between IPv6 and IPv4 (RFC 8305, section 4). The order within each family
/// stays, and the first address stays first.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_first_ipv6);
    let most = first.len().max(second.len());
    (0..most).flat_map(|at| [first.get(at), second.get(at)]).flatten().copied().collect()
}
