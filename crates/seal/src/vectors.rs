//! The test vectors in `vectors/`: made anew from fixed secrets and fixed randomness, and compared with the
//! files. `SIGILO_WRITE_VECTORS=1 cargo test -p sigilo-seal` writes them; a change of an existing value is a
//! change of the protocol.

mod files;

use std::{convert::Infallible, fs, path::PathBuf};

use rand_core::{TryCryptoRng, TryRng};
use serde_json::{Value, json};
use sigilo_wire::{
    Base64, ConversationId, DeviceId, DeviceNumber, LinkId, MessageId, SealId, TenantId, Timestamp, UserId,
};

use crate::{
    ArchiveKey, Content, ContentKey, Context, Decision, Ed25519Secret, Envelope, HistoryKeyEnvelope,
    IdentityPublicKey, IdentitySecret, KeyPurpose, KyberPublicKey, LinkClaim, LinkOffer, LinkPackage,
    LinkSecret, LinkedContact, LinkedEarlier, Manifest, ManifestDevice, Member, PreKeyPublic, Receipt,
    Recipient, RecordSeal, RootFingerprint, RootStatement, SealHeader, XWingSecret,
    decision::{DENIED, FRAME, request_hash},
    key_check,
    link::LinkedAccount,
    message, padding,
    primitives::{hkdf, hmac_sha256, sha256},
    receipt::audit_leaf,
    testing::sample_context,
};

/// An rng that gives one byte for ever, so that a vector can say what was drawn.
struct Constant(u8);

impl TryRng for Constant {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }
    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        destination.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Constant {}

const TENANT: TenantId = TenantId::from_bytes([0xa0; 16]);
const USER: UserId = UserId::from_bytes([0xa1; 16]);
const OTHER_USER: UserId = UserId::from_bytes([0xa2; 16]);
const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const LATER: Timestamp = Timestamp::from_micros(1_798_761_600_000_000);

fn b64(bytes: impl AsRef<[u8]>) -> String {
    Base64(bytes.as_ref().to_vec()).to_string()
}

fn identity() -> IdentitySecret {
    IdentitySecret::from_bytes([0x11; 32])
}

fn root() -> Ed25519Secret {
    Ed25519Secret::from_seed([0x12; 32])
}

fn history() -> XWingSecret {
    XWingSecret::from_seed([0x13; 32])
}

fn officers() -> XWingSecret {
    XWingSecret::from_seed([0x14; 32])
}

/// Compares a vector with its file, or writes the file.
fn agree(name: &str, vector: &Value) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name).with_extension("json");
    if std::env::var_os("SIGILO_WRITE_VECTORS").is_some() {
        fs::write(&file, format!("{vector:#}\n")).unwrap();
    }
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(kept, *vector, "{} is not what the code makes", file.display());
}

#[test]
fn identity_vectors() {
    let signature = identity().sign(b"message", &mut Constant(0x21));
    assert!(identity().public().verify(b"message", &signature));
    let key = |u: [u8; 32]| [&[5], &u[..]].concat();
    let (mut one, mut minus_one, mut p_plus_nine) = ([0; 32], [0xff; 32], [0xff; 32]);
    one[0] = 1;
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    (p_plus_nine[0], p_plus_nine[31]) = (0xf6, 0x7f);
    let refused =
        [key([0; 32]), key(one), key(minus_one), key(p_plus_nine), [key([9; 32]), vec![0]].concat()];
    assert!(refused.iter().all(|bytes| IdentityPublicKey::parse(bytes).is_err()));
    agree(
        "identity",
        &json!({
            "private_key": b64([0x11; 32]), "private_key_clamped": b64(*identity().to_bytes()),
            "public_key": b64(identity().public().to_bytes()), "message": b64("message"),
            "random": b64([0x21; 64]), "signature": b64(signature),
            "public_keys_to_refuse": refused.iter().map(b64).collect::<Vec<_>>(),
        }),
    );
}

fn records_statement() -> RootStatement {
    RootStatement {
        tenant: TENANT,
        purpose: KeyPurpose::Records,
        epoch: 1,
        not_before: NOW,
        not_after: LATER,
        public_key: officers().public().as_bytes().to_vec(),
    }
}

