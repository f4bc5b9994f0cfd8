//! The errors of an exchange.

use std::fmt;

use serde::{Deserialize, Serialize};

use self::ExchangeErrorKind as Kind;
use crate::shown;

/// The error of an exchange. It is stored in the cache entry and holds no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExchangeError {
    /// The kind of error.
    pub kind: ExchangeErrorKind,
    /// The API base.
    pub api: String,
    /// The server's or the system's message, safe to show. May be empty.
    pub detail: String,
    /// The proxy, as `host:port`.
    pub proxy: Option<String>,
    /// The server's `Retry-After`, in seconds.
    pub retry_after: Option<i64>,
}

/// The kinds of [`ExchangeError`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ExchangeErrorKind {
    /// 400, 401 or 403: Astra rejects this service account or this machine.
    Rejected(u16),
    /// 404 or 410: there is no such endpoint.
    Gone(u16),
    /// 3xx: redirects are never followed.
    Redirected(u16),
    /// 429 or 5xx: Astra cannot answer now.
    Unavailable(u16),
    /// Any other status.
    Unexpected(u16),
    /// An answer without a usable token.
    Unusable,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The certificates to trust cannot be read.
    Authorities,
    /// The proxy's URL is malformed.
    Proxy,
    /// No answer before the deadline.
    TimedOut,
    /// No connection.
    Unreachable,
    /// Another process was still doing the exchange at this process's deadline.
    Waited,
    /// The proxy requires a user name and a password, or rejected those in its URL.
    ProxyLogin,
    /// The server's certificate has expired, or is not valid yet.
    Expired,
    /// The server's certificate is for another host.
    WrongHost,
    /// The server's certificate is of a kind that is never accepted.
    UnfitCertificate,
    /// The server requires a client certificate.
    ClientCertificate,
    /// The server offers only versions or cipher suites of TLS that are too old.
    OldTls,
}

impl ExchangeError {
    /// True if Astra rejected the account. Any other error may pass, and does not delete a valid token.
    pub fn is_rejection(&self) -> bool {
        matches!(self.kind, Kind::Rejected(_))
    }

    /// True if no request was sent, because of a setting or a lock on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Authorities | Kind::Proxy | Kind::Waited)
    }
}

impl std::error::Error for ExchangeError {}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, api, detail, proxy, retry_after: _ } = self;
        let api = shown::quoted(api);
        match kind {
            Kind::Rejected(status) => write!(f, "{api} rejected the service account ({status})"),
            Kind::Gone(status) => {
                write!(f, "{api} has no `/v2/authenticateServiceAccount` ({status})")
            }
            Kind::Redirected(status) => {
                write!(f, "{api} answered with a redirect ({status}), which is never followed")
            }
            Kind::Unavailable(status) => write!(f, "{api} cannot answer now ({status})"),
            Kind::Unexpected(status) => write!(f, "{api} gave an unexpected answer ({status})"),
            Kind::Unusable => write!(f, "{api} answered without a usable token"),
            Kind::Untrusted | Kind::Expired | Kind::WrongHost | Kind::UnfitCertificate => {
                write!(f, "the certificate of {api} is not trusted")
            }
            Kind::ClientCertificate | Kind::OldTls => write!(f, "TLS with {api} is not possible"),
            Kind::Authorities => write!(f, "the certificate authorities for {api} cannot be used"),
            Kind::Proxy => write!(f, "{api} cannot be asked"),
            Kind::TimedOut => write!(f, "{api} did not answer in time"),
            Kind::Unreachable | Kind::ProxyLogin => write!(f, "{api} cannot be reached"),
            Kind::Waited => write!(f, "another process is still waiting for {api}"),
        }?;
        if let Some(proxy) = proxy {
            write!(f, " through the proxy {}", shown::quoted(proxy))?;
        }
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

impl ExchangeError {
    /// The process's exit code, and the hint.
    pub fn advice(&self, account: &str, store: Option<&str>) -> (u8, String) {
        let advice = |exit_code, hint: &str| (exit_code, hint.to_owned());
        match (self.kind, &self.proxy) {
            (Kind::Rejected(_), _) => {
                let store = store.map_or("put the new one into that file".to_owned(), |command| {
                    format!("store the new one with `{command}`")
                });
                let hint = format!(
                    "check in Astra's dashboard that the service account in {account} still exists, \
                     and that the organisation's IP access list admits this machine; if its secret \
                     was rotated, {store}"
                );
                (4, hint)
            }
            (Kind::Gone(_), _) => {
                let hint = format!(
                    "check `--api-url` (the base without `/v2`); if it is right, create an application \
                     token in Astra's dashboard and put it into {account}"
                );
                (1, hint)
            }
            (Kind::Redirected(_) | Kind::Unexpected(_) | Kind::Unusable, _) => advice(
                1,
                "check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or \
                 gateway answers in its place",
            ),
            (Kind::Untrusted, _) => advice(
                5,
                "put the certificate of the authority that issued it into a PEM file and name that \
                 with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the \
                 authority is your company's",
            ),
            (Kind::Expired, _) => advice(
                5,
                "have it renewed at the server or the gateway in between, unless this machine's \
                 clock is wrong",
            ),
            (Kind::WrongHost, _) => advice(
                5,
                "check the host in `--api-url` or `ASTRA_API_URL`, and that nothing answers in its \
                 place; else have a certificate issued for it",
            ),
            (Kind::UnfitCertificate, _) => advice(
                5,
                "have another one issued for the server or the gateway in between: X.509 version 3, \
                 the host among its subject alternative names, a key of ECDSA or of RSA with 2048 \
                 bits, signed with SHA-256, by an authority but not for one",
            ),
            (Kind::ClientCertificate, _) => advice(
                5,
                "this program has none to show: have the server or the gateway in between ask for \
                 none, or name another API base with `--api-url`",
            ),
            (Kind::OldTls, _) => advice(
                5,
                "have TLS 1.2 or 1.3 enabled at the server or the gateway in between, with cipher \
                 suites that use ECDHE and AES-GCM or ChaCha20",
            ),
            (Kind::ProxyLogin, _) => {
                let hint = format!(
                    "write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as \
                     `http://USER:PASSWORD@HOST:PORT`, {ENCODED}"
                );
                (5, hint)
            }
            (Kind::Authorities, _) => advice(
                1,
                "name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset \
                 that and `SSL_CERT_DIR` to trust the system's",
            ),
            (Kind::Proxy, _) => {
                let hint = format!(
                    "set `HTTPS_PROXY` or `ALL_PROXY` to a URL such as \
                     `http://proxy.example.com:3128`; a user name and password stand before the host as \
                     `USER:PASSWORD@`, {ENCODED}"
                );
                (1, hint)
            }
            (Kind::TimedOut | Kind::Unreachable, Some(_)) => advice(
                5,
                "check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`",
            ),
            (Kind::Unreachable, None) => {
                advice(5, "check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`")
            }
            (Kind::TimedOut, None) => {
                advice(5, "try again later, or give it longer with `--timeout SECONDS`")
            }
            (Kind::Unavailable(_), _) => advice(5, "try again later"),
            (Kind::Waited, _) => advice(5, "try again, or give it longer with `--timeout SECONDS`"),
        }
    }
}

/// The encoding of the user name and password in a proxy's URL.
const ENCODED: &str =
    "with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`";
