//! Device manifests: accepted only as the signed successor of the one in force.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use sigilo_seal::{IdentityPublicKey, Manifest, manifest::ManifestError};
use sigilo_wire::{
    Base64, Base64Array, DeviceId, ErrorCode, Timestamp, UserId,
    conflict::{DeviceMismatch, DeviceRef, ManifestConflict},
    event::{Envelope, EventType, ManifestChanged, SentHistoryKey},
    keys::{PutManifest, SignedManifest, UserManifest},
    message::RecipientEnvelope,
};

use super::{
    identity::current_identity,
    keys_missing, notify,
    store::{self, ManifestRow, UserRow},
    verify,
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    conversations,
    outbox::{self, Fact},
    policy::{FetchKeys, Grant, PublishKeys},
    storage::Tx,
};

/// The longest envelope, in bytes, as for messages.
const MAX_ENVELOPE: usize = 8_192;
/// How far a device's clock may be ahead when it names the time a device was added, as for messages.
const CLOCK_TOLERANCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Publishes the caller's next manifest. The relay delivers to the devices it names from then on; the user's
/// other devices and everybody who shares a conversation are told, the former with the envelope for them. The
/// manifest in force is accepted again without effect.
///
/// # Errors
/// 409 `keys_missing` before the identity key, 409 `manifest_conflict` with the
/// current version, 422 `invalid_signature`, 422 `invalid_manifest` when it is malformed, another user's, names
/// other devices than those with published keys, or keeps a history key that a removed device knows; 400
/// `invalid_field` for envelopes without a new history key, or for others than its devices.
pub async fn put_manifest(
    app: &App,
    ctx: &Ctx,
    grant: Grant<PublishKeys>,
    request: PutManifest,
) -> Result<UserManifest> {
    let user = *grant.resource();
    let PutManifest { statement, signature, history_key_envelopes } = request;
    let offered = SignedManifest { statement, signature };
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("keys_put_manifest").await?;
    let next = match lock_signer(&mut tx, ctx, user).await?.follow(&mut tx, ctx, &offered).await? {
        Following::InForce(answer) => return Ok(answer),
        Following::Next(next) => next,
    };
    next.check_envelopes(ctx, &history_key_envelopes)?;
    let (answer, woken) = next.write(&mut tx, ctx, &history_key_envelopes).await?;
    app.audit(&mut tx, ctx, &key, next.audited("publish_manifest").by(grant.basis())).await?;
    tx.commit().await?;
    notify::wake(app, &woken);
    Ok(answer)
}

/// A user, locked until the commit, whose identity may sign the next manifest.
pub(crate) struct Signer {
    user: UserId,
    row: UserRow,
    identity: IdentityPublicKey,
}

/// A manifest that was offered.
pub(crate) enum Following {
    /// It is the one in force.
    InForce(UserManifest),
    /// It may follow that one.
    Next(Box<NextManifest>),
}

/// A manifest that may follow the one in force.
pub(crate) struct NextManifest {
    manifest: Manifest,
    has_new_history_key: bool,
    signed: sigilo_seal::SignedManifest,
    signer: Signer,
}

/// Locks a user until the commit.
///
/// # Errors
/// 409 `keys_missing` before the identity key.
pub(crate) async fn lock_signer(tx: &mut Tx, ctx: &Ctx, user: UserId) -> Result<Signer> {
    let row = store::lock_user(tx, ctx.tenant, user).await?;
    let identity = row.identity_key.as_deref().ok_or_else(|| keys_missing(user, "identity_key"))?;
    let identity = current_identity(identity)?;
    Ok(Signer { user, row, identity })
}

impl Signer {
    /// 409 `manifest_conflict` with the current version.
    pub(crate) fn conflict(&self) -> Error {
        conflict(&self.row)
    }

    /// The answer for the manifest in force, if this is it.
    pub(crate) async fn in_force(
        &self,
        tx: &mut Tx,
        offered: &SignedManifest,
    ) -> Result<Option<UserManifest>> {
        let current = store::manifest(tx, self.user, self.row.manifest_version).await?;
        let same = current.is_some_and(|current| {
            current.identity_seq == self.row.identity_seq && current.statement == offered.statement.0
        });
        Ok(same.then(|| self.answer(offered)))
    }

    /// Checks what is offered as the next manifest.
    ///
    /// # Errors
    /// As [`put_manifest`].
    pub(crate) async fn follow(self, tx: &mut Tx, ctx: &Ctx, offered: &SignedManifest) -> Result<Following> {
        let (tenant, user, row) = (ctx.tenant, self.user, &self.row);
        let signed = unsealed(offered);
        let manifest = signed.verify(&self.identity, tenant, user).map_err(|error| refusal(error, row))?;
        if let Some(answer) = self.in_force(tx, offered).await? {
            return Ok(Following::InForce(answer));
        }
        let current = store::manifest(tx, user, row.manifest_version).await?;
        check_successor(tx, &manifest, current.as_ref(), row).await?;
        check_devices(tx, &manifest, ctx.now).await?;
        let key_id = manifest.history_key_id();
        let has_new_history_key =
            current.is_none_or(|current| current.history_key_id != key_id.as_bytes().as_slice());
        Ok(Following::Next(Box::new(NextManifest { manifest, has_new_history_key, signed, signer: self })))
    }