#[test]
fn root_statement_vectors() {
    let receipt = Ed25519Secret::from_seed([0x15; 32]);
    let statements = [
        records_statement(),
        RootStatement {
            purpose: KeyPurpose::Receipt,
            epoch: 2,
            public_key: receipt.public().to_bytes().to_vec(),
            ..records_statement()
        },
    ];
    let vectors = statements.iter().map(|s| {
        let signed = s.sign(&root());
        assert_eq!(signed.verify_signature(&root().public()).unwrap(), *s);
        json!({
            "tenant": s.tenant, "purpose": s.purpose, "epoch": s.epoch, "not_before": s.not_before,
            "not_after": s.not_after, "public_key": b64(&s.public_key), "statement": b64(&signed.statement),
            "signature": b64(signed.signature), "key_id": s.key_id(),
        })
    });
    agree(
        "root_statement",
        &json!({
            "root_seed": b64([0x12; 32]), "root_public_key": b64(root().public().to_bytes()),
            "fingerprint": b64(RootFingerprint::of(&root().public()).as_bytes()),
            "statements": vectors.collect::<Vec<_>>(),
        }),
    );
}

#[test]
fn manifest_vectors() {
    let device = |number, registration_id| ManifestDevice {
        device: DeviceNumber::new(number).unwrap(),
        registration_id,
        added_at: NOW,
    };
    let first = Manifest {
        tenant: TENANT,
        user: USER,
        version: 1,
        previous: None,
        history_public_key: history().public(),
        devices: vec![device(1, 1_001)],
    };
    let second = Manifest {
        version: 2,
        previous: Some(first.digest()),
        devices: vec![device(1, 1_001), device(2, 1_002)],
        ..first.clone()
    };
    second.verify_successor(&first).unwrap();
    let vectors = [first, second].map(|manifest| {
        let signed = manifest.sign(&identity(), &mut Constant(0x22));
        assert_eq!(signed.verify(&identity().public(), TENANT, USER).unwrap(), manifest);
        let devices = manifest.devices.iter().map(
            |d| json!({"device": d.device, "registration_id": d.registration_id, "added_at": d.added_at}),
        );
        json!({
            "version": manifest.version, "previous": manifest.previous.map_or(String::new(), b64),
            "devices": devices.collect::<Vec<_>>(), "random": b64([0x22; 64]),
            "statement": b64(&signed.statement), "signature": b64(signed.signature),
        })
    });
    agree(
        "manifest",
        &json!({
            "identity_private_key": b64([0x11; 32]), "identity_key": b64(identity().public().to_bytes()),
            "tenant": TENANT, "user": USER, "history_seed": b64([0x13; 32]),
            "history_public_key": b64(history().public().as_bytes()),
            "history_key_id": history().public().history_key_id(), "manifests": vectors,
        }),
    );
}

