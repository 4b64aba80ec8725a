//! Device manifests: accepted only as the signed successor of the one in force.

use serde_json::{Value, json};
use sigilo_seal::{Manifest, manifest::ManifestError};
use sigilo_wire::{
    Base64, Base64Array, ErrorCode, Timestamp,
    conflict::{DeviceMismatch, DeviceRef, ManifestConflict},
    event::EventType,
    keys::{SignedManifest, UserManifest},
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

/// How far a device's clock may be ahead when it names the time a device was added, as for messages.
const CLOCK_TOLERANCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Publishes the caller's next manifest. The relay delivers to the devices it names from then on; the user's
/// other devices and everybody who shares a conversation are told. The manifest in force is accepted again
/// without effect.
///
/// # Errors
/// 409 `keys_missing` before the identity key, 409 `manifest_conflict` with the
/// current version, 422 `invalid_signature`, 422 `invalid_manifest` when it is malformed, another user's, names
/// other devices than those with published keys, or keeps a history key that a removed device knows.
pub async fn put_manifest(
    app: &App,
    ctx: &Ctx,
    grant: Grant<PublishKeys>,
    request: SignedManifest,
) -> Result<UserManifest> {
    let caller = ctx.caller()?;
    let user = *grant.resource();
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("keys_put_manifest").await?;
    let row = store::lock_user(&mut tx, ctx.tenant, user).await?;
    let identity = row.identity_key.as_deref().ok_or_else(|| keys_missing(user, "identity_key"))?;
    let identity = current_identity(identity)?;
    let signed = sigilo_seal::SignedManifest {
        statement: request.statement.0.clone(),
        signature: request.signature.0,
    };
    let manifest = signed.verify(&identity, ctx.tenant, user).map_err(|error| refusal(error, &row))?;
    let current = store::manifest(&mut tx, user, row.manifest_version).await?;
    let answer = UserManifest {
        user_id: user,
        identity_key: Base64Array(identity.to_bytes()),
        manifest: request.clone(),
    };
    if current.as_ref().is_some_and(|current| {
        current.identity_seq == row.identity_seq && current.statement == request.statement.0
    }) {
        return Ok(answer);
    }
    check_successor(&mut tx, &manifest, current.as_ref(), &row).await?;
    check_devices(&mut tx, &manifest, ctx.now).await?;

    conversations::facts_changed_of(&mut tx, user).await?;
    let new = store::NewManifest { manifest: &manifest, signed: &signed, identity_seq: row.identity_seq };
    store::put_manifest(&mut tx, &new, ctx.now).await?;
    let data =
        notify::json(&sigilo_wire::event::ManifestChanged { user_id: user, version: manifest.version })?;
    let woken =
        notify::contacts(&mut tx, ctx, user, caller.device_id, EventType::ManifestChanged, &data).await?;
    outbox::publish(&mut tx, ctx.tenant, &[Fact { topic: "manifest.changed", data }], ctx.now).await?;
    let act = Act::done("publish_manifest")
        .object("user", user)
        .object("version", manifest.version)
        .object("manifest_sha256", Base64Array(manifest.digest()))
        .patient(notify::patient(&row.role, user))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    notify::wake(app, &woken);
    Ok(answer)
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
pub(super) async fn read_manifest(
    tx: &mut Tx,
    user: sigilo_wire::UserId,
    row: &UserRow,
) -> Result<UserManifest> {
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
    let details =
        ManifestConflict { current_version: u32::try_from(row.manifest_version).unwrap_or(u32::MAX) };
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
    manifest.verify_successor(&previous).map_err(|error| refusal(error, row))?;
    let key_id = manifest.history_key_id();
    // A key of an earlier time may be known to a device that was removed since.
    if key_id.as_bytes().as_slice() != current.history_key_id
        && store::history_key_was_used(tx, manifest.user, key_id.as_bytes()).await?
    {
        return Err(invalid(json!({"problem": "this history key was replaced before; make a new one"})));
    }
    Ok(())
}

/// A manifest names exactly the devices that have published keys (which takes the identity's signature) and
/// are not revoked.
async fn check_devices(tx: &mut Tx, manifest: &Manifest, now: Timestamp) -> Result<()> {
    let published = store::published_devices(tx, manifest.user).await?;
    let name = |device_id| DeviceRef { user_id: manifest.user, device_id };
    let mut mismatch = DeviceMismatch::default();
    for (number, registration) in &published {
        match manifest.device(*number) {
            None => mismatch.missing.push(name(*number)),
            Some(named) if i64::from(named.registration_id) != *registration => {
                mismatch.stale.push(name(*number));
            }
            Some(_) => {}
        }
    }
    for named in &manifest.devices {
        if !published.iter().any(|(number, _)| *number == named.device) {
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
