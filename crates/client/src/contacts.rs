//! The people this device exchanges messages with: their identity, their devices, their history keys.
//!
//! The first identity seen is used; another one later waits for the user to confirm it, and until then nothing
//! is sent or sealed to that person. Manifests only ever move forward.

use std::{collections::BTreeSet, time::Duration};

use sigilo_seal::{IdentityPublicKey, Manifest, manifest::SignedManifest};
use sigilo_wire::{
    DeviceNumber, ErrorCode, TenantId, Timestamp, UserId,
    keys::{self, DeviceBundle},
};

use crate::{
    Error, Result,
    engine::Engine,
    event::{ClientEvent, TimelineNote},
    profile::{
        Record as _,
        records::{Contact, ContactDevice, ContactHistoryKey, EarlierIdentity, Session},
    },
    safety::SafetyNumber,
    sessions,
};

/// How wrong the clock of a device may be that does anything at all.
pub(crate) const CLOCK_ERROR: Duration = Duration::from_secs(24 * 3600);

impl Contact {
    /// Somebody with the first identity seen of them.
    pub(crate) const fn first_seen(user: UserId, identity: IdentityPublicKey, now: Timestamp) -> Self {
        Self {
            user,
            name: None,
            identity,
            first_seen: now,
            verified: false,
            pending: None,
            earlier: Vec::new(),
            manifest: None,
            manifest_version: 0,
            history_key: None,
            devices: Vec::new(),
            refresh_due: true,
        }
    }

    /// Every identity this device knows of them: the one in use, a waiting one, those in use before.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &IdentityPublicKey> {
        let earlier = self.earlier.iter().map(|earlier| &earlier.identity);
        std::iter::once(&self.identity).chain(&self.pending).chain(earlier)
    }

    /// The identity they had before, if this is one.
    pub(crate) fn earlier(&self, identity: &IdentityPublicKey) -> Option<&EarlierIdentity> {
        self.earlier.iter().find(|earlier| earlier.identity == *identity)
    }

    /// Whether they may have had an identity about this time that this device never knew. One that was the same
    /// all the while had none in between: nobody goes back to an identity of before.
    pub(crate) fn may_have_had_another(&self, at: Timestamp) -> bool {
        let before = |earlier: &EarlierIdentity| at.since(earlier.until) < CLOCK_ERROR;
        self.pending.is_some() || self.earlier.iter().any(before) || at < self.first_seen + CLOCK_ERROR
    }

    /// Takes over a manifest that the identity signed, if it is not behind the one seen before.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take_manifest(
        &mut self,
        offered: &keys::SignedManifest,
        tenant: TenantId,
    ) -> std::result::Result<Manifest, String> {
        let manifest = SignedManifest::from(offered)
            .verify(&self.identity, tenant, self.user)
            .map_err(|e| e.to_string())?;
        if let Some(seen) = &self.manifest {
            let seen = Manifest::decode(&seen.statement).map_err(|e| e.to_string())?;
            if manifest.version < seen.version {
                return Err(format!("manifest {} is older than {}", manifest.version, seen.version));
            }
            if manifest.version == seen.version && manifest != seen {
                return Err(format!("there are two manifests of version {}", seen.version));
            }
            if manifest.version == seen.version + 1 {
                manifest.verify_successor(&seen).map_err(|e| e.to_string())?;
            }
        }
        self.manifest = Some(offered.clone());
        self.manifest_version = manifest.version;
        self.history_key = Some(manifest.history_public_key.clone());
        Ok(manifest)
    }
}

/// What the server's answer to a send hints at about somebody's devices.
#[derive(Debug, Default)]
pub(crate) struct DeviceHints {
    /// They get a new session: the one there is was made for another registration.
    pub(crate) renew: BTreeSet<DeviceNumber>,
    /// They are to get no envelope: their keys have expired.
    pub(crate) expired: BTreeSet<DeviceNumber>,
    /// They are to get one.
    pub(crate) missing: BTreeSet<DeviceNumber>,
}

impl Engine {
    /// Somebody as far as known; fetched the first time.
    pub(crate) async fn contact(&self, user: UserId) -> Result<Contact> {
        match self.profile.get::<Contact>(user.as_bytes()).await? {
            Some(contact) if contact.manifest.is_some() => Ok(contact),
            _ => self.refresh_manifest(user).await,
        }
    }

