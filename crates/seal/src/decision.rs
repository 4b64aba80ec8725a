//! What the server says of an act it refused by the clinic's rules: whoever asked can show it to others.
//!
//! ```text
//! request    SHA-256("sigilo/v1/request" || lp(method) || lp(target) || lp(body))
//! statement  "sigilo/v1/decision" || lp(tenant) || lp(actor) || lp(device) || lp(action) || lp(request) || lp(outcome)
//!            || list(lp(policy_id)) || lp(policy_set_hash) || i64be(decided_at) || lp(audit_leaf)
//! signature  Ed25519 by the clinic's receipt key over the statement
//! audit leaf HMAC-SHA256(32-byte salt of the entry, canonical entry)
//! ```
//! `method`, `target` and `body` are the bytes of the request as it was sent: see [`request_hash`].

use sha2::{Digest as _, Sha256};
use sigilo_wire::{DeviceId, TenantId, Timestamp, UserId};

use crate::{
    ed25519::{Ed25519Public, Ed25519Secret},
    encode::{DecodeError, Reader, Writer},
};

const LABEL: &str = "sigilo/v1/decision";
const REQUEST_LABEL: &str = "sigilo/v1/request";

/// The method that stands for a frame of a WebSocket in [`request_hash`].
pub const FRAME: &str = "FRAME";
/// The one outcome that is signed.
pub const DENIED: &str = "denied";

/// The fields of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The clinic.
    pub tenant: TenantId,
    /// Who asked.
    pub actor: UserId,
    /// On which device.
    pub device: DeviceId,
    /// The act, as the rules name it.
    pub action: String,
    /// What was asked: see [`request_hash`].
    pub request_sha256: [u8; 32],
    /// What came of it: [`DENIED`].
    pub outcome: String,
    /// The policies that decided, in the order the server names them.
    pub policies: Vec<String>,
    /// SHA-256 of the policy set that was in force.
    pub policy_set_hash: [u8; 32],
    /// When.
    pub decided_at: Timestamp,
    /// The leaf of the audit entry, which the ledger will hold: see [`audit_leaf`](crate::receipt::audit_leaf).
    pub audit_leaf: [u8; 32],
}

/// The hash of a request. `method` is HTTP's, in capitals, and `target` the path with its final slash and, after `?`, the
/// query as it was sent; `body` is the body's bytes, none when the endpoint takes none. For a frame of a WebSocket
/// `method` is [`FRAME`], `target` is empty and `body` the frame's text.
#[must_use]
pub fn request_hash(method: &str, target: &str, body: &[u8]) -> [u8; 32] {
    let mut writer = Writer::statement(REQUEST_LABEL);
    writer.lp(method.as_bytes()).lp(target.as_bytes()).lp(body);
    Sha256::digest(writer.finish()).into()
}

impl Decision {
    /// The bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        writer.lp(self.tenant.as_bytes()).lp(self.actor.as_bytes()).lp(self.device.as_bytes());
        writer.lp(self.action.as_bytes()).lp(&self.request_sha256).lp(self.outcome.as_bytes());
        writer.list(&self.policies, |w, policy| {
            w.lp(policy.as_bytes());
        });
        writer.lp(&self.policy_set_hash).time(self.decided_at).lp(&self.audit_leaf);
        writer.finish()
    }

    /// Reads the bytes of a decision, without any signature.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Self::encode`] would not write.
    pub fn decode(statement: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let decision = Self {
            tenant: TenantId::from_bytes(reader.lp_array("tenant")?),
            actor: UserId::from_bytes(reader.lp_array("actor")?),
            device: DeviceId::from_bytes(reader.lp_array("device")?),
            action: reader.text("action")?.to_owned(),
            request_sha256: reader.lp_array("request_sha256")?,
            outcome: reader.text("outcome")?.to_owned(),
            policies: reader.list(|r| Ok(r.text("policies")?.to_owned()))?,
            policy_set_hash: reader.lp_array("policy_set_hash")?,
            decided_at: reader.time()?,
            audit_leaf: reader.lp_array("audit_leaf")?,
        };
        reader.finish()?;
        Ok(decision)
    }

    /// Signs the decision with the clinic's receipt key.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Receipt, receipt::audit_leaf, testing::test_rng};

    fn decision() -> Decision {
        Decision {
            tenant: TenantId::from_bytes([1; 16]),
            actor: UserId::from_bytes([2; 16]),
            device: DeviceId::from_bytes([3; 16]),
            action: "send_message".into(),
            request_sha256: request_hash("POST", "/api/chat/conversations/", b"{}"),
            outcome: DENIED.into(),
            policies: vec!["chat-hours".into(), "blocks".into()],
            policy_set_hash: [4; 32],
            decided_at: Timestamp::from_micros(5),
            audit_leaf: audit_leaf(&[6; 32], b"entry"),
        }
    }

    #[test]
    fn a_decision_is_read_back_and_verifies() {
        let key = Ed25519Secret::generate(&mut test_rng(50));
        let signature = decision().sign(&key);
        assert_eq!(Decision::decode(&decision().encode()).unwrap(), decision());
        assert!(decision().verify(&key.public(), &signature));
        assert!(!decision().verify(&Ed25519Secret::generate(&mut test_rng(51)).public(), &signature));
        // A receipt is another statement.
        assert!(Receipt::decode(&decision().encode()).is_err());
    }

    #[test]
    fn every_changed_field_is_refused() {
        let key = Ed25519Secret::generate(&mut test_rng(52));
        let signature = decision().sign(&key);
        let changes: [fn(&mut Decision); 12] = [
            |d| d.tenant = TenantId::from_bytes([0; 16]),
            |d| d.actor = UserId::from_bytes([0; 16]),
            |d| d.device = DeviceId::from_bytes([0; 16]),
            |d| d.action = "publish_seal".into(),
            |d| d.request_sha256 = request_hash("POST", "/api/chat/conversations/", b"{ }"),
            |d| d.outcome = "allowed".into(),
            |d| d.policies.reverse(),
            |d| d.policies = vec!["chat-hoursblocks".into()],
            |d| d.policies.clear(),
            |d| d.policy_set_hash = [0; 32],
            |d| d.decided_at = Timestamp::from_micros(6),
            |d| d.audit_leaf = audit_leaf(&[0; 32], b"entry"),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = decision();
            change(&mut changed);
            assert!(!changed.verify(&key.public(), &signature), "change {number}");
        }
    }

    #[test]
    fn requests_that_differ_anywhere_have_other_hashes() {
        let hash = request_hash("POST", "/api/a/", b"{}");
        for other in [
            request_hash("PUT", "/api/a/", b"{}"),
            request_hash("POST", "/api/a/?b=1", b"{}"),
            request_hash("POST", "/api/a/{}", b""),
            request_hash("POST", "/api/a/", b""),
            request_hash(FRAME, "", b"{}"),
        ] {
            assert_ne!(hash, other);
        }
    }

    #[test]
    fn bytes_too_many_or_too_few_are_no_decision() {
        let statement = decision().encode();
        for end in 0..statement.len() {
            assert!(Decision::decode(&statement[..end]).is_err(), "{end}");
        }
        assert!(Decision::decode(&[statement.as_slice(), &[0]].concat()).is_err());
    }
}
