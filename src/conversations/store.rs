//! The rows of conversations, participants and record seals.

pub(crate) mod company;
pub(crate) mod members;
pub(crate) mod ties;

use sigilo_wire::{
    AppointmentId, ConversationId, DeviceId, DeviceNumber, SealId, TenantId, Timestamp, UserId,
};
use uuid::Uuid;

use crate::{
    Caller, Error, Result, execute, execute_rows, fetch_all, fetch_list, fetch_optional,
    marks::store::is_unread, paging::Window, policy::Person, statements, storage::Tx,
};

statements! {
    /// Everything a decision inside a conversation needs: a row a participant and relationship with a clinician there,
    /// those that are to begin among them.
    FACTS = "SELECT c.type, c.status AS conversation_status, c.facts_version, c.related_patient_id, u.user_id, u.role,
        u.status, p.role AS participant_role, p.can_leave, r.clinician_id, r.source, r.starts_at, r.expires_at
        FROM conversations c
        JOIN participants p ON p.conversation_id = c.conversation_id AND p.status = 'active'
        JOIN users u ON u.user_id = p.user_id
        LEFT JOIN relationships r ON r.tenant_id = c.tenant_id AND r.patient_id = u.user_id
            AND r.revoked_at IS NULL AND (r.expires_at IS NULL OR r.expires_at > $3)
            AND r.clinician_id IN (SELECT q.user_id FROM participants q
                WHERE q.conversation_id = c.conversation_id AND q.status = 'active')
        WHERE c.conversation_id = $1 AND c.tenant_id = $2";
    /// Who takes part, with the keys a seal must be for and the devices a message must be for. Those of a suspended
    /// account get no messages; its history key stays in the seals, for the day it is resumed. Nor do those of an
    /// emergency's later tiers, until they are called: what is sealed and encrypted for them is withheld.
    MEMBERS = "SELECT u.user_id, u.full_name_enc, u.identity_key, u.history_key_id, u.show_typing, u.show_presence,
        u.show_last_seen, p.status = 'withheld' AS withheld, d.device_id, d.device_number, d.registration_id,
        k.signed_pre_key_at FROM participants p JOIN users u ON u.user_id = p.user_id
        LEFT JOIN devices d ON d.user_id = u.user_id AND u.status = 'active' AND d.kind = 'messaging' AND d.in_manifest
            AND d.revoked_at IS NULL
        LEFT JOIN device_keys k ON k.device_id = d.device_id
        WHERE p.conversation_id = $1 AND p.status IN ('active', 'withheld') ORDER BY u.user_id, d.device_number";
    PEOPLE = "SELECT user_id, role, status FROM users WHERE tenant_id = $1 AND user_id IN ($list)";
    APPOINTMENT = "SELECT patient_id, clinician_id FROM appointments WHERE appointment_id = $1 AND tenant_id = $2";

    BY_PAIR = "SELECT conversation_id FROM conversations WHERE direct_pair = $1 AND tenant_id = $2";
    INSERT = "INSERT INTO conversations (conversation_id, tenant_id, type, status, direct_pair, created_by,
        related_appointment_id, related_patient_id, consultation_type, priority, settings, created_at, updated_at)
        VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, '{}', $10, $10) ON CONFLICT DO NOTHING";
    INSERT_PARTICIPANTS = "INSERT INTO participants (conversation_id, user_id, tenant_id, role, status, can_leave,
        archived, notifications_enabled, joined_at)
        VALUES $rows(UUID, UUID, UUID, TEXT, TEXT, BOOLEAN, BOOLEAN, BOOLEAN, BIGINT)";

    BY_ID = "SELECT c.conversation_id, c.type, c.status, c.created_by, c.related_appointment_id, c.consultation_type,
        c.priority, c.last_seq, c.created_at, c.updated_at, c.closed_at FROM conversations c
        WHERE c.conversation_id = $1 AND c.tenant_id = $2";
    LIST_DOWN = concat!("SELECT c.conversation_id, c.type, c.status, c.created_by, c.related_appointment_id, c.consultation_type,
        c.priority, c.last_seq, c.created_at, c.updated_at, c.closed_at
        FROM participants p JOIN conversations c ON c.conversation_id = p.conversation_id
        WHERE p.user_id = $1 AND p.status = 'active' AND c.tenant_id = $2
        AND (c.updated_at < $3 OR (c.updated_at = $3 AND c.conversation_id < $4))
        AND ($5 = '' OR c.type = $5) AND c.updated_at >= $6
        AND ($7 = '' OR EXISTS (SELECT 1 FROM participants q WHERE q.conversation_id = c.conversation_id
            AND q.user_id = $8 AND q.status = 'active'))
        AND ($11 = 'yes' OR NOT p.archived)
        AND ($12 = '' OR EXISTS (SELECT 1 FROM participants q JOIN users u ON u.user_id = q.user_id
            WHERE q.conversation_id = c.conversation_id AND q.user_id <> p.user_id AND q.status = 'active'
            AND u.role = $12))
        AND ($13 = '' OR c.related_appointment_id = $14)
        AND ($15 = '' OR ($15 = 'true') = EXISTS (SELECT 1 FROM messages m WHERE ", is_unread!("$16"), "))
        ORDER BY c.updated_at DESC, c.conversation_id DESC LIMIT $9 OFFSET $10");
    LIST_UP = concat!("SELECT c.conversation_id, c.type, c.status, c.created_by, c.related_appointment_id, c.consultation_type,
        c.priority, c.last_seq, c.created_at, c.updated_at, c.closed_at
        FROM participants p JOIN conversations c ON c.conversation_id = p.conversation_id
        WHERE p.user_id = $1 AND p.status = 'active' AND c.tenant_id = $2
        AND (c.updated_at > $3 OR (c.updated_at = $3 AND c.conversation_id > $4))
        AND ($5 = '' OR c.type = $5) AND c.updated_at >= $6
        AND ($7 = '' OR EXISTS (SELECT 1 FROM participants q WHERE q.conversation_id = c.conversation_id
            AND q.user_id = $8 AND q.status = 'active'))
        AND ($11 = 'yes' OR NOT p.archived)
        AND ($12 = '' OR EXISTS (SELECT 1 FROM participants q JOIN users u ON u.user_id = q.user_id
            WHERE q.conversation_id = c.conversation_id AND q.user_id <> p.user_id AND q.status = 'active'
            AND u.role = $12))
        AND ($13 = '' OR c.related_appointment_id = $14)
        AND ($15 = '' OR ($15 = 'true') = EXISTS (SELECT 1 FROM messages m WHERE ", is_unread!("$16"), "))
        ORDER BY c.updated_at, c.conversation_id LIMIT $9 OFFSET $10");
    PARTICIPANTS = "SELECT p.conversation_id, p.user_id, u.role AS user_type, u.full_name_enc, p.role, p.joined_at,
        p.can_leave, p.archived, p.notifications_enabled, p.status = 'withheld' AS withheld
        FROM participants p JOIN users u ON u.user_id = p.user_id
        WHERE p.status IN ('active', 'withheld') AND p.conversation_id IN ($list)
        ORDER BY p.conversation_id, p.joined_at, p.user_id";
    DEVICES = "SELECT d.device_id FROM participants p JOIN devices d ON d.user_id = p.user_id
        WHERE p.conversation_id = $1 AND p.status = 'active' AND d.kind = 'messaging' AND d.revoked_at IS NULL
        ORDER BY d.device_id";

    /// Holds these people's rows until the commit, in the order of their ids: whoever changes what holds between people,
    /// and whoever brings people together, do so one after the other. SQLite has one writer.
    LOCK_PEOPLE_POSTGRES = "SELECT user_id FROM users WHERE user_id IN ($list) ORDER BY user_id FOR NO KEY UPDATE";
    /// The conversations of a bump, locked in the order in which the relay's writer locks them.
    LOCK_BETWEEN_POSTGRES = "SELECT c.conversation_id FROM conversations c WHERE c.conversation_id IN
        (SELECT p.conversation_id FROM participants p JOIN participants q ON q.conversation_id = p.conversation_id
         WHERE p.user_id = $1 AND q.user_id = $2 AND p.status IN ('active', 'withheld')
         AND q.status IN ('active', 'withheld'))
        ORDER BY c.conversation_id FOR UPDATE";
    LOCK_OF_POSTGRES = "SELECT c.conversation_id FROM conversations c WHERE c.conversation_id IN
        (SELECT conversation_id FROM participants WHERE user_id = $1 AND status IN ('active', 'withheld'))
        ORDER BY c.conversation_id FOR UPDATE";
    CHANGED_BETWEEN = "UPDATE conversations SET facts_version = facts_version + 1 WHERE conversation_id IN
        (SELECT p.conversation_id FROM participants p JOIN participants q ON q.conversation_id = p.conversation_id
         WHERE p.user_id = $1 AND q.user_id = $2 AND p.status IN ('active', 'withheld')
         AND q.status IN ('active', 'withheld'))
        RETURNING conversation_id";
    CHANGED_OF = "UPDATE conversations SET facts_version = facts_version + 1 WHERE conversation_id IN
        (SELECT conversation_id FROM participants WHERE user_id = $1 AND status IN ('active', 'withheld'))
        RETURNING conversation_id";

    LOCK_OF_MANY_POSTGRES = "SELECT c.conversation_id FROM conversations c WHERE c.conversation_id IN
        (SELECT conversation_id FROM participants WHERE user_id IN ($list) AND status IN ('active', 'withheld'))
        ORDER BY c.conversation_id FOR UPDATE";
    CHANGED_OF_MANY = "UPDATE conversations SET facts_version = facts_version + 1 WHERE conversation_id IN
        (SELECT conversation_id FROM participants WHERE user_id IN ($list) AND status IN ('active', 'withheld'))
        RETURNING conversation_id";

    LOCK_IN_CLINIC_POSTGRES = "SELECT conversation_id FROM conversations WHERE tenant_id = $1
        ORDER BY conversation_id FOR UPDATE";
    CHANGED_IN_CLINIC = "UPDATE conversations SET facts_version = facts_version + 1 WHERE tenant_id = $1";

    CANDIDATES = "SELECT u.user_id, u.role, u.status, u.full_name_enc, u.speciality FROM users u
        WHERE u.tenant_id = $1 AND u.status = 'active' AND u.user_id > $2 AND u.user_id <> $3
        AND ($4 = '' OR u.role = $4)
        AND ($5 = 'everyone' OR ($5 = 'staff' AND u.role IN ('doctor', 'admin')) OR EXISTS
            (SELECT 1 FROM relationships r WHERE r.tenant_id = $1 AND r.revoked_at IS NULL
             AND (r.starts_at IS NULL OR r.starts_at <= $6) AND (r.expires_at IS NULL OR r.expires_at > $6)
             AND ((r.patient_id = $3 AND r.clinician_id = u.user_id)
                 OR (r.clinician_id = $3 AND r.patient_id = u.user_id))))
        ORDER BY u.user_id LIMIT $7";

    PATIENT = "SELECT related_patient_id FROM conversations WHERE conversation_id = $1";
    MEMBER_KEYS = "SELECT u.user_id, u.identity_key, u.history_key_id FROM participants p
        JOIN users u ON u.user_id = p.user_id
        WHERE p.conversation_id = $1 AND p.status IN ('active', 'withheld') ORDER BY u.user_id";
    INSERT_SEAL = "INSERT INTO record_seals (seal_id, tenant_id, conversation_id, sender_id, device_number,
        recipients_digest, created_at, received_at, members, copies, signature)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    SEAL = "SELECT seal_id, conversation_id, sender_id, device_number, created_at, received_at, members, copies,
        signature FROM record_seals WHERE seal_id = $1";
    INSERT_SEAL_REPORT = "INSERT INTO seal_reports (seal_id, reporter_id, tenant_id, device_id, problem, reported_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    SEALS = "SELECT seal_id, conversation_id, sender_id, device_number, created_at, received_at, members, copies,
        signature FROM record_seals WHERE conversation_id = $1
        AND (received_at < $2 OR (received_at = $2 AND seal_id < $3)) AND members LIKE $4
        ORDER BY received_at DESC, seal_id DESC LIMIT $5 OFFSET $6";
}

