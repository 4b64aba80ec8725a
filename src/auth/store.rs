//! The rows of token keys, invitations at activation, devices, refresh tokens and tickets.

use sigilo_wire::{
    DeviceId, DeviceNumber, Role, TenantId, Timestamp, TokenFamilyId, UserId, account::DeviceKind,
};
use uuid::Uuid;

use super::{STANDING_CHANGES_KEPT, known::Standing, sessions::NewRow};
use crate::{
    Error, Result, execute, fetch_all, fetch_one, fetch_optional,
    people::{SecondFactorRule, Settings},
    statements,
    storage::Tx,
};

statements! {
    TOKEN_KEYS = "SELECT key_id, public_key, private_key FROM token_keys WHERE retired_at IS NULL
        ORDER BY created_at DESC, key_id DESC";
    INSERT_TOKEN_KEY = "INSERT INTO token_keys (key_id, public_key, private_key, created_at) VALUES ($1, $2, $3, $4)";

    TENANT_BY_ID = "SELECT tenant_id FROM tenants WHERE tenant_id = $1";
    TENANT_BY_SLUG = "SELECT tenant_id FROM tenants WHERE slug = $1";

    INVITATION = "SELECT u.user_id, u.role FROM invitations i JOIN users u ON u.user_id = i.user_id
        WHERE i.tenant_id = $1 AND i.code_hash = $2 AND i.used_at IS NULL AND i.expires_at > $3";
    USED_INVITATION = "SELECT u.user_id, u.role, u.status, u.password_hash FROM invitations i JOIN users u ON u.user_id = i.user_id
        WHERE i.tenant_id = $1 AND i.code_hash = $2 AND i.used_at IS NOT NULL";
    /// Of two who activate with one code, the second finds it used.
    USE_INVITATION = "UPDATE invitations SET used_at = $3
        WHERE tenant_id = $1 AND code_hash = $2 AND used_at IS NULL AND expires_at > $3 RETURNING user_id";
    ACTIVATE_USER = "UPDATE users SET status = 'active', password_hash = $2, activated_at = $3
        WHERE user_id = $1 AND status = 'invited'";

    ACCOUNT_BY_EMAIL = "SELECT user_id, role, status, password_hash FROM users WHERE tenant_id = $1 AND email_index = $2";
    ACCOUNT = "SELECT user_id, role, status, password_hash FROM users WHERE tenant_id = $1 AND user_id = $2";
    /// Of two who replace one password, the second finds another.
    CHANGE_PASSWORD = "UPDATE users SET password_hash = $2 WHERE user_id = $1 AND password_hash = $3";
    SET_PASSWORD = "UPDATE users SET password_hash = $2 WHERE user_id = $1";
    INSERT_RESET = "INSERT INTO password_resets (reset_id, tenant_id, user_id, code_hash, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    END_RESETS = "UPDATE password_resets SET expires_at = $2
        WHERE user_id = $1 AND used_at IS NULL AND expires_at > $2";
    RESET = "SELECT u.user_id, u.role, u.status, u.password_hash FROM password_resets r JOIN users u ON u.user_id = r.user_id
        WHERE r.tenant_id = $1 AND r.code_hash = $2 AND r.used_at IS NULL AND r.expires_at > $3";
    /// Of two who use one code, the second finds it used.
    USE_RESET = "UPDATE password_resets SET used_at = $3
        WHERE tenant_id = $1 AND code_hash = $2 AND used_at IS NULL AND expires_at > $3";
    PASSWORD = "SELECT password_hash FROM users WHERE user_id = $1 AND password_hash IS NOT NULL";
    /// Locks the account until the commit: limits of devices are counted one login at a time.
    LOCK_ACCOUNT = "UPDATE users SET status = status WHERE user_id = $1 RETURNING status";
    COUNT_MESSAGING = "SELECT COUNT(*) FROM devices
        WHERE user_id = $1 AND kind = 'messaging' AND revoked_at IS NULL";
    /// A session without a live refresh token is over, though nobody said so.
    END_IDLE_SESSIONS = "UPDATE devices SET revoked_at = $2, token_family = NULL
        WHERE user_id = $1 AND kind = 'session' AND revoked_at IS NULL AND NOT EXISTS
        (SELECT 1 FROM refresh_tokens r WHERE r.device_id = devices.device_id AND r.family_id = devices.token_family
         AND r.used_at IS NULL AND r.revoked_at IS NULL AND r.expires_at > $2)";
    COUNT_SESSIONS = "SELECT COUNT(*) FROM devices WHERE user_id = $1 AND kind = 'session' AND revoked_at IS NULL";
    NEXT_DEVICE_NUMBER = "UPDATE users SET next_device_number = next_device_number + 1
        WHERE user_id = $1 AND next_device_number <= 127 RETURNING next_device_number - 1";
    INSERT_DEVICE = "INSERT INTO devices (device_id, tenant_id, user_id, kind, device_number, name_enc, token_family,
        created_at, last_seen_at, verified_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8)";
    LOG_IN_AGAIN = "UPDATE devices SET token_family = $4, last_seen_at = $5, name_enc = COALESCE($6, name_enc), verified_at = $7
        WHERE device_id = $1 AND user_id = $2 AND kind = $3 AND revoked_at IS NULL";

    /// Every server of this database reads these. Locked after devices and before the clinic's sequences.
    NEXT_STANDING_CHANGE = "UPDATE sequences SET value = value + 1 WHERE name = 'standing' RETURNING value";
    INSERT_STANDING_CHANGE = "INSERT INTO standing_changes (seq, device_id, changed_at) VALUES ($1, $2, $3)";
    FORGET_STANDING_CHANGES = "DELETE FROM standing_changes WHERE changed_at < $1";
    NETWORKS_CHANGES = "SELECT value FROM sequences WHERE name = 'networks'";
    STANDING_CHANGES = "SELECT c.seq, d.device_id, d.tenant_id, d.user_id, d.kind, d.device_number, d.revoked_at,
        d.token_family, u.role, u.status, t.settings, f.enrolled_at FROM standing_changes c
        JOIN devices d ON d.device_id = c.device_id JOIN users u ON u.user_id = d.user_id
        JOIN tenants t ON t.tenant_id = d.tenant_id LEFT JOIN second_factors f ON f.user_id = u.user_id WHERE c.seq > $1 ORDER BY c.seq LIMIT $2";
    STANDING = "SELECT d.device_id, d.tenant_id, d.user_id, d.kind, d.device_number, d.revoked_at, d.token_family,
        u.role, u.status, t.settings, f.enrolled_at FROM devices d JOIN users u ON u.user_id = d.user_id
        JOIN tenants t ON t.tenant_id = d.tenant_id LEFT JOIN second_factors f ON f.user_id = u.user_id
        WHERE d.device_id = $1";
    DEVICES = "SELECT device_id, kind, device_number, name_enc, created_at, last_seen_at FROM devices
        WHERE user_id = $1 AND revoked_at IS NULL ORDER BY created_at, device_id";
    DEVICE = "SELECT device_id, kind, device_number, name_enc, created_at, last_seen_at FROM devices
        WHERE user_id = $1 AND device_id = $2 AND revoked_at IS NULL";
    SEEN = "UPDATE devices SET last_seen_at = $2 WHERE device_id = $1 AND last_seen_at < $2";

    INSERT_REFRESH = "INSERT INTO refresh_tokens (token_hash, family_id, tenant_id, device_id, issued_at, expires_at, replaces)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    /// Of two who present one token, exactly one gets the row.
    USE_REFRESH = "UPDATE refresh_tokens SET used_at = $2
        WHERE token_hash = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2
        RETURNING family_id, tenant_id, device_id, used_at, revoked_at";
    /// Of two who repeat one refresh, the second waits for the first.
    LOCK_REFRESH = "UPDATE refresh_tokens SET used_at = used_at WHERE token_hash = $1
        RETURNING family_id, tenant_id, device_id, used_at, revoked_at";
    /// The successor that nobody has used gives way to the next.
    REPLACE_UNUSED = "UPDATE refresh_tokens SET used_at = $2
        WHERE replaces = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2";
    REFRESH_BY_HASH = "SELECT family_id, tenant_id, device_id, used_at, revoked_at FROM refresh_tokens
        WHERE token_hash = $1";
    END_FAMILIES = "UPDATE refresh_tokens SET revoked_at = $2 WHERE device_id = $1 AND revoked_at IS NULL";
    /// Rows of a family are needed while its newest token lives: an old one used again ends it.
    FORGET_OLD_REFRESH = "DELETE FROM refresh_tokens WHERE device_id = $1 AND expires_at < $2";
    LOG_OUT_MESSAGING = "UPDATE devices SET token_family = NULL WHERE device_id = $1 AND kind = 'messaging'";
    LOG_OUT_SESSION = "UPDATE devices SET token_family = NULL, revoked_at = $2
        WHERE device_id = $1 AND kind = 'session' AND revoked_at IS NULL";
    REVOKE_DEVICE = "UPDATE devices SET revoked_at = $3, token_family = NULL
        WHERE device_id = $1 AND user_id = $2 AND revoked_at IS NULL";
    DROP_DEVICE_KEYS = "DELETE FROM device_keys WHERE device_id = $1";
    DROP_PRE_KEYS = "DELETE FROM one_time_pre_keys WHERE device_id = $1";
    DROP_GIVEN_KEYS = "DELETE FROM given_pre_keys WHERE device_id = $1";
    DROP_EVENTS = "DELETE FROM device_events WHERE device_id = $1";
    DROP_TICKETS = "DELETE FROM ws_tickets WHERE device_id = $1";

    INSERT_TICKET = "INSERT INTO ws_tickets (ticket_hash, device_id, expires_at) VALUES ($1, $2, $3)";
    TAKE_TICKET = "DELETE FROM ws_tickets WHERE ticket_hash = $1 RETURNING device_id, expires_at";
    FORGET_OLD_TICKETS = "DELETE FROM ws_tickets WHERE expires_at < $1";
}

