//! The rows of shifts, emergencies and what is withheld.

use sigilo_wire::{
    ConversationId, DeviceId, MessageId, ShiftId, TenantId, Timestamp, UserId,
    emergency::{OnCallMember, Shift},
};

use crate::{
    Error, Result, add_rows, execute, execute_rows, fetch_all, fetch_one, fetch_optional,
    paging::Window,
    statements,
    storage::{Tx, script::Script},
};

macro_rules! emergency_columns {
    () => {
        "conversation_id, tenant_id, patient_id, category, urgency, state, tier, tiers, escalate_after_s, due_at, flagged,
         opened_at, acknowledged_by, acknowledged_at, closed_by, closed_at, outcome"
    };
}

statements! {
    OPEN_OF_PERSON = "SELECT COUNT(*) FROM participants p
        JOIN conversations c ON c.conversation_id = p.conversation_id AND c.type = 'emergency' AND c.status = 'active'
        WHERE p.user_id = $1 AND p.status = 'active'";
    SHIFTS = "SELECT shift_id, user_id, tier, starts_at, ends_at FROM on_call_shifts
        WHERE tenant_id = $1 AND (ends_at IS NULL OR ends_at > $2) ORDER BY starts_at, shift_id";
    INSERT_SHIFT = "INSERT INTO on_call_shifts (shift_id, tenant_id, user_id, tier, starts_at, ends_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    DELETE_SHIFT = "DELETE FROM on_call_shifts WHERE shift_id = $1 AND tenant_id = $2 RETURNING user_id";
    /// Clinicians who can be sealed and written to: an active account, a manifest of the identity in force (after a
    /// change of identity there is none until the new one has signed one), and a device of it with keys.
    REACHABLE = "SELECT u.user_id FROM users u
        JOIN manifests m ON m.user_id = u.user_id AND m.version = u.manifest_version AND m.identity_seq = u.identity_seq
        WHERE u.tenant_id = $1 AND u.role = 'doctor' AND u.status = 'active' AND u.identity_key IS NOT NULL
        AND EXISTS (SELECT 1 FROM devices d JOIN device_keys k ON k.device_id = d.device_id
            WHERE d.user_id = u.user_id AND d.in_manifest AND d.revoked_at IS NULL)";
    ROLE = "SELECT role FROM users WHERE user_id = $1 AND tenant_id = $2";
    EMERGENCY_NUMBER = "SELECT emergency_number FROM tenants WHERE tenant_id = $1";

    RECENT = "SELECT COUNT(*) FROM emergencies WHERE patient_id = $1 AND opened_at > $2";
    INSERT_CONVERSATION = "INSERT INTO conversations (conversation_id, tenant_id, type, status, created_by,
        related_patient_id, priority, settings, created_at, updated_at)
        VALUES ($1, $2, 'emergency', 'active', $3, $3, 'urgent', '{}', $4, $4)";
    INSERT_PARTICIPANTS = "INSERT INTO participants (conversation_id, user_id, tenant_id, role, status, can_leave,
        archived, notifications_enabled, joined_at)
        VALUES $rows(UUID, UUID, UUID, TEXT, TEXT, BOOLEAN, BOOLEAN, BOOLEAN, BIGINT)";
    INSERT = "INSERT INTO emergencies (conversation_id, tenant_id, patient_id, category, urgency, state, tier, tiers,
        escalate_after_s, due_at, flagged, opened_at) VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9, $10, $11)";
    INSERT_PEOPLE = "INSERT INTO emergency_people (conversation_id, user_id, tier) VALUES $rows(UUID, UUID, BIGINT)";
    BY_ID = concat!("SELECT ", emergency_columns!(), " FROM emergencies WHERE conversation_id = $1 AND tenant_id = $2");
    LIST = concat!("SELECT ", emergency_columns!(), " FROM emergencies WHERE tenant_id = $1 AND ($2 = '' OR flagged)
        AND (opened_at < $3 OR (opened_at = $3 AND conversation_id < $4))
        ORDER BY opened_at DESC, conversation_id DESC LIMIT $5 OFFSET $6");
    PEOPLE = "SELECT user_id, tier FROM emergency_people WHERE conversation_id = $1 ORDER BY tier, user_id";
    DUE = "SELECT conversation_id, tenant_id FROM emergencies WHERE due_at IS NOT NULL AND due_at <= $1
        ORDER BY due_at, conversation_id LIMIT 100";

    /// The lock of the conversation: the relay's writer waits for it, and finds other facts afterwards.
    MOVE_ON = "UPDATE conversations SET facts_version = facts_version + 1, updated_at = $2
        WHERE conversation_id = $1 AND status = 'active' RETURNING last_seq";
    ACKNOWLEDGE = "UPDATE emergencies SET state = 'acknowledged', acknowledged_by = $2, acknowledged_at = $3,
        due_at = NULL WHERE conversation_id = $1 AND state = 'open'";
    CALL = "UPDATE emergencies SET tier = tier + 1, due_at = $3 WHERE conversation_id = $1 AND tier = $2";
    EXHAUST = "UPDATE emergencies SET due_at = NULL WHERE conversation_id = $1";
    /// Whoever looked after it is gone, or nobody is left who was called: the next tier's turn.
    ABANDON = "UPDATE emergencies SET state = 'open', acknowledged_by = NULL, acknowledged_at = NULL, due_at = $2
        WHERE state <> 'closed'
        AND conversation_id IN (SELECT p.conversation_id FROM participants p WHERE p.user_id = $1 AND p.status = 'active')
        AND (acknowledged_by = $1 OR NOT EXISTS (SELECT 1 FROM participants q
            JOIN users u ON u.user_id = q.user_id AND u.role = 'doctor' AND u.status = 'active'
            WHERE q.conversation_id = emergencies.conversation_id AND q.status = 'active' AND q.user_id <> $1))";
    /// What their devices got, they keep; who was not called yet has no part in it.
    STEP_OUT = "UPDATE participants SET status = CASE WHEN status = 'active' THEN 'left' ELSE 'uncalled' END, left_at = $2
        WHERE user_id = $1 AND status IN ('active', 'withheld') AND conversation_id IN
        (SELECT p.conversation_id FROM emergency_people p JOIN emergencies e ON e.conversation_id = p.conversation_id
         WHERE p.user_id = $1 AND e.state <> 'closed')
        RETURNING conversation_id, status = 'left'";
    STRIKE = "DELETE FROM emergency_people WHERE conversation_id = $1 AND user_id = $2";
    DROP_ENVELOPES_FOR = "DELETE FROM withheld_envelopes WHERE device_id IN
        (SELECT device_id FROM devices WHERE user_id = $1)";
    HURRY = "UPDATE emergencies SET due_at = $2 WHERE conversation_id = $1 AND due_at > $2";
    CLOSE = "UPDATE emergencies SET state = 'closed', closed_by = $2, closed_at = $3, outcome = $4, due_at = NULL
        WHERE conversation_id = $1";
    CLOSE_CONVERSATION = "UPDATE conversations SET status = 'closed', closed_at = $2, updated_at = $2,
        facts_version = facts_version + 1 WHERE conversation_id = $1";
    /// Seals were for them from the beginning: when they joined stays when it was opened.
    JOIN = "UPDATE participants SET status = 'active' WHERE conversation_id = $1 AND status = 'withheld'
        AND user_id IN (SELECT user_id FROM emergency_people WHERE conversation_id = $1 AND tier = $2)";
    /// Tiers that were never called have no part in what is over.
    DROP_WITHHELD = "UPDATE participants SET status = 'uncalled', left_at = $2
        WHERE conversation_id = $1 AND status = 'withheld'";
    DROP_ENVELOPES = "DELETE FROM withheld_envelopes WHERE conversation_id = $1";

    INSERT_WITHHELD = "INSERT INTO withheld_envelopes (device_id, message_id, conversation_id, envelope_type, envelope)
        VALUES $rows(UUID, UUID, UUID, BIGINT, BYTEA)";
    TIER_DEVICES = "SELECT d.device_id FROM emergency_people e
        JOIN users u ON u.user_id = e.user_id AND u.status = 'active'
        JOIN devices d ON d.user_id = e.user_id AND d.kind = 'messaging' AND d.revoked_at IS NULL
        WHERE e.conversation_id = $1 AND e.tier = $2 ORDER BY d.device_id";
    WITHHELD = "SELECT w.device_id, w.message_id, m.sender_id, m.kind, w.envelope_type, w.envelope
        FROM withheld_envelopes w
        JOIN messages m ON m.message_id = w.message_id
        JOIN devices d ON d.device_id = w.device_id AND d.revoked_at IS NULL AND d.in_manifest
        JOIN users u ON u.user_id = d.user_id AND u.status = 'active'
        JOIN emergency_people e ON e.conversation_id = w.conversation_id AND e.user_id = d.user_id
        WHERE w.conversation_id = $1 AND e.tier = $2 ORDER BY w.device_id, m.conversation_seq";
    DELETE_WITHHELD = "DELETE FROM withheld_envelopes WHERE conversation_id = $1 AND device_id IN
        (SELECT d.device_id FROM devices d JOIN emergency_people e ON e.user_id = d.user_id
         WHERE e.conversation_id = $1 AND e.tier = $2)";
    MEMBER_DEVICES = "SELECT d.device_id FROM participants p
        JOIN users u ON u.user_id = p.user_id AND u.status = 'active' JOIN devices d ON d.user_id = p.user_id
        WHERE p.conversation_id = $1 AND p.status = 'active' AND d.kind = 'messaging' AND d.revoked_at IS NULL
        ORDER BY d.device_id";
    ROLE_DEVICES = "SELECT d.device_id FROM users u JOIN devices d ON d.user_id = u.user_id
        WHERE u.tenant_id = $1 AND u.role = $2 AND u.status = 'active' AND d.kind = 'messaging' AND d.revoked_at IS NULL
        ORDER BY d.device_id";
}

