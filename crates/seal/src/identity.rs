//! Identity keys and prekeys: Curve25519 keys that sign with XEdDSA.
//!
//! An identity key is libsignal's: 33 bytes, `0x05` and the little-endian u coordinate. Signatures are
//! libsignal's XEdDSA, which carries the sign of the Edwards point in the last bit of the signature
//! (<https://signal.org/docs/specifications/xeddsa/>).
//!
//! libsignal accepts more than it should, so the checks here are stricter:
//! - trailing bytes after a public key are refused;
//! - a u coordinate of 2^255 - 19 or more, a point of low order and a point with a torsion component are
//!   refused: for u = 0 about half of all forged signatures verify;
//! - a signature whose scalar is not below the group order is refused, or anyone could turn a valid signature
//!   into a second valid one.

use curve25519_dalek::Scalar;
use libsignal_core::curve::{PrivateKey, PublicKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sigilo_wire::{Base64Array, TenantId, UserId};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{encode::Writer, rng09::Rng09, secret::opaque_debug};

/// The type byte of a Curve25519 public key.
const CURVE25519_TYPE: u8 = 0x05;
/// The type byte of a Kyber1024 public key.
const KYBER1024_TYPE: u8 = 0x08;

/// Why bytes are not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the exact length of this kind of key.
    #[error("the key must be {expected} bytes, not {actual}")]
    Length {
        /// The length of this kind of key.
        expected: usize,
        /// What was given.
        actual: usize,
    },
    /// Another kind of key.
    #[error("the key's type is {actual:#04x}, not {expected:#04x}")]
    Type {
        /// The type byte of this kind of key.
        expected: u8,
        /// What was given.
        actual: u8,
    },
    /// Not a canonical point of the prime-order group: signatures and agreements with it would prove nothing.
    #[error("the key is not canonical, or of low order")]
    NotCanonical,
}

/// A user's identity key: what their messages, manifests and record seals are signed with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityPublicKey {
    bytes: [u8; 33],
    key: PublicKey,
}

impl IdentityPublicKey {
    /// Its length in bytes, with the type byte.
    pub const LENGTH: usize = 33;

    /// Reads an identity key.
    ///
    /// # Errors
    /// [`KeyError`] unless it is exactly 33 bytes, of type 0x05, canonical and in the prime-order group.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = typed::<33>(bytes, CURVE25519_TYPE)?;
        let key = PublicKey::deserialize(&bytes).map_err(|_| KeyError::NotCanonical)?;
        if key.is_canonical() { Ok(Self { bytes, key }) } else { Err(KeyError::NotCanonical) }
    }

    /// The type byte and the u coordinate.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 33] {
        self.bytes
    }

    /// The bytes, as they enter statements.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.bytes
    }

    /// Whether `signature` is this identity's XEdDSA signature over `message`, in its one canonical form.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        scalar_is_canonical(signature) && self.key.verify_signature(message, signature)
    }
}

impl std::fmt::Debug for IdentityPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityPublicKey({})", Base64Array(self.bytes))
    }
}

impl std::hash::Hash for IdentityPublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl Serialize for IdentityPublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Base64Array(self.bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for IdentityPublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Base64Array::<33>::deserialize(deserializer)?;
        Self::parse(&bytes.0).map_err(serde::de::Error::custom)
    }
}

/// A device's signed or one-time elliptic-curve prekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreKeyPublic([u8; 33]);

impl PreKeyPublic {
    /// Reads a prekey, with the checks of an identity key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        IdentityPublicKey::parse(bytes).map(|key| Self(key.bytes))
    }

    /// The type byte and the u coordinate: what the identity signs.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

/// A device's one-time or last-resort Kyber1024 prekey.
#[derive(Clone, PartialEq, Eq)]
pub struct KyberPublicKey(Vec<u8>);

impl KyberPublicKey {
    /// Its length in bytes, with the type byte.
    pub const LENGTH: usize = 1_569;

    /// Reads a Kyber prekey.
    ///
    /// # Errors
    /// [`KeyError`] unless it is exactly 1,569 bytes of type 0x08.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        typed::<{ Self::LENGTH }>(bytes, KYBER1024_TYPE).map(|bytes| Self(bytes.to_vec()))
    }

    /// The type byte and the key: what the identity signs.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for KyberPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KyberPublicKey")
    }
}

