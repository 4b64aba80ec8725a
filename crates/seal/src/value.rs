//! Values at rest: AES-256-GCM (NIST SP 800-38D) under one key for many values, each with a random 96-bit nonce before it.
//!
//! ```text
//! sealed = nonce (12) || ciphertext || tag (16)
//! ```
//!
//! Random nonces of one key meet after some 2^32 values with a probability of 2^-33 (NIST SP 800-38D, 8.3): what is kept under
//! one key is to stay below.

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

/// The length of a nonce in bytes.
pub const NONCE_LENGTH: usize = 12;

/// The cipher of a key. The key schedule is wiped when it is dropped.
#[derive(Clone)]
pub struct ValueCipher(Aes256Gcm);

impl std::fmt::Debug for ValueCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ValueCipher")
    }
}

impl ValueCipher {
    /// The cipher of this key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals a value for what `aad` says. A nonce is random, and used once.
    ///
    /// `None` only for a value that is too long for the cipher (64 GiB).
    #[must_use]
    pub fn seal(&self, nonce: [u8; NONCE_LENGTH], value: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let ciphertext = self.0.encrypt(&nonce.into(), Payload { msg: value, aad }).ok()?;
        Some([nonce.as_slice(), &ciphertext].concat())
    }

    /// Opens what [`ValueCipher::seal`] made; `None` when it was altered, or is of another key or for something else.
    #[must_use]
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LENGTH>()?;
        self.0.decrypt(&(*nonce).into(), Payload { msg: ciphertext, aad }).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_gcm_specification() {
        // Test case 14 of the GCM specification: key, nonce and plaintext all zero.
        let expected = [
            0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18,
            0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19,
        ];
        let sealed = ValueCipher::new(&[0; 32]).seal([0; 12], &[0; 16], b"").unwrap();
        assert_eq!(sealed, [[0; 12].as_slice(), &expected].concat());
    }

    #[test]
    fn a_value_opens_whole_for_its_key_and_place_alone() {
        let cipher = ValueCipher::new(&[7; 32]);
        let sealed = cipher.seal([9; 12], b"value", b"place").unwrap();
        assert_eq!(cipher.open(&sealed, b"place").unwrap().as_slice(), b"value");
        assert!(cipher.open(&sealed, b"other").is_none());
        assert!(ValueCipher::new(&[8; 32]).open(&sealed, b"place").is_none());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(cipher.open(&altered, b"place").is_none(), "byte {at}");
            assert!(cipher.open(&sealed[..at], b"place").is_none(), "cut at {at}");
        }
        assert_eq!(format!("{cipher:?}"), "ValueCipher");
    }
}