/// A signing key of tokens.
#[derive(sqlx::FromRow)]
pub(super) struct TokenKeyRow {
    pub(super) key_id: Uuid,
    pub(super) public_key: Vec<u8>,
    pub(super) private_key: Vec<u8>,
}

/// An account as a login finds it.
#[derive(sqlx::FromRow)]
pub(super) struct AccountRow {
    pub(super) user_id: UserId,
    role: String,
    pub(super) status: String,
    pub(super) password_hash: Option<String>,
}

impl AccountRow {
    pub(super) fn role(&self) -> Result<Role> {
        self.role.parse().map_err(Error::internal)
    }
}

/// A device as its user sees it.
#[derive(sqlx::FromRow)]
pub(super) struct DeviceRow {
    pub(super) device_id: DeviceId,
    pub(super) kind: String,
    pub(super) device_number: Option<DeviceNumber>,
    pub(super) name_enc: Vec<u8>,
    pub(super) created_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
}

/// A refresh token.
#[derive(sqlx::FromRow)]
pub(super) struct RefreshRow {
    pub(super) family_id: TokenFamilyId,
    pub(super) tenant_id: TenantId,
    pub(super) device_id: DeviceId,
    pub(super) used_at: Option<Timestamp>,
    pub(super) revoked_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    device_id: DeviceId,
    tenant_id: TenantId,
    user_id: UserId,
    kind: String,
    device_number: Option<DeviceNumber>,
    revoked_at: Option<Timestamp>,
    token_family: Option<TokenFamilyId>,
    role: String,
    status: String,
    settings: String,
    /// Of a second factor in force.
    enrolled_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    seq: i64,
    #[sqlx(flatten)]
    device: StandingRow,
}

