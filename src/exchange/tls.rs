//! TLS, with error messages that name the certificate, its issuer and its dates, or the requirement of the
//! server.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error, InvalidMessage, PeerIncompatible, SignatureScheme, StreamOwned,
};

use crate::error::ExchangeErrorKind as Kind;
use crate::exchange::certificate::{Certificate, rsa_bits};
use crate::exchange::failure::Failure;
use crate::exchange::trust::Trust;
use crate::shown::Escaped;
use crate::timestamp::Timestamp;

/// The configuration of TLS, and the certificates and requests of the last handshake.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    witness: Arc<Witness>,
    request: Arc<CertificateRequest>,
}

/// A verifier that keeps the certificates of the last handshake.
#[derive(Debug)]
struct Witness {
    trust: Trust,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

/// Notes that the server asked for a client certificate. None is ever sent.
#[derive(Debug, Default)]
struct CertificateRequest(AtomicBool);

/// The smallest RSA key that is accepted.
const SMALLEST_RSA: usize = 2048;

/// The largest number of names of a certificate that are shown.
const MOST_NAMES: usize = 4;

impl Tls {
    /// Configures TLS with the trusted authorities of `trust`.
    ///
    /// # Errors
    /// rustls refuses its own configuration.
    pub fn new(
        trust: Trust,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Self, String> {
        let witness = Arc::new(Witness { trust, chain: Mutex::default() });
        let request = Arc::new(CertificateRequest::default());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Witness>::clone(&witness))
            .with_client_cert_resolver(Arc::<CertificateRequest>::clone(&request));
        Ok(Self { config: Arc::new(config), witness, request })
    }

    /// Shakes hands with `host` over `stream`.
    ///
    /// # Errors
    /// An error of the server, its certificate or the connection.
    pub fn wrap<S: Read + Write>(
        &self,
        mut stream: S,
        host: &str,
    ) -> Result<StreamOwned<ClientConnection, S>, Failure> {
        self.request.0.store(false, Ordering::Relaxed);
        self.witness.chain().clear();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| {
            Failure::lasting(Kind::Unreachable, "its name is not one that a certificate can hold")
        })?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| self.refusal(&error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| self.failure(&error))?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// An error of reading or writing over TLS, during the handshake or after it.
    pub fn failure(&self, error: &io::Error) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let failure = inner.map_or_else(|| Failure::of_connecting(error), |tls| self.refusal(tls));
        // If the server closes the connection at once, its alert may be lost.
        if inner.is_none() && self.is_certificate_wanted() {
            let detail = format!("{}, after it had asked for a client certificate", failure.detail);
            return Failure { detail, ..failure };
        }
        failure
    }

    fn is_certificate_wanted(&self) -> bool {
        self.request.0.load(Ordering::Relaxed)
    }

    fn refusal(&self, error: &Error) -> Failure {
        use AlertDescription as A;
        log::debug!("TLS: {error:?}");
        let lasting = Failure::lasting;
        match error {
            Error::InvalidCertificate(error) => self.untrusted(error),
            Error::AlertReceived(A::CertificateRequired) => client_certificate(),
            Error::AlertReceived(
                A::HandshakeFailure
                | A::BadCertificate
                | A::NoCertificate
                | A::UnsupportedCertificate
                | A::CertificateUnknown
                | A::UnknownCA
                | A::AccessDenied,
            ) if self.is_certificate_wanted() => client_certificate(),
            Error::AlertReceived(A::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => lasting(Kind::OldTls, "it speaks only versions of TLS before 1.2"),
            Error::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity)
            | Error::PeerIncompatible(_) => lasting(
                Kind::OldTls,
                "it has no cipher suite or key exchange in common with this program",
            ),
            Error::AlertReceived(A::UnrecognisedName) => {
                lasting(Kind::Unreachable, "its TLS knows no host of that name")
            }
            Error::AlertReceived(_) => Failure::unreachable("it broke the TLS handshake off"),
            Error::InvalidMessage(InvalidMessage::InvalidContentType)
            | Error::InvalidMessage(_) => {
                lasting(Kind::Unreachable, "it does not speak TLS on this port")
            }
            Error::NoCertificatesPresented => lasting(Kind::Untrusted, "it shows none"),
            _ => lasting(Kind::Unreachable, "it does not follow the rules of TLS"),
        }
    }

