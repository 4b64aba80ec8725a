//! X-Wing (X25519 and ML-KEM-768 together) under HPKE: to whom archive keys are sealed.
//!
//! ```text
//! HPKE base or PSK mode (RFC 9180), KEM X-Wing 0x647a, KDF HKDF-SHA256, AEAD AES-256-GCM
//! ```
//! Sources: RFC 9180; draft-connolly-cfrg-xwing-kem; draft-ietf-hpke-pq. A private key is its 32-byte seed.
//!
//! [`XWingPublic::seal_with`] takes the 64 bytes of encapsulation randomness as an argument: whoever knows them
//! and the plaintext can repeat the encapsulation and compare ([`crate::record_seal`]). They must be secret,
//! uniformly distributed, and used for one recipient and one plaintext only.

use std::convert::Infallible;

use hpke::{
    Deserializable as _, HpkeError, Kem, OpModeR, OpModeS, PskBundle, Serializable as _, aead::AesGcm256,
    kdf::HkdfSha256, kem::XWing,
};
use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sigilo_wire::Base64;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{bytes::KeyId, identity::KeyError, primitives::sha256_16, secret::opaque_debug};

type PrivateKey = <XWing as Kem>::PrivateKey;
type PublicKey = <XWing as Kem>::PublicKey;
type EncappedKey = <XWing as Kem>::EncappedKey;

/// The length of an encapsulation in bytes.
pub const ENC_LENGTH: usize = 1_120;
/// The length of encapsulation randomness in bytes.
pub const RANDOMNESS_LENGTH: usize = 64;

/// What HPKE made of a plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulation, 1,120 bytes.
    pub enc: Vec<u8>,
    /// The ciphertext: 16 bytes longer than the plaintext.
    pub ct: Vec<u8>,
}

/// Sealing failed: the key cannot be encapsulated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be sealed to this key")]
pub struct SealingFailed;

/// The sealed bytes were not made for this key, this info and these associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not open with this key")]
pub struct OpeningFailed;

/// A secret both sides have beforehand, and its public name: without it, HPKE's PSK mode opens nothing.
#[derive(Clone, Copy)]
pub struct PreShared<'a> {
    /// The secret.
    pub secret: &'a [u8; 32],
    /// Its name.
    pub id: &'a [u8; 16],
}

impl std::fmt::Debug for PreShared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreShared")
    }
}

impl<'a> PreShared<'a> {
    fn bundle(self) -> Result<PskBundle<'a>, HpkeError> {
        PskBundle::new(self.secret, self.id)
    }
}

/// A public key: 1,216 bytes, with ML-KEM's modulus check done (FIPS 203 section 7.2).
#[derive(Clone, PartialEq, Eq)]
pub struct XWingPublic(Box<[u8; 1_216]>);

