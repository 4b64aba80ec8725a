//! The rows of identities, manifests and prekeys.

use std::{collections::HashSet, time::Duration};

use sigilo_seal::sha256;
use sigilo_wire::{DeviceId, DeviceNumber, TenantId, Timestamp, UserId};

use super::verify::OneTimeKey;
use crate::{
    Error, Result, execute, execute_rows, fetch_all, fetch_one, fetch_optional, statements,
    storage::{Tx, dialect::OneTimePreKey},
};

macro_rules! contact_devices {
    () => {
        "SELECT d.device_id FROM devices d WHERE d.kind = 'messaging' AND d.revoked_at IS NULL
        AND d.device_id <> $2 AND (d.user_id = $1 OR d.user_id IN (SELECT theirs.user_id FROM participants mine
        JOIN participants theirs ON theirs.conversation_id = mine.conversation_id
        WHERE mine.user_id = $1 AND mine.status = 'active' AND theirs.status = 'active')) ORDER BY d.device_id"
    };
}

statements! {
    USER = "SELECT role, identity_key, identity_seq, manifest_version FROM users WHERE user_id = $1 AND tenant_id = $2";
    /// Changes nothing, but holds the row until the commit: acts on one user's keys happen one after another.
    LOCK_USER = "UPDATE users SET identity_seq = identity_seq WHERE user_id = $1 AND tenant_id = $2
        RETURNING role, identity_key, identity_seq, manifest_version";
    SET_IDENTITY = "UPDATE users SET identity_key = $2, identity_seq = $3 WHERE user_id = $1";
    IDENTITY_USED = "SELECT COUNT(*) FROM identity_keys WHERE user_id = $1 AND identity_key = $2";
    INSERT_IDENTITY = "INSERT INTO identity_keys (user_id, identity_seq, tenant_id, identity_key, signature_by_previous,
        created_at) VALUES ($1, $2, $3, $4, $5, $6)";

    MANIFEST = "SELECT identity_seq, history_key_id, statement, signature FROM manifests WHERE user_id = $1 AND version = $2";
    HISTORY_KEY_USED = "SELECT COUNT(*) FROM manifests WHERE user_id = $1 AND history_key_id = $2";
    INSERT_MANIFEST = "INSERT INTO manifests (user_id, version, tenant_id, identity_seq, history_key_id,
        history_public_key, statement, signature, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    SET_MANIFEST = "UPDATE users SET manifest_version = $2, history_key_id = $3 WHERE user_id = $1";
    LEAVE_MANIFEST = "UPDATE devices SET in_manifest = FALSE WHERE user_id = $1 AND in_manifest";
    JOIN_MANIFEST = "UPDATE devices SET in_manifest = TRUE, added_at = $3 WHERE user_id = $1 AND device_number = $2";
    REGISTERED_DEVICES = "SELECT d.device_number, d.registration_id, k.signed_pre_key_at FROM devices d
        LEFT JOIN device_keys k ON k.device_id = d.device_id
        WHERE d.user_id = $1 AND d.kind = 'messaging' AND d.revoked_at IS NULL AND d.registration_id IS NOT NULL
        ORDER BY d.device_number";

    DEVICE = "SELECT registration_id, added_at FROM devices WHERE device_id = $1 AND revoked_at IS NULL";
    SET_REGISTRATION = "UPDATE devices SET registration_id = $2 WHERE device_id = $1";
    DEVICE_KEYS = "SELECT signed_pre_key_id, signed_pre_key, signed_pre_key_signature, signed_pre_key_at,
        last_resort_key_id, last_resort_key, last_resort_signature, last_resort_at FROM device_keys WHERE device_id = $1";
    PUT_DEVICE_KEYS = "INSERT INTO device_keys (device_id, signed_pre_key_id, signed_pre_key, signed_pre_key_signature,
        signed_pre_key_at, last_resort_key_id, last_resort_key, last_resort_signature, last_resort_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (device_id) DO UPDATE SET signed_pre_key_id = excluded.signed_pre_key_id,
        signed_pre_key = excluded.signed_pre_key, signed_pre_key_signature = excluded.signed_pre_key_signature,
        signed_pre_key_at = excluded.signed_pre_key_at, last_resort_key_id = excluded.last_resort_key_id,
        last_resort_key = excluded.last_resort_key, last_resort_signature = excluded.last_resort_signature,
        last_resort_at = excluded.last_resort_at, rotation_told_at = NULL, low_told_at = NULL";
    FORGET_DEVICE_KEYS = "DELETE FROM device_keys WHERE device_id IN (SELECT device_id FROM devices WHERE user_id = $1)";
    FORGET_ONE_TIME_KEYS = "DELETE FROM one_time_pre_keys WHERE device_id IN
        (SELECT device_id FROM devices WHERE user_id = $1)";
    CLEAR_ONE_TIME_KEYS = "DELETE FROM one_time_pre_keys WHERE device_id = $1 AND kind = $2";
    GIVEN_KEYS = "SELECT key_hash FROM given_pre_keys WHERE device_id = $1";
    FORGET_GIVEN_KEYS = "DELETE FROM given_pre_keys WHERE device_id = $1 AND given_at < $2";
    INSERT_GIVEN_KEYS = "INSERT INTO given_pre_keys (device_id, key_hash, given_at) VALUES $rows(UUID, BYTEA, BIGINT)
        ON CONFLICT DO NOTHING";
    INSERT_ONE_TIME_KEYS = "INSERT INTO one_time_pre_keys (device_id, kind, key_id, public_key, signature)
        VALUES $rows(UUID, TEXT, BIGINT, BYTEA, BYTEA)";
    ONE_TIME_KEY_EXISTS = "SELECT COUNT(*) FROM one_time_pre_keys WHERE device_id = $1 AND kind = $2 AND key_id = $3";
    COUNTS = "SELECT kind, COUNT(*) FROM one_time_pre_keys WHERE device_id = $1 GROUP BY kind";

    MANIFEST_DEVICES = "SELECT d.device_id, d.device_number, d.registration_id, k.signed_pre_key_id, k.signed_pre_key,
        k.signed_pre_key_signature, k.signed_pre_key_at, k.last_resort_key_id, k.last_resort_key, k.last_resort_signature,
        k.last_resort_at FROM devices d JOIN device_keys k ON k.device_id = d.device_id
        WHERE d.user_id = $1 AND d.in_manifest AND d.revoked_at IS NULL ORDER BY d.device_id";
    TELL_LOW = "UPDATE device_keys SET low_told_at = $2 WHERE device_id = $1
        AND (low_told_at IS NULL OR low_told_at <= $3)";
    TELL_ROTATION = "UPDATE device_keys SET rotation_told_at = $2 WHERE device_id = $1
        AND (rotation_told_at IS NULL OR rotation_told_at <= $3)";
    TELL_ALL_ROTATION = "UPDATE device_keys SET rotation_told_at = $1 WHERE signed_pre_key_at <= $2
        AND (rotation_told_at IS NULL OR rotation_told_at <= $3)
        AND device_id IN (SELECT device_id FROM devices WHERE in_manifest AND revoked_at IS NULL)
        RETURNING device_id, signed_pre_key_at";

    SHARED_CONVERSATIONS = "SELECT COUNT(*) FROM participants a
        JOIN participants b ON b.conversation_id = a.conversation_id
        JOIN conversations c ON c.conversation_id = a.conversation_id
        WHERE a.user_id = $1 AND b.user_id = $2 AND a.status = 'active' AND b.status IN ('active', 'withheld')
        AND c.status = 'active'";
    /// Conversations in which messages pass between two also when one has blocked the other.
    SHARED_TEAMS = "SELECT COUNT(*) FROM participants a
        JOIN participants b ON b.conversation_id = a.conversation_id
        JOIN conversations c ON c.conversation_id = a.conversation_id
        WHERE a.user_id = $1 AND b.user_id = $2 AND a.status = 'active' AND b.status = 'active' AND c.status = 'active'
        AND (c.type = 'emergency' OR (SELECT COUNT(*) FROM participants p
            WHERE p.conversation_id = a.conversation_id AND p.status = 'active') > 2)";
    /// The second may be of a tier that was not called yet: its envelopes are made all the same.
    SHARED_EMERGENCIES = "SELECT COUNT(*) FROM participants a
        JOIN participants b ON b.conversation_id = a.conversation_id
        JOIN conversations c ON c.conversation_id = a.conversation_id AND c.type = 'emergency'
        WHERE a.user_id = $1 AND b.user_id = $2 AND a.status = 'active' AND b.status IN ('active', 'withheld')
        AND c.status = 'active'";
    /// Words that a finding is false, of the second, about files of conversations the first takes part in.
    SIGNED_RELEASES = "SELECT COUNT(*) FROM file_releases r
        JOIN files f ON f.file_id = r.file_id
        JOIN participants p ON p.conversation_id = f.conversation_id
        WHERE r.signer_id = $2 AND p.user_id = $1 AND p.status = 'active'";
    CONTACT_DEVICES = contact_devices!();
    /// The manifest's own devices among them: their rows are changed before events are queued for all.
    LOCK_CONTACT_DEVICES_POSTGRES = concat!(contact_devices!(), " FOR NO KEY UPDATE OF d");
}