pub(super) async fn token_keys(tx: &mut Tx) -> Result<Vec<TokenKeyRow>> {
    fetch_all!(tx, TokenKeyRow, TOKEN_KEYS)
}

pub(super) async fn insert_token_key(
    tx: &mut Tx,
    key_id: Uuid,
    public: &[u8],
    private: &[u8],
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT_TOKEN_KEY, key_id, public, private, now)?;
    Ok(())
}

/// The clinic of an id or slug.
pub(super) async fn tenant(tx: &mut Tx, clinic: &str) -> Result<Option<TenantId>> {
    let found: Option<(TenantId,)> = match clinic.parse::<TenantId>() {
        Ok(id) => fetch_optional!(tx, (TenantId,), TENANT_BY_ID, id)?,
        Err(_) => fetch_optional!(tx, (TenantId,), TENANT_BY_SLUG, clinic)?,
    };
    Ok(found.map(|(tenant,)| tenant))
}

pub(super) async fn invitation(
    tx: &mut Tx,
    tenant: TenantId,
    hash: &[u8],
    now: Timestamp,
) -> Result<Option<(UserId, Role)>> {
    let found = fetch_optional!(tx, (UserId, String), INVITATION, tenant, hash, now)?;
    found.map(|(user, role)| Ok((user, role.parse().map_err(Error::internal)?))).transpose()
}

