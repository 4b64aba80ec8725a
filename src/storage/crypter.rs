//! Column encryption for personal data: names, addresses, tokens and the server's own private keys.
//!
//! AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; the associated data is the length-prefixed table,
//! row and column, so that a value cannot be moved to another place. Stored as
//! `key number (u8) || nonce (12) || ciphertext || tag (16)`.
//!
//! What it protects: a copy of the database without the key file (a stolen backup, a curious database
//! administrator). What it does not: whoever holds the key file or the running server's memory; which rows
//! exist, their sizes and their changes. Look-up by e-mail uses a keyed hash, so equal addresses of two clinics
//! do not show as equal, and a guess needs the key.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sigilo_seal::value::ValueCipher;
use zeroize::Zeroizing;

use crate::{Error, Result, rng::Entropy};

/// A 32-byte key that is wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// Encrypts with the first key, decrypts with any of them.
pub struct Crypter {
    keys: Vec<(u8, ValueCipher)>,
    index_key: Key,
    place_key: Key,
    link_key: Key,
}

/// Which value of the database is meant.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's primary key.
    pub row: &'a [u8],
    /// The column.
    pub column: &'a str,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        let mut aad = Vec::with_capacity(64);
        for part in [self.table.as_bytes(), self.row, self.column.as_bytes()] {
            // Names and keys are far shorter than 4 GiB.
            aad.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}

impl std::fmt::Debug for Crypter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crypter({} keys)", self.keys.len())
    }
}

impl Crypter {
    /// A crypter over numbered master keys, the one to encrypt with first. The index key derives from the
    /// lowest-numbered one, so that look-ups survive a rotation.
    ///
    /// # Errors
    /// When there is no key.
    pub fn new(masters: &[(u8, Key)]) -> Result<Self> {
        let oldest = masters
            .iter()
            .min_by_key(|(number, _)| *number)
            .ok_or_else(|| Error::internal("no column encryption key is configured"))?;
        Ok(Self {
            keys: masters
                .iter()
                .map(|(number, master)| (*number, ValueCipher::new(&derive(master, b"sigilo/columns"))))
                .collect(),
            index_key: derive(&oldest.1, b"sigilo/email-index"),
            place_key: derive(&oldest.1, b"sigilo/known-places"),
            link_key: derive(&oldest.1, b"sigilo/content-links"),
        })
    }

    /// Encrypts a value for its place.
    ///
    /// # Errors
    /// Only when the value is too large for the cipher (64 GiB).
    pub fn encrypt(&self, place: Place<'_>, value: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
        let (number, cipher) =
            self.keys.first().ok_or_else(|| Error::internal("no column encryption key"))?;
        let mut sealed = vec![*number];
        sealed.extend(seal(cipher, &place.aad(), value, entropy)?);
        Ok(sealed)
    }

    /// Decrypts the value of a place.
    ///
    /// # Errors
    /// When the key is unknown, or the value was altered or moved.
    pub fn decrypt(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let fault =
            || Error::internal(format!("a value of {}.{} does not decrypt", place.table, place.column));
        let (number, sealed) = sealed.split_first().ok_or_else(fault)?;
        let (_, cipher) = self.keys.iter().find(|(key, _)| key == number).ok_or_else(fault)?;
        cipher.open(sealed, &place.aad()).ok_or_else(fault)
    }

    /// Decrypts a value that is text.
    ///
    /// # Errors
    /// As [`Crypter::decrypt`].
    pub fn decrypt_text(&self, place: Place<'_>, sealed: &[u8]) -> Result<String> {
        String::from_utf8(self.decrypt(place, sealed)?.to_vec())
            .map_err(|_| Error::internal(format!("a value of {}.{} is not text", place.table, place.column)))
    }

    /// The keyed hash by which an e-mail address is found within a clinic: HMAC-SHA256 of the clinic and the
    /// address in lower case.
    #[must_use]
    pub fn email_index(&self, tenant: &[u8; 16], email: &str) -> Vec<u8> {
        keyed_hash(&self.index_key, &[tenant, email.trim().to_lowercase().as_bytes()])
    }

