//! From an invitation to a device that can send: each stage is on disk before the next, and may be repeated, so
//! that an activation cut anywhere goes on where it stopped.
//!
//! The clinic's root is checked against the invitation's pin before any key is made.
//!
//! A request for admission that may have reached the server is repeated as it was, byte by byte and under its key:
//! for a day the server gives tokens of the device it made. After that the invitation is used up and the account is
//! there: the activation goes on by logging in, with the account's e-mail address.

use futures_util::future::BoxFuture;
use sigilo_seal::{IdentitySecret, Manifest, ManifestDevice, RootFingerprint, XWingSecret, key_check};
use sigilo_wire::{
    Base64Array, DeviceId, ErrorCode,
    account::{Activate, Device, DeviceKind, Login, NewDevice, Tokens},
    conflict::ManifestConflict,
    keys::{CheckKeys, PutIdentity, PutKeys, PutManifest, SignedManifest},
    mfa::{ConfirmMfa, Enrolment, VerifyMfa},
};

use crate::{
    Error, Result,
    engine::Engine,
    env::Env,
    invitation::Invitation,
    profile::{
        Profile, history_keys,
        records::{
            Account, Attempt, Contact, ContactDevice, ContactHistoryKey, Home, KyberPreKey, ONLY,
            OwnIdentity, SecretBytes, SignedPreKey, Stage,
        },
    },
    sessions,
};

/// Why an activation does not go on, and what to do.
const OTHER_PASSWORD: &str =
    "an earlier attempt reached the server with another password. Activate again with that one";
const USED_UP: &str = "an earlier attempt has used up the invitation, and its answer was lost. Activate again with \
                       the account's e-mail address, or ask the clinic for a new invitation";

const NOT_ENROLLED: &str = "the clinic requires a second factor of your role: activate again, with an authenticator app \
                            at hand, and enrol it";

/// libsignal's registration ids are 1..=16380.
pub(crate) const REGISTRATION_IDS: u32 = 16_380;

/// How a user enrols an authenticator app while the device is activated.
pub trait SecondFactorSetup: Send {
    /// Shows the app's secret and gives the code the app makes of it; after a wrong one again, with `wrong`. `None` when
    /// the user gives up.
    fn code<'a>(&'a mut self, enrolment: &'a Enrolment, wrong: bool) -> BoxFuture<'a, Option<String>>;

    /// Shows the codes that work once each in place of the app's. They are not shown again.
    fn recovery_codes(&mut self, codes: Vec<String>);
}

/// What the activation needs besides the invitation.
pub(crate) struct Admission {
    pub(crate) invitation: Invitation,
    pub(crate) password: String,
    pub(crate) email: Option<String>,
    pub(crate) device_name: String,
    pub(crate) second_factor: Option<Box<dyn SecondFactorSetup>>,
}

impl Admission {
    fn device(&self) -> NewDevice {
        NewDevice { kind: DeviceKind::Messaging, name: self.device_name.clone(), device_id: None }
    }

    /// The request for this invitation and password: the one that may have reached the server, or a new one. It
    /// keeps its key as long as it is for the same invitation.
    fn attempt(&self, clinic: &str, earlier: Option<&Attempt>, env: &Env) -> Result<Attempt> {
        let sent = earlier.map(|earlier| serde_json::from_slice::<Activate>(&earlier.request.0));
        let sent = sent.transpose().map_err(Error::internal)?;
        let sent = earlier.zip(sent).filter(|(_, sent)| sent.code == self.invitation.code);
        match sent {
            Some((earlier, sent)) if sent.password == self.password => return Ok(earlier.clone()),
            _ => {}
        }
        let request = Activate {
            clinic: clinic.to_owned(),
            code: self.invitation.code.clone(),
            password: self.password.clone(),
            device: self.device(),
        };
        let request = SecretBytes(serde_json::to_vec(&request).map_err(Error::internal)?);
        let idempotency_key = match sent {
            Some((earlier, _)) => earlier.idempotency_key.clone(),
            // Hard to guess: with it, a used code still gets tokens.
            None => Base64Array(env.bytes::<16>()).to_string(),
        };
        Ok(Attempt { idempotency_key, request })
    }
}

