//! The end of a device's tokens.

use sigilo_wire::{ErrorCode, account::RefreshToken};

use super::{Opaque, known::cut_off, store};
use crate::{Ctx, Error, Result, app::App, audit::Act};

/// Ends the tokens of the device this refresh token belongs to. A session ends with them; a messaging device
/// can log in again by its id. A second logout with the same token does nothing more.
///
/// # Errors
/// 401 `unauthenticated` for an unknown token.
pub async fn logout(app: &App, ctx: &Ctx, request: &RefreshToken) -> Result<()> {
    let unknown = || Error::Unauthenticated(ErrorCode::Unauthenticated);
    let hash = Opaque::presented(&request.refresh_token).ok_or_else(unknown)?;
    let token = {
        let mut tx = app.db.read("logout_find").await?;
        store::refresh_by_hash(&mut tx, &hash).await?.ok_or_else(unknown)?
    };
    if token.revoked_at.is_some() {
        return Ok(());
    }
    let ctx = Ctx { tenant: token.tenant_id, ..ctx.clone() };
    let key = app.clinic_key(&ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("logout").await?;
    store::log_out(&mut tx, token.device_id, ctx.now).await?;
    let device = store::standing(&mut tx, token.device_id).await?.ok_or_else(unknown)?;
    let act = Act::done("logout").object("device", device.device).about(device.role, device.user);
    app.audit(&mut tx, &ctx, &key, act).await?;
    tx.commit().await?;
    cut_off(app, token.device_id);
    Ok(())
}
