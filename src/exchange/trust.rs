//! The trusted certificate authorities: those of a file, of the folders in `SSL_CERT_DIR`, or the system's.
//!
//! Files have the forms that curl with OpenSSL accepts: `CERTIFICATE` and `TRUSTED CERTIFICATE` blocks, with
//! any text around them and any line ends. A byte order mark before the first block and blanks before a
//! line are accepted too, although OpenSSL misses such certificates.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use crate::exchange::certificate::{first_element, is_for_servers};
use crate::shown;

/// The largest file of certificates that is read, in bytes. The system's own file has about half a MiB.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// The largest number of defects that a message lists for one file. The others are only counted.
const MOST_DEFECTS: usize = 4;

/// The trusted authorities.
#[derive(Debug)]
pub struct Trust {
    /// Verifies a server's certificate.
    pub verifier: Arc<dyn ServerCertVerifier>,
    /// The trusted authorities; `None` if only the operating system's verifier has them.
    pub anchors: Option<Arc<RootCertStore>>,
    /// The file or folders that the user named, for messages; `None` for the system's authorities.
    pub named: Option<String>,
}

/// The certificate blocks of a PEM file. Each has the number of its first line.
#[derive(Debug, Default, Eq, PartialEq)]
struct Blocks {
    /// The certificates, in DER.
    certificates: Vec<(usize, Vec<u8>)>,
    /// The damaged blocks.
    damaged: Vec<usize>,
    /// The `TRUSTED CERTIFICATE` blocks whose purposes exclude servers.
    refused: Vec<usize>,
}

impl Trust {
    /// Trusts the certificates in `file`. Without a file, trusts those in `folders`; without both, trusts the
    /// system's.
    ///
    /// # Errors
    /// A message with the file or folder and the reason why it cannot be used.
    pub fn of(
        file: Option<&Path>,
        folders: &[PathBuf],
        provider: &Arc<CryptoProvider>,
        deadline: Instant,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let named = if let Some(file) = file {
            let shown = shown::path(file);
            let pem = content(file, deadline).map_err(|why| format!("{shown}: {why}"))?;
            add(&mut roots, &pem, file)?;
            Some(shown)
        } else if !folders.is_empty() {
            Some(add_folders(&mut roots, folders)?)
        } else if let Some(verifier) = system(&mut roots, provider)? {
            return Ok(Self { verifier, anchors: None, named: None });
        } else {
            None
        };
        let anchors = Arc::new(roots);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&anchors), Arc::clone(provider));
        let verifier = verifier.build().map_err(|_| "there are none on this machine".to_owned())?;
        Ok(Self { verifier, anchors: Some(anchors), named })
    }
}

/// Reads a file that the user named. A pipe is read in a thread, which is abandoned at `deadline`.
fn content(file: &Path, deadline: Instant) -> io::Result<Vec<u8>> {
    if std::fs::metadata(file)?.is_file() {
        return read_file(file);
    }
    let (sender, receiver) = mpsc::channel();
    let file = file.to_owned();
    std::thread::Builder::new().spawn(move || sender.send(read_file(&file)))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let timed_out = |_| Err(io::Error::other("nothing came out of it in time"));
    receiver.recv_timeout(left).unwrap_or_else(timed_out)
}

fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is too large for a file of certificates"));
    }
    Ok(content)
}

/// Adds the certificates of a file that the user named. Warns about those that cannot be used. It is an error
/// if there is no usable one.
fn add(roots: &mut RootCertStore, pem: &[u8], file: &Path) -> Result<(), String> {
    let shown = shown::path(file);
    let Blocks { certificates, damaged, refused } = read(pem);
    let mut skipped: Vec<_> =
        damaged.iter().map(|line| format!("the block at line {line} is damaged")).collect();
    let before = roots.len();
    for (line, der) in certificates {
        if roots.add(CertificateDer::from(der)).is_err() {
            skipped.push(format!("the block at line {line} holds no X.509 certificate"));
        }
    }
    if roots.len() > before {
        if !skipped.is_empty() {
            log::warn!("{shown} is trusted in part: {}", listed(&skipped));
        }
        return Ok(());
    }
    let purposes = |line| format!("the block at line {line} is not trusted for servers");
    skipped.extend(refused.iter().map(purposes));
    Err(match skipped.as_slice() {
        [] if pem.first() == Some(&0x30) => {
            format!("{shown}: it is DER, not PEM; `openssl x509 -inform DER -in FILE` converts it")
        }
        [] => format!("{shown}: it holds no PEM certificate"),
        skipped => format!("{shown}: {}", listed(skipped)),
    })
}

