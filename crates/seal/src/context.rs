//! `A`: everything about a message but its content, bound to it by encryption, commitment and signature.
//!
//! ```text
//! A  "sigilo/v1/context" || lp(tenant) || lp(conversation) || lp(client_message_id) || lp(sender) || u8(device)
//!    || i64be(sent_at) || lp(kind) || lp(seal_id) || u64be(device_seq) || lp(prev_C) || lp(seen_C)
//!    || lp(target_C) || lp(reply_to_C) || lp(priority) || u8(flags: 1 urgent, 2 when_open) || u64be(expires_in_s)
//!    || list(lp(file_id) || lp(blob_sha256))
//! ```
//! `A` is never sent: both sides build it from the message's fields, so a field that was changed on the way
//! shows as a message that is not authentic.

use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, FileId, SealId, TenantId, Timestamp, UserId,
};

use crate::{bytes::Commitment, encode::Writer, primitives::sha256};

const LABEL: &str = "sigilo/v1/context";
const URGENT: u8 = 1;
const WHEN_OPEN: u8 = 2;

/// A file of the vault that a message refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The file.
    pub file_id: FileId,
    /// SHA-256 of the file's ciphertext.
    pub blob_sha256: [u8; 32],
}

/// The fields of `A`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The clinic.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message, as its device named it.
    pub client_message_id: ClientMessageId,
    /// Who sends.
    pub sender: UserId,
    /// With which of their devices.
    pub device: DeviceNumber,
    /// When, as the sender claims.
    pub sent_at: Timestamp,
    /// The message's kind as in the API: text, file, edit, ...
    pub kind: String,
    /// The record seal whose archive key wraps the content key.
    pub seal_id: SealId,
    /// The how-manieth message of this device in the conversation, from 1.
    pub device_seq: u64,
    /// `C` of the device's previous message in the conversation.
    pub prev_commitment: Option<Commitment>,
    /// `C` of the newest message the device has shown.
    pub seen_commitment: Option<Commitment>,
    /// `C` of the message that is edited, deleted or reacted to.
    pub target_commitment: Option<Commitment>,
    /// `C` of the message that is answered.
    pub reply_to_commitment: Option<Commitment>,
    /// The priority as in the API: low, normal, high, urgent.
    pub priority: String,
    /// Sent as urgent.
    pub urgent: bool,
    /// To be held until the conversation opens.
    pub when_open: bool,
    /// Seconds until the message disappears from the participants' view; 0 is never.
    pub expires_in_s: u64,
    /// The files the message refers to, at most 65,535.
    pub attachments: Vec<Attachment>,
}

impl Context {
    /// The bytes of `A`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        writer
            .lp(self.tenant.as_bytes())
            .lp(self.conversation.as_bytes())
            .lp(self.client_message_id.as_bytes());
        writer.lp(self.sender.as_bytes()).u8(self.device.get()).time(self.sent_at).lp(self.kind.as_bytes());
        writer.lp(self.seal_id.as_bytes()).u64be(self.device_seq);
        for commitment in
            [&self.prev_commitment, &self.seen_commitment, &self.target_commitment, &self.reply_to_commitment]
        {
            writer.lp_optional(commitment.as_ref().map(|c| c.as_bytes().as_slice()));
        }
        writer.lp(self.priority.as_bytes()).u8(self.flags()).u64be(self.expires_in_s);
        writer.list(&self.attachments, |w, attachment| {
            w.lp(attachment.file_id.as_bytes()).lp(&attachment.blob_sha256);
        });
        writer.finish()
    }

    /// SHA-256(A).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }

    fn flags(&self) -> u8 {
        (u8::from(self.urgent) * URGENT) | (u8::from(self.when_open) * WHEN_OPEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let context = Context {
            tenant: TenantId::from_bytes([1; 16]),
            conversation: ConversationId::from_bytes([2; 16]),
            client_message_id: ClientMessageId::from_bytes([3; 16]),
            sender: UserId::from_bytes([4; 16]),
            device: DeviceNumber::new(5).unwrap(),
            sent_at: Timestamp::from_micros(6),
            kind: "text".into(),
            seal_id: SealId::from_bytes([7; 16]),
            device_seq: 8,
            prev_commitment: Some(Commitment([9; 32])),
            seen_commitment: None,
            target_commitment: None,
            reply_to_commitment: Some(Commitment([10; 32])),
            priority: "normal".into(),
            urgent: true,
            when_open: true,
            expires_in_s: 11,
            attachments: vec![Attachment { file_id: FileId::from_bytes([12; 16]), blob_sha256: [13; 32] }],
        };
        let id = |byte: u8| [&[0, 0, 0, 16][..], &[byte; 16]].concat();
        let hash = |byte: u8| [&[0, 0, 0, 32][..], &[byte; 32]].concat();
        let expected = [
            b"sigilo/v1/context".to_vec(),
            id(1),
            id(2),
            id(3),
            id(4),
            vec![5],
            vec![0, 0, 0, 0, 0, 0, 0, 6],
            b"\0\0\0\x04text".to_vec(),
            id(7),
            vec![0, 0, 0, 0, 0, 0, 0, 8],
            hash(9),
            vec![0; 4],
            vec![0; 4],
            hash(10),
            b"\0\0\0\x06normal".to_vec(),
            vec![3],
            vec![0, 0, 0, 0, 0, 0, 0, 11],
            vec![0, 1],
            id(12),
            hash(13),
        ];
        assert_eq!(context.encode(), expected.concat());
    }
}
