//! Whether the server hands out the keys a device published.

use serde_json::json;
use sigilo_seal::{KyberPublicKey, PreKeyPublic, key_check};
use sigilo_wire::{
    DeviceId, ErrorCode,
    keys::{CheckKeys, KeyCounts},
};
use subtle::ConstantTimeEq as _;

use super::{identity::current_identity, publish::read_counts, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    policy::{Grant, PublishKeys},
    storage::Tx,
};

/// Compares the device's digest of its keys with that of the stored ones, in constant time. Equal ones get the
/// counts.
///
/// # Errors
/// 409 `keys_differ`.
pub async fn check(app: &App, ctx: &Ctx, grant: Grant<PublishKeys>, request: CheckKeys) -> Result<KeyCounts> {
    let device = ctx.caller()?.device_id;
    let mut tx = app.db.read("keys_check").await?;
    let identity = store::user(&mut tx, ctx.tenant, *grant.resource()).await?.identity_key;
    let stored = match identity {
        Some(identity) => digest(&mut tx, &identity, device).await?,
        None => None,
    };
    let same = stored.is_some_and(|digest| digest.as_slice().ct_eq(request.digest.as_slice()).into());
    if same {
        return read_counts(&mut tx, device, ctx.now).await;
    }
    Err(Error::conflict(ErrorCode::KeysDiffer, json!({"published": stored.is_some()})))
}

async fn digest(tx: &mut Tx, identity: &[u8], device: DeviceId) -> Result<Option<[u8; 32]>> {
    let Some(keys) = store::device_keys(tx, device).await? else { return Ok(None) };
    let id = |id: i64| u32::try_from(id).map_err(Error::internal);
    Ok(Some(key_check::digest(
        &current_identity(identity)?,
        id(keys.signed_pre_key_id)?,
        &PreKeyPublic::parse(&keys.signed_pre_key).map_err(Error::internal)?,
        id(keys.last_resort_key_id)?,
        &KyberPublicKey::parse(&keys.last_resort_key).map_err(Error::internal)?,
    )))
}
