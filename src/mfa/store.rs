//! The rows of second factors, recovery codes, attempts, and proofs.

use sigilo_wire::{DeviceId, Role, TenantId, Timestamp, UserId};

use crate::{Error, Result, execute, fetch_one, fetch_optional, statements, storage::Tx};

statements! {
    CLINIC_NAME = "SELECT name FROM tenants WHERE tenant_id = $1";

    /// Locks the person until the commit.
    LOCK_PERSON = "UPDATE users SET status = status WHERE tenant_id = $1 AND user_id = $2 RETURNING role";
    ENROLLED_AT = "SELECT enrolled_at FROM second_factors WHERE user_id = $1 AND secret_enc IS NOT NULL";
    SECRET = "SELECT secret_enc FROM second_factors WHERE user_id = $1 AND secret_enc IS NOT NULL";
    /// Of two who show one code, the second finds its step taken.
    ACCEPT_STEP = "UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2";
    PUT_PENDING = "INSERT INTO second_factors (user_id, tenant_id, pending_enc, pending_since) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id) DO UPDATE SET pending_enc = excluded.pending_enc, pending_since = excluded.pending_since";
    PENDING = "SELECT pending_enc FROM second_factors
        WHERE user_id = $1 AND pending_enc IS NOT NULL AND pending_since > $2";
    PUT_IN_FORCE = "UPDATE second_factors SET secret_enc = $2, last_step = $3, enrolled_at = $4, pending_enc = NULL,
        pending_since = NULL WHERE user_id = $1";
    DROP_SECOND_FACTOR = "DELETE FROM second_factors WHERE user_id = $1";

    INSERT_RECOVERY_CODE = "INSERT INTO recovery_codes (user_id, code_hash, tenant_id, created_at)
        VALUES ($1, $2, $3, $4)";
    USE_RECOVERY_CODE = "UPDATE recovery_codes SET used_at = $3
        WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL";
    RECOVERY_CODES_LEFT = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL";
    DROP_RECOVERY_CODES = "DELETE FROM recovery_codes WHERE user_id = $1";

    /// The window begins with its first attempt; $4 is the latest beginning of one that is over.
    COUNT_ATTEMPT = "INSERT INTO proof_attempts (user_id, tenant_id, attempts, since) VALUES ($1, $2, 1, $3)
        ON CONFLICT (user_id) DO UPDATE SET
        attempts = CASE WHEN proof_attempts.since <= $4 THEN 1 ELSE proof_attempts.attempts + 1 END,
        since = CASE WHEN proof_attempts.since <= $4 THEN excluded.since ELSE proof_attempts.since END
        RETURNING attempts, since";
    FORGET_ATTEMPTS = "DELETE FROM proof_attempts WHERE user_id = $1";

    VERIFIED_AT = "SELECT verified_at FROM devices WHERE device_id = $1 AND verified_at IS NOT NULL";
    SET_VERIFIED = "UPDATE devices SET verified_at = $2 WHERE device_id = $1";
}

pub(super) async fn clinic_name(tx: &mut Tx, tenant: TenantId) -> Result<String> {
    Ok(fetch_optional!(tx, (String,), CLINIC_NAME, tenant)?.ok_or(Error::NotFound)?.0)
}

/// The role of a person of the clinic, who is held until the commit.
pub(super) async fn lock_person(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<Role>> {
    let found = fetch_optional!(tx, (String,), LOCK_PERSON, tenant, user)?;
    found.map(|(role,)| role.parse().map_err(Error::internal)).transpose()
}

/// Since when logins of the account need a code.
pub(super) async fn enrolled_at(tx: &mut Tx, user: UserId) -> Result<Option<Timestamp>> {
    Ok(fetch_optional!(tx, (Timestamp,), ENROLLED_AT, user)?.map(|(at,)| at))
}

/// Whether logins of the account need a code.
pub(crate) async fn is_enrolled(tx: &mut Tx, user: UserId) -> Result<bool> {
    Ok(enrolled_at(tx, user).await?.is_some())
}

/// The secret in force, encrypted.
pub(super) async fn secret(tx: &mut Tx, user: UserId) -> Result<Option<Vec<u8>>> {
    Ok(fetch_optional!(tx, (Vec<u8>,), SECRET, user)?.map(|(sealed,)| sealed))
}

/// Takes a time step; false when it, or a later one, was taken.
pub(super) async fn accept_step(tx: &mut Tx, user: UserId, step: i64) -> Result<bool> {
    Ok(execute!(tx, ACCEPT_STEP, user, step)? == 1)
}

/// Keeps a secret that waits for its first code, instead of one that waited before.
pub(super) async fn put_pending(
    tx: &mut Tx,
    (tenant, user): (TenantId, UserId),
    sealed: &[u8],
    now: Timestamp,
) -> Result<()> {
    execute!(tx, PUT_PENDING, user, tenant, sealed, now)?;
    Ok(())
}

/// The waiting secret, encrypted, if it is newer than `oldest`.
pub(super) async fn pending(tx: &mut Tx, user: UserId, oldest: Timestamp) -> Result<Option<Vec<u8>>> {
    Ok(fetch_optional!(tx, (Vec<u8>,), PENDING, user, oldest)?.map(|(sealed,)| sealed))
}

/// Makes a secret the one in force; the code of `step` is used up.
pub(super) async fn put_in_force(
    tx: &mut Tx,
    user: UserId,
    sealed: &[u8],
    step: i64,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, PUT_IN_FORCE, user, sealed, step, now)?;
    Ok(())
}

/// Ends the second factor with its recovery codes.
pub(super) async fn drop_second_factor(tx: &mut Tx, user: UserId) -> Result<()> {
    execute!(tx, DROP_SECOND_FACTOR, user)?;
    drop_recovery_codes(tx, user).await
}

pub(super) async fn insert_recovery_code(
    tx: &mut Tx,
    (tenant, user): (TenantId, UserId),
    hash: &[u8],
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT_RECOVERY_CODE, user, hash, tenant, now)?;
    Ok(())
}

/// Uses a recovery code up; false when it is unknown or used.
pub(super) async fn use_recovery_code(
    tx: &mut Tx,
    user: UserId,
    hash: &[u8],
    now: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, USE_RECOVERY_CODE, user, hash, now)? == 1)
}

pub(super) async fn recovery_codes_left(tx: &mut Tx, user: UserId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), RECOVERY_CODES_LEFT, user)?.0)
}

pub(super) async fn drop_recovery_codes(tx: &mut Tx, user: UserId) -> Result<()> {
    execute!(tx, DROP_RECOVERY_CODES, user)?;
    Ok(())
}

/// Counts an attempt; gives how many there are in the window, and when it began.
pub(super) async fn count_attempt(
    tx: &mut Tx,
    (tenant, user): (TenantId, UserId),
    now: Timestamp,
    oldest: Timestamp,
) -> Result<(i64, Timestamp)> {
    fetch_one!(tx, (i64, Timestamp), COUNT_ATTEMPT, user, tenant, now, oldest)
}

pub(super) async fn forget_attempts(tx: &mut Tx, user: UserId) -> Result<()> {
    execute!(tx, FORGET_ATTEMPTS, user)?;
    Ok(())
}

/// When the device's user last proved who they are.
pub(super) async fn verified_at(tx: &mut Tx, device: DeviceId) -> Result<Option<Timestamp>> {
    Ok(fetch_optional!(tx, (Timestamp,), VERIFIED_AT, device)?.map(|(at,)| at))
}

pub(super) async fn set_verified(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<()> {
    execute!(tx, SET_VERIFIED, device, now)?;
    Ok(())
}