/// Writes down where the profile belongs, or checks that it belongs there.
pub(crate) async fn settle(profile: &std::rc::Rc<Profile>, invitation: &Invitation) -> Result<Home> {
    if let Some(home) = profile.get::<Home>(ONLY).await? {
        let same = home.server == invitation.server && home.root.0 == invitation.root.0;
        if home.stage == Stage::Active || home.link.is_some() || !same {
            return Err(Error::AlreadyActivated);
        }
        return Ok(home);
    }
    let home = Home {
        server: invitation.server.clone(),
        clinic: invitation.clinic.clone(),
        root: Base64Array(invitation.root.0),
        stage: Stage::Invited,
        attempt: None,
        link: None,
    };
    profile.put(&home).await?;
    Ok(home)
}

impl Engine {
    /// Goes through the stages that are left.
    pub(crate) async fn activate(&self, admission: &mut Admission) -> Result<()> {
        loop {
            let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
            match home.stage {
                Stage::Invited => self.admit(home, admission).await?,
                Stage::Admitted => {
                    // First whose server it is.
                    self.refresh_clinic().await?;
                    self.enrol_if_required(admission).await?;
                    self.make_keys(home).await?;
                }
                Stage::KeysMade => self.publish_identity(home).await?,
                Stage::IdentityPublished => self.publish_pre_keys(home).await?,
                Stage::PreKeysPublished => self.publish_manifest(home).await?,
                Stage::Active => return Ok(()),
                Stage::Linked => return Err(Error::AlreadyActivated),
            }
        }
    }

    async fn admit(&self, home: Home, admission: &Admission) -> Result<()> {
        // Tokens that are here already are good: asking again would only end them.
        let known = if self.api.has_tokens() { self.learn_account().await } else { Err(Error::LoggedOut) };
        match known {
            Err(Error::LoggedOut) => {
                let tokens = self.request_tokens(&home, admission).await?;
                self.api.keep_tokens(&tokens).await?;
                self.learn_account().await?;
            }
            known => known?,
        }
        self.advance(Home { attempt: None, ..home }, Stage::Admitted).await
    }

    /// Trades the invitation for tokens. What was asked is on disk before it leaves, and stays there until it is
    /// known what became of it.
    async fn request_tokens(&self, home: &Home, admission: &Admission) -> Result<Tokens> {
        let earlier = home.attempt.clone();
        let attempt = admission.attempt(&home.clinic, earlier.as_ref(), &self.env)?;
        let repeated = earlier.as_ref().is_some_and(|sent| sent.idempotency_key == attempt.idempotency_key);
        self.keep_attempt(home, Some(attempt.clone())).await?;
        let error = match self.api.activate(&attempt.request.0, &attempt.idempotency_key).await {
            Ok(tokens) => return Ok(tokens),
            Err(error) => error,
        };
        match error.code() {
            // The device of the first answer is forgotten, or was removed since.
            Some(ErrorCode::InvalidInvitation | ErrorCode::DeviceRevoked) if repeated => {
                self.log_in_instead(home, admission).await
            }
            Some(ErrorCode::IdempotencyConflict) => {
                self.keep_attempt(home, earlier).await?;
                Err(Error::Activation(OTHER_PASSWORD))
            }
            // It was not looked at.
            Some(ErrorCode::RateLimited) => {
                self.keep_attempt(home, earlier).await?;
                Err(error)
            }
            // It was refused, and did nothing.
            Some(_) if !error.is_transient() => {
                self.keep_attempt(home, None).await?;
                Err(error)
            }
            _ => Err(error),
        }
    }