/// How long a key that was given out is remembered: longer than any device tries to publish it again.
const GIVEN_KEPT: Duration = Duration::from_hours(30 * 24);

/// `one_time_pre_keys.kind` of elliptic-curve keys.
pub(super) const EC: &str = "ec";
/// `one_time_pre_keys.kind` of Kyber keys.
pub(super) const KYBER: &str = "kyber";

/// What the key server knows of a user.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct UserRow {
    pub(super) role: String,
    pub(super) identity_key: Option<Vec<u8>>,
    pub(super) identity_seq: i64,
    pub(super) manifest_version: i64,
}

/// A manifest as accepted.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct ManifestRow {
    pub(super) identity_seq: i64,
    pub(super) history_key_id: Vec<u8>,
    pub(super) statement: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// The keys of a device that are not used up.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct DeviceKeysRow {
    pub(super) signed_pre_key_id: i64,
    pub(super) signed_pre_key: Vec<u8>,
    pub(super) signed_pre_key_signature: Vec<u8>,
    pub(super) signed_pre_key_at: Timestamp,
    pub(super) last_resort_key_id: i64,
    pub(super) last_resort_key: Vec<u8>,
    pub(super) last_resort_signature: Vec<u8>,
    pub(super) last_resort_at: Timestamp,
}