/// Who has used an invitation.
pub(super) async fn used_invitation(
    tx: &mut Tx,
    tenant: TenantId,
    hash: &[u8],
) -> Result<Option<AccountRow>> {
    fetch_optional!(tx, AccountRow, USED_INVITATION, tenant, hash)
}

pub(super) async fn use_invitation(
    tx: &mut Tx,
    tenant: TenantId,
    hash: &[u8],
    now: Timestamp,
) -> Result<Option<UserId>> {
    Ok(fetch_optional!(tx, (UserId,), USE_INVITATION, tenant, hash, now)?.map(|(user,)| user))
}

/// Whether the account was waiting for its activation.
pub(super) async fn activate_user(tx: &mut Tx, user: UserId, hash: &str, now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, ACTIVATE_USER, user, hash, now)? == 1)
}

pub(super) async fn account_by_email(
    tx: &mut Tx,
    tenant: TenantId,
    index: &[u8],
) -> Result<Option<AccountRow>> {
    fetch_optional!(tx, AccountRow, ACCOUNT_BY_EMAIL, tenant, index)
}

/// The account's password hash.
pub(super) async fn password(tx: &mut Tx, user: UserId) -> Result<Option<String>> {
    Ok(fetch_optional!(tx, (String,), PASSWORD, user)?.map(|(hash,)| hash))
}

/// An account of the clinic.
pub(super) async fn account(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<AccountRow>> {
    fetch_optional!(tx, AccountRow, ACCOUNT, tenant, user)
}

/// Replaces the password whose hash is `present`; false when it is another by now.
pub(super) async fn change_password(tx: &mut Tx, user: UserId, hash: &str, present: &str) -> Result<bool> {
    Ok(execute!(tx, CHANGE_PASSWORD, user, hash, present)? == 1)
}

pub(super) async fn set_password(tx: &mut Tx, user: UserId, hash: &str) -> Result<()> {
    execute!(tx, SET_PASSWORD, user, hash)?;
    Ok(())
}

/// Writes a code for a new password; those before it end.
pub(super) async fn insert_reset(
    tx: &mut Tx,
    reset: Uuid,
    (tenant, user): (TenantId, UserId),
    hash: &[u8],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    end_resets(tx, user, now).await?;
    execute!(tx, INSERT_RESET, reset, tenant, user, hash, now, expires_at)?;
    Ok(())
}

/// Ends the codes for a new password that were not used.
pub(super) async fn end_resets(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<()> {
    execute!(tx, END_RESETS, user, now)?;
    Ok(())
}

/// Whose password a good code resets.
pub(super) async fn reset(
    tx: &mut Tx,
    tenant: TenantId,
    hash: &[u8],
    now: Timestamp,
) -> Result<Option<AccountRow>> {
    fetch_optional!(tx, AccountRow, RESET, tenant, hash, now)
}

pub(super) async fn use_reset(tx: &mut Tx, tenant: TenantId, hash: &[u8], now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, USE_RESET, tenant, hash, now)? == 1)
}

