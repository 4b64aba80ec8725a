//! A person chooses another password.

use sigilo_wire::{ErrorCode, account::ChangePassword};

use super::{devices::end_sessions, known::cut_off, password, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    mfa,
    policy::{Grant, ManageOwnAccount},
};

/// Replaces the caller's password. The tokens and sockets of all other devices end, and codes of the clinic for a
/// new password. Keys and the second factor stay.
///
/// The present password is the proof of who asks; an account with a second factor needs a recent code, too.
///
/// # Errors
/// `weak_password`, `invalid_field`; `step_up_required`; `invalid_credentials`; `rate_limited`; `unavailable` in a
/// crowd.
pub async fn change_password(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOwnAccount>,
    request: &ChangePassword,
) -> Result<()> {
    let (user, role, device) = (*grant.resource(), ctx.caller()?.role, ctx.caller()?.device_id);
    password::check("new", &request.new)?;
    if request.new == request.current {
        return Err(Error::field("new", "is the present password"));
    }
    let wrong = || Error::Unauthenticated(ErrorCode::InvalidCredentials);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("password_change_prove").await?;
    let enrolled = mfa::is_enrolled(&mut tx, user).await?;
    if enrolled {
        mfa::require_recent(&mut tx, ctx, &grant).await?;
    }
    let attempt = mfa::Attempt::begin(&mut tx, ctx, user).await?;
    let present = store::password(&mut tx, user).await?;
    // Slow hashes are not computed while rows are locked; the attempt is counted before.
    tx.commit().await?;
    let matches = app.passwords.verify(&request.current, present.as_deref()).await?;
    let Some(present) = present.filter(|_| matches) else {
        let act = Act::failed("change_password").object("user", user).object("reason", "wrong_password");
        let mut tx = app.db.begin("password_change_failed").await?;
        app.audit(&mut tx, ctx, &key, act.about(role, user).by(grant.basis())).await?;
        tx.commit().await?;
        return Err(wrong());
    };
    let hash = app.passwords.hash(&request.new, &*app.entropy).await?;
    let mut tx = app.db.begin("password_change").await?;
    // The password may have been changed, or the account suspended, since it was read.
    if store::lock_account(&mut tx, user).await? != "active" {
        return Err(Error::Unauthenticated(ErrorCode::DeviceRevoked));
    }
    if !store::change_password(&mut tx, user, &hash, &present).await? {
        return Err(wrong());
    }
    attempt.succeeded(&mut tx).await?;
    store::end_resets(&mut tx, user, ctx.now).await?;
    if !enrolled {
        mfa::verified_now(&mut tx, ctx).await?;
    }
    let ended = end_sessions(&mut tx, user, Some(device), ctx.now).await?;
    let act = Act::done("change_password").object("user", user).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    ended.into_iter().for_each(|device| cut_off(app, device));
    Ok(())
}
