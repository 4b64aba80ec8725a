//! The rows of clinics, their keys, people and invitations.

use sigilo_seal::{KeyPurpose, RootStatement};
use sigilo_wire::{InvitationId, Role, TenantId, Timestamp, UserId, keys::SignedRootStatement};

use crate::{Error, Result, execute, fetch_all, fetch_optional, statements, storage::Tx};

statements! {
    INSERT_TENANT = "INSERT INTO tenants (tenant_id, slug, name, time_zone, hours, emergency_number, settings, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    SETTINGS = "SELECT settings FROM tenants WHERE tenant_id = $1";
    /// Every server looks at it once a second.
    NETWORKS_CHANGED = "UPDATE sequences SET value = value + 1 WHERE name = 'networks'";
    SET_SETTINGS = "UPDATE tenants SET settings = $2 WHERE tenant_id = $1";
    INSERT_SEQUENCES = "INSERT INTO tenant_sequences (tenant_id, outbox_seq, audit_seq) VALUES ($1, 0, 0)";
    INSERT_SERVER_KEY = "INSERT INTO server_keys (tenant_id, purpose, public_key, private_key, created_at)
        VALUES ($1, $2, $3, $4, $5)";
    TENANT = "SELECT tenant_id, slug, name, emergency_number, root_public_key
        FROM tenants WHERE tenant_id = $1";
    TENANT_BY_SLUG = "SELECT tenant_id, slug, name, emergency_number, root_public_key
        FROM tenants WHERE slug = $1";
    /// Locks the clinic until the commit.
    LOCK_TENANT = "UPDATE tenants SET slug = slug WHERE tenant_id = $1 RETURNING tenant_id, slug, name,
        emergency_number, root_public_key";
    SET_ROOT = "UPDATE tenants SET root_public_key = $2, keys_installed_at = $3
        WHERE tenant_id = $1 AND root_public_key IS NULL";
    HAS_SERVER_KEY = "SELECT 1 FROM server_keys WHERE tenant_id = $1 AND purpose = $2 AND public_key = $3";
    STATEMENTS = "SELECT statement, signature FROM root_statements WHERE tenant_id = $1 ORDER BY purpose, epoch";
    CERTIFIED = "SELECT statement FROM root_statements WHERE tenant_id = $1 AND purpose = $2 ORDER BY epoch DESC";
    /// With the instant at which a later epoch takes over, if one is there.
    KEY_IN_FORCE = "SELECT s.key_id, s.public_key, s.not_after, (SELECT MIN(n.not_before) FROM root_statements n
            WHERE n.tenant_id = $1 AND n.purpose = $2 AND n.epoch > s.epoch AND n.not_before > $3) AS succeeded_at
        FROM root_statements s WHERE s.tenant_id = $1 AND s.purpose = $2 AND s.not_before <= $3 AND s.not_after > $3
        ORDER BY s.epoch DESC LIMIT 1";
    INSERT_STATEMENT = "INSERT INTO root_statements (tenant_id, purpose, epoch, key_id, public_key, not_before, not_after,
        statement, signature, installed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    USER_BY_EMAIL = "SELECT user_id, role, status, full_name_enc, email_enc, locale, time_zone, created_at FROM users
        WHERE tenant_id = $1 AND email_index = $2";
    USER_BY_IDENTIFIER = "SELECT u.user_id, u.role, u.status, u.full_name_enc, u.email_enc, u.locale, u.time_zone,
        u.created_at FROM users u JOIN external_identifiers i ON i.user_id = u.user_id
        WHERE i.tenant_id = $1 AND i.system = $2 AND i.value = $3";
    USER = "SELECT user_id, role, status, full_name_enc, email_enc, locale, time_zone, created_at FROM users
        WHERE tenant_id = $1 AND user_id = $2";
    /// Locks the person until the commit.
    LOCK_USER = "UPDATE users SET status = status WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id, role, status,
        full_name_enc, email_enc, locale, time_zone, created_at";
    SET_STATUS = "UPDATE users SET status = $2 WHERE user_id = $1";
    USERS = "SELECT user_id, role, status, full_name_enc, email_enc, locale, time_zone, created_at FROM users
        WHERE tenant_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3";
    INSERT_USER = "INSERT INTO users (user_id, tenant_id, role, status, full_name_enc, email_enc, email_index, created_at)
        VALUES ($1, $2, $3, 'invited', $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    INVITE_USER = "UPDATE users SET status = 'invited', full_name_enc = COALESCE($2, full_name_enc), email_enc = $3,
        email_index = $4 WHERE user_id = $1 AND status IN ('person', 'invited')";
    END_INVITATIONS = "UPDATE invitations SET expires_at = $2
        WHERE user_id = $1 AND used_at IS NULL AND expires_at > $2";
    INSERT_INVITATION = "INSERT INTO invitations (invitation_id, tenant_id, user_id, code_hash, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    SET_NAME = "UPDATE users SET full_name_enc = $2 WHERE user_id = $1";
    SET_LOCALE = "UPDATE users SET locale = $2 WHERE user_id = $1";
    SET_TIME_ZONE = "UPDATE users SET time_zone = $2 WHERE user_id = $1";
}

