//! libsignal sessions between this device and others: PQXDH, then the Triple Ratchet.
//!
//! The post-quantum ratchet is required: a session without it is not used for sending, and a message whose
//! decryption leaves its state empty is refused, so that nobody can negotiate it away.

mod prekeys;
mod stores;
#[cfg(test)]
mod tests;

use libsignal_protocol::{
    CiphertextMessage, CiphertextMessageType, DeviceId, IdentityKey, KyberPreKeyId, PreKeyBundle, PreKeyId,
    PreKeySignalMessage, ProtocolAddress, PublicKey, SessionRecord, SessionStore as _,
    SessionUsabilityRequirements, SignalMessage, SignalProtocolError, SignedPreKeyId, kem, message_decrypt,
    message_encrypt, process_prekey_bundle,
};
use sigilo_seal::{IdentityPublicKey, KyberPublicKey, PreKeyPublic, Rng09};
use sigilo_wire::{
    Base64, DeviceNumber, UserId,
    event::Envelope,
    keys::DeviceBundle,
    message::{EnvelopeType, RecipientEnvelope},
};
use zeroize::Zeroizing;

use self::stores::{Identities, KyberPreKeys, PreKeys, Sessions, SignedPreKeys};
use crate::{
    Error, Result,
    env::{Env, system_time},
    profile::{
        Step,
        records::{Session, session_key},
    },
};

pub(crate) use self::prekeys::{ONE_TIME_KEYS, make_first, make_one_time, make_signed, prune};

/// What a session must be to be sent through.
fn required() -> SessionUsabilityRequirements {
    SessionUsabilityRequirements::NotStale
        | SessionUsabilityRequirements::EstablishedWithPqxdh
        | SessionUsabilityRequirements::Spqr
}

/// The libsignal address of a device: the user's id as text, the device's number.
fn address(user: UserId, device: DeviceNumber) -> Result<ProtocolAddress> {
    let device = DeviceId::new(device.get()).map_err(|_| Error::internal("a device number of 0"))?;
    Ok(ProtocolAddress::new(user.to_string(), device))
}

/// Whether there is a session with the device that may be sent through, made for this registration.
pub(crate) async fn is_usable(
    step: &Step,
    user: UserId,
    device: DeviceNumber,
    registration_id: u32,
    env: &Env,
) -> Result<bool> {
    let Some(record) = Sessions(step).load_session(&address(user, device)?).await? else { return Ok(false) };
    // The registration is asked for last: a session that was set aside has none.
    Ok(record.has_usable_sender_chain(system_time(env.now()), required())?
        && record.remote_registration_id()? == registration_id)
}

/// Opens a session with a device from its bundle, after checking every key and signature in it.
pub(crate) async fn open(
    step: &Step,
    user: UserId,
    identity: &IdentityPublicKey,
    bundle: &DeviceBundle,
    env: &Env,
) -> Result<()> {
    let refused = |problem: &str| Error::contact(user, problem);
    PreKeyPublic::parse(bundle.signed_pre_key.public_key.as_slice()).map_err(|e| Error::contact(user, e))?;
    KyberPublicKey::parse(bundle.kyber_pre_key.public_key.as_slice()).map_err(|e| Error::contact(user, e))?;
    let one_time = match &bundle.pre_key {
        Some(key) => {
            PreKeyPublic::parse(key.public_key.as_slice()).map_err(|e| Error::contact(user, e))?;
            Some((
                PreKeyId::from(key.key_id),
                PublicKey::deserialize(key.public_key.as_slice()).map_err(curve)?,
            ))
        }
        None => None,
    };
    let signed = &bundle.signed_pre_key;
    let kyber = &bundle.kyber_pre_key;
    if !identity.verify(signed.public_key.as_slice(), &signed.signature)
        || !identity.verify(kyber.public_key.as_slice(), &kyber.signature)
    {
        return Err(refused("a prekey is not signed by the identity key"));
    }
    let device = DeviceId::new(bundle.device_id.get()).map_err(|_| refused("a device number of 0"))?;
    let bundle = PreKeyBundle::new(
        bundle.registration_id,
        device,
        one_time,
        SignedPreKeyId::from(signed.key_id),
        PublicKey::deserialize(signed.public_key.as_slice()).map_err(curve)?,
        signed.signature.to_vec(),
        KyberPreKeyId::from(kyber.key_id),
        kem::PublicKey::deserialize(kyber.public_key.as_slice())?,
        kyber.signature.to_vec(),
        IdentityKey::decode(identity.as_bytes())?,
    )?;
    let to = ProtocolAddress::new(user.to_string(), device);
    let now = env.now();
    let mut rng = env.rng();
    process_prekey_bundle(
        &to,
        &mut Sessions(step),
        &mut Identities { step, now },
        &bundle,
        system_time(now),
        &mut Rng09(&mut rng),
    )
    .await?;
    Ok(())
}

