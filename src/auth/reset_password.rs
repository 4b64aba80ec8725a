//! A new password for a person who has forgotten theirs, by a code of the clinic.
//!
//! One person of the clinic may hand it out: it opens the account, behind the second factor, and no message. What
//! gives a new *identity* is another thing.

use sigilo_wire::{ErrorCode, Timestamp, UserId, account::ResetPassword};
use uuid::Uuid;

use super::{Opaque, RESET_LIFE, devices::end_sessions, known::cut_off, password, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    policy::{Grant, ManagePeople},
    rng,
};

/// A code to hand to the person. It is not kept.
#[derive(Clone)]
pub struct PasswordReset {
    /// Whose password.
    pub user_id: UserId,
    /// The single-use code.
    pub code: String,
    /// From when it is not good any more.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for PasswordReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordReset").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// Makes a code with which a person of the clinic chooses a new password. One made before ends.
///
/// # Errors
/// 404 when the clinic has no such person, `invalid_field` when their account is not active.
pub async fn issue_password_reset(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    user: UserId,
) -> Result<PasswordReset> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let code = Opaque::new(&*app.entropy);
    let expires_at = ctx.now + RESET_LIFE;
    let mut tx = app.db.begin("password_reset_issue").await?;
    let account = store::account(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    if store::lock_account(&mut tx, user).await? != "active" {
        return Err(Error::field("user", "this person has no account, or it is suspended"));
    }
    let reset = Uuid::from_bytes(rng::bytes(&*app.entropy));
    store::insert_reset(&mut tx, reset, (ctx.tenant, user), &code.hash, ctx.now, expires_at).await?;
    let act = Act::done("issue_password_reset").object("user", user).object("reset", reset);
    app.audit(&mut tx, ctx, &key, act.about(account.role()?, user).by(grant.basis())).await?;
    tx.commit().await?;
    Ok(PasswordReset { user_id: user, code: code.text, expires_at })
}

/// Sets the password of the person a code was made for. The tokens and sockets of all their devices end; keys and
/// the second factor stay, so an enrolled account needs its code at the next login.
///
/// # Errors
/// `weak_password`, `invalid_field`; `invalid_reset` for a code that is unknown, used or expired, or whose account
/// is not active; not said which. `rate_limited` after too many codes from one address; `unavailable` in a crowd.
pub async fn reset_password(app: &App, ctx: &Ctx, request: &ResetPassword) -> Result<()> {
    password::check("new_password", &request.new_password)?;
    app.limits.login.knock(ctx).await?;
    let refused = || Error::Unauthenticated(ErrorCode::InvalidReset);
    let tenant = {
        let mut tx = app.db.read("password_reset_clinic").await?;
        store::tenant(&mut tx, &request.clinic).await?.ok_or_else(refused)?
    };
    let ctx = Ctx { tenant, ..ctx.clone() };
    let ended = match Opaque::presented(&request.code) {
        Some(code) => use_code(app, &ctx, &code, &request.new_password).await?,
        None => None,
    };
    let Some(ended) = ended else {
        let key = app.clinic_key(&ctx, tenant).await?;
        let mut tx = app.db.begin("password_reset_refused").await?;
        let act = Act::failed("reset_password").object("reason", ErrorCode::InvalidReset);
        app.audit(&mut tx, &ctx, &key, act).await?;
        tx.commit().await?;
        return Err(refused());
    };
    ended.into_iter().for_each(|device| cut_off(app, device));
    Ok(())
}

/// Sets the password and gives the devices whose tokens ended; `None` when the code is not good.
async fn use_code(
    app: &App,
    ctx: &Ctx,
    code: &[u8],
    password: &str,
) -> Result<Option<Vec<sigilo_wire::DeviceId>>> {
    let found = {
        let mut tx = app.db.read("password_reset_find").await?;
        store::reset(&mut tx, ctx.tenant, code, ctx.now).await?
    };
    let Some(account) = found else { return Ok(None) };
    let user = account.user_id;
    // Only the holder of a good code makes the server hash a password.
    app.limits.login.hash(ctx).await?;
    let hash = app.passwords.hash(password, &*app.entropy).await?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("password_reset").await?;
    // The account may have been suspended, or the code used, since they were read.
    if store::lock_account(&mut tx, user).await? != "active"
        || !store::use_reset(&mut tx, ctx.tenant, code, ctx.now).await?
    {
        return Ok(None);
    }
    store::set_password(&mut tx, user, &hash).await?;
    store::end_resets(&mut tx, user, ctx.now).await?;
    let ended = end_sessions(&mut tx, user, None, ctx.now).await?;
    let act = Act::done("reset_password").object("user", user).about(account.role()?, user);
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(Some(ended))
}
