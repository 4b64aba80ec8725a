//! From the API's types to the protocol's and back: the one place where the fields of `A`, of a record seal,
//! of a receipt and of a refusal are taken from requests and answers, so that the server and the client cannot take them
//! differently.

use sigilo_wire::{
    Base64, ConversationId, DeviceNumber, TenantId, UserId, keys,
    message::{self, AttachmentRef, CommitmentBytes, Deliver, SendMessage},
    policy,
    seal::{self, NewSeal, SealCopy, SealMember},
};

use crate::{
    bytes::Commitment,
    context::{Attachment, Context},
    decision::Decision,
    identity::{IdentityPublicKey, KeyError},
    manifest::SignedManifest,
    message::SealedMessage,
    primitives::sha256,
    receipt::Receipt,
    record_seal::{Member, RecordSeal, SealHeader, SealedCopy},
    root::SignedRootStatement,
};

/// What the server knows of a send without reading it: where it came in, and from whose device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The clinic.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The authenticated user.
    pub sender: UserId,
    /// The authenticated device.
    pub device: DeviceNumber,
}

impl Origin {
    /// The origin of a stored message.
    #[must_use]
    pub const fn of_message(tenant: TenantId, stored: &message::Message) -> Self {
        let (conversation, sender) = (stored.conversation_id, &stored.sender);
        Self { tenant, conversation, sender: sender.user_id, device: sender.device_id }
    }

    /// The origin of a stored seal.
    #[must_use]
    pub const fn of_seal(tenant: TenantId, stored: &seal::Seal) -> Self {
        let conversation = stored.conversation_id;
        Self { tenant, conversation, sender: stored.sender_id, device: stored.device_id }
    }
}

impl Context {
    /// `A` of a message that is being sent.
    #[must_use]
    pub fn of_send(origin: &Origin, send: &SendMessage) -> Self {
        Self {
            tenant: origin.tenant,
            conversation: origin.conversation,
            client_message_id: send.client_message_id,
            sender: origin.sender,
            device: origin.device,
            sent_at: send.sent_at,
            kind: send.message_type.as_str().to_owned(),
            seal_id: send.seal_id,
            device_seq: send.device_seq,
            prev_commitment: commitment(send.prev_commitment),
            seen_commitment: commitment(send.seen_commitment),
            target_commitment: commitment(send.target_commitment),
            reply_to_commitment: commitment(send.reply_to_commitment),
            priority: send.priority.as_str().to_owned(),
            urgent: send.urgent,
            when_open: send.deliver == Deliver::WhenOpen,
            expires_in_s: send.expires_in_s.unwrap_or(0),
            attachments: send.attachments.iter().map(Attachment::of_reference).collect(),
        }
    }

    /// `A` of a stored message.
    #[must_use]
    pub fn of_message(tenant: TenantId, stored: &message::Message) -> Self {
        let file = |a: &message::Attachment| Attachment { file_id: a.file_id, blob_sha256: a.sha256.0 };
        Self {
            tenant,
            conversation: stored.conversation_id,
            client_message_id: stored.client_message_id,
            sender: stored.sender.user_id,
            device: stored.sender.device_id,
            sent_at: stored.sent_at,
            kind: stored.message_type.as_str().to_owned(),
            seal_id: stored.seal_id,
            device_seq: stored.device_seq,
            prev_commitment: commitment(stored.prev_commitment),
            seen_commitment: commitment(stored.seen_commitment),
            target_commitment: commitment(stored.target_commitment),
            reply_to_commitment: commitment(stored.reply_to_commitment),
            priority: stored.priority.as_str().to_owned(),
            urgent: stored.urgent,
            when_open: stored.deliver == Deliver::WhenOpen,
            expires_in_s: stored.expires_in_s,
            attachments: stored.attachments.iter().map(file).collect(),
        }
    }
}

impl Attachment {
    fn of_reference(reference: &AttachmentRef) -> Self {
        Self { file_id: reference.file_id, blob_sha256: reference.sha256.0 }
    }
}

impl SealedMessage {
    /// A message that is being sent, as its receivers will check it.
    #[must_use]
    pub fn of_send(origin: &Origin, send: &SendMessage) -> Self {
        Self {
            context: Context::of_send(origin, send),
            body: send.body.to_vec(),
            commitment: send.commitment.into(),
            signature: send.signature.0,
            wrapped_key: send.wrapped_key.0,
        }
    }

    /// A stored message.
    #[must_use]
    pub fn of_message(tenant: TenantId, stored: &message::Message) -> Self {
        Self {
            context: Context::of_message(tenant, stored),
            body: stored.body.to_vec(),
            commitment: stored.commitment.into(),
            signature: stored.signature.0,
            wrapped_key: stored.wrapped_key.0,
        }
    }
}

