//! The benchmark's own rows: databases for a run, and the bare inserts that show what the
//! storage can do at best.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use sigilo_wire::{
    AuditEntryId, ClientMessageId, ConversationId, DataKeyId, DeviceId, DeviceNumber, MessageId, SealId,
    TenantId, Timestamp, UserId,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{Error, Result, execute, execute_rows, fetch_all, fetch_optional, statements, storage::Db};

statements! {
    ACTIVATE = "UPDATE users SET status = 'active' WHERE tenant_id = $1 AND status = 'person'";
    PEOPLE = "SELECT u.user_id, u.role, i.value FROM users u JOIN external_identifiers i ON i.user_id = u.user_id
        WHERE u.tenant_id = $1 ORDER BY u.user_id";
    SAMPLE = "SELECT m.device_number, m.data_key_id, m.body, m.wrapped_key, m.policies, m.policy_set, m.receipt_key_id,
        a.canonical, o.data AS fact
        FROM messages m, audit_entries a, outbox o
        WHERE m.tenant_id = $1 AND a.tenant_id = $1 AND a.act = 'send_message'
        AND o.tenant_id = $1 AND o.topic = 'message.accepted' LIMIT 1";
    MESSAGES = "INSERT INTO messages (message_id, tenant_id, conversation_id, conversation_seq, client_message_id,
        sender_id, device_id, device_number, kind, priority, sent_at, received_at, device_seq, prev_commitment,
        commitment, signature, seal_id, urgent, deliver, expires_in_s, is_automated, retention_class, data_key_id,
        body, wrapped_key, context_hash, wrapped_key_hash, attachments, audit_leaf, policies, policy_set,
        receipt_key_id, receipt_signature)
        VALUES $rows(UUID, UUID, UUID, BIGINT, UUID, UUID, UUID, BIGINT, TEXT, TEXT, BIGINT, BIGINT, BIGINT, BYTEA, BYTEA,
        BYTEA, UUID, BOOLEAN, TEXT, BIGINT, BOOLEAN, TEXT, UUID, BYTEA, BYTEA, BYTEA, BYTEA, TEXT, BYTEA, TEXT, BYTEA, BYTEA,
        BYTEA)";
    EVENTS = "INSERT INTO device_events (device_id, event_seq, type, conversation_id, sender_id, message_id,
        envelope_type, envelope, data, created_at)
        VALUES $rows(UUID, BIGINT, TEXT, UUID, UUID, UUID, BIGINT, BYTEA, TEXT, BIGINT)";
    DELIVERIES = "INSERT INTO deliveries (message_id, user_id, delivered_at) VALUES $rows(UUID, UUID, BIGINT)";
    AUDIT = "INSERT INTO audit_entries (entry_id, tenant_id, seq, patient_id, actor_id, act, outcome, at, data_key_id,
        salt, canonical, leaf)
        VALUES $rows(UUID, UUID, BIGINT, UUID, UUID, TEXT, TEXT, BIGINT, UUID, BYTEA, BYTEA, BYTEA)";
    FACTS = "INSERT INTO outbox (tenant_id, seq, topic, data, created_at)
        VALUES $rows(UUID, BIGINT, TEXT, TEXT, BIGINT)";
}

/// Gives everybody an account, as far as the rules can tell, and says who they are: id, role, and the identifier they
/// were imported by.
pub(super) async fn people(db: &Db, tenant: TenantId) -> Result<Vec<(UserId, String, String)>> {
    let mut tx = db.begin("bench_people").await?;
    execute!(&mut tx, ACTIVATE, tenant)?;
    let people = fetch_all!(&mut tx, (UserId, String, String), PEOPLE, tenant)?;
    tx.commit().await?;
    Ok(people)
}

/// Makes an empty PostgreSQL database and gives its address.
pub(super) async fn create_database(server: &str, name: &str) -> Result<String> {
    let mut connection = PgConnection::connect(server).await?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    connection.close().await?;
    let (base, query) = server.split_once('?').map_or((server, ""), |(base, query)| (base, query));
    let (scheme, rest) = base
        .split_once("://")
        .ok_or_else(|| Error::internal("a database's address begins with postgres://"))?;
    let host = rest.split('/').next().unwrap_or_default();
    let question = if query.is_empty() { "" } else { "?" };
    Ok(format!("{scheme}://{host}/{name}{question}{query}"))
}

/// Removes it.
pub(super) async fn drop_database(server: &str, name: &str) -> Result<()> {
    let mut connection = PgConnection::connect(server).await?;
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    connection.close().await?;
    Ok(())
}

/// What the server wrote for a message of the load: the sizes of the rows to insert.
#[derive(sqlx::FromRow)]
pub(super) struct Sample {
    device_number: DeviceNumber,
    data_key_id: DataKeyId,
    body: Vec<u8>,
    wrapped_key: Vec<u8>,
    policies: String,
    policy_set: Vec<u8>,
    receipt_key_id: Vec<u8>,
    canonical: Vec<u8>,
    fact: String,
}

/// Reads it.
pub(super) async fn sample(db: &Db, tenant: TenantId) -> Result<Sample> {
    let mut tx = db.read("bench_sample").await?;
    fetch_optional!(&mut tx, Sample, SAMPLE, tenant)?
        .ok_or_else(|| Error::internal("the server has stored no message to measure by"))
}

