//! This device's prekeys: what others need to open a session with it while it is away.

use std::time::Duration;

use libsignal_protocol::{
    GenericSignedPreKey as _, KeyPair, KyberPreKeyRecord, PreKeyRecord, SignedPreKeyRecord, Timestamp, kem,
};
use sigilo_seal::{IdentitySecret, Rng09};
use sigilo_wire::{
    Base64Array,
    keys::{KyberPreKey as PublicKyberPreKey, PreKey, PutKeys, SignedPreKey as PublicSignedPreKey},
};

use crate::{
    Error, Result,
    env::Env,
    profile::{
        Order, Profile, Step,
        records::{KyberPreKey, OneTimePreKey, OwnIdentity, SecretBytes, SignedPreKey},
    },
};

/// How many one-time keys of each kind are published at once: the server's limit.
pub(crate) const ONE_TIME_KEYS: u32 = 100;
/// Key ids have 24 bits in libsignal.
const ID_LIMIT: u32 = 0x00ff_ffff;
/// Somebody may still use a bundle fetched before a rotation: private halves are kept this long.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

/// The first publication: signed and last-resort prekeys, and `count` one-time keys of each kind.
pub(crate) fn make_first(step: &Step, own: &mut OwnIdentity, count: u32, env: &Env) -> Result<PutKeys> {
    let signed = make_signed(step, own, env)?;
    let one_time = make_one_time(step, own, count, env)?;
    Ok(PutKeys { pre_keys: one_time.pre_keys, kyber_pre_keys: one_time.kyber_pre_keys, ..signed })
}

/// `count` new one-time keys of each kind.
pub(crate) fn make_one_time(step: &Step, own: &mut OwnIdentity, count: u32, env: &Env) -> Result<PutKeys> {
    let identity = identity(own)?;
    let mut keys = PutKeys { registration_id: own.registration_id, ..PutKeys::default() };
    for _ in 0..count {
        let id = next_id(own);
        let pair = KeyPair::generate(&mut Rng09(&mut env.rng()));
        let record = SecretBytes(PreKeyRecord::new(id.into(), &pair).serialize()?);
        step.put(&OneTimePreKey { id, created_at: env.now(), record })?;
        keys.pre_keys.push(PreKey { key_id: id, public_key: fixed(&pair.public_key.serialize())? });
        keys.kyber_pre_keys.push(make_kyber(step, own, &identity, false, env)?);
    }
    step.put(own)?;
    Ok(keys)
}

/// A new signed prekey and a new last-resort Kyber prekey.
pub(crate) fn make_signed(step: &Step, own: &mut OwnIdentity, env: &Env) -> Result<PutKeys> {
    let identity = identity(own)?;
    let id = next_id(own);
    let pair = KeyPair::generate(&mut Rng09(&mut env.rng()));
    let public = pair.public_key.serialize();
    let signature = identity.sign(&public, &mut env.rng());
    let record = SignedPreKeyRecord::new(id.into(), millis(env), &pair, &signature);
    step.put(&SignedPreKey { id, created_at: env.now(), record: SecretBytes(record.serialize()?) })?;
    let kyber = make_kyber(step, own, &identity, true, env)?;
    own.signed_pre_key_id = id;
    own.last_resort_kyber_id = kyber.key_id;
    step.put(own)?;
    let signed = PublicSignedPreKey { key_id: id, public_key: fixed(&public)?, signature: signature.into() };
    Ok(PutKeys {
        registration_id: own.registration_id,
        signed_pre_key: Some(signed),
        last_resort_kyber_pre_key: Some(kyber),
        ..PutKeys::default()
    })
}

/// Removes private halves that nobody can use any more.
pub(crate) async fn prune(profile: &Profile, step: &Step, own: &OwnIdentity, env: &Env) -> Result<()> {
    let before = (env.now() - KEEP).micros();
    for key in profile.list::<OneTimePreKey>(b"", before, u32::MAX, Order::OldestFirst).await? {
        step.delete::<OneTimePreKey>(&key.id.to_be_bytes());
    }
    for key in profile.list::<SignedPreKey>(b"", before, u32::MAX, Order::OldestFirst).await? {
        if key.id != own.signed_pre_key_id {
            step.delete::<SignedPreKey>(&key.id.to_be_bytes());
        }
    }
    for key in profile.list::<KyberPreKey>(b"", before, u32::MAX, Order::OldestFirst).await? {
        if key.id != own.last_resort_kyber_id {
            step.delete::<KyberPreKey>(&key.id.to_be_bytes());
        }
    }
    Ok(())
}

fn make_kyber(
    step: &Step,
    own: &mut OwnIdentity,
    identity: &IdentitySecret,
    last_resort: bool,
    env: &Env,
) -> Result<PublicKyberPreKey> {
    let id = next_id(own);
    let pair = kem::KeyPair::generate(kem::KeyType::Kyber1024, &mut Rng09(&mut env.rng()));
    let public = pair.public_key.serialize();
    let signature = identity.sign(&public, &mut env.rng());
    let record = KyberPreKeyRecord::new(id.into(), millis(env), &pair, &signature);
    let record = SecretBytes(record.serialize()?);
    step.put(&KyberPreKey { id, created_at: env.now(), record, last_resort })?;
    Ok(PublicKyberPreKey { key_id: id, public_key: fixed(&public)?, signature: signature.into() })
}

fn identity(own: &OwnIdentity) -> Result<IdentitySecret> {
    Ok(IdentitySecret::from_bytes(own.secret.key()?))
}

fn next_id(own: &mut OwnIdentity) -> u32 {
    let id = own.next_pre_key_id;
    own.next_pre_key_id = if id >= ID_LIMIT { 1 } else { id + 1 };
    id
}

fn millis(env: &Env) -> Timestamp {
    Timestamp::from_epoch_millis(u64::try_from(env.now().micros() / 1_000).unwrap_or(0))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<Base64Array<N>> {
    let bytes: [u8; N] = bytes.try_into().map_err(|_| Error::internal("a key has a wrong length"))?;
    Ok(bytes.into())
}