    fn answer(&self, manifest: &SignedManifest) -> UserManifest {
        UserManifest {
            user_id: self.user,
            identity_key: Base64Array(self.identity.to_bytes()),
            manifest: manifest.clone(),
        }
    }
}

impl NextManifest {
    /// Its version.
    pub(crate) const fn version(&self) -> u32 {
        self.manifest.version
    }

    /// Whether each envelope is for another device of the manifest, and there is a new history key to be in them.
    fn check_envelopes(&self, ctx: &Ctx, envelopes: &[RecipientEnvelope]) -> Result<()> {
        let wrong = |problem: &str| Err(Error::field("history_key_envelopes", problem));
        if !envelopes.is_empty() && !self.has_new_history_key {
            return wrong("the manifest has no new history key");
        }
        let own = ctx.caller()?.device_number;
        let mut seen = HashSet::new();
        for envelope in envelopes {
            let (user, number) = (envelope.user_id, envelope.device_id);
            let named = self.manifest.device(number).filter(|_| user == self.signer.user);
            if named.is_none_or(|named| named.registration_id != envelope.registration_id)
                || Some(number) == own
            {
                return wrong("each is for another device that the manifest names, by its registration id");
            }
            if !seen.insert(number) {
                return wrong("a device gets one");
            }
            if envelope.content.is_empty() || envelope.content.len() > MAX_ENVELOPE {
                return wrong("each is 1 to 8192 bytes");
            }
        }
        Ok(())
    }

    /// Puts it in force, and queues what others hear of it: the user's other devices with the history key that is
    /// sealed to them. Gives the answer, and the devices to wake after the commit.
    pub(crate) async fn write(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        envelopes: &[RecipientEnvelope],
    ) -> Result<(UserManifest, Vec<DeviceId>)> {
        let (manifest, signer) = (&self.manifest, &self.signer);
        let user = signer.user;
        conversations::facts_changed_of(tx, user).await?;
        let new =
            store::NewManifest { manifest, signed: &self.signed, identity_seq: signer.row.identity_seq };
        store::put_manifest(tx, &new, ctx.now).await?;
        let caller = ctx.caller()?;
        let changed = ManifestChanged { user_id: user, version: manifest.version, history_key: None };
        let mut with_key = HashMap::new();
        if let Some(author) = caller.device_number.filter(|_| !envelopes.is_empty()) {
            for device in store::manifest_devices(tx, user).await? {
                let sealed = envelopes.iter().find(|envelope| envelope.device_id == device.device_number);
                let Some(sealed) = sealed else { continue };
                let envelope = Envelope { r#type: sealed.r#type, content: sealed.content.clone() };
                let history_key = Some(SentHistoryKey { device_id: author, envelope });
                let data = notify::json(&ManifestChanged { history_key, ..changed.clone() })?;
                with_key.insert(device.device_id, data);
            }
        }
        let data = notify::json(&changed)?;
        let told = notify::Told { r#type: EventType::ManifestChanged, data: &data, instead: &with_key };
        let woken = notify::contacts(tx, ctx, user, caller.device_id, &told).await?;
        outbox::publish(tx, ctx.tenant, vec![Fact { topic: "manifest.changed", data }], ctx.now);
        let signed = SignedManifest {
            statement: Base64(self.signed.statement.clone()),
            signature: Base64Array(self.signed.signature),
        };
        Ok((signer.answer(&signed), woken))
    }

    /// The act of putting it in force, for the audit log.
    pub(crate) fn audited<'a>(&self, name: &'a str) -> Act<'a> {
        let user = self.signer.user;
        Act::done(name)
            .object("user", user)
            .object("version", self.manifest.version)
            .object("manifest_sha256", Base64Array(self.manifest.digest()))
            .patient(notify::patient(&self.signer.row.role, user))
    }
}

/// What a manifest says, before anybody has checked who says so.
///
/// # Errors
/// 422 `invalid_manifest`.
pub(crate) fn read_unverified(offered: &SignedManifest) -> Result<Manifest> {
    Manifest::decode(&offered.statement).map_err(|error| invalid(json!({"problem": error.to_string()})))
}

fn unsealed(manifest: &SignedManifest) -> sigilo_seal::SignedManifest {
    sigilo_seal::SignedManifest { statement: manifest.statement.0.clone(), signature: manifest.signature.0 }
}

/// The identity key and the newest manifest of a person: what a sender checks before every send, without
/// taking one-time keys.
///
/// # Errors
/// 409 `keys_missing` while the identity in force has signed none.
pub async fn get_manifest(app: &App, ctx: &Ctx, grant: Grant<FetchKeys>) -> Result<UserManifest> {
    let user = *grant.resource();
    let mut tx = app.db.read("keys_get_manifest").await?;
    let row = store::user(&mut tx, ctx.tenant, user).await?;
    read_manifest(&mut tx, user, &row).await
}

