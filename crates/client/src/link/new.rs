//! The new device: shows its text, waits for the package, and becomes the user's.
//!
//! Nothing is on disk before the package is: until then the link may simply be begun again. From then on each stage
//! is on disk before the next, and opening the profile goes on where it stopped.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use sigilo_seal::{
    LinkOffer, LinkPackage, LinkSecret, Manifest, SignedManifest, XWingSecret, link::LinkedAccount, sha256,
    xwing::Sealed,
};
use sigilo_wire::{
    Base64, Base64Array, ErrorCode, LinkId, Timestamp, UserId, keys,
    link::{ClaimLink, LinkedPackage, OfferLinkKey},
};

use super::LinkText;
use crate::{
    Client, Environment, Error, Result, Unlock,
    activate::REGISTRATION_IDS,
    api::ServerUrl,
    client::{Begin, Start},
    engine::Engine,
    profile::{
        Step, history_keys,
        records::{
            ClinicRecord, Contact, ContactDevice, ContactHistoryKey, EarlierIdentity, Home, ONLY,
            OwnIdentity, PendingLink, SecretBytes, Stage,
        },
    },
};

/// How long the server keeps a link.
const LIFE: Duration = Duration::from_secs(600);
/// How often the new device asks.
const POLL: Duration = Duration::from_millis(500);

/// What linking needs besides a place for the profile.
#[derive(Debug)]
pub struct LinkOptions {
    /// The server.
    pub server: ServerUrl,
    /// A name the user recognises the device by.
    pub device_name: String,
    /// Clock and randomness.
    pub environment: Environment,
}

impl LinkOptions {
    /// At this server, on this machine's clock and randomness.
    #[must_use]
    pub fn new(server: ServerUrl) -> Self {
        Self { server, device_name: String::new(), environment: Environment::system() }
    }
}

/// A new device that waits for an old one.
pub struct Linking {
    start: Start,
    newcomer: Newcomer,
    text: LinkText,
}

impl std::fmt::Debug for Linking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linking").field("text", &self.text).finish_non_exhaustive()
    }
}

/// What the engine needs to link itself.
pub(crate) struct Newcomer {
    pub(crate) server: ServerUrl,
    key: XWingSecret,
    offer: LinkOffer,
    device_name: String,
}

impl Client {
    /// Begins to link this device to the account of another one: show what [`Linking::text`] gives to the other
    /// device, compare [`Linking::code`] on both, then [`Linking::finish`].
    pub fn begin_link(path: impl AsRef<Path>, unlock: impl Into<Unlock>, options: LinkOptions) -> Linking {
        let LinkOptions { server, device_name, mut environment } = options;
        let rng = environment.rng();
        let key = XWingSecret::generate(rng);
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let registration_id = 1 + rng.next_u32() % REGISTRATION_IDS;
        let offer = LinkOffer {
            link_id: LinkId::from_bytes(id),
            key_sha256: sha256(key.public().as_bytes()),
            registration_id,
            secret: LinkSecret::generate(rng),
        };
        let path: PathBuf = path.as_ref().to_owned();
        Linking {
            start: Start { path, unlock: unlock.into(), environment },
            text: LinkText { server: server.clone(), offer: offer.clone() },
            newcomer: Newcomer { server, key, offer, device_name },
        }
    }
}

impl Linking {
    /// What to show to the other device.
    #[must_use]
    pub const fn text(&self) -> &LinkText {
        &self.text
    }

    /// The code to compare with the one the other device shows.
    #[must_use]
    pub fn code(&self) -> String {
        self.text.code()
    }

    /// Waits for the other device, at most ten minutes, and becomes one of the user's devices.
    ///
    /// # Errors
    /// [`Error::Link`] when nobody linked it in time, or what came is not for it; [`Error::AlreadyActivated`] when
    /// the profile belongs to somebody; [`Error::ClinicKeys`]; those of the server, the connection and the profile.
    pub async fn finish(self) -> Result<Client> {
        Client::spawn(self.start, Begin::Link(Box::new(self.newcomer))).await
    }
}

impl Engine {
    /// Waits for the package, and goes through the stages after it.
    pub(crate) async fn link(&self, newcomer: &Newcomer) -> Result<()> {
        if self.profile.get::<Home>(ONLY).await?.is_none() {
            let sealed = self.await_package(newcomer).await?;
            let account = LinkedAccount {
                tenant: sealed.clinic_id,
                user: sealed.user_id,
                manifest_version: sealed.manifest_version,
            };
            let sealed = Sealed { enc: sealed.enc.0, ct: sealed.ct.0 };
            let (package, manifest) = LinkPackage::open(&sealed, &newcomer.offer, &newcomer.key, &account)
                .map_err(|error| Error::LinkRefused(error.to_string()))?;
            self.keep_package(newcomer, &package, &manifest).await?;
        }
        self.finish_link().await
    }