impl XWingPublic {
    /// Its length in bytes.
    pub const LENGTH: usize = 1_216;

    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError`] unless it is exactly 1,216 bytes whose ML-KEM part is canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let array: [u8; Self::LENGTH] =
            bytes.try_into().map_err(|_| KeyError::Length { expected: Self::LENGTH, actual: bytes.len() })?;
        PublicKey::from_bytes(&array).map_err(|_| KeyError::NotCanonical)?;
        Ok(Self(Box::new(array)))
    }

    /// The bytes, as they enter statements.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 1_216] {
        &self.0
    }

    /// The name of a history key: the first 16 bytes of SHA-256 of the public key. (A records or moderation
    /// key is named by its root statement instead.)
    #[must_use]
    pub fn history_key_id(&self) -> KeyId {
        KeyId(sha256_16(self.0.as_slice()))
    }

    /// HPKE in base mode with the encapsulation randomness given.
    ///
    /// # Errors
    /// [`SealingFailed`].
    pub fn seal_with(
        &self,
        randomness: &[u8; RANDOMNESS_LENGTH],
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Sealed, SealingFailed> {
        self.seal(&OpModeS::Base, randomness, info, aad, plaintext)
    }

    /// HPKE in PSK mode with the encapsulation randomness given.
    ///
    /// # Errors
    /// [`SealingFailed`].
    pub fn seal_psk_with(
        &self,
        randomness: &[u8; RANDOMNESS_LENGTH],
        shared: PreShared<'_>,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Sealed, SealingFailed> {
        let mode = OpModeS::Psk(shared.bundle().map_err(|_| SealingFailed)?);
        self.seal(&mode, randomness, info, aad, plaintext)
    }

    /// HPKE in base mode with fresh randomness.
    ///
    /// # Errors
    /// [`SealingFailed`].
    pub fn seal_fresh<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Sealed, SealingFailed> {
        let mut randomness = Zeroizing::new([0; RANDOMNESS_LENGTH]);
        rng.fill_bytes(randomness.as_mut_slice());
        self.seal_with(&randomness, info, aad, plaintext)
    }

    fn seal(
        &self,
        mode: &OpModeS<'_, XWing>,
        randomness: &[u8; RANDOMNESS_LENGTH],
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Sealed, SealingFailed> {
        let mut rng = Fixed { bytes: Zeroizing::new(*randomness), drawn: 0 };
        let mut sealed = || {
            let key = PublicKey::from_bytes(self.0.as_slice())?;
            let (enc, mut context) =
                hpke::setup_sender_with_rng::<AesGcm256, HkdfSha256, XWing>(mode, &key, info, &mut rng)?;
            Ok(Sealed { enc: enc.to_bytes().to_vec(), ct: context.seal(plaintext, aad)? })
        };
        let sealed = sealed().map_err(|_: HpkeError| SealingFailed)?;
        // INVARIANT: the crate draws the 64 bytes once and nothing else. Another version that draws otherwise
        // would make copies that nobody can recompute, so it must not seal at all.
        if rng.drawn == RANDOMNESS_LENGTH { Ok(sealed) } else { Err(SealingFailed) }
    }
}

impl std::fmt::Debug for XWingPublic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "XWingPublic({})", self.history_key_id())
    }
}

impl Serialize for XWingPublic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Base64(self.0.to_vec()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for XWingPublic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Base64::deserialize(deserializer)?;
        Self::parse(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A private key: its seed; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct XWingSecret([u8; 32]);

opaque_debug!(XWingSecret);

impl XWingSecret {
    /// A fresh key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Self([0; 32]);
        rng.fill_bytes(&mut secret.0);
        secret
    }

    /// The key of this seed.
    #[must_use]
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The seed, for the device's encrypted profile, linking, or an officer's file.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> XWingPublic {
        let mut bytes = Box::new([0; XWingPublic::LENGTH]);
        bytes.copy_from_slice(&XWing::sk_to_pk(&self.expanded()).to_bytes());
        XWingPublic(bytes)
    }

    /// Opens what was sealed to the public half.
    ///
    /// # Errors
    /// [`OpeningFailed`] when the key, info, associated data or sealed bytes are others.
    pub fn open(
        &self,
        sealed: &Sealed,
        info: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpeningFailed> {
        self.open_in(&OpModeR::Base, sealed, info, aad)
    }

    /// Opens what was sealed to the public half in PSK mode.
    ///
    /// # Errors
    /// [`OpeningFailed`] when the key, the secret, its name, info, associated data or sealed bytes are others.
    pub fn open_psk(
        &self,
        sealed: &Sealed,
        shared: PreShared<'_>,
        info: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpeningFailed> {
        let mode = OpModeR::Psk(shared.bundle().map_err(|_| OpeningFailed)?);
        self.open_in(&mode, sealed, info, aad)
    }

    fn open_in(
        &self,
        mode: &OpModeR<'_, XWing>,
        sealed: &Sealed,
        info: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpeningFailed> {
        let opened = || {
            let enc = EncappedKey::from_bytes(&sealed.enc)?;
            let mut context =
                hpke::setup_receiver::<AesGcm256, HkdfSha256, XWing>(mode, &self.expanded(), &enc, info)?;
            context.open(&sealed.ct, aad)
        };
        opened().map(Zeroizing::new).map_err(|_: HpkeError| OpeningFailed)
    }

    #[expect(clippy::expect_used, reason = "every 32 bytes are an X-Wing seed")]
    fn expanded(&self) -> PrivateKey {
        PrivateKey::from_bytes(&self.0).expect("32 bytes")
    }
}

/// Hands out 64 given bytes and counts; what is drawn beyond them is zero, and the caller sees the count.
struct Fixed {
    bytes: Zeroizing<[u8; RANDOMNESS_LENGTH]>,
    drawn: usize,
}

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        let left = self.bytes.get(self.drawn..).unwrap_or_default();
        let mut source = left.iter().copied().chain(std::iter::repeat(0));
        destination.fill_with(|| source.next().unwrap_or_default());
        self.drawn = self.drawn.saturating_add(destination.len());
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::test_rng;

    #[test]
    fn equal_randomness_gives_equal_bytes() {
        let public = XWingSecret::from_seed([9; 32]).public();
        let first = public.seal_with(&[1; 64], b"info", b"aad", b"plaintext").unwrap();
        assert_eq!(first, public.seal_with(&[1; 64], b"info", b"aad", b"plaintext").unwrap());
        assert_ne!(first, public.seal_with(&[2; 64], b"info", b"aad", b"plaintext").unwrap());
        assert_eq!(first.enc.len(), ENC_LENGTH);
        assert_eq!(first.ct.len(), 9 + 16);
    }

    #[test]
    fn only_the_right_key_info_aad_and_bytes_open() {
        let mut rng = test_rng(8);
        let secret = XWingSecret::generate(&mut rng);
        let sealed = secret.public().seal_fresh(&mut rng, b"info", b"aad", b"plaintext").unwrap();
        assert_eq!(secret.open(&sealed, b"info", b"aad").unwrap().as_slice(), b"plaintext");
        assert_eq!(secret.open(&sealed, b"other", b"aad"), Err(OpeningFailed));
        assert_eq!(secret.open(&sealed, b"info", b"other"), Err(OpeningFailed));
        let stranger = XWingSecret::generate(&mut rng);
        assert_eq!(stranger.open(&sealed, b"info", b"aad"), Err(OpeningFailed));
        for byte in (0..ENC_LENGTH).step_by(37) {
            let mut flipped = sealed.clone();
            flipped.enc[byte] ^= 1;
            assert_eq!(secret.open(&flipped, b"info", b"aad"), Err(OpeningFailed), "enc byte {byte}");
        }
        for byte in 0..sealed.ct.len() {
            let mut flipped = sealed.clone();
            flipped.ct[byte] ^= 1;
            assert_eq!(secret.open(&flipped, b"info", b"aad"), Err(OpeningFailed), "ct byte {byte}");
        }
        let short = Sealed { enc: sealed.enc[1..].to_vec(), ct: sealed.ct };
        assert_eq!(secret.open(&short, b"info", b"aad"), Err(OpeningFailed));
    }

    #[test]
    fn keys_of_a_wrong_length_or_outside_the_modulus_are_refused() {
        let good = XWingSecret::from_seed([3; 32]).public();
        assert_eq!(XWingPublic::parse(good.as_bytes()).unwrap(), good);
        assert!(XWingPublic::parse(&good.as_bytes()[1..]).is_err());
        let mut outside = *good.as_bytes();
        outside[..3].fill(0xff);
        assert_eq!(XWingPublic::parse(&outside), Err(KeyError::NotCanonical));
    }
}
