//! The rows of conversations' messages and of devices' queues.

use std::{collections::HashMap, sync::Arc};

use sigilo_wire::{
    Base64Array, ClientMessageId, ConversationId, DataKeyId, DeviceId, DeviceNumber, MessageId, SealId,
    TenantId, Timestamp, UserId,
    message::{Accepted, Receipt},
};

use uuid::Uuid;

use super::{
    memory::Memory,
    plan::{self, Chain, Locked, SealState, State, Stored, StoredNames, Target},
    render,
    submit::Submission,
};
use crate::{
    Error, Result, add_rows, execute, fetch_all, fetch_list, fetch_optional, fetch_rows, statements,
    storage::{Tx, script::Script},
};

/// What a stored message and its sender look like to a reader.
macro_rules! message_columns {
    () => {
        "m.message_id, m.tenant_id, m.conversation_id, m.conversation_seq, m.client_message_id, m.sender_id,
         m.device_number, m.kind, m.priority, m.sent_at, m.received_at, m.device_seq, m.prev_commitment,
         m.seen_commitment, m.target_commitment, m.reply_to_commitment, m.commitment, m.signature, m.seal_id,
         m.urgent, m.deliver, m.expires_in_s, m.expires_at, m.source, m.is_automated, m.data_key_id, m.body,
         m.wrapped_key, m.audit_leaf, m.policies, m.policy_set, m.receipt_key_id, m.receipt_signature,
         u.full_name_enc, u.role"
    };
}

/// That a message `m` is still to be seen by participants, at the instant the argument names. The record keeps it.
macro_rules! unexpired {
    ($now:literal) => {
        concat!("(m.expires_at IS NULL OR m.expires_at > ", $now, ")")
    };
}
pub(crate) use unexpired;

/// That a message `m` was not deleted by its author.
macro_rules! undeleted {
    () => {
        "NOT EXISTS (SELECT 1 FROM messages d WHERE d.conversation_id = m.conversation_id
             AND d.target_commitment = m.commitment AND d.kind = 'delete')"
    };
}
pub(crate) use undeleted;

/// What a page of messages is asked for, but for its place.
macro_rules! wanted {
    () => {
        concat!(
            "m.conversation_id = $1 AND m.conversation_seq > $9 AND m.received_at > $3 AND m.received_at < $4
             AND ($5 = '' OR m.kind = $5) AND ($6 = '' OR m.sender_id = $7)
             AND ($12 = '' OR ($12 = 'true') = (m.attachments <> '[]')) AND ",
            unexpired!("$10"),
            " AND ($11 = 'true' OR ",
            undeleted!(),
            ")"
        )
    };
}