    /// Somebody that something may be sent to now: manifest as new as known, identity confirmed, a session with
    /// each device.
    ///
    /// # Errors
    /// [`Error::IdentityChanged`], [`Error::KeysMissing`], [`Error::ContactKeys`].
    pub(crate) async fn recipient(&self, user: UserId) -> Result<Contact> {
        let known: Option<Contact> = self.profile.get(user.as_bytes()).await?;
        let contact = match known {
            Some(contact) if contact.pending.is_some() => return Err(Error::IdentityChanged { user }),
            Some(contact) if contact.manifest.is_some() && !contact.refresh_due => contact,
            _ => self.refresh_manifest(user).await?,
        };
        self.open_sessions(contact, &DeviceHints::default()).await
    }

    /// The devices of somebody that get envelopes: those of the newest manifest with fresh keys, but this one.
    pub(crate) fn other_devices(&self, contact: &Contact) -> Result<Vec<ContactDevice>> {
        let account = self.account()?;
        let this = (account.user, account.device);
        let devices = contact.devices.iter().filter(|d| d.fresh && (contact.user, d.device) != this);
        Ok(devices.copied().collect())
    }

    /// Fetches somebody's identity and manifest, and checks them. Takes no one-time keys.
    pub(crate) async fn refresh_manifest(&self, user: UserId) -> Result<Contact> {
        let answer = self.api.manifest(user).await.map_err(|error| missing_keys(user, error))?;
        let identity = self.check_identity(user, answer.user_id, answer.identity_key.as_slice()).await?;
        let known: Option<Contact> = self.profile.get(user.as_bytes()).await?;
        let mut contact = known.unwrap_or_else(|| Contact::first_seen(user, identity, self.env.now()));
        contact.pending = None;
        let tenant = self.account()?.tenant;
        let manifest = contact
            .take_manifest(&answer.manifest, tenant)
            .map_err(|problem| Error::contact(user, problem))?;
        let before = std::mem::take(&mut contact.devices);
        contact.devices = manifest
            .devices
            .iter()
            .map(|device| ContactDevice {
                device: device.device,
                registration_id: device.registration_id,
                fresh: before.iter().find(|b| b.device == device.device).is_none_or(|b| b.fresh),
            })
            .collect();
        contact.refresh_due = false;
        let key = ContactHistoryKey {
            user,
            key_id: manifest.history_key_id(),
            public_key: manifest.history_public_key.clone(),
        };
        let step = self.profile.step();
        let is_new = step.get::<ContactHistoryKey>(&key.key()).await?.is_none();
        step.put(&key)?;
        step.put(&contact)?;
        step.commit().await?;
        if is_new {
            // Seals may have waited for it.
            self.upkeep_soon();
        }
        if user == self.account()?.user {
            self.tell_devices(&before, &contact.devices);
            self.settle_history_key(&manifest).await?;
        }
        Ok(contact)
    }

    /// Tells the user that their own devices are others now.
    fn tell_devices(&self, before: &[ContactDevice], now: &[ContactDevice]) {
        let missing_in = |list: &[ContactDevice], other: &[ContactDevice]| -> Vec<DeviceNumber> {
            let gone = list.iter().filter(|device| other.iter().all(|o| o.device != device.device));
            gone.map(|device| device.device).collect()
        };
        let (added, removed) = (missing_in(now, before), missing_in(before, now));
        if !added.is_empty() || !removed.is_empty() {
            self.tell(ClientEvent::DevicesChanged { added, removed });
        }
    }

    /// The identity the server answers with, if it is the one in use; another one stops whatever asked.
    async fn check_identity(&self, user: UserId, answered: UserId, key: &[u8]) -> Result<IdentityPublicKey> {
        if answered != user {
            return Err(Error::contact(user, "the server answered with somebody else's"));
        }
        let identity = IdentityPublicKey::parse(key).map_err(|error| Error::contact(user, error))?;
        match self.profile.get::<Contact>(user.as_bytes()).await? {
            Some(contact) if contact.identity != identity => {
                Err(self.note_identity_change(contact, identity).await?)
            }
            _ => Ok(identity),
        }
    }

