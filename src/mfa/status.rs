//! How the caller's second factor stands.

use sigilo_wire::{ErrorCode, mfa::MfaStatus};

use super::{RECENT, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    people::{self, SecondFactorRule},
    policy::{Grant, ManageOwnAccount, Person, UseTokens, facts::Tokens},
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
    let required = people::settings(&mut tx, ctx.tenant).await?.second_factor == SecondFactorRule::Required;
    Ok(MfaStatus {
        enrolled: enrolled_at.is_some(),
        required: is_required(app, ctx, required)?,
        enrolled_at,
        recovery_codes_left: u32::try_from(left).map_err(Error::internal)?,
        verified_until: verified.map(|at| at + RECENT).filter(|until| *until > ctx.now),
    })
}

/// Whether the rules would refuse the caller's tokens without a second factor.
fn is_required(app: &App, ctx: &Ctx, required: bool) -> Result<bool> {
    let facts = Tokens { caller: Person::caller(ctx)?, second_factor: false, required };
    match app.policy.decide::<UseTokens>(ctx, &facts) {
        Ok(_) => Ok(false),
        Err(Error::Denied(denial)) => Ok(denial.code == ErrorCode::MfaEnrolmentRequired),
        Err(error) => Err(error),
    }
}
