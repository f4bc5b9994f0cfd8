//! TLS. The error messages name the server's certificate, its issuer and its dates, or what the server
//! requires.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error, PeerIncompatible, SignatureScheme, StreamOwned,
};

use crate::error::ExchangeErrorKind as Kind;
use crate::exchange::certificate::{Certificate, rsa_bits};
use crate::exchange::failure::Failure;
use crate::exchange::trust::Trust;
use crate::shown::Escaped;
use crate::timestamp::Timestamp;

/// The configuration of TLS, with a record of the last handshake.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    request: Arc<CertificateRequest>,
}

/// Verifies the server's certificate, and records the certificates of the last handshake for messages.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

/// True if the server requested a client certificate in the last handshake. This program never sends one.
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
        let verifier = Arc::new(Verifier { trust, chain: Mutex::default() });
        let request = Arc::new(CertificateRequest::default());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier))
            .with_client_cert_resolver(Arc::<CertificateRequest>::clone(&request));
        Ok(Self { config: Arc::new(config), verifier, request })
    }

    /// Does the TLS handshake with `host`, an address or a name, over `stream`.
    ///
    /// # Errors
    /// The certificate is not accepted, the server refuses the handshake, or the connection fails.
    pub fn connect<S: Read + Write>(
        &self,
        mut stream: S,
        host: &str,
    ) -> Result<StreamOwned<ClientConnection, S>, Failure> {
        self.request.0.store(false, Ordering::Relaxed);
        self.verifier.chain().clear();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Failure::permanent(Kind::Unreachable, "its name is not one that a certificate can hold")
        })?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| self.refusal(&error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| self.failure(&error))?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// Converts an error of reading or writing over TLS, during the handshake or after it.
    pub fn failure(&self, error: &io::Error) -> Failure {
        if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return self.refusal(refused);
        }
        let mut failure = Failure::of_io(error);
        // If the server closes the connection at once, its alert may be lost.
        if self.is_certificate_requested() {
            failure.detail += ", after it had asked for a client certificate";
        }
        failure
    }

    fn is_certificate_requested(&self) -> bool {
        self.request.0.load(Ordering::Relaxed)
    }

    fn refusal(&self, error: &Error) -> Failure {
        use AlertDescription as A;
        log::debug!("TLS: {error:?}");
        let permanent = Failure::permanent;
        match error {
            Error::InvalidCertificate(error) => self.refused_certificate(error),
            Error::AlertReceived(A::CertificateRequired) => client_certificate(),
            Error::AlertReceived(
                A::HandshakeFailure
                | A::BadCertificate
                | A::NoCertificate
                | A::UnsupportedCertificate
                | A::CertificateUnknown
                | A::UnknownCA
                | A::AccessDenied,
            ) if self.is_certificate_requested() => client_certificate(),
            Error::AlertReceived(A::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => permanent(Kind::OldTls, "it speaks only versions of TLS before 1.2"),
            Error::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity)
            | Error::PeerIncompatible(_) => permanent(
                Kind::OldTls,
                "it has no cipher suite or key exchange in common with this program",
            ),
            Error::AlertReceived(A::UnrecognisedName) => {
                permanent(Kind::Unreachable, "it has no host of that name")
            }
            Error::AlertReceived(_) => Failure::transient("it broke the TLS handshake off"),
            Error::InvalidMessage(_) => {
                permanent(Kind::Unreachable, "it does not speak TLS on this port")
            }
            Error::NoCertificatesPresented => permanent(Kind::Untrusted, "it shows none"),
            _ => permanent(Kind::Unreachable, "it does not follow the rules of TLS"),
        }
    }

    /// Describes the defect of the certificate in the last handshake.
    fn refused_certificate(&self, error: &CertificateError) -> Failure {
        use CertificateError as C;
        let chain = self.verifier.chain();
        let chain: Vec<_> = chain.iter().filter_map(|der| Certificate::read(der)).collect();
        let leaf = chain.first();
        let issued = leaf.map_or_else(String::new, |leaf| {
            format!("; it is for `{}`, issued by `{}`", leaf.subject(), leaf.issuer())
        });
        let permanent = |kind, detail: &str| Failure::permanent(kind, format!("{detail}{issued}"));
        let unfit = |detail: &str| permanent(Kind::UnfitCertificate, detail);
        let expired = |what: String, now: &UnixTime| {
            let now = timestamp(*now);
            permanent(Kind::Expired, &format!("{what}, and this machine's clock shows {now}"))
        };
        match error {
            C::ExpiredContext { time, not_after } => {
                let date = timestamp(*not_after);
                let subject = dated(&chain, |certificate| certificate.not_after == Some(date));
                expired(format!("{subject} expired on {date}"), time)
            }
            C::NotValidYetContext { time, not_before } => {
                let date = timestamp(*not_before);
                let subject = dated(&chain, |certificate| certificate.not_before == Some(date));
                expired(format!("{subject} is valid only from {date}"), time)
            }
            C::Expired => permanent(Kind::Expired, "it has expired"),
            C::NotValidYet => permanent(Kind::Expired, "it is not valid yet"),
            C::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                unfit("it names no host among its subject alternative names")
            }
            C::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> =
                    presented.iter().take(MOST_NAMES).map(|name| bare_name(name)).collect();
                let more = if presented.len() > MOST_NAMES { " and others" } else { "" };
                let names = names.join(", ");
                let issuer = leaf.map(Certificate::issuer).unwrap_or_default();
                let detail = format!("it is for {names}{more}, issued by `{issuer}`");
                Failure::permanent(Kind::WrongHost, detail)
            }
            C::NotValidForName => permanent(Kind::WrongHost, "it is for another host"),
            C::UnknownIssuer | C::BadSignature => self.unknown_issuer(&chain),
            C::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
            | C::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id, ..
            } => {
                let hash = weak_hash(signature_algorithm_id);
                let with = hash.unwrap_or("an algorithm that is not supported");
                unfit(&format!("it, or an authority in its chain, is signed with {with}"))
            }
            C::Revoked => unfit("it was revoked"),
            C::BadEncoding => unfit("it is damaged"),
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
                unfit("its extended key usage is not that of a server")
            }
            C::UnhandledCriticalExtension => {
                unfit("it has a critical extension that is not supported")
            }
            // These errors have a type of webpki, which is not a dependency, so they are recognised by
            // their text.
            C::Other(other) => unfit(match other.to_string().as_str() {
                "CaUsedAsEndEntity" => {
                    "it is marked as a certificate authority's own, which no server may show"
                }
                "UnsupportedCertVersion" => "it is an X.509 certificate of a version before 3",
                "EndEntityUsedAsCa" => "what has signed it is not a certificate authority",
                "NameConstraintViolation" => "its authority may not issue for this name",
                "PathLenConstraintViolated" => "its chain is longer than its authority allows",
                _ => "it does not follow the rules for certificates",
            }),
            _ => permanent(Kind::Untrusted, "it was refused"),
        }
    }

    /// Describes a certificate that no trusted authority has signed.
    fn unknown_issuer(&self, chain: &[Certificate<'_>]) -> Failure {
        let Trust { anchors, named, .. } = &self.verifier.trust;
        let unfit = |detail| Failure::permanent(Kind::UnfitCertificate, detail);
        let weak = |bits: Option<usize>| bits.filter(|bits| *bits < SMALLEST_RSA);
        let weak_link = |link| Some((link, weak(Certificate::rsa_bits(link))?));
        if let Some((link, bits)) = chain.iter().find_map(weak_link) {
            let (subject, issuer) = (link.subject(), link.issuer());
            let key = format!("the RSA key of `{subject}`, issued by `{issuer}`");
            return unfit(format!("{key}, has only {bits} bits"));
        }
        let last = chain.last();
        let issuer = last.map(Certificate::issuer).unwrap_or_default();
        let issuer_der = last.map(Certificate::issuer_der);
        let trusted = anchors.iter().flat_map(|store| &store.roots);
        let namesakes: Vec<_> =
            trusted.filter(|anchor| Some(anchor.subject.as_ref()) == issuer_der).collect();
        let weak_anchor =
            namesakes.iter().find_map(|anchor| weak(rsa_bits(&anchor.subject_public_key_info)));
        if let Some(bits) = weak_anchor {
            return unfit(format!("the RSA key of its authority `{issuer}` has only {bits} bits"));
        }
        let why = match chain {
            [] => String::new(),
            _ if !namesakes.is_empty() => format!(
                ": the one that has is called `{issuer}` like one that is trusted, but has another key"
            ),
            [leaf] if leaf.is_self_signed() => format!(": it is `{issuer}`, signed by itself"),
            _ => format!("; the authority that has is `{issuer}`"),
        };
        let trusted = named.as_ref().map(|named| format!("; trusted are those in {named}"));
        let trusted = trusted.unwrap_or_default();
        let detail = format!("no trusted certificate authority has signed it{why}{trusted}");
        Failure::permanent(Kind::Untrusted, detail)
    }
}

fn client_certificate() -> Failure {
    Failure::permanent(Kind::ClientCertificate, "it requires a client certificate")
}

/// The subject of a sentence about a date: `it` for the server's certificate, or the certificate of the
/// authority that has this date.
fn dated(chain: &[Certificate<'_>], has_date: impl Fn(&Certificate<'_>) -> bool) -> String {
    match chain.iter().position(has_date) {
        None | Some(0) => "it".to_owned(),
        Some(at) => format!("that of its authority `{}`", chain[at].subject()),
    }
}

/// The name in rustls's form `DnsName("host")`, between backticks.
fn bare_name(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    format!("`{}`", Escaped(inner.trim_matches('"')))
}

/// The hash of a signature algorithm, if it is too weak. `algorithm` is an object identifier and its
/// parameters, in DER.
fn weak_hash(algorithm: &[u8]) -> Option<&'static str> {
    /// The beginning of 1.2.840.113549.1.1.N: RSA with the hash N.
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    /// 1.2.840.10045.4.1: ECDSA with SHA-1.
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

impl Verifier {
    fn chain(&self) -> std::sync::MutexGuard<'_, Vec<CertificateDer<'static>>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Verifier {
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