/// A device of the newest manifest, with its keys.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct ManifestDeviceRow {
    pub(super) device_id: DeviceId,
    pub(super) device_number: DeviceNumber,
    pub(super) registration_id: i64,
    #[sqlx(flatten)]
    pub(super) keys: DeviceKeysRow,
}

pub(super) async fn user(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<UserRow> {
    fetch_optional!(tx, UserRow, USER, user, tenant)?.ok_or(Error::NotFound)
}

pub(super) async fn lock_user(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<UserRow> {
    fetch_optional!(tx, UserRow, LOCK_USER, user, tenant)?.ok_or(Error::NotFound)
}

pub(super) async fn identity_was_used(tx: &mut Tx, user: UserId, key: &[u8]) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), IDENTITY_USED, user, key)?.0 > 0)
}

/// An identity about to be written.
pub(super) struct NewIdentity<'a> {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) seq: i64,
    pub(super) key: &'a [u8],
    pub(super) signature_by_previous: Option<&'a [u8]>,
}

pub(super) async fn put_identity(tx: &mut Tx, new: &NewIdentity<'_>, now: Timestamp) -> Result<()> {
    execute!(tx, SET_IDENTITY, new.user, new.key, new.seq)?;
    execute!(tx, INSERT_IDENTITY, new.user, new.seq, new.tenant, new.key, new.signature_by_previous, now)?;
    Ok(())
}

/// Forgets what the previous identity signed: prekeys, and the places in its manifest.
pub(super) async fn forget_signed(tx: &mut Tx, user: UserId) -> Result<()> {
    execute!(tx, FORGET_ONE_TIME_KEYS, user)?;
    execute!(tx, FORGET_DEVICE_KEYS, user)?;
    execute!(tx, LEAVE_MANIFEST, user)?;
    Ok(())
}