#[derive(sqlx::FromRow)]
struct ShiftRow {
    shift_id: ShiftId,
    user_id: UserId,
    tier: i64,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
}

fn tier(stored: i64) -> Result<u32> {
    u32::try_from(stored).map_err(Error::internal)
}

/// The shifts that have not ended, in order of their beginning.
/// Whether the person takes part in an open emergency.
pub(super) async fn is_in_one(tx: &mut Tx, user: UserId) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), OPEN_OF_PERSON, user)?.0 > 0)
}

pub(super) async fn shifts(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<Vec<Shift>> {
    let rows = fetch_all!(tx, ShiftRow, SHIFTS, tenant, now)?;
    let shift = |row: ShiftRow| {
        let ShiftRow { shift_id, user_id, starts_at, ends_at, .. } = row;
        Ok(Shift { shift_id, user_id, tier: tier(row.tier)?, from: starts_at, until: ends_at })
    };
    rows.into_iter().map(shift).collect()
}

pub(super) async fn insert_shift(tx: &mut Tx, tenant: TenantId, shift: &Shift, now: Timestamp) -> Result<()> {
    let Shift { shift_id, user_id, tier, from, until } = *shift;
    execute!(tx, INSERT_SHIFT, shift_id, tenant, user_id, i64::from(tier), from, until, now)?;
    Ok(())
}

/// Whose it was.
pub(super) async fn delete_shift(tx: &mut Tx, tenant: TenantId, shift: ShiftId) -> Result<Option<UserId>> {
    Ok(fetch_optional!(tx, (UserId,), DELETE_SHIFT, shift, tenant)?.map(|(user,)| user))
}

/// The clinicians that can be called at all.
pub(super) async fn reachable(tx: &mut Tx, tenant: TenantId) -> Result<Vec<UserId>> {
    Ok(fetch_all!(tx, (UserId,), REACHABLE, tenant)?.into_iter().map(|(user,)| user).collect())
}

pub(super) async fn role(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<String>> {
    Ok(fetch_optional!(tx, (String,), ROLE, user, tenant)?.map(|(role,)| role))
}

pub(super) async fn emergency_number(tx: &mut Tx, tenant: TenantId) -> Result<String> {
    Ok(fetch_one!(tx, (String,), EMERGENCY_NUMBER, tenant)?.0)
}

/// How many a patient has opened since.
pub(super) async fn recent(tx: &mut Tx, patient: UserId, since: Timestamp) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), RECENT, patient, since)?.0)
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct EmergencyRow {
    pub conversation_id: ConversationId,
    pub tenant_id: TenantId,
    pub patient_id: UserId,
    pub category: String,
    pub urgency: String,
    pub state: String,
    pub tier: i64,
    pub tiers: i64,
    pub escalate_after_s: i64,
    pub due_at: Option<Timestamp>,
    pub flagged: bool,
    pub opened_at: Timestamp,
    pub acknowledged_by: Option<UserId>,
    pub acknowledged_at: Option<Timestamp>,
    pub closed_by: Option<UserId>,
    pub closed_at: Option<Timestamp>,
    pub outcome: Option<String>,
}