    /// Opens a session with each device that has none, and a new one with those to renew.
    pub(crate) async fn open_sessions(&self, mut contact: Contact, hints: &DeviceHints) -> Result<Contact> {
        for device in &mut contact.devices {
            let named = hints.missing.contains(&device.device) || hints.renew.contains(&device.device);
            device.fresh = (device.fresh || named) && !hints.expired.contains(&device.device);
        }
        let step = self.profile.step();
        let mut without = BTreeSet::new();
        for device in self.other_devices(&contact)? {
            let (number, registration) = (device.device, device.registration_id);
            let usable = sessions::is_usable(&step, contact.user, number, registration, &self.env).await?;
            if !usable || hints.renew.contains(&number) {
                without.insert(number);
            }
        }
        if without.is_empty() && hints.expired.is_empty() {
            return Ok(contact);
        }
        let bundles = self.fetch_bundles(&mut contact, &without).await?;
        for device in contact.devices.iter_mut().filter(|device| without.contains(&device.device)) {
            let Some(bundle) = bundles.iter().find(|bundle| bundle.device_id == device.device) else {
                device.fresh = false;
                continue;
            };
            if bundle.registration_id != device.registration_id {
                return Err(Error::contact(contact.user, "a device's registration is not the manifest's"));
            }
            sessions::set_aside(&step, contact.user, device.device).await?;
            sessions::open(&step, contact.user, &contact.identity, bundle, &self.env).await?;
        }
        step.put(&contact)?;
        step.commit().await?;
        Ok(contact)
    }

    /// The bundles of these devices, as far as they have fresh keys. Each one-time key is given out once, so
    /// only those are asked for that are needed.
    async fn fetch_bundles(
        &self,
        contact: &mut Contact,
        devices: &BTreeSet<DeviceNumber>,
    ) -> Result<Vec<DeviceBundle>> {
        let user = contact.user;
        let one = match devices.iter().collect::<Vec<_>>().as_slice() {
            [] => return Ok(Vec::new()),
            [one] => Some(**one),
            _ => None,
        };
        let answer = match self.api.key_bundles(user, one).await {
            Err(error) if one.is_some() && error.code() == Some(ErrorCode::KeysMissing) => {
                return Ok(Vec::new());
            }
            other => other.map_err(|error| missing_keys(user, error))?,
        };
        self.check_identity(user, answer.user_id, answer.identity_key.as_slice()).await?;
        let tenant = self.account()?.tenant;
        let manifest = contact.clone().take_manifest(&answer.manifest, tenant);
        let manifest = manifest.map_err(|problem| Error::contact(user, problem))?;
        // A newer one is taken before the next send.
        contact.refresh_due |= manifest.version > contact.manifest_version;
        let named = |bundle: &DeviceBundle| {
            let bundle = (bundle.device_id, bundle.registration_id);
            manifest.devices.iter().any(|device| (device.device, device.registration_id) == bundle)
        };
        match answer.devices.iter().find(|bundle| !named(bundle)) {
            Some(ghost) => Err(Error::contact(user, not_in_manifest(ghost.device_id))),
            None => Ok(answer.devices),
        }
    }

    /// Keeps a new identity for the user to confirm, and says so. Gives the error that stops the send.
    async fn note_identity_change(&self, mut contact: Contact, identity: IdentityPublicKey) -> Result<Error> {
        let user = contact.user;
        if user == self.account()?.user {
            return Ok(Error::contact(user, "the server shows another identity key for this account"));
        }
        if contact.pending != Some(identity) {
            contact.pending = Some(identity);
            self.profile.put(&contact).await?;
            self.tell_identity_change(user).await?;
        }
        Ok(Error::IdentityChanged { user })
    }

    /// Tells of a new identity, also in the timeline of every conversation with that person.
    pub(crate) async fn tell_identity_change(&self, user: UserId) -> Result<()> {
        self.tell(ClientEvent::IdentityChanged { user });
        self.note_everywhere(user, &TimelineNote::IdentityChanged(user)).await
    }

    /// Marks somebody's keys for a fetch before the next send.
    pub(crate) async fn refresh_later(&self, user: UserId) -> Result<()> {
        if let Some(mut contact) = self.profile.get::<Contact>(user.as_bytes()).await? {
            contact.refresh_due = true;
            self.profile.put(&contact).await?;
        }
        Ok(())
    }