    /// The keyed hash by which a subject of an identity provider is found within a clinic: HMAC-SHA256 of the clinic, the
    /// issuer and the subject, each as it is, with a byte between that neither holds.
    #[must_use]
    pub fn subject_index(&self, tenant: &[u8; 16], issuer: &str, subject: &str) -> Vec<u8> {
        keyed_hash(&self.index_key, &[tenant, b"\0", issuer.as_bytes(), b"\0", subject.as_bytes()])
    }

    /// The keyed hash by which an account's network is known again: HMAC-SHA256 of the account and the network. The
    /// networks are few enough to try them all: without the key that is of no use, and two accounts on one network do not show.
    #[must_use]
    pub fn place_index(&self, user: &[u8; 16], network: &[u8; 16]) -> Vec<u8> {
        keyed_hash(&self.place_key, &[user, network])
    }

    /// What binds the address of a file's content to these parts, each of which has one length: HMAC-SHA256.
    #[must_use]
    pub fn link_mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        keyed_hash(&self.link_key, parts)
    }
}

/// HMAC-SHA256 of the parts, one after the other.
fn keyed_hash(key: &Key, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key.as_slice()) {
        Ok(mac) => mac,
        // HMAC takes keys of any length.
        Err(_) => return Vec::new(),
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// HKDF-SHA256 of a key for one purpose (RFC 5869, empty salt).
#[must_use]
pub fn derive(key: &Key, info: &[u8]) -> Key {
    let mut derived = Key::default();
    // 32 bytes is one block: far below HKDF's limit, so this cannot fail.
    let _ = Hkdf::<Sha256>::new(None, key.as_slice()).expand(info, derived.as_mut());
    derived
}

/// `nonce || ciphertext || tag` under a random nonce.
///
/// # Errors
/// Only when the value is too large for the cipher.
pub fn seal(cipher: &ValueCipher, aad: &[u8], value: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
    let sealed = cipher.seal(crate::rng::bytes(entropy), value, aad);
    sealed.ok_or_else(|| Error::internal("a value is too large to encrypt"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededEntropy;

    const PLACE: Place<'_> = Place { table: "users", row: b"row", column: "full_name_enc" };

    fn key(byte: u8) -> Key {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn a_value_opens_only_in_its_place_and_unaltered() {
        let entropy = SeededEntropy::new(1);
        let crypter = Crypter::new(&[(1, key(1))]).unwrap();
        let sealed = crypter.encrypt(PLACE, "Ana López".as_bytes(), &*entropy).unwrap();
        assert_eq!(crypter.decrypt_text(PLACE, &sealed).unwrap(), "Ana López");
        for elsewhere in [
            Place { table: "user", ..PLACE },
            Place { row: b"other", ..PLACE },
            Place { column: "email_enc", ..PLACE },
            // The same letters, divided otherwise.
            Place { table: "usersr", row: b"ow", ..PLACE },
        ] {
            assert!(crypter.decrypt(elsewhere, &sealed).is_err(), "{elsewhere:?}");
        }
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(crypter.decrypt(PLACE, &altered).is_err(), "byte {position}");
        }
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let entropy = SeededEntropy::new(2);
        let old = Crypter::new(&[(1, key(1))]).unwrap();
        let both = Crypter::new(&[(2, key(2)), (1, key(1))]).unwrap();
        let sealed = old.encrypt(PLACE, b"x", &*entropy).unwrap();
        assert_eq!(*both.decrypt(PLACE, &sealed).unwrap(), b"x");
        assert_eq!(both.encrypt(PLACE, b"x", &*entropy).unwrap()[0], 2);
        assert_eq!(
            old.email_index(&[7; 16], "Ana@Clinic.example "),
            both.email_index(&[7; 16], "ana@clinic.example")
        );
        assert_ne!(
            old.email_index(&[7; 16], "ana@clinic.example"),
            old.email_index(&[8; 16], "ana@clinic.example")
        );
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(format!("{:?}", Crypter::new(&[(1, key(1))]).unwrap()), "Crypter(1 keys)");
    }
}