/// Locks the account until the commit and gives its status.
pub(super) async fn lock_account(tx: &mut Tx, user: UserId) -> Result<String> {
    Ok(fetch_optional!(tx, (String,), LOCK_ACCOUNT, user)?.ok_or(Error::NotFound)?.0)
}

/// How many devices of a kind the account has, after ending sessions that were idle too long.
pub(super) async fn count_devices(
    tx: &mut Tx,
    user: UserId,
    kind: DeviceKind,
    now: Timestamp,
) -> Result<i64> {
    let (count,) = match kind {
        DeviceKind::Messaging => fetch_one!(tx, (i64,), COUNT_MESSAGING, user)?,
        DeviceKind::Session => {
            execute!(tx, END_IDLE_SESSIONS, user, now)?;
            fetch_one!(tx, (i64,), COUNT_SESSIONS, user)?
        }
    };
    Ok(count)
}

/// The next number of a messaging device; `None` when all 127 were given.
pub(super) async fn next_device_number(tx: &mut Tx, user: UserId) -> Result<Option<DeviceNumber>> {
    Ok(fetch_optional!(tx, (DeviceNumber,), NEXT_DEVICE_NUMBER, user)?.map(|(number,)| number))
}

pub(super) async fn insert_device(tx: &mut Tx, row: &NewRow) -> Result<()> {
    execute!(
        tx,
        INSERT_DEVICE,
        row.device,
        row.tenant,
        row.user,
        row.kind.as_str(),
        row.number,
        row.name_enc.as_slice(),
        row.family,
        row.created_at,
        row.last_seen_at
    )?;
    Ok(())
}

/// Gives a device of this user and kind a new family, which ends the one before; false when there is no such
/// device.
pub(super) async fn log_in_again(
    tx: &mut Tx,
    (device, user, kind): (DeviceId, UserId, DeviceKind),
    family: TokenFamilyId,
    name_enc: Option<&[u8]>,
    (seen, now): (Timestamp, Timestamp),
) -> Result<bool> {
    if execute!(tx, LOG_IN_AGAIN, device, user, kind.as_str(), family, seen, name_enc, now)? == 0 {
        return Ok(false);
    }
    end_families(tx, device, now).await?;
    standing_changed(tx, device, now).await?;
    Ok(true)
}

impl StandingRow {
    fn standing(self) -> Result<Standing> {
        let (role, settings) =
            (self.role.parse::<Role>().map_err(Error::internal)?, Settings::parse(&self.settings)?);
        Ok(Standing {
            device: self.device_id,
            tenant: self.tenant_id,
            user: self.user_id,
            role,
            kind: self.kind.parse().map_err(Error::internal)?,
            number: self.device_number,
            family: self.token_family.filter(|_| self.revoked_at.is_none() && self.status == "active"),
            second_factor: self.enrolled_at.is_some(),
            required: settings.second_factor == SecondFactorRule::Required,
            ranges: settings.networks.of(role),
        })
    }
}

/// Where a device and its account stand now.
pub(super) async fn standing(tx: &mut Tx, device: DeviceId) -> Result<Option<Standing>> {
    fetch_optional!(tx, StandingRow, STANDING, device)?.map(StandingRow::standing).transpose()
}

/// Tells the servers of this database, once the transaction commits, that tokens of a device have ended. Called
/// last of what concerns the device: everybody who ends tokens waits here for each other.
pub(super) async fn standing_changed(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<()> {
    let (seq,) = fetch_one!(tx, (i64,), NEXT_STANDING_CHANGE)?;
    execute!(tx, INSERT_STANDING_CHANGE, seq, device, now)?;
    execute!(tx, FORGET_STANDING_CHANGES, now - STANDING_CHANGES_KEPT)?;
    Ok(())
}

/// How often clinics have changed from which networks people may come.
pub(super) async fn networks_changes(tx: &mut Tx) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), NETWORKS_CHANGES)?.0)
}

