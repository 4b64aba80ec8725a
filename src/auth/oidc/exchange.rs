//! Trading the code for tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use sigilo_wire::{
    ErrorCode,
    account::{NewDevice, Tokens},
    oidc::ExchangeOidc,
};
use subtle::ConstantTimeEq as _;

use super::{refused, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    auth::{
        Opaque,
        login::{self, Proof},
        sessions, store as accounts,
    },
};

/// Logs in with a code of [`super::callback`], as a password does: on a new session (the default), on a new messaging
/// device, or on one that was logged out.
///
/// # Errors
/// `oidc_login_failed` for a code that is unknown, used, expired, another app's or of a subject that is bound no
/// longer; `mfa_required` and `invalid_totp`,
/// which leave the code good; `rate_limited` after too many tries; the others as a login with a password.
pub async fn exchange(app: &App, ctx: &Ctx, provider: &str, request: &ExchangeOidc) -> Result<Tokens> {
    app.limits.login.knock(ctx).await?;
    app.providers.named(provider)?;
    let device = request.device.clone().unwrap_or_else(NewDevice::session);
    login::check_device(&device)?;
    sessions::check_name(&device.name)?;
    let hash = Opaque::presented(&request.code).ok_or_else(refused)?;
    let mut tx = app.db.read("oidc_code_find").await?;
    let found = store::code(&mut tx, &hash).await?;
    let code =
        found.filter(|row| ctx.now < row.expires_at && row.provider == provider).ok_or_else(refused)?;
    let account = accounts::account(&mut tx, code.tenant_id, code.user_id).await?.ok_or_else(refused)?;
    drop(tx);
    let shown = URL_SAFE_NO_PAD.encode(Sha256::digest(request.verifier.as_bytes()));
    if !bool::from(shown.as_bytes().ct_eq(code.challenge.as_bytes())) {
        return Err(refused());
    }
    let ctx = Ctx { tenant: code.tenant_id, ..ctx.clone() };
    if account.status != "active" {
        login::fail(app, &ctx, Some(&account), "not_active").await?;
        return Err(Error::Unauthenticated(ErrorCode::DeviceRevoked));
    }
    let proof = Proof::Provider { name: provider, code: &hash };
    login::admitted(app, &ctx, &account, &device, (proof, request.totp.as_deref())).await
}
