//! The rows of identity resets.

use sigilo_wire::{DeviceId, IdentityResetId, InvitationId, TenantId, Timestamp, UserId};

use crate::{Result, execute, fetch_all, fetch_optional, statements, storage::Tx};

statements! {
    INSERT_RESET = "INSERT INTO identity_resets (reset_id, tenant_id, user_id, requested_by, requested_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// One at a time: what was asked before and not used is void.
    END_RESETS = "UPDATE identity_resets SET expires_at = $2
        WHERE user_id = $1 AND approved_at IS NULL AND expires_at > $2";
    RESET = "SELECT reset_id, user_id, requested_by FROM identity_resets
        WHERE reset_id = $1 AND tenant_id = $2 AND approved_at IS NULL AND expires_at > $3";
    /// Of two who approve, the second changes nothing.
    APPROVE_RESET = "UPDATE identity_resets SET approved_by = $2, approved_at = $3, invitation_id = $4
        WHERE reset_id = $1 AND approved_at IS NULL AND expires_at > $3";
    MESSAGING_DEVICES = "SELECT device_id FROM devices
        WHERE user_id = $1 AND kind = 'messaging' AND revoked_at IS NULL ORDER BY device_id";

    /// The reset that an invitation belongs to.
    RESET_OF_INVITATION = "SELECT r.reset_id FROM identity_resets r JOIN invitations i ON i.invitation_id = r.invitation_id
        WHERE i.tenant_id = $1 AND i.code_hash = $2 AND r.activated_at IS NULL";
    ACTIVATE_RESET = "UPDATE identity_resets SET activated_at = $2 WHERE reset_id = $1 AND activated_at IS NULL";
    /// Of two identity keys that come without a signature, the second finds it finished.
    FINISH_RESET = "UPDATE identity_resets SET finished_at = $2
        WHERE user_id = $1 AND activated_at IS NOT NULL AND finished_at IS NULL";
}

/// A reset that waits for its approval.
#[derive(sqlx::FromRow)]
pub(super) struct ResetRow {
    pub(super) reset_id: IdentityResetId,
    pub(super) user_id: UserId,
    pub(super) requested_by: UserId,
}

/// Writes what one person asks for; what was asked for before ends.
pub(super) async fn insert(
    tx: &mut Tx,
    reset: IdentityResetId,
    (tenant, user, by): (TenantId, UserId, UserId),
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    execute!(tx, END_RESETS, user, now)?;
    execute!(tx, INSERT_RESET, reset, tenant, user, by, now, expires_at)?;
    Ok(())
}

pub(super) async fn waiting(
    tx: &mut Tx,
    reset: IdentityResetId,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Option<ResetRow>> {
    fetch_optional!(tx, ResetRow, RESET, reset, tenant, now)
}

/// False when it is approved by now, or took too long.
pub(super) async fn approve(
    tx: &mut Tx,
    reset: IdentityResetId,
    by: UserId,
    invitation: InvitationId,
    now: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, APPROVE_RESET, reset, by, now, invitation)? == 1)
}

pub(super) async fn messaging_devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceId>> {
    let rows = fetch_all!(tx, (DeviceId,), MESSAGING_DEVICES, user)?;
    Ok(rows.into_iter().map(|(device,)| device).collect())
}

/// The approved reset that an invitation was made for.
pub(crate) async fn of_invitation(
    tx: &mut Tx,
    tenant: TenantId,
    code: &[u8],
) -> Result<Option<IdentityResetId>> {
    Ok(fetch_optional!(tx, (IdentityResetId,), RESET_OF_INVITATION, tenant, code)?.map(|(reset,)| reset))
}

/// False when it was used before.
pub(crate) async fn activate(tx: &mut Tx, reset: IdentityResetId, now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, ACTIVATE_RESET, reset, now)? == 1)
}

/// Uses up the user's right to an identity key without the old one's signature; false when there is none.
pub(crate) async fn finish(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, FINISH_RESET, user, now)? > 0)
}