#[test]
fn link_vectors() {
    let key = XWingSecret::from_seed([0x1b; 32]);
    let offer = LinkOffer {
        link_id: LinkId::from_bytes([0x51; 16]),
        key_sha256: sha256(key.public().as_bytes()),
        registration_id: 1_002,
        secret: LinkSecret::from_bytes([0x52; 32]),
    };
    let device = |number, registration_id| ManifestDevice {
        device: DeviceNumber::new(number).unwrap(),
        registration_id,
        added_at: NOW,
    };
    let manifest = Manifest {
        tenant: TENANT,
        user: USER,
        version: 2,
        previous: Some([0x53; 32]),
        history_public_key: history().public(),
        devices: vec![device(1, 1_001), device(2, 1_002)],
    };
    let earlier = XWingSecret::from_seed([0x1c; 32]);
    let other_identity = IdentitySecret::from_bytes([0x1a; 32]).public();
    let package = LinkPackage {
        tenant: TENANT,
        user: USER,
        device: DeviceNumber::new(2).unwrap(),
        claim: LinkClaim::from_bytes([0x54; 32]),
        identity: identity(),
        root: RootFingerprint::of(&root().public()),
        checkpoint: Vec::new(),
        history: vec![(history(), LATER), (earlier, NOW)],
        manifest: manifest.sign(&identity(), &mut Constant(0x22)),
        epochs: vec![(KeyPurpose::Records, 1)],
        contacts: vec![LinkedContact { user: OTHER_USER, identity: other_identity, verified: true }],
        earlier: Vec::new(),
    };
    let sealed = package.seal(&offer, &key.public(), 2, &mut Constant(0x25)).unwrap();
    let account = LinkedAccount { tenant: TENANT, user: USER, manifest_version: 2 };
    LinkPackage::open(&sealed, &offer, &key, &account).unwrap();
    agree(
        "link",
        &json!({
            "key_seed": b64([0x1b; 32]), "link_id": offer.link_id, "key_sha256": b64(offer.key_sha256),
            "registration_id": 1_002, "secret": b64([0x52; 32]), "code": offer.code(),
            "tenant": TENANT, "user": USER, "manifest_version": 2, "device": 2, "claim": b64([0x54; 32]),
            "identity_private_key_clamped": b64(*identity().to_bytes()), "root": b64(package.root.as_bytes()),
            "checkpoint": "",
            "history": [{"seed": b64([0x13; 32]), "created_at": LATER}, {"seed": b64([0x1c; 32]), "created_at": NOW}],
            "manifest": b64(&package.manifest.statement), "manifest_signature": b64(package.manifest.signature),
            "epochs": [{"purpose": "records", "epoch": 1}],
            "contacts": [{"user": OTHER_USER, "identity_key": other_identity, "verified": true}],
            "package": b64(&*package.encode()), "random": b64([0x25; 64]),
            "enc": b64(&sealed.enc), "ct": b64(&sealed.ct),
        }),
    );
    let before = IdentitySecret::from_bytes([0x1d; 32]).public();
    let earlier = LinkedEarlier { user: OTHER_USER, identity: before, until: NOW };
    let with_earlier = LinkPackage { earlier: vec![earlier], ..package };
    let sealed = with_earlier.seal(&offer, &key.public(), 2, &mut Constant(0x25)).unwrap();
    let (opened, _) = LinkPackage::open(&sealed, &offer, &key, &account).unwrap();
    assert_eq!(opened.earlier, [earlier]);
    agree(
        "link_earlier",
        &json!({
            "earlier": [{"user": OTHER_USER, "identity_key": before, "until": NOW}],
            "package": b64(&*with_earlier.encode()), "random": b64([0x25; 64]),
            "enc": b64(&sealed.enc), "ct": b64(&sealed.ct),
        }),
    );
}

#[test]
fn history_key_vectors() {
    let sent = HistoryKeyEnvelope { key: history(), created_at: NOW };
    agree(
        "history_key",
        &json!({"seed": b64([0x13; 32]), "created_at": NOW, "plaintext": b64(&*sent.encode())}),
    );
}

#[test]
fn key_check_vectors() {
    let signed = PreKeyPublic::parse(IdentitySecret::from_bytes([0x16; 32]).public().as_bytes()).unwrap();
    let kyber = KyberPublicKey::parse(&[&[8], &[0x31; 1_568][..]].concat()).unwrap();
    agree(
        "key_check",
        &json!({
            "identity_key": b64(identity().public().to_bytes()), "signed_pre_key_id": 7,
            "signed_pre_key": b64(signed.as_bytes()), "last_resort_id": 9, "last_resort_key": b64(kyber.as_bytes()),
            "digest": b64(key_check::digest(&identity().public(), 7, &signed, 9, &kyber)),
        }),
    );
}

fn contexts() -> [Context; 2] {
    let full = Context { urgent: true, when_open: true, ..sample_context() };
    let first = Context {
        device_seq: 1,
        prev_commitment: None,
        seen_commitment: None,
        target_commitment: None,
        reply_to_commitment: None,
        expires_in_s: 0,
        attachments: vec![],
        ..sample_context()
    };
    [first, full]
}

fn context_json(a: &Context) -> Value {
    let commitment = |c: Option<crate::Commitment>| c.map_or(String::new(), |c| c.to_string());
    let attachments =
        a.attachments.iter().map(|f| json!({"file_id": f.file_id, "sha256": b64(f.blob_sha256)}));
    json!({
        "tenant": a.tenant, "conversation": a.conversation, "client_message_id": a.client_message_id,
        "sender": a.sender, "device": a.device, "sent_at": a.sent_at, "kind": a.kind, "seal_id": a.seal_id,
        "device_seq": a.device_seq, "prev_commitment": commitment(a.prev_commitment),
        "seen_commitment": commitment(a.seen_commitment), "target_commitment": commitment(a.target_commitment),
        "reply_to_commitment": commitment(a.reply_to_commitment), "priority": a.priority, "urgent": a.urgent,
        "when_open": a.when_open, "expires_in_s": a.expires_in_s, "attachments": attachments.collect::<Vec<_>>(),
    })
}