    async fn keep_attempt(&self, home: &Home, attempt: Option<Attempt>) -> Result<()> {
        self.profile.put(&Home { attempt, ..home.clone() }).await
    }

    /// The invitation is used up, by an earlier attempt as it seems: a new device of the account takes its place.
    async fn log_in_instead(&self, home: &Home, admission: &Admission) -> Result<Tokens> {
        let email = admission.email.clone().ok_or(Error::Activation(USED_UP))?;
        let request = Login {
            clinic: home.clinic.clone(),
            email,
            password: admission.password.clone(),
            totp: None,
            device: Some(admission.device()),
        };
        self.api.login(&request).await
    }

    /// Reads and keeps whose tokens these are.
    pub(crate) async fn learn_account(&self) -> Result<()> {
        let me = self.api.me().await?;
        let account = Account {
            tenant: me.clinic_id,
            user: me.user_id,
            device: device_number(&me.device)?,
            device_id: me.device.id,
            full_name: me.full_name,
            role: me.role,
        };
        self.profile.put(&account).await?;
        self.set_account(account);
        Ok(())
    }

    /// Enrols an authenticator app where nothing else would be let pass.
    async fn enrol_if_required(&self, admission: &mut Admission) -> Result<()> {
        let status = self.api.mfa_status().await?;
        if status.enrolled || !status.required {
            return Ok(());
        }
        let setup = admission.second_factor.as_mut().ok_or(Error::Activation(NOT_ENROLLED))?;
        let enrolment = match self.api.enroll_mfa().await {
            // An activation that is gone on with later than its proof lasts.
            Err(error) if error.code() == Some(ErrorCode::StepUpRequired) => {
                let password = Some(admission.password.clone());
                self.api.verify(&VerifyMfa { code: None, password }).await?;
                self.api.enroll_mfa().await?
            }
            enrolment => enrolment?,
        };
        let mut wrong = false;
        loop {
            let code = setup.code(&enrolment, wrong).await.ok_or(Error::Activation(NOT_ENROLLED))?;
            match self.api.confirm_mfa(&ConfirmMfa { code }).await {
                Err(error) if error.code() == Some(ErrorCode::InvalidTotp) => wrong = true,
                codes => {
                    setup.recovery_codes(codes?);
                    return Ok(());
                }
            }
        }
    }

    /// Makes the identity, the history key and room for the prekeys, once the clinic's root was checked.
    async fn make_keys(&self, home: Home) -> Result<()> {
        let identity = IdentitySecret::generate(&mut self.env.rng());
        let history = XWingSecret::generate(&mut self.env.rng());
        let random = u32::from(u16::from_be_bytes(self.env.bytes()));
        let step = self.profile.step();
        let history_key_id = history_keys::keep(&step, &history, self.env.now())?;
        step.put(&OwnIdentity {
            secret: SecretBytes(identity.to_bytes().to_vec()),
            registration_id: 1 + random % REGISTRATION_IDS,
            next_pre_key_id: 1,
            signed_pre_key_id: 0,
            last_resort_kyber_id: 0,
            history_key_id,
        })?;
        step.put(&Home { stage: Stage::KeysMade, ..home })?;
        step.commit().await
    }

    async fn publish_identity(&self, home: Home) -> Result<()> {
        let identity_key = Base64Array(self.identity().await?.public().to_bytes());
        match self.api.put_identity(&PutIdentity { identity_key, signature_by_previous: None }).await {
            // An attempt before this one may have arrived; if it is another key, the prekeys are refused.
            Err(error) if error.code() == Some(ErrorCode::IdentityExists) => {}
            other => other?,
        }
        self.advance(home, Stage::IdentityPublished).await
    }