/// Writes the emergency, its conversation and its people: the patient and the first tier take part, the others are
/// withheld.
pub(super) async fn insert(tx: &mut Tx, row: &EmergencyRow, people: &[OnCallMember]) -> Result<()> {
    let (id, tenant, patient, now) = (row.conversation_id, row.tenant_id, row.patient_id, row.opened_at);
    execute!(tx, INSERT_CONVERSATION, id, tenant, patient, now)?;
    let mut members = vec![(patient, "participant", "active")];
    let status = |tier| if tier == 1 { "active" } else { "withheld" };
    members.extend(people.iter().map(|member| (member.user_id, "moderator", status(member.tier))));
    execute_rows!(tx, INSERT_PARTICIPANTS, &members, (user, role, status) => [
        id, *user, tenant, *role, *status, false, false, true, now,
    ])?;
    execute!(
        tx,
        INSERT,
        id,
        tenant,
        patient,
        row.category.as_str(),
        row.urgency.as_str(),
        row.tier,
        row.tiers,
        row.escalate_after_s,
        row.due_at,
        row.flagged,
        now,
    )?;
    execute_rows!(tx, INSERT_PEOPLE, people, member => [id, member.user_id, i64::from(member.tier)])?;
    Ok(())
}

pub(super) async fn by_id(tx: &mut Tx, tenant: TenantId, id: ConversationId) -> Result<Option<EmergencyRow>> {
    fetch_optional!(tx, EmergencyRow, BY_ID, id, tenant)
}

