//! An authenticator app becomes the account's second factor.

use serde_json::json;
use sigilo_wire::{
    ErrorCode, UserId,
    mfa::{ConfirmMfa, Enrolment, RecoveryCodes},
};

use super::{
    Attempt, ENROLMENT_LIFE, RECOVERY_CODES,
    code::{digits, place},
    recovery, require_recent, store,
    totp::{self, SECRET_BYTES},
    verified_now,
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    people,
    policy::{Grant, ManageOwnAccount},
    rng,
    storage::Tx,
};

/// Begins an enrolment: a new secret, which counts once [`confirm`] was shown a code of it. An account that has
/// a second factor keeps it until then.
///
/// # Errors
/// `step_up_required`.
pub async fn enroll(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>) -> Result<Enrolment> {
    let (user, role) = (*grant.resource(), ctx.caller()?.role);
    let me = people::get_me(app, ctx, grant.clone()).await?;
    let secret = rng::secret::<SECRET_BYTES>(&*app.entropy);
    let sealed = app.crypter.encrypt(place(&user, "pending_enc"), secret.as_slice(), &*app.entropy)?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("mfa_enroll").await?;
    require_recent(&mut tx, ctx, &grant).await?;
    let clinic = store::clinic_name(&mut tx, ctx.tenant).await?;
    store::put_pending(&mut tx, (ctx.tenant, user), &sealed, ctx.now).await?;
    let act = Act::done("enroll_mfa").object("user", user).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    // Only people with an address have accounts; the id says as much to its owner.
    let account = me.email.unwrap_or_else(|| user.to_string());
    let generator = totp::generator(&secret, &clinic, &account)?;
    Ok(Enrolment {
        secret: generator.secret().to_base32(),
        uri: generator.to_url().map_err(Error::internal)?,
        expires_in: ENROLMENT_LIFE.as_secs(),
    })
}

/// Ends an enrolment with a code of its secret: from now on logins need one. Recovery codes of before are void.
///
/// # Errors
/// `no_enrolment` when none is under way; `invalid_totp`; `rate_limited`.
pub async fn confirm(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOwnAccount>,
    request: &ConfirmMfa,
) -> Result<RecoveryCodes> {
    let (user, role) = (*grant.resource(), ctx.caller()?.role);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("mfa_confirm").await?;
    let attempt = Attempt::begin(&mut tx, ctx, user).await?;
    let pending = store::pending(&mut tx, user, ctx.now - ENROLMENT_LIFE).await?;
    let pending = pending.ok_or_else(|| Error::conflict(ErrorCode::NoEnrolment, json!({})))?;
    let secret = app.crypter.decrypt(place(&user, "pending_enc"), &pending)?;
    let Some(step) = totp::step_of(&secret, &digits(&request.code), ctx.now)? else {
        let act = Act::failed("confirm_mfa").object("user", user).object("reason", "invalid_totp");
        app.audit(&mut tx, ctx, &key, act.about(role, user).by(grant.basis())).await?;
        tx.commit().await?;
        return Err(Error::Unauthenticated(ErrorCode::InvalidTotp));
    };
    attempt.succeeded(&mut tx).await?;
    let sealed = app.crypter.encrypt(place(&user, "secret_enc"), &secret, &*app.entropy)?;
    store::put_in_force(&mut tx, user, &sealed, step, ctx.now).await?;
    let recovery_codes = replace_recovery_codes(app, &mut tx, ctx, user).await?;
    verified_now(&mut tx, ctx).await?;
    let act = Act::done("confirm_mfa").object("user", user).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    // What the account may do changes with this.
    app.known_devices.forget(ctx.caller()?.device_id);
    Ok(RecoveryCodes { recovery_codes })
}

async fn replace_recovery_codes(app: &App, tx: &mut Tx, ctx: &Ctx, user: UserId) -> Result<Vec<String>> {
    store::drop_recovery_codes(tx, user).await?;
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery::fresh(&*app.entropy)).collect();
    for code in &codes {
        let hash = recovery::presented(code).ok_or_else(|| Error::internal("a fresh code is no code"))?;
        store::insert_recovery_code(tx, (ctx.tenant, user), &hash, ctx.now).await?;
    }
    Ok(codes)
}