statements! {
    RECEIPT_KEY = "SELECT private_key FROM server_keys
        WHERE tenant_id = $1 AND purpose = 'receipt' AND public_key = $2 AND private_key IS NOT NULL";
    /// SQLite's transaction holds the whole database already.
    LOCK_CONVERSATIONS_SQLITE = "SELECT conversation_id, tenant_id, last_seq, facts_version FROM conversations
        WHERE conversation_id IN ($list)";
    /// Locks the conversations of a batch until its commit, in the order of their ids.
    LOCK_CONVERSATIONS_POSTGRES = "SELECT conversation_id, tenant_id, last_seq, facts_version FROM conversations
        WHERE conversation_id IN ($list) ORDER BY conversation_id FOR UPDATE";
    CHAINS = "SELECT conversation_id, device_id, last_device_seq, last_commitment FROM device_chains
        WHERE conversation_id IN ($list)";
    SEALS = "SELECT seal_id, conversation_id, sender_id, device_number, recipients_digest, received_at
        FROM record_seals WHERE seal_id IN ($list)";
    STORED = "SELECT device_id, client_message_id, conversation_id, commitment, signature, message_id, conversation_seq,
        received_at, audit_leaf, policies, policy_set, receipt_key_id, receipt_signature
        FROM messages WHERE client_message_id IN ($list)";
    TARGETS = "SELECT m.commitment, m.conversation_id, m.sender_id FROM (VALUES $rows(UUID, BYTEA)) AS v
        JOIN messages m ON m.conversation_id = v.column1 AND m.commitment = v.column2";
    ADVANCE = "UPDATE conversations SET last_seq = v.column2, updated_at = v.column3
        FROM (VALUES $rows(UUID, BIGINT, BIGINT)) AS v WHERE conversation_id = v.column1";
    SAVE_CHAINS = "INSERT INTO device_chains (conversation_id, device_id, last_device_seq, last_commitment)
        VALUES $rows ON CONFLICT (conversation_id, device_id)
        DO UPDATE SET last_device_seq = excluded.last_device_seq, last_commitment = excluded.last_commitment";
    INSERT_MESSAGES = "INSERT INTO messages (message_id, tenant_id, conversation_id, conversation_seq, client_message_id,
        sender_id, device_id, device_number, kind, priority, sent_at, received_at, device_seq, prev_commitment,
        seen_commitment, target_commitment, reply_to_commitment, commitment, signature, seal_id, urgent, deliver,
        expires_in_s, expires_at, source, is_automated, retention_class, data_key_id, body, wrapped_key, context_hash,
        wrapped_key_hash, attachments, audit_leaf, policies, policy_set, receipt_key_id, receipt_signature)
        VALUES $rows ON CONFLICT DO NOTHING";

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
    INSERT_DELIVERIES = "INSERT INTO deliveries (message_id, user_id, delivered_at) VALUES $rows
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
        WHERE m.conversation_seq < $2 AND ", wanted!(), " ORDER BY m.conversation_seq DESC LIMIT $8");
    MESSAGES_UP = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.conversation_seq > $2 AND ", wanted!(), " ORDER BY m.conversation_seq LIMIT $8");
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
            AND ($11 = '' OR EXISTS (SELECT 1 FROM participants q WHERE q.conversation_id = p.conversation_id
                AND q.user_id = $12 AND q.status = 'active'))
            AND ", unexpired!("$9"), " AND ", undeleted!(), "
            ORDER BY m.received_at DESC, m.message_id DESC LIMIT $13)
        ORDER BY m.received_at DESC, m.message_id DESC");
    TRUNCATE = "DELETE FROM device_events WHERE device_id = $1 AND created_at < $2";
    JOINED_SEQ = "SELECT joined_seq FROM participants WHERE conversation_id = $1 AND user_id = $2";
    RECIPIENTS = "SELECT conversation_id, user_id, joined_seq FROM participants WHERE status = 'active' AND conversation_id IN ($list)";
}

/// The private half, under column encryption.
pub(super) async fn receipt_key(tx: &mut Tx, tenant: TenantId, public: &[u8]) -> Result<Option<Vec<u8>>> {
    Ok(fetch_optional!(tx, (Vec<u8>,), RECEIPT_KEY, tenant, public)?.map(|(private,)| private))
}

#[derive(sqlx::FromRow)]
struct ConversationRow {
    conversation_id: ConversationId,
    tenant_id: TenantId,
    last_seq: i64,
    facts_version: i64,
}

#[derive(sqlx::FromRow)]
struct SealRow {
    seal_id: SealId,
    conversation_id: ConversationId,
    sender_id: UserId,
    device_number: DeviceNumber,
    recipients_digest: Vec<u8>,
    received_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    device_id: DeviceId,
    client_message_id: ClientMessageId,
    conversation_id: ConversationId,
    commitment: Vec<u8>,
    signature: Vec<u8>,
    message_id: MessageId,
    conversation_seq: i64,
    received_at: Timestamp,
    #[sqlx(flatten)]
    receipt: ReceiptRow,
}

#[derive(sqlx::FromRow)]
pub(super) struct ReceiptRow {
    audit_leaf: Vec<u8>,
    policies: String,
    policy_set: Vec<u8>,
    receipt_key_id: Vec<u8>,
    receipt_signature: Vec<u8>,
}

