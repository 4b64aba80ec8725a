//! A message and a seal survive the API's JSON and still verify on the other side.

use sigilo_wire::{
    Base64Array, MessageId, Role, Timestamp,
    message::{DeliveryStatus, MessageKind, Priority, Sender},
    vault::ScanStatus,
};

use super::*;
use crate::{
    content::Content,
    ed25519::Ed25519Secret,
    identity::IdentitySecret,
    message::{Envelope, SessionPeer, open_archived, open_message, seal_message},
    record_seal::Recipient,
    secret::{ArchiveKey, ContentKey},
    testing::{sample_context, test_rng},
    xwing::XWingSecret,
};

struct Exchange {
    origin: Origin,
    send: SendMessage,
    envelope: Envelope,
    identity: IdentitySecret,
    archive: ArchiveKey,
}

fn origin() -> Origin {
    let context = sample_context();
    Origin {
        tenant: context.tenant,
        conversation: context.conversation,
        sender: context.sender,
        device: context.device,
    }
}

fn exchange() -> Exchange {
    let mut rng = test_rng(90);
    let identity = IdentitySecret::generate(&mut rng);
    let archive = ArchiveKey::generate(&mut rng);
    let context = Context { urgent: true, when_open: true, ..sample_context() };
    let key = ContentKey::generate(&mut rng);
    let (sealed, envelope) =
        seal_message(&key, context.clone(), &Content::text("hola"), &archive, &identity, &mut rng);
    let file = |a: &Attachment| AttachmentRef { file_id: a.file_id, sha256: Base64Array(a.blob_sha256) };
    let send = SendMessage {
        client_message_id: context.client_message_id,
        message_type: MessageKind::Text,
        priority: Priority::Normal,
        sent_at: context.sent_at,
        device_seq: context.device_seq,
        prev_commitment: context.prev_commitment.map(Into::into),
        seen_commitment: context.seen_commitment.map(Into::into),
        body: Base64(sealed.body),
        commitment: sealed.commitment.into(),
        signature: sealed.signature.into(),
        seal_id: context.seal_id,
        wrapped_key: sealed.wrapped_key.into(),
        target_commitment: context.target_commitment.map(Into::into),
        reply_to_commitment: context.reply_to_commitment.map(Into::into),
        attachments: context.attachments.iter().map(file).collect(),
        urgent: true,
        deliver: Deliver::WhenOpen,
        expires_in_s: Some(context.expires_in_s),
        envelopes: vec![],
    };
    let send = serde_json::from_str(&serde_json::to_string(&send).unwrap()).unwrap();
    Exchange { origin: origin(), send, envelope, identity, archive }
}

fn stored(send: &SendMessage, accepted: &message::Accepted) -> message::Message {
    let file = |a: &AttachmentRef| message::Attachment {
        file_id: a.file_id,
        sha256: a.sha256,
        status: ScanStatus::Clean,
    };
    message::Message {
        id: accepted.message_id,
        conversation_id: origin().conversation,
        conversation_seq: accepted.conversation_seq,
        client_message_id: send.client_message_id,
        sender: Sender {
            user_id: origin().sender,
            device_id: origin().device,
            full_name: "Ana López".into(),
            user_type: Role::Patient,
        },
        message_type: send.message_type,
        priority: send.priority,
        sent_at: send.sent_at,
        received_at: accepted.received_at,
        device_seq: send.device_seq,
        prev_commitment: send.prev_commitment,
        seen_commitment: send.seen_commitment,
        target_commitment: send.target_commitment,
        reply_to_commitment: send.reply_to_commitment,
        body: send.body.clone(),
        commitment: send.commitment,
        signature: send.signature,
        seal_id: send.seal_id,
        wrapped_key: send.wrapped_key,
        attachments: send.attachments.iter().map(file).collect(),
        urgent: send.urgent,
        deliver: send.deliver,
        expires_in_s: send.expires_in_s.unwrap_or(0),
        delivery_status: DeliveryStatus::Sent,
        read_by: vec![],
        edited_by: vec![],
        deleted_at: None,
        expires_at: None,
        source: None,
        is_automated: false,
        receipt: accepted.receipt.clone(),
    }
}

