//! The clinic takes away a second factor that is lost with all its recovery codes.

use serde::Serialize;
use sigilo_wire::UserId;

use super::store;
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth,
    policy::{Grant, ManagePeople},
};

/// What came of a reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactorReset {
    /// Whose.
    pub user_id: UserId,
    /// Whether there was a second factor.
    pub changed: bool,
    /// How many devices were logged out.
    pub devices: usize,
}

/// Ends a person's second factor and recovery codes, and the tokens and sockets of all their devices: whoever has the
/// lost app may have one of these, too. The password alone logs in again; where the clinic requires a second
/// factor, only to enrol another.
///
/// # Errors
/// 404 when the clinic has no such person.
pub async fn reset(app: &App, ctx: &Ctx, grant: Grant<ManagePeople>, user: UserId) -> Result<FactorReset> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("mfa_reset").await?;
    let role = store::lock_person(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    let changed = store::is_enrolled(&mut tx, user).await?;
    let devices = if changed { auth::end_sessions(&mut tx, user, None, ctx.now).await? } else { Vec::new() };
    // Also an enrolment that waits for its first code, and the count of wrong ones.
    store::drop_second_factor(&mut tx, user).await?;
    store::forget_attempts(&mut tx, user).await?;
    let act = Act::done("reset_second_factor").object("user", user).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    for device in &devices {
        auth::cut_off(app, *device);
    }
    Ok(FactorReset { user_id: user, changed, devices: devices.len() })
}