impl Receipt {
    /// The receipt in the answer to a send, as its signature covers it.
    #[must_use]
    pub fn of_accepted(origin: &Origin, send: &SendMessage, accepted: &message::Accepted) -> Self {
        Self {
            tenant: origin.tenant,
            conversation: origin.conversation,
            conversation_seq: sequence(accepted.conversation_seq),
            message_id: accepted.message_id,
            commitment: send.commitment.into(),
            signature_sha256: sha256(&send.signature.0),
            wrapped_key_sha256: sha256(&send.wrapped_key.0),
            received_at: accepted.received_at,
            audit_leaf: accepted.receipt.audit_leaf.0,
            policies: accepted.receipt.policies.clone(),
            policy_set_hash: accepted.receipt.policy_set.0,
        }
    }

    /// The receipt of a stored message, as its signature covers it.
    #[must_use]
    pub fn of_message(tenant: TenantId, stored: &message::Message) -> Self {
        Self {
            tenant,
            conversation: stored.conversation_id,
            conversation_seq: sequence(stored.conversation_seq),
            message_id: stored.id,
            commitment: stored.commitment.into(),
            signature_sha256: sha256(&stored.signature.0),
            wrapped_key_sha256: sha256(&stored.wrapped_key.0),
            received_at: stored.received_at,
            audit_leaf: stored.receipt.audit_leaf.0,
            policies: stored.receipt.policies.clone(),
            policy_set_hash: stored.receipt.policy_set.0,
        }
    }
}

impl Decision {
    /// The refusal in an answer, as its signature covers it.
    #[must_use]
    pub fn of_answer(tenant: TenantId, answer: &policy::Decision) -> Self {
        Self {
            tenant,
            actor: answer.actor_id,
            device: answer.device_id,
            action: answer.action.clone(),
            request_sha256: answer.request_sha256.0,
            outcome: answer.outcome.clone(),
            policies: answer.policies.clone(),
            policy_set_hash: answer.policy_set.0,
            decided_at: answer.decided_at,
            audit_leaf: answer.audit_leaf.0,
        }
    }
}

impl RecordSeal {
    /// A seal as its device published it.
    ///
    /// # Errors
    /// [`KeyError`] when a member's identity key is not valid.
    pub fn of_new(origin: &Origin, new: &NewSeal) -> Result<Self, KeyError> {
        let header = SealHeader {
            tenant: origin.tenant,
            conversation: origin.conversation,
            seal_id: new.seal_id,
            sender: origin.sender,
            device: origin.device,
        };
        let member = |m: &SealMember| {
            let identity_key = IdentityPublicKey::parse(&m.identity_key.0)?;
            Ok(Member { user: m.user_id, identity_key, history_key_id: m.history_key_id.into() })
        };
        let copy = |c: &SealCopy| SealedCopy {
            key_id: c.key_id.into(),
            enc: c.enc.to_vec(),
            ct: c.ciphertext.to_vec(),
        };
        Ok(Self {
            header,
            created_at: new.created_at,
            members: new.members.iter().map(member).collect::<Result<_, KeyError>>()?,
            copies: new.copies.iter().map(copy).collect(),
            signature: new.signature.0,
        })
    }

    /// What a device publishes.
    #[must_use]
    pub fn to_new(&self) -> NewSeal {
        let member = |m: &Member| SealMember {
            user_id: m.user,
            identity_key: m.identity_key.to_bytes().into(),
            history_key_id: m.history_key_id.into(),
        };
        let copy = |c: &SealedCopy| SealCopy {
            key_id: c.key_id.into(),
            enc: Base64(c.enc.clone()),
            ciphertext: Base64(c.ct.clone()),
        };
        NewSeal {
            seal_id: self.header.seal_id,
            created_at: self.created_at,
            members: self.members.iter().map(member).collect(),
            copies: self.copies.iter().map(copy).collect(),
            signature: self.signature.into(),
        }
    }
}

macro_rules! signed_statements {
    ($($name:ident),*) => { $(
        impl From<&keys::$name> for $name {
            fn from(signed: &keys::$name) -> Self {
                Self { statement: signed.statement.to_vec(), signature: signed.signature.0 }
            }
        }

        impl From<&$name> for keys::$name {
            fn from(signed: &$name) -> Self {
                Self { statement: Base64(signed.statement.clone()), signature: signed.signature.into() }
            }
        }
    )* };
}

signed_statements!(SignedManifest, SignedRootStatement);

fn commitment(bytes: Option<CommitmentBytes>) -> Option<Commitment> {
    bytes.map(Commitment::from)
}

/// Sequences count from 1; a negative one is no message's, and neither is 0, which no signature covers.
fn sequence(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