    pub(crate) async fn publish_pre_keys(&self, home: Home) -> Result<()> {
        let step = self.profile.step();
        let mut own: OwnIdentity = step.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let keys = sessions::make_first(&step, &mut own, sessions::ONE_TIME_KEYS, &self.env)?;
        // The private halves are on disk before anybody can use the public ones.
        step.commit().await?;
        self.api.put_keys(&keys).await?;
        self.advance(home, Stage::PreKeysPublished).await
    }

    async fn publish_manifest(&self, home: Home) -> Result<()> {
        let account = self.account()?;
        let identity = self.identity().await?;
        let own: OwnIdentity = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let history = history_keys::current(&self.profile).await?;
        let public = history.secret.public();
        let mut manifest = Manifest {
            tenant: account.tenant,
            user: account.user,
            version: 1,
            previous: None,
            history_public_key: public.clone(),
            devices: vec![ManifestDevice {
                device: account.device,
                registration_id: own.registration_id,
                // The key's time, so that a repeated publication is the same statement.
                added_at: history.created_at,
            }],
        };
        let mut signed = SignedManifest::from(&manifest.sign(&identity, &mut self.env.rng()));
        match self.api.put_manifest(&PutManifest::of(signed.clone())).await {
            Err(error) if error.code() == Some(ErrorCode::ManifestConflict) => {
                if let Some(last) = self.left_by_lost_devices(&error).await? {
                    manifest.version = last.0.saturating_add(1);
                    manifest.previous = Some(last.1);
                    signed = SignedManifest::from(&manifest.sign(&identity, &mut self.env.rng()));
                    self.api.put_manifest(&PutManifest::of(signed.clone())).await?;
                } else {
                    self.require_published(&signed).await?;
                }
            }
            other => other?,
        }
        let step = self.profile.step();
        let mut contact = Contact::first_seen(account.user, identity.public(), self.env.now());
        contact.verified = true;
        contact.manifest = Some(signed);
        contact.manifest_version = manifest.version;
        contact.history_key = Some(public.clone());
        contact.devices =
            vec![ContactDevice { device: account.device, registration_id: own.registration_id, fresh: true }];
        contact.refresh_due = false;
        step.put(&contact)?;
        step.put(&ContactHistoryKey { user: account.user, key_id: own.history_key_id, public_key: public })?;
        step.put(&Home { stage: Stage::Active, ..home })?;
        step.commit().await
    }

    /// Version and hash of the last manifest that the devices before a reset of the identity have signed: the chain
    /// goes on from there. `None` when this identity has signed one itself.
    async fn left_by_lost_devices(&self, conflict: &Error) -> Result<Option<(u32, [u8; 32])>> {
        let Error::Server { body, .. } = conflict else { return Ok(None) };
        let found: ManifestConflict =
            serde_json::from_value(body.details.clone()).map_err(|error| Error::Answer(error.to_string()))?;
        match self.api.manifest(self.account()?.user).await {
            Err(error) if error.code() == Some(ErrorCode::KeysMissing) => {
                Ok(found.current_sha256.map(|digest| (found.current_version, digest.0)))
            }
            answer => answer.map(|_| None),
        }
    }

    /// An attempt before this one may have arrived: then the server has exactly this statement.
    async fn require_published(&self, signed: &SignedManifest) -> Result<()> {
        let user = self.account()?.user;
        let published = self.api.manifest(user).await?.manifest;
        if published.statement == signed.statement {
            Ok(())
        } else {
            Err(Error::contact(user, "the server has another manifest for this account"))
        }
    }

    async fn advance(&self, home: Home, stage: Stage) -> Result<()> {
        self.profile.put(&Home { stage, ..home }).await
    }

    /// New tokens for a device that was logged out.
    pub(crate) async fn log_in(&self, email: String, password: String, totp: Option<String>) -> Result<()> {
        let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let device_id: DeviceId = self.account()?.device_id;
        let device =
            NewDevice { kind: DeviceKind::Messaging, name: String::new(), device_id: Some(device_id) };
        let request = Login { clinic: home.clinic, email, password, totp, device: Some(device) };
        let tokens = self.api.login(&request).await?;
        let account = self.account()?;
        if tokens.user_id != account.user || device_number(&tokens.device)? != account.device {
            return Err(Error::Answer("the tokens are for another device".into()));
        }
        self.api.keep_tokens(&tokens).await?;
        self.flush_soon();
        Ok(())
    }