/// The private half of an identity key, held by all messaging devices of one user.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct IdentitySecret {
    secret: [u8; 32],
    #[zeroize(skip)]
    public: IdentityPublicKey,
}

opaque_debug!(IdentitySecret);

impl IdentitySecret {
    /// A fresh identity.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self::from_bytes(*bytes)
    }

    /// The identity with this private scalar; it is clamped (RFC 7748 section 5), as libsignal does.
    #[must_use]
    #[expect(clippy::expect_used, reason = "libsignal takes every 32 bytes for a private key")]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let key = PrivateKey::deserialize(bytes.as_slice()).expect("32 bytes");
        let key_bytes = Zeroizing::new(key.serialize());
        let mut secret = [0; 32];
        secret.copy_from_slice(&key_bytes);
        // A clamped scalar is a multiple of the cofactor and not zero: its point is in the prime-order group.
        let point = key.public_key().expect("a private key has a public key");
        let public = IdentityPublicKey::parse(&point.serialize()).expect("a point of the prime-order group");
        Self { secret, public }
    }

    /// The clamped private scalar, for the device's encrypted profile and for linking.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret)
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> IdentityPublicKey {
        self.public
    }

    /// An XEdDSA signature over `message`. It draws 64 bytes from `rng`; equal bytes give equal signatures.
    #[must_use]
    #[expect(clippy::expect_used, reason = "signing with a well-formed key cannot fail, and gives 64 bytes")]
    pub fn sign<R: CryptoRng + ?Sized>(&self, message: &[u8], rng: &mut R) -> [u8; 64] {
        let key = PrivateKey::deserialize(&self.secret).expect("32 bytes");
        let signature = key.calculate_signature(message, &mut Rng09(rng)).expect("a well-formed key");
        signature.as_ref().try_into().expect("64 bytes")
    }
}

/// What the old identity signs when a user changes their identity key:
/// `"sigilo/v1/identity-change" || lp(tenant) || lp(user) || lp(new identity key)`.
#[must_use]
pub fn change_statement(tenant: TenantId, user: UserId, new: &IdentityPublicKey) -> Vec<u8> {
    let mut writer = Writer::statement("sigilo/v1/identity-change");
    writer.lp(tenant.as_bytes()).lp(user.as_bytes()).lp(new.as_bytes());
    writer.finish()
}

/// Exactly `N` bytes that begin with `expected`.
fn typed<const N: usize>(bytes: &[u8], expected: u8) -> Result<[u8; N], KeyError> {
    let bytes: [u8; N] =
        bytes.try_into().map_err(|_| KeyError::Length { expected: N, actual: bytes.len() })?;
    match bytes.first() {
        Some(actual) if *actual != expected => Err(KeyError::Type { expected, actual: *actual }),
        _ => Ok(bytes),
    }
}

