//! The old device hands the account over: a package that nobody else opens, and the manifest that names the device.

use serde_json::json;
use sigilo_seal::xwing::ENC_LENGTH;
use sigilo_wire::{DeviceId, ErrorCode, LinkId, UserId, keys::UserManifest, link::ApproveLink};

use super::{
    MAX_PACKAGE,
    begin::require_room,
    store::{self, Approval, LinkRow, NewLinked},
};
use crate::{
    Ctx, Error, Result,
    app::App,
    auth::{sessions, store as devices},
    keys::{self, Following},
    policy::{Grant, PublishKeys},
    rng,
    storage::Tx,
};

/// Makes the new device, publishes the manifest that names it, and leaves the package for it, all or nothing. The same
/// approval is answered again.
///
/// # Errors
/// 404 unless the calling device has this link open; 409 `keys_missing` before the new device's key is there,
/// `device_limit`, `manifest_conflict` when the manifest or the number is not the next, `already_exists` after
/// another approval; 422 as [`keys::put_manifest`]; `invalid_field`.
pub async fn approve(
    app: &App,
    ctx: &Ctx,
    grant: Grant<PublishKeys>,
    link: LinkId,
    request: &ApproveLink,
) -> Result<UserManifest> {
    check_lengths(request)?;
    let (user, caller) = (*grant.resource(), *ctx.caller()?);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("link_approve").await?;
    // The user is locked from here on: numbers, devices and manifests are theirs.
    let signer = keys::lock_signer(&mut tx, ctx, user).await?;
    let row = store::link(&mut tx, link, ctx.now).await?.ok_or(Error::NotFound)?;
    if row.begun_by != caller.device_id {
        return Err(Error::NotFound);
    }
    if row.public_key.is_none() {
        return Err(Error::conflict(ErrorCode::KeysMissing, json!({"missing": "link_key"})));
    }
    if row.device_id.is_some() {
        return repeat(&mut tx, &signer, &row, request).await;
    }
    require_room(&mut tx, ctx, user).await?;
    let device = make_device(app, &mut tx, ctx, user, &signer, request).await?;
    let next = match signer.follow(&mut tx, ctx, &request.manifest).await? {
        Following::Next(next) => next,
        Following::InForce(_) => return Err(not_named()),
    };
    let (answer, woken) = next.write(&mut tx, ctx, &[]).await?;
    let approval = Approval {
        device,
        manifest_version: i64::from(next.version()),
        claim_hash: request.claim_sha256.as_slice(),
        enc: &request.enc,
        ct: &request.ct,
    };
    if !store::approve(&mut tx, link, &approval).await? {
        return Err(Error::internal("the user's lock does not hold"));
    }
    let act = next.audited("link_device").object("device", device).object("link", link);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(answer)
}

fn check_lengths(request: &ApproveLink) -> Result<()> {
    if request.enc.len() != ENC_LENGTH {
        return Err(Error::field("enc", format_args!("is {ENC_LENGTH} bytes")));
    }
    if request.ct.is_empty() || request.ct.len() > MAX_PACKAGE {
        return Err(Error::field("ct", format_args!("is 1 to {MAX_PACKAGE} bytes")));
    }
    Ok(())
}

/// The answer to an approval that was written before.
async fn repeat(
    tx: &mut Tx,
    signer: &keys::Signer,
    row: &LinkRow,
    request: &ApproveLink,
) -> Result<UserManifest> {
    let same = row.ct.as_deref() == Some(request.ct.0.as_slice());
    match signer.in_force(tx, &request.manifest).await? {
        Some(answer) if same => Ok(answer),
        _ => Err(Error::conflict(ErrorCode::AlreadyExists, json!({"field": "link_id"}))),
    }
}

/// The device's row, under the number and registration id that the manifest gives it.
async fn make_device(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    signer: &keys::Signer,
    request: &ApproveLink,
) -> Result<DeviceId> {
    let number = devices::next_device_number(tx, user).await?;
    if number != Some(request.device_id) {
        return Err(signer.conflict());
    }
    let named = keys::read_unverified(&request.manifest)?;
    let named = named.device(request.device_id).ok_or_else(not_named)?;
    let id = DeviceId::new(ctx.now, rng::bytes(&*app.entropy));
    let row = NewLinked {
        device: id,
        tenant: ctx.tenant,
        user,
        number: request.device_id,
        registration_id: keys::registration_id(named.registration_id)?,
        name_enc: &sessions::seal_name(app, id, "")?,
    };
    store::insert_linked(tx, &row, (ctx.now, sessions::to_the_hour(ctx.now))).await?;
    Ok(id)
}

fn not_named() -> Error {
    let problem = "the manifest does not name the new device";
    Error::invalid(ErrorCode::InvalidManifest, json!({"problem": problem}))
}
