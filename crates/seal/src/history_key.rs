//! A history key on its way from one of a user's devices to another: after a device was removed, the ones that stay
//! get the new key through their sessions, which the removed one has no part in.
//!
//! ```text
//! plaintext of a libsignal message  u8(3) || lp(seed) || i64be(created_at)
//! ```
//! The first byte tells it from the key of a message (1) and the signal of a call (2).

use sigilo_wire::Timestamp;
use zeroize::Zeroizing;

use crate::{
    encode::{DecodeError, Reader, Writer},
    secret::opaque_debug,
    xwing::XWingSecret,
};

const TYPE: u8 = 3;

/// A history key and since when the user has it.
#[derive(Clone)]
pub struct HistoryKeyEnvelope {
    /// The key.
    pub key: XWingSecret,
    /// When it was made.
    pub created_at: Timestamp,
}

opaque_debug!(HistoryKeyEnvelope);

impl HistoryKeyEnvelope {
    /// The bytes that are encrypted.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new();
        writer.u8(TYPE).lp(self.key.seed().as_slice()).time(self.created_at);
        Zeroizing::new(writer.finish())
    }

    /// Reads what was decrypted.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Self::encode`] would not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != TYPE {
            return Err(DecodeError::Value("type"));
        }
        let key = XWingSecret::from_seed(reader.lp_array("seed")?);
        let created_at = reader.time()?;
        reader.finish()?;
        Ok(Self { key, created_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_nothing_else_is_one() {
        let envelope = HistoryKeyEnvelope {
            key: XWingSecret::from_seed([5; 32]),
            created_at: Timestamp::from_micros(7),
        };
        let bytes = envelope.encode();
        let read = HistoryKeyEnvelope::decode(&bytes).unwrap();
        assert_eq!((read.key.seed(), read.created_at), (envelope.key.seed(), envelope.created_at));
        assert!(HistoryKeyEnvelope::decode(&bytes[1..]).is_err());
        assert!(HistoryKeyEnvelope::decode(&bytes[..bytes.len() - 1]).is_err());
        for other in [0, 1, 2, 4] {
            let mut changed = bytes.to_vec();
            changed[0] = other;
            assert_eq!(HistoryKeyEnvelope::decode(&changed).unwrap_err(), DecodeError::Value("type"));
        }
        // Neither is one the key of a message, nor the other way round.
        let message = crate::Envelope {
            key: crate::ContentKey::from_bytes([1; 32]),
            commitment: crate::Commitment([2; 32]),
        };
        assert!(HistoryKeyEnvelope::decode(&message.encode()).is_err());
        assert!(crate::Envelope::decode(&bytes).is_err());
    }
}
