//! The rows of devices' queues and of the history.

use sigilo_wire::{
    ClientMessageId, ConversationId, DataKeyId, DeviceId, DeviceNumber, MessageId, SealId, TenantId,
    Timestamp, UserId,
};
use uuid::Uuid;

use super::ReceiptRow;
use crate::{
    Error, Result, execute, fetch_all, fetch_list, fetch_optional, fetch_rows, paging::Window, statements,
    storage::Tx,
};

statements! {
    /// The sum in LIMIT is for SQLite, which plans a query anew for each value bound to a bare LIMIT.
    EVENTS = concat!("SELECT e.event_seq, e.type, e.conversation_id AS about, e.sender_id AS caused_by, e.created_at,
        e.data, e.envelope_type, e.envelope, ", message_columns!(), "
        FROM device_events e LEFT JOIN messages m ON m.message_id = e.message_id
        LEFT JOIN users u ON u.user_id = m.sender_id
        WHERE e.device_id = $1 AND e.event_seq > $2 AND ", unexpired!("$4"), " ORDER BY e.event_seq LIMIT $3 + 0");
    EVENTS_OF_CONVERSATION = concat!("SELECT e.event_seq, e.type, e.conversation_id AS about, e.sender_id AS caused_by,
        e.created_at, e.data, e.envelope_type, e.envelope, ", message_columns!(), "
        FROM device_events e LEFT JOIN messages m ON m.message_id = e.message_id
        LEFT JOIN users u ON u.user_id = m.sender_id
        WHERE e.device_id = $1 AND e.event_seq > $2 AND e.conversation_id = $5 AND ", unexpired!("$4"), "
        ORDER BY e.event_seq LIMIT $3 + 0");
    HAS_EXPIRED_EVENTS = "SELECT 1 FROM device_events e JOIN messages m ON m.message_id = e.message_id
        WHERE e.device_id = $1 AND m.expires_at <= $2 LIMIT 1";
    DROP_EXPIRED_EVENTS = "DELETE FROM device_events WHERE device_id = $1 AND EXISTS
        (SELECT 1 FROM messages m WHERE m.message_id = device_events.message_id AND m.expires_at <= $2)";
    /// The inner SELECT is for SQLite, which would look through the whole table for bare values.
    DELETE_EVENTS = "DELETE FROM device_events WHERE (device_id, event_seq) IN
        (SELECT v.column1, v.column2 FROM (VALUES $rows(UUID, BIGINT)) AS v)
        RETURNING device_id, conversation_id, sender_id, message_id";
    MESSAGING_DEVICES = "SELECT user_id, device_id FROM devices
        WHERE user_id IN ($list) AND kind = 'messaging' AND in_manifest AND revoked_at IS NULL";
    DELIVERIES = "SELECT message_id, user_id, delivered_at FROM deliveries WHERE message_id IN ($list)";
    INSERT_DELIVERIES = "INSERT INTO deliveries (message_id, user_id, delivered_at) VALUES $rows(UUID, UUID, BIGINT)
        ON CONFLICT DO NOTHING RETURNING message_id, user_id";

    MESSAGE = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.message_id = $1");
    NEWEST = concat!("SELECT ", message_columns!(), " FROM conversations c
        JOIN participants p ON p.conversation_id = c.conversation_id AND p.user_id = $1
        JOIN messages m ON m.message_id = (SELECT m.message_id FROM messages m
            WHERE m.conversation_id = c.conversation_id AND m.conversation_seq > p.joined_seq
            AND ", unexpired!("$2"), " AND ", undeleted!(), " ORDER BY m.conversation_seq DESC LIMIT 1)
        JOIN users u ON u.user_id = m.sender_id WHERE c.conversation_id IN ($list)");
    MESSAGES_DOWN = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.conversation_seq < $2 AND ", wanted!(), " ORDER BY m.conversation_seq DESC LIMIT $8 OFFSET $13");
    MESSAGES_UP = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.conversation_seq > $2 AND ", wanted!(), " ORDER BY m.conversation_seq LIMIT $8 OFFSET $13");
    /// The edits and deletions of messages. Only their author's are ever accepted.
    REVISIONS = "SELECT m.conversation_id, m.target_commitment, m.kind, m.message_id, m.commitment, m.received_at,
        m.expires_at FROM (VALUES $rows(UUID, BYTEA)) AS v
        JOIN messages m ON m.conversation_id = v.column1 AND m.target_commitment = v.column2
        WHERE m.kind IN ('edit', 'delete') ORDER BY m.conversation_seq";
    /// Sorts ids, not whole messages.
    SEARCH = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.message_id IN (SELECT m.message_id FROM participants p
            JOIN messages m ON m.conversation_id = p.conversation_id
            WHERE p.user_id = $1 AND p.tenant_id = $2 AND p.status = 'active' AND m.conversation_seq > p.joined_seq
            AND (m.received_at < $3 OR (m.received_at = $3 AND m.message_id < $4))
            AND m.received_at >= $5 AND m.received_at < $6
            AND ($7 = '' OR m.kind = $7) AND ($8 = '' OR m.priority = $8)
            AND ($10 = '' OR ($10 = 'true') = (m.attachments <> '[]'))
            AND ($15 = '' OR m.sender_id = $16)
            AND ($17 = '' OR m.attachments LIKE $17)
            AND ($11 = '' OR EXISTS (SELECT 1 FROM participants q WHERE q.conversation_id = p.conversation_id
                AND q.user_id = $12 AND q.status = 'active'))
            AND ", unexpired!("$9"), " AND ", undeleted!(), "
            ORDER BY m.received_at DESC, m.message_id DESC LIMIT $13 OFFSET $14)
        ORDER BY m.received_at DESC, m.message_id DESC");
    /// The oldest event of each device's queue, device by device.
    HEADS_OF_QUEUES = "SELECT d.device_id, (SELECT e.created_at FROM device_events e WHERE e.device_id = d.device_id
        ORDER BY e.event_seq LIMIT 1) FROM devices d WHERE d.device_id > $1 ORDER BY d.device_id LIMIT 256";
    TRUNCATE = "DELETE FROM device_events WHERE device_id = $1 AND created_at < $2";
    JOINED_SEQ = "SELECT joined_seq FROM participants WHERE conversation_id = $1 AND user_id = $2";
    RECIPIENTS = "SELECT conversation_id, user_id, joined_seq FROM participants WHERE status = 'active' AND conversation_id IN ($list)";
}

/// A stored message joined with its sender.
#[derive(sqlx::FromRow)]
pub(in crate::relay) struct StoredMessage {
    pub message_id: MessageId,
    pub tenant_id: TenantId,
    pub conversation_id: ConversationId,
    pub conversation_seq: i64,
    pub client_message_id: ClientMessageId,
    pub sender_id: UserId,
    pub device_number: DeviceNumber,
    pub kind: String,
    pub priority: String,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    pub device_seq: i64,
    pub prev_commitment: Option<Vec<u8>>,
    pub seen_commitment: Option<Vec<u8>>,
    pub target_commitment: Option<Vec<u8>>,
    pub reply_to_commitment: Option<Vec<u8>>,
    pub commitment: Vec<u8>,
    pub signature: Vec<u8>,
    pub seal_id: SealId,
    pub urgent: bool,
    pub deliver: String,
    pub expires_in_s: i64,
    pub expires_at: Option<Timestamp>,
    pub source: Option<String>,
    pub is_automated: bool,
    pub data_key_id: DataKeyId,
    pub body: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub attachments: String,
    #[sqlx(flatten)]
    pub receipt: ReceiptRow,
    pub full_name_enc: Vec<u8>,
    pub role: String,
}

/// An event of a device's queue, with its message if it has one.
pub(in crate::relay) struct EventRow {
    pub event_seq: i64,
    pub r#type: String,
    pub about: Option<ConversationId>,
    pub caused_by: Option<UserId>,
    pub created_at: Timestamp,
    pub data: Option<String>,
    pub envelope_type: Option<i64>,
    pub envelope: Option<Vec<u8>>,
    pub message: Option<StoredMessage>,
}

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for EventRow
where
    &'static str: sqlx::ColumnIndex<R>,
    StoredMessage: sqlx::FromRow<'r, R>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Timestamp: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    ConversationId: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    UserId: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    MessageId: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let message: Option<MessageId> = row.try_get("message_id")?;
        Ok(Self {
            event_seq: row.try_get("event_seq")?,
            r#type: row.try_get("type")?,
            about: row.try_get("about")?,
            caused_by: row.try_get("caused_by")?,
            created_at: row.try_get("created_at")?,
            data: row.try_get("data")?,
            envelope_type: row.try_get("envelope_type")?,
            envelope: row.try_get("envelope")?,
            message: message.map(|_| StoredMessage::from_row(row)).transpose()?,
        })
    }
}

