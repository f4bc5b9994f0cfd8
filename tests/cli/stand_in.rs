//! The stand-in for the Astra DevOps API: one endpoint over TLS, with a certificate authority of its own.
//!
//! [`TlsServer`] is a small HTTP/1.1 server that can also misbehave on request; [`Astra`] is the API on top
//! of it. Both listen on 127.0.0.1 until they are dropped.
//! The tokens have the damaged header of the vendor's own example, so that a client that parses it fails.

#![allow(dead_code, reason = "the tests and the example each use a part")]
#![allow(clippy::expect_used, reason = "a stand-in that cannot start has to stop the test")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The only path of the API that a credential helper needs.
pub const EXCHANGE: &str = "/v2/authenticateServiceAccount";

/// No connection outlives a peer that is silent for this long.
const SILENCE: Duration = Duration::from_secs(30);
/// The interval at which a hanging connection checks that its server still exists.
const TICK: Duration = Duration::from_millis(100);
/// The longest body of a request. No client sends as much, and it fits into memory.
const LONGEST_BODY: u64 = 64 << 20;
const LONGEST_LINE: u64 = 64 << 10;

/// A throw-away certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as a server shows them.
pub struct Leaf {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Leaf {
    /// TLS that shows this certificate.
    pub fn config(self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .expect("a usable certificate");
        Arc::new(config)
    }
}

/// The names of this machine.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "throw-away test authority");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let key = KeyPair::generate().expect("a key for the authority");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// The authority's certificate, for a client to trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A valid certificate for the names of this machine.
    pub fn leaf(&self) -> Leaf {
        self.leaf_for(&NAMES)
    }

    /// A valid certificate for some other names.
    pub fn leaf_for(&self, names: &[&str]) -> Leaf {
        self.sign(names, |params| params.not_after = date_time_ymd(2099, 1, 1))
    }

    /// A certificate for the names of this machine that expired years ago.
    pub fn expired_leaf(&self) -> Leaf {
        self.sign(&NAMES, |params| params.not_after = date_time_ymd(2021, 1, 1))
    }

    /// A certificate for the names of this machine that is valid between these times.
    pub fn leaf_between(&self, first: SystemTime, last: SystemTime) -> Leaf {
        self.sign(&NAMES, |params| {
            params.not_before = first.into();
            params.not_after = last.into();
        })
    }

