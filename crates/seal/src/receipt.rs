//! What the server promises about a message it accepted: inclusion in the ledger within 60 seconds.
//!
//! ```text
//! statement  "sigilo/v1/receipt" || lp(tenant) || lp(conversation) || u64be(conversation_seq) || lp(message_id)
//!            || lp(C) || lp(SHA-256(S)) || lp(SHA-256(W)) || i64be(received_at) || lp(audit_leaf)
//!            || list(lp(policy_id)) || lp(policy_set_hash)
//! signature  Ed25519 by the clinic's receipt key over the statement
//! audit leaf HMAC-SHA256(32-byte salt of the entry, canonical entry)
//! ```
//! The leaf is salted so that whoever has the public log cannot guess entries; whoever has the salt and the
//! entry can prove that it is the logged one.

use sigilo_wire::{ConversationId, MessageId, TenantId, Timestamp};

use crate::{
    bytes::Commitment,
    ed25519::{Ed25519Public, Ed25519Secret},
    encode::{DecodeError, Reader, Writer},
    primitives::hmac_sha256,
};

const LABEL: &str = "sigilo/v1/receipt";

/// The fields of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The clinic.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message's place in the conversation, from 1.
    pub conversation_seq: u64,
    /// The message, as the server names it.
    pub message_id: MessageId,
    /// `C`.
    pub commitment: Commitment,
    /// SHA-256 of the sender's signature `S`.
    pub signature_sha256: [u8; 32],
    /// SHA-256 of the wrapped key `W`.
    pub wrapped_key_sha256: [u8; 32],
    /// The official time of the message.
    pub received_at: Timestamp,
    /// The leaf that the ledger will hold: see [`audit_leaf`].
    pub audit_leaf: [u8; 32],
    /// The policies that allowed the message, in the order the server names them.
    pub policies: Vec<String>,
    /// SHA-256 of the policy set that was in force.
    pub policy_set_hash: [u8; 32],
}

impl Receipt {
    /// The bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        writer.lp(self.tenant.as_bytes()).lp(self.conversation.as_bytes()).u64be(self.conversation_seq);
        writer.lp(self.message_id.as_bytes()).lp(self.commitment.as_bytes());
        writer.lp(&self.signature_sha256).lp(&self.wrapped_key_sha256).time(self.received_at);
        writer.lp(&self.audit_leaf);
        writer.list(&self.policies, |w, policy| {
            w.lp(policy.as_bytes());
        });
        writer.lp(&self.policy_set_hash);
        writer.finish()
    }

    /// Reads the bytes of a receipt, without any signature.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Self::encode`] would not write.
    pub fn decode(statement: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let receipt = Self {
            tenant: TenantId::from_bytes(reader.lp_array("tenant")?),
            conversation: ConversationId::from_bytes(reader.lp_array("conversation")?),
            conversation_seq: reader.u64be()?,
            message_id: MessageId::from_bytes(reader.lp_array("message_id")?),
            commitment: Commitment(reader.lp_array("commitment")?),
            signature_sha256: reader.lp_array("signature_sha256")?,
            wrapped_key_sha256: reader.lp_array("wrapped_key_sha256")?,
            received_at: reader.time()?,
            audit_leaf: reader.lp_array("audit_leaf")?,
            policies: reader.list(|r| Ok(r.text("policies")?.to_owned()))?,
            policy_set_hash: reader.lp_array("policy_set_hash")?,
        };
        reader.finish()?;
        Ok(receipt)
    }

    /// Signs the receipt with the clinic's receipt key.
    #[must_use]
    pub fn sign(&self, key: &Ed25519Secret) -> [u8; 64] {
        key.sign(&self.encode())
    }

    /// Whether the receipt key signed exactly these fields.
    #[must_use]
    pub fn verify(&self, key: &Ed25519Public, signature: &[u8; 64]) -> bool {
        key.verify(&self.encode(), signature)
    }
}

/// The ledger's leaf of an audit entry: HMAC-SHA256(salt, canonical entry).
#[must_use]
pub fn audit_leaf(salt: &[u8; 32], canonical: &[u8]) -> [u8; 32] {
    hmac_sha256(salt, &[canonical])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::test_rng;

    fn receipt() -> Receipt {
        Receipt {
            tenant: TenantId::from_bytes([1; 16]),
            conversation: ConversationId::from_bytes([2; 16]),
            conversation_seq: 3,
            message_id: MessageId::from_bytes([4; 16]),
            commitment: Commitment([5; 32]),
            signature_sha256: [6; 32],
            wrapped_key_sha256: [7; 32],
            received_at: Timestamp::from_micros(8),
            audit_leaf: audit_leaf(&[9; 32], b"entry"),
            policies: vec!["relationship".into(), "membership".into()],
            policy_set_hash: [10; 32],
        }
    }

    #[test]
    fn a_receipt_is_read_back_and_verifies() {
        let key = Ed25519Secret::generate(&mut test_rng(40));
        let signature = receipt().sign(&key);
        assert_eq!(Receipt::decode(&receipt().encode()).unwrap(), receipt());
        assert!(receipt().verify(&key.public(), &signature));
    }

    #[test]
    fn every_changed_field_is_refused() {
        let key = Ed25519Secret::generate(&mut test_rng(41));
        let signature = receipt().sign(&key);
        let changes: [fn(&mut Receipt); 13] = [
            |r| r.tenant = TenantId::from_bytes([0; 16]),
            |r| r.conversation = ConversationId::from_bytes([0; 16]),
            |r| r.conversation_seq += 1,
            |r| r.message_id = MessageId::from_bytes([0; 16]),
            |r| r.commitment = Commitment([0; 32]),
            |r| r.signature_sha256 = [0; 32],
            |r| r.wrapped_key_sha256 = [0; 32],
            |r| r.received_at = Timestamp::from_micros(9),
            |r| r.audit_leaf = audit_leaf(&[0; 32], b"entry"),
            |r| r.audit_leaf = audit_leaf(&[9; 32], b"another entry"),
            |r| r.policies.reverse(),
            |r| r.policies = vec!["relationshipmembership".into()],
            |r| r.policy_set_hash = [0; 32],
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = receipt();
            change(&mut changed);
            assert!(!changed.verify(&key.public(), &signature), "change {number}");
        }
    }
}