/// Events of a queue, but for messages that have expired.
pub(in crate::relay) async fn events(
    tx: &mut Tx,
    device: DeviceId,
    conversation: Option<ConversationId>,
    after: i64,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<EventRow>> {
    match conversation {
        None => fetch_all!(tx, EventRow, EVENTS, device, after, limit, now),
        Some(id) => fetch_all!(tx, EventRow, EVENTS_OF_CONVERSATION, device, after, limit, now, id),
    }
}

/// Whether a queue holds messages that have expired.
pub(in crate::relay) async fn has_expired_events(
    tx: &mut Tx,
    device: DeviceId,
    now: Timestamp,
) -> Result<bool> {
    // PostgreSQL's 1 is an INT4.
    Ok(fetch_optional!(tx, (i32,), HAS_EXPIRED_EVENTS, device, now)?.is_some())
}

/// Takes messages that have expired off a queue, with their envelopes.
pub(in crate::relay) async fn drop_expired_events(
    tx: &mut Tx,
    device: DeviceId,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, DROP_EXPIRED_EVENTS, device, now).map(|_| ())
}

/// An event that was acknowledged.
#[derive(sqlx::FromRow)]
pub(in crate::relay) struct AcknowledgedRow {
    pub device_id: DeviceId,
    pub conversation_id: Option<ConversationId>,
    pub sender_id: Option<UserId>,
    pub message_id: Option<MessageId>,
}