    /// Describes why the certificate of the last handshake was refused.
    fn untrusted(&self, error: &CertificateError) -> Failure {
        use CertificateError as C;
        let chain = self.witness.chain();
        let chain: Vec<_> = chain.iter().filter_map(|der| Certificate::read(der)).collect();
        let leaf = chain.first();
        let issued = leaf.map_or_else(String::new, |leaf| {
            format!("; it is for `{}`, issued by `{}`", leaf.subject(), leaf.issuer())
        });
        let lasting = |kind, detail: &str| Failure::lasting(kind, format!("{detail}{issued}"));
        match error {
            C::ExpiredContext { time, not_after } => {
                let (now, date) = (timestamp(*time), timestamp(*not_after));
                let whose = whose(&chain, |certificate| certificate.not_after == Some(date));
                lasting(
                    Kind::Expired,
                    &format!("{whose} expired on {date}, and this machine's clock shows {now}"),
                )
            }
            C::NotValidYetContext { time, not_before } => {
                let (now, date) = (timestamp(*time), timestamp(*not_before));
                let whose = whose(&chain, |certificate| certificate.not_before == Some(date));
                lasting(
                    Kind::Expired,
                    &format!(
                        "{whose} is valid only from {date}, and this machine's clock shows {now}"
                    ),
                )
            }
            C::Expired => lasting(Kind::Expired, "it has expired"),
            C::NotValidYet => lasting(Kind::Expired, "it is not valid yet"),
            C::NotValidForNameContext { presented, .. } if presented.is_empty() => lasting(
                Kind::UnfitCertificate,
                "it names no host among its subject alternative names",
            ),
            C::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> =
                    presented.iter().take(MOST_NAMES).map(|name| bare_name(name)).collect();
                let more = if presented.len() > MOST_NAMES { " and others" } else { "" };
                let names = names.join(", ");
                let issuer = leaf.map(Certificate::issuer).unwrap_or_default();
                let detail = format!("it is for {names}{more}, issued by `{issuer}`");
                Failure::lasting(Kind::WrongHost, detail)
            }
            C::NotValidForName => lasting(Kind::WrongHost, "it is for another host"),
            C::UnknownIssuer | C::BadSignature => self.unknown(&chain),
            C::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
            | C::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id, ..
            } => {
                let with = weak_hash(signature_algorithm_id)
                    .unwrap_or("an algorithm that is not supported");
                let detail = format!("it, or an authority in its chain, is signed with {with}");
                lasting(Kind::UnfitCertificate, &detail)
            }
            C::Revoked => lasting(Kind::UnfitCertificate, "it was revoked"),
            C::BadEncoding => lasting(Kind::UnfitCertificate, "it is damaged"),
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
                lasting(Kind::UnfitCertificate, "its extended key usage is not that of a server")
            }
            C::UnhandledCriticalExtension => {
                lasting(Kind::UnfitCertificate, "it has a critical extension that is not supported")
            }
            // These errors have a type of webpki, which is not a dependency, so they are recognised by
            // their text.
            C::Other(other) => lasting(
                Kind::UnfitCertificate,
                match other.to_string().as_str() {
                    "CaUsedAsEndEntity" => {
                        "it is marked as a certificate authority's own, which no server may show"
                    }
                    "UnsupportedCertVersion" => "it is an X.509 certificate of a version before 3",
                    "EndEntityUsedAsCa" => "what has signed it is not a certificate authority",
                    "NameConstraintViolation" => "its authority may not issue for this name",
                    "PathLenConstraintViolated" => "its chain is longer than its authority allows",
                    _ => "it does not follow the rules for certificates",
                },
            ),
            _ => lasting(Kind::Untrusted, "it was refused"),
        }
    }

    /// Describes a certificate that no trusted authority has signed.
    fn unknown(&self, chain: &[Certificate<'_>]) -> Failure {
        let Trust { anchors, named, .. } = &self.witness.trust;
        let is_weak = |bits: Option<usize>| bits.is_some_and(|bits| bits < SMALLEST_RSA);
        let trusted = named.as_ref().map(|named| format!("; trusted are those in {named}"));
        let trusted = trusted.unwrap_or_default();
        let Some(last) = chain.last() else {
            let detail = format!("no trusted certificate authority has signed it{trusted}");
            return Failure::lasting(Kind::Untrusted, detail);
        };
        if let Some(weak) = chain.iter().find(|certificate| is_weak(certificate.rsa_bits())) {
            let detail = format!(
                "the RSA key of `{}`, issued by `{}`, has only {} bits",
                weak.subject(),
                weak.issuer(),
                weak.rsa_bits().unwrap_or_default()
            );
            return Failure::lasting(Kind::UnfitCertificate, detail);
        }
        let issuer = last.issuer();
        let namesakes = anchors.iter().flat_map(|store| &store.roots);
        let mut namesakes =
            namesakes.filter(|anchor| anchor.subject.as_ref() == last.issuer_der()).peekable();
        if namesakes.peek().is_some() {
            let bits = namesakes.find_map(|anchor| {
                rsa_bits(&anchor.subject_public_key_info).filter(|bits| *bits < SMALLEST_RSA)
            });
            return match bits {
                Some(bits) => Failure::lasting(
                    Kind::UnfitCertificate,
                    format!("the RSA key of its authority `{issuer}` has only {bits} bits"),
                ),
                None => Failure::lasting(
                    Kind::Untrusted,
                    format!(
                        "no trusted certificate authority has signed it: the one that has is \
                         called `{issuer}` like one that is trusted, but has another key{trusted}"
                    ),
                ),
            };
        }
        let detail = match chain {
            [leaf] if leaf.is_self_signed() => {
                format!(
                    "no trusted certificate authority has signed it: it is `{issuer}`, signed by \
                     itself{trusted}"
                )
            }
            _ => format!(
                "no trusted certificate authority has signed it; the authority that has is `{issuer}`{trusted}"
            ),
        };
        Failure::lasting(Kind::Untrusted, detail)
    }
}

