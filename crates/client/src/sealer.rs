//! From content to a request: everything a sender computes but the libsignal encryption of the envelopes.
//!
//! Separate from sessions and profile, so that a load tool can seal many messages ahead of time.

use rand_core::CryptoRng;
use sigilo_seal::{
    ArchiveKey, Commitment, Content, ContentKey, Context, Envelope, IdentitySecret, Origin,
    message::{commitment, seal_body, sign_message, wrap_key},
    sha256,
};
use sigilo_wire::{
    Base64, Base64Array, ClientMessageId, ConversationId, DeviceNumber, SealId, TenantId, Timestamp, UserId,
    message::{AttachmentRef, Deliver, MessageKind, Priority, SendMessage},
};

/// What one device needs to seal messages in one conversation under one record seal.
#[derive(Debug)]
pub struct Sealer {
    /// The clinic.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The sender.
    pub sender: UserId,
    /// The sending device.
    pub device: DeviceNumber,
    /// The sender's identity key.
    pub identity: IdentitySecret,
    /// The record seal.
    pub seal_id: SealId,
    /// The seal's archive key.
    pub archive: ArchiveKey,
}

/// A message that is to be sealed.
#[derive(Clone, Debug)]
pub struct Unsealed {
    /// The device's id for it.
    pub client_message_id: ClientMessageId,
    /// The device's clock.
    pub sent_at: Timestamp,
    /// What it says.
    pub content: Content,
    /// The kind; it fits the content.
    pub kind: MessageKind,
    /// The priority.
    pub priority: Priority,
    /// The number among those this device sent here, from 1.
    pub device_seq: u64,
    /// The previous one's commitment.
    pub previous: Option<Commitment>,
    /// The newest message shown.
    pub seen: Option<Commitment>,
    /// The message it is about.
    pub target: Option<Commitment>,
    /// The message it answers.
    pub reply_to: Option<Commitment>,
    /// Files of the vault.
    pub attachments: Vec<AttachmentRef>,
    /// Woken with an urgent push.
    pub urgent: bool,
    /// When the server hands it on.
    pub deliver: Deliver,
    /// Seconds until it disappears; 0: never.
    pub expires_in_s: u64,
}

impl Sealer {
    /// Seals a message. The request lacks its envelopes: encrypt [`Envelope::encode`] for each device.
    ///
    /// `key` must be fresh: it is for this context and this content only.
    #[must_use]
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        message: &Unsealed,
        key: &ContentKey,
        rng: &mut R,
    ) -> (SendMessage, Envelope) {
        let mut request = self.unsigned(message);
        let context = Context::of_send(&self.origin(), &request);
        let body = seal_body(key, &context, &message.content.to_json());
        let commitment = commitment(key, &context, &body);
        let wrapped_key = wrap_key(&self.archive, &commitment, key);
        let signature =
            sign_message(&self.identity, &context.digest(), &commitment, &sha256(&wrapped_key), rng);
        request.body = Base64(body);
        request.commitment = commitment.into();
        request.wrapped_key = wrapped_key.into();
        request.signature = signature.into();
        (request, Envelope { key: key.clone(), commitment })
    }

    const fn origin(&self) -> Origin {
        let (tenant, conversation) = (self.tenant, self.conversation);
        Origin { tenant, conversation, sender: self.sender, device: self.device }
    }

    /// The request with every field of the context, and nothing yet of what is computed from it.
    fn unsigned(&self, message: &Unsealed) -> SendMessage {
        SendMessage {
            client_message_id: message.client_message_id,
            message_type: message.kind,
            priority: message.priority,
            sent_at: message.sent_at,
            device_seq: message.device_seq,
            prev_commitment: message.previous.map(Into::into),
            seen_commitment: message.seen.map(Into::into),
            body: Base64::default(),
            commitment: Base64Array([0; 32]),
            signature: Base64Array([0; 64]),
            seal_id: self.seal_id,
            wrapped_key: Base64Array([0; 48]),
            target_commitment: message.target.map(Into::into),
            reply_to_commitment: message.reply_to.map(Into::into),
            attachments: message.attachments.clone(),
            urgent: message.urgent,
            deliver: message.deliver,
            expires_in_s: (message.expires_in_s > 0).then_some(message.expires_in_s),
            envelopes: Vec::new(),
        }
    }
}
