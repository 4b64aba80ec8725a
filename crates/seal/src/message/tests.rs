//! What a receiver refuses: every changed field, every changed byte, and what a dishonest sender may try.

use proptest::prelude::*;
use sigilo_wire::{ClientMessageId, ConversationId, FileId, SealId, TenantId, Timestamp};

use super::*;
use crate::{
    context::Attachment,
    testing::{sample_context, test_rng, two_key_ciphertext},
};

struct Sent {
    message: SealedMessage,
    envelope: Envelope,
    identity: IdentitySecret,
    archive: ArchiveKey,
    peer: SessionPeer,
}

impl Sent {
    fn new(stream: u8, text: &str) -> Self {
        let mut rng = test_rng(stream);
        let identity = IdentitySecret::generate(&mut rng);
        let archive = ArchiveKey::generate(&mut rng);
        let key = ContentKey::generate(&mut rng);
        let context = sample_context();
        let peer = SessionPeer { user: context.sender, device: context.device, identity: identity.public() };
        let content = Content::text(text);
        let (message, envelope) = seal_message(&key, context, &content, &archive, &identity, &mut rng);
        Self { message, envelope, identity, archive, peer }
    }

    fn open(&self) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        open_message(&self.message, &self.peer, &self.envelope, &self.archive)
    }

    fn open_archived(&self) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        open_archived(&self.message, &self.identity.public(), &self.archive)
    }

    /// What a dishonest sender does after changing something.
    fn sign_again(&mut self) {
        let (digest, wrapped) = (self.message.context.digest(), sha256(&self.message.wrapped_key));
        self.message.signature =
            sign_message(&self.identity, &digest, &self.message.commitment, &wrapped, &mut test_rng(99));
    }
}

#[test]
fn a_message_is_opened_by_its_receiver_and_from_the_archive() {
    let sent = Sent::new(50, "¿Cómo está?");
    let content = sent.open().unwrap();
    assert!(Content::parse("text", &content).unwrap() == Content::text("¿Cómo está?"));
    assert_eq!(sent.open_archived().unwrap(), content);
    assert_eq!(Envelope::decode(&sent.envelope.encode()).unwrap(), sent.envelope);
}

proptest! {
    #[test]
    fn any_text_survives(text in any::<String>(), stream in any::<u8>()) {
        let sent = Sent::new(stream, &text);
        prop_assert!(Content::parse("text", &sent.open().unwrap()).unwrap() == Content::text(text));
        prop_assert_eq!(sent.message.body.len() % padding::BLOCK, 16);
    }
}

type Change = fn(&mut Context);

/// One change of every field of `A`, and the changes a careless encoding would confuse.
fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("tenant", |a| a.tenant = TenantId::from_bytes([0xff; 16])),
        ("conversation", |a| a.conversation = ConversationId::from_bytes([0xff; 16])),
        ("client_message_id", |a| a.client_message_id = ClientMessageId::from_bytes([0xff; 16])),
        ("sender", |a| a.sender = UserId::from_bytes([0xff; 16])),
        ("device", |a| a.device = DeviceNumber::new(6).unwrap()),
        ("sent_at", |a| a.sent_at = Timestamp::from_micros(0)),
        ("kind", |a| a.kind = "edit".into()),
        ("seal_id", |a| a.seal_id = SealId::from_bytes([0xff; 16])),
        ("device_seq", |a| a.device_seq += 1),
        ("prev_commitment", |a| a.prev_commitment = None),
        ("prev_commitment other", |a| a.prev_commitment = Some(Commitment([0; 32]))),
        ("seen_commitment", |a| a.seen_commitment = None),
        ("target_commitment", |a| a.target_commitment = None),
        ("reply_to_commitment", |a| a.reply_to_commitment = None),
        ("target for reply", |a| std::mem::swap(&mut a.target_commitment, &mut a.reply_to_commitment)),
        ("priority", |a| a.priority = "urgent".into()),
        ("urgent", |a| a.urgent = true),
        ("when_open", |a| a.when_open = true),
        ("expires_in_s", |a| a.expires_in_s = 0),
        ("attachments none", |a| a.attachments.clear()),
        ("attachments file", |a| a.attachments[0].file_id = FileId::from_bytes([0xff; 16])),
        ("attachments hash", |a| a.attachments[0].blob_sha256 = [0xff; 32]),
        ("attachments more", |a| {
            a.attachments.push(Attachment { file_id: FileId::from_bytes([0; 16]), blob_sha256: [0; 32] });
        }),
    ]
}