impl ReceiptRow {
    pub(super) fn receipt(self) -> Result<Receipt> {
        Ok(Receipt {
            audit_leaf: array(&self.audit_leaf)?,
            policies: serde_json::from_str(&self.policies).map_err(Error::internal)?,
            policy_set: array(&self.policy_set)?,
            key_id: array(&self.receipt_key_id)?,
            signature: array(&self.receipt_signature)?,
        })
    }
}

/// A column that holds exactly `N` bytes.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<Base64Array<N>> {
    <[u8; N]>::try_from(bytes)
        .map(Base64Array)
        .map_err(|_| Error::internal(format!("a column holds {} bytes, not {N}", bytes.len())))
}

/// Reads, in the batch's transaction, what its messages' acceptance depends on and is not remembered. With
/// `careful`, also the messages that stand under the batch's names and commitments already.
pub(super) async fn load(
    tx: &mut Tx,
    memory: &Memory,
    sends: &[&Submission],
    careful: bool,
) -> Result<State> {
    let conversations = distinct(sends.iter().map(|send| send.conversation));
    let mut state = State::default();
    // First the lock: everything below is read after it.
    let lock = match tx {
        Tx::Sqlite(_) => LOCK_CONVERSATIONS_SQLITE,
        Tx::Postgres(_) => LOCK_CONVERSATIONS_POSTGRES,
    };
    for row in fetch_list!(tx, ConversationRow, lock, [], conversations.as_slice())? {
        let locked =
            Locked { tenant: row.tenant_id, last_seq: row.last_seq, facts_version: row.facts_version };
        state.conversations.insert(row.conversation_id, locked);
    }
    load_chains(tx, memory, &mut state).await?;
    load_seals(tx, memory, sends, &mut state).await?;
    if careful {
        state.stored =
            stored_as(tx, sends.iter().map(|send| send.message.client_message_id).collect()).await?;
    }
    load_targets(tx, sends, careful, &mut state).await?;
    Ok(state)
}

/// The chains of a conversation move with its `last_seq` only: those remembered for the same one hold.
async fn load_chains(tx: &mut Tx, memory: &Memory, state: &mut State) -> Result<()> {
    let mut unknown = Vec::new();
    for (id, locked) in &state.conversations {
        match memory.chains(*id, locked.last_seq) {
            Some(chains) => state.chains.insert(*id, (*chains).clone()),
            None => {
                unknown.push(*id);
                state.chains.insert(*id, HashMap::new())
            }
        };
    }
    unknown.sort_unstable();
    for (conversation, device, device_seq, commitment) in
        fetch_list!(tx, (ConversationId, DeviceId, i64, Vec<u8>), CHAINS, [], unknown.as_slice())?
    {
        let chain = Chain { device_seq, commitment: Some(array::<32>(&commitment)?.0) };
        state.chains.entry(conversation).or_default().insert(device, chain);
    }
    Ok(())
}

/// A stored seal never changes.
async fn load_seals(tx: &mut Tx, memory: &Memory, sends: &[&Submission], state: &mut State) -> Result<()> {
    let mut unknown = Vec::new();
    for id in distinct(sends.iter().map(|send| send.message.seal_id)) {
        match memory.seal(id) {
            Some(seal) => _ = state.seals.insert(id, seal),
            None => unknown.push(id),
        }
    }
    for row in fetch_list!(tx, SealRow, SEALS, [], unknown.as_slice())? {
        let seal = Arc::new(SealState {
            conversation: row.conversation_id,
            sender: row.sender_id,
            device: row.device_number,
            recipients_digest: row.recipients_digest,
            received_at: row.received_at,
        });
        memory.keep_seal(row.seal_id, Arc::clone(&seal));
        state.seals.insert(row.seal_id, seal);
    }
    Ok(())
}

