//! Secret bytes as the profile keeps them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sigilo_wire::Base64;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret bytes: wiped when dropped, not printed.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SecretBytes(pub(crate) Vec<u8>);

impl SecretBytes {
    /// The bytes, when there are exactly 32.
    pub(crate) fn key(&self) -> crate::Result<[u8; 32]> {
        self.0.as_slice().try_into().map_err(|_| crate::Error::Profile("a key has a wrong length".into()))
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Base64(self.0.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Base64::deserialize(deserializer).map(|bytes| Self(bytes.0))
    }
}
