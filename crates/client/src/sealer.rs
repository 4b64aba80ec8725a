//! From content to a request: everything a sender computes but the libsignal encryption of the envelopes.
//!
//! Separate from sessions and profile, so that a load tool can seal many messages ahead of time.

use rand_core::CryptoRng;
use sigilo_seal::{
    ArchiveKey, Attachment, Commitment, Content, ContentKey, Context, Envelope, IdentitySecret,
    SealedMessage, message::seal_message,
};
use sigilo_wire::{
    Base64, ClientMessageId, ConversationId, DeviceNumber, SealId, TenantId, Timestamp, UserId,
    message::{AttachmentRef, Deliver, Message, MessageKind, Priority, SendMessage},
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
        let context = self.context(message);
        let (sealed, envelope) =
            seal_message(key, context, &message.content, &self.archive, &self.identity, rng);
        (self.request(message, sealed), envelope)
    }

    fn context(&self, message: &Unsealed) -> Context {
        Context {
            tenant: self.tenant,
            conversation: self.conversation,
            client_message_id: message.client_message_id,
            sender: self.sender,
            device: self.device,
            sent_at: message.sent_at,
            kind: message.kind.as_str().to_owned(),
            seal_id: self.seal_id,
            device_seq: message.device_seq,
            prev_commitment: message.previous,
            seen_commitment: message.seen,
            target_commitment: message.target,
            reply_to_commitment: message.reply_to,
            priority: message.priority.as_str().to_owned(),
            urgent: message.urgent,
            when_open: message.deliver == Deliver::WhenOpen,
            expires_in_s: message.expires_in_s,
            attachments: message.attachments.iter().map(attachment).collect(),
        }
    }

    fn request(&self, message: &Unsealed, sealed: SealedMessage) -> SendMessage {
        SendMessage {
            client_message_id: message.client_message_id,
            message_type: message.kind,
            priority: message.priority,
            sent_at: message.sent_at,
            device_seq: message.device_seq,
            prev_commitment: message.previous.map(Into::into),
            seen_commitment: message.seen.map(Into::into),
            body: Base64(sealed.body),
            commitment: sealed.commitment.into(),
            signature: sealed.signature.into(),
            seal_id: self.seal_id,
            wrapped_key: sealed.wrapped_key.into(),
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

fn attachment(reference: &AttachmentRef) -> Attachment {
    Attachment { file_id: reference.file_id, blob_sha256: reference.sha256.0 }
}

/// The sealed form of a message as the server hands it out: `A` is built from its fields.
#[must_use]
pub fn sealed_message(message: &Message, tenant: TenantId) -> SealedMessage {
    let attachments = message.attachments.iter();
    let context = Context {
        tenant,
        conversation: message.conversation_id,
        client_message_id: message.client_message_id,
        sender: message.sender.user_id,
        device: message.sender.device_id,
        sent_at: message.sent_at,
        kind: message.message_type.as_str().to_owned(),
        seal_id: message.seal_id,
        device_seq: message.device_seq,
        prev_commitment: message.prev_commitment.map(Into::into),
        seen_commitment: message.seen_commitment.map(Into::into),
        target_commitment: message.target_commitment.map(Into::into),
        reply_to_commitment: message.reply_to_commitment.map(Into::into),
        priority: message.priority.as_str().to_owned(),
        urgent: message.urgent,
        when_open: message.deliver == Deliver::WhenOpen,
        expires_in_s: message.expires_in_s,
        attachments: attachments
            .map(|a| Attachment { file_id: a.file_id, blob_sha256: a.sha256.0 })
            .collect(),
    };
    SealedMessage {
        context,
        body: message.body.0.clone(),
        commitment: message.commitment.into(),
        signature: message.signature.0,
        wrapped_key: message.wrapped_key.0,
    }
}