/// A user's identity and the manifest it signed last.
pub(super) async fn read_manifest(tx: &mut Tx, user: UserId, row: &UserRow) -> Result<UserManifest> {
    let identity = row.identity_key.as_deref().ok_or_else(|| keys_missing(user, "identity_key"))?;
    let manifest = store::manifest(tx, user, row.manifest_version)
        .await?
        // After an identity change there is none until the new identity has signed one.
        .filter(|manifest| manifest.identity_seq == row.identity_seq)
        .ok_or_else(|| keys_missing(user, "manifest"))?;
    Ok(UserManifest {
        user_id: user,
        identity_key: Base64Array(current_identity(identity)?.to_bytes()),
        manifest: SignedManifest {
            statement: Base64(manifest.statement),
            signature: Base64Array(
                manifest
                    .signature
                    .try_into()
                    .map_err(|_| Error::internal("a stored manifest signature is not 64 bytes"))?,
            ),
        },
    })
}

/// What a device hears of a manifest that is refused.
fn refusal(error: ManifestError, row: &UserRow) -> Error {
    match error {
        ManifestError::Signature => {
            verify::Name("manifest", None).invalid_signature("the identity key did not sign this manifest")
        }
        ManifestError::Version { .. } | ManifestError::Chain => conflict(row),
        ManifestError::Malformed(_)
        | ManifestError::Key(_)
        | ManifestError::Owner
        | ManifestError::HistoryKeyKept
        | ManifestError::DeviceReused(_) => invalid(json!({"problem": error.to_string()})),
    }
}

fn conflict(row: &UserRow) -> Error {
    let details = ManifestConflict {
        current_version: u32::try_from(row.manifest_version).unwrap_or(u32::MAX),
        current_sha256: None,
    };
    Error::conflict(ErrorCode::ManifestConflict, json!(details))
}

/// The same, with what the next manifest has to name. Whoever has a new identity cannot have seen it elsewhere.
fn conflict_with(row: &UserRow, previous: &Manifest) -> Error {
    let details = ManifestConflict {
        current_version: u32::try_from(row.manifest_version).unwrap_or(u32::MAX),
        current_sha256: Some(Base64Array(previous.digest())),
    };
    Error::conflict(ErrorCode::ManifestConflict, json!(details))
}

fn invalid(details: Value) -> Error {
    Error::invalid(ErrorCode::InvalidManifest, details)
}

async fn check_successor(
    tx: &mut Tx,
    manifest: &Manifest,
    current: Option<&ManifestRow>,
    row: &UserRow,
) -> Result<()> {
    let Some(current) = current else {
        return if manifest.version == 1 { Ok(()) } else { Err(conflict(row)) };
    };
    let previous = Manifest::decode(&current.statement).map_err(Error::internal)?;
    manifest.verify_successor(&previous).map_err(|error| match error {
        ManifestError::Version { .. } | ManifestError::Chain => conflict_with(row, &previous),
        other => refusal(other, row),
    })?;
    let key_id = manifest.history_key_id();
    // A key of an earlier time may be known to a device that was removed since.
    if key_id.as_bytes().as_slice() != current.history_key_id
        && store::history_key_was_used(tx, manifest.user, key_id.as_bytes()).await?
    {
        return Err(invalid(json!({"problem": "this history key was replaced before; make a new one"})));
    }
    Ok(())
}

/// A manifest names exactly the devices that have published keys (which takes the identity's signature) and are not
/// revoked. It may also name one that was linked and has not published yet: nothing is sent to it until it has.
async fn check_devices(tx: &mut Tx, manifest: &Manifest, now: Timestamp) -> Result<()> {
    let registered = store::registered_devices(tx, manifest.user).await?;
    let name = |device_id| DeviceRef { user_id: manifest.user, device_id };
    let mut mismatch = DeviceMismatch::default();
    for (number, registration, keys_at) in &registered {
        match manifest.device(*number) {
            None if keys_at.is_some() => mismatch.missing.push(name(*number)),
            Some(named) if i64::from(named.registration_id) != *registration => {
                mismatch.stale.push(name(*number));
            }
            _ => {}
        }
    }
    for named in &manifest.devices {
        if !registered.iter().any(|(number, ..)| *number == named.device) {
            mismatch.extra.push(name(named.device));
        }
    }
    if mismatch != DeviceMismatch::default() {
        return Err(invalid(json!({
            "problem": "a manifest names exactly the devices with published keys, by their registration ids",
            "missing": mismatch.missing, "extra": mismatch.extra, "stale": mismatch.stale,
        })));
    }
    match manifest.devices.iter().find(|device| device.added_at > now + CLOCK_TOLERANCE) {
        Some(early) => Err(invalid(json!({
            "problem": "a device was added in the future: is the clock right?",
            "device_id": early.device, "server_time": now,
        }))),
        None => Ok(()),
    }
}