/// A clinic.
#[derive(sqlx::FromRow)]
pub(super) struct TenantRow {
    pub(super) tenant_id: TenantId,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) emergency_number: String,
    pub(super) root_public_key: Option<Vec<u8>>,
}

/// A person.
#[derive(sqlx::FromRow)]
pub(super) struct UserRow {
    pub(super) user_id: UserId,
    pub(super) role: String,
    pub(super) status: String,
    pub(super) full_name_enc: Vec<u8>,
    pub(super) email_enc: Option<Vec<u8>>,
    pub(super) locale: Option<String>,
    pub(super) time_zone: Option<String>,
    pub(super) created_at: Timestamp,
}

impl UserRow {
    pub(super) fn role(&self) -> Result<Role> {
        self.role.parse().map_err(Error::internal)
    }
}

/// What a new clinic's row says.
pub(super) struct NewTenant<'a> {
    pub(super) slug: &'a str,
    pub(super) name: &'a str,
    pub(super) time_zone: &'a str,
    pub(super) hours: &'a str,
    pub(super) emergency_number: &'a str,
    pub(super) settings: &'a str,
}

/// False when the slug is taken.
pub(super) async fn insert_tenant(
    tx: &mut Tx,
    tenant: TenantId,
    new: &NewTenant<'_>,
    now: Timestamp,
) -> Result<bool> {
    let NewTenant { slug, name, time_zone, hours, emergency_number, settings } = *new;
    if execute!(tx, INSERT_TENANT, tenant, slug, name, time_zone, hours, emergency_number, settings, now)?
        == 0
    {
        return Ok(false);
    }
    execute!(tx, INSERT_SEQUENCES, tenant)?;
    Ok(true)
}

pub(super) async fn insert_server_key(
    tx: &mut Tx,
    tenant: TenantId,
    purpose: KeyPurpose,
    public: &[u8],
    private: Option<&[u8]>,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT_SERVER_KEY, tenant, purpose.as_str(), public, private, now)?;
    Ok(())
}

pub(super) async fn settings(tx: &mut Tx, tenant: TenantId) -> Result<Option<String>> {
    Ok(fetch_optional!(tx, (String,), SETTINGS, tenant)?.map(|(settings,)| settings))
}

/// Tells the servers of this database, once the transaction commits, that a clinic's networks have changed.
pub(super) async fn networks_changed(tx: &mut Tx) -> Result<()> {
    execute!(tx, NETWORKS_CHANGED)?;
    Ok(())
}

pub(super) async fn set_settings(tx: &mut Tx, tenant: TenantId, settings: &str) -> Result<()> {
    execute!(tx, SET_SETTINGS, tenant, settings)?;
    Ok(())
}

pub(super) async fn tenant(tx: &mut Tx, tenant: TenantId) -> Result<Option<TenantRow>> {
    fetch_optional!(tx, TenantRow, TENANT, tenant)
}

pub(super) async fn tenant_by_slug(tx: &mut Tx, slug: &str) -> Result<Option<TenantRow>> {
    fetch_optional!(tx, TenantRow, TENANT_BY_SLUG, slug)
}

pub(super) async fn lock_tenant(tx: &mut Tx, tenant: TenantId) -> Result<Option<TenantRow>> {
    fetch_optional!(tx, TenantRow, LOCK_TENANT, tenant)
}

pub(super) async fn set_root(tx: &mut Tx, tenant: TenantId, root: &[u8], now: Timestamp) -> Result<()> {
    execute!(tx, SET_ROOT, tenant, root, now)?;
    Ok(())
}

pub(super) async fn has_server_key(
    tx: &mut Tx,
    tenant: TenantId,
    purpose: KeyPurpose,
    public: &[u8],
) -> Result<bool> {
    Ok(fetch_optional!(tx, (i32,), HAS_SERVER_KEY, tenant, purpose.as_str(), public)?.is_some())
}

pub(super) async fn statements(tx: &mut Tx, tenant: TenantId) -> Result<Vec<SignedRootStatement>> {
    let rows = fetch_all!(tx, (Vec<u8>, Vec<u8>), STATEMENTS, tenant)?;
    rows.into_iter()
        .map(|(statement, signature)| {
            let signature = <[u8; 64]>::try_from(signature)
                .map_err(|_| Error::internal("a stored root statement's signature has the wrong length"))?;
            Ok(SignedRootStatement { statement: statement.into(), signature: signature.into() })
        })
        .collect()
}

