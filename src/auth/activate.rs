//! An invitation becomes an account with its first device.

use serde::Serialize;
use sigilo_wire::{
    DeviceId, ErrorCode, IdentityResetId, UserId,
    account::{Activate, DeviceKind, NewDevice, Tokens},
};

use super::{
    Opaque,
    known::cut_off,
    password, places, sessions,
    store::{self, AccountRow},
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    conversations,
    idempotency::{self, IdempotencyKey},
    mfa,
    people::identity_resets,
    storage::Tx,
};

const ENDPOINT: &str = "POST /api/auth/activate/";
const OK: u16 = 200;

/// What tells a request from others with its key. Not the password: a fast hash of it must not be kept, and a
/// repeated one is compared with the account's own slow hash.
#[derive(Serialize)]
struct Told<'a> {
    clinic: &'a str,
    code: &'a str,
    device: &'a NewDevice,
}

/// Takes an invitation's code and makes the invited person's account and first device. A messaging device is
/// number 1. The invitation of an [identity reset](identity_resets) opens the account that is there, and ends all that
/// it had before.
///
/// The same request with the same `key` gets fresh tokens of that device for 24 hours: a lost answer does not
/// spend the invitation. The tokens before end. Without that key, a used code stays of no use.
///
/// # Errors
/// `invalid_invitation` for a code that is unknown, used or expired; not said which. `weak_password`,
/// `invalid_field`; `network_not_allowed`, which leaves the code unused; with a key `idempotency_conflict` for another
/// request, `device_revoked` when the device was removed since or the account suspended, `mfa_required` when it has a
/// second factor since: log in. `rate_limited` after too many codes from one address.
pub async fn activate(app: &App, ctx: &Ctx, request: &Activate, key: Option<&str>) -> Result<Tokens> {
    sessions::check_name(&request.device.name)?;
    if request.device.device_id.is_some() {
        return Err(Error::field("device.device_id", "a first device has no id yet"));
    }
    password::check("password", &request.password)?;
    app.limits.login.knock(ctx).await?;
    let key = key.map(|key| idempotency_key(key, request)).transpose()?;
    let refused = || Error::Unauthenticated(ErrorCode::InvalidInvitation);
    let tenant = {
        let mut tx = app.db.read("activate_clinic").await?;
        store::tenant(&mut tx, &request.clinic).await?.ok_or_else(refused)?
    };
    let ctx = Ctx { tenant, ..ctx.clone() };
    let Some(code) = Opaque::presented(&request.code) else {
        refuse(app, &ctx, "invalid_invitation").await?;
        return Err(refused());
    };
    match first(app, &ctx, request, &code, key.as_ref()).await {
        Ok(None) => {}
        Ok(Some(tokens)) => return Ok(tokens),
        // The code stays good: for where the account is let in.
        Err(error @ Error::Denied(_)) => {
            refuse(app, &ctx, error.code().as_str()).await?;
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    // The code is not good, or not any more.
    let repeated = match &key {
        Some(key) => repeat(app, &ctx, request, &code, key).await,
        None => Ok(None),
    };
    match repeated {
        Ok(Some(tokens)) => Ok(tokens),
        Ok(None) => {
            refuse(app, &ctx, "invalid_invitation").await?;
            Err(refused())
        }
        Err(error @ (Error::Conflict { .. } | Error::Unauthenticated(_) | Error::Denied(_))) => {
            refuse(app, &ctx, error.code().as_str()).await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn idempotency_key(key: &str, request: &Activate) -> Result<IdempotencyKey> {
    let Activate { clinic, code, device, .. } = request;
    IdempotencyKey::new(key, ENDPOINT, &Told { clinic, code, device })
}

/// Activates; `None` when the code is not good.
async fn first(
    app: &App,
    ctx: &Ctx,
    request: &Activate,
    code: &[u8],
    key: Option<&IdempotencyKey>,
) -> Result<Option<Tokens>> {
    let found = {
        let mut tx = app.db.read("activate_find").await?;
        store::invitation(&mut tx, ctx.tenant, code, ctx.now).await?
    };
    let Some((user, role)) = found else { return Ok(None) };
    // Only the holder of a good code makes the server hash a password.
    app.limits.login.hash(ctx).await?;
    let password = app.passwords.hash(&request.password, &*app.entropy).await?;
    let data_key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("activate").await?;
    let used = store::use_invitation(&mut tx, ctx.tenant, code, ctx.now).await?;
    // The code may have been used, or the account suspended, since it was found.
    if used != Some(user) {
        return Ok(None);
    }
    let reset = identity_resets::store::of_invitation(&mut tx, ctx.tenant, code).await?;
    let ended = match reset {
        Some(reset) => take_over(&mut tx, ctx, user, reset, &password).await?,
        None => store::activate_user(&mut tx, user, &password, ctx.now).await?.then(Vec::new),
    };
    let Some(ended) = ended else { return Ok(None) };
    conversations::facts_changed_of(&mut tx, user).await?;
    let tokens = sessions::new_device(app, &mut tx, ctx, user, &request.device).await?;
    if let Some(key) = key {
        // A person who was never active has no keys of before.
        idempotency::remember(app, &mut tx, ctx, user, key, (OK, &tokens.device.id)).await?;
    }
    let mut act = Act::done("activate").object("user", user).object("device", tokens.device.id);
    if let Some(reset) = reset {
        act = act.object("reset", reset);
    }
    let arrival = places::arrived(app, &mut tx, ctx, user, &tokens.device).await?;
    app.audit(&mut tx, ctx, &data_key, arrival.noted(act).about(role, user)).await?;
    tx.commit().await?;
    ended.into_iter().for_each(|device| cut_off(app, device));
    arrival.told(app, ctx, user, tokens.device.id).await;
    Ok(Some(tokens))
}

/// Ends everything that the account of somebody with a new identity had before: devices with their keys and tokens,
/// password, second factor. Gives the devices to [`cut_off`] after the commit; `None` when the account is suspended.
async fn take_over(
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    reset: IdentityResetId,
    password: &str,
) -> Result<Option<Vec<DeviceId>>> {
    if store::lock_account(tx, user).await? != "active"
        || !identity_resets::store::activate(tx, reset, ctx.now).await?
    {
        return Ok(None);
    }
    store::set_password(tx, user, password).await?;
    store::end_resets(tx, user, ctx.now).await?;
    mfa::forget(tx, user).await?;
    // Conversations are locked before devices.
    conversations::facts_changed_of(tx, user).await?;
    let rows = store::devices(tx, user).await?;
    let devices: Vec<DeviceId> = rows.into_iter().map(|row| row.device_id).collect();
    for device in &devices {
        store::revoke_device(tx, *device, user, ctx.now).await?;
    }
    Ok(Some(devices))
}

/// Gives fresh tokens of the device this very request has made before; `None` when it has made none.
async fn repeat(
    app: &App,
    ctx: &Ctx,
    request: &Activate,
    code: &[u8],
    key: &IdempotencyKey,
) -> Result<Option<Tokens>> {
    let found = {
        let mut tx = app.db.read("activate_find_used").await?;
        store::used_invitation(&mut tx, ctx.tenant, code).await?
    };
    let Some(account) = found else { return Ok(None) };
    let made = idempotency::recall::<DeviceId>(app, ctx, account.user_id, key).await?;
    let Some(made) = made else { return Ok(None) };
    app.limits.login.hash(ctx).await?;
    if !app.passwords.verify(&request.password, account.password_hash.as_deref()).await? {
        return Err(idempotency::conflict());
    }
    renew(app, ctx, &account, (made.answer, request.device.kind)).await.map(Some)
}

async fn renew(
    app: &App,
    ctx: &Ctx,
    account: &AccountRow,
    (device, kind): (DeviceId, DeviceKind),
) -> Result<Tokens> {
    let user = account.user_id;
    let gone = || Error::Unauthenticated(ErrorCode::DeviceRevoked);
    let data_key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("activate_repeat").await?;
    if store::lock_account(&mut tx, user).await? != "active" {
        return Err(gone());
    }
    // Since then the code alone is not enough.
    if mfa::is_enrolled(&mut tx, user).await? {
        return Err(Error::Unauthenticated(ErrorCode::MfaRequired));
    }
    let tokens = match sessions::log_in_again(app, &mut tx, ctx, user, (device, kind, "")).await {
        Err(Error::NotFound) => return Err(gone()),
        tokens => tokens?,
    };
    let act = Act::done("repeat_activation").object("user", user).object("device", device);
    let act = act.about(account.role()?, user);
    let arrival = places::arrived(app, &mut tx, ctx, user, &tokens.device).await?;
    app.audit(&mut tx, ctx, &data_key, arrival.noted(act)).await?;
    tx.commit().await?;
    cut_off(app, device);
    arrival.told(app, ctx, user, device).await;
    Ok(tokens)
}

async fn refuse(app: &App, ctx: &Ctx, reason: &'static str) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("activate_refused").await?;
    app.audit(&mut tx, ctx, &key, Act::failed("activate").object("reason", reason)).await?;
    tx.commit().await
}