fn listed(defects: &[String]) -> String {
    let (first, more) = defects.split_at(defects.len().min(MOST_DEFECTS));
    let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
    first.join(", ") + &more
}

/// Adds the certificates in the folders of `SSL_CERT_DIR`. Warns about a folder that cannot be used. It is an
/// error if there is no usable one.
fn add_folders(roots: &mut RootCertStore, folders: &[PathBuf]) -> Result<String, String> {
    let mut unusable = Vec::new();
    for folder in folders {
        match add_folder(roots, folder) {
            Ok(0) => unusable.push(format!("{}: it holds no PEM certificate", shown::path(folder))),
            Ok(_) => {}
            Err(why) => unusable.push(format!("{}: {why}", shown::path(folder))),
        }
    }
    if roots.is_empty() {
        return Err(format!("`SSL_CERT_DIR`: {}", unusable.join(", ")));
    }
    for why in unusable {
        log::warn!("a folder of `SSL_CERT_DIR` is not used: {why}");
    }
    Ok(folders.iter().map(|folder| shown::path(folder)).collect::<Vec<_>>().join(", "))
}

/// Adds the certificates in the files of a folder, and returns their number. Files without a certificate are
/// ignored: such folders usually have some.
fn add_folder(roots: &mut RootCertStore, folder: &Path) -> std::io::Result<usize> {
    let mut ders = Vec::new();
    for item in std::fs::read_dir(folder)? {
        let path = item?.path();
        if path.is_file()
            && let Ok(pem) = read_file(&path)
        {
            ders.extend(read(&pem).certificates.into_iter().map(|(_, der)| der));
        }
    }
    // In OpenSSL's folders, each certificate has a second name: a link that is named after its hash.
    ders.sort_unstable();
    ders.dedup();
    let (added, _) = roots.add_parsable_certificates(ders.into_iter().map(CertificateDer::from));
    Ok(added)
}

/// Adds the system's authorities: from the system's bundle or, if that is missing, from its folders.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn system(
    roots: &mut RootCertStore,
    _: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, String> {
    if let Some(pem) = openssl_probe::probe().cert_file.and_then(|file| std::fs::read(file).ok()) {
        let ders = read(&pem).certificates.into_iter().map(|(_, der)| CertificateDer::from(der));
        roots.add_parsable_certificates(ders);
    }
    if roots.is_empty() {
        for folder in openssl_probe::candidate_cert_dirs() {
            let _ = add_folder(roots, folder);
        }
    }
    if roots.is_empty() {
        return Err("there are none on this machine".to_owned());
    }
    Ok(None)
}

/// Returns the operating system's own verifier.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn system(
    _: &mut RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, String> {
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(provider));
    match verifier {
        Ok(verifier) => Ok(Some(Arc::new(verifier))),
        Err(_) => Err("the system gives none".to_owned()),
    }
}

