//! The rows of participants that change after a conversation's start.

use sigilo_wire::{
    ConversationId, DeviceId, TenantId, Timestamp, UserId, conversation::ConversationSettingsChange,
};

use crate::{Result, execute, execute_rows, fetch_all, fetch_list, fetch_optional, statements, storage::Tx};

statements! {
    MEMBERS = "SELECT user_id FROM participants WHERE conversation_id = $1 AND status = 'active'";
    HELD_VERSION = "SELECT facts_version FROM conversations WHERE conversation_id = $1";
    HELD_VERSION_POSTGRES = "SELECT facts_version FROM conversations WHERE conversation_id = $1 FOR SHARE";
    MOVE_ON = "UPDATE conversations SET facts_version = facts_version + 1, updated_at = $3
        WHERE conversation_id = $1 AND facts_version = $2 RETURNING last_seq";
    CONCERNS = "UPDATE conversations SET related_patient_id = $2
        WHERE conversation_id = $1 AND related_patient_id IS NULL";
    JOIN = "INSERT INTO participants (conversation_id, user_id, tenant_id, role, status, can_leave, archived,
        notifications_enabled, read_seq, joined_seq, joined_at)
        VALUES $rows(UUID, UUID, UUID, TEXT, TEXT, BOOLEAN, BOOLEAN, BOOLEAN, BIGINT, BIGINT, BIGINT)
        ON CONFLICT (conversation_id, user_id) DO UPDATE SET role = excluded.role, status = excluded.status,
        can_leave = excluded.can_leave, archived = excluded.archived, read_seq = excluded.read_seq,
        joined_seq = excluded.joined_seq, joined_at = excluded.joined_at, left_at = NULL";
    LEAVE = "UPDATE participants SET status = 'left', left_at = $3
        WHERE conversation_id = $1 AND user_id = $2 AND status = 'active'";
    /// A pair may start anew: its next direct conversation is another one.
    CLOSE = "UPDATE conversations SET status = 'closed', closed_at = $2, direct_pair = NULL WHERE conversation_id = $1";
    SETTINGS = "SELECT notifications_enabled, archived FROM participants
        WHERE conversation_id = $1 AND user_id = $2 AND status = 'active'";
    ARRANGE = "UPDATE participants SET notifications_enabled = $3, archived = $4
        WHERE conversation_id = $1 AND user_id = $2 AND status = 'active'";
    /// Who was not called in an emergency, or not yet, did not.
    TOOK_PART = "SELECT status FROM participants WHERE conversation_id = $1 AND user_id = $2
        AND status IN ('active', 'left')";
    DEVICES_OF = "SELECT device_id FROM devices WHERE kind = 'messaging' AND revoked_at IS NULL AND user_id IN ($list)";
}

/// Who takes part.
pub(in crate::conversations) async fn of(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<UserId>> {
    Ok(fetch_all!(tx, (UserId,), MEMBERS, conversation)?.into_iter().map(|(id,)| id).collect())
}

/// The version of a conversation's facts, which nobody moves on before the commit.
pub(in crate::conversations) async fn held_version(
    tx: &mut Tx,
    conversation: ConversationId,
) -> Result<Option<i64>> {
    let statement = match tx {
        // It has one writer.
        Tx::Sqlite(_) => HELD_VERSION,
        Tx::Postgres(_) => HELD_VERSION_POSTGRES,
    };
    Ok(fetch_optional!(tx, (i64,), statement, conversation)?.map(|(version,)| version))
}

/// Makes every grant on the conversation stale and holds it until the commit; gives its last message's number.
/// `None` when its facts are of another version than this one.
pub(in crate::conversations) async fn move_on(
    tx: &mut Tx,
    conversation: ConversationId,
    version: i64,
    now: Timestamp,
) -> Result<Option<i64>> {
    Ok(fetch_optional!(tx, (i64,), MOVE_ON, conversation, version, now)?.map(|(seq,)| seq))
}

/// The conversation concerns this patient, unless it concerns one already.
pub(in crate::conversations) async fn concerns(
    tx: &mut Tx,
    conversation: ConversationId,
    patient: UserId,
) -> Result<()> {
    execute!(tx, CONCERNS, conversation, patient)?;
    Ok(())
}

/// These people, with their roles in the conversation, take part in what comes after message `last_seq`.
pub(in crate::conversations) async fn join(
    tx: &mut Tx,
    conversation: ConversationId,
    tenant: TenantId,
    people: &[(UserId, &'static str)],
    last_seq: i64,
    now: Timestamp,
) -> Result<()> {
    execute_rows!(tx, JOIN, people, (user, role) => [
        conversation, *user, tenant, *role, "active", true, false, true, last_seq, last_seq, now,
    ])?;
    Ok(())
}

/// `false` when this person does not take part.
pub(in crate::conversations) async fn leave(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
    now: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, LEAVE, conversation, user, now)? == 1)
}

/// Whether this person takes part, or did.
pub(in crate::conversations) async fn took_part(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
) -> Result<bool> {
    Ok(fetch_optional!(tx, (String,), TOOK_PART, conversation, user)?.is_some())
}

/// The messaging devices of these people.
pub(in crate::conversations) async fn devices_of(tx: &mut Tx, users: &[UserId]) -> Result<Vec<DeviceId>> {
    Ok(fetch_list!(tx, (DeviceId,), DEVICES_OF, [], users)?.into_iter().map(|(id,)| id).collect())
}

/// Nothing and nobody new from now on.
pub(in crate::conversations) async fn close(
    tx: &mut Tx,
    conversation: ConversationId,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, CLOSE, conversation, now)?;
    Ok(())
}

/// Changes a participant's own settings.
pub(in crate::conversations) async fn arrange(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
    change: &ConversationSettingsChange,
) -> Result<()> {
    let Some((notifications, archived)) = fetch_optional!(tx, (bool, bool), SETTINGS, conversation, user)?
    else {
        return Ok(());
    };
    let notifications = change.notifications_enabled.unwrap_or(notifications);
    execute!(tx, ARRANGE, conversation, user, notifications, change.archived.unwrap_or(archived))?;
    Ok(())
}