/// Those opened before this one, the newest first.
pub(super) async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    flagged: bool,
    (opened_at, id): (Timestamp, ConversationId),
    window: Window,
) -> Result<Vec<EmergencyRow>> {
    let flagged = if flagged { "yes" } else { "" };
    fetch_all!(tx, EmergencyRow, LIST, tenant, flagged, opened_at, id, window.limit, window.offset)
}

pub(super) async fn people(tx: &mut Tx, id: ConversationId) -> Result<Vec<OnCallMember>> {
    let rows = fetch_all!(tx, (UserId, i64), PEOPLE, id)?;
    rows.into_iter().map(|(user_id, stored)| Ok(OnCallMember { user_id, tier: tier(stored)? })).collect()
}

/// Emergencies nobody has acknowledged in time.
pub(super) async fn due(tx: &mut Tx, now: Timestamp) -> Result<Vec<(ConversationId, TenantId)>> {
    fetch_all!(tx, (ConversationId, TenantId), DUE, now)
}

/// Makes every grant on the conversation stale and holds it until the commit; `false` when it is closed.
pub(super) async fn move_on(tx: &mut Tx, id: ConversationId, now: Timestamp) -> Result<bool> {
    Ok(fetch_optional!(tx, (i64,), MOVE_ON, id, now)?.is_some())
}

/// A clinician is gone from one moment to the next: what they alone looked after is due at once. The caller holds their
/// conversations.
pub(crate) async fn abandon(tx: &mut Tx, clinician: UserId, now: Timestamp) -> Result<()> {
    execute!(tx, ABANDON, clinician, now)?;
    Ok(())
}

