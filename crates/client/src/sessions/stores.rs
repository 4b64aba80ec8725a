//! libsignal's stores over one act on the profile.
//!
//! All five read and write the same [`Step`], so that everything a message changes is committed together.

use async_trait::async_trait;
use libsignal_protocol::{
    CiphertextMessageType, Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair,
    IdentityKeyStore, KyberPreKeyId, KyberPreKeyRecord, KyberPreKeyStore, PreKeyId, PreKeyRecord,
    PreKeyStore, PrivateKey, ProtocolAddress, PublicKey, SessionRecord, SessionStore, SignalProtocolError,
    SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore,
};
use sigilo_seal::IdentityPublicKey;
use sigilo_wire::{Base64, DeviceNumber, Timestamp, UserId};

use crate::{
    Error,
    error::PROFILE,
    profile::{
        Record, Step,
        records::{
            Contact, KyberPreKey, LastResortUse, ONLY, OneTimePreKey, OwnIdentity, SecretBytes, Session,
            SignedPreKey, last_resort_key, session_key,
        },
    },
};

type Result<T> = std::result::Result<T, SignalProtocolError>;

/// libsignal's error for a profile that cannot be read.
fn failed(error: Error) -> SignalProtocolError {
    SignalProtocolError::InvalidState(PROFILE, error.to_string())
}

/// The user and device of an address made by [`super::address`].
fn parse(address: &ProtocolAddress) -> Result<(UserId, DeviceNumber)> {
    let invalid = || SignalProtocolError::InvalidProtocolAddress {
        name: address.name().to_owned(),
        device_id: address.device_id().into(),
    };
    let user = address.name().parse().map_err(|_| invalid())?;
    let device = DeviceNumber::new(address.device_id().into()).ok_or_else(invalid)?;
    Ok((user, device))
}

/// Sessions by user and device.
pub(super) struct Sessions<'a>(pub(super) &'a Step);

#[async_trait(?Send)]
impl SessionStore for Sessions<'_> {
    async fn load_session(&self, address: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        let (user, device) = parse(address)?;
        let session: Option<Session> = self.0.get(&session_key(user, device)).await.map_err(failed)?;
        session.map(|session| SessionRecord::deserialize(&session.record.0)).transpose()
    }

    async fn store_session(&mut self, address: &ProtocolAddress, record: &SessionRecord) -> Result<()> {
        let (user, device) = parse(address)?;
        let record = SecretBytes(record.serialize()?);
        self.0.put(&Session { user, device, record }).map_err(failed)
    }
}

/// Identities: one a user, whichever the device. A message may come under an identity that is not confirmed;
/// nothing is sent to one.
pub(super) struct Identities<'a> {
    pub(super) step: &'a Step,
    pub(super) now: Timestamp,
}

impl Identities<'_> {
    async fn own(&self) -> Result<OwnIdentity> {
        let own: Option<OwnIdentity> = self.step.get(ONLY).await.map_err(failed)?;
        own.ok_or_else(|| SignalProtocolError::InvalidState("identity", "no keys yet".into()))
    }

    async fn contact(&self, address: &ProtocolAddress) -> Result<(UserId, Option<Contact>)> {
        let (user, _) = parse(address)?;
        Ok((user, self.step.get(user.as_bytes()).await.map_err(failed)?))
    }
}

#[async_trait(?Send)]
impl IdentityKeyStore for Identities<'_> {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        let private = PrivateKey::deserialize(&self.own().await?.secret.0)?;
        Ok(IdentityKeyPair::new(IdentityKey::new(private.public_key()?), private))
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.own().await?.registration_id)
    }

    async fn save_identity(
        &mut self,
        address: &ProtocolAddress,
        identity: &IdentityKey,
    ) -> Result<IdentityChange> {
        let identity = strict(identity)?;
        let (user, contact) = self.contact(address).await?;
        match contact {
            None => {
                self.step.put(&Contact::first_seen(user, identity, self.now)).map_err(failed)?;
                Ok(IdentityChange::NewOrUnchanged)
            }
            Some(contact) if contact.identity == identity => Ok(IdentityChange::NewOrUnchanged),
            // What was said before it was replaced comes late. It is not asked for again.
            Some(contact) if contact.earlier(&identity).is_some() => Ok(IdentityChange::ReplacedExisting),
            Some(mut contact) => {
                contact.pending = Some(identity);
                contact.refresh_due = true;
                self.step.put(&contact).map_err(failed)?;
                Ok(IdentityChange::ReplacedExisting)
            }
        }
    }

    async fn is_trusted_identity(
        &self,
        address: &ProtocolAddress,
        identity: &IdentityKey,
        direction: Direction,
    ) -> Result<bool> {
        let Ok(identity) = strict(identity) else { return Ok(false) };
        let (_, contact) = self.contact(address).await?;
        Ok(match (direction, contact) {
            (Direction::Receiving, _) | (Direction::Sending, None) => true,
            (Direction::Sending, Some(contact)) => contact.pending.is_none() && contact.identity == identity,
        })
    }

    async fn get_identity(&self, address: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        let (_, contact) = self.contact(address).await?;
        contact.map(|contact| IdentityKey::decode(contact.identity.as_bytes())).transpose()
    }
}

