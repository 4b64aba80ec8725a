//! Rotation of refresh tokens (RFC 9700 section 4.14): each is used once, and one used again is in two hands.

use sigilo_wire::{
    ErrorCode,
    account::{RefreshToken, Tokens},
};

use super::{
    Opaque,
    known::cut_off,
    sessions,
    store::{self, RefreshRow},
    token_keys::Bearer,
};
use crate::{Ctx, Error, Result, app::App, audit::Act};

/// Trades a refresh token for fresh tokens of the same device.
///
/// Of any number of callers with one token, one is served; the others prove that the token is in two hands, so
/// the family ends for all, the served one included, and the device has to log in again.
///
/// # Errors
/// 401: `unauthenticated` for an unknown or expired token, `token_reused`, `device_revoked`.
pub async fn refresh(app: &App, ctx: &Ctx, request: &RefreshToken) -> Result<Tokens> {
    let unknown = || Error::Unauthenticated(ErrorCode::Unauthenticated);
    let hash = Opaque::presented(&request.refresh_token).ok_or_else(unknown)?;
    let found = {
        let mut tx = app.db.read("refresh_find").await?;
        store::refresh_by_hash(&mut tx, &hash).await?.ok_or_else(unknown)?
    };
    let ctx = Ctx { tenant: found.tenant_id, ..ctx.clone() };
    let key = app.clinic_key(&ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("refresh").await?;
    let Some(token) = store::use_refresh(&mut tx, &hash, ctx.now).await? else {
        // Read anew: another caller may have used it since.
        let token = store::refresh_by_hash(&mut tx, &hash).await?.ok_or_else(unknown)?;
        if token.revoked_at.is_some() {
            return Err(Error::Unauthenticated(ErrorCode::DeviceRevoked));
        }
        if token.used_at.is_none() {
            return Err(unknown());
        }
        store::log_out(&mut tx, token.device_id, ctx.now).await?;
        let device = store::standing(&mut tx, token.device_id).await?.ok_or_else(unknown)?;
        let act = Act::failed("refresh").object("device", device.device).object("reason", "token_reused");
        let act = act.about(device.role, device.user);
        app.audit(&mut tx, &ctx, &key, act).await?;
        tx.commit().await?;
        cut_off(app, token.device_id);
        return Err(Error::Unauthenticated(ErrorCode::TokenReused));
    };
    let bearer = bearer(&mut tx, &token).await?;
    store::seen(&mut tx, token.device_id, sessions::to_the_hour(ctx.now)).await?;
    let tokens = sessions::issue(app, &mut tx, &ctx, bearer).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// Whom the fresh tokens are for, if the token's family is the device's own and the account is active.
async fn bearer(tx: &mut crate::storage::Tx, token: &RefreshRow) -> Result<Bearer> {
    let standing = store::standing(tx, token.device_id)
        .await?
        .filter(|standing| standing.family == Some(token.family_id))
        .ok_or(Error::Unauthenticated(ErrorCode::DeviceRevoked))?;
    Ok(Bearer {
        tenant: standing.tenant,
        user: standing.user,
        device: standing.device,
        kind: standing.kind,
        family: token.family_id,
    })
}
