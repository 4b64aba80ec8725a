//! The rows of bindings, and of logins on their way.

use sigilo_wire::{TenantId, Timestamp, UserId};

use crate::{Result, execute, fetch_optional, statements, storage::Tx};

statements! {
    INSERT_LOGIN = "INSERT INTO oidc_logins (state_hash, tenant_id, provider, browser_hash, nonce, verifier_enc, challenge,
        return_to, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// Of two who bring one state back, one gets the row.
    TAKE_LOGIN = "DELETE FROM oidc_logins WHERE state_hash = $1
        RETURNING tenant_id, provider, browser_hash, nonce, verifier_enc, challenge, return_to, expires_at";
    FORGET_LOGINS = "DELETE FROM oidc_logins WHERE expires_at < $1";
    INSERT_CODE = "INSERT INTO oidc_codes (code_hash, tenant_id, provider, user_id, issuer, subject_index, challenge,
        expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    CODE = "SELECT tenant_id, provider, user_id, issuer, subject_index, challenge, expires_at FROM oidc_codes
        WHERE code_hash = $1";
    /// Of two who trade one code, the second finds it gone; and one is good while its subject is bound to its account.
    USE_CODE = "DELETE FROM oidc_codes WHERE code_hash = $1 AND expires_at > $2 AND EXISTS (
        SELECT 1 FROM oidc_bindings b WHERE b.tenant_id = oidc_codes.tenant_id AND b.issuer = oidc_codes.issuer
            AND b.subject_index = oidc_codes.subject_index AND b.user_id = oidc_codes.user_id)";
    FORGET_CODES = "DELETE FROM oidc_codes WHERE expires_at < $1";
    NOT_VERIFIED = "UPDATE devices SET verified_at = NULL WHERE device_id = $1";
    BIND = "INSERT INTO oidc_bindings (tenant_id, issuer, subject_index, user_id, created_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    UNBIND = "DELETE FROM oidc_bindings WHERE tenant_id = $1 AND issuer = $2 AND user_id = $3";
    BOUND_USER = "SELECT user_id FROM oidc_bindings WHERE tenant_id = $1 AND issuer = $2 AND subject_index = $3";
}

#[derive(sqlx::FromRow)]
pub(super) struct LoginRow {
    pub(super) tenant_id: TenantId,
    pub(super) provider: String,
    pub(super) browser_hash: Vec<u8>,
    pub(super) nonce: String,
    pub(super) verifier_enc: Vec<u8>,
    pub(super) challenge: String,
    pub(super) return_to: String,
    pub(super) expires_at: Timestamp,
}

#[derive(sqlx::FromRow)]
pub(super) struct CodeRow {
    pub(super) tenant_id: TenantId,
    pub(super) provider: String,
    pub(super) user_id: UserId,
    pub(super) issuer: String,
    pub(super) subject_index: Vec<u8>,
    pub(super) challenge: String,
    pub(super) expires_at: Timestamp,
}

pub(super) async fn insert_login(tx: &mut Tx, state: &[u8], row: &LoginRow, now: Timestamp) -> Result<()> {
    execute!(tx, FORGET_LOGINS, now)?;
    execute!(
        tx,
        INSERT_LOGIN,
        state,
        row.tenant_id,
        row.provider.as_str(),
        row.browser_hash.as_slice(),
        row.nonce.as_str(),
        row.verifier_enc.as_slice(),
        row.challenge.as_str(),
        row.return_to.as_str(),
        row.expires_at,
    )?;
    Ok(())
}

pub(super) async fn take_login(tx: &mut Tx, state: &[u8]) -> Result<Option<LoginRow>> {
    fetch_optional!(tx, LoginRow, TAKE_LOGIN, state)
}

pub(super) async fn insert_code(tx: &mut Tx, hash: &[u8], row: &CodeRow, now: Timestamp) -> Result<()> {
    execute!(tx, FORGET_CODES, now)?;
    execute!(
        tx,
        INSERT_CODE,
        hash,
        row.tenant_id,
        row.provider.as_str(),
        row.user_id,
        row.issuer.as_str(),
        row.subject_index.as_slice(),
        row.challenge.as_str(),
        row.expires_at,
    )?;
    Ok(())
}

pub(super) async fn code(tx: &mut Tx, hash: &[u8]) -> Result<Option<CodeRow>> {
    fetch_optional!(tx, CodeRow, CODE, hash)
}

/// `false` when it was used, has expired, or its subject is bound no longer.
pub(in crate::auth) async fn use_code(tx: &mut Tx, hash: &[u8], now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, USE_CODE, hash, now)? == 1)
}

/// Takes the proof of the last minutes from a device whose person has shown neither password nor code.
pub(in crate::auth) async fn not_verified(tx: &mut Tx, device: sigilo_wire::DeviceId) -> Result<()> {
    execute!(tx, NOT_VERIFIED, device)?;
    Ok(())
}

/// `false` when the subject, or the user at this issuer, is bound.
pub(super) async fn bind(
    tx: &mut Tx,
    (tenant, user): (TenantId, UserId),
    issuer: &str,
    index: &[u8],
    now: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, BIND, tenant, issuer, index, user, now)? == 1)
}

/// `false` when there was none.
pub(super) async fn unbind(tx: &mut Tx, (tenant, user): (TenantId, UserId), issuer: &str) -> Result<bool> {
    Ok(execute!(tx, UNBIND, tenant, issuer, user)? == 1)
}

pub(super) async fn bound_user(
    tx: &mut Tx,
    tenant: TenantId,
    issuer: &str,
    index: &[u8],
) -> Result<Option<UserId>> {
    Ok(fetch_optional!(tx, (UserId,), BOUND_USER, tenant, issuer, index)?.map(|(user,)| user))
}
