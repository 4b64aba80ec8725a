//! Devices and the tokens they are given: what activation, login and refresh share.

use std::time::Duration;

use serde_json::json;
use sigilo_wire::{
    DeviceId, DeviceNumber, ErrorCode, TenantId, Timestamp, TokenFamilyId, UserId,
    account::{Device, DeviceKind, NewDevice, Tokens},
};

use super::{
    ACCESS_TOKEN_LIFE, Opaque, device_limit, idle_limit,
    store::{self, DeviceRow},
    token_keys::Bearer,
};
use crate::{
    Ctx, Error, Result,
    app::App,
    rng,
    storage::{Tx, crypter::Place},
};

/// The most characters of a device's name.
const MAX_NAME: usize = 100;

/// A row of a new device.
pub(super) struct NewRow {
    pub(super) device: DeviceId,
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) kind: DeviceKind,
    pub(super) number: Option<DeviceNumber>,
    pub(super) name_enc: Vec<u8>,
    pub(super) family: TokenFamilyId,
    pub(super) created_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
}

/// Refuses device names that are over-long or cannot be shown.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Error::field("device.name", format!("at most {MAX_NAME} printable characters")));
    }
    Ok(())
}

/// `last_seen_at` is kept to the hour: enough to find a forgotten device, too little to follow a person.
pub(super) fn to_the_hour(at: Timestamp) -> Timestamp {
    const HOUR: i64 = Duration::from_hours(1).as_micros() as i64;
    Timestamp::from_micros(at.micros().div_euclid(HOUR) * HOUR)
}

/// Makes a device of the account in `ctx.tenant`, with its first tokens.
///
/// # Errors
/// `device_limit`.
pub(super) async fn new_device(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    device: &NewDevice,
) -> Result<Tokens> {
    let limit = device_limit(device.kind);
    let full = || Error::conflict(ErrorCode::DeviceLimit, json!({"kind": device.kind, "limit": limit}));
    if store::count_devices(tx, user, device.kind, ctx.now).await? >= limit {
        return Err(full());
    }
    let number = match device.kind {
        DeviceKind::Messaging => Some(store::next_device_number(tx, user).await?.ok_or_else(full)?),
        DeviceKind::Session => None,
    };
    let id = DeviceId::new(ctx.now, rng::bytes(&*app.entropy));
    let family = TokenFamilyId::new(ctx.now, rng::bytes(&*app.entropy));
    let row = NewRow {
        device: id,
        tenant: ctx.tenant,
        user,
        kind: device.kind,
        number,
        name_enc: seal_name(app, id, &device.name)?,
        family,
        created_at: ctx.now,
        last_seen_at: to_the_hour(ctx.now),
    };
    store::insert_device(tx, &row).await?;
    issue(app, tx, ctx, Bearer { tenant: ctx.tenant, user, device: id, kind: device.kind, family }).await
}

/// Gives a device that logs in again a new family, which ends the one before. Without a name it keeps its own.
///
/// # Errors
/// 404 when the account has no such device.
pub(super) async fn log_in_again(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    (id, kind, name): (DeviceId, DeviceKind, &str),
) -> Result<Tokens> {
    let family = TokenFamilyId::new(ctx.now, rng::bytes(&*app.entropy));
    let name = if name.is_empty() { None } else { Some(seal_name(app, id, name)?) };
    let seen = to_the_hour(ctx.now);
    if !store::log_in_again(tx, (id, user, kind), family, name.as_deref(), (seen, ctx.now)).await? {
        return Err(Error::NotFound);
    }
    issue(app, tx, ctx, Bearer { tenant: ctx.tenant, user, device: id, kind, family }).await
}

/// An access token and the family's first refresh token.
///
/// # Errors
/// As [`issue_after`].
pub(super) async fn issue(app: &App, tx: &mut Tx, ctx: &Ctx, bearer: Bearer) -> Result<Tokens> {
    issue_after(app, tx, ctx, bearer, None).await
}

/// An access token and the family's next refresh token, in place of the one with this hash: whoever gets tokens gets
/// them here.
///
/// # Errors
/// `network_not_allowed` from where the rules do not let the account in.
pub(super) async fn issue_after(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    bearer: Bearer,
    replaces: Option<&[u8]>,
) -> Result<Tokens> {
    let standing = store::standing(tx, bearer.device).await?.ok_or(Error::NotFound)?;
    app.known_devices.may_connect(&app.policy, ctx, &standing)?;
    let refresh = Opaque::new(&*app.entropy);
    let expires_at = ctx.now + idle_limit(bearer.kind);
    let owner = (bearer.tenant, bearer.device);
    store::insert_refresh(tx, &refresh.hash, bearer.family, owner, (ctx.now, expires_at), replaces).await?;
    let row = store::device(tx, bearer.user, bearer.device).await?.ok_or(Error::NotFound)?;
    Ok(Tokens {
        access_token: app.tokens.issue(bearer, ctx.now, &*app.entropy)?,
        expires_in: ACCESS_TOKEN_LIFE.as_secs(),
        refresh_token: refresh.text,
        clinic_id: bearer.tenant,
        user_id: bearer.user,
        device: describe(app, &row, Some(bearer.device))?,
    })
}

/// A device as its user sees it.
pub(super) fn describe(app: &App, row: &DeviceRow, current: Option<DeviceId>) -> Result<Device> {
    Ok(Device {
        id: row.device_id,
        device_id: row.device_number,
        kind: row.kind.parse().map_err(Error::internal)?,
        name: app.crypter.decrypt_text(name_place(&row.device_id), &row.name_enc)?,
        created_at: row.created_at,
        last_seen_at: row.last_seen_at,
        current: current == Some(row.device_id),
    })
}

pub(super) fn seal_name(app: &App, device: DeviceId, name: &str) -> Result<Vec<u8>> {
    app.crypter.encrypt(name_place(&device), name.as_bytes(), &*app.entropy)
}

fn name_place(device: &DeviceId) -> Place<'_> {
    Place { table: "devices", row: device.as_bytes(), column: "name_enc" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_a_device_was_seen_is_kept_to_the_hour() {
        let at: Timestamp = "2026-11-02T10:59:59.999999Z".parse().unwrap();
        assert_eq!(to_the_hour(at).to_string(), "2026-11-02T10:00:00.000000Z");
    }

    #[test]
    fn a_device_name_is_short_and_printable() {
        check_name("").unwrap();
        check_name(&"ñ".repeat(100)).unwrap();
        assert!(check_name(&"ñ".repeat(101)).is_err());
        assert!(check_name("a\nb").is_err());
    }
}
