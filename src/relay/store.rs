//! The rows of conversations' messages and of devices' queues.

use std::collections::HashMap;

use sigilo_wire::{
    Base64Array, ClientMessageId, ConversationId, DataKeyId, DeviceId, DeviceNumber, MessageId, SealId,
    TenantId, Timestamp, UserId,
    message::{Accepted, Receipt},
};

use super::{
    plan::{self, Chain, ConversationState, DeviceState, MemberState, SealState, State, Stored, Target},
    submit::Submission,
};
use crate::{
    Error, Result, execute, execute_rows, fetch_all, fetch_list, fetch_optional, statements, storage::Tx,
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

statements! {
    RECEIPT_KEY = "SELECT k.public_key, k.private_key, s.key_id FROM server_keys k
        JOIN root_statements s ON s.tenant_id = k.tenant_id AND s.purpose = k.purpose AND s.public_key = k.public_key
        WHERE k.tenant_id = $1 AND k.purpose = 'receipt' AND k.private_key IS NOT NULL ORDER BY s.epoch DESC LIMIT 1";
    IDENTITY_KEY = "SELECT identity_key FROM users WHERE user_id = $1";
    /// Locks the conversations of a batch until its commit, and reads them.
    LOCK_CONVERSATIONS = "UPDATE conversations SET last_seq = last_seq WHERE conversation_id IN ($list)
        RETURNING conversation_id, tenant_id, last_seq, facts_version, related_patient_id";
    MEMBERS = "SELECT p.conversation_id, u.user_id, u.role, u.identity_key, u.history_key_id, d.device_id,
        d.device_number, d.registration_id, k.signed_pre_key_at
        FROM participants p JOIN users u ON u.user_id = p.user_id
        LEFT JOIN devices d ON d.user_id = u.user_id AND d.kind = 'messaging' AND d.in_manifest AND d.revoked_at IS NULL
        LEFT JOIN device_keys k ON k.device_id = d.device_id
        WHERE p.status = 'active' AND p.conversation_id IN ($list) ORDER BY p.conversation_id, u.user_id";
    CHAINS = "SELECT conversation_id, device_id, last_device_seq, last_commitment FROM device_chains
        WHERE conversation_id IN ($list)";
    SEALS = "SELECT seal_id, conversation_id, sender_id, device_number, recipients_digest, received_at
        FROM record_seals WHERE seal_id IN ($list)";
    RECORDS_KEYS = "SELECT tenant_id, key_id FROM root_statements WHERE purpose = 'records' AND tenant_id IN ($list)
        ORDER BY epoch";
    STORED = "SELECT device_id, client_message_id, conversation_id, commitment, signature, message_id, conversation_seq,
        received_at, audit_leaf, policies, policy_set, receipt_key_id, receipt_signature
        FROM messages WHERE client_message_id IN ($list)";
    TARGETS = "SELECT commitment, conversation_id, sender_id FROM messages WHERE commitment IN ($list)";
    ADVANCE = "UPDATE conversations SET last_seq = last_seq + $1, updated_at = $2 WHERE conversation_id IN ($list)";
    SAVE_CHAINS = "INSERT INTO device_chains (conversation_id, device_id, last_device_seq, last_commitment)
        VALUES $rows ON CONFLICT (conversation_id, device_id)
        DO UPDATE SET last_device_seq = excluded.last_device_seq, last_commitment = excluded.last_commitment";
    INSERT_MESSAGES = "INSERT INTO messages (message_id, tenant_id, conversation_id, conversation_seq, client_message_id,
        sender_id, device_id, device_number, kind, priority, sent_at, received_at, device_seq, prev_commitment,
        seen_commitment, target_commitment, reply_to_commitment, commitment, signature, seal_id, urgent, deliver,
        expires_in_s, expires_at, source, is_automated, retention_class, data_key_id, body, wrapped_key, context_hash,
        wrapped_key_hash, attachments, audit_leaf, policies, policy_set, receipt_key_id, receipt_signature)
        VALUES $rows";

    /// The sum in LIMIT is for SQLite, which plans a query anew for each value bound to a bare LIMIT.
    EVENTS = concat!("SELECT e.event_seq, e.type, e.conversation_id AS about, e.sender_id AS caused_by, e.created_at,
        e.data, e.envelope_type, e.envelope, ", message_columns!(), "
        FROM device_events e LEFT JOIN messages m ON m.message_id = e.message_id
        LEFT JOIN users u ON u.user_id = m.sender_id
        WHERE e.device_id = $1 AND e.event_seq > $2 ORDER BY e.event_seq LIMIT $3 + 0");
    EVENTS_OF_CONVERSATION = concat!("SELECT e.event_seq, e.type, e.conversation_id AS about, e.sender_id AS caused_by,
        e.created_at, e.data, e.envelope_type, e.envelope, ", message_columns!(), "
        FROM device_events e LEFT JOIN messages m ON m.message_id = e.message_id
        LEFT JOIN users u ON u.user_id = m.sender_id
        WHERE e.device_id = $1 AND e.event_seq > $2 AND e.conversation_id = $4 ORDER BY e.event_seq LIMIT $3 + 0");
    DELETE_EVENTS = "DELETE FROM device_events WHERE device_id = $1 AND event_seq IN ($list) RETURNING message_id";
    ACKNOWLEDGED = "SELECT m.message_id, m.conversation_id, m.sender_id, d.device_id
        FROM messages m LEFT JOIN devices d ON d.user_id = m.sender_id AND d.kind = 'messaging' AND d.in_manifest
        AND d.revoked_at IS NULL WHERE m.message_id IN ($list)";
    DELIVERIES = "SELECT message_id, user_id, delivered_at FROM deliveries WHERE message_id IN ($list)";
    INSERT_DELIVERIES = "INSERT INTO deliveries (message_id, user_id, delivered_at) VALUES $rows ON CONFLICT DO NOTHING";

    MESSAGE = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.message_id = $1");
    NEWEST = concat!("SELECT ", message_columns!(), " FROM conversations c
        JOIN messages m ON m.conversation_id = c.conversation_id AND m.conversation_seq = c.last_seq
        JOIN users u ON u.user_id = m.sender_id WHERE c.conversation_id IN ($list)");
    MESSAGES_DOWN = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.conversation_id = $1 AND m.conversation_seq < $2 AND m.received_at > $3 AND m.received_at < $4
        AND ($5 = '' OR m.kind = $5) AND ($6 = '' OR m.sender_id = $7)
        ORDER BY m.conversation_seq DESC LIMIT $8");
    MESSAGES_UP = concat!("SELECT ", message_columns!(), " FROM messages m JOIN users u ON u.user_id = m.sender_id
        WHERE m.conversation_id = $1 AND m.conversation_seq > $2 AND m.received_at > $3 AND m.received_at < $4
        AND ($5 = '' OR m.kind = $5) AND ($6 = '' OR m.sender_id = $7)
        ORDER BY m.conversation_seq LIMIT $8");
    TRUNCATE = "DELETE FROM device_events WHERE device_id = $1 AND created_at < $2";
    RECIPIENTS = "SELECT conversation_id, user_id FROM participants WHERE status = 'active' AND conversation_id IN ($list)";
}

#[derive(sqlx::FromRow)]
pub(super) struct ReceiptKeyRow {
    pub public_key: Vec<u8>,
    pub private_key: Vec<u8>,
    pub key_id: Vec<u8>,
}

pub(super) async fn receipt_key(tx: &mut Tx, tenant: TenantId) -> Result<Option<ReceiptKeyRow>> {
    fetch_optional!(tx, ReceiptKeyRow, RECEIPT_KEY, tenant)
}

pub(super) async fn identity_key(tx: &mut Tx, user: UserId) -> Result<Option<Vec<u8>>> {
    Ok(fetch_optional!(tx, (Option<Vec<u8>>,), IDENTITY_KEY, user)?.and_then(|(key,)| key))
}

#[derive(sqlx::FromRow)]
struct ConversationRow {
    conversation_id: ConversationId,
    tenant_id: TenantId,
    last_seq: i64,
    facts_version: i64,
    related_patient_id: Option<UserId>,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    conversation_id: ConversationId,
    user_id: UserId,
    role: String,
    identity_key: Option<Vec<u8>>,
    history_key_id: Option<Vec<u8>>,
    device_id: Option<DeviceId>,
    device_number: Option<DeviceNumber>,
    registration_id: Option<i64>,
    signed_pre_key_at: Option<Timestamp>,
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

/// Reads, in the batch's transaction, everything its messages' acceptance depends on.
pub(super) async fn load(tx: &mut Tx, sends: &[&Submission]) -> Result<State> {
    let conversations = distinct(sends.iter().map(|send| send.conversation));
    let mut state = State::default();
    // First the lock: everything below is read after it.
    for row in fetch_list!(tx, ConversationRow, LOCK_CONVERSATIONS, [], conversations.as_slice())? {
        state.conversations.insert(
            row.conversation_id,
            ConversationState {
                tenant: row.tenant_id,
                last_seq: row.last_seq,
                facts_version: row.facts_version,
                patient: row.related_patient_id,
                members: Vec::new(),
            },
        );
    }
    for row in fetch_list!(tx, MemberRow, MEMBERS, [], conversations.as_slice())? {
        add_member(&mut state, row);
    }
    for (conversation, device, device_seq, commitment) in
        fetch_list!(tx, (ConversationId, DeviceId, i64, Vec<u8>), CHAINS, [], conversations.as_slice())?
    {
        let commitment = Some(array::<32>(&commitment)?.0);
        state.chains.insert((conversation, device), Chain { device_seq, commitment });
    }
    let seals = distinct(sends.iter().map(|send| send.message.seal_id));
    for row in fetch_list!(tx, SealRow, SEALS, [], seals.as_slice())? {
        state.seals.insert(
            row.seal_id,
            SealState {
                conversation: row.conversation_id,
                sender: row.sender_id,
                device: row.device_number,
                recipients_digest: row.recipients_digest,
                received_at: row.received_at,
            },
        );
    }
    let tenants = distinct(sends.iter().map(|send| send.tenant));
    state.records_keys =
        fetch_list!(tx, (TenantId, Vec<u8>), RECORDS_KEYS, [], tenants.as_slice())?.into_iter().collect();
    load_named(tx, sends, &mut state).await?;
    Ok(state)
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

/// The message a device has stored under a name.
pub(super) async fn stored(tx: &mut Tx, device: DeviceId, name: ClientMessageId) -> Result<Option<Stored>> {
    let rows = fetch_list!(tx, StoredRow, STORED, [], &[name][..])?;
    rows.into_iter().find(|row| row.device_id == device).map(StoredRow::stored).transpose()
}

/// Messages that stand under the batch's names or commitments already, and those its messages are about.
async fn load_named(tx: &mut Tx, sends: &[&Submission], state: &mut State) -> Result<()> {
    let names = distinct(sends.iter().map(|send| send.message.client_message_id));
    for row in fetch_list!(tx, StoredRow, STORED, [], names.as_slice())? {
        state.stored.insert((row.device_id, row.client_message_id), row.stored()?);
    }
    let about = distinct(
        sends
            .iter()
            .flat_map(|send| {
                let message = &send.message;
                [message.target_commitment, message.reply_to_commitment, Some(message.commitment)]
            })
            .flatten()
            .map(|commitment| commitment.0.to_vec()),
    );
    for (commitment, conversation, sender) in
        fetch_list!(tx, (Vec<u8>, ConversationId, UserId), TARGETS, [], about.as_slice())?
    {
        state.targets.entry(array::<32>(&commitment)?.0).or_default().push(Target { conversation, sender });
    }
    Ok(())
}

fn add_member(state: &mut State, row: MemberRow) {
    let Some(conversation) = state.conversations.get_mut(&row.conversation_id) else { return };
    if conversation.patient.is_none() && row.role == sigilo_wire::Role::Patient.as_str() {
        conversation.patient = Some(row.user_id);
    }
    if conversation.members.last().is_none_or(|member| member.user != row.user_id) {
        conversation.members.push(MemberState {
            user: row.user_id,
            identity_key: row.identity_key,
            history_key_id: row.history_key_id,
            devices: Vec::new(),
        });
    }
    if let (Some(member), Some(id), Some(number)) =
        (conversation.members.last_mut(), row.device_id, row.device_number)
    {
        member.devices.push(DeviceState {
            id,
            number,
            registration_id: row.registration_id.unwrap_or(0),
            keys_published_at: row.signed_pre_key_at,
        });
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Saves how far the batch has moved its conversations and chains.
pub(super) async fn advance(
    tx: &mut Tx,
    state: &State,
    before: &HashMap<ConversationId, i64>,
    sends: &[&Submission],
    now: Timestamp,
) -> Result<()> {
    let mut steps: std::collections::BTreeMap<i64, Vec<ConversationId>> = std::collections::BTreeMap::new();
    for (id, conversation) in &state.conversations {
        let step = conversation.last_seq - before.get(id).copied().unwrap_or(conversation.last_seq);
        if step > 0 {
            steps.entry(step).or_default().push(*id);
        }
    }
    for (step, conversations) in steps {
        fetch_list!(tx, (i64,), ADVANCE, [step, now], conversations.as_slice())?;
    }
    let moved = distinct(sends.iter().map(|send| (send.conversation, send.sender.device_id)));
    let rows: Vec<_> = moved
        .into_iter()
        .filter_map(|place| state.chains.get(&place).map(|chain| (place, chain)))
        .filter_map(|((conversation, device), chain)| {
            Some((conversation, device, chain.device_seq, chain.commitment?))
        })
        .collect();
    execute_rows!(tx, SAVE_CHAINS, &rows, (conversation, device, seq, commitment) => [
        *conversation, *device, *seq, commitment.as_slice(),
    ])?;
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
    device_number: Option<DeviceNumber>,
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
        let expiry = std::time::Duration::from_secs(expires_in_s);
        Self {
            accepted: accepted.clone(),
            row: Box::new(Columns {
                tenant: submission.tenant,
                conversation: submission.conversation,
                client_message_id: message.client_message_id,
                sender: submission.sender.user_id,
                device: submission.sender.device_id,
                device_number: submission.sender.device_number,
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
                expires_at: (expires_in_s > 0).then(|| accepted.received_at + expiry),
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

/// Stores the accepted messages of a batch.
pub(super) async fn insert_messages(tx: &mut Tx, rows: &[MessageRow]) -> Result<()> {
    execute_rows!(tx, INSERT_MESSAGES, rows, MessageRow { accepted, row } => [
        accepted.message_id, row.tenant, row.conversation, accepted.conversation_seq, row.client_message_id, row.sender,
        row.device, row.device_number, row.kind, row.priority, row.sent_at, accepted.received_at, row.device_seq,
        row.links[0].as_deref(), row.links[1].as_deref(), row.links[2].as_deref(), row.links[3].as_deref(),
        row.commitment.as_slice(), row.signature.as_slice(), row.seal, row.urgent, row.deliver, row.expires_in_s,
        row.expires_at, None::<String>, false, crate::app::CLASS_MEDICAL, row.data_key, row.body.as_slice(),
        row.wrapped_key.as_slice(), row.context_hash.as_slice(), row.wrapped_key_hash.as_slice(), "[]",
        accepted.receipt.audit_leaf.as_slice(), row.policies.as_str(), accepted.receipt.policy_set.as_slice(),
        accepted.receipt.key_id.as_slice(), accepted.receipt.signature.as_slice(),
    ])?;
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

pub(super) async fn events(
    tx: &mut Tx,
    device: DeviceId,
    conversation: Option<ConversationId>,
    after: i64,
    limit: i64,
) -> Result<Vec<EventRow>> {
    match conversation {
        None => fetch_all!(tx, EventRow, EVENTS, device, after, limit),
        Some(id) => fetch_all!(tx, EventRow, EVENTS_OF_CONVERSATION, device, after, limit, id),
    }
}

/// Deletes acknowledged events; gives the messages they were about.
pub(super) async fn delete_events(tx: &mut Tx, device: DeviceId, events: &[i64]) -> Result<Vec<MessageId>> {
    let rows = fetch_list!(tx, (Option<MessageId>,), DELETE_EVENTS, [device], events)?;
    Ok(rows.into_iter().filter_map(|(message,)| message).collect())
}

/// A message that was acknowledged, and one device of its sender.
#[derive(sqlx::FromRow)]
pub(super) struct AcknowledgedRow {
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub sender_id: UserId,
    pub device_id: Option<DeviceId>,
}

pub(super) async fn acknowledged(tx: &mut Tx, messages: &[MessageId]) -> Result<Vec<AcknowledgedRow>> {
    fetch_list!(tx, AcknowledgedRow, ACKNOWLEDGED, [], messages)
}

pub(super) async fn deliveries(
    tx: &mut Tx,
    messages: &[MessageId],
) -> Result<Vec<(MessageId, UserId, Timestamp)>> {
    fetch_list!(tx, (MessageId, UserId, Timestamp), DELIVERIES, [], messages)
}

pub(super) async fn insert_deliveries(
    tx: &mut Tx,
    rows: &[(MessageId, UserId)],
    now: Timestamp,
) -> Result<()> {
    execute_rows!(tx, INSERT_DELIVERIES, rows, (message, user) => [*message, *user, now])?;
    Ok(())
}

/// The newest message of each conversation.
pub(super) async fn newest(tx: &mut Tx, conversations: &[ConversationId]) -> Result<Vec<StoredMessage>> {
    fetch_list!(tx, StoredMessage, NEWEST, [], conversations)
}

pub(super) async fn message(tx: &mut Tx, id: MessageId) -> Result<Option<StoredMessage>> {
    fetch_optional!(tx, StoredMessage, MESSAGE, id)
}

/// A page of a conversation's messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    pub conversation: ConversationId,
    /// Exclusive; `None` from the beginning.
    pub cursor: Option<i64>,
    pub newest_first: bool,
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    pub kind: Option<&'a str>,
    pub sender: Option<UserId>,
    pub limit: i64,
}

pub(super) async fn page(tx: &mut Tx, page: &Page<'_>) -> Result<Vec<StoredMessage>> {
    let after = page.after.unwrap_or(Timestamp::from_micros(i64::MIN));
    let before = page.before.unwrap_or(Timestamp::from_micros(i64::MAX));
    let kind = page.kind.unwrap_or("");
    let by_sender = if page.sender.is_some() { "yes" } else { "" };
    let sender = page.sender.unwrap_or_else(|| UserId::from_bytes([0; 16]));
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
        page.limit
    )
}

pub(super) async fn recipients(
    tx: &mut Tx,
    conversations: &[ConversationId],
) -> Result<Vec<(ConversationId, UserId)>> {
    fetch_list!(tx, (ConversationId, UserId), RECIPIENTS, [], conversations)
}

/// Takes everything off a device's queue that is older than an instant; tells whether there was anything.
pub(super) async fn truncate_queue(tx: &mut Tx, device: DeviceId, before: Timestamp) -> Result<bool> {
    Ok(execute!(tx, TRUNCATE, device, before)? > 0)
}
