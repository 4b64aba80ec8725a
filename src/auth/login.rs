//! A password becomes tokens of a device.

use std::sync::Arc;

use sigilo_seal::sha256;
use sigilo_wire::{
    ErrorCode, TenantId,
    account::{DeviceKind, Login, NewDevice, Tokens},
    anomaly::AnomalyKind,
};

use super::{
    known::cut_off,
    oidc, places, sessions,
    store::{self, AccountRow},
};
use crate::{
    Ctx, Error, Result, anomalies,
    app::{App, SharedApp},
    audit::Act,
    limits::login::Account,
    mfa::{self, SecondFactor},
};

/// Logs in: on a new session device (the default), on a new messaging device, or on a messaging device that
/// was logged out, by its id.
///
/// The answer and its time do not tell whether the clinic, the account or the password was wrong.
///
/// # Errors
/// `rate_limited` after too many tries, whatever is given; `invalid_credentials`; of an account with a second factor
/// `mfa_required`, `invalid_totp`, `rate_limited`, all three only after the right password, as is `network_not_allowed`;
/// `device_revoked` when the account is suspended; `device_limit`; 404 when
/// the account has no messaging device of that id; `unavailable` in a crowd.
pub async fn login(app: &SharedApp, ctx: &Ctx, request: &Login) -> Result<Tokens> {
    let device = request.device.clone().unwrap_or_else(NewDevice::session);
    check_device(&device)?;
    app.limits.login.knock(ctx).await?;
    let (tenant, index, account) = find(app, request).await?;
    let guessed = Account::of(&index);
    if let Err(refusal) = app.limits.login.guess(ctx, guessed).await {
        if let Some(tenant) = tenant
            && app.limits.login.is_news(guessed).await
        {
            let ctx = Ctx { tenant, ..ctx.clone() };
            fail(app, &ctx, account.as_ref(), "rate_limited").await?;
            if let Some(account) = account {
                // By itself: an answer that waited for it would tell by its time that there is such an account.
                let app = Arc::clone(app);
                tokio::spawn(async move {
                    let kind = AnomalyKind::PasswordGuessing;
                    anomalies::notice(&app, &ctx, kind, account.user_id, None).await;
                });
            }
        }
        return Err(refusal);
    }
    app.limits.login.hash(ctx).await?;
    let stored = account.as_ref().and_then(|account| account.password_hash.as_deref());
    let matches = app.passwords.verify(&request.password, stored).await?;
    // A clinic nobody knows has no audit log.
    let Some(tenant) = tenant else { return Err(Error::Unauthenticated(ErrorCode::InvalidCredentials)) };
    let ctx = Ctx { tenant, ..ctx.clone() };
    let Some(account) = account else {
        fail(app, &ctx, None, "unknown_account").await?;
        return Err(Error::Unauthenticated(ErrorCode::InvalidCredentials));
    };
    if !matches {
        fail(app, &ctx, Some(&account), "wrong_password").await?;
        return Err(Error::Unauthenticated(ErrorCode::InvalidCredentials));
    }
    if account.status != "active" {
        fail(app, &ctx, Some(&account), "not_active").await?;
        return Err(Error::Unauthenticated(ErrorCode::DeviceRevoked));
    }
    admitted(app, &ctx, &account, &device, (Proof::Password, request.totp.as_deref())).await
}

/// Refuses a device that cannot log in so.
pub(super) fn check_device(device: &NewDevice) -> Result<()> {
    sessions::check_name(&device.name)?;
    if device.device_id.is_some() && device.kind != DeviceKind::Messaging {
        return Err(Error::field("device.device_id", "only a messaging device logs in again"));
    }
    Ok(())
}

/// What somebody has shown who they are with, before their second factor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof<'a> {
    /// The account's password.
    Password,
    /// The code of a login with an identity provider, by its hash; it is used up.
    Provider {
        /// The provider.
        name: &'a str,
        /// The code's hash.
        code: &'a [u8],
    },
}