/// The statements on a clinic's keys of a purpose, the highest epoch first.
pub(super) async fn certified(tx: &mut Tx, tenant: TenantId, purpose: KeyPurpose) -> Result<Vec<Vec<u8>>> {
    let rows = fetch_all!(tx, (Vec<u8>,), CERTIFIED, tenant, purpose.as_str())?;
    Ok(rows.into_iter().map(|(statement,)| statement).collect())
}

/// A certified key as stored.
#[derive(sqlx::FromRow)]
pub(super) struct KeyInForceRow {
    pub(super) key_id: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    pub(super) not_after: Timestamp,
    pub(super) succeeded_at: Option<Timestamp>,
}

pub(super) async fn key_in_force(
    tx: &mut Tx,
    tenant: TenantId,
    purpose: KeyPurpose,
    now: Timestamp,
) -> Result<Option<KeyInForceRow>> {
    fetch_optional!(tx, KeyInForceRow, KEY_IN_FORCE, tenant, purpose.as_str(), now)
}

pub(super) async fn insert_statement(
    tx: &mut Tx,
    statement: &RootStatement,
    signed: &SignedRootStatement,
    now: Timestamp,
) -> Result<()> {
    execute!(
        tx,
        INSERT_STATEMENT,
        statement.tenant,
        statement.purpose.as_str(),
        i64::from(statement.epoch),
        statement.key_id().0.as_slice(),
        statement.public_key.as_slice(),
        statement.not_before,
        statement.not_after,
        signed.statement.0.as_slice(),
        signed.signature.0.as_slice(),
        now
    )?;
    Ok(())
}

pub(super) async fn user_by_email(tx: &mut Tx, tenant: TenantId, index: &[u8]) -> Result<Option<UserRow>> {
    fetch_optional!(tx, UserRow, USER_BY_EMAIL, tenant, index)
}

pub(super) async fn user_by_identifier(
    tx: &mut Tx,
    tenant: TenantId,
    system: &str,
    value: &str,
) -> Result<Option<UserRow>> {
    fetch_optional!(tx, UserRow, USER_BY_IDENTIFIER, tenant, system, value)
}

pub(super) async fn user(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<UserRow>> {
    fetch_optional!(tx, UserRow, USER, tenant, user)
}

pub(super) async fn lock_user(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<UserRow>> {
    fetch_optional!(tx, UserRow, LOCK_USER, tenant, user)
}

pub(super) async fn set_status(tx: &mut Tx, user: UserId, status: &str) -> Result<()> {
    execute!(tx, SET_STATUS, user, status)?;
    Ok(())
}

/// People of a clinic after this id, in order of their ids.
pub(super) async fn users(tx: &mut Tx, tenant: TenantId, after: UserId, limit: i64) -> Result<Vec<UserRow>> {
    fetch_all!(tx, UserRow, USERS, tenant, after, limit)
}

/// The personal data of an invited person, encrypted for their places.
pub(super) struct Sealed {
    pub(super) name: Option<Vec<u8>>,
    pub(super) email: Vec<u8>,
    pub(super) email_index: Vec<u8>,
}

/// False when the e-mail address is taken.
pub(super) async fn insert_user(
    tx: &mut Tx,
    user: UserId,
    (tenant, role): (TenantId, Role),
    sealed: &Sealed,
    now: Timestamp,
) -> Result<bool> {
    let Sealed { name, email, email_index } = sealed;
    let name = name.as_deref().ok_or_else(|| Error::field("full_name", "1 to 200 characters"))?;
    let (email, index) = (email.as_slice(), email_index.as_slice());
    Ok(execute!(tx, INSERT_USER, user, tenant, role.as_str(), name, email, index, now)? == 1)
}

/// False when the person already has an account.
pub(super) async fn invite_user(tx: &mut Tx, user: UserId, sealed: &Sealed) -> Result<bool> {
    let Sealed { name, email, email_index } = sealed;
    let (email, index) = (email.as_slice(), email_index.as_slice());
    Ok(execute!(tx, INVITE_USER, user, name.as_deref(), email, index)? == 1)
}

/// Writes an invitation; those before it end.
pub(super) async fn insert_invitation(
    tx: &mut Tx,
    invitation: InvitationId,
    (tenant, user): (TenantId, UserId),
    hash: &[u8],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    execute!(tx, END_INVITATIONS, user, now)?;
    execute!(tx, INSERT_INVITATION, invitation, tenant, user, hash, now, expires_at)?;
    Ok(())
}

pub(super) async fn set_name(tx: &mut Tx, user: UserId, sealed: &[u8]) -> Result<()> {
    execute!(tx, SET_NAME, user, sealed)?;
    Ok(())
}

pub(super) async fn set_locale(tx: &mut Tx, user: UserId, locale: &str) -> Result<()> {
    execute!(tx, SET_LOCALE, user, locale)?;
    Ok(())
}

pub(super) async fn set_time_zone(tx: &mut Tx, user: UserId, zone: &str) -> Result<()> {
    execute!(tx, SET_TIME_ZONE, user, zone)?;
    Ok(())
}
