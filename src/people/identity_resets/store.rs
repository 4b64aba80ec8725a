//! The rows of identity resets.

use sigilo_wire::{DeviceId, IdentityResetId, InvitationId, TenantId, Timestamp, UserId};

use super::IDENTITY_KEY_WAIT;
use crate::{Result, execute, fetch_all, fetch_optional, statements, storage::Tx};

/// Whether a reset may still come to something at the instant of this parameter: it waits for its approval, or its
/// invitation for its use.
macro_rules! open {
    ($now:literal) => {
        concat!(
            "((approved_at IS NULL AND expires_at > ",
            $now,
            ") OR (activated_at IS NULL AND EXISTS (SELECT 1 FROM invitations i
            WHERE i.invitation_id = identity_resets.invitation_id AND i.used_at IS NULL AND i.expires_at > ",
            $now,
            ")))"
        )
    };
}

statements! {
    INSERT_RESET = "INSERT INTO identity_resets (reset_id, tenant_id, user_id, requested_by, requested_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// One at a time: what was asked for before and not used is void, also when it is approved.
    CANCEL_RESETS = concat!("UPDATE identity_resets SET expires_at = $2 WHERE user_id = $1 AND ", open!("$2"), " RETURNING reset_id");
    CANCEL_INVITATIONS = "UPDATE invitations SET expires_at = $2 WHERE used_at IS NULL AND expires_at > $2 AND invitation_id IN
        (SELECT r.invitation_id FROM identity_resets r WHERE r.user_id = $1 AND r.activated_at IS NULL)";
    OPEN_RESET = concat!("SELECT user_id FROM identity_resets WHERE reset_id = $1 AND tenant_id = $2 AND ", open!("$3"));
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
        WHERE user_id = $1 AND activated_at IS NOT NULL AND finished_at IS NULL RETURNING activated_at";
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
    cancel(tx, user, now).await?;
    execute!(tx, INSERT_RESET, reset, tenant, user, by, now, expires_at)?;
    Ok(())
}

/// Ends what is open for a user, with the invitations that are out; gives which resets those were.
pub(super) async fn cancel(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<IdentityResetId>> {
    let ended = fetch_all!(tx, (IdentityResetId,), CANCEL_RESETS, user, now)?;
    execute!(tx, CANCEL_INVITATIONS, user, now)?;
    Ok(ended.into_iter().map(|(reset,)| reset).collect())
}

/// Whose reset this is, if it may still come to something.
pub(super) async fn open(
    tx: &mut Tx,
    reset: IdentityResetId,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Option<UserId>> {
    Ok(fetch_optional!(tx, (UserId,), OPEN_RESET, reset, tenant, now)?.map(|(user,)| user))
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

/// Uses up the user's right to an identity key without the old one's signature; false when there is none, or it has
/// waited for longer than [`IDENTITY_KEY_WAIT`].
pub(crate) async fn finish(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<bool> {
    let ended = fetch_all!(tx, (Timestamp,), FINISH_RESET, user, now)?;
    Ok(ended.iter().any(|(activated_at,)| *activated_at + IDENTITY_KEY_WAIT > now))
}
