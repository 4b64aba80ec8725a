//! The old device: opens the link, waits for the new one's key, and hands the account over.

use std::time::Duration;

use futures_util::FutureExt as _;
use sigilo_seal::{
    KeyPurpose, LinkClaim, LinkPackage, LinkedContact, LinkedEarlier, Manifest, ManifestDevice,
    RootFingerprint, SignedManifest, XWingPublic, link::LinkSealError, sha256,
};
use sigilo_wire::{
    Base64, Base64Array, DeviceNumber, ErrorCode,
    account::Device,
    keys,
    link::{ApproveLink, BeginLink, OwnLink},
};

use super::LinkText;
use crate::{
    Client, Error, Result, Unlock,
    client::call,
    engine::Engine,
    profile::{
        history_keys,
        records::{ClinicRecord, Contact, EarlierIdentity, Home, ONLY},
    },
};

/// How long the new device has to leave its key: it is on and asks all the time.
const KEY_WAIT: Duration = Duration::from_secs(60);
/// How often the old device looks for it.
const POLL: Duration = Duration::from_millis(300);
/// How often an approval is made anew when the manifest or the number has changed meanwhile, or is sent again when
/// its answer was lost.
const ATTEMPTS: u32 = 4;
/// As many contacts as a package has room for.
const MAX_CONTACTS: usize = 3_000;
/// As many of their earlier identities.
const MAX_EARLIER: usize = 1_000;

impl Client {
    /// Links the device that shows `link` to this account, once its code was compared with the one it shows:
    /// [`LinkText::code`]. `unlock` opens this profile: whoever links a device proves that they may. Gives the new
    /// device's number.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`]; [`Error::Link`] when it is for another server, or the new device does not answer;
    /// [`Error::LinkRefused`] when the server shows another key than the new device; [`Error::Server`] with
    /// `step_up_required` ([`Client::prove`] first), `device_limit`, `already_exists` when somebody else has opened
    /// this link; those of the connection and the profile.
    pub async fn approve_link(&self, link: LinkText, unlock: impl Into<Unlock>) -> Result<DeviceNumber> {
        let unlock = unlock.into();
        let opened = link.clone();
        call!(self, engine => engine.open_link(&opened, &unlock).await)?;
        let pause = self.act(|engine| async move { engine.env.pause(POLL) }.boxed_local()).await?;
        let mut waited = Duration::ZERO;
        while waited < KEY_WAIT {
            if let Some(own) = call!(self, engine => engine.link_with_key().await)? {
                return call!(self, engine => engine.hand_over(&link, own).await);
            }
            tokio::time::sleep(pause).await;
            waited += POLL;
        }
        Err(Error::Link("the new device does not answer: is it still waiting, and online?"))
    }

    /// The account's devices, oldest first.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        call!(self, engine => engine.api.devices().await)
    }
}

impl Engine {
    async fn open_link(&self, link: &LinkText, unlock: &Unlock) -> Result<()> {
        self.profile.check(unlock).await?;
        let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        if home.server != link.server {
            return Err(Error::Link("it is for another server than this account's"));
        }
        self.api.begin_link(&BeginLink { link_id: link.offer.link_id }).await.map(drop)
    }

    /// The open link, once the new device's key is there.
    async fn link_with_key(&self) -> Result<Option<OwnLink>> {
        let own = self.api.own_link().await?;
        Ok(own.public_key.is_some().then_some(own))
    }

    /// Seals the package to the new device and publishes the manifest that names it.
    async fn hand_over(&self, link: &LinkText, mut own: OwnLink) -> Result<DeviceNumber> {
        let me = self.account()?.user;
        let key = XWingPublic::parse(&own.public_key.take().unwrap_or_default())
            .map_err(|error| Error::LinkRefused(error.to_string()))?;
        if !link.offer.admits(&key) {
            return Err(Error::LinkRefused(LinkSealError::KeySwapped.to_string()));
        }
        // The next manifest is not to name what the server has cut off.
        self.drop_removed().await?;
        for _ in 0..ATTEMPTS {
            let approval = self.approval(link, &key, own.next_device_id).await?;
            let device = approval.device_id;
            match self.send_approval(link, &approval).await {
                Err(error) if error.code() == Some(ErrorCode::ManifestConflict) => {
                    own = self.api.own_link().await?;
                }
                answer => {
                    answer?;
                    self.refresh_manifest(me).await?;
                    return Ok(device);
                }
            }
        }
        Err(Error::Link("this account's devices keep changing; try again"))
    }

