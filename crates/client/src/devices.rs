//! Removing a device: the server cuts it off, and the devices that stay get a new history key through their sessions.
//!
//! Any device of the user publishes the manifest without it: the one that asked for the removal at once, the others a
//! little later, when it did not, as when a session or the device itself asked. What was begun is on disk: a removal
//! cut anywhere is finished by the next upkeep.

use sigilo_seal::{HistoryKeyEnvelope, Manifest, XWingSecret};
use sigilo_wire::{
    Base64, Base64Array, DeviceId, DeviceNumber, ErrorCode,
    account::Device,
    event::{ManifestChanged, SentHistoryKey, ServerFrame},
    keys::PutManifest,
    message::RecipientEnvelope,
};

use crate::{
    Client, Error, Result,
    client::call,
    contacts::DeviceHints,
    engine::Engine,
    event::ClientEvent,
    profile::{
        history_keys,
        records::{Contact, ContactHistoryKey, ONLY, OwnIdentity, Removal, SecretBytes},
    },
    sessions,
};

/// How often a manifest is signed anew because another came first.
const ATTEMPTS: u32 = 4;
/// What a device shows that was not given the account's newest history key.
const WITHOUT_KEY: &str = "this device was not given the account's new history key: it receives messages, but cannot \
                           check their record seals. Remove it and link it again";

impl Client {
    /// Removes another device of this account: its tokens end, it gets no more messages, and what is said from now on
    /// is sealed to a new history key, which it does not have. What it has read before it keeps; a lost or stolen
    /// device takes a new identity, which the clinic gives.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the account has no such messaging device, [`Error::Content`] for this one;
    /// [`Error::Server`] with `step_up_required` ([`Client::prove`] first); those of the connection and the profile,
    /// after which the removal goes on by itself if the server has cut the device off.
    pub async fn remove_device(&self, device: DeviceNumber) -> Result<()> {
        call!(self, engine => engine.remove_device(device).await)
    }

    /// Ends a session of this account, as of a browser: a device without keys, by its `id`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the account has no such session; [`Error::Server`] with `step_up_required`
    /// ([`Client::prove`] first); those of the connection.
    pub async fn end_session(&self, session: DeviceId) -> Result<()> {
        call!(self, engine => engine.end_session(session).await)
    }
}

impl Engine {
    async fn end_session(&self, session: DeviceId) -> Result<()> {
        let listed = self.api.devices().await?;
        let found = listed.iter().find(|listed| listed.id == session && listed.device_id.is_none());
        let found = found.ok_or(Error::Unknown("this session"))?;
        self.api.remove_device(found.id).await
    }

    async fn remove_device(&self, device: DeviceNumber) -> Result<()> {
        if device == self.account()?.device {
            return Err(Error::Content("a device is removed from another one of the account"));
        }
        let listed = self.api.devices().await?;
        let Some(removed) = listed.iter().find(|listed| listed.device_id == Some(device)) else {
            // Cut off elsewhere: perhaps no manifest says so yet.
            let named = self.own_manifest().await?.device(device).is_some();
            return if named { self.drop_removed().await } else { Err(Error::Unknown("this device")) };
        };
        self.begin_removal().await?;
        match self.api.remove_device(removed.id).await {
            Err(error) if !error.is_transient() && error.code() != Some(ErrorCode::NotFound) => {
                self.forget_removal().await?;
                Err(error)
            }
            // Whether a lost request arrived is seen in the list.
            Err(error) if error.is_transient() => {
                self.upkeep_soon();
                Err(error)
            }
            _ => self.finish_removal().await,
        }
    }

    /// Makes the history key that takes the place of the one a removed device knows.
    async fn begin_removal(&self) -> Result<Removal> {
        let key = XWingSecret::generate(&mut self.env.rng());
        let removal = Removal { seed: SecretBytes(key.seed().to_vec()), created_at: self.env.now() };
        self.profile.put(&removal).await?;
        Ok(removal)
    }

    /// Goes on with a removal that was begun here, if that is still to be done.
    pub(crate) async fn finish_removal(&self) -> Result<()> {
        match self.profile.get::<Removal>(ONLY).await? {
            Some(removal) => self.publish_without_removed(&removal).await,
            None => Ok(()),
        }
    }

    /// Compares the manifest known with the server's list of devices: one that is named and gone, whoever removed it,
    /// leaves the manifest, and those that stay get a new history key.
    pub(crate) async fn drop_removed(&self) -> Result<()> {
        let account = self.account()?;
        let own: Option<Contact> = self.profile.get(account.user.as_bytes()).await?;
        let named = own.map(|own| own.devices).unwrap_or_default();
        // Nobody to compare with: the usual case asks for nothing.
        if named.len() < 2 && self.profile.get::<Removal>(ONLY).await?.is_none() {
            return Ok(());
        }
        let listed = self.api.devices().await?;
        let all_there = named.iter().all(|device| is_listed(&listed, device.device));
        if all_there || !is_listed(&listed, account.device) {
            return self.finish_removal().await;
        }
        let begun: Option<Removal> = self.profile.get(ONLY).await?;
        let removal = match begun {
            Some(removal) => removal,
            None => self.begin_removal().await?,
        };
        self.publish_without_removed(&removal).await
    }