    async fn await_package(&self, newcomer: &Newcomer) -> Result<LinkedPackage> {
        let link = newcomer.offer.link_id;
        let key = OfferLinkKey { public_key: Base64(newcomer.key.public().as_bytes().to_vec()) };
        let until = self.env.now() + LIFE;
        let mut offered = false;
        while self.env.now() < until {
            let step = if offered {
                self.api.link_state(link).await.map(|state| state.package)
            } else {
                self.api.offer_link_key(link, &key).await.map(|()| {
                    offered = true;
                    None
                })
            };
            match step {
                Ok(Some(package)) => return Ok(package),
                Ok(None) => {}
                // Not opened yet.
                Err(error) if !offered && error.code() == Some(ErrorCode::NotFound) => {}
                Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                    return Err(Error::Link("the other device has begun another link"));
                }
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(self.env.jitter(POLL)).await;
        }
        Err(Error::Link("no other device has linked this one in time"))
    }

    /// Puts everything the package holds on disk.
    async fn keep_package(
        &self,
        newcomer: &Newcomer,
        package: &LinkPackage,
        manifest: &Manifest,
    ) -> Result<()> {
        let now = self.env.now();
        let step = self.profile.step();
        step.put(&Home {
            server: newcomer.server.clone(),
            clinic: package.tenant.to_string(),
            root: Base64Array(package.root.0),
            stage: Stage::Linked,
            attempt: None,
            link: Some(PendingLink {
                link_id: newcomer.offer.link_id,
                claim: SecretBytes(package.claim.as_bytes().to_vec()),
                device: package.device,
                device_name: newcomer.device_name.clone(),
            }),
        })?;
        step.put(&OwnIdentity {
            secret: SecretBytes(package.identity.to_bytes().to_vec()),
            registration_id: newcomer.offer.registration_id,
            next_pre_key_id: 1,
            signed_pre_key_id: 0,
            last_resort_kyber_id: 0,
            history_key_id: manifest.history_key_id(),
        })?;
        for (key, created_at) in &package.history {
            let key_id = history_keys::keep(&step, key, *created_at)?;
            step.put(&ContactHistoryKey { user: package.user, key_id, public_key: key.public() })?;
        }
        let epochs: BTreeMap<_, _> = package.epochs.iter().copied().collect();
        step.put(&ClinicRecord::not_fetched(epochs))?;
        step.put(&own_contact(package, manifest, now))?;
        keep_contacts(&step, package, now)?;
        step.commit().await
    }

    /// Goes through the stages that are left after the package.
    pub(crate) async fn finish_link(&self) -> Result<()> {
        loop {
            let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
            match (home.stage, home.link.clone()) {
                (Stage::Active, _) => return Ok(()),
                (Stage::Linked, Some(link)) => self.claim_link(home, link).await?,
                (Stage::IdentityPublished, Some(_)) => self.publish_pre_keys(home).await?,
                // The old device has published the manifest. What was said before is read through the record seals.
                (Stage::PreKeysPublished, Some(_)) => {
                    self.restore_later().await?;
                    self.profile.put(&Home { stage: Stage::Active, link: None, ..home }).await?;
                }
                _ => return Err(Error::AlreadyActivated),
            }
        }
    }

    /// Trades the claim for tokens, and checks the clinic's root before any key is published.
    async fn claim_link(&self, home: Home, link: PendingLink) -> Result<()> {
        if !self.api.has_tokens() {
            let claim = ClaimLink { claim: Base64Array(link.claim.key()?), name: link.device_name.clone() };
            let tokens = self.api.claim_link(link.link_id, &claim).await?;
            if tokens.device.device_id != Some(link.device) {
                return Err(Error::Answer("the tokens are for another device".into()));
            }
            self.api.keep_tokens(&tokens).await?;
        }
        self.learn_account().await?;
        self.refresh_clinic().await?;
        self.profile.put(&Home { stage: Stage::IdentityPublished, ..home }).await
    }
}

/// The user's own devices, as the manifest of the package names them.
fn own_contact(package: &LinkPackage, manifest: &Manifest, now: Timestamp) -> Contact {
    let SignedManifest { statement, signature } = package.manifest.clone();
    let mut own = Contact::first_seen(package.user, package.identity.public(), now);
    own.verified = true;
    own.earlier = earlier_of(package, package.user);
    own.manifest =
        Some(keys::SignedManifest { statement: Base64(statement), signature: Base64Array(signature) });
    own.manifest_version = manifest.version;
    own.history_key = Some(manifest.history_public_key.clone());
    let devices = manifest.devices.iter();
    own.devices = devices
        .map(|device| ContactDevice {
            device: device.device,
            registration_id: device.registration_id,
            fresh: true,
        })
        .collect();
    own
}

fn earlier_of(package: &LinkPackage, user: UserId) -> Vec<EarlierIdentity> {
    let theirs = package.earlier.iter().filter(|earlier| earlier.user == user);
    let mut earlier: Vec<_> =
        theirs.map(|earlier| EarlierIdentity { identity: earlier.identity, until: earlier.until }).collect();
    earlier.sort_by_key(|earlier| earlier.until);
    earlier
}

/// The identities that the user's devices hold to: this one trusts no other at first sight.
fn keep_contacts(step: &Step, package: &LinkPackage, now: Timestamp) -> Result<()> {
    for known in package.contacts.iter().filter(|known| known.user != package.user) {
        let mut contact = Contact::first_seen(known.user, known.identity, now);
        contact.verified = known.verified;
        contact.earlier = earlier_of(package, known.user);
        step.put(&contact)?;
    }
    Ok(())
}