/// Whether the second half of an XEdDSA signature, without the sign bit it lends, is below the group order.
fn scalar_is_canonical(signature: &[u8; 64]) -> bool {
    let mut scalar = [0; 32];
    scalar.copy_from_slice(&signature[32..]);
    scalar[31] &= 0x7f;
    bool::from(Scalar::from_canonical_bytes(scalar).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::test_rng;

    fn key(u: [u8; 32]) -> [u8; 33] {
        let mut bytes = [CURVE25519_TYPE; 33];
        bytes[1..].copy_from_slice(&u);
        bytes
    }

    /// The seven u coordinates of low order that RFC 7748 implementations know, and p + 0, p + 1.
    fn low_order() -> Vec<[u8; 32]> {
        let mut points = vec![[0; 32], [0; 32]];
        points[1][0] = 1;
        points.push([
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
            0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ]);
        points.push([
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
            0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ]);
        for lowest in [0xec, 0xed, 0xee] {
            let mut near_p = [0xff; 32];
            near_p[0] = lowest;
            near_p[31] = 0x7f;
            points.push(near_p);
        }
        points
    }

    #[test]
    fn keys_of_low_order_are_refused() {
        for u in low_order() {
            assert_eq!(IdentityPublicKey::parse(&key(u)), Err(KeyError::NotCanonical), "{u:02x?}");
            assert_eq!(PreKeyPublic::parse(&key(u)), Err(KeyError::NotCanonical), "{u:02x?}");
        }
    }

    #[test]
    fn the_same_point_written_otherwise_is_refused() {
        let mut good = IdentitySecret::generate(&mut test_rng(2)).public().to_bytes();
        IdentityPublicKey::parse(&good).unwrap();
        good[32] |= 0x80;
        assert_eq!(IdentityPublicKey::parse(&good), Err(KeyError::NotCanonical));
        // u = 9 is the base point; 9 + p is the same point.
        let mut base = [0; 32];
        base[0] = 9;
        IdentityPublicKey::parse(&key(base)).unwrap();
        let mut base_plus_p = [0xff; 32];
        base_plus_p[0] = 0xed + 9;
        base_plus_p[31] = 0x7f;
        assert_eq!(IdentityPublicKey::parse(&key(base_plus_p)), Err(KeyError::NotCanonical));
    }

    #[test]
    fn points_with_a_torsion_component_and_of_the_twist_are_refused() {
        use curve25519_dalek::{constants::EIGHT_TORSION, edwards::EdwardsPoint};
        let good = EdwardsPoint::mul_base(&Scalar::from(7u64));
        IdentityPublicKey::parse(&key(good.to_montgomery().0)).unwrap();
        for torsion in &EIGHT_TORSION[1..] {
            let bad = (good + torsion).to_montgomery().0;
            assert_eq!(IdentityPublicKey::parse(&key(bad)), Err(KeyError::NotCanonical));
        }
        let mut twist = [0; 32];
        twist[0] = 2;
        assert_eq!(IdentityPublicKey::parse(&key(twist)), Err(KeyError::NotCanonical));
    }

    #[test]
    fn wrong_lengths_and_types_are_refused() {
        let good = IdentitySecret::generate(&mut test_rng(3)).public().to_bytes();
        let mut long = good.to_vec();
        long.push(0);
        assert_eq!(IdentityPublicKey::parse(&long), Err(KeyError::Length { expected: 33, actual: 34 }));
        assert_eq!(IdentityPublicKey::parse(&good[..32]), Err(KeyError::Length { expected: 33, actual: 32 }));
        assert_eq!(IdentityPublicKey::parse(&[]), Err(KeyError::Length { expected: 33, actual: 0 }));
        let mut typed = good;
        typed[0] = 6;
        assert_eq!(IdentityPublicKey::parse(&typed), Err(KeyError::Type { expected: 5, actual: 6 }));
        assert!(KyberPublicKey::parse(&[8; 1_569]).is_ok());
        assert_eq!(KyberPublicKey::parse(&[7; 1_569]), Err(KeyError::Type { expected: 8, actual: 7 }));
        for length in [0, 1_568, 1_570] {
            assert!(KyberPublicKey::parse(&vec![8; length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_signature_verifies_for_its_message_and_key_only() {
        let mut rng = test_rng(4);
        let secret = IdentitySecret::generate(&mut rng);
        let signature = secret.sign(b"message", &mut rng);
        assert!(secret.public().verify(b"message", &signature));
        assert!(!secret.public().verify(b"massage", &signature));
        assert!(!IdentitySecret::generate(&mut rng).public().verify(b"message", &signature));
        for byte in 0..64 {
            let mut flipped = signature;
            flipped[byte] ^= 1 << (byte % 8);
            assert!(!secret.public().verify(b"message", &flipped), "byte {byte}");
        }
    }

    #[test]
    fn the_second_form_of_a_signature_is_refused() {
        /// The group order, little endian.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut rng = test_rng(5);
        let secret = IdentitySecret::generate(&mut rng);
        let mut signature = secret.sign(b"message", &mut rng);
        let mut carry = 0u16;
        for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        let key = PublicKey::deserialize(secret.public().as_bytes()).unwrap();
        assert!(key.verify_signature(b"message", &signature), "libsignal accepts s + order");
        assert!(!secret.public().verify(b"message", &signature));
    }

    #[test]
    fn a_secret_survives_its_bytes() {
        let mut rng = test_rng(6);
        let secret = IdentitySecret::generate(&mut rng);
        let again = IdentitySecret::from_bytes(*secret.to_bytes());
        assert_eq!(secret.public(), again.public());
        let json = serde_json::to_string(&again.public()).unwrap();
        assert_eq!(serde_json::from_str::<IdentityPublicKey>(&json).unwrap(), secret.public());
    }
}