    /// Publishes more one-time keys.
    pub(crate) async fn top_up_keys(&self) -> Result<()> {
        self.publish(|step, own, env| sessions::make_one_time(step, own, sessions::ONE_TIME_KEYS, env)).await
    }

    /// Publishes a new signed prekey and a new last-resort key.
    pub(crate) async fn rotate_keys(&self) -> Result<()> {
        self.publish(sessions::make_signed).await
    }

    async fn publish(
        &self,
        make: impl FnOnce(&crate::profile::Step, &mut OwnIdentity, &Env) -> Result<PutKeys>,
    ) -> Result<()> {
        let step = self.profile.step();
        let mut own: OwnIdentity = step.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let keys = make(&step, &mut own, &self.env)?;
        sessions::prune(&self.profile, &step, &own, &self.env).await?;
        step.commit().await?;
        self.api.put_keys(&keys).await
    }

    /// Asks the server whether it hands out this device's keys, and publishes them again if not.
    pub(crate) async fn check_keys(&self) -> Result<()> {
        let own: OwnIdentity = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        let digest = self.key_digest(&own).await?;
        match self.api.check_keys(&CheckKeys { digest: Base64Array(digest) }).await {
            Err(error) if error.code() == Some(ErrorCode::KeysDiffer) => self.rotate_keys().await?,
            other => other?,
        }
        let counts = self.api.key_counts().await?;
        if counts.pre_key_count < KEYS_LOW || counts.kyber_pre_key_count < KEYS_LOW {
            self.top_up_keys().await?;
        }
        if counts.signed_pre_key_age_days.is_some_and(|days| days >= ROTATE_AFTER_DAYS) {
            self.rotate_keys().await?;
        }
        Ok(())
    }

    async fn key_digest(&self, own: &OwnIdentity) -> Result<[u8; 32]> {
        use libsignal_protocol::{GenericSignedPreKey as _, KyberPreKeyRecord, SignedPreKeyRecord};
        let signed: Option<SignedPreKey> = self.profile.get(&own.signed_pre_key_id.to_be_bytes()).await?;
        let kyber: Option<KyberPreKey> = self.profile.get(&own.last_resort_kyber_id.to_be_bytes()).await?;
        let (Some(signed), Some(kyber)) = (signed, kyber) else {
            return Err(Error::internal("the published prekeys are not in the profile"));
        };
        let signed_key = SignedPreKeyRecord::deserialize(&signed.record.0)?.public_key()?.serialize();
        let kyber_key = KyberPreKeyRecord::deserialize(&kyber.record.0)?.public_key()?.serialize();
        let identity = self.identity().await?.public();
        let signed_key = sigilo_seal::PreKeyPublic::parse(&signed_key).map_err(Error::internal)?;
        let kyber_key = sigilo_seal::KyberPublicKey::parse(&kyber_key).map_err(Error::internal)?;
        Ok(key_check::digest(&identity, signed.id, &signed_key, kyber.id, &kyber_key))
    }

    /// The fingerprint of the clinic's root, for comparison with the root card.
    pub(crate) async fn root(&self) -> Result<RootFingerprint> {
        let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        Ok(RootFingerprint(home.root.0))
    }
}

/// Fewer one-time keys of a kind than this are topped up.
const KEYS_LOW: u32 = 20;
/// A signed prekey older than this many days is replaced.
const ROTATE_AFTER_DAYS: u32 = 30;

fn device_number(device: &Device) -> Result<sigilo_wire::DeviceNumber> {
    device.device_id.ok_or_else(|| Error::Answer("the device has no number".into()))
}