fn client_certificate() -> Failure {
    Failure::lasting(Kind::ClientCertificate, "it wants a client certificate")
}

/// `it`, or the authority in the chain that a date belongs to.
fn whose(chain: &[Certificate<'_>], is_its: impl Fn(&Certificate<'_>) -> bool) -> String {
    match chain.iter().position(is_its) {
        None | Some(0) => "it".to_owned(),
        Some(at) => format!("that of its authority `{}`", chain[at].subject()),
    }
}

/// A name in the form `DnsName("host")`.
fn bare_name(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    format!("`{}`", Escaped(inner.trim_matches('"')))
}

/// The hash of a signature algorithm that is too weak. The algorithm is what a certificate holds: an
/// object identifier and its parameters, in DER.
fn weak_hash(algorithm: &[u8]) -> Option<&'static str> {
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    const ECDSA_SHA1: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
    match algorithm.strip_prefix(RSA) {
        Some([5, ..]) => Some("SHA-1"),
        Some([2..=4, ..]) => Some("MD5 or older"),
        _ if algorithm.starts_with(ECDSA_SHA1) => Some("SHA-1"),
        _ => None,
    }
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_unix(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

impl Witness {
    fn chain(&self) -> std::sync::MutexGuard<'_, Vec<CertificateDer<'static>>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        *self.chain() = shown.map(|der| der.clone().into_owned()).collect();
        let verifier = &self.trust.verifier;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.verifier.supported_verify_schemes()
    }
}

impl ResolvesClientCert for CertificateRequest {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