/// Deletes acknowledged events (a device and a place in its queue) and gives those that were there.
pub(in crate::relay) async fn delete_events(
    tx: &mut Tx,
    events: &[(DeviceId, i64)],
) -> Result<Vec<AcknowledgedRow>> {
    fetch_rows!(tx, AcknowledgedRow, DELETE_EVENTS, events, (device, seq) => [*device, *seq])
}

/// The messaging devices of these people.
pub(crate) async fn messaging_devices(tx: &mut Tx, users: &[UserId]) -> Result<Vec<(UserId, DeviceId)>> {
    fetch_list!(tx, (UserId, DeviceId), MESSAGING_DEVICES, [], users)
}

pub(in crate::relay) async fn deliveries(
    tx: &mut Tx,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, UserId, Timestamp)>> {
    fetch_list!(tx, (MessageId, UserId, Timestamp), DELIVERIES, [], messages)
}

/// Notes deliveries; gives those that are the first of their person.
pub(in crate::relay) async fn insert_deliveries(
    tx: &mut Tx,
    rows: &[(MessageId, UserId)],
    now: Timestamp,
) -> Result<Vec<(MessageId, UserId)>> {
    fetch_rows!(tx, (MessageId, UserId), INSERT_DELIVERIES, rows, (message, user) => [*message, *user, now])
}

/// The last message before this person joined: what they read begins after it.
pub(in crate::relay) async fn joined_seq(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
) -> Result<i64> {
    Ok(fetch_optional!(tx, (i64,), JOINED_SEQ, conversation, user)?.ok_or(Error::NotFound)?.0)
}

/// The newest message of each conversation that this person, who takes part, is to see.
pub(in crate::relay) async fn newest(
    tx: &mut Tx,
    reader: UserId,
    conversations: &[ConversationId],
    now: Timestamp,
) -> Result<Vec<StoredMessage>> {
    fetch_list!(tx, StoredMessage, NEWEST, [reader, now], conversations)
}

pub(in crate::relay) async fn message(tx: &mut Tx, id: MessageId) -> Result<Option<StoredMessage>> {
    fetch_optional!(tx, StoredMessage, MESSAGE, id)
}

/// A page of a conversation's messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::relay) struct Page<'a> {
    pub conversation: ConversationId,
    /// Exclusive: what is before is not the reader's.
    pub joined_seq: i64,
    /// Exclusive; `None` from the beginning.
    pub cursor: Option<i64>,
    pub newest_first: bool,
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    pub kind: Option<&'a str>,
    pub sender: Option<UserId>,
    pub include_deleted: bool,
    pub has_attachments: Option<bool>,
    /// What has expired by then is left out.
    pub now: Timestamp,
    pub window: Window,
}

