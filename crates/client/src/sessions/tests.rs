//! libsignal over two profiles: consumed prekeys, replays, the post-quantum ratchet, unsafe keys.

use libsignal_protocol::{KyberPreKeyStore as _, PrivateKey, SignalProtocolError};
use sigilo_wire::{
    DeviceNumber,
    event::Envelope,
    message::{EnvelopeType, RecipientEnvelope},
};

use super::{decrypt, encrypt, is_usable, open, set_aside, stores::KyberPreKeys};
use crate::{
    Error,
    profile::{
        Order,
        records::{KyberPreKey, ONLY, OneTimePreKey, OwnIdentity},
    },
    testing::{NOW, Party, World},
};

const DEVICE: DeviceNumber = DeviceNumber::FIRST;

async fn send(from: &Party, to: &Party, text: &[u8]) -> RecipientEnvelope {
    let step = from.engine.profile.step();
    let sent =
        encrypt(&step, to.user, DEVICE, to.bundle.registration_id, text, &from.engine.env).await.unwrap();
    step.commit().await.unwrap();
    sent
}

async fn take(to: &Party, from: &Party, sent: &RecipientEnvelope) -> Result<Vec<u8>, Error> {
    let envelope = Envelope { r#type: sent.r#type, content: sent.content.clone() };
    let step = to.engine.profile.step();
    let opened = decrypt(&step, from.user, DEVICE, &envelope, &to.engine.env).await?;
    assert_eq!(opened.identity, from.identity.public());
    step.commit().await.unwrap();
    Ok(opened.plaintext.to_vec())
}

#[tokio::test]
async fn messages_pass_in_both_directions_and_out_of_order() {
    let world = World::new().await;
    let (ana, maria) = (&world.ana, &world.maria);
    let first = send(ana, maria, b"one").await;
    assert_eq!(first.r#type, EnvelopeType::PreKeyMessage);
    let second = send(ana, maria, b"two").await;
    assert_eq!(take(maria, ana, &second).await.unwrap(), b"two");
    assert_eq!(take(maria, ana, &first).await.unwrap(), b"one");
    let answer = send(maria, ana, b"three").await;
    assert_eq!(take(ana, maria, &answer).await.unwrap(), b"three");
    assert_eq!(send(ana, maria, b"four").await.r#type, EnvelopeType::Message);
    assert!(take(ana, maria, &answer).await.is_err(), "a replay");
}

#[tokio::test]
async fn one_time_keys_are_gone_after_their_use() {
    let world = World::new().await;
    let (ana, maria) = (&world.ana, &world.maria);
    let profile = &maria.engine.profile;
    let ec = maria.bundle.pre_key.as_ref().unwrap().key_id.to_be_bytes();
    let kyber = maria.bundle.kyber_pre_key.key_id.to_be_bytes();
    assert!(profile.get::<OneTimePreKey>(&ec).await.unwrap().is_some());
    let sent = send(ana, maria, b"hello").await;
    // A crash between decryption and commit: the keys are still there, and the message opens again.
    let envelope = Envelope { r#type: sent.r#type, content: sent.content.clone() };
    let step = profile.step();
    decrypt(&step, ana.user, DEVICE, &envelope, &maria.engine.env).await.unwrap();
    drop(step);
    assert!(profile.get::<KyberPreKey>(&kyber).await.unwrap().is_some());
    take(maria, ana, &sent).await.unwrap();
    assert!(profile.get::<OneTimePreKey>(&ec).await.unwrap().is_none());
    assert!(profile.get::<KyberPreKey>(&kyber).await.unwrap().is_none());
}

#[tokio::test]
async fn a_last_resort_key_stays_and_remembers_its_uses() {
    let world = World::new().await;
    let step = world.maria.engine.profile.step();
    let own: OwnIdentity = step.get(ONLY).await.unwrap().unwrap();
    let base = PrivateKey::deserialize(&[5; 32]).unwrap().public_key().unwrap();
    let other = PrivateKey::deserialize(&[6; 32]).unwrap().public_key().unwrap();
    let mut keys = KyberPreKeys { step: &step, now: NOW };
    let (kyber, signed) = (own.last_resort_kyber_id.into(), own.signed_pre_key_id.into());
    keys.mark_kyber_pre_key_used(kyber, signed, &base).await.unwrap();
    keys.mark_kyber_pre_key_used(kyber, signed, &other).await.unwrap();
    let replay = keys.mark_kyber_pre_key_used(kyber, signed, &base).await;
    assert!(matches!(replay, Err(SignalProtocolError::InvalidMessage(..))), "{replay:?}");
    assert!(step.get::<KyberPreKey>(&own.last_resort_kyber_id.to_be_bytes()).await.unwrap().is_some());
}

#[tokio::test]
async fn bundles_that_do_not_verify_open_nothing() {
    let world = World::new().await;
    let (ana, maria) = (&world.ana, &world.maria);
    let changes: [fn(&mut sigilo_wire::keys::DeviceBundle); 6] = [
        |b| b.signed_pre_key.signature.0[0] ^= 1,
        |b| b.kyber_pre_key.signature.0[0] ^= 1,
        |b| b.kyber_pre_key.public_key.0[9] ^= 1,
        |b| b.signed_pre_key.public_key.0[1..].fill(0),
        |b| b.pre_key.as_mut().unwrap().public_key.0[1..].fill(0),
        |b| b.kyber_pre_key.public_key.0[0] = 7,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut bundle = maria.bundle.clone();
        change(&mut bundle);
        let step = ana.engine.profile.step();
        let opened = open(&step, maria.user, &maria.identity.public(), &bundle, &ana.engine.env).await;
        assert!(matches!(opened, Err(Error::ContactKeys { .. })), "change {number}: {opened:?}");
    }
}

#[tokio::test]
async fn a_session_set_aside_still_opens_what_is_under_way() {
    let world = World::new().await;
    let (ana, maria) = (&world.ana, &world.maria);
    take(maria, ana, &send(ana, maria, b"one").await).await.unwrap();
    let under_way = send(ana, maria, b"two").await;
    let step = maria.engine.profile.step();
    let registration = ana.bundle.registration_id;
    assert!(is_usable(&step, ana.user, DEVICE, registration, &maria.engine.env).await.unwrap());
    assert!(!is_usable(&step, ana.user, DEVICE, registration + 1, &maria.engine.env).await.unwrap());
    set_aside(&step, ana.user, DEVICE).await.unwrap();
    assert!(!is_usable(&step, ana.user, DEVICE, registration, &maria.engine.env).await.unwrap());
    step.commit().await.unwrap();
    assert_eq!(take(maria, ana, &under_way).await.unwrap(), b"two");
}

#[tokio::test]
async fn keys_nobody_can_use_any_more_are_removed() {
    let world = World::new().await;
    let profile = &world.maria.engine.profile;
    let old = NOW - std::time::Duration::from_secs(91 * 24 * 3600);
    let mut keys: Vec<OneTimePreKey> = profile.list(b"", i64::MAX, 1, Order::OldestFirst).await.unwrap();
    let mut key = keys.remove(0);
    key.created_at = old;
    profile.put(&key).await.unwrap();
    let own: OwnIdentity = profile.get(ONLY).await.unwrap().unwrap();
    let step = profile.step();
    super::prune(profile, &step, &own, &world.maria.engine.env).await.unwrap();
    step.commit().await.unwrap();
    assert!(profile.get::<OneTimePreKey>(&key.id.to_be_bytes()).await.unwrap().is_none());
    let left: Vec<OneTimePreKey> = profile.list(b"", i64::MAX, 1000, Order::OldestFirst).await.unwrap();
    assert_eq!(left.len(), crate::testing::ONE_TIME_KEYS as usize - 1);
}
