//! Public values of a fixed length, each its own type: a commitment cannot be passed for a key id.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sigilo_wire::Base64Array;
use subtle::{Choice, ConstantTimeEq};

macro_rules! public_bytes {
    ($($(#[$meta:meta])* $name:ident: $length:literal),* $(,)?) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Its length in bytes.
            pub const LENGTH: usize = $length;

            /// The bytes, as they enter statements.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl From<Base64Array<$length>> for $name {
            fn from(bytes: Base64Array<$length>) -> Self {
                Self(bytes.0)
            }
        }

        impl From<$name> for Base64Array<$length> {
            fn from(value: $name) -> Self {
                Self(value.0)
            }
        }

        impl ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> Choice {
                self.0.ct_eq(&other.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), Base64Array(self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Base64Array(self.0).fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Base64Array(self.0).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Base64Array::deserialize(deserializer).map(|bytes| Self(bytes.0))
            }
        }
    )* };
}

public_bytes! {
    /// `C`: what binds a message's context and body to the one key that opens it, and names the message in
    /// other messages (edits, replies, chains). Public.
    Commitment: 32,
    /// `kc`: what binds a file's blob to the one key that opens it. Public, and part of the blob.
    FileCommitment: 32,
    /// The name of a key: the first 16 bytes of SHA-256 of its root statement, or of a history public key.
    KeyId: 16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_base64_in_json() {
        let id = KeyId([7; 16]);
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""BwcHBwcHBwcHBwcHBwcHBw==""#);
        assert_eq!(serde_json::from_str::<KeyId>(r#""BwcHBwcHBwcHBwcHBwcHBw==""#).unwrap(), id);
        assert!(serde_json::from_str::<Commitment>(r#""BwcHBwcHBwcHBwcHBwcHBw==""#).is_err());
        assert_eq!(format!("{id:?}"), "KeyId(BwcHBwcHBwcHBwcHBwcHBw==)");
    }
}
