//! The rows of held messages.

use std::collections::HashSet;

use sigilo_wire::{
    ClientMessageId, ConversationId, DataKeyId, DeviceId, DeviceNumber, MessageId, TenantId, Timestamp,
    UserId,
};

use super::super::plan::Chain;
use crate::{
    Error, Result, add_rows, execute, fetch_all, fetch_list, fetch_one, fetch_optional,
    relay::store::array,
    statements,
    storage::{Tx, script::Script},
};

macro_rules! columns {
    () => {
        "h.message_id, h.tenant_id, h.conversation_id, h.sender_id, h.device_id, h.device_number, h.client_message_id,
         h.device_seq, h.commitment, h.signature, h.data_key_id, h.held_at, h.release_at, u.role"
    };
}

statements! {
    INSERT = "INSERT INTO held_messages (message_id, tenant_id, conversation_id, sender_id, device_id, device_number,
        client_message_id, device_seq, commitment, signature, data_key_id, request, held_at, release_at, look_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
    OF_DEVICE = concat!("SELECT ", columns!(), " FROM held_messages h JOIN users u ON u.user_id = h.sender_id
        WHERE h.conversation_id = $1 AND h.device_id = $2 ORDER BY h.device_seq");
    OF_CONVERSATION = concat!("SELECT ", columns!(), " FROM held_messages h JOIN users u ON u.user_id = h.sender_id
        WHERE h.conversation_id = $1 ORDER BY h.held_at, h.message_id");
    BY_ID = concat!("SELECT ", columns!(), " FROM held_messages h JOIN users u ON u.user_id = h.sender_id
        WHERE h.message_id = $1 AND h.tenant_id = $2");
    REQUEST = "SELECT request FROM held_messages WHERE message_id = $1";
    STILL = "SELECT message_id FROM held_messages WHERE message_id IN ($list)";
    /// Whoever waits longest is first.
    DUE = "SELECT tenant_id, conversation_id FROM held_messages WHERE look_at <= $1
        GROUP BY tenant_id, conversation_id ORDER BY MIN(look_at), conversation_id LIMIT $2";
    BYTES_OF_DEVICE = "SELECT CAST(COALESCE(SUM(LENGTH(request)), 0) AS BIGINT) FROM held_messages WHERE device_id = $1";
    DELAY = "UPDATE held_messages SET release_at = $2, look_at = $3 WHERE conversation_id = $1";
    POSTPONE = "UPDATE held_messages SET look_at = $2 WHERE conversation_id = $1";
    LOOK_AGAIN = "UPDATE held_messages SET look_at = $2 WHERE tenant_id = $1 AND look_at > $2";
    REMOVE = "DELETE FROM held_messages WHERE message_id = $1";
    /// Those that a batch has stored.
    RELEASED = "DELETE FROM held_messages WHERE message_id IN (SELECT v.column1 FROM (VALUES $rows(UUID)) AS v)";
    /// SQLite's transaction holds the whole database already.
    LOCK_SQLITE = "SELECT facts_version FROM conversations WHERE conversation_id = $1";
    LOCK_POSTGRES = "SELECT facts_version FROM conversations WHERE conversation_id = $1 FOR UPDATE";
}

/// A held message without what it says.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct HeldRow {
    pub(super) message_id: MessageId,
    pub(super) tenant_id: TenantId,
    pub(super) conversation_id: ConversationId,
    pub(super) sender_id: UserId,
    pub(super) device_id: DeviceId,
    pub(super) device_number: DeviceNumber,
    pub(super) client_message_id: ClientMessageId,
    pub(super) device_seq: i64,
    pub(super) commitment: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) data_key_id: DataKeyId,
    pub(super) held_at: Timestamp,
    pub(super) release_at: Timestamp,
    pub(super) role: String,
}

impl HeldRow {
    /// What the next message of its device continues.
    pub(super) fn chain(&self) -> Result<Chain> {
        Ok(Chain { device_seq: self.device_seq, commitment: Some(array::<32>(&self.commitment)?.0) })
    }
}

/// `false` when its name, number or commitment is taken.
pub(super) async fn insert(tx: &mut Tx, row: &HeldRow, request: &[u8], look_at: Timestamp) -> Result<bool> {
    let touched = execute!(
        tx,
        INSERT,
        row.message_id,
        row.tenant_id,
        row.conversation_id,
        row.sender_id,
        row.device_id,
        row.device_number,
        row.client_message_id,
        row.device_seq,
        row.commitment.as_slice(),
        row.signature.as_slice(),
        row.data_key_id,
        request,
        row.held_at,
        row.release_at,
        look_at,
    )?;
    Ok(touched == 1)
}

/// What a device has waiting in a conversation, in order.
pub(super) async fn of_device(
    tx: &mut Tx,
    conversation: ConversationId,
    device: DeviceId,
) -> Result<Vec<HeldRow>> {
    fetch_all!(tx, HeldRow, OF_DEVICE, conversation, device)
}

/// What waits in a conversation, in the order in which it came.
pub(super) async fn of_conversation(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<HeldRow>> {
    fetch_all!(tx, HeldRow, OF_CONVERSATION, conversation)
}

pub(super) async fn by_id(tx: &mut Tx, tenant: TenantId, id: MessageId) -> Result<Option<HeldRow>> {
    fetch_optional!(tx, HeldRow, BY_ID, id, tenant)
}

/// The send itself, under its data key; `None` when it is gone.
pub(super) async fn request(tx: &mut Tx, id: MessageId) -> Result<Option<Vec<u8>>> {
    Ok(fetch_optional!(tx, (Vec<u8>,), REQUEST, id)?.map(|(request,)| request))
}

/// Those of these that are held.
pub(super) async fn still_there(tx: &mut Tx, ids: &[MessageId]) -> Result<HashSet<MessageId>> {
    Ok(fetch_list!(tx, (MessageId,), STILL, [], ids)?.into_iter().map(|(id,)| id).collect())
}

/// Conversations whose time to be looked at has come.
pub(super) async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<(TenantId, ConversationId)>> {
    fetch_all!(tx, (TenantId, ConversationId), DUE, now, limit)
}

/// The conversation opens at another time.
pub(super) async fn delay(
    tx: &mut Tx,
    conversation: ConversationId,
    release_at: Timestamp,
    look_at: Timestamp,
) -> Result<()> {
    execute!(tx, DELAY, conversation, release_at, look_at)?;
    Ok(())
}

/// Has the held messages of a conversation looked at later: one of them cannot be released now.
pub(super) async fn postpone(tx: &mut Tx, conversation: ConversationId, look_at: Timestamp) -> Result<()> {
    execute!(tx, POSTPONE, conversation, look_at)?;
    Ok(())
}

/// How many bytes the held messages of a device take in all its conversations.
pub(super) async fn bytes_of_device(tx: &mut Tx, device: DeviceId) -> Result<usize> {
    let (bytes,) = fetch_one!(tx, (i64,), BYTES_OF_DEVICE, device)?;
    usize::try_from(bytes).map_err(Error::internal)
}

/// Has the held messages of a clinic looked at now: its hours have changed. Call it in the transaction that changes them.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn look_again(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<()> {
    execute!(tx, LOOK_AGAIN, tenant, now)?;
    Ok(())
}

/// `false` when it was gone.
pub(super) async fn remove(tx: &mut Tx, id: MessageId) -> Result<bool> {
    Ok(execute!(tx, REMOVE, id)? == 1)
}

/// Adds the removal of what a batch has stored.
pub(in crate::relay) fn released(script: &mut Script, ids: &[MessageId]) -> Result<()> {
    add_rows!(script, RELEASED, ids, id => [*id]);
    Ok(())
}

/// Holds a conversation until the commit; gives the version of its facts.
pub(super) async fn lock(tx: &mut Tx, conversation: ConversationId) -> Result<i64> {
    let sql = match tx {
        Tx::Sqlite(_) => LOCK_SQLITE,
        Tx::Postgres(_) => LOCK_POSTGRES,
    };
    fetch_optional!(tx, (i64,), sql, conversation)?.map(|(version,)| version).ok_or(Error::NotFound)
}
