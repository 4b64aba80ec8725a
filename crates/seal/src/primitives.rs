//! The hashes and ciphers of the protocol, each with the parameters the protocol fixes.
//!
//! ```text
//! HKDF(k, info, n)  HKDF-SHA256 (RFC 5869), input k, empty salt, n bytes; of files alone, with a salt
//! AEAD(k, p, a)     AES-256-GCM (NIST SP 800-38D), nonce 0^12, plaintext p, associated data a
//! ```
//!
//! The nonce may be constant because every AEAD key is derived for one plaintext only.

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The first 16 bytes of SHA-256: the name of a key.
pub(crate) fn sha256_16(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(bytes)[..16]);
    short
}

/// HKDF-SHA256 with an empty salt; `info` is the concatenation of its parts.
#[expect(
    clippy::expect_used,
    reason = "RFC 5869 allows up to 255 hashes of output; N is checked while compiling"
)]
pub(crate) fn hkdf<const N: usize>(key: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32) };
    let mut output = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(None, key).expand_multi_info(info, output.as_mut_slice()).expect("N is small enough");
    output
}

/// HKDF-SHA256 with a salt.
#[expect(
    clippy::expect_used,
    reason = "RFC 5869 allows up to 255 hashes of output; N is checked while compiling"
)]
pub(crate) fn hkdf_salted<const N: usize>(
    key: &[u8; 32],
    salt: &[u8; 32],
    info: &[u8],
) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32) };
    let mut output = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, output.as_mut_slice()).expect("N is small enough");
    output
}

/// HMAC-SHA256 (RFC 2104) over the concatenation of the parts.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length; the error belongs to other MACs")]
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// AES-256-GCM with nonce zero. `key` must be used for this one plaintext only.
#[expect(
    clippy::expect_used,
    reason = "AES-GCM fails above 64 GiB only; messages are a million times smaller"
)]
pub(crate) fn aead_seal(key: &[u8; 32], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    Aes256Gcm::new(key.into())
        .encrypt(&[0; 12].into(), Payload { msg: plaintext, aad })
        .expect("a plaintext that fits in memory")
}

/// The plaintext, or `None` when the key, the ciphertext or the associated data is not the one it was made with.
pub(crate) fn aead_open(key: &[u8; 32], ciphertext: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    Aes256Gcm::new(key.into())
        .decrypt(&[0; 12].into(), Payload { msg: ciphertext, aad })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn hkdf_with_an_empty_salt_is_that_of_rfc_5869() {
        // Derived by hand from the definition: PRK = HMAC(0^32, key), T(1) = HMAC(PRK, info || 1), ...
        let key = [0x0b; 32];
        let prk = hmac_sha256(&[0; 32], &[&key]);
        let first = hmac_sha256(&prk, &[b"label", b"rest", &[1]]);
        let second = hmac_sha256(&prk, &[&first, b"label", b"rest", &[2]]);
        assert_eq!(*hkdf::<64>(&key, &[b"label", b"rest"]), [first, second].concat().as_slice());
    }

    #[test]
    fn hkdf_with_a_salt_is_that_of_rfc_5869() {
        // Derived by hand from the definition: PRK = HMAC(salt, key), T(1) = HMAC(PRK, info || 1), ...
        let prk = hmac_sha256(&[0x0c; 32], &[&[0x0b; 32]]);
        let first = hmac_sha256(&prk, &[b"label", &[1]]);
        let second = hmac_sha256(&prk, &[&first, b"label", &[2]]);
        let third = hmac_sha256(&prk, &[&second, b"label", &[3]]);
        let expected = [first, second, third].concat();
        assert_eq!(*hkdf_salted::<71>(&[0x0b; 32], &[0x0c; 32], b"label"), expected[..71]);
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 3 has a 20-byte key; HMAC pads keys with zeros, so 12 zero bytes more change nothing.
        let mut key = [0xaa; 32];
        key[20..].fill(0);
        let expected = hex("773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
        assert_eq!(hmac_sha256(&key, &[&[0xdd; 50]]), expected.as_slice());
    }

    #[test]
    fn aes_gcm_is_that_of_the_gcm_specification() {
        // Test case 14 of the GCM specification: key, nonce and plaintext all zero.
        let expected = hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
        assert_eq!(aead_seal(&[0; 32], &[0; 16], b""), expected);
        assert_eq!(aead_open(&[0; 32], &expected, b"").unwrap().as_slice(), [0; 16]);
        assert!(aead_open(&[0; 32], &expected, b"x").is_none());
    }
}