#[test]
fn message_vectors() {
    let archive = ArchiveKey::from_bytes([0x18; 32]);
    // Every message has a content key of its own.
    let vectors = contexts().into_iter().zip([[0x17; 32], [0x27; 32]]).map(|(context, key)| {
        let key = ContentKey::from_bytes(key);
        let content = Content::text("¿Cómo amaneció, Ana?");
        let (sealed, envelope) =
            message::seal_message(&key, context, &content, &archive, &identity(), &mut Constant(0x23));
        assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
        message::open_archived(&sealed, &identity().public(), &archive).unwrap();
        let digest = sealed.context.digest();
        json!({
            "CK": b64(key.as_bytes()), "context": context_json(&sealed.context), "A": b64(sealed.context.encode()), "A_sha256": b64(digest),
            "content": String::from_utf8(content.to_json().to_vec()).unwrap(),
            "padded": b64(padding::pad(&content.to_json())),
            "body_key": b64(*hkdf::<32>(key.as_bytes(), &[b"sigilo/v1/body", &digest])),
            "body": b64(&sealed.body),
            "commit_key": b64(*hkdf::<32>(key.as_bytes(), &[b"sigilo/v1/commit"])), "C": sealed.commitment,
            "wrap_key":
                b64(*hkdf::<32>(archive.as_bytes(), &[b"sigilo/v1/wrap", sealed.commitment.as_bytes()])),
            "W": b64(sealed.wrapped_key), "W_sha256": b64(sha256(&sealed.wrapped_key)),
            "signing_input":
                b64(message::signing_input(&digest, &sealed.commitment, &sha256(&sealed.wrapped_key))),
            "random": b64([0x23; 64]), "S": b64(sealed.signature), "envelope": b64(envelope.encode()),
        })
    });
    agree(
        "message",
        &json!({
            "RK": b64([0x18; 32]), "identity_private_key": b64([0x11; 32]),
            "identity_key": b64(identity().public().to_bytes()), "messages": vectors.collect::<Vec<_>>(),
        }),
    );
}

#[test]
fn record_seal_vectors() {
    let header = SealHeader {
        tenant: TENANT,
        conversation: ConversationId::from_bytes([0xa3; 16]),
        seal_id: SealId::from_bytes([0xa4; 16]),
        sender: USER,
        device: DeviceNumber::FIRST,
    };
    let other = XWingSecret::from_seed([0x19; 32]);
    let other_identity = IdentitySecret::from_bytes([0x1a; 32]).public();
    let members = vec![
        Member {
            user: USER,
            identity_key: identity().public(),
            history_key_id: history().public().history_key_id(),
        },
        Member {
            user: OTHER_USER,
            identity_key: other_identity,
            history_key_id: other.public().history_key_id(),
        },
    ];
    let records = Recipient::records(&records_statement()).unwrap();
    let recipients =
        [records.clone(), Recipient::history(history().public()), Recipient::history(other.public())];
    let archive = ArchiveKey::from_bytes([0x18; 32]);
    let rng = &mut Constant(0x24);
    let seal = RecordSeal::create(&archive, header, NOW, members, &recipients, &identity(), rng).unwrap();
    seal.verify_signature(&identity().public()).unwrap();
    seal.recheck(&archive, &recipients).unwrap();
    assert_eq!(seal.open_copy(records.key_id(), &officers()).unwrap(), archive);
    assert_eq!(seal.open_history_copy(&other).unwrap(), archive);
    let eseed = |copy: &crate::SealedCopy| {
        let name = [&[0, 0, 0, 16][..], copy.key_id.as_bytes()].concat();
        b64(*hkdf::<64>(archive.as_bytes(), &[b"sigilo/v1/eseed", &header.aad(), &name]))
    };
    let copies = seal.copies.iter().zip([[0x14; 32], [0x13; 32], [0x19; 32]]).map(|(copy, seed)| {
        json!({
            "seed": b64(seed), "public_key": b64(XWingSecret::from_seed(seed).public().as_bytes()),
            "key_id": copy.key_id, "eseed": eseed(copy), "enc": b64(&copy.enc), "ct": b64(&copy.ct),
        })
    });
    let members = seal
        .members
        .iter()
        .map(|m| json!({"user": m.user, "identity_key": m.identity_key, "history_key_id": m.history_key_id}));
    agree(
        "record_seal",
        &json!({
            "RK": b64([0x18; 32]), "tenant": header.tenant, "conversation": header.conversation,
            "seal_id": header.seal_id, "sender": header.sender, "device": header.device, "created_at": NOW,
            "aad": b64(header.aad()), "members": members.collect::<Vec<_>>(),
            "copies": copies.collect::<Vec<_>>(), "signing_input": b64(seal.signing_input()),
            "identity_private_key": b64([0x11; 32]), "identity_key": identity().public(),
            "random": b64([0x24; 64]), "signature": b64(seal.signature),
        }),
    );
}