    /// The user compared this safety number and found it equal: uses a waiting identity and marks it verified, if it is
    /// still the one of that number.
    pub(crate) async fn confirm_identity(&self, user: UserId, compared: &SafetyNumber) -> Result<()> {
        let contact: Option<Contact> = self.profile.get(user.as_bytes()).await?;
        let mut contact = contact.ok_or(Error::Unknown("this person"))?;
        if self.safety_number(user).await?.digits != compared.digits {
            // The server gave another key while the two were comparing.
            return Err(Error::IdentityChanged { user });
        }
        let step = self.profile.step();
        contact.verified = true;
        if let Some(identity) = contact.pending.take() {
            let before = std::mem::replace(&mut contact.identity, identity);
            contact.earlier.push(EarlierIdentity { identity: before, until: self.env.now() });
            contact.manifest = None;
            contact.manifest_version = 0;
            contact.history_key = None;
            contact.devices.clear();
            contact.refresh_due = true;
            for session in self.profile.all::<Session>(user.as_bytes()).await? {
                sessions::forget(&step, user, session.device);
            }
        }
        step.put(&contact)?;
        step.commit().await?;
        self.note_everywhere(user, &TimelineNote::IdentityConfirmed(user)).await?;
        self.flush_soon();
        self.upkeep_soon();
        Ok(())
    }
}

/// What is said of a device that only the server knows of.
pub(crate) fn not_in_manifest(device: DeviceNumber) -> String {
    format!("the server names device {device}, which is not in their manifest")
}

fn missing_keys(user: UserId, error: Error) -> Error {
    match error.code() {
        Some(ErrorCode::KeysMissing) => Error::KeysMissing { user },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use sigilo_seal::{IdentitySecret, ManifestDevice, XWingSecret};

    use super::*;
    use crate::testing::{NOW, rng};

    struct Author {
        identity: IdentitySecret,
        tenant: TenantId,
        user: UserId,
    }

    impl Author {
        fn new() -> Self {
            let identity = IdentitySecret::from_bytes([4; 32]);
            Self { identity, tenant: TenantId::from_bytes([1; 16]), user: UserId::from_bytes([2; 16]) }
        }

        fn manifest(&self, previous: Option<&Manifest>, history: u8) -> Manifest {
            Manifest {
                tenant: self.tenant,
                user: self.user,
                version: previous.map_or(1, |previous| previous.version + 1),
                previous: previous.map(Manifest::digest),
                history_public_key: XWingSecret::from_seed([history; 32]).public(),
                devices: vec![ManifestDevice {
                    device: DeviceNumber::FIRST,
                    registration_id: 5,
                    added_at: NOW,
                }],
            }
        }

        fn sign(&self, manifest: &Manifest) -> keys::SignedManifest {
            keys::SignedManifest::from(&manifest.sign(&self.identity, &mut rng(1)))
        }

        fn contact(&self) -> Contact {
            Contact::first_seen(self.user, self.identity.public(), NOW)
        }
    }

    #[test]
    fn manifests_move_forward_only() {
        let author = Author::new();
        let first = author.manifest(None, 1);
        let second = author.manifest(Some(&first), 2);
        let third = author.manifest(Some(&second), 3);
        let mut contact = author.contact();
        contact.take_manifest(&author.sign(&first), author.tenant).unwrap();
        contact.take_manifest(&author.sign(&first), author.tenant).unwrap();
        contact.take_manifest(&author.sign(&second), author.tenant).unwrap();
        assert_eq!(contact.manifest_version, 2);
        assert!(contact.take_manifest(&author.sign(&first), author.tenant).is_err(), "an older one");
        let fork = author.manifest(Some(&first), 9);
        assert!(contact.take_manifest(&author.sign(&fork), author.tenant).is_err(), "a second of version 2");
        let other_past = author.manifest(Some(&fork), 3);
        assert!(contact.take_manifest(&author.sign(&other_past), author.tenant).is_err(), "another past");
        contact.take_manifest(&author.sign(&third), author.tenant).unwrap();
        assert_eq!(contact.history_key, Some(third.history_public_key));
    }

    #[test]
    fn manifests_of_others_are_refused() {
        let author = Author::new();
        let manifest = author.manifest(None, 1);
        let mut contact = author.contact();
        assert!(contact.take_manifest(&author.sign(&manifest), TenantId::from_bytes([9; 16])).is_err());
        let mut stranger = author.contact();
        stranger.user = UserId::from_bytes([3; 16]);
        assert!(stranger.take_manifest(&author.sign(&manifest), author.tenant).is_err());
        let mut signed = author.sign(&manifest);
        signed.signature.0[0] ^= 1;
        assert!(contact.take_manifest(&signed, author.tenant).is_err());
        assert!(contact.manifest.is_none());
    }
}