pub(in crate::relay) async fn page(tx: &mut Tx, page: &Page<'_>) -> Result<Vec<StoredMessage>> {
    let after = page.after.unwrap_or(Timestamp::from_micros(i64::MIN));
    let before = page.before.unwrap_or(Timestamp::from_micros(i64::MAX));
    let kind = page.kind.unwrap_or("");
    let by_sender = if page.sender.is_some() { "yes" } else { "" };
    let sender = page.sender.unwrap_or_else(|| UserId::from_bytes([0; 16]));
    let attachments = page.has_attachments.map_or("", |has| if has { "true" } else { "false" });
    let (sql, start) = if page.newest_first { (MESSAGES_DOWN, i64::MAX) } else { (MESSAGES_UP, 0) };
    let cursor = page.cursor.unwrap_or(start);
    fetch_all!(
        tx,
        StoredMessage,
        sql,
        page.conversation,
        cursor,
        after,
        before,
        kind,
        by_sender,
        sender,
        page.window.limit,
        page.joined_seq,
        page.now,
        if page.include_deleted { "true" } else { "" },
        attachments,
        page.window.offset,
    )
}

/// What is searched for among a person's messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::relay) struct SearchQuery {
    pub user: UserId,
    pub tenant: TenantId,
    /// Where the last page ended, exclusive.
    pub before: (Timestamp, Uuid),
    pub from: Timestamp,
    pub to: Timestamp,
    pub kind: &'static str,
    pub priority: &'static str,
    pub has_attachments: Option<bool>,
    /// A document type; empty for any.
    pub file_type: &'static str,
    pub with_user: Option<UserId>,
    pub now: Timestamp,
    pub sender: Option<UserId>,
    pub window: Window,
}

pub(in crate::relay) async fn search(tx: &mut Tx, query: &SearchQuery) -> Result<Vec<StoredMessage>> {
    let attachments = query.has_attachments.map_or("", |has| if has { "true" } else { "false" });
    let with = if query.with_user.is_some() { "yes" } else { "" };
    let (at, id) = query.before;
    // What the column holds of a file ends with its type.
    let file_type = match query.file_type {
        "" => String::new(),
        r#type => format!("%\"{type}\"%"),
    };
    fetch_all!(
        tx,
        StoredMessage,
        SEARCH,
        query.user,
        query.tenant,
        at,
        id,
        query.from,
        query.to,
        query.kind,
        query.priority,
        query.now,
        attachments,
        with,
        query.with_user.unwrap_or(query.user),
        query.window.limit,
        query.window.offset,
        if query.sender.is_some() { "yes" } else { "" },
        query.sender.unwrap_or(query.user),
        file_type.as_str(),
    )
}

/// An edit or a deletion of a message.
#[derive(sqlx::FromRow)]
pub(in crate::relay) struct RevisionRow {
    pub conversation_id: ConversationId,
    pub target_commitment: Vec<u8>,
    pub kind: String,
    pub message_id: MessageId,
    pub commitment: Vec<u8>,
    pub received_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// The edits and deletions of messages, each named by conversation and commitment; those of one message in order.
pub(in crate::relay) async fn revisions(
    tx: &mut Tx,
    targets: &[(ConversationId, Vec<u8>)],
) -> Result<Vec<RevisionRow>> {
    fetch_rows!(tx, RevisionRow, REVISIONS, targets, (conversation, commitment) => [
        *conversation, commitment.as_slice(),
    ])
}

/// Who takes part in these conversations, and after which message each of them joined.
pub(in crate::relay) async fn recipients(
    tx: &mut Tx,
    conversations: &[ConversationId],
) -> Result<Vec<(ConversationId, UserId, i64)>> {
    fetch_list!(tx, (ConversationId, UserId, i64), RECIPIENTS, [], conversations)
}

/// The devices after this one, at most 256, each with the age of its queue.
pub(in crate::relay) async fn heads_of_queues(
    tx: &mut Tx,
    after: DeviceId,
) -> Result<Vec<(DeviceId, Option<Timestamp>)>> {
    fetch_all!(tx, (DeviceId, Option<Timestamp>), HEADS_OF_QUEUES, after)
}

/// Takes everything off a device's queue that is older than an instant; tells whether there was anything.
pub(in crate::relay) async fn truncate_queue(
    tx: &mut Tx,
    device: DeviceId,
    before: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, TRUNCATE, device, before)? > 0)
}