fn accepted(exchange: &Exchange, key: &Ed25519Secret) -> message::Accepted {
    let mut accepted = message::Accepted {
        message_id: MessageId::from_bytes([1; 16]),
        conversation_seq: 2,
        received_at: Timestamp::from_micros(3),
        receipt: message::Receipt {
            audit_leaf: Base64Array([4; 32]),
            policies: vec!["membership".into()],
            policy_set: Base64Array([5; 32]),
            key_id: Base64Array([6; 16]),
            signature: Base64Array([0; 64]),
        },
    };
    let receipt = Receipt::of_accepted(&exchange.origin, &exchange.send, &accepted);
    accepted.receipt.signature = receipt.sign(key).into();
    accepted
}

#[test]
fn a_message_verifies_from_the_request_and_from_the_answer() {
    let exchange = exchange();
    let sent = SealedMessage::of_send(&exchange.origin, &exchange.send);
    sent.check_signature(&exchange.identity.public()).unwrap();
    assert_eq!(sent.context, Context { urgent: true, when_open: true, ..sample_context() });

    let accepted = accepted(&exchange, &Ed25519Secret::from_seed([7; 32]));
    let stored = stored(&exchange.send, &accepted);
    let read = SealedMessage::of_message(origin().tenant, &stored);
    assert_eq!(read, sent);
    assert_eq!(Origin::of_message(origin().tenant, &stored), origin());
    let (user, device) = (origin().sender, origin().device);
    let peer = SessionPeer { user, device, identity: exchange.identity.public() };
    let content = open_message(&read, &peer, &exchange.envelope, &exchange.archive).unwrap();
    assert!(Content::parse("text", &content).unwrap() == Content::text("hola"));
    assert_eq!(open_archived(&read, &peer.identity, &exchange.archive).unwrap(), content);
}

#[test]
fn a_receipt_verifies_for_the_sender_and_for_the_readers() {
    let exchange = exchange();
    let key = Ed25519Secret::from_seed([7; 32]);
    let accepted = accepted(&exchange, &key);
    let signature = accepted.receipt.signature.0;
    let receipt = Receipt::of_accepted(&exchange.origin, &exchange.send, &accepted);
    assert!(receipt.verify(&key.public(), &signature));
    let mut stored = stored(&exchange.send, &accepted);
    assert_eq!(Receipt::of_message(origin().tenant, &stored), receipt);
    stored.conversation_seq = -2;
    assert!(!Receipt::of_message(origin().tenant, &stored).verify(&key.public(), &signature));
}

#[test]
fn a_seal_survives_json() {
    let mut rng = test_rng(91);
    let identity = IdentitySecret::generate(&mut rng);
    let history = XWingSecret::generate(&mut rng);
    let recipient = Recipient::history(history.public());
    let member =
        Member { user: origin().sender, identity_key: identity.public(), history_key_id: recipient.key_id() };
    let header = SealHeader {
        tenant: origin().tenant,
        conversation: origin().conversation,
        seal_id: sample_context().seal_id,
        sender: origin().sender,
        device: origin().device,
    };
    let archive = ArchiveKey::generate(&mut rng);
    let now = Timestamp::from_micros(1);
    let made =
        RecordSeal::create(&archive, header, now, vec![member], &[recipient], &identity, &mut rng).unwrap();
    let json = serde_json::to_string(&made.to_new()).unwrap();
    let mut new: NewSeal = serde_json::from_str(&json).unwrap();
    let stored = seal::Seal {
        conversation_id: origin().conversation,
        sender_id: origin().sender,
        device_id: origin().device,
        seal: new.clone(),
        received_at: now,
    };
    let read = RecordSeal::of_new(&Origin::of_seal(origin().tenant, &stored), &stored.seal).unwrap();
    assert_eq!(read, made);
    assert_eq!(read.open_history_copy(&history).unwrap(), archive);
    new.members[0].identity_key.0[1..].fill(0);
    assert_eq!(RecordSeal::of_new(&origin(), &new), Err(KeyError::NotCanonical));
}

#[test]
fn signed_statements_keep_their_bytes() {
    let manifest = SignedManifest { statement: vec![1, 2], signature: [3; 64] };
    assert_eq!(SignedManifest::from(&keys::SignedManifest::from(&manifest)), manifest);
    let root = SignedRootStatement { statement: vec![4, 5], signature: [6; 64] };
    assert_eq!(SignedRootStatement::from(&keys::SignedRootStatement::from(&root)), root);
}
