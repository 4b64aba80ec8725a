//! Deterministic randomness and sample values for the unit tests.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, FileId, SealId, TenantId, Timestamp, UserId,
};

use crate::{Attachment, Commitment, Context};

/// A stream of its own for every test, the same on every run.
pub fn test_rng(stream: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([stream; 32])
}

/// A context in which no field is empty.
pub fn sample_context() -> Context {
    Context {
        tenant: TenantId::from_bytes([1; 16]),
        conversation: ConversationId::from_bytes([2; 16]),
        client_message_id: ClientMessageId::from_bytes([3; 16]),
        sender: UserId::from_bytes([4; 16]),
        device: DeviceNumber::new(5).unwrap(),
        sent_at: Timestamp::from_micros(1_767_225_600_000_006),
        kind: "text".into(),
        seal_id: SealId::from_bytes([7; 16]),
        device_seq: 8,
        prev_commitment: Some(Commitment([9; 32])),
        seen_commitment: Some(Commitment([10; 32])),
        target_commitment: Some(Commitment([11; 32])),
        reply_to_commitment: Some(Commitment([12; 32])),
        priority: "normal".into(),
        urgent: false,
        when_open: false,
        expires_in_s: 13,
        attachments: vec![Attachment { file_id: FileId::from_bytes([14; 16]), blob_sha256: [15; 32] }],
    }
}
