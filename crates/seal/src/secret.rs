//! Secret 32-byte keys: wiped when dropped, compared in constant time, never printed. The bytes have one place on the heap:
//! a key that is moved leaves no copy behind.

use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `Debug` of a secret prints its type and nothing of its value.
macro_rules! opaque_debug {
    ($($name:ident),* $(,)?) => { $(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )* };
}
pub(crate) use opaque_debug;

macro_rules! secret_keys {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => { $(
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name(Box<[u8; 32]>);

        impl $name {
            /// A fresh key.
            pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
                let mut key = Self(Box::new([0; 32]));
                rng.fill_bytes(key.0.as_mut_slice());
                key
            }

            /// The key with these bytes. Whoever has them wipes them.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(Box::new(bytes))
            }

            /// The bytes. Whoever copies them wipes them.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;
            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                let bytes: &[u8; 32] = bytes.try_into()?;
                let mut key = Self(Box::new([0; 32]));
                key.0.copy_from_slice(bytes);
                Ok(key)
            }
        }

        impl Zeroize for $name {
            fn zeroize(&mut self) {
                self.0.as_mut_slice().zeroize();
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.zeroize();
            }
        }

        impl ZeroizeOnDrop for $name {}

        impl ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> Choice {
                self.0.as_slice().ct_eq(other.0.as_slice())
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.ct_eq(other).into()
            }
        }

        impl Eq for $name {}

        opaque_debug!($name);
    )* };
}

secret_keys! {
    /// `CK`: encrypts the body of one message. Used for one context and one content only.
    ContentKey,
    /// `RK`: wraps the content keys of one record seal.
    ArchiveKey,
    /// `FK`: encrypts one file of the vault.
    FileKey,
    /// What the QR code of a new device carries and the server never sees.
    LinkSecret,
    /// What a linked device shows the server, once, for its tokens.
    LinkClaim,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ed25519Secret, Envelope, IdentitySecret, XWingSecret};

    #[test]
    fn debug_output_of_secrets_shows_nothing() {
        let mut rng = crate::testing::test_rng(1);
        assert_eq!(format!("{:?}", ContentKey::from_bytes([0x41; 32])), "ContentKey");
        assert_eq!(format!("{:?}", ArchiveKey::from_bytes([0x41; 32])), "ArchiveKey");
        assert_eq!(format!("{:?}", FileKey::from_bytes([0x41; 32])), "FileKey");
        assert_eq!(format!("{:?}", IdentitySecret::generate(&mut rng)), "IdentitySecret");
        assert_eq!(format!("{:?}", Ed25519Secret::generate(&mut rng)), "Ed25519Secret");
        assert_eq!(format!("{:?}", XWingSecret::generate(&mut rng)), "XWingSecret");
        let envelope =
            Envelope { key: ContentKey::from_bytes([0x41; 32]), commitment: crate::Commitment([0x42; 32]) };
        assert_eq!(format!("{envelope:?}"), "Envelope");
    }

    #[test]
    fn keys_are_equal_when_their_bytes_are() {
        let key = ContentKey::from_bytes([1; 32]);
        assert_eq!(key, key.clone());
        assert_ne!(key, ContentKey::from_bytes([2; 32]));
        assert!(ContentKey::try_from([0; 31].as_slice()).is_err());
    }
}
