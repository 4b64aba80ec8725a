//! An invitation becomes an account with its first device.

use sigilo_wire::{
    ErrorCode, Role, TenantId, UserId,
    account::{Activate, Tokens},
};

use super::{Opaque, password, sessions, store};
use crate::{Ctx, Error, Result, app::App, audit::Act, conversations};

/// Takes an invitation's code and makes the invited person's account and first device. A messaging device is
/// number 1.
///
/// # Errors
/// `invalid_invitation` for a code that is unknown, used or expired; not said which. `weak_password`,
/// `invalid_field`.
pub async fn activate(app: &App, ctx: &Ctx, request: &Activate) -> Result<Tokens> {
    sessions::check_name(&request.device.name)?;
    if request.device.device_id.is_some() {
        return Err(Error::field("device.device_id", "a first device has no id yet"));
    }
    password::check(&request.password)?;
    let refused = || Error::Unauthenticated(ErrorCode::InvalidInvitation);
    let tenant = {
        let mut tx = app.db.read("activate_clinic").await?;
        store::tenant(&mut tx, &request.clinic).await?.ok_or_else(refused)?
    };
    let ctx = Ctx { tenant, ..ctx.clone() };
    let Some((hash, user, role)) = find(app, &ctx, &request.code).await? else {
        refuse(app, &ctx, tenant).await?;
        return Err(refused());
    };
    // Only the holder of a good code makes the server hash a password.
    let password = app.passwords.hash(&request.password, &*app.entropy).await?;
    let key = app.clinic_key(&ctx, tenant).await?;
    let mut tx = app.db.begin("activate").await?;
    let used = store::use_invitation(&mut tx, tenant, &hash, ctx.now).await?;
    // The code may have been used, or the account suspended, since it was found.
    if used != Some(user) || !store::activate_user(&mut tx, user, &password, ctx.now).await? {
        drop(tx);
        refuse(app, &ctx, tenant).await?;
        return Err(refused());
    }
    conversations::facts_changed_of(&mut tx, user).await?;
    let tokens = sessions::new_device(app, &mut tx, &ctx, user, &request.device).await?;
    let act = Act::done("activate").object("user", user).object("device", tokens.device.id);
    let act = act.about(role, user);
    app.audit(&mut tx, &ctx, &key, act).await?;
    tx.commit().await?;
    Ok(tokens)
}

async fn find(app: &App, ctx: &Ctx, code: &str) -> Result<Option<(Vec<u8>, UserId, Role)>> {
    let Some(hash) = Opaque::presented(code) else { return Ok(None) };
    let mut tx = app.db.read("activate_find").await?;
    let found = store::invitation(&mut tx, ctx.tenant, &hash, ctx.now).await?;
    Ok(found.map(|(user, role)| (hash, user, role)))
}

async fn refuse(app: &App, ctx: &Ctx, tenant: TenantId) -> Result<()> {
    let key = app.clinic_key(ctx, tenant).await?;
    let mut tx = app.db.begin("activate_refused").await?;
    app.audit(&mut tx, ctx, &key, Act::failed("activate").object("reason", "invalid_invitation")).await?;
    tx.commit().await
}