pub(super) async fn manifest(tx: &mut Tx, user: UserId, version: i64) -> Result<Option<ManifestRow>> {
    fetch_optional!(tx, ManifestRow, MANIFEST, user, version)
}

pub(super) async fn history_key_was_used(tx: &mut Tx, user: UserId, key_id: &[u8]) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), HISTORY_KEY_USED, user, key_id)?.0 > 0)
}

/// A manifest about to be written.
pub(super) struct NewManifest<'a> {
    pub(super) manifest: &'a sigilo_seal::Manifest,
    pub(super) signed: &'a sigilo_seal::SignedManifest,
    pub(super) identity_seq: i64,
}

pub(super) async fn put_manifest(tx: &mut Tx, new: &NewManifest<'_>, now: Timestamp) -> Result<()> {
    let manifest = new.manifest;
    let key_id = manifest.history_key_id();
    execute!(
        tx,
        INSERT_MANIFEST,
        manifest.user,
        i64::from(manifest.version),
        manifest.tenant,
        new.identity_seq,
        key_id.as_bytes().as_slice(),
        manifest.history_public_key.as_bytes().as_slice(),
        new.signed.statement.as_slice(),
        new.signed.signature.as_slice(),
        now
    )?;
    execute!(tx, SET_MANIFEST, manifest.user, i64::from(manifest.version), key_id.as_bytes().as_slice())?;
    if matches!(tx, Tx::Postgres(_)) {
        let nobody = DeviceId::from_bytes([0; 16]);
        fetch_all!(tx, (DeviceId,), LOCK_CONTACT_DEVICES_POSTGRES, manifest.user, nobody)?;
    }
    execute!(tx, LEAVE_MANIFEST, manifest.user)?;
    for device in &manifest.devices {
        execute!(tx, JOIN_MANIFEST, manifest.user, device.device, device.added_at)?;
    }
    Ok(())
}

/// The messaging devices that have a registration id, with it and the time of their signed prekey, if there is one.
pub(super) async fn registered_devices(
    tx: &mut Tx,
    user: UserId,
) -> Result<Vec<(DeviceNumber, i64, Option<Timestamp>)>> {
    fetch_all!(tx, (DeviceNumber, i64, Option<Timestamp>), REGISTERED_DEVICES, user)
}

/// The device's registration id, and when it first entered a manifest.
pub(super) async fn device(tx: &mut Tx, device: DeviceId) -> Result<(Option<i64>, Option<Timestamp>)> {
    fetch_optional!(tx, (Option<i64>, Option<Timestamp>), DEVICE, device)?.ok_or(Error::NotFound)
}

pub(super) async fn set_registration(tx: &mut Tx, device: DeviceId, registration: u32) -> Result<()> {
    execute!(tx, SET_REGISTRATION, device, i64::from(registration)).map(drop)
}

pub(super) async fn device_keys(tx: &mut Tx, device: DeviceId) -> Result<Option<DeviceKeysRow>> {
    fetch_optional!(tx, DeviceKeysRow, DEVICE_KEYS, device)
}

pub(super) async fn put_device_keys(tx: &mut Tx, device: DeviceId, keys: &DeviceKeysRow) -> Result<()> {
    execute!(
        tx,
        PUT_DEVICE_KEYS,
        device,
        keys.signed_pre_key_id,
        keys.signed_pre_key.as_slice(),
        keys.signed_pre_key_signature.as_slice(),
        keys.signed_pre_key_at,
        keys.last_resort_key_id,
        keys.last_resort_key.as_slice(),
        keys.last_resort_signature.as_slice(),
        keys.last_resort_at
    )
    .map(drop)
}