    /// Publishes a manifest without the devices that the server has cut off, unless another device of the user has.
    async fn publish_without_removed(&self, removal: &Removal) -> Result<()> {
        let key = XWingSecret::from_seed(removal.seed.key()?);
        for _ in 0..ATTEMPTS {
            // The list is fetched after the manifest: a device that is linked meanwhile is in both, or in the list.
            let current = self.own_manifest().await?;
            let listed = self.api.devices().await?;
            let gone = current.devices.iter().map(|named| named.device);
            let gone: Vec<DeviceNumber> = gone.filter(|device| !is_listed(&listed, *device)).collect();
            if gone.is_empty() || gone.contains(&self.account()?.device) {
                return self.forget_removal().await;
            }
            match self.publish_rotation(&current, &gone, &key, removal).await {
                Err(error) if error.code() == Some(ErrorCode::ManifestConflict) => {}
                answer => answer?,
            }
        }
        Err(Error::contact(self.account()?.user, "the manifest keeps changing"))
    }

    /// Keeps the new history key, seals it to the devices that stay, and publishes the manifest that names it.
    async fn publish_rotation(
        &self,
        current: &Manifest,
        gone: &[DeviceNumber],
        key: &XWingSecret,
        removal: &Removal,
    ) -> Result<()> {
        let account = self.account()?;
        let mut next = current.follow();
        next.devices.retain(|named| !gone.contains(&named.device));
        next.history_public_key = key.public();
        let known: Option<Contact> = self.profile.get(account.user.as_bytes()).await?;
        let own = known.ok_or(Error::NotActivated)?;
        // Those that are gone get no envelope. They stay known until the manifest without them is in force.
        let hints = DeviceHints { expired: gone.iter().copied().collect(), ..DeviceHints::default() };
        let own = self.open_sessions(own, &hints).await?;
        let step = self.profile.step();
        let key_id = history_keys::keep(&step, key, removal.created_at)?;
        step.put(&ContactHistoryKey { user: account.user, key_id, public_key: key.public() })?;
        // What a device said before it was removed may still be on its way.
        for device in gone {
            sessions::set_aside(&step, account.user, *device).await?;
        }
        let plaintext = HistoryKeyEnvelope { key: key.clone(), created_at: removal.created_at }.encode();
        let mut history_key_envelopes: Vec<RecipientEnvelope> = Vec::new();
        for device in self.other_devices(&own)? {
            let (number, registration) = (device.device, device.registration_id);
            let envelope =
                sessions::encrypt(&step, account.user, number, registration, &plaintext, &self.env);
            history_key_envelopes.push(envelope.await?);
        }
        step.commit().await?;
        let signed = next.sign(&self.identity().await?, &mut self.env.rng());
        let request = PutManifest {
            statement: Base64(signed.statement),
            signature: Base64Array(signed.signature),
            history_key_envelopes,
        };
        self.api.put_manifest(&request).await
    }

    async fn forget_removal(&self) -> Result<()> {
        let step = self.profile.step();
        step.delete::<Removal>(ONLY);
        step.commit().await
    }

    /// Uses the history key of the user's newest manifest from now on, if this device has it.
    pub(crate) async fn settle_history_key(&self, manifest: &Manifest) -> Result<()> {
        let key_id = manifest.history_key_id();
        let Some(own) = self.profile.get::<OwnIdentity>(ONLY).await? else { return Ok(()) };
        if own.history_key_id == key_id || history_keys::find(&self.profile, key_id).await?.is_none() {
            return Ok(());
        }
        self.profile.put(&OwnIdentity { history_key_id: key_id, ..own }).await
    }

    /// Takes the new history key that another device of the user has sent with its manifest.
    pub(crate) async fn take_history_key(&self, frame: &ServerFrame) -> Result<()> {
        let changed: ManifestChanged =
            serde_json::from_value(frame.data.clone()).map_err(|error| Error::Answer(error.to_string()))?;
        let Some(sent) = changed.history_key else { return Ok(()) };
        let me = self.account()?.user;
        let manifest = self.own_manifest().await?;
        // It came before, or a newer one did.
        if history_keys::find(&self.profile, manifest.history_key_id()).await?.is_some() {
            return Ok(());
        }
        match self.open_history_key(&sent).await {
            Ok(()) => self.settle_history_key(&manifest).await?,
            Err(error @ Error::Profile(_)) => return Err(error),
            Err(_) => {
                let clean = self.profile.step();
                sessions::set_aside(&clean, me, sent.device_id).await?;
                clean.commit().await?;
            }
        }
        if history_keys::find(&self.profile, manifest.history_key_id()).await?.is_none() {
            self.tell(ClientEvent::Warning { reason: WITHOUT_KEY.to_owned() });
        }
        Ok(())
    }

    /// Opens it in the session with the device that sent it, and keeps it; the session is advanced with it.
    async fn open_history_key(&self, sent: &SentHistoryKey) -> Result<()> {
        let me = self.account()?.user;
        let step = self.profile.step();
        let opened = sessions::decrypt(&step, me, sent.device_id, &sent.envelope, &self.env).await?;
        if opened.identity != self.identity().await?.public() {
            return Err(Error::contact(me, "a history key came from another identity"));
        }
        let sent =
            HistoryKeyEnvelope::decode(&opened.plaintext).map_err(|error| Error::contact(me, error))?;
        let key_id = history_keys::keep(&step, &sent.key, sent.created_at)?;
        step.put(&ContactHistoryKey { user: me, key_id, public_key: sent.key.public() })?;
        step.commit().await
    }
}

fn is_listed(listed: &[Device], device: DeviceNumber) -> bool {
    listed.iter().any(|listed| listed.device_id == Some(device))
}
