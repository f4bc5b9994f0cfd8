//! Reads the fields of an X.509 certificate (RFC 5280) that an error message names.
//!
//! rustls verifies certificates. This module describes one that was refused; it ignores fields and
//! extensions that no message names.

use crate::shown::Escaped;
use crate::timestamp::Timestamp;

/// The fields of a certificate that messages name.
#[derive(Debug)]
pub struct Certificate<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    /// The beginning of its validity; `None` if it cannot be read.
    pub not_before: Option<Timestamp>,
    /// The end of its validity; `None` if it cannot be read.
    pub not_after: Option<Timestamp>,
    key: &'a [u8],
}

// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// The object identifier of RSA keys: 1.2.840.113549.1.1.1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// The object identifier of a common name: 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// The object identifier of an organisation: 2.5.4.10.
const ORGANISATION: &[u8] = &[0x55, 4, 10];

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER; `None` for any other content.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let (whole, _) = expect(SEQUENCE, der)?;
        let (fields, _) = expect(SEQUENCE, whole)?;
        // The version is absent in certificates of version 1.
        let fields = match element(fields)? {
            (0xa0, _, rest) => rest,
            _ => fields,
        };
        let (_, fields) = expect(INTEGER, fields)?;
        let (_, fields) = expect(SEQUENCE, fields)?;
        let (issuer, fields) = expect(SEQUENCE, fields)?;
        let (validity, fields) = expect(SEQUENCE, fields)?;
        let (subject, fields) = expect(SEQUENCE, fields)?;
        let (key, _) = expect(SEQUENCE, fields)?;
        let (kind, first, rest) = element(validity)?;
        let (other_kind, last, _) = element(rest)?;
        let (not_before, not_after) = (instant(kind, first), instant(other_kind, last));
        Some(Self { issuer, subject, not_before, not_after, key })
    }

    /// The subject's name, safe to show.
    pub fn subject(&self) -> String {
        name(self.subject)
    }

    /// The issuer's name, safe to show.
    pub fn issuer(&self) -> String {
        name(self.issuer)
    }

    /// True if issuer and subject have the same name.
    pub fn is_self_signed(&self) -> bool {
        self.issuer == self.subject
    }

    /// The issuer's name in DER, to compare with the subject of the issuer's certificate.
    pub fn issuer_der(&self) -> &'a [u8] {
        self.issuer
    }

    /// The length of the key in bits; `None` unless it is an RSA key.
    pub fn rsa_bits(&self) -> Option<usize> {
        rsa_bits(self.key)
    }
}

/// The length of an RSA key in bits. `key` is the content of a `SubjectPublicKeyInfo`.
pub fn rsa_bits(key: &[u8]) -> Option<usize> {
    let (algorithm, rest) = expect(SEQUENCE, key)?;
    let (algorithm, _) = expect(OBJECT_IDENTIFIER, algorithm)?;
    (algorithm == RSA).then_some(())?;
    let (bits, _) = expect(BIT_STRING, rest)?;
    let (numbers, _) = expect(SEQUENCE, bits.get(1..)?)?;
    let (modulus, _) = expect(INTEGER, numbers)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    Some(modulus.len() * 8)
}

/// The first element of `der`, with its tag and length. `None` unless it is a `SEQUENCE`.
pub fn first_element(der: &[u8]) -> Option<&[u8]> {
    let (_, rest) = expect(SEQUENCE, der)?;
    der.get(..der.len() - rest.len())
}

/// True if the purposes in a `TRUSTED CERTIFICATE` allow the authentication of servers. The rules are
/// OpenSSL's: a rejected purpose is excluded, and so is every purpose that a list of trusted ones lacks.
pub fn is_for_servers(purposes: &[u8]) -> bool {
    // `serverAuth` and `anyExtendedKeyUsage`.
    const OURS: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x55, 0x1d, 0x25, 0]];
    const REFUSED: u8 = 0xa0;
    let has_ours = |mut list: &[u8]| {
        while let Some((_, purpose, rest)) = element(list) {
            if OURS.contains(&purpose) {
                return true;
            }
            list = rest;
        }
        false
    };
    let Some((mut fields, _)) = expect(SEQUENCE, purposes) else { return true };
    let mut is_trusted = true;
    while let Some((tag, list, rest)) = element(fields) {
        match tag {
            SEQUENCE => is_trusted = has_ours(list),
            REFUSED if has_ours(list) => return false,
            _ => {}
        }
        fields = rest;
    }
    is_trusted
}

/// The tag and the content of the first element of `der`, and the bytes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = match *short {
        length @ 0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            let add = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add((*byte).into());
            (bytes.iter().try_fold(0, add)?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The content of the first element of `der`, which must have `tag`, and the bytes after it.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// Reads a `UTCTime` or a `GeneralizedTime`, in the forms that RFC 5280 allows. `kind` is its tag.
fn instant(kind: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let full = match kind {
        0x17 if text < "5" => format!("20{text}"),
        0x17 => format!("19{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let part = |from, to| full.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Timestamp::from_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// The common name in a distinguished name, or else the organisation.
fn name(mut parts: &[u8]) -> String {
    const LONGEST: usize = 64;
    let mut found: [Option<String>; 2] = [None, None];
    while let Some((_, set, rest)) = element(parts) {
        parts = rest;
        let pair = expect(SEQUENCE, set).and_then(|(pair, _)| expect(OBJECT_IDENTIFIER, pair));
        let Some((kind, value)) = pair else { continue };
        let place = [COMMON_NAME, ORGANISATION].iter().position(|known| *known == kind);
        if let (Some(place), Some((kind, value, _))) = (place, element(value)) {
            found[place] = Some(text(kind, value));
        }
    }
    let [common, organisation] = found;
    let full = common.or(organisation).unwrap_or_else(|| "(no name)".to_owned());
    Escaped(&full.chars().take(LONGEST).collect::<String>()).to_string()
}

/// A string of any ASN.1 type, as UTF-8.
fn text(kind: u8, bytes: &[u8]) -> String {
    const BMP_STRING: u8 = 0x1e;
    if kind == BMP_STRING {
        let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return String::from_utf16_lossy(&units.collect::<Vec<_>>());
    }
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_certificate_names_itself_its_issuer_and_its_dates() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "api\u{1b}[2J");
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2061, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!(read.subject(), r"api\u{1b}[2J");
        assert!(read.is_self_signed() && read.rsa_bits().is_none());
        let dates = [read.not_before, read.not_after].map(|date| date.unwrap().to_string());
        assert_eq!(dates, ["1999-12-31T00:00:00Z", "2061-01-02T00:00:00Z"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let _ = Certificate::read(&bytes).map(|read| (read.subject(), read.rsa_bits()));
            let key = rcgen::KeyPair::generate().unwrap();
            let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            let mut der = made.der().to_vec();
            let at = at.index(der.len());
            der[at] = with;
            let _ = Certificate::read(&der).map(|read| (read.subject(), read.issuer(), read.rsa_bits()));
            let _ = first_element(&der);
        }
    }
}