/// Finds the certificate blocks in a PEM text.
fn read(pem: &[u8]) -> Blocks {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let mut found = Blocks::default();
    let mut block: Option<(usize, &[u8], Vec<u8>)> = None;
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
    // A carriage return also ends a line, alone or before a line feed.
    for (number, line) in (1..).zip(pem.split(|b| *b == b'\n')) {
        for line in line.split(|b| *b == b'\r').map(<[u8]>::trim_ascii) {
            let label = |start: &[u8]| line.strip_prefix(start)?.strip_suffix(b"-----");
            if let Some(label) = label(b"-----BEGIN ") {
                // The block before this one has no end.
                found.damaged.extend(block.take().map(|(at, ..)| at));
                let is_certificate =
                    [&b"CERTIFICATE"[..], b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"]
                        .contains(&label);
                block = is_certificate.then(|| (number, label, Vec::new()));
            } else if let Some(end) = label(b"-----END ") {
                let Some((at, label, text)) = block.take() else { continue };
                let der = BASE64.decode(text).ok().filter(|_| label == end).unwrap_or_default();
                // In a `TRUSTED CERTIFICATE`, the trusted purposes follow the certificate.
                match first_element(&der) {
                    Some(first) if is_for_servers(&der[first.len()..]) => {
                        found.certificates.push((at, first.to_vec()));
                    }
                    Some(_) => found.refused.push(at),
                    None => found.damaged.push(at),
                }
            } else if let Some((_, _, text)) = &mut block {
                text.extend(line.iter().filter(|b| !b.is_ascii_whitespace()));
            }
        }
    }
    found.damaged.extend(block.map(|(at, ..)| at));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A DER sequence of that content, and its base64 in lines.
    fn block(content: &[u8]) -> (Vec<u8>, String) {
        let length = u8::try_from(content.len()).unwrap();
        let der = [&[0x30, 0x81, length], content].concat();
        let text = base64::prelude::BASE64_STANDARD.encode(&der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        (der.clone(), lines.join("\n"))
    }

    #[test]
    fn certificates_are_found_in_every_form_that_curl_reads_and_damage_is_located() {
        let (der, text) = block(&[7; 200]);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let trusted =
            base64::prelude::BASE64_STANDARD.encode([&der[..], &[0x30, 2, 5, 0]].concat());
        let forms = [
            pem.clone(),
            format!("\u{feff}{pem}"),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\r"),
            pem.replace('\n', "\n  "),
            pem.replace('\n', " \t\n"),
            format!("subject=x\n# a comment\n{pem}\ntext -----BEGIN\n"),
            pem.trim_end().to_owned(),
            pem.replace("CERTIFICATE", "X509 CERTIFICATE"),
            format!(
                "-----BEGIN TRUSTED CERTIFICATE-----\n{trusted}\n-----END TRUSTED CERTIFICATE-----"
            ),
            format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n{pem}"),
        ];
        for form in forms {
            let Blocks { certificates, damaged, .. } = read(form.as_bytes());
            let ders: Vec<_> = certificates.into_iter().map(|(_, der)| der).collect();
            assert_eq!((ders, damaged), (vec![der.clone()], vec![]), "{form}");
        }
        let damaged = pem.replacen(&text[..4], "MI*!", 1);
        let cut = pem.split("-----END").next().unwrap();
        let both = format!("{cut}{pem}");
        let after = cut.lines().count() + 1;
        let found = Blocks { certificates: vec![(after, der)], damaged: vec![1], refused: vec![] };
        assert_eq!(read(both.as_bytes()), found);
        assert_eq!(read(damaged.as_bytes()), Blocks { damaged: vec![1], ..Blocks::default() });
        assert_eq!(read(cut.as_bytes()).damaged, [1]);
        assert_eq!(read(b"nothing"), Blocks::default());
    }

    proptest! {
        #[test]
        fn text_around_a_certificate_does_not_hide_it(
            before in "([a-z =\\t]{0,30}\\n){0,5}",
            content in prop::collection::vec(any::<u8>(), 128..250),
            end in "(\\n|\\r\\n|\\r)",
            after in "(\\n[a-z =\\t]{0,30}){0,5}",
        ) {
            let (der, text) = block(&content);
            let pem = format!("{before}-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----{after}");
            let found = read(pem.replace('\n', &end).as_bytes());
            let line = before.matches('\n').count() + 1;
            let line = if end == "\r" { 1 } else { line };
            prop_assert_eq!(found, Blocks { certificates: vec![(line, der)], ..Blocks::default() });
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>(), text in "(-----(BEGIN|END) (CERTIFICATE|TRUSTED CERTIFICATE)-----|MAAB|\\n| ){0,12}") {
            read(&bytes);
            read(text.as_bytes());
        }
    }
}