/// Refuses non-canonical keys and keys of low order, which libsignal would take.
fn strict(identity: &IdentityKey) -> Result<IdentityPublicKey> {
    IdentityPublicKey::parse(&identity.serialize())
        .map_err(|_| SignalProtocolError::InvalidArgument("the identity key is not safe".into()))
}

/// One-time EC prekeys.
pub(super) struct PreKeys<'a> {
    pub(super) step: &'a Step,
    pub(super) now: Timestamp,
}

#[async_trait(?Send)]
impl PreKeyStore for PreKeys<'_> {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        let key = find::<OneTimePreKey>(self.step, id.into()).await?;
        PreKeyRecord::deserialize(&key.ok_or(SignalProtocolError::InvalidPreKeyId)?.record.0)
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> Result<()> {
        let record = SecretBytes(record.serialize()?);
        self.step.put(&OneTimePreKey { id: id.into(), created_at: self.now, record }).map_err(failed)
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> Result<()> {
        self.step.delete::<OneTimePreKey>(&u32::from(id).to_be_bytes());
        Ok(())
    }
}

/// Signed EC prekeys.
pub(super) struct SignedPreKeys<'a> {
    pub(super) step: &'a Step,
    pub(super) now: Timestamp,
}

#[async_trait(?Send)]
impl SignedPreKeyStore for SignedPreKeys<'_> {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        let key = find::<SignedPreKey>(self.step, id.into()).await?;
        SignedPreKeyRecord::deserialize(&key.ok_or(SignalProtocolError::InvalidSignedPreKeyId)?.record.0)
    }

    async fn save_signed_pre_key(&mut self, id: SignedPreKeyId, record: &SignedPreKeyRecord) -> Result<()> {
        let record = SecretBytes(record.serialize()?);
        self.step.put(&SignedPreKey { id: id.into(), created_at: self.now, record }).map_err(failed)
    }
}

/// Kyber prekeys: a one-time key is gone after its use, a last-resort key stays and remembers its uses.
pub(super) struct KyberPreKeys<'a> {
    pub(super) step: &'a Step,
    pub(super) now: Timestamp,
}

#[async_trait(?Send)]
impl KyberPreKeyStore for KyberPreKeys<'_> {
    async fn get_kyber_pre_key(&self, id: KyberPreKeyId) -> Result<KyberPreKeyRecord> {
        let key = find::<KyberPreKey>(self.step, id.into()).await?;
        KyberPreKeyRecord::deserialize(&key.ok_or(SignalProtocolError::InvalidKyberPreKeyId)?.record.0)
    }

    async fn save_kyber_pre_key(&mut self, id: KyberPreKeyId, record: &KyberPreKeyRecord) -> Result<()> {
        let record = SecretBytes(record.serialize()?);
        let key = KyberPreKey { id: id.into(), created_at: self.now, record, last_resort: false };
        self.step.put(&key).map_err(failed)
    }

    async fn mark_kyber_pre_key_used(
        &mut self,
        id: KyberPreKeyId,
        signed_id: SignedPreKeyId,
        base_key: &PublicKey,
    ) -> Result<()> {
        let key = find::<KyberPreKey>(self.step, id.into()).await?;
        let key = key.ok_or(SignalProtocolError::InvalidKyberPreKeyId)?;
        if !key.last_resort {
            self.step.delete::<KyberPreKey>(&key.id.to_be_bytes());
            return Ok(());
        }
        let base_key = base_key.serialize();
        let used = last_resort_key(key.id, signed_id.into(), &base_key);
        if self.step.get::<LastResortUse>(&used).await.map_err(failed)?.is_some() {
            let replay = "a last-resort key was used twice with one base key";
            return Err(SignalProtocolError::InvalidMessage(CiphertextMessageType::PreKey, replay));
        }
        let base_key = Base64(base_key.into());
        self.step
            .put(&LastResortUse { kyber_id: key.id, signed_id: signed_id.into(), base_key })
            .map_err(failed)
    }
}

async fn find<R: Record>(step: &Step, id: u32) -> Result<Option<R>> {
    step.get(&id.to_be_bytes()).await.map_err(failed)
}
