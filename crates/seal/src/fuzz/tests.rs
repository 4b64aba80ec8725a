//! Replays the corpora, and bytes near them, through every target.

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use rand_core::{Rng as _, SeedableRng as _};
use sigilo_wire::{DeviceId, MessageId, SealId, Timestamp};

use super::*;
use crate::{
    Commitment, ContentKey, Ed25519Secret, IdentitySecret, KeyPurpose, LinkClaim, LinkedContact,
    LinkedEarlier, ManifestDevice, Member, Recipient, Refusal, RootFingerprint, ScanResult, SealHeader,
    decision::DENIED,
    file::SEGMENT_LENGTH,
    testing::{test_rng, vault_file},
};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(corpus(target))
        .unwrap_or_else(|error| panic!("no corpus for {target}: {error}"))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus for {target}");
    files
}

#[test]
fn corpora_are_replayed() {
    if std::env::var_os("SIGILO_WRITE_VECTORS").is_some() {
        write_seeds();
    }
    for (name, target) in TARGETS {
        for (path, bytes) in files(name) {
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn bytes_near_the_corpora_do_no_harm() {
    let seed = std::env::var("SIGILO_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    println!("SIGILO_FUZZ_SEED={seed}");
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
    let mut below = |bound: usize| (rng.next_u64() % bound.max(1) as u64) as usize;
    for (name, target) in TARGETS {
        for (path, original) in files(name) {
            for round in 0..40 {
                let mut bytes = original.clone();
                for _ in 0..=below(3) {
                    let at = below(bytes.len());
                    match below(4) {
                        0 => bytes.truncate(at),
                        1 => bytes.insert(at.min(bytes.len()), below(256) as u8),
                        _ if bytes.is_empty() => {}
                        2 => bytes[at] ^= 1 << below(8),
                        _ => bytes[at] = below(256) as u8,
                    }
                }
                assert!(
                    catch_unwind(|| target(&bytes)).is_ok(),
                    "{} round {round}: {bytes:?}",
                    path.display()
                );
            }
        }
    }
}

fn write_seeds() {
    for (target, name, bytes) in seeds() {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), bytes).unwrap();
    }
}

/// One valid input of every form, from which a fuzzer starts, and the edges that were thought of.
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut rng = test_rng(100);
    let identity = IdentitySecret::generate(&mut rng);
    let history = XWingSecret::generate(&mut rng).public();
    let server = Ed25519Secret::generate(&mut rng).public();
    let at = Timestamp::from_micros(1_767_225_600_000_000);
    let tenant = TenantId::from_bytes([1; 16]);
    let root = |purpose, public_key| {
        let (not_before, not_after) = (at, Timestamp::from_micros(at.micros() + 1));
        RootStatement { tenant, purpose, epoch: 1, not_before, not_after, public_key }.encode()
    };
    let manifest = Manifest {
        tenant,
        user: UserId::from_bytes([2; 16]),
        version: 2,
        previous: Some([3; 32]),
        history_public_key: history.clone(),
        devices: vec![ManifestDevice { device: DeviceNumber::FIRST, registration_id: 4, added_at: at }],
    };
    let receipt = Receipt {
        tenant,
        conversation: ConversationId::from_bytes([2; 16]),
        conversation_seq: 1,
        message_id: MessageId::from_bytes([5; 16]),
        commitment: Commitment([6; 32]),
        signature_sha256: [7; 32],
        wrapped_key_sha256: [8; 32],
        received_at: at,
        audit_leaf: [9; 32],
        policies: vec!["membership".into()],
        policy_set_hash: [10; 32],
    };
    let decision = Decision {
        tenant,
        actor: UserId::from_bytes([2; 16]),
        device: DeviceId::from_bytes([3; 16]),
        action: "send_message".into(),
        request_sha256: [4; 32],
        outcome: DENIED.into(),
        policies: vec!["chat-hours".into()],
        policy_set_hash: [10; 32],
        decided_at: at,
        audit_leaf: [9; 32],
    };
    let envelope = Envelope { key: ContentKey::from_bytes([11; 32]), commitment: Commitment([12; 32]) };
    let header = SealHeader {
        tenant,
        conversation: ConversationId::from_bytes([2; 16]),
        seal_id: SealId::from_bytes([13; 16]),
        sender: UserId::from_bytes([3; 16]),
        device: DeviceNumber::FIRST,
    };
    let member = Member {
        user: header.sender,
        identity_key: identity.public(),
        history_key_id: history.history_key_id(),
    };
    let recipients = [Recipient::history(history.clone())];
    let archive = ArchiveKey::from_bytes([14; 32]);
    let seal =
        RecordSeal::create(&archive, header, at, vec![member], &recipients, &identity, &mut rng).unwrap();
    let package = LinkPackage {
        tenant,
        user: manifest.user,
        device: DeviceNumber::FIRST,
        claim: LinkClaim::from_bytes([15; 32]),
        root: RootFingerprint([16; 32]),
        checkpoint: vec![17],
        history: vec![(XWingSecret::from_seed([18; 32]), at)],
        manifest: manifest.sign(&identity, &mut rng),
        epochs: vec![(KeyPurpose::Receipt, 1)],
        contacts: vec![LinkedContact {
            user: UserId::from_bytes([3; 16]),
            identity: identity.public(),
            verified: false,
        }],
        earlier: Vec::new(),
        identity: identity.clone(),
    };
    let earlier = LinkedEarlier { user: UserId::from_bytes([3; 16]), identity: identity.public(), until: at };
    let with_earlier = LinkPackage { earlier: vec![earlier], ..package.clone() };
    let sent = HistoryKeyEnvelope { key: XWingSecret::from_seed([19; 32]), created_at: at };
    let blob = |plain: &[u8]| {
        let mut sealer = FileSealer::with_salt(&FileKey::from_bytes(FILE_KEY), [20; 32], u64::MAX);
        [sealer.head().to_bytes().to_vec(), sealer.segment(plain, true).unwrap()].concat()
    };
    // Bound to the key, and otherwise all wrong.
    let long = [&blob(b"")[..64], &[0; 100]].concat();
    let layout = |length: u64, at: u64| [length.to_be_bytes(), at.to_be_bytes()].concat();
    let scan_key = ScanKey {
        tenant,
        not_before: at,
        not_after: Timestamp::from_micros(at.micros() + 1),
        public_key: history.clone(),
    };
    let verdict = |result| Verdict {
        file: vault_file(),
        engine: "engine 1".into(),
        database: "2".into(),
        scanned_at: at,
        result,
    };
    let infected = verdict(ScanResult::Infected("Eicar".into()));
    let released = ReleaseStatement::new(&infected, UserId::from_bytes([2; 16]), at);
    let file = br#"{"v":1,"files":[{"file_id":"01010101-0101-0101-0101-010101010101","key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","name":"a","mime":"b","size":1,"sha256":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}]}"#;
    vec![
        ("root_statement", "records", root(KeyPurpose::Records, history.as_bytes().to_vec())),
        ("root_statement", "receipt", root(KeyPurpose::Receipt, server.to_bytes().to_vec())),
        ("root_statement", "label-only", b"sigilo/v1/root-statement".to_vec()),
        ("manifest", "second", manifest.encode()),
        ("manifest", "first", Manifest { version: 1, previous: None, ..manifest }.encode()),
        ("history_key", "one", sent.encode().to_vec()),
        ("link_package", "one-of-each", package.encode().to_vec()),
        ("link_package", "earlier-identity", with_earlier.encode().to_vec()),
        ("receipt", "one-policy", receipt.encode()),
        ("decision", "one-policy", decision.encode()),
        ("envelope", "message", envelope.encode().to_vec()),
        ("envelope", "call-signal", [&[2][..], &[0; 24]].concat()),
        ("padding", "short", pad(b"{}").to_vec()),
        ("padding", "whole-block", pad(&[0x80; 160]).to_vec()),
        ("padding", "zeros", vec![0; 160]),
        (
            "content",
            "text",
            br#"{"v":1,"text":"hola","mentions":[],"medical_terms":["x"],"later":null}"#.to_vec(),
        ),
        ("content", "file", file.to_vec()),
        ("content", "profile", br#"{"v":1,"checkpoint":"c","title":"t"}"#.to_vec()),
        ("content", "reaction", br#"{"v":1,"emoji":"+","remove":true}"#.to_vec()),
        ("content", "location", br#"{"v":1,"latitude":19.4326,"longitude":-99.1e0}"#.to_vec()),
        ("content", "appointment", br#"{"v":1,"starts_at":"2026-01-01T00:00:00.000000Z"}"#.to_vec()),
        ("content", "prescription", br#"{"v":1,"medications":[{"name":"n","dosage":"d"}]}"#.to_vec()),
        ("content", "later-version", br#"{"v":4294967295}"#.to_vec()),
        ("public_keys", "identity", identity.public().to_bytes().to_vec()),
        ("public_keys", "low-order", [&[5][..], &[0; 32]].concat()),
        ("public_keys", "ed25519", server.to_bytes().to_vec()),
        ("public_keys", "kyber", vec![8; 1_569]),
        ("xwing_public", "history", history.as_bytes().to_vec()),
        ("record_seal", "one-member", serde_json::to_vec(&seal.to_new()).unwrap()),
        ("file", "empty", blob(b"")),
        ("file", "short", blob(b"laboratory")),
        ("file", "not-opening", long),
        ("file_layout", "two-segments", layout(SEGMENT_LENGTH as u64 + 1, SEGMENT_LENGTH as u64)),
        ("file_layout", "half-a-tag", layout(64 + 65_552 + 8, 0)),
        ("file_layout", "longest", layout(1 << 48, 1 << 32)),
        ("scan_key", "one", scan_key.encode()),
        ("verdict", "clean", verdict(ScanResult::Clean).encode()),
        ("verdict", "refused", verdict(ScanResult::Refused(Refusal::Type)).encode()),
        ("verdict", "infected", infected.encode()),
        ("release", "one", released.encode()),
    ]
}