/// A clinician takes part in no open emergency any more. Gives the conversations, and whether they had been called. The
/// caller holds them.
pub(super) async fn step_out(
    tx: &mut Tx,
    clinician: UserId,
    now: Timestamp,
) -> Result<Vec<(ConversationId, bool)>> {
    let left = fetch_all!(tx, (ConversationId, bool), STEP_OUT, clinician, now)?;
    for (conversation, _) in &left {
        execute!(tx, STRIKE, *conversation, clinician)?;
    }
    execute!(tx, DROP_ENVELOPES_FOR, clinician)?;
    Ok(left)
}

/// Nobody is left of the tier that was called: the next one is due at once.
pub(super) async fn hurry(tx: &mut Tx, id: ConversationId, now: Timestamp) -> Result<()> {
    execute!(tx, HURRY, id, now)?;
    Ok(())
}

/// `false` when somebody has before.
pub(super) async fn acknowledge(tx: &mut Tx, id: ConversationId, by: UserId, now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, ACKNOWLEDGE, id, by, now)? == 1)
}

/// Calls the tier after this one: its people take part from now on. `false` when it was called before.
pub(super) async fn call(
    tx: &mut Tx,
    id: ConversationId,
    tier: i64,
    due_at: Option<Timestamp>,
) -> Result<bool> {
    if execute!(tx, CALL, id, tier, due_at)? != 1 {
        return Ok(false);
    }
    execute!(tx, JOIN, id, tier + 1)?;
    Ok(true)
}

/// Nobody is left to call: it is looked at no more.
pub(super) async fn exhaust(tx: &mut Tx, id: ConversationId) -> Result<()> {
    execute!(tx, EXHAUST, id)?;
    Ok(())
}

/// Closes the emergency and its conversation, and drops what is withheld.
pub(super) async fn close(
    tx: &mut Tx,
    id: ConversationId,
    by: UserId,
    outcome: &str,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, CLOSE_CONVERSATION, id, now)?;
    execute!(tx, CLOSE, id, by, now, outcome)?;
    execute!(tx, DROP_WITHHELD, id, now)?;
    execute!(tx, DROP_ENVELOPES, id)?;
    Ok(())
}

/// An envelope that waits for its tier.
#[derive(Clone, Debug)]
pub(crate) struct Withheld {
    pub(crate) device: DeviceId,
    pub(crate) message: MessageId,
    pub(crate) conversation: ConversationId,
    pub(crate) envelope: sigilo_wire::event::Envelope,
}

/// Adds envelopes that wait for their tier to what is about to be written.
pub(crate) fn add_withheld(script: &mut Script, rows: &[Withheld]) -> Result<()> {
    add_rows!(script, INSERT_WITHHELD, rows, row => [
        row.device, row.message, row.conversation, i64::from(row.envelope.r#type.number()),
        row.envelope.content.0.as_slice(),
    ]);
    Ok(())
}

#[derive(sqlx::FromRow)]
pub(super) struct WithheldRow {
    pub device_id: DeviceId,
    pub message_id: MessageId,
    pub sender_id: UserId,
    pub kind: String,
    pub envelope_type: i64,
    pub envelope: Vec<u8>,
}

/// The devices of a tier, and the envelopes that waited for them, each device's in order; they wait no more.
pub(super) async fn release(
    tx: &mut Tx,
    id: ConversationId,
    tier: i64,
) -> Result<(Vec<DeviceId>, Vec<WithheldRow>)> {
    let devices = fetch_all!(tx, (DeviceId,), TIER_DEVICES, id, tier)?;
    let rows = fetch_all!(tx, WithheldRow, WITHHELD, id, tier)?;
    execute!(tx, DELETE_WITHHELD, id, tier)?;
    Ok((devices.into_iter().map(|(device,)| device).collect(), rows))
}

pub(super) async fn member_devices(tx: &mut Tx, id: ConversationId) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), MEMBER_DEVICES, id)?.into_iter().map(|(device,)| device).collect())
}

/// The messaging devices of everybody of a role.
pub(crate) async fn role_devices(tx: &mut Tx, tenant: TenantId, role: &str) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), ROLE_DEVICES, tenant, role)?.into_iter().map(|(device,)| device).collect())
}
