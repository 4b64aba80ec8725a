//! Ed25519 (RFC 8032): the clinic root and the server's keys.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sigilo_wire::Base64Array;
use zeroize::Zeroizing;

use crate::{identity::KeyError, secret::opaque_debug};

/// A public key, checked to be canonical and not of low order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ed25519Public(VerifyingKey);

impl Ed25519Public {
    /// Its length in bytes.
    pub const LENGTH: usize = 32;

    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError`] unless it is exactly 32 bytes, the canonical form of a point, and not of low order.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 32] =
            bytes.try_into().map_err(|_| KeyError::Length { expected: 32, actual: bytes.len() })?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::NotCanonical)?;
        // The crate keeps the bytes it was given; compressing the point anew shows whether they are canonical.
        if key.is_weak() || key.to_edwards().compress().to_bytes() != bytes {
            return Err(KeyError::NotCanonical);
        }
        Ok(Self(key))
    }

    /// The compressed point.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Whether `signature` is this key's over `message`. Strict: canonical scalar, no low-order points.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl std::fmt::Debug for Ed25519Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ed25519Public({})", Base64Array(self.to_bytes()))
    }
}

impl Serialize for Ed25519Public {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Base64Array(self.to_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ed25519Public {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Base64Array::<32>::deserialize(deserializer)?;
        Self::parse(&bytes.0).map_err(serde::de::Error::custom)
    }
}

/// A signing key; wiped when dropped.
#[derive(Clone)]
pub struct Ed25519Secret(SigningKey);

opaque_debug!(Ed25519Secret);

impl Ed25519Secret {
    /// A fresh key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        Self::from_seed(*seed)
    }

    /// The key of this seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, for the file or the encrypted column that keeps it.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Ed25519Public {
        Ed25519Public(self.0.verifying_key())
    }

    /// The deterministic signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::test_rng;

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        // RFC 8032 section 7.1, test 1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let secret = Ed25519Secret::from_seed(seed);
        assert_eq!(secret.public().to_bytes()[..4], [0xd7, 0x5a, 0x98, 0x01]);
        let signature = secret.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert_eq!(signature[60..], [0x8e, 0x7a, 0x10, 0x0b]);
        assert_eq!(*secret.seed(), seed);
    }

    #[test]
    fn a_signature_verifies_for_its_message_only() {
        let secret = Ed25519Secret::generate(&mut test_rng(7));
        let signature = secret.sign(b"message");
        let public = Ed25519Public::parse(&secret.public().to_bytes()).unwrap();
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"massage", &signature));
        for byte in 0..64 {
            let mut flipped = signature;
            flipped[byte] ^= 1 << (byte % 8);
            assert!(!public.verify(b"message", &flipped), "byte {byte}");
        }
    }

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        for torsion in curve25519_dalek::constants::EIGHT_TORSION {
            assert_eq!(Ed25519Public::parse(&torsion.compress().to_bytes()), Err(KeyError::NotCanonical));
        }
        // y = 2^255 - 19 + 3 is y = 3 written otherwise.
        let mut three = [0; 32];
        three[0] = 3;
        let mut three_plus_p = [0xff; 32];
        three_plus_p[0] = 0xed + 3;
        three_plus_p[31] = 0x7f;
        Ed25519Public::parse(&three).unwrap();
        assert_eq!(Ed25519Public::parse(&three_plus_p), Err(KeyError::NotCanonical));
        assert_eq!(Ed25519Public::parse(&[0; 31]), Err(KeyError::Length { expected: 32, actual: 31 }));
    }
}
