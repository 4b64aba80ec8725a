//! The rows of links, and of devices made by them.

use sigilo_wire::{DeviceId, DeviceNumber, LinkId, TenantId, Timestamp, TokenFamilyId, UserId};

use crate::{
    Result,
    auth::store::{end_families, standing_changed},
    execute, fetch_one, fetch_optional, statements,
    storage::Tx,
};

statements! {
    /// Of two who open one link, the second changes nothing.
    INSERT_LINK = "INSERT INTO device_links (link_id, tenant_id, user_id, begun_by, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (link_id) DO NOTHING";
    LINK = "SELECT link_id, tenant_id, user_id, begun_by, public_key, device_id, manifest_version, claim_hash, enc, ct,
        expires_at FROM device_links WHERE link_id = $1 AND expires_at > $2";
    LINK_OF_USER = "SELECT link_id, tenant_id, user_id, begun_by, public_key, device_id, manifest_version, claim_hash,
        enc, ct, expires_at FROM device_links WHERE user_id = $1 AND expires_at > $2";
    FORGET_LINKS = "DELETE FROM device_links WHERE user_id = $1";
    FORGET_EXPIRED = "DELETE FROM device_links WHERE expires_at <= $1";
    /// The first key stays.
    OFFER_KEY = "UPDATE device_links SET public_key = $2 WHERE link_id = $1 AND expires_at > $3 AND public_key IS NULL";
    APPROVE = "UPDATE device_links SET device_id = $2, manifest_version = $3, claim_hash = $4, enc = $5, ct = $6
        WHERE link_id = $1 AND device_id IS NULL";

    NEXT_NUMBER = "SELECT next_device_number FROM users WHERE user_id = $1";
    /// Without tokens, and nobody has proven on it who they are.
    INSERT_LINKED = "INSERT INTO devices (device_id, tenant_id, user_id, kind, device_number, name_enc, registration_id,
        created_at, last_seen_at) VALUES ($1, $2, $3, 'messaging', $4, $5, $6, $7, $8)";
    /// Until its keys are there, a lost answer is made up for.
    CLAIM_DEVICE = "UPDATE devices SET token_family = $2, name_enc = $3, last_seen_at = $4 WHERE device_id = $1
        AND revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.device_id = devices.device_id)";
}

/// A link.
#[derive(sqlx::FromRow)]
pub(super) struct LinkRow {
    pub(super) link_id: LinkId,
    pub(super) tenant_id: TenantId,
    pub(super) user_id: UserId,
    pub(super) begun_by: DeviceId,
    pub(super) public_key: Option<Vec<u8>>,
    pub(super) device_id: Option<DeviceId>,
    pub(super) manifest_version: Option<i64>,
    pub(super) claim_hash: Option<Vec<u8>>,
    pub(super) enc: Option<Vec<u8>>,
    pub(super) ct: Option<Vec<u8>>,
    pub(super) expires_at: Timestamp,
}

/// Opens a link for the user; false when somebody has opened it before.
pub(super) async fn insert_link(
    tx: &mut Tx,
    link: LinkId,
    (tenant, user, device): (TenantId, UserId, DeviceId),
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool> {
    execute!(tx, FORGET_EXPIRED, now)?;
    execute!(tx, FORGET_LINKS, user)?;
    Ok(execute!(tx, INSERT_LINK, link, tenant, user, device, now, expires_at)? == 1)
}

pub(super) async fn link(tx: &mut Tx, link: LinkId, now: Timestamp) -> Result<Option<LinkRow>> {
    fetch_optional!(tx, LinkRow, LINK, link, now)
}

pub(super) async fn link_of_user(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Option<LinkRow>> {
    fetch_optional!(tx, LinkRow, LINK_OF_USER, user, now)
}

/// Keeps the new device's key; false when there is no such link, or it has one.
pub(super) async fn offer_key(tx: &mut Tx, link: LinkId, key: &[u8], now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, OFFER_KEY, link, key, now)? == 1)
}

/// What an old device has put into a link.
pub(super) struct Approval<'a> {
    pub(super) device: DeviceId,
    pub(super) manifest_version: i64,
    pub(super) claim_hash: &'a [u8],
    pub(super) enc: &'a [u8],
    pub(super) ct: &'a [u8],
}

pub(super) async fn approve(tx: &mut Tx, link: LinkId, approval: &Approval<'_>) -> Result<bool> {
    let Approval { device, manifest_version, claim_hash, enc, ct } = *approval;
    Ok(execute!(tx, APPROVE, link, device, manifest_version, claim_hash, enc, ct)? == 1)
}

/// The number the user's next device gets; over 127 when all were given.
pub(super) async fn next_number(tx: &mut Tx, user: UserId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), NEXT_NUMBER, user)?.0)
}

/// A device made by a link.
pub(super) struct NewLinked<'a> {
    pub(super) device: DeviceId,
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) number: DeviceNumber,
    pub(super) registration_id: i64,
    pub(super) name_enc: &'a [u8],
}

pub(super) async fn insert_linked(
    tx: &mut Tx,
    row: &NewLinked<'_>,
    (now, seen): (Timestamp, Timestamp),
) -> Result<()> {
    execute!(
        tx,
        INSERT_LINKED,
        row.device,
        row.tenant,
        row.user,
        row.number,
        row.name_enc,
        row.registration_id,
        now,
        seen
    )?;
    Ok(())
}

/// Gives the device its tokens' family; false when it was removed, or has published keys.
pub(super) async fn claim_device(
    tx: &mut Tx,
    device: DeviceId,
    family: TokenFamilyId,
    name_enc: &[u8],
    (now, seen): (Timestamp, Timestamp),
) -> Result<bool> {
    if execute!(tx, CLAIM_DEVICE, device, family, name_enc, seen)? == 0 {
        return Ok(false);
    }
    end_families(tx, device, now).await?;
    standing_changed(tx, device, now).await?;
    Ok(true)
}