#[derive(sqlx::FromRow)]
pub(super) struct FactRow {
    pub r#type: String,
    pub conversation_status: String,
    pub facts_version: i64,
    pub related_patient_id: Option<UserId>,
    pub user_id: UserId,
    pub role: String,
    pub status: String,
    pub participant_role: String,
    pub can_leave: bool,
    pub clinician_id: Option<UserId>,
    pub source: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

/// A member of [`MEMBERS`] and one of their devices.
#[derive(sqlx::FromRow)]
pub(super) struct MemberRow {
    pub user_id: UserId,
    pub full_name_enc: Vec<u8>,
    pub identity_key: Option<Vec<u8>>,
    pub history_key_id: Option<Vec<u8>>,
    pub show_typing: bool,
    pub show_presence: bool,
    pub show_last_seen: bool,
    pub withheld: bool,
    pub device_id: Option<DeviceId>,
    pub device_number: Option<DeviceNumber>,
    pub registration_id: Option<i64>,
    pub signed_pre_key_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct PersonRow {
    user_id: UserId,
    role: String,
    status: String,
}

/// A person as rules see them.
pub(super) fn person(tenant: TenantId, id: UserId, role: &str, status: &str) -> Result<Person> {
    Ok(Person { id, tenant, role: role.parse().map_err(Error::Internal)?, active: status == "active" })
}

pub(super) async fn facts(
    tx: &mut Tx,
    tenant: TenantId,
    conversation: ConversationId,
    now: Timestamp,
) -> Result<Vec<FactRow>> {
    fetch_all!(tx, FactRow, FACTS, conversation, tenant, now)
}

pub(super) async fn members(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<MemberRow>> {
    fetch_all!(tx, MemberRow, MEMBERS, conversation)
}

pub(super) async fn people(tx: &mut Tx, tenant: TenantId, ids: &[UserId]) -> Result<Vec<Person>> {
    let rows = fetch_list!(tx, PersonRow, PEOPLE, [tenant], ids)?;
    rows.iter().map(|row| person(tenant, row.user_id, &row.role, &row.status)).collect()
}

pub(super) async fn appointment(
    tx: &mut Tx,
    tenant: TenantId,
    id: AppointmentId,
) -> Result<Option<(UserId, UserId)>> {
    fetch_optional!(tx, (UserId, UserId), APPOINTMENT, id, tenant)
}

pub(super) async fn by_pair(tx: &mut Tx, tenant: TenantId, pair: &[u8]) -> Result<Option<ConversationId>> {
    Ok(fetch_optional!(tx, (ConversationId,), BY_PAIR, pair, tenant)?.map(|(id,)| id))
}

pub(super) struct NewConversation<'a> {
    pub id: ConversationId,
    pub tenant: TenantId,
    pub kind: &'static str,
    pub direct_pair: Option<&'a [u8]>,
    pub created_by: UserId,
    pub appointment: Option<AppointmentId>,
    pub patient: Option<UserId>,
    pub consultation_type: Option<&'a str>,
    pub priority: &'static str,
    pub now: Timestamp,
}

/// `false` when the pair has a direct conversation already.
pub(super) async fn insert(tx: &mut Tx, new: &NewConversation<'_>) -> Result<bool> {
    let touched = execute!(
        tx,
        INSERT,
        new.id,
        new.tenant,
        new.kind,
        new.direct_pair,
        new.created_by,
        new.appointment,
        new.patient,
        new.consultation_type,
        new.priority,
        new.now,
    )?;
    Ok(touched == 1)
}

/// Each with their role in the conversation, and whether they may leave it.
pub(super) async fn insert_participants(
    tx: &mut Tx,
    conversation: ConversationId,
    tenant: TenantId,
    participants: &[(UserId, &'static str, bool)],
    now: Timestamp,
) -> Result<()> {
    execute_rows!(tx, INSERT_PARTICIPANTS, participants, (user, role, can_leave) => [
        conversation, *user, tenant, *role, "active", *can_leave, false, true, now,
    ])?;
    Ok(())
}

#[derive(sqlx::FromRow)]
pub(super) struct ConversationRow {
    pub conversation_id: ConversationId,
    pub r#type: String,
    pub status: String,
    pub created_by: UserId,
    pub related_appointment_id: Option<AppointmentId>,
    pub consultation_type: Option<String>,
    pub priority: String,
    pub last_seq: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

pub(super) async fn by_id(
    tx: &mut Tx,
    tenant: TenantId,
    id: ConversationId,
) -> Result<Option<ConversationRow>> {
    fetch_optional!(tx, ConversationRow, BY_ID, id, tenant)
}

pub(super) struct ListQuery {
    pub user: UserId,
    pub tenant: TenantId,
    pub newest_first: bool,
    pub from: (Timestamp, Uuid),
    pub kind: &'static str,
    pub updated_since: Timestamp,
    pub with_user: Option<UserId>,
    pub include_archived: bool,
    pub participant_type: &'static str,
    pub related_appointment: Option<AppointmentId>,
    pub has_unread: Option<bool>,
    pub now: Timestamp,
    pub window: Window,
}

pub(super) async fn list(tx: &mut Tx, query: &ListQuery) -> Result<Vec<ConversationRow>> {
    let sql = if query.newest_first { LIST_DOWN } else { LIST_UP };
    let asked = if query.with_user.is_some() { "yes" } else { "" };
    let with = query.with_user.unwrap_or(query.user);
    let archived = if query.include_archived { "yes" } else { "" };
    let about = if query.related_appointment.is_some() { "yes" } else { "" };
    let appointment = query.related_appointment.unwrap_or_else(|| AppointmentId::from_bytes([0; 16]));
    let unread = match query.has_unread {
        None => "",
        Some(true) => "true",
        Some(false) => "false",
    };
    let (at, id) = query.from;
    fetch_all!(
        tx,
        ConversationRow,
        sql,
        query.user,
        query.tenant,
        at,
        id,
        query.kind,
        query.updated_since,
        asked,
        with,
        query.window.limit,
        query.window.offset,
        archived,
        query.participant_type,
        about,
        appointment,
        unread,
        query.now,
    )
}

#[derive(sqlx::FromRow)]
pub(super) struct ParticipantRow {
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    pub user_type: String,
    pub full_name_enc: Vec<u8>,
    pub role: String,
    pub joined_at: Timestamp,
    pub can_leave: bool,
    pub archived: bool,
    pub notifications_enabled: bool,
    pub withheld: bool,
}

pub(super) async fn participants(
    tx: &mut Tx,
    conversations: &[ConversationId],
) -> Result<Vec<ParticipantRow>> {
    fetch_list!(tx, ParticipantRow, PARTICIPANTS, [], conversations)
}

/// The messaging devices of everyone in a conversation.
pub(super) async fn devices(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), DEVICES, conversation)?.into_iter().map(|(id,)| id).collect())
}

/// Holds these people's rows until the commit.
pub(crate) async fn lock_people(tx: &mut Tx, people: &[UserId]) -> Result<()> {
    if matches!(tx, Tx::Postgres(_)) {
        fetch_list!(tx, (UserId,), LOCK_PEOPLE_POSTGRES, [], people)?;
    }
    Ok(())
}

pub(super) async fn changed_between(tx: &mut Tx, a: UserId, b: UserId) -> Result<Vec<ConversationId>> {
    lock_people(tx, &[a, b]).await?;
    if matches!(tx, Tx::Postgres(_)) {
        fetch_all!(tx, (ConversationId,), LOCK_BETWEEN_POSTGRES, a, b)?;
    }
    Ok(fetch_all!(tx, (ConversationId,), CHANGED_BETWEEN, a, b)?.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn changed_of(tx: &mut Tx, user: UserId) -> Result<Vec<ConversationId>> {
    lock_people(tx, &[user]).await?;
    if matches!(tx, Tx::Postgres(_)) {
        fetch_all!(tx, (ConversationId,), LOCK_OF_POSTGRES, user)?;
    }
    Ok(fetch_all!(tx, (ConversationId,), CHANGED_OF, user)?.into_iter().map(|(id,)| id).collect())
}

/// Of these people's conversations; locked in one order, as one after the other they could wait for each other.
pub(super) async fn changed_of_many(tx: &mut Tx, users: &[UserId]) -> Result<Vec<ConversationId>> {
    lock_people(tx, users).await?;
    if matches!(tx, Tx::Postgres(_)) {
        fetch_list!(tx, (ConversationId,), LOCK_OF_MANY_POSTGRES, [], users)?;
    }
    let rows = fetch_list!(tx, (ConversationId,), CHANGED_OF_MANY, [], users)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn changed_in_clinic(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    if matches!(tx, Tx::Postgres(_)) {
        fetch_all!(tx, (ConversationId,), LOCK_IN_CLINIC_POSTGRES, tenant)?;
    }
    execute!(tx, CHANGED_IN_CLINIC, tenant)?;
    Ok(())
}

#[derive(sqlx::FromRow)]
pub(super) struct CandidateRow {
    pub user_id: UserId,
    pub role: String,
    pub status: String,
    pub full_name_enc: Vec<u8>,
    pub speciality: Option<String>,
}

pub(super) struct CandidateQuery<'a> {
    pub tenant: TenantId,
    pub after: UserId,
    pub caller: UserId,
    pub role: &'a str,
    /// `everyone` of the clinic, its `staff`, or nobody beside those in care.
    pub circle: &'static str,
    pub now: Timestamp,
    pub limit: i64,
}

pub(super) async fn candidates(tx: &mut Tx, query: &CandidateQuery<'_>) -> Result<Vec<CandidateRow>> {
    fetch_all!(
        tx,
        CandidateRow,
        CANDIDATES,
        query.tenant,
        query.after,
        query.caller,
        query.role,
        query.circle,
        query.now,
        query.limit,
    )
}

/// The patient a conversation is about, if it is about one.
pub(super) async fn patient(tx: &mut Tx, conversation: ConversationId) -> Result<Option<UserId>> {
    Ok(fetch_optional!(tx, (Option<UserId>,), PATIENT, conversation)?.and_then(|(patient,)| patient))
}

#[derive(sqlx::FromRow)]
pub(super) struct MemberKeysRow {
    pub user_id: UserId,
    pub identity_key: Option<Vec<u8>>,
    pub history_key_id: Option<Vec<u8>>,
}

pub(super) async fn member_keys(tx: &mut Tx, conversation: ConversationId) -> Result<Vec<MemberKeysRow>> {
    fetch_all!(tx, MemberKeysRow, MEMBER_KEYS, conversation)
}

#[derive(sqlx::FromRow)]
pub(super) struct SealRow {
    pub seal_id: SealId,
    pub conversation_id: ConversationId,
    pub sender_id: UserId,
    pub device_number: DeviceNumber,
    pub created_at: Timestamp,
    pub received_at: Timestamp,
    pub members: String,
    pub copies: String,
    pub signature: Vec<u8>,
}

/// `false` when a seal has this id already.
pub(super) async fn insert_seal(
    tx: &mut Tx,
    tenant: TenantId,
    seal: &SealRow,
    recipients_digest: &[u8],
) -> Result<bool> {
    let touched = execute!(
        tx,
        INSERT_SEAL,
        seal.seal_id,
        tenant,
        seal.conversation_id,
        seal.sender_id,
        seal.device_number,
        recipients_digest,
        seal.created_at,
        seal.received_at,
        seal.members.as_str(),
        seal.copies.as_str(),
        seal.signature.as_slice(),
    )?;
    Ok(touched == 1)
}

pub(super) async fn seal(tx: &mut Tx, id: SealId) -> Result<Option<SealRow>> {
    fetch_optional!(tx, SealRow, SEAL, id)
}

/// `false` when this person has reported the seal before.
pub(super) async fn insert_seal_report(
    tx: &mut Tx,
    tenant: TenantId,
    (seal, problem): (SealId, &str),
    reporter: &Caller,
    now: Timestamp,
) -> Result<bool> {
    let (user, device) = (reporter.user_id, reporter.device_id);
    Ok(execute!(tx, INSERT_SEAL_REPORT, seal, user, tenant, device, problem, now)? == 1)
}

pub(super) async fn seals(
    tx: &mut Tx,
    conversation: ConversationId,
    only: Option<UserId>,
    from: (Timestamp, Uuid),
    window: Window,
) -> Result<Vec<SealRow>> {
    let members = only.map_or_else(|| "%".to_owned(), |user| format!("%\"{user}\"%"));
    fetch_all!(tx, SealRow, SEALS, conversation, from.0, from.1, members, window.limit, window.offset)
}