/// Puts these keys in the place of the device's others, but for those that were given out before: whoever publishes
/// again, because they did not hear that they had published, publishes what others have by then.
pub(super) async fn replace_one_time_keys(
    tx: &mut Tx,
    device: DeviceId,
    kind: &str,
    keys: &[OneTimeKey],
    now: Timestamp,
) -> Result<()> {
    // First this: it waits for whoever is taking one of them, and what they took is seen below.
    execute!(tx, CLEAR_ONE_TIME_KEYS, device, kind)?;
    execute!(tx, FORGET_GIVEN_KEYS, device, now - GIVEN_KEPT)?;
    let given: HashSet<Vec<u8>> =
        fetch_all!(tx, (Vec<u8>,), GIVEN_KEYS, device)?.into_iter().map(|(hash,)| hash).collect();
    let fresh: Vec<&OneTimeKey> =
        keys.iter().filter(|key| !given.contains(sha256(&key.public_key).as_slice())).collect();
    execute_rows!(tx, INSERT_ONE_TIME_KEYS, &fresh, key => [
        device, kind, i64::from(key.key_id), key.public_key.as_slice(), key.signature.as_deref(),
    ])?;
    Ok(())
}

/// Remembers that these keys are given out.
pub(super) async fn give(
    tx: &mut Tx,
    device: DeviceId,
    keys: &[&OneTimePreKey],
    now: Timestamp,
) -> Result<()> {
    execute_rows!(tx, INSERT_GIVEN_KEYS, keys, key => [device, sha256(&key.public_key).as_slice(), now])?;
    Ok(())
}

pub(super) async fn one_time_key_exists(
    tx: &mut Tx,
    device: DeviceId,
    kind: &str,
    key_id: i64,
) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), ONE_TIME_KEY_EXISTS, device, kind, key_id)?.0 > 0)
}

/// How many one-time keys are left: elliptic-curve ones and Kyber ones.
pub(super) async fn counts(tx: &mut Tx, device: DeviceId) -> Result<(u32, u32)> {
    let rows = fetch_all!(tx, (String, i64), COUNTS, device)?;
    let of = |kind: &str| {
        rows.iter().find(|(k, _)| k == kind).map_or(0, |(_, n)| u32::try_from(*n).unwrap_or(u32::MAX))
    };
    Ok((of(EC), of(KYBER)))
}

/// The devices of the user's newest manifest that have keys, in the order of their ids.
pub(super) async fn manifest_devices(tx: &mut Tx, user: UserId) -> Result<Vec<ManifestDeviceRow>> {
    fetch_all!(tx, ManifestDeviceRow, MANIFEST_DEVICES, user)
}

/// Marks the device as told that its keys are low, unless it was told after `before`.
pub(super) async fn tell_low(
    tx: &mut Tx,
    device: DeviceId,
    now: Timestamp,
    before: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, TELL_LOW, device, now, before)? == 1)
}

/// Marks the device as told that a rotation is due, unless it was told after `before`.
pub(super) async fn tell_rotation(
    tx: &mut Tx,
    device: DeviceId,
    now: Timestamp,
    before: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, TELL_ROTATION, device, now, before)? == 1)
}

/// The same for every device whose signed prekey was published before `due`: those that are to be told now.
pub(super) async fn tell_all_rotation(
    tx: &mut Tx,
    now: Timestamp,
    due: Timestamp,
    before: Timestamp,
) -> Result<Vec<(DeviceId, Timestamp)>> {
    fetch_all!(tx, (DeviceId, Timestamp), TELL_ALL_ROTATION, now, due, before)
}

/// The messaging devices of the user and of everybody who shares a conversation with them, but one.
pub(super) async fn contact_devices(tx: &mut Tx, user: UserId, except: DeviceId) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), CONTACT_DEVICES, user, except)?.into_iter().map(|(id,)| id).collect())
}

/// Whether both take part in one active conversation.
pub(super) async fn share_conversation(tx: &mut Tx, a: UserId, b: UserId) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), SHARED_CONVERSATIONS, a, b)?.0 > 0)
}

/// Whether `signer` called the finding on a file false in whose conversation `reader` takes part.
pub(super) async fn signed_release_for(tx: &mut Tx, reader: UserId, signer: UserId) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), SIGNED_RELEASES, reader, signer)?.0 > 0)
}

pub(super) async fn share_team(tx: &mut Tx, a: UserId, b: UserId) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), SHARED_TEAMS, a, b)?.0 > 0)
}

/// Whether both are in an open emergency; the second may be withheld from it still.
pub(super) async fn share_emergency(tx: &mut Tx, a: UserId, b: UserId) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), SHARED_EMERGENCIES, a, b)?.0 > 0)
}
