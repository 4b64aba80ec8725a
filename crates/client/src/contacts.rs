//! The people this device exchanges messages with: their identity, their devices, their history keys.
//!
//! The first identity seen is used; another one later waits for the user to confirm it, and until then nothing
//! is sent or sealed to that person. Manifests only ever move forward.

use std::collections::BTreeSet;

use sigilo_seal::{IdentityPublicKey, Manifest, manifest::SignedManifest};
use sigilo_wire::{
    DeviceNumber, ErrorCode, TenantId, Timestamp, UserId,
    keys::{self, KeyBundles},
};

use crate::{
    Error, Result,
    engine::Engine,
    event::{ClientEvent, TimelineNote},
    profile::records::{Contact, ContactDevice, ContactHistoryKey, Session},
    sessions,
};

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
            manifest: None,
            manifest_version: 0,
            history_key: None,
            devices: Vec::new(),
            refresh_due: true,
        }
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
        let signed =
            SignedManifest { statement: offered.statement.0.clone(), signature: offered.signature.0 };
        let manifest = signed.verify(&self.identity, tenant, self.user).map_err(|e| e.to_string())?;
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

impl Engine {
    /// Somebody as far as known; fetched the first time.
    pub(crate) async fn contact(&self, user: UserId) -> Result<Contact> {
        match self.profile.get::<Contact>(user.as_bytes()).await? {
            Some(contact) if contact.manifest.is_some() => Ok(contact),
            _ => self.refresh_contact(user, &BTreeSet::new()).await,
        }
    }

    /// Somebody that something may be sent to now: keys fresh, identity confirmed, a session with each device.
    ///
    /// # Errors
    /// [`Error::IdentityChanged`], [`Error::KeysMissing`], [`Error::ContactKeys`].
    pub(crate) async fn recipient(&self, user: UserId) -> Result<Contact> {
        let known: Option<Contact> = self.profile.get(user.as_bytes()).await?;
        let contact = match known {
            Some(contact) if contact.pending.is_some() => return Err(Error::IdentityChanged { user }),
            Some(contact) if contact.manifest.is_some() && !contact.refresh_due => contact,
            _ => self.refresh_contact(user, &BTreeSet::new()).await?,
        };
        let step = self.profile.step();
        for device in self.other_devices(&contact)? {
            if !sessions::is_usable(&step, user, device.device, device.registration_id, &self.env).await? {
                return self.refresh_contact(user, &BTreeSet::new()).await;
            }
        }
        Ok(contact)
    }

    /// The devices of somebody that get envelopes: those of the newest manifest with fresh keys, but this one.
    pub(crate) fn other_devices(&self, contact: &Contact) -> Result<Vec<ContactDevice>> {
        let account = self.account()?;
        let this = (account.user, account.device);
        let devices = contact.devices.iter().filter(|d| d.fresh && (contact.user, d.device) != this);
        Ok(devices.copied().collect())
    }

    /// Fetches somebody's keys, checks them, and opens sessions with their devices; new ones with those in
    /// `renew`.
    pub(crate) async fn refresh_contact(
        &self,
        user: UserId,
        renew: &BTreeSet<DeviceNumber>,
    ) -> Result<Contact> {
        let bundles = self.api.key_bundles(user).await.map_err(|error| match error.code() {
            Some(ErrorCode::KeysMissing) => Error::KeysMissing { user },
            _ => error,
        })?;
        if bundles.user_id != user {
            return Err(Error::contact(user, "the server answered with somebody else's"));
        }
        let identity =
            IdentityPublicKey::parse(bundles.identity_key.as_slice()).map_err(|e| Error::contact(user, e))?;
        let known: Option<Contact> = self.profile.get(user.as_bytes()).await?;
        let mut contact = known.unwrap_or_else(|| Contact::first_seen(user, identity, self.env.now()));
        if contact.identity != identity {
            return Err(self.note_identity_change(contact, identity).await?);
        }
        contact.pending = None;
        self.adopt_keys(contact, &bundles, renew).await
    }

    async fn adopt_keys(
        &self,
        mut contact: Contact,
        bundles: &KeyBundles,
        renew: &BTreeSet<DeviceNumber>,
    ) -> Result<Contact> {
        let user = contact.user;
        let account = self.account()?;
        let manifest = contact
            .take_manifest(&bundles.manifest, account.tenant)
            .map_err(|problem| Error::contact(user, problem))?;
        let step = self.profile.step();
        contact.devices.clear();
        for device in &manifest.devices {
            let number = device.device;
            let bundle = bundles.devices.iter().find(|bundle| bundle.device_id == number);
            let entry = ContactDevice {
                device: number,
                registration_id: device.registration_id,
                fresh: bundle.is_some(),
            };
            contact.devices.push(entry);
            let Some(bundle) = bundle.filter(|_| (user, number) != (account.user, account.device)) else {
                continue;
            };
            if bundle.registration_id != device.registration_id {
                return Err(Error::contact(user, "a device's registration is not the manifest's"));
            }
            let usable = sessions::is_usable(&step, user, number, device.registration_id, &self.env).await?;
            if !usable || renew.contains(&number) {
                sessions::set_aside(&step, user, number).await?;
                sessions::open(&step, user, &contact.identity, bundle, &self.env).await?;
            }
        }
        contact.refresh_due = false;
        step.put(&ContactHistoryKey {
            user,
            key_id: manifest.history_key_id(),
            public_key: manifest.history_public_key,
        })?;
        step.put(&contact)?;
        step.commit().await?;
        Ok(contact)
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

    /// The user compared safety numbers and found them equal: uses a waiting identity and marks it verified.
    pub(crate) async fn confirm_identity(&self, user: UserId) -> Result<()> {
        let contact: Option<Contact> = self.profile.get(user.as_bytes()).await?;
        let mut contact = contact.ok_or(Error::Unknown("this person"))?;
        let step = self.profile.step();
        contact.verified = true;
        if let Some(identity) = contact.pending.take() {
            contact.identity = identity;
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
        Ok(())
    }
}
