//! The errors of an exchange.

use std::fmt;

use serde::{Deserialize, Serialize};

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
        matches!(self.kind, ExchangeErrorKind::Rejected(_))
    }

    /// True if no request was sent, because of a setting or a lock on this machine.
    pub fn is_local(&self) -> bool {
        matches!(
            self.kind,
            ExchangeErrorKind::Authorities | ExchangeErrorKind::Proxy | ExchangeErrorKind::Waited
        )
    }
}

impl std::error::Error for ExchangeError {}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, api, detail, proxy, retry_after: _ } = self;
        let api = shown::quoted(api);
        match kind {
            ExchangeErrorKind::Rejected(status) => {
                write!(f, "{api} rejected the service account ({status})")
            }
            ExchangeErrorKind::Gone(status) => {
                write!(f, "{api} has no `/v2/authenticateServiceAccount` ({status})")
            }
            ExchangeErrorKind::Redirected(status) => {
                write!(f, "{api} answered with a redirect ({status}), which is never followed")
            }
            ExchangeErrorKind::Unavailable(status) => {
                write!(f, "{api} cannot answer now ({status})")
            }
            ExchangeErrorKind::Unexpected(status) => {
                write!(f, "{api} gave an unexpected answer ({status})")
            }
            ExchangeErrorKind::Unusable => write!(f, "{api} answered without a usable token"),
            ExchangeErrorKind::Untrusted
            | ExchangeErrorKind::Expired
            | ExchangeErrorKind::WrongHost
            | ExchangeErrorKind::UnfitCertificate => {
                write!(f, "the certificate of {api} is not trusted")
            }
            ExchangeErrorKind::ClientCertificate | ExchangeErrorKind::OldTls => {
                write!(f, "TLS with {api} is not possible")
            }
            ExchangeErrorKind::Authorities => {
                write!(f, "the certificate authorities for {api} cannot be used")
            }
            ExchangeErrorKind::Proxy => write!(f, "{api} cannot be asked"),
            ExchangeErrorKind::TimedOut => write!(f, "{api} did not answer in time"),
            ExchangeErrorKind::Unreachable | ExchangeErrorKind::ProxyLogin => {
                write!(f, "{api} cannot be reached")
            }
            ExchangeErrorKind::Waited => write!(f, "another process is still waiting for {api}"),
        }?;
        if let Some(proxy) = proxy {
            write!(f, " through the proxy {}", shown::quoted(proxy))?;
        }
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

impl ExchangeError {
    /// The hint.
    pub fn hint(&self, account: &str, store: Option<&str>) -> String {
        match (self.kind, &self.proxy) {
            (ExchangeErrorKind::Rejected(_), _) => {
                let store = match store {
                    Some(command) => format!("store the new one with `{command}`"),
                    None => "put the new one into that file".to_owned(),
                };
                format!(
                    "check in Astra's dashboard that the service account in {account} still exists, \
                     and that the organisation's IP access list admits this machine; if its secret \
                     was rotated, {store}"
                )
            }
            (ExchangeErrorKind::Gone(_), _) => format!(
                "check `--api-url` (the base without `/v2`); if it is right, create an application \
                 token in Astra's dashboard and put it into {account}"
            ),
            (ExchangeErrorKind::Redirected(_) | ExchangeErrorKind::Unexpected(_) | ExchangeErrorKind::Unusable, _) => {
                "check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or \
                 gateway answers in its place"
                    .to_owned()
            }
            (ExchangeErrorKind::Untrusted, _) => {
                "put the certificate of the authority that issued it into a PEM file and name that \
                 with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the \
                 authority is your company's"
                    .to_owned()
            }
            (ExchangeErrorKind::Expired, _) => {
                "have it renewed at the server or the gateway in between, unless this machine's \
                 clock is wrong"
                    .to_owned()
            }
            (ExchangeErrorKind::WrongHost, _) => {
                "check the host in `--api-url` or `ASTRA_API_URL`, and that nothing answers in its \
                 place; else have a certificate issued for it"
                    .to_owned()
            }
            (ExchangeErrorKind::UnfitCertificate, _) => {
                "have another one issued for the server or the gateway in between: X.509 version 3, \
                 the host among its subject alternative names, a key of ECDSA or of RSA with 2048 \
                 bits, signed with SHA-256, by an authority but not for one"
                    .to_owned()
            }
            (ExchangeErrorKind::ClientCertificate, _) => {
                "this program has none to show: have the server or the gateway in between ask for \
                 none, or name another API base with `--api-url`"
                    .to_owned()
            }
            (ExchangeErrorKind::OldTls, _) => {
                "have TLS 1.2 or 1.3 enabled at the server or the gateway in between, with cipher \
                 suites that use ECDHE and AES-GCM or ChaCha20"
                    .to_owned()
            }
            (ExchangeErrorKind::ProxyLogin, _) => format!(
                "write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as \
                 `http://USER:PASSWORD@HOST:PORT`, {ENCODED}"
            ),
            (ExchangeErrorKind::Authorities, _) => {
                "name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset \
                 that and `SSL_CERT_DIR` to trust the system's"
                    .to_owned()
            }
            (ExchangeErrorKind::Proxy, _) => format!(
                "set `HTTPS_PROXY` or `ALL_PROXY` to a URL such as \
                 `http://proxy.example.com:3128`; a user name and password stand before the host as \
                 `USER:PASSWORD@`, {ENCODED}"
            ),
            (ExchangeErrorKind::TimedOut | ExchangeErrorKind::Unreachable, Some(_)) => {
                "check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`"
                    .to_owned()
            }
            (ExchangeErrorKind::Unreachable, None) => {
                "check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`".to_owned()
            }
            (ExchangeErrorKind::TimedOut, None) => {
                "try again later, or give it longer with `--timeout SECONDS`".to_owned()
            }
            (ExchangeErrorKind::Unavailable(_), _) => "try again later".to_owned(),
            (ExchangeErrorKind::Waited, _) => {
                "try again, or give it longer with `--timeout SECONDS`".to_owned()
            }
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ExchangeErrorKind::Gone(_)
            | ExchangeErrorKind::Redirected(_)
            | ExchangeErrorKind::Unexpected(_)
            | ExchangeErrorKind::Unusable
            | ExchangeErrorKind::Authorities
            | ExchangeErrorKind::Proxy => 1,
            ExchangeErrorKind::Rejected(_) => 4,
            ExchangeErrorKind::Unavailable(_)
            | ExchangeErrorKind::Untrusted
            | ExchangeErrorKind::ProxyLogin
            | ExchangeErrorKind::Expired
            | ExchangeErrorKind::WrongHost
            | ExchangeErrorKind::UnfitCertificate
            | ExchangeErrorKind::ClientCertificate
            | ExchangeErrorKind::OldTls
            | ExchangeErrorKind::TimedOut
            | ExchangeErrorKind::Unreachable
            | ExchangeErrorKind::Waited => 5,
        }
    }
}

/// The encoding of the user name and password in a proxy's URL.
const ENCODED: &str =
    "with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`";
