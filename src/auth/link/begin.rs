//! An old device opens the link that a new one shows, and waits for its key.

use serde_json::json;
use sigilo_wire::{
    Base64, DeviceNumber, ErrorCode, UserId,
    account::DeviceKind,
    link::{BeginLink, OwnLink},
};

use super::{
    LINK_LIFE,
    store::{self, LinkRow},
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth::{device_limit, store as devices},
    mfa,
    policy::{Grant, PublishKeys},
    storage::Tx,
};

/// Opens a link for [`LINK_LIFE`], in place of one the user may have opened before. The link that the calling device
/// has open is given again.
///
/// # Errors
/// `step_up_required`; `device_limit` when the account has as many messaging devices as it may; 409
/// `already_exists` when somebody else has opened this link.
pub async fn begin(app: &App, ctx: &Ctx, grant: Grant<PublishKeys>, request: &BeginLink) -> Result<OwnLink> {
    let (user, caller) = (*grant.resource(), *ctx.caller()?);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("link_begin").await?;
    mfa::require_recent(&mut tx, ctx, &grant).await?;
    devices::lock_account(&mut tx, user).await?;
    require_room(&mut tx, ctx, user).await?;
    if let Some(open) = store::link_of_user(&mut tx, user, ctx.now).await?
        && open.link_id == request.link_id
        && open.begun_by == caller.device_id
    {
        return describe(&mut tx, open).await;
    }
    let owner = (ctx.tenant, user, caller.device_id);
    if !store::insert_link(&mut tx, request.link_id, owner, ctx.now, ctx.now + LINK_LIFE).await? {
        return Err(Error::conflict(ErrorCode::AlreadyExists, json!({"field": "link_id"})));
    }
    let open = store::link_of_user(&mut tx, user, ctx.now).await?.ok_or(Error::NotFound)?;
    let link = describe(&mut tx, open).await?;
    let act = Act::done("begin_link").object("user", user).object("link", link.link_id);
    app.audit(&mut tx, ctx, &key, act.about(caller.role, user).by(grant.basis())).await?;
    tx.commit().await?;
    Ok(link)
}

/// The link the calling device has open.
///
/// # Errors
/// 404 when it has none, or it expired.
pub async fn own(app: &App, ctx: &Ctx, grant: Grant<PublishKeys>) -> Result<OwnLink> {
    let mut tx = app.db.read("link_own").await?;
    let open = store::link_of_user(&mut tx, *grant.resource(), ctx.now).await?.ok_or(Error::NotFound)?;
    if open.begun_by != ctx.caller()?.device_id {
        return Err(Error::NotFound);
    }
    describe(&mut tx, open).await
}

/// Refuses when the account has as many messaging devices as it may.
pub(super) async fn require_room(tx: &mut Tx, ctx: &Ctx, user: UserId) -> Result<()> {
    let (kind, limit) = (DeviceKind::Messaging, device_limit(DeviceKind::Messaging));
    if devices::count_devices(tx, user, kind, ctx.now).await? < limit {
        return Ok(());
    }
    Err(Error::conflict(ErrorCode::DeviceLimit, json!({"kind": kind, "limit": limit})))
}

async fn describe(tx: &mut Tx, row: LinkRow) -> Result<OwnLink> {
    let next = store::next_number(tx, row.user_id).await?;
    let next = u8::try_from(next).ok().and_then(DeviceNumber::new);
    Ok(OwnLink {
        link_id: row.link_id,
        expires_at: row.expires_at,
        public_key: row.public_key.map(Base64),
        // All 127 were given.
        next_device_id: next.ok_or_else(|| {
            let details = json!({"kind": DeviceKind::Messaging, "limit": DeviceNumber::MAX});
            Error::conflict(ErrorCode::DeviceLimit, details)
        })?,
    })
}