/// Whose rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// The sender and their device.
    pub(super) sender: (UserId, DeviceId),
    /// The receiver and their device.
    pub(super) receiver: (UserId, DeviceId),
    /// Their conversation.
    pub(super) conversation: ConversationId,
    /// The sender's seal.
    pub(super) seal: SealId,
}

/// The rows of one message: what the server stores when it is sent, and when it has been acknowledged.
struct Rows {
    owner: Owner,
    seq: i64,
    message: MessageId,
    client: ClientMessageId,
    entry: AuditEntryId,
    hashes: [[u8; 32]; 5],
    signatures: [[u8; 64]; 2],
    envelope: Vec<u8>,
}

/// Bare inserts of a fixed number of messages at a time.
pub(super) struct Inserts {
    tenant: TenantId,
    sample: Sample,
    owners: Vec<Owner>,
    rows: usize,
    next: i64,
    rng: ChaCha20Rng,
}

/// Sequences of the bare inserts begin here, far above the load's.
const FIRST: i64 = 1 << 40;
/// The length of a `message_delivered` event's data.
const MARK: &str = r#"{"message_id":"00000000-0000-7000-8000-000000000000","user_id":"00000000-0000-7000-8000-000000000000","delivered_at":"2026-01-01T00:00:00.000000Z"}"#;
const ENVELOPE: usize = 200;

impl Inserts {
    /// Inserts of `rows` messages at a time.
    pub(super) fn new(
        tenant: TenantId,
        sample: Sample,
        owners: Vec<Owner>,
        rows: usize,
        rng: ChaCha20Rng,
    ) -> Self {
        Self { tenant, sample, owners, rows, next: FIRST, rng }
    }

    /// One transaction: the rows of one batch, one statement a table, two for the two kinds of events.
    pub(super) async fn batch(&mut self, db: &Db, now: Timestamp) -> Result<()> {
        let rows = self.make(now);
        let mut tx = db.begin("bench_insert").await?;
        let (sample, tenant) = (&self.sample, self.tenant);
        execute_rows!(&mut tx, MESSAGES, &rows, row => [
            row.message, tenant, row.owner.conversation, row.seq, row.client, row.owner.sender.0, row.owner.sender.1,
            sample.device_number, "text", "normal", now, now, row.seq, row.hashes[0].as_slice(), row.hashes[1].as_slice(),
            row.signatures[0].as_slice(), row.owner.seal, false, "now", 0i64, false, crate::app::CLASS_MEDICAL,
            sample.data_key_id, sample.body.as_slice(), sample.wrapped_key.as_slice(), row.hashes[2].as_slice(),
            row.hashes[3].as_slice(), "[]", row.hashes[4].as_slice(), sample.policies.as_str(),
            sample.policy_set.as_slice(), sample.receipt_key_id.as_slice(), row.signatures[1].as_slice(),
        ])?;
        execute_rows!(&mut tx, EVENTS, &rows, row => [
            row.owner.receiver.1, row.seq, "new_message", row.owner.conversation, row.owner.sender.0, Some(row.message),
            Some(2i64), Some(row.envelope.as_slice()), None::<&str>, now,
        ])?;
        execute_rows!(&mut tx, EVENTS, &rows, row => [
            row.owner.sender.1, row.seq, "message_delivered", row.owner.conversation, row.owner.receiver.0,
            None::<MessageId>, None::<i64>, None::<&[u8]>, Some(MARK), now,
        ])?;
        execute_rows!(&mut tx, DELIVERIES, &rows, row => [row.message, row.owner.receiver.0, now])?;
        execute_rows!(&mut tx, AUDIT, &rows, row => [
            row.entry, tenant, row.seq, row.owner.sender.0, row.owner.sender.0, "send_message", "done", now,
            // A salt of 32 bytes under its data key: nonce and tag add 28.
            sample.data_key_id, row.signatures[0].get(..60), sample.canonical.as_slice(), row.hashes[4].as_slice(),
        ])?;
        execute_rows!(&mut tx, FACTS, &rows, row => [
            tenant, row.seq, "message.accepted", sample.fact.as_str(), now,
        ])?;
        tx.commit().await
    }

    fn make(&mut self, now: Timestamp) -> Vec<Rows> {
        let mut rows = Vec::with_capacity(self.rows);
        for owner in self.owners.clone().into_iter().cycle().take(self.rows) {
            self.next += 1;
            let mut made = Rows {
                owner,
                seq: self.next,
                message: MessageId::new(now, self.bytes()),
                client: ClientMessageId::new(now, self.bytes()),
                entry: AuditEntryId::new(now, self.bytes()),
                hashes: [[0; 32]; 5],
                signatures: [[0; 64]; 2],
                envelope: vec![0; ENVELOPE],
            };
            made.hashes.iter_mut().for_each(|hash| self.rng.fill_bytes(hash));
            made.signatures.iter_mut().for_each(|signature| self.rng.fill_bytes(signature));
            self.rng.fill_bytes(&mut made.envelope);
            rows.push(made);
        }
        rows
    }

    fn bytes(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}