#[test]
fn decision_vectors() {
    let key = Ed25519Secret::from_seed([0x15; 32]);
    let (method, target, body) = ("POST", "/api/chat/conversations/", r#"{"type":"direct"}"#);
    let decision = Decision {
        tenant: TENANT,
        actor: UserId::from_bytes([0xa2; 16]),
        device: DeviceId::from_bytes([0xa6; 16]),
        action: "start_conversation".into(),
        request_sha256: request_hash(method, target, body.as_bytes()),
        outcome: DENIED.into(),
        policies: vec!["medical-relationship".into(), "blocks".into()],
        policy_set_hash: [0x45; 32],
        decided_at: NOW,
        audit_leaf: audit_leaf(&[0x44; 32], b"entry"),
    };
    let signature = decision.sign(&key);
    assert!(decision.verify(&key.public(), &signature));
    agree(
        "decision",
        &json!({
            "tenant": decision.tenant, "actor": decision.actor, "device": decision.device,
            "action": decision.action, "method": method, "target": target, "body": b64(body),
            "request_sha256": b64(decision.request_sha256), "outcome": decision.outcome,
            "policies": decision.policies, "policy_set_hash": b64(decision.policy_set_hash),
            "decided_at": decision.decided_at, "audit_leaf": b64(decision.audit_leaf),
            "statement": b64(decision.encode()), "receipt_seed": b64([0x15; 32]),
            "receipt_public_key": key.public(), "signature": b64(signature),
            "frame": "{\"type\":\"read\"}",
            "frame_sha256": b64(request_hash(FRAME, "", br#"{"type":"read"}"#)),
        }),
    );
}

#[test]
fn receipt_vectors() {
    let key = Ed25519Secret::from_seed([0x15; 32]);
    let receipt = Receipt {
        tenant: TENANT,
        conversation: ConversationId::from_bytes([0xa3; 16]),
        conversation_seq: 42,
        message_id: MessageId::from_bytes([0xa5; 16]),
        commitment: crate::Commitment([0x41; 32]),
        signature_sha256: sha256(&[0x42; 64]),
        wrapped_key_sha256: sha256(&[0x43; 48]),
        received_at: NOW,
        audit_leaf: audit_leaf(&[0x44; 32], b"entry"),
        policies: vec!["care_relationship".into(), "membership".into()],
        policy_set_hash: [0x45; 32],
    };
    assert_eq!(receipt.audit_leaf, hmac_sha256(&[0x44; 32], &[b"entry"]));
    let signature = receipt.sign(&key);
    assert!(receipt.verify(&key.public(), &signature));
    agree(
        "receipt",
        &json!({
            "tenant": receipt.tenant, "conversation": receipt.conversation,
            "conversation_seq": receipt.conversation_seq, "message_id": receipt.message_id,
            "C": receipt.commitment, "S": b64([0x42; 64]), "W": b64([0x43; 48]),
            "received_at": receipt.received_at, "audit_salt": b64([0x44; 32]), "audit_entry": b64("entry"),
            "audit_leaf": b64(receipt.audit_leaf), "policies": receipt.policies,
            "policy_set_hash": b64(receipt.policy_set_hash), "statement": b64(receipt.encode()),
            "receipt_seed": b64([0x15; 32]), "receipt_public_key": key.public(), "signature": b64(signature),
        }),
    );
}
