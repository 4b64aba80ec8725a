//! Stopping a reset before its invitation is used: the person, whose devices were told, or the clinic.

use sigilo_wire::{IdentityResetId, UserId, event::ResetStage};

use super::{store, tell};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    mfa,
    people::store as people,
    policy::{Action, Grant, ManageOwnAccount, ResetIdentity},
};

/// Whose identity an open reset is about, approved or not, for [`super::authorize`].
///
/// # Errors
/// 404 when none is open by this id.
pub async fn open_subject(app: &App, ctx: &Ctx, reset: IdentityResetId) -> Result<UserId> {
    let mut tx = app.db.read("identity_reset_find").await?;
    store::open(&mut tx, reset, ctx.tenant, ctx.now).await?.ok_or(Error::NotFound)
}

/// The clinic takes back what it has asked for or approved, and with it an invitation that is out.
///
/// # Errors
/// `step_up_required`; 404 when nothing is open for this person any more.
pub async fn cancel(app: &App, ctx: &Ctx, grant: Grant<ResetIdentity>) -> Result<()> {
    end(app, ctx, &grant).await
}

/// The person stops what the clinic has begun: the devices are not lost.
///
/// # Errors
/// `step_up_required`; 404 when nothing is open.
pub async fn cancel_own(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>) -> Result<()> {
    end(app, ctx, &grant).await
}

async fn end<A: Action<Resource = UserId>>(app: &App, ctx: &Ctx, grant: &Grant<A>) -> Result<()> {
    let user = *grant.resource();
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("identity_reset_cancel").await?;
    mfa::require_recent(&mut tx, ctx, grant).await?;
    let person = people::lock_user(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    let ended = store::cancel(&mut tx, user, ctx.now).await?;
    if ended.is_empty() {
        return Err(Error::NotFound);
    }
    let mut woken = Vec::new();
    for reset in ended {
        woken = tell(&mut tx, ctx, (reset, user), ResetStage::Cancelled, ctx.now).await?;
        let act = Act::done("cancel_identity_reset").object("user", user).object("reset", reset);
        app.audit(&mut tx, ctx, &key, act.about(person.role()?, user).by(grant.basis())).await?;
    }
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(())
}