    fn sign(&self, names: &[&str], set_validity: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names for a certificate");
        params.distinguished_name.push(DnType::CommonName, "stand-in");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2020, 1, 1);
        set_validity(&mut params);
        let key = KeyPair::generate().expect("a key for the server");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Leaf {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

/// A client's request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, with their names in the client's spelling; see [`Request::header`].
    pub headers: Vec<(String, String)>,
    /// The body, decoded when it came in chunks.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

/// The server's reaction to a request that it has read.
pub enum Reply {
    /// An ordinary answer. `Content-Length`, `Connection` and `Date` are added where they are missing;
    /// a `Date` with an empty value is left out.
    Http {
        /// The status code.
        status: u16,
        /// The headers, as they are to appear.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// These bytes in place of an HTTP message, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then the end of the connection without a TLS goodbye.
    Cut(Vec<u8>),
    /// These bytes again and again, one each 100 ms, until the client leaves.
    Drip(Vec<u8>),
    /// No answer, until the client leaves or the server is dropped.
    Hang,
    /// The connection breaks off without an answer and without a TLS goodbye.
    Close,
    /// A body of that many bytes, which ends with the connection unless a `Content-Length` is given.
    Flood {
        /// The status code.
        status: u16,
        /// The headers, as they are to appear.
        headers: Vec<(String, String)>,
        /// The length of the body, which is not held in memory.
        bytes: u64,
    },
}

impl Reply {
    /// An answer of any type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self::Http { status, headers, body: body.into() }
    }

    /// A JSON answer.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    /// A plain text answer.
    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// An error as the API words it.
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"errors": [{"ID": 340_012, "message": message}]}))
    }

    /// A successful body of that many bytes.
    pub fn flood(bytes: u64) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self::Flood { status: 200, headers, bytes }
    }

    /// The same answer with one more header, where it has headers.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Http { headers, .. } | Self::Flood { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same answer without a `Date`.
    pub fn without_date(self) -> Self {
        self.with_header("Date", "")
    }

    fn dated(self, at: SystemTime) -> Self {
        match &self {
            Self::Http { headers, .. } | Self::Flood { headers, .. }
                if find_header(headers, "date").is_none() =>
            {
                self.with_header("Date", &httpdate::fmt_http_date(at))
            }
            _ => self,
        }
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;
type Stream = StreamOwned<ServerConnection, TcpStream>;

/// An HTTP/1.1 server over TLS, with one request per connection and one thread per connection.
pub struct TlsServer {
    port: u16,
    counters: Arc<Counters>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counters {
    stopped: AtomicBool,
    connections: AtomicUsize,
}

impl TlsServer {
    /// Serves on a free port, with a valid certificate for this machine.
    pub fn start(
        authority: &Authority,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(authority.leaf(), handler)
    }

    /// Serves on a free port, with that certificate.
    pub fn start_with(
        leaf: Leaf,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let tls = leaf.config();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let counters = Arc::new(Counters::default());
        let acceptor = thread::spawn({
            let counters = Arc::clone(&counters);
            move || accept(&listener, &tls, &Arc::new(handler), &counters)
        });
        Self { port, counters, acceptor: Some(acceptor) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `https://localhost:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The number of TCP connections, with or without a request.
    pub fn connections(&self) -> usize {
        self.counters.connections.load(Ordering::SeqCst)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.counters.stopped.store(true, Ordering::SeqCst);
        // The acceptor sleeps in `accept`: a connection wakes it up, so that it sees the flag and closes the port.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let woken = TcpStream::connect_timeout(&address, SILENCE).is_ok();
        if let Some(acceptor) = self.acceptor.take()
            && woken
        {
            drop(acceptor.join());
        }
    }
}

fn accept<H>(
    listener: &TcpListener,
    tls: &Arc<ServerConfig>,
    handler: &Arc<H>,
    counters: &Arc<Counters>,
) where
    H: Fn(&Request) -> Reply + Send + Sync + 'static,
{
    loop {
        let accepted = listener.accept();
        if counters.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok((tcp, _)) = accepted else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        counters.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, handler, counters) = (Arc::clone(tls), Arc::clone(handler), Arc::clone(counters));
        // An error of one connection does not end the server.
        let spawned =
            thread::Builder::new().spawn(move || drop(serve(tcp, tls, &*handler, &counters)));
        drop(spawned);
    }
}

fn serve(
    tcp: TcpStream,
    tls: Arc<ServerConfig>,
    handler: &Handler,
    counters: &Counters,
) -> io::Result<()> {
    tcp.set_read_timeout(Some(SILENCE))?;
    tcp.set_write_timeout(Some(SILENCE))?;
    tcp.set_nodelay(true)?;
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, tcp));
    let request = read_request(&mut reader)?;
    let mut stream = reader.into_inner();
    match handler(&request).dated(SystemTime::now()) {
        Reply::Http { status, mut headers, body } => {
            if find_header(&headers, "content-length").is_none()
                && find_header(&headers, "transfer-encoding").is_none()
            {
                headers.push(("Content-Length".to_owned(), body.len().to_string()));
            }
            write_head(&mut stream, status, &headers)?;
            if request.method != "HEAD" {
                stream.write_all(&body)?;
            }
        }
        Reply::Raw(bytes) => stream.write_all(&bytes)?,
        Reply::Cut(bytes) => {
            stream.write_all(&bytes)?;
            stream.flush()?;
            return end_tcp(&stream.sock);
        }
        Reply::Flood { status, headers, bytes } => {
            write_head(&mut stream, status, &headers)?;
            io::copy(&mut io::repeat(b'x').take(bytes), &mut stream)?;
        }
        Reply::Drip(bytes) => {
            for byte in bytes.iter().cycle() {
                if counters.stopped.load(Ordering::SeqCst) {
                    break;
                }
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(TICK);
            }
        }
        Reply::Close => return Ok(()),
        Reply::Hang => {
            stream.sock.set_read_timeout(Some(TICK))?;
            while is_open(&mut stream) {
                if counters.stopped.load(Ordering::SeqCst) {
                    break;
                }
            }
            return Ok(());
        }
    }
    end_tls_and_tcp(stream)
}

fn is_open(stream: &mut Stream) -> bool {
    match stream.read(&mut [0; 1024]) {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

/// Ends TLS and TCP in order. A socket that is closed with unread bytes is reset, and the client might lose
/// the answer, so that the rest of the request is read first.
fn end_tls_and_tcp(mut stream: Stream) -> io::Result<()> {
    stream.conn.send_close_notify();
    stream.flush()?;
    end_tcp(&stream.sock)
}

fn end_tcp(socket: &TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    io::copy(&mut socket.take(LONGEST_BODY), &mut io::sink())?;
    Ok(())
}

fn write_head(stream: &mut Stream, status: u16, headers: &[(String, String)]) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nConnection: close\r\n");
    for (name, value) in headers {
        if !(name.eq_ignore_ascii_case("date") && value.is_empty()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())
}

fn read_request(reader: &mut BufReader<Stream>) -> io::Result<Request> {
    let first = read_line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut request = Request { method, path, ..Request::default() };
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        reader.get_mut().flush()?;
    }
    if request
        .header("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        while read_chunk(reader, &mut request.body)? {}
    } else if let Some(length) =
        request.header("content-length").and_then(|value| value.parse().ok())
    {
        read_exactly(reader, length, &mut request.body)?;
    }
    Ok(request)
}

/// Reads one chunk, or the trailers. Returns true if there are more chunks.
fn read_chunk(reader: &mut BufReader<Stream>, body: &mut Vec<u8>) -> io::Result<bool> {
    let line = read_line(reader)?;
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
    if size == 0 {
        while !read_line(reader)?.is_empty() {}
        return Ok(false);
    }
    read_exactly(reader, size, body)?;
    read_line(reader)?;
    Ok(true)
}

fn read_exactly(reader: &mut BufReader<Stream>, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let room = LONGEST_BODY.saturating_sub(body.len() as u64);
    if length > room || reader.take(length).read_to_end(body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn read_line(reader: &mut BufReader<Stream>) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LONGEST_LINE).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The endpoint of the Astra DevOps API that issues tokens.
pub struct Astra {
    server: TlsServer,
    tokens: Tokens,
}

/// The tokens that an [`Astra`] has issued. A clone sees the same tokens.
#[derive(Clone)]
pub struct Tokens(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

type Answer = dyn Fn(&Request, usize) -> Option<Reply> + Send + Sync;

#[derive(Default)]
struct State {
    secret: String,
    lifetime: i64,
    clock: i64,
    delay: Duration,
    answer: Option<Arc<Answer>>,
    accepted: HashSet<String>,
    last: Option<String>,
    requests: Vec<Request>,
    exchanges: usize,
    in_flight: usize,
    most_in_flight: usize,
}

const CLIENT_ID: &str = "00000000-fake-4000-8000-client000000";
const CLIENT_NAME: &str = "robot@example.test";
const CLIENT_SECRET: &str = "00000000-fake-4000-8000-secret000000";

impl Astra {
    /// Serves on a free port, with a valid certificate for this machine.
    pub fn start(authority: &Authority) -> Self {
        Self::start_with(authority.leaf())
    }

    /// Serves on a free port, with that certificate.
    pub fn start_with(leaf: Leaf) -> Self {
        let state =
            State { secret: CLIENT_SECRET.to_owned(), lifetime: 36_000, ..State::default() };
        let tokens = Tokens(Arc::new(Shared { state: Mutex::new(state), arrived: Condvar::new() }));
        let served = tokens.clone();
        Self { server: TlsServer::start_with(leaf, move |request| served.answer(request)), tokens }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// `https://localhost:PORT`, for `ASTRA_API_URL`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The account file that this API accepts, on one line. Its values are made up.
    pub fn account_json(&self) -> String {
        let secret = &self.tokens.state().secret;
        format!(
            r#"{{"clientId":"{CLIENT_ID}","clientName":"{CLIENT_NAME}","clientSecret":"{secret}"}}"#
        )
    }

    /// Every exchange takes at least that long from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.tokens.state().delay = delay;
    }

    /// Sets the lifetime of tokens, in seconds.
    pub fn set_lifetime(&self, seconds: i64) {
        self.tokens.state().lifetime = seconds;
    }

    /// Sets the number of seconds that the API's clock is fast, in its tokens and in its `Date`.
    pub fn set_clock(&self, offset: i64) {
        self.tokens.state().clock = offset;
    }

    /// Replaces the only secret that is accepted, and so the account file.
    pub fn set_secret(&self, secret: &str) {
        secret.clone_into(&mut self.tokens.state().secret);
    }

    /// Answers exchanges in another way. The closure gets the number of the exchange, from 1, and returns a
    /// [`Reply`] or an `Option` of one, in which `None` is the ordinary answer.
    pub fn set_answer<A>(&self, answer: impl Fn(&Request, usize) -> A + Send + Sync + 'static)
    where
        A: Into<Option<Reply>>,
    {
        self.tokens.state().answer =
            Some(Arc::new(move |request, number| answer(request, number).into()));
    }

    /// Goes back to the ordinary answer.
    pub fn clear_answer(&self) {
        self.tokens.state().answer = None;
    }

    /// The number of exchanges that have arrived, answered or not.
    pub fn exchanges(&self) -> usize {
        self.tokens.state().exchanges
    }

    /// The largest number of exchanges at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.tokens.state().most_in_flight
    }

    /// All requests on any path, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.tokens.state().requests.clone()
    }

    /// The number of TCP connections, with or without a request.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Waits until that many exchanges have arrived, or until the time is over. Returns true if they have arrived.
    pub fn wait_for_exchanges(&self, count: usize, at_most: Duration) -> bool {
        let state = self.tokens.state();
        let waited = self
            .tokens
            .0
            .arrived
            .wait_timeout_while(state, at_most, |state| state.exchanges < count);
        waited.unwrap_or_else(PoisonError::into_inner).0.exchanges >= count
    }

    /// The tokens, for other servers to check.
    pub fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// True if the token was issued here and has not been revoked. Its expiry is not checked.
    pub fn accepts(&self, token: &str) -> bool {
        self.tokens.accepts(token)
    }

    /// Revokes every token issued so far.
    pub fn revoke_all(&self) {
        self.tokens.revoke_all();
    }

    /// The token that was issued last, revoked or not.
    pub fn last_token(&self) -> Option<String> {
        self.tokens.state().last.clone()
    }
}

impl Tokens {
    /// True if the token was issued and has not been revoked. Its expiry is not checked.
    pub fn accepts(&self, token: &str) -> bool {
        self.state().accepted.contains(token)
    }

    /// Revokes every token issued so far.
    pub fn revoke_all(&self) {
        self.state().accepted.clear();
    }

    /// Issues a token without an exchange.
    pub fn issue(&self) -> String {
        let mut state = self.state();
        let token = web_token(unix_seconds(SystemTime::now()) + state.clock, state.lifetime);
        state.accepted.insert(token.clone());
        state.last = Some(token.clone());
        token
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Reply {
        self.state().requests.push(request.clone());
        let reply = match (request.method.as_str(), request.path.as_str()) {
            ("POST", EXCHANGE) => self.exchange(request),
            _ => Reply::error(404, "no such endpoint"),
        };
        let clock = self.state().clock;
        let now = SystemTime::now();
        let shift = Duration::from_secs(clock.unsigned_abs());
        reply.dated(if clock < 0 { now - shift } else { now + shift })
    }

    fn exchange(&self, request: &Request) -> Reply {
        let arrival = Instant::now();
        let (number, answer) = {
            let mut state = self.state();
            state.exchanges += 1;
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            (state.exchanges, state.answer.clone())
        };
        self.0.arrived.notify_all();
        let delay = self.state().delay;
        thread::sleep(delay.saturating_sub(arrival.elapsed()));
        let reply =
            answer.and_then(|answer| answer(request, number)).unwrap_or_else(|| self.mint(request));
        self.state().in_flight -= 1;
        reply
    }

    fn mint(&self, request: &Request) -> Reply {
        let Ok(Value::Object(mut account)) = serde_json::from_slice(&request.body) else {
            return Reply::error(400, "the body is not a JSON object");
        };
        let [id, name, secret] =
            ["clientId", "clientName", "clientSecret"].map(|key| account.remove(key));
        let (Some(Value::String(id)), Some(Value::String(name)), Some(Value::String(secret))) =
            (id, name, secret)
        else {
            return Reply::error(400, "clientId, clientName and clientSecret have to be strings");
        };
        if !account.is_empty() {
            return Reply::error(
                400,
                "the body has more than clientId, clientName and clientSecret",
            );
        }
        if (id.as_str(), name.as_str()) != (CLIENT_ID, CLIENT_NAME) || secret != self.state().secret
        {
            return Reply::error(401, "invalid service account credentials");
        }
        Reply::json(200, &json!({"token": self.issue()}))
    }
}

fn web_token(issued: i64, lifetime: i64) -> String {
    // The header of the vendor's only public example: its first character is wrong, so it is not JSON.
    let header = "qyJhbGciOiJSUzI1NiIsInR5cCIgOiAiSldUIiwia2lkIiA6ICJ4In0";
    let payload = json!({
        "jti": random(16),
        "iat": issued,
        "exp": issued + lifetime,
        "nbf": 0,
        "auth_time": 0,
        "iss": "https://identity.example.test/auth/realms/stand-in",
        "aud": ["stand-in-api", "account"],
        "sub": "00000000-fake-4000-8000-subject00000",
        "azp": "00000000-fake-4000-8000-another00000",
        "typ": "Bearer",
        "acr": "1",
        "preferred_username": CLIENT_NAME,
        "clientAddress": "192.0.2.1",
        "organizationId": "00000000-fake-4000-8000-organisation",
        "filler": "x".repeat(460),
    });
    format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(payload.to_string()), random(256))
}

fn random(length: usize) -> String {
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).expect("random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs().cast_signed())
}