/// Sets the session with a device aside: messages under way still open, the next send opens a new one.
pub(crate) async fn set_aside(step: &Step, user: UserId, device: DeviceNumber) -> Result<()> {
    let address = address(user, device)?;
    let Some(mut record) = Sessions(step).load_session(&address).await? else { return Ok(()) };
    record.archive_current_state()?;
    Ok(Sessions(step).store_session(&address, &record).await?)
}

/// Forgets the session with a device, for an identity or an installation that is no more.
pub(crate) fn forget(step: &Step, user: UserId, device: DeviceNumber) {
    step.delete::<Session>(&session_key(user, device));
}

/// Encrypts for one device. The session is advanced in `step`: the ciphertext must not leave the device before
/// the step is committed.
pub(crate) async fn encrypt(
    step: &Step,
    user: UserId,
    device: DeviceNumber,
    registration_id: u32,
    plaintext: &[u8],
    env: &Env,
) -> Result<RecipientEnvelope> {
    let to = address(user, device)?;
    let now = env.now();
    let record = Sessions(step).load_session(&to).await?;
    let usable =
        record.is_some_and(|r| r.has_usable_sender_chain(system_time(now), required()).unwrap_or(false));
    if !usable {
        return Err(Error::Session(format!(
            "none with device {device} of {user} has the post-quantum ratchet"
        )));
    }
    let mut rng = env.rng();
    let ciphertext = message_encrypt(
        plaintext,
        &to,
        &mut Sessions(step),
        &mut Identities { step, now },
        system_time(now),
        &mut Rng09(&mut rng),
    )
    .await
    .map_err(|error| match error {
        SignalProtocolError::UntrustedIdentity(_) => Error::IdentityChanged { user },
        other => other.into(),
    })?;
    let r#type = match ciphertext.message_type() {
        CiphertextMessageType::Whisper => EnvelopeType::Message,
        CiphertextMessageType::PreKey => EnvelopeType::PreKeyMessage,
        _ => return Err(Error::internal("libsignal made a message of another type")),
    };
    let content = Base64(ciphertext.serialize().to_vec());
    Ok(RecipientEnvelope { user_id: user, device_id: device, registration_id, r#type, content })
}

/// What an envelope held, and the identity key of the session it came through.
pub(crate) struct Opened {
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) identity: IdentityPublicKey,
}

/// Decrypts an envelope of one device. On an error, `step` must be dropped: it may hold half of a change.
pub(crate) async fn decrypt(
    step: &Step,
    user: UserId,
    device: DeviceNumber,
    envelope: &Envelope,
    env: &Env,
) -> Result<Opened> {
    let from = address(user, device)?;
    let now = env.now();
    let ciphertext = match envelope.r#type {
        EnvelopeType::Message => {
            CiphertextMessage::SignalMessage(SignalMessage::try_from(envelope.content.0.as_slice())?)
        }
        EnvelopeType::PreKeyMessage => CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(
            envelope.content.0.as_slice(),
        )?),
    };
    if let CiphertextMessage::PreKeySignalMessage(message) = &ciphertext {
        IdentityPublicKey::parse(&message.identity_key().serialize()).map_err(|e| Error::contact(user, e))?;
    }
    let mut rng = env.rng();
    let plaintext = message_decrypt(
        &ciphertext,
        &from,
        &mut Sessions(step),
        &mut Identities { step, now },
        &mut PreKeys { step, now },
        &SignedPreKeys { step, now },
        &mut KyberPreKeys { step, now },
        &mut Rng09(&mut rng),
    )
    .await?;
    let record = Sessions(step).load_session(&from).await?;
    let record = record.ok_or_else(|| Error::Session("gone after a decryption".into()))?;
    require_post_quantum(&record)?;
    let identity = record.remote_identity_key_bytes()?.unwrap_or_default();
    let identity = IdentityPublicKey::parse(&identity).map_err(|e| Error::contact(user, e))?;
    Ok(Opened { plaintext: Zeroizing::new(plaintext), identity })
}

/// Refuses a session whose post-quantum ratchet was negotiated away.
fn require_post_quantum(record: &SessionRecord) -> Result<()> {
    match record.current_pq_state() {
        Some(state) if !state.is_empty() => Ok(()),
        _ => Err(Error::Session("the session has no post-quantum ratchet".into())),
    }
}

fn curve(error: impl std::fmt::Display) -> Error {
    Error::Session(error.to_string())
}