#[test]
fn every_changed_field_is_refused() {
    let base = Sent::new(51, "text");
    for (field, change) in changes() {
        let mut sent = Sent::new(51, "text");
        change(&mut sent.message.context);
        assert_ne!(sent.message.context, base.message.context, "{field}");
        // Someone on the way changed it.
        sent.peer.user = sent.message.context.sender;
        sent.peer.device = sent.message.context.device;
        assert_eq!(sent.open(), Err(NotAuthentic::Signature), "{field}");
        assert_eq!(sent.open_archived(), Err(NotAuthentic::Signature), "{field}");
        // The sender signs the same key and body for another context.
        sent.sign_again();
        assert_eq!(sent.open(), Err(NotAuthentic::Commitment), "{field}");
        assert_eq!(sent.open_archived(), Err(NotAuthentic::Commitment), "{field}");
        // And the body itself is bound, were nothing else checked.
        let opened = open_body(&sent.envelope.key, &sent.message.context, &sent.message.body);
        assert_eq!(opened, Err(NotAuthentic::Body), "{field}");
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let base = Sent::new(52, "text");
    let refused = |part: &str, length: usize, flip: fn(&mut SealedMessage, usize), expected| {
        for byte in 0..length {
            let mut sent = Sent { message: base.message.clone(), ..Sent::new(52, "text") };
            flip(&mut sent.message, byte);
            assert_eq!(sent.open(), Err(expected), "{part} byte {byte}");
            assert_eq!(sent.open_archived(), Err(expected), "{part} byte {byte}");
        }
    };
    refused("body", base.message.body.len(), |m, i| m.body[i] ^= 1, NotAuthentic::Commitment);
    refused("S", 64, |m, i| m.signature[i] ^= 1, NotAuthentic::Signature);
    refused("C", 32, |m, i| m.commitment.0[i] ^= 1, NotAuthentic::Signature);
    refused("W", 48, |m, i| m.wrapped_key[i] ^= 1, NotAuthentic::Signature);
    let mut short = Sent::new(52, "text");
    short.message.body.pop();
    assert_eq!(short.open(), Err(NotAuthentic::Commitment));
}

#[test]
fn a_message_through_another_session_is_refused_first() {
    let mut sent = Sent::new(53, "text");
    sent.peer.user = UserId::from_bytes([0xff; 16]);
    assert_eq!(sent.open(), Err(NotAuthentic::Sender));
    let mut sent = Sent::new(53, "text");
    sent.peer.device = DeviceNumber::FIRST;
    assert_eq!(sent.open(), Err(NotAuthentic::Sender));
    let mut sent = Sent::new(53, "text");
    sent.peer.identity = IdentitySecret::generate(&mut test_rng(54)).public();
    assert_eq!(sent.open(), Err(NotAuthentic::Signature));
}

#[test]
fn an_envelope_of_another_message_is_refused() {
    let mut sent = Sent::new(55, "text");
    sent.envelope.commitment = Commitment([0; 32]);
    assert_eq!(sent.open(), Err(NotAuthentic::Commitment));
    let mut sent = Sent::new(55, "text");
    sent.envelope.key = ContentKey::from_bytes([0; 32]);
    assert_eq!(sent.open(), Err(NotAuthentic::Commitment));
}

#[test]
fn a_sender_cannot_give_the_archive_another_key() {
    let mut sent = Sent::new(56, "text");
    let other = ContentKey::from_bytes([0; 32]);
    sent.message.wrapped_key = wrap_key(&sent.archive, &sent.message.commitment, &other);
    sent.sign_again();
    assert_eq!(sent.open(), Err(NotAuthentic::WrappedKey));
    assert_eq!(sent.open_archived(), Err(NotAuthentic::Commitment));
    sent.message.wrapped_key = [0; 48];
    sent.sign_again();
    assert_eq!(sent.open(), Err(NotAuthentic::WrappedKey));
    assert_eq!(sent.open_archived(), Err(NotAuthentic::WrappedKey));
    let mut sent = Sent::new(56, "text");
    sent.archive = ArchiveKey::from_bytes([0; 32]);
    assert_eq!(sent.open(), Err(NotAuthentic::WrappedKey));
}

#[test]
fn a_wrapped_key_opens_for_its_commitment_only() {
    let (archive, key) = (ArchiveKey::from_bytes([1; 32]), ContentKey::from_bytes([2; 32]));
    let wrapped = wrap_key(&archive, &Commitment([3; 32]), &key);
    assert_eq!(unwrap_key(&archive, &Commitment([3; 32]), &wrapped), Ok(key));
    assert_eq!(unwrap_key(&archive, &Commitment([4; 32]), &wrapped), Err(NotAuthentic::WrappedKey));
}

#[test]
fn padding_that_is_not_the_protocols_is_refused() {
    let mut sent = Sent::new(57, "text");
    let a = sent.message.context.encode();
    let body_key = hkdf::<32>(sent.envelope.key.as_bytes(), &[BODY_INFO, &sha256(&a)]);
    sent.message.body = aead_seal(&body_key, b"{\"v\":1,\"text\":\"unpadded\"}", &a);
    sent.message.commitment = commitment(&sent.envelope.key, &sent.message.context, &sent.message.body);
    sent.message.wrapped_key = wrap_key(&sent.archive, &sent.message.commitment, &sent.envelope.key);
    sent.envelope.commitment = sent.message.commitment;
    sent.sign_again();
    assert_eq!(sent.open(), Err(NotAuthentic::Padding));
}

#[test]
fn envelopes_of_other_forms_are_refused() {
    let good = Sent::new(58, "text").envelope.encode();
    assert_eq!(good.len(), ENVELOPE_LENGTH);
    assert_eq!(Envelope::decode(&good[..64]), Err(DecodeError::Truncated));
    assert_eq!(Envelope::decode(&[&good[..], &[0]].concat()), Err(DecodeError::Trailing));
    let mut call = good.to_vec();
    call[0] = 2;
    assert_eq!(Envelope::decode(&call), Err(DecodeError::Value("envelope type")));
    assert_eq!(Envelope::decode(&[]), Err(DecodeError::Truncated));
}

/// The attack that `C` exists for: one body that opens under two keys. With the commitment of one of them, the
/// other is refused.
#[test]
fn a_body_that_opens_under_two_keys_is_refused_for_one_of_them() {
    let mut sent = Sent::new(59, "text");
    let patient = sent.envelope.key.clone();
    let archived = ContentKey::generate(&mut test_rng(60));
    let a = sent.message.context.encode();
    let body_key = |key: &ContentKey| hkdf::<32>(key.as_bytes(), &[BODY_INFO, &sha256(&a)]);
    let keys = [body_key(&patient), body_key(&archived)];
    let body = two_key_ciphertext(keys.each_ref().map(|key| (&**key, &[0; 12])), &a);
    assert!(aead_open(&body_key(&patient), &body, &a).is_some());
    assert!(aead_open(&body_key(&archived), &body, &a).is_some(), "AES-GCM does not commit to its key");

    sent.message.body = body;
    sent.message.commitment = commitment(&patient, &sent.message.context, &sent.message.body);
    sent.envelope.commitment = sent.message.commitment;
    sent.message.wrapped_key = wrap_key(&sent.archive, &sent.message.commitment, &archived);
    sent.sign_again();
    assert_eq!(sent.open_archived(), Err(NotAuthentic::Commitment));
    sent.envelope.key = archived;
    assert_eq!(sent.open(), Err(NotAuthentic::Commitment));
}
