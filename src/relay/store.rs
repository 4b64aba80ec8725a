//! The rows of messages as the writer reads and writes them; queues and the history are in [`read`].

use std::{collections::HashMap, sync::Arc};

use sigilo_wire::{
    Base64Array, ClientMessageId, ConversationId, DataKeyId, DeviceId, DeviceNumber, MessageId, SealId,
    TenantId, Timestamp, UserId,
    message::{Accepted, Receipt},
};

use super::{
    held,
    memory::Memory,
    plan::{self, Chain, Locked, SealState, State, Stored, StoredNames, Target},
    render,
    submit::Submission,
};
use crate::{
    Error, Result, add_rows, fetch_list, fetch_optional, fetch_rows, statements,
    storage::{Tx, script::Script},
};

/// What a stored message and its sender look like to a reader.
macro_rules! message_columns {
    () => {
        "m.message_id, m.tenant_id, m.conversation_id, m.conversation_seq, m.client_message_id, m.sender_id,
         m.device_number, m.kind, m.priority, m.sent_at, m.received_at, m.device_seq, m.prev_commitment,
         m.seen_commitment, m.target_commitment, m.reply_to_commitment, m.commitment, m.signature, m.seal_id,
         m.urgent, m.deliver, m.expires_in_s, m.expires_at, m.source, m.is_automated, m.data_key_id, m.body,
         m.wrapped_key, m.attachments, m.audit_leaf, m.policies, m.policy_set, m.receipt_key_id, m.receipt_signature,
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

pub(crate) mod files;
pub(crate) mod read;

pub(crate) use read::messaging_devices;
pub(super) use read::{
    EventRow, Page, SearchQuery, StoredMessage, delete_events, deliveries, drop_expired_events, events,
    has_expired_events, heads_of_queues, insert_deliveries, joined_seq, message, newest, page, recipients,
    revisions, search, truncate_queue,
};

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
        VALUES $rows(UUID, UUID, BIGINT, BYTEA) ON CONFLICT (conversation_id, device_id)
        DO UPDATE SET last_device_seq = excluded.last_device_seq, last_commitment = excluded.last_commitment";
    INSERT_MESSAGES = "INSERT INTO messages (message_id, tenant_id, conversation_id, conversation_seq, client_message_id,
        sender_id, device_id, device_number, kind, priority, sent_at, received_at, device_seq, prev_commitment,
        seen_commitment, target_commitment, reply_to_commitment, commitment, signature, seal_id, urgent, deliver,
        expires_in_s, expires_at, source, is_automated, retention_class, data_key_id, body, wrapped_key, context_hash,
        wrapped_key_hash, attachments, audit_leaf, policies, policy_set, receipt_key_id, receipt_signature)
        VALUES $rows(UUID, UUID, UUID, BIGINT, UUID, UUID, UUID, BIGINT, TEXT, TEXT, BIGINT, BIGINT, BIGINT, BYTEA,
        BYTEA, BYTEA, BYTEA, BYTEA, BYTEA, UUID, BOOLEAN, TEXT, BIGINT, BIGINT, TEXT, BOOLEAN, TEXT, UUID, BYTEA, BYTEA, BYTEA,
        BYTEA, TEXT, BYTEA, TEXT, BYTEA, BYTEA, BYTEA) ON CONFLICT DO NOTHING";
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
    state.files = files::named(tx, sends).await?;
    state.held = held::still_held(tx, sends).await?;
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
    attachments: String,
    policies: String,
}

impl MessageRow {
    /// `attachments` is the text of that column.
    pub(super) fn of(submission: &Submission, accepted: &Accepted, attachments: String) -> Self {
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
                attachments,
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
        row.wrapped_key.as_slice(), row.context_hash.as_slice(), row.wrapped_key_hash.as_slice(), row.attachments.as_str(),
        accepted.receipt.audit_leaf.as_slice(), row.policies.as_str(), accepted.receipt.policy_set.as_slice(),
        accepted.receipt.key_id.as_slice(), accepted.receipt.signature.as_slice(),
    ]);
    Ok(())
}
