//! What one message, one signature and one record seal cost, and how fast a file is sealed.

use std::io::{Read as _, sink};

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::AeadInOut as _};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sigilo_seal::{
    ArchiveKey, Content, ContentKey, Context, FileKey, FileOpener, FileSealer, IdentitySecret, Member,
    Recipient, RecordSeal, SealHeader, SessionPeer, XWingSecret,
    file::{
        SEGMENT_LENGTH,
        io::{OpenReader, SealReader},
    },
    message,
};
use sigilo_wire::{ClientMessageId, ConversationId, DeviceNumber, SealId, TenantId, Timestamp, UserId};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

fn header() -> SealHeader {
    SealHeader {
        tenant: TenantId::from_bytes([1; 16]),
        conversation: ConversationId::from_bytes([2; 16]),
        seal_id: SealId::from_bytes([3; 16]),
        sender: UserId::from_bytes([4; 16]),
        device: DeviceNumber::FIRST,
    }
}

fn context() -> Context {
    let SealHeader { tenant, conversation, seal_id, sender, device } = header();
    Context {
        tenant,
        conversation,
        client_message_id: ClientMessageId::from_bytes([5; 16]),
        sender,
        device,
        sent_at: Timestamp::from_micros(1_767_225_600_000_000),
        kind: "text".into(),
        seal_id,
        device_seq: 1,
        prev_commitment: None,
        seen_commitment: None,
        target_commitment: None,
        reply_to_commitment: None,
        priority: "normal".into(),
        urgent: false,
        when_open: false,
        expires_in_s: 0,
        attachments: vec![],
    }
}

fn signatures(c: &mut Criterion) {
    let mut rng = rng();
    let identity = IdentitySecret::generate(&mut rng);
    let signature = identity.sign(&[7; 115], &mut rng);
    c.bench_function("identity_sign", |b| b.iter(|| identity.sign(&[7; 115], &mut rng)));
    let public = identity.public();
    c.bench_function("identity_verify", |b| b.iter(|| assert!(public.verify(&[7; 115], &signature))));
    let bytes = public.to_bytes();
    c.bench_function("identity_parse", |b| b.iter(|| sigilo_seal::IdentityPublicKey::parse(&bytes)));
}

fn messages(c: &mut Criterion) {
    let mut rng = rng();
    let identity = IdentitySecret::generate(&mut rng);
    let archive = ArchiveKey::generate(&mut rng);
    let key = ContentKey::generate(&mut rng);
    let content = Content::text("x".repeat(100));
    for length in [100usize, 5_000] {
        let json = Content::text("x".repeat(length)).to_json();
        let mut group = c.benchmark_group("body");
        group.throughput(Throughput::Bytes(length as u64));
        let context = context();
        group.bench_function(format!("seal_{length}"), |b| {
            b.iter(|| message::seal_body(&key, &context, &json));
        });
        let body = message::seal_body(&key, &context, &json);
        group.bench_function(format!("open_{length}"), |b| {
            b.iter(|| message::open_body(&key, &context, &body));
        });
    }
    c.bench_function("message_seal", |b| {
        b.iter_batched(
            context,
            |context| message::seal_message(&key, context, &content, &archive, &identity, &mut rng),
            BatchSize::SmallInput,
        );
    });
    let (sealed, envelope) =
        message::seal_message(&key, context(), &content, &archive, &identity, &mut self::rng());
    let peer = SessionPeer { user: header().sender, device: header().device, identity: identity.public() };
    c.bench_function("message_open", |b| {
        b.iter(|| assert!(message::open_message(&sealed, &peer, &envelope, &archive).is_ok()));
    });
    c.bench_function("message_server_check", |b| b.iter(|| sealed.check_signature(&peer.identity)));
}

fn record_seals(c: &mut Criterion) {
    let mut rng = rng();
    let identity = IdentitySecret::generate(&mut rng);
    let histories: [XWingSecret; 3] = std::array::from_fn(|_| XWingSecret::generate(&mut rng));
    let [mine, ..] = &histories;
    let recipients: Vec<_> = histories.iter().map(|history| Recipient::history(history.public())).collect();
    let member = Member {
        user: header().sender,
        identity_key: identity.public(),
        history_key_id: mine.public().history_key_id(),
    };
    let archive = ArchiveKey::generate(&mut rng);
    let now = Timestamp::from_micros(1_767_225_600_000_000);
    let mut create =
        || RecordSeal::create(&archive, header(), now, vec![member], &recipients, &identity, &mut rng);
    c.bench_function("record_seal_create_3", |b| b.iter(&mut create));
    let Ok(seal) = create() else { return };
    c.bench_function("record_seal_open", |b| b.iter(|| seal.open_history_copy(mine)));
    c.bench_function("record_seal_recheck_3", |b| b.iter(|| seal.recheck(&archive, &recipients)));
    let public = identity.public();
    c.bench_function("record_seal_server_check_3", |b| b.iter(|| seal.verify_signature(&public)));
}

/// The whole of a file of 10 MiB: bare AES-256-GCM of its segments is what sealing is measured against. The readers
/// compute the blob's SHA-256, too.
fn files(c: &mut Criterion) {
    const LENGTH: usize = 160 * SEGMENT_LENGTH;
    let key = FileKey::generate(&mut rng());
    let file = vec![7; LENGTH];
    let mut group = c.benchmark_group("file_10_mib");
    group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(20);
    let mut segment = vec![7; SEGMENT_LENGTH];
    group.bench_function("bare_aes_gcm", |b| {
        let cipher = Aes256Gcm::new(&[1; 32].into());
        b.iter(|| {
            for number in 0..LENGTH / SEGMENT_LENGTH {
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&number.to_be_bytes());
                assert!(
                    cipher.encrypt_inout_detached(&nonce.into(), b"", segment.as_mut_slice().into()).is_ok()
                );
            }
        });
    });
    group.bench_function("seal_in_place", |b| {
        b.iter(|| {
            let mut sealer = FileSealer::new(&key, LENGTH as u64, &mut rng());
            for number in 1..=LENGTH / SEGMENT_LENGTH {
                assert!(sealer.segment_in_place(&mut segment, number == LENGTH / SEGMENT_LENGTH).is_ok());
            }
        });
    });
    group.bench_function("seal_reader", |b| {
        b.iter(|| {
            let mut reader = SealReader::new(file.as_slice(), &key, LENGTH as u64, &mut rng());
            assert!(std::io::copy(&mut reader, &mut sink()).is_ok());
        });
    });
    let mut blob = Vec::new();
    assert!(SealReader::new(file.as_slice(), &key, LENGTH as u64, &mut rng()).read_to_end(&mut blob).is_ok());
    group.bench_function("open_reader", |b| {
        b.iter(|| {
            let reader = OpenReader::new(blob.as_slice(), &key, LENGTH as u64);
            assert!(reader.is_ok_and(|mut reader| std::io::copy(&mut reader, &mut sink()).is_ok()));
        });
    });
    let mut sealer = FileSealer::new(&key, LENGTH as u64, &mut rng());
    let Ok(sealed) = sealer.segment(&segment, true) else { return };
    group.throughput(Throughput::Bytes(SEGMENT_LENGTH as u64));
    group.bench_function("first_segment", |b| {
        b.iter(|| {
            let opener = FileOpener::new(&key, sealer.head(), LENGTH as u64);
            assert!(opener.is_ok_and(|mut opener| opener.segment(&sealed, true).is_ok()));
        });
    });
    group.finish();
}

criterion_group!(benches, signatures, messages, record_seals, files);
criterion_main!(benches);
