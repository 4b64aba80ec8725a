//! The new device shows what was in its package, and gets its tokens.

use sigilo_seal::sha256;
use sigilo_wire::{
    DeviceId, ErrorCode, LinkId, Role, TokenFamilyId,
    account::{DeviceKind, Tokens},
    link::ClaimLink,
};
use subtle::ConstantTimeEq as _;

use super::store::{self, LinkRow};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth::{known::cut_off, places, sessions, store as devices, token_keys::Bearer},
    rng,
};

/// The tokens of the device that was linked. Until it has published its keys they may be had again, because an answer
/// may be lost; those before end.
///
/// # Errors
/// `invalid_link` for a link that is unknown, expired or not approved, for another claim, and once the device has
/// keys, was removed, or its account suspended; not said which. `invalid_field`; `rate_limited` after too many claims from one address.
pub async fn claim(app: &App, ctx: &Ctx, link: LinkId, request: &ClaimLink) -> Result<Tokens> {
    sessions::check_name(&request.name)?;
    app.limits.login.knock(ctx).await?;
    let refused = || Error::Unauthenticated(ErrorCode::InvalidLink);
    let found = {
        let mut tx = app.db.read("link_find").await?;
        store::link(&mut tx, link, ctx.now).await?
    };
    // A link nobody knows belongs to no clinic's audit log.
    let row = found.ok_or_else(refused)?;
    let ctx = Ctx { tenant: row.tenant_id, ..ctx.clone() };
    let right = row.claim_hash.as_deref().is_some_and(|hash| {
        let shown = sha256(request.claim.as_slice());
        shown.as_slice().ct_eq(hash).into()
    });
    let tokens = match row.device_id.filter(|_| right) {
        Some(device) => admit(app, &ctx, &row, device, &request.name).await,
        None => Ok(None),
    };
    let (tokens, refusal) = match tokens {
        Err(error @ Error::Denied(_)) => (None, error),
        tokens => (tokens?, refused()),
    };
    if let Some(tokens) = tokens {
        cut_off(app, tokens.device.id);
        return Ok(tokens);
    }
    let key = app.clinic_key(&ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("link_claim_refused").await?;
    let act = Act::failed("claim_link").object("link", link).object("reason", refusal.code());
    app.audit(&mut tx, &ctx, &key, act).await?;
    tx.commit().await?;
    Err(refusal)
}

async fn admit(app: &App, ctx: &Ctx, row: &LinkRow, device: DeviceId, name: &str) -> Result<Option<Tokens>> {
    let (user, kind) = (row.user_id, DeviceKind::Messaging);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("link_claim").await?;
    if devices::lock_account(&mut tx, user).await? != "active" {
        return Ok(None);
    }
    let account = devices::account(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    let role: Role = account.role()?;
    let family = TokenFamilyId::new(ctx.now, rng::bytes(&*app.entropy));
    let times = (ctx.now, sessions::to_the_hour(ctx.now));
    let name = sessions::seal_name(app, device, name)?;
    if !store::claim_device(&mut tx, device, family, &name, times).await? {
        return Ok(None);
    }
    let bearer = Bearer { tenant: ctx.tenant, user, device, kind, family };
    let tokens = sessions::issue(app, &mut tx, ctx, bearer).await?;
    let act =
        Act::done("claim_link").object("user", user).object("device", device).object("link", row.link_id);
    let arrival = places::arrived(app, &mut tx, ctx, user, &tokens.device).await?;
    app.audit(&mut tx, ctx, &key, arrival.noted(act).about(role, user)).await?;
    tx.commit().await?;
    arrival.told(app, ctx, user, device).await;
    Ok(Some(tokens))
}
