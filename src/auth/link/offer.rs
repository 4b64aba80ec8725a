//! What the new device does before it has an account: it leaves its key, and looks for the package.

use serde_json::json;
use sigilo_seal::XWingPublic;
use sigilo_wire::{
    Base64, ErrorCode, LinkId,
    link::{LinkState, LinkedPackage, OfferLinkKey},
};

use super::store::{self, LinkRow};
use crate::{Ctx, Error, Result, app::App};

/// Keeps the new device's public key. The first stays; the same is taken again.
///
/// # Errors
/// 404 until an old device has opened the link, and when it expired; 422 `invalid_key`; 409 `already_exists` when
/// another key is there.
pub async fn offer_key(app: &App, ctx: &Ctx, link: LinkId, request: &OfferLinkKey) -> Result<()> {
    let key = XWingPublic::parse(&request.public_key).map_err(|error| {
        let details = json!({"key": "public_key", "problem": error.to_string()});
        Error::invalid(ErrorCode::InvalidKey, details)
    })?;
    let mut tx = app.db.begin("link_offer_key").await?;
    if store::offer_key(&mut tx, link, key.as_bytes(), ctx.now).await? {
        return tx.commit().await;
    }
    // Opened between the two statements: as if it were not yet, and the device comes again.
    let there =
        store::link(&mut tx, link, ctx.now).await?.and_then(|row| row.public_key).ok_or(Error::NotFound)?;
    if there.as_slice() == key.as_bytes().as_slice() {
        return Ok(());
    }
    Err(Error::conflict(ErrorCode::AlreadyExists, json!({"field": "public_key"})))
}

/// The link as its new device sees it: with the package, once the old device has approved.
///
/// # Errors
/// 404 when nobody has opened it, and when it expired.
pub async fn state(app: &App, ctx: &Ctx, link: LinkId) -> Result<LinkState> {
    let mut tx = app.db.read("link_state").await?;
    let row = store::link(&mut tx, link, ctx.now).await?.ok_or(Error::NotFound)?;
    let expires_at = row.expires_at;
    Ok(LinkState { expires_at, package: package(row)? })
}

fn package(row: LinkRow) -> Result<Option<LinkedPackage>> {
    let (Some(enc), Some(ct), Some(version)) = (row.enc, row.ct, row.manifest_version) else {
        return Ok(None);
    };
    Ok(Some(LinkedPackage {
        clinic_id: row.tenant_id,
        user_id: row.user_id,
        manifest_version: u32::try_from(version).map_err(Error::internal)?,
        enc: Base64(enc),
        ct: Base64(ct),
    }))
}