/// Devices whose tokens have ended after the change `after`, as they stand now, in order, with their change.
pub(super) async fn standing_changes(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<(i64, Standing)>> {
    let rows = fetch_all!(tx, ChangeRow, STANDING_CHANGES, after, limit)?;
    rows.into_iter().map(|row| Ok((row.seq, row.device.standing()?))).collect()
}

pub(super) async fn devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceRow>> {
    fetch_all!(tx, DeviceRow, DEVICES, user)
}

pub(super) async fn device(tx: &mut Tx, user: UserId, device: DeviceId) -> Result<Option<DeviceRow>> {
    fetch_optional!(tx, DeviceRow, DEVICE, user, device)
}

pub(super) async fn seen(tx: &mut Tx, device: DeviceId, at: Timestamp) -> Result<()> {
    execute!(tx, SEEN, device, at)?;
    Ok(())
}

pub(super) async fn insert_refresh(
    tx: &mut Tx,
    hash: &[u8],
    family: TokenFamilyId,
    (tenant, device): (TenantId, DeviceId),
    (now, expires_at): (Timestamp, Timestamp),
    replaces: Option<&[u8]>,
) -> Result<()> {
    execute!(tx, FORGET_OLD_REFRESH, device, now)?;
    execute!(tx, INSERT_REFRESH, hash, family, tenant, device, now, expires_at, replaces)?;
    Ok(())
}

/// Marks a live token used; `None` when it is not live (any more).
pub(super) async fn use_refresh(tx: &mut Tx, hash: &[u8], now: Timestamp) -> Result<Option<RefreshRow>> {
    fetch_optional!(tx, RefreshRow, USE_REFRESH, hash, now)
}

/// A token that is not live, locked until the commit.
pub(super) async fn lock_refresh(tx: &mut Tx, hash: &[u8]) -> Result<Option<RefreshRow>> {
    fetch_optional!(tx, RefreshRow, LOCK_REFRESH, hash)
}

/// Marks the successor of a used token used as well; false when somebody has used it, or it has expired.
pub(super) async fn replace_unused(tx: &mut Tx, predecessor: &[u8], now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, REPLACE_UNUSED, predecessor, now)? > 0)
}

pub(super) async fn refresh_by_hash(tx: &mut Tx, hash: &[u8]) -> Result<Option<RefreshRow>> {
    fetch_optional!(tx, RefreshRow, REFRESH_BY_HASH, hash)
}

/// Ends every family of a device, and its tickets.
pub(super) async fn end_families(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<()> {
    execute!(tx, END_FAMILIES, device, now)?;
    execute!(tx, DROP_TICKETS, device)?;
    Ok(())
}

/// Ends the tokens of a device; a session ends with them.
pub(super) async fn log_out(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<()> {
    end_families(tx, device, now).await?;
    execute!(tx, LOG_OUT_MESSAGING, device)?;
    execute!(tx, LOG_OUT_SESSION, device, now)?;
    standing_changed(tx, device, now).await
}

/// Removes a device of this user with its keys and waiting events; false when there is no such device.
pub(super) async fn revoke_device(
    tx: &mut Tx,
    device: DeviceId,
    user: UserId,
    now: Timestamp,
) -> Result<bool> {
    if execute!(tx, REVOKE_DEVICE, device, user, now)? == 0 {
        return Ok(false);
    }
    end_families(tx, device, now).await?;
    execute!(tx, DROP_PRE_KEYS, device)?;
    execute!(tx, DROP_GIVEN_KEYS, device)?;
    execute!(tx, DROP_DEVICE_KEYS, device)?;
    execute!(tx, DROP_EVENTS, device)?;
    standing_changed(tx, device, now).await?;
    Ok(true)
}

pub(super) async fn insert_ticket(
    tx: &mut Tx,
    hash: &[u8],
    device: DeviceId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    execute!(tx, FORGET_OLD_TICKETS, now)?;
    execute!(tx, INSERT_TICKET, hash, device, expires_at)?;
    Ok(())
}

/// Takes a ticket away: of two who present it, one gets it.
pub(super) async fn take_ticket(tx: &mut Tx, hash: &[u8]) -> Result<Option<(DeviceId, Timestamp)>> {
    fetch_optional!(tx, (DeviceId, Timestamp), TAKE_TICKET, hash)
}
