//! Encrypts and authenticates cache entries. Without the account file, a copy of the cache cannot be read.
//!
//! HKDF-SHA256 (RFC 5869) derives the key and the entry's file name from the client secret, the API base, the
//! client id and the client name. So each identity and each secret has an entry of its own. ChaCha20-Poly1305
//! (RFC 8439) encrypts and authenticates.

use std::time::Duration;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::account::ServiceAccount;

/// The version of the format. It is the salt of the derivation and the associated data of every entry.
const VERSION: &[u8] = b"astra-credential entry 2";

/// Seals and opens the entry of one account at one API base.
pub struct Seal {
    secret: Prk,
    key: LessSafeKey,
    name: [u8; NAME_LENGTH],
}

/// Bytes of an entry's name.
const NAME_LENGTH: usize = 16;

/// A number of bytes to derive, in ring's form.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Seal {
    /// The seal of `account` at the API base `api`; `None` if ring refuses a length, which does not happen.
    pub fn new(api: &str, account: &ServiceAccount) -> Option<Self> {
        let ServiceAccount { client_name, client_id, client_secret } = account;
        let secret = Salt::new(HKDF_SHA256, VERSION).extract(client_secret.expose().as_bytes());
        let identity = [api, client_id, client_name];
        let mut key = [0; 32];
        let mut name = [0; NAME_LENGTH];
        derive(&secret, b"key", &identity, &mut key)?;
        derive(&secret, b"name", &identity, &mut name)?;
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
        zeroize::Zeroize::zeroize(&mut key);
        let key = LessSafeKey::new(unbound);
        Some(Self { secret, key, name })
    }

    /// The name of the entry, in hexadecimal. It reveals nothing about the account.
    pub fn name(&self) -> String {
        hexadecimal(&self.name)
    }

    /// A keyed digest of `text`, in hexadecimal. Without the client secret it can be neither reversed nor
    /// compared with the digest of a guess.
    pub fn digest(&self, text: &str) -> Option<String> {
        let mut digest = [0; NAME_LENGTH];
        derive(&self.secret, b"digest", &[text], &mut digest)?;
        Some(hexadecimal(&digest))
    }

    /// Encrypts `content`; `None` if the system has no random numbers.
    pub fn seal(&self, mut content: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(unique, Aad::from(VERSION), &mut content).ok()?;
        Some([nonce.as_slice(), content.as_slice()].concat())
    }

    /// Decrypts the output of [`Seal::seal`] in place; `None` for any other input.
    pub fn open<'a>(&self, sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (nonce, content) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.key.open_in_place(nonce, Aad::from(VERSION), content).ok()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Derives bytes from the secret, for one purpose. Each part is preceded by its length, so that two lists of
/// parts never give the same input.
fn derive<const N: usize>(
    secret: &Prk,
    purpose: &[u8],
    parts: &[&str; N],
    out: &mut [u8],
) -> Option<()> {
    let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
    let mut info = vec![purpose];
    for (length, part) in lengths.iter().zip(parts) {
        info.extend([length.as_slice(), part.as_bytes()]);
    }
    secret.expand(&info, Length(out.len())).ok()?.fill(out).ok()
}

/// A random number. If the system has none, it is always 0: correctness does not depend on it.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A random time between half and three halves of `pause`. So processes that wait together do not go on together.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(f64::from(random() as u8) / 256.0 + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Secret;
    use proptest::prelude::*;

    fn seal(api: &str, name: &str, id: &str, secret: &str) -> Seal {
        let account = ServiceAccount {
            client_name: name.to_owned(),
            client_id: id.to_owned(),
            client_secret: Secret::new(secret.to_owned()),
        };
        Seal::new(api, &account).unwrap()
    }

    #[test]
    fn identities_never_mix() {
        let identities = [
            seal("a", "n", "i", "s"),
            seal("b", "n", "i", "s"),
            seal("a", "m", "i", "s"),
            seal("a", "n", "j", "s"),
            seal("a", "n", "i", "t"),
            seal("a", "ni", "", "s"),
            seal("a", "", "in", "s"),
            seal("ai", "n", "", "s"),
        ];
        let names: std::collections::BTreeSet<_> = identities.iter().map(Seal::name).collect();
        assert_eq!(names.len(), identities.len());
        for (index, owner) in identities.iter().enumerate() {
            let sealed = owner.seal(b"content".to_vec()).unwrap();
            for (other, reader) in identities.iter().enumerate() {
                let opened = reader.open(&mut sealed.clone()).as_deref().map(<[u8]>::to_vec);
                assert_eq!(opened, (index == other).then(|| b"content".to_vec()));
            }
        }
    }

    #[test]
    fn the_same_content_is_never_sealed_alike() {
        let seal = seal("a", "n", "i", "s");
        assert_ne!(seal.seal(vec![1]), seal.seal(vec![1]));
    }

    proptest! {
        #[test]
        fn a_flipped_or_truncated_entry_does_not_open(at in 0_usize..35, bit in 0_u8..8) {
            let seal = seal("a", "n", "i", "s");
            let whole = seal.seal(b"content".to_vec()).unwrap();
            prop_assert_eq!(whole.len(), 35);
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(seal.open(&mut flipped).is_none());
            prop_assert!(seal.open(&mut whole.clone()[..at]).is_none());
        }
    }
}