    /// Sends the same approval until an answer arrives.
    async fn send_approval(&self, link: &LinkText, approval: &ApproveLink) -> Result<()> {
        let mut attempt = 1;
        loop {
            match self.api.approve_link(link.offer.link_id, approval).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
            tokio::time::sleep(self.env.pause(POLL)).await;
        }
    }

    async fn approval(
        &self,
        link: &LinkText,
        key: &XWingPublic,
        device: DeviceNumber,
    ) -> Result<ApproveLink> {
        let me = self.account()?.user;
        let next = self.manifest_with(device, link.offer.registration_id).await?;
        let signed = next.sign(&self.identity().await?, &mut self.env.rng());
        let manifest = keys::SignedManifest::from(&signed);
        let claim = LinkClaim::generate(&mut self.env.rng());
        let claim_sha256 = Base64Array(sha256(claim.as_bytes()));
        let package = self.package(device, claim, signed).await?;
        let sealed = package.seal(&link.offer, key, next.version, &mut self.env.rng());
        let sealed = sealed.map_err(|error| Error::contact(me, error))?;
        Ok(ApproveLink {
            device_id: device,
            claim_sha256,
            enc: Base64(sealed.enc),
            ct: Base64(sealed.ct),
            manifest,
        })
    }

    /// The manifest that follows the one in force and names one device more.
    async fn manifest_with(&self, device: DeviceNumber, registration_id: u32) -> Result<Manifest> {
        let current = self.own_manifest().await?;
        // Numbers only rise: the server is not to give that of a device that was.
        if current.devices.iter().any(|named| named.device >= device) {
            return Err(Error::Answer(format!("device number {device} was given before")));
        }
        let mut next = current.follow();
        next.devices.push(ManifestDevice { device, registration_id, added_at: self.env.now() });
        Ok(next)
    }

    /// The user's manifest in force, fetched and verified.
    pub(crate) async fn own_manifest(&self) -> Result<Manifest> {
        let me = self.account()?.user;
        let own = self.refresh_manifest(me).await?;
        let manifest = own.manifest.ok_or(Error::KeysMissing { user: me })?;
        Manifest::decode(&manifest.statement).map_err(|error| Error::contact(me, error))
    }

    async fn package(
        &self,
        device: DeviceNumber,
        claim: LinkClaim,
        manifest: SignedManifest,
    ) -> Result<LinkPackage> {
        let account = self.account()?;
        let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let clinic: Option<ClinicRecord> = self.profile.get(ONLY).await?;
        let current = history_keys::current(&self.profile).await?;
        let mut history = vec![(current.secret, current.created_at)];
        for key in history_keys::all(&self.profile).await? {
            if key.key_id != current.key_id {
                history.push((key.secret, key.created_at));
            }
        }
        let epochs: Vec<(KeyPurpose, u32)> = clinic.into_iter().flat_map(|clinic| clinic.epochs).collect();
        let known = self.profile.all::<Contact>(b"").await?;
        let mut earlier: Vec<LinkedEarlier> = known.iter().flat_map(earlier_of).collect();
        let mut contacts: Vec<LinkedContact> = known
            .into_iter()
            .filter(|contact| contact.user != account.user)
            .map(|contact| LinkedContact {
                user: contact.user,
                identity: contact.identity,
                verified: contact.verified,
            })
            .collect();
        // Those that were compared first: the others are trusted at first sight anyway.
        contacts.sort_by_key(|contact| !contact.verified);
        contacts.truncate(MAX_CONTACTS);
        earlier.retain(|earlier| {
            earlier.user == account.user || contacts.iter().any(|contact| contact.user == earlier.user)
        });
        earlier.sort_by_key(|earlier| std::cmp::Reverse(earlier.until));
        earlier.truncate(MAX_EARLIER);
        Ok(LinkPackage {
            tenant: account.tenant,
            user: account.user,
            device,
            claim,
            identity: self.identity().await?,
            root: RootFingerprint(home.root.0),
            // There is no key transparency log to have a checkpoint of.
            checkpoint: Vec::new(),
            history,
            manifest,
            epochs,
            contacts,
            earlier,
        })
    }
}

fn earlier_of(contact: &Contact) -> impl Iterator<Item = LinkedEarlier> {
    contact.earlier.iter().map(|earlier| {
        let EarlierIdentity { identity, until } = *earlier;
        LinkedEarlier { user: contact.user, identity, until }
    })
}