/// The messages that those of the batch are about.
async fn load_targets(tx: &mut Tx, sends: &[&Submission], careful: bool, state: &mut State) -> Result<()> {
    let about = distinct(sends.iter().flat_map(|send| {
        let message = &send.message;
        let own = Some(message.commitment).filter(|_| careful);
        let named = [message.target_commitment, message.reply_to_commitment, own];
        named.into_iter().flatten().map(|commitment| (send.conversation, commitment.0.to_vec()))
    }));
    let found = fetch_rows!(tx, (Vec<u8>, ConversationId, UserId), TARGETS, &about, (conversation, commitment) => [
        *conversation, commitment.as_slice(),
    ])?;
    for (commitment, conversation, sender) in found {
        state.targets.entry(array::<32>(&commitment)?.0).or_default().push(Target { conversation, sender });
    }
    Ok(())
}

impl StoredRow {
    fn stored(self) -> Result<Stored> {
        Ok(Stored {
            conversation: self.conversation_id,
            commitment: self.commitment,
            signature: self.signature,
            accepted: plan::accepted(
                self.message_id,
                self.conversation_seq,
                self.received_at,
                self.receipt.receipt()?,
            ),
        })
    }
}

/// The messages stored under these names, by device and name.
pub(super) async fn stored_as(tx: &mut Tx, names: Vec<ClientMessageId>) -> Result<StoredNames> {
    let names = distinct(names.into_iter());
    let rows = fetch_list!(tx, StoredRow, STORED, [], names.as_slice())?;
    rows.into_iter().map(|row| Ok(((row.device_id, row.client_message_id), row.stored()?))).collect()
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Adds how far the batch has moved these conversations and the chains of these devices in them.
pub(super) fn advance(
    script: &mut Script,
    state: &State,
    moved: &[(ConversationId, DeviceId)],
    now: Timestamp,
) -> Result<()> {
    let conversations = distinct(moved.iter().map(|(conversation, _)| *conversation));
    let lasts: Vec<(ConversationId, i64)> = conversations
        .into_iter()
        .filter_map(|id| state.conversations.get(&id).map(|locked| (id, locked.last_seq)))
        .collect();
    add_rows!(script, ADVANCE, &lasts, (conversation, last_seq) => [*conversation, *last_seq, now]);
    let rows: Vec<_> = moved
        .iter()
        .filter_map(|(conversation, device)| {
            let chain = state.chains.get(conversation)?.get(device)?;
            Some((*conversation, *device, chain.device_seq, chain.commitment?))
        })
        .collect();
    add_rows!(script, SAVE_CHAINS, &rows, (conversation, device, seq, commitment) => [
        *conversation, *device, *seq, commitment.as_slice(),
    ]);
    Ok(())
}

/// A message as it is stored: borrowed from its submission and answer.
pub(super) struct MessageRow {
    pub(super) accepted: Accepted,
    row: Box<Columns>,
}

struct Columns {
    tenant: TenantId,
    conversation: ConversationId,
    client_message_id: ClientMessageId,
    sender: UserId,
    device: DeviceId,
    device_number: DeviceNumber,
    kind: &'static str,
    priority: &'static str,
    sent_at: Timestamp,
    device_seq: i64,
    links: [Option<Vec<u8>>; 4],
    commitment: [u8; 32],
    signature: [u8; 64],
    seal: SealId,
    urgent: bool,
    deliver: &'static str,
    expires_in_s: i64,
    expires_at: Option<Timestamp>,
    data_key: DataKeyId,
    body: Vec<u8>,
    wrapped_key: Vec<u8>,
    context_hash: [u8; 32],
    wrapped_key_hash: [u8; 32],
    policies: String,
}

impl MessageRow {
    pub(super) fn of(submission: &Submission, accepted: &Accepted) -> Self {
        let message = &submission.message;
        let bytes = |link: Option<Base64Array<32>>| link.map(|commitment| commitment.0.to_vec());
        let expires_in_s = message.expires_in_s.unwrap_or(0);
        Self {
            accepted: accepted.clone(),
            row: Box::new(Columns {
                tenant: submission.tenant,
                conversation: submission.conversation,
                client_message_id: message.client_message_id,
                sender: submission.sender.user_id,
                device: submission.sender.device_id,
                device_number: submission.device,
                kind: message.message_type.as_str(),
                priority: message.priority.as_str(),
                sent_at: message.sent_at,
                // Both were bounded by the shape check.
                device_seq: i64::try_from(message.device_seq).unwrap_or(i64::MAX),
                links: [
                    bytes(message.prev_commitment),
                    bytes(message.seen_commitment),
                    bytes(message.target_commitment),
                    bytes(message.reply_to_commitment),
                ],
                commitment: message.commitment.0,
                signature: message.signature.0,
                seal: message.seal_id,
                urgent: message.urgent,
                deliver: message.deliver.as_str(),
                expires_in_s: i64::try_from(expires_in_s).unwrap_or(i64::MAX),
                expires_at: render::expires_at(accepted.received_at, expires_in_s),
                data_key: submission.data_key.id,
                body: submission.body.clone(),
                wrapped_key: submission.wrapped_key.clone(),
                context_hash: submission.hashes.context,
                wrapped_key_hash: submission.hashes.wrapped_key,
                policies: serde_json::to_string(&accepted.receipt.policies).unwrap_or_default(),
            }),
        }
    }
}

/// Adds the accepted messages of a batch. One whose name or commitment is taken is not written.
pub(super) fn add_messages(script: &mut Script, rows: &[MessageRow]) -> Result<()> {
    add_rows!(script, INSERT_MESSAGES, rows, MessageRow { accepted, row } => [
        accepted.message_id, row.tenant, row.conversation, accepted.conversation_seq, row.client_message_id, row.sender,
        row.device, row.device_number, row.kind, row.priority, row.sent_at, accepted.received_at, row.device_seq,
        row.links[0].as_deref(), row.links[1].as_deref(), row.links[2].as_deref(), row.links[3].as_deref(),
        row.commitment.as_slice(), row.signature.as_slice(), row.seal, row.urgent, row.deliver, row.expires_in_s,
        row.expires_at, None::<String>, false, crate::app::CLASS_MEDICAL, row.data_key, row.body.as_slice(),
        row.wrapped_key.as_slice(), row.context_hash.as_slice(), row.wrapped_key_hash.as_slice(), "[]",
        accepted.receipt.audit_leaf.as_slice(), row.policies.as_str(), accepted.receipt.policy_set.as_slice(),
        accepted.receipt.key_id.as_slice(), accepted.receipt.signature.as_slice(),
    ]);
    Ok(())
}

/// A stored message joined with its sender.
#[derive(sqlx::FromRow)]
pub(super) struct StoredMessage {
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
    #[sqlx(flatten)]
    pub receipt: ReceiptRow,
    pub full_name_enc: Vec<u8>,
    pub role: String,
}

/// An event of a device's queue, with its message if it has one.
pub(super) struct EventRow {
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
pub(super) async fn events(
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
pub(super) async fn has_expired_events(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<bool> {
    // PostgreSQL's 1 is an INT4.
    Ok(fetch_optional!(tx, (i32,), HAS_EXPIRED_EVENTS, device, now)?.is_some())
}

/// Takes messages that have expired off a queue, with their envelopes.
pub(super) async fn drop_expired_events(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<()> {
    execute!(tx, DROP_EXPIRED_EVENTS, device, now).map(|_| ())
}

/// An event that was acknowledged.
#[derive(sqlx::FromRow)]
pub(super) struct AcknowledgedRow {
    pub device_id: DeviceId,
    pub conversation_id: Option<ConversationId>,
    pub sender_id: Option<UserId>,
    pub message_id: Option<MessageId>,
}

/// Deletes acknowledged events (a device and a place in its queue) and gives those that were there.
pub(super) async fn delete_events(tx: &mut Tx, events: &[(DeviceId, i64)]) -> Result<Vec<AcknowledgedRow>> {
    fetch_rows!(tx, AcknowledgedRow, DELETE_EVENTS, events, (device, seq) => [*device, *seq])
}

/// The messaging devices of these people.
pub(crate) async fn messaging_devices(tx: &mut Tx, users: &[UserId]) -> Result<Vec<(UserId, DeviceId)>> {
    fetch_list!(tx, (UserId, DeviceId), MESSAGING_DEVICES, [], users)
}

pub(super) async fn deliveries(
    tx: &mut Tx,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, UserId, Timestamp)>> {
    fetch_list!(tx, (MessageId, UserId, Timestamp), DELIVERIES, [], messages)
}

/// Notes deliveries; gives those that are the first of their person.
pub(super) async fn insert_deliveries(
    tx: &mut Tx,
    rows: &[(MessageId, UserId)],
    now: Timestamp,
) -> Result<Vec<(MessageId, UserId)>> {
    fetch_rows!(tx, (MessageId, UserId), INSERT_DELIVERIES, rows, (message, user) => [*message, *user, now])
}

/// The last message before this person joined: what they read begins after it.
pub(super) async fn joined_seq(tx: &mut Tx, conversation: ConversationId, user: UserId) -> Result<i64> {
    Ok(fetch_optional!(tx, (i64,), JOINED_SEQ, conversation, user)?.ok_or(Error::NotFound)?.0)
}

/// The newest message of each conversation that this person, who takes part, is to see.
pub(super) async fn newest(
    tx: &mut Tx,
    reader: UserId,
    conversations: &[ConversationId],
    now: Timestamp,
) -> Result<Vec<StoredMessage>> {
    fetch_list!(tx, StoredMessage, NEWEST, [reader, now], conversations)
}

pub(super) async fn message(tx: &mut Tx, id: MessageId) -> Result<Option<StoredMessage>> {
    fetch_optional!(tx, StoredMessage, MESSAGE, id)
}

/// A page of a conversation's messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
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
    pub limit: i64,
}

pub(super) async fn page(tx: &mut Tx, page: &Page<'_>) -> Result<Vec<StoredMessage>> {
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
        page.limit,
        page.joined_seq,
        page.now,
        if page.include_deleted { "true" } else { "" },
        attachments,
    )
}

/// What is searched for among a person's messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct SearchQuery {
    pub user: UserId,
    pub tenant: TenantId,
    /// Where the last page ended, exclusive.
    pub before: (Timestamp, Uuid),
    pub from: Timestamp,
    pub to: Timestamp,
    pub kind: &'static str,
    pub priority: &'static str,
    pub has_attachments: Option<bool>,
    pub with_user: Option<UserId>,
    pub now: Timestamp,
    pub limit: i64,
}

pub(super) async fn search(tx: &mut Tx, query: &SearchQuery) -> Result<Vec<StoredMessage>> {
    let attachments = query.has_attachments.map_or("", |has| if has { "true" } else { "false" });
    let with = if query.with_user.is_some() { "yes" } else { "" };
    let (at, id) = query.before;
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
        query.limit,
    )
}

/// An edit or a deletion of a message.
#[derive(sqlx::FromRow)]
pub(super) struct RevisionRow {
    pub conversation_id: ConversationId,
    pub target_commitment: Vec<u8>,
    pub kind: String,
    pub message_id: MessageId,
    pub commitment: Vec<u8>,
    pub received_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// The edits and deletions of messages, each named by conversation and commitment; those of one message in order.
pub(super) async fn revisions(
    tx: &mut Tx,
    targets: &[(ConversationId, Vec<u8>)],
) -> Result<Vec<RevisionRow>> {
    fetch_rows!(tx, RevisionRow, REVISIONS, targets, (conversation, commitment) => [
        *conversation, commitment.as_slice(),
    ])
}

/// Who takes part in these conversations, and after which message each of them joined.
pub(super) async fn recipients(
    tx: &mut Tx,
    conversations: &[ConversationId],
) -> Result<Vec<(ConversationId, UserId, i64)>> {
    fetch_list!(tx, (ConversationId, UserId, i64), RECIPIENTS, [], conversations)
}

/// Takes everything off a device's queue that is older than an instant; tells whether there was anything.
pub(super) async fn truncate_queue(tx: &mut Tx, device: DeviceId, before: Timestamp) -> Result<bool> {
    Ok(execute!(tx, TRUNCATE, device, before)? > 0)
}