/// The tokens of somebody whose proof was right, with an audit entry for a refusal.
pub(super) async fn admitted(
    app: &App,
    ctx: &Ctx,
    account: &AccountRow,
    device: &NewDevice,
    (proof, totp): (Proof<'_>, Option<&str>),
) -> Result<Tokens> {
    match admit(app, ctx, account, device, (proof, totp)).await {
        Err(error @ Error::Denied(_)) => {
            fail(app, ctx, Some(account), error.code().as_str()).await?;
            Err(error)
        }
        Err(error @ Error::RateLimited { .. }) => {
            fail(app, ctx, Some(account), "too_many_codes").await?;
            Err(error)
        }
        tokens => tokens,
    }
}

/// The clinic, the account's index, and the account. Where there is no such clinic its name stands in for it.
async fn find(app: &App, request: &Login) -> Result<(Option<TenantId>, Vec<u8>, Option<AccountRow>)> {
    let mut tx = app.db.read("login_find").await?;
    let Some(tenant) = store::tenant(&mut tx, &request.clinic).await? else {
        let name = sha256(request.clinic.as_bytes());
        let nowhere = TenantId::from_bytes(name.first_chunk().copied().unwrap_or_default());
        return Ok((None, app.crypter.email_index(nowhere.as_bytes(), &request.email), None));
    };
    let index = app.crypter.email_index(tenant.as_bytes(), &request.email);
    let account = store::account_by_email(&mut tx, tenant, &index).await?;
    Ok((Some(tenant), index, account))
}

async fn admit(
    app: &App,
    ctx: &Ctx,
    account: &AccountRow,
    device: &NewDevice,
    (proof, totp): (Proof<'_>, Option<&str>),
) -> Result<Tokens> {
    let user = account.user_id;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("login").await?;
    // The account may have been suspended since its password was read.
    if store::lock_account(&mut tx, user).await? != "active" {
        return Err(Error::Unauthenticated(ErrorCode::DeviceRevoked));
    }
    let factor = match mfa::second_factor(app, &mut tx, ctx, user, totp).await? {
        SecondFactor::NotEnrolled => None,
        SecondFactor::Proven(factor) => Some(factor),
        SecondFactor::Refused(code) => {
            let act = Act::failed("login").object("reason", code).object("user", user);
            app.audit(&mut tx, ctx, &key, act.about(account.role()?, user)).await?;
            tx.commit().await?;
            return Err(Error::Unauthenticated(code));
        }
    };
    if let Proof::Provider { code, .. } = proof
        && !oidc::store::use_code(&mut tx, code, ctx.now).await?
    {
        return Err(Error::Unauthenticated(ErrorCode::OidcLoginFailed));
    }
    let tokens = match device.device_id {
        Some(id) => sessions::log_in_again(app, &mut tx, ctx, user, (id, device.kind, &device.name)).await?,
        None => sessions::new_device(app, &mut tx, ctx, user, device).await?,
    };
    let act = Act::done("login").object("user", user).object("device", tokens.device.id);
    let mut act = act.about(account.role()?, user);
    if let Some(factor) = factor {
        act = act.object("factor", factor.as_str());
    }
    if let Proof::Provider { name, .. } = proof {
        act = act.object("provider", name);
        oidc::store::not_verified(&mut tx, tokens.device.id).await?;
    }
    let arrival = places::arrived(app, &mut tx, ctx, user, &tokens.device).await?;
    app.audit(&mut tx, ctx, &key, arrival.noted(act)).await?;
    tx.commit().await?;
    cut_off(app, tokens.device.id);
    arrival.told(app, ctx, user, tokens.device.id).await;
    Ok(tokens)
}

pub(super) async fn fail(
    app: &App,
    ctx: &Ctx,
    account: Option<&AccountRow>,
    reason: &'static str,
) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut act = Act::failed("login").object("reason", reason);
    if let Some(account) = account {
        act = act.object("user", account.user_id).about(account.role()?, account.user_id);
    }
    let mut tx = app.db.begin("login_failed").await?;
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await
}
