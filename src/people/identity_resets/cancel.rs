//! Stopping a reset before its invitation is used: the person, whose devices were told, or the clinic.

use sigilo_wire::{DeviceId, IdentityResetId, Role, UserId, event::ResetStage};

use super::{store, tell};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    mfa,
    people::store as people,
    policy::{Action, Basis, Grant, ManageOwnAccount, ResetIdentity},
    storage::{Tx, keystore::DataKey},
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
    let Some(woken) = end_all(app, &mut tx, ctx, &key, (user, person.role()?), grant.basis()).await? else {
        return Err(Error::NotFound);
    };
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(())
}

/// Ends what is open for a person whom the caller has locked, approved or not; `None` when nothing is. Gives the devices
/// to wake after the commit.
pub(in crate::people) async fn end_all(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    key: &DataKey,
    (user, role): (UserId, Role),
    basis: &Basis,
) -> Result<Option<Vec<DeviceId>>> {
    let mut woken = None;
    for reset in store::cancel(tx, user, ctx.now).await? {
        woken = Some(tell(tx, ctx, (reset, user), ResetStage::Cancelled, ctx.now).await?);
        let act = Act::done("cancel_identity_reset").object("user", user).object("reset", reset);
        app.audit(tx, ctx, key, act.about(role, user).by(basis)).await?;
    }
    Ok(woken)
}
