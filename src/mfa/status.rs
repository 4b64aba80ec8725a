//! How the caller's second factor stands.

use sigilo_wire::mfa::MfaStatus;

use super::{RECENT, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    policy::{Grant, ManageOwnAccount},
};

/// Whether the caller's account has a second factor, and whether this device has proven who uses it.
///
/// # Errors
/// When the database is away.
pub async fn status(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>) -> Result<MfaStatus> {
    let (user, device) = (*grant.resource(), ctx.caller()?.device_id);
    let mut tx = app.db.read("mfa_status").await?;
    let enrolled_at = store::enrolled_at(&mut tx, user).await?;
    let left = store::recovery_codes_left(&mut tx, user).await?;
    let verified = store::verified_at(&mut tx, device).await?;
    Ok(MfaStatus {
        enrolled: enrolled_at.is_some(),
        enrolled_at,
        recovery_codes_left: u32::try_from(left).map_err(Error::internal)?,
        verified_until: verified.map(|at| at + RECENT).filter(|until| *until > ctx.now),
    })
}
