//! Rotation of refresh tokens (RFC 9700 section 4.14): each is used once, and one used again, after what it was traded
//! for was used, is in two hands.

use sigilo_wire::{
    ErrorCode, Role, Timestamp,
    account::{RefreshToken, Tokens},
};

use super::{
    Opaque,
    known::cut_off,
    sessions,
    store::{self, RefreshRow},
    token_keys::Bearer,
};
use crate::{Ctx, Error, Result, app::App, audit::Act, storage::Tx};

/// Trades a refresh token for fresh tokens of the same device.
///
/// A token is used once. It may be shown again only while what it was traded for is unused: then the answer was lost
/// on its way, and the new answer takes the lost one's place. Any other second use proves that a token is in two
/// hands, so the family ends for all, and the device has to log in again. Whoever stole a token and uses it first is
/// found out by the owner's next refresh.
///
/// # Errors
/// 401: `unauthenticated` for an unknown or expired token, `token_reused`, `device_revoked`; 403 `network_not_allowed`,
/// which leaves the token unused.
pub async fn refresh(app: &App, ctx: &Ctx, request: &RefreshToken) -> Result<Tokens> {
    let hash = Opaque::presented(&request.refresh_token).ok_or_else(unknown)?;
    let found = {
        let mut tx = app.db.read("refresh_find").await?;
        store::refresh_by_hash(&mut tx, &hash).await?.ok_or_else(unknown)?
    };
    let ctx = Ctx { tenant: found.tenant_id, ..ctx.clone() };
    let key = app.clinic_key(&ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("refresh").await?;
    let token = match store::use_refresh(&mut tx, &hash, ctx.now).await? {
        Some(token) => token,
        None => match again(&mut tx, &hash, ctx.now).await? {
            Again::Lost(token) => token,
            Again::Reused(token) => {
                store::log_out(&mut tx, token.device_id, ctx.now).await?;
                let device = store::standing(&mut tx, token.device_id).await?.ok_or_else(unknown)?;
                let act = Act::failed("refresh").object("device", device.device);
                let act = act.object("reason", "token_reused").about(device.role, device.user);
                app.audit(&mut tx, &ctx, &key, act).await?;
                tx.commit().await?;
                cut_off(app, token.device_id);
                return Err(Error::Unauthenticated(ErrorCode::TokenReused));
            }
        },
    };
    let (bearer, role) = bearer(&mut tx, &token).await?;
    store::seen(&mut tx, token.device_id, sessions::to_the_hour(ctx.now)).await?;
    match sessions::issue_after(app, &mut tx, &ctx, bearer, Some(&hash)).await {
        Ok(tokens) => {
            tx.commit().await?;
            Ok(tokens)
        }
        // The token is not used up: it is good again where the account is let in.
        Err(error @ Error::Denied(_)) => {
            drop(tx);
            let mut tx = app.db.begin("refresh_refused").await?;
            let act = Act::failed("refresh").object("device", bearer.device).object("reason", error.code());
            app.audit(&mut tx, &ctx, &key, act.about(role, bearer.user)).await?;
            tx.commit().await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn unknown() -> Error {
    Error::Unauthenticated(ErrorCode::Unauthenticated)
}

/// What a token is that is not live.
enum Again {
    /// Used, and what it was traded for is not: gone now.
    Lost(RefreshRow),
    /// Used, and so is what it was traded for.
    Reused(RefreshRow),
}

async fn again(tx: &mut Tx, hash: &[u8], now: Timestamp) -> Result<Again> {
    let token = store::lock_refresh(tx, hash).await?.ok_or_else(unknown)?;
    if token.revoked_at.is_some() {
        return Err(Error::Unauthenticated(ErrorCode::DeviceRevoked));
    }
    if token.used_at.is_none() {
        return Err(unknown());
    }
    let lost = store::replace_unused(tx, hash, now).await?;
    Ok(if lost { Again::Lost(token) } else { Again::Reused(token) })
}

/// Whom the fresh tokens are for, if the token's family is the device's own and the account is active.
async fn bearer(tx: &mut Tx, token: &RefreshRow) -> Result<(Bearer, Role)> {
    let standing = store::standing(tx, token.device_id)
        .await?
        .filter(|standing| standing.family == Some(token.family_id))
        .ok_or(Error::Unauthenticated(ErrorCode::DeviceRevoked))?;
    let bearer = Bearer {
        tenant: standing.tenant,
        user: standing.user,
        device: standing.device,
        kind: standing.kind,
        family: token.family_id,
    };
    Ok((bearer, standing.role))
}
