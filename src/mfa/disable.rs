//! The end of a second factor.

use super::{require_recent, store};
use crate::{
    Ctx, Result,
    app::App,
    audit::Act,
    policy::{Grant, ManageOwnAccount},
};

/// Ends the account's second factor and its recovery codes: the password alone logs in. An enrolment under way
/// ends, too. Without a second factor nothing changes. Where the clinic requires one, the account's tokens serve
/// from then on to enrol the next, and for nothing else.
///
/// # Errors
/// `step_up_required`: of an enrolled account, the proof is a code.
pub async fn disable(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>) -> Result<()> {
    let (user, role) = (*grant.resource(), ctx.caller()?.role);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("mfa_disable").await?;
    require_recent(&mut tx, ctx, &grant).await?;
    store::drop_second_factor(&mut tx, user).await?;
    let act = Act::done("disable_mfa").object("user", user).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    app.known_devices.forget(ctx.caller()?.device_id);
    Ok(())
}
