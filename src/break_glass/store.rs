//! The rows of break-glass and the relationships it makes.

use sigilo_wire::{BreakGlassId, DeviceId, RelationshipId, TenantId, Timestamp, UserId};

use super::review::Which;
use crate::{
    Error, Result, execute, fetch_all, fetch_one, fetch_optional, paging::Window, policy::Person, statements,
    storage::Tx,
};

statements! {
    PERSON = "SELECT role, status FROM users WHERE user_id = $1 AND tenant_id = $2";
    RELATED = "SELECT COUNT(*) FROM relationships WHERE tenant_id = $1 AND patient_id = $2 AND clinician_id = $3
        AND revoked_at IS NULL AND (starts_at IS NULL OR starts_at <= $4) AND (expires_at IS NULL OR expires_at > $4)";
    INSERT_RELATIONSHIP = "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source,
        created_at, expires_at) VALUES ($1, $2, 'care', $3, $4, 'break_glass', $5, $6)";
    INSERT = "INSERT INTO break_glass (break_glass_id, tenant_id, clinician_id, patient_id, relationship_id, reason,
        text_enc, opened_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    WAITING = "SELECT break_glass_id, clinician_id, patient_id, reason, text_enc, opened_at, expires_at, reviewed_by,
        reviewed_at, finding FROM break_glass WHERE tenant_id = $1 AND reviewed_at IS NULL
        AND (opened_at > $2 OR (opened_at = $2 AND break_glass_id > $3)) ORDER BY opened_at, break_glass_id LIMIT $4 OFFSET $5";
    REVIEWED = "SELECT break_glass_id, clinician_id, patient_id, reason, text_enc, opened_at, expires_at, reviewed_by,
        reviewed_at, finding FROM break_glass WHERE tenant_id = $1 AND reviewed_at IS NOT NULL
        AND (opened_at < $2 OR (opened_at = $2 AND break_glass_id < $3))
        ORDER BY opened_at DESC, break_glass_id DESC LIMIT $4 OFFSET $5";
    ALL_USES = "SELECT break_glass_id, clinician_id, patient_id, reason, text_enc, opened_at, expires_at, reviewed_by,
        reviewed_at, finding FROM break_glass WHERE tenant_id = $1
        AND (opened_at < $2 OR (opened_at = $2 AND break_glass_id < $3))
        ORDER BY opened_at DESC, break_glass_id DESC LIMIT $4 OFFSET $5";
    BY_ID = "SELECT break_glass_id, clinician_id, patient_id, reason, text_enc, opened_at, expires_at, reviewed_by,
        reviewed_at, finding FROM break_glass WHERE break_glass_id = $1 AND tenant_id = $2";
    REVIEW = "UPDATE break_glass SET reviewed_by = $2, reviewed_at = $3, finding = $4
        WHERE break_glass_id = $1 AND tenant_id = $5 AND reviewed_at IS NULL";
    ENDING = "SELECT break_glass_id, tenant_id, clinician_id, patient_id FROM break_glass
        WHERE ended_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT 100";
    END = "UPDATE break_glass SET ended_at = $2 WHERE break_glass_id = $1 AND ended_at IS NULL";
    USER_DEVICES = "SELECT device_id FROM devices WHERE user_id = $1 AND kind = 'messaging' AND revoked_at IS NULL
        ORDER BY device_id";
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub break_glass_id: BreakGlassId,
    pub clinician_id: UserId,
    pub patient_id: UserId,
    pub reason: String,
    pub text_enc: Vec<u8>,
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    pub reviewed_by: Option<UserId>,
    pub reviewed_at: Option<Timestamp>,
    pub finding: Option<String>,
}

/// A use whose time is over, and of whose end nobody was told yet.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Ending {
    pub break_glass_id: BreakGlassId,
    pub tenant_id: TenantId,
    pub clinician_id: UserId,
    pub patient_id: UserId,
}

pub(super) async fn ending(tx: &mut Tx, now: Timestamp) -> Result<Vec<Ending>> {
    fetch_all!(tx, Ending, ENDING, now)
}

/// `false` when its end was told before.
pub(super) async fn end(tx: &mut Tx, id: BreakGlassId, now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, END, id, now)? == 1)
}

/// Somebody of the clinic, as rules see them.
pub(super) async fn person(tx: &mut Tx, tenant: TenantId, id: UserId) -> Result<Option<Person>> {
    let row = fetch_optional!(tx, (String, String), PERSON, id, tenant)?;
    row.map(|(role, status)| {
        let role = role.parse().map_err(Error::Internal)?;
        Ok(Person { id, tenant, role, active: status == "active" })
    })
    .transpose()
}

/// Whether there is care between the two now.
pub(super) async fn related(
    tx: &mut Tx,
    tenant: TenantId,
    (patient, clinician): (UserId, UserId),
    now: Timestamp,
) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), RELATED, tenant, patient, clinician, now)?.0 > 0)
}

/// Writes the use and the relationship that comes of it.
pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    relationship: RelationshipId,
    row: &Row,
) -> Result<()> {
    let (patient, clinician) = (row.patient_id, row.clinician_id);
    let (from, until) = (row.opened_at, row.expires_at);
    execute!(tx, INSERT_RELATIONSHIP, relationship, tenant, patient, clinician, from, until)?;
    let (id, reason, text) = (row.break_glass_id, row.reason.as_str(), row.text_enc.as_slice());
    execute!(tx, INSERT, id, tenant, clinician, patient, relationship, reason, text, from, until)?;
    Ok(())
}

/// Uses of one kind, those after this one in its order.
pub(super) async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    which: Which,
    (opened_at, id): (Timestamp, BreakGlassId),
    window: Window,
) -> Result<Vec<Row>> {
    let sql = match which {
        Which::Waiting => WAITING,
        Which::Reviewed => REVIEWED,
        Which::All => ALL_USES,
    };
    fetch_all!(tx, Row, sql, tenant, opened_at, id, window.limit, window.offset)
}

pub(super) async fn by_id(tx: &mut Tx, tenant: TenantId, id: BreakGlassId) -> Result<Option<Row>> {
    fetch_optional!(tx, Row, BY_ID, id, tenant)
}

/// `false` when it was reviewed before.
pub(super) async fn review(
    tx: &mut Tx,
    (tenant, id): (TenantId, BreakGlassId),
    by: UserId,
    finding: &str,
    now: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, REVIEW, id, by, now, finding, tenant)? == 1)
}

pub(super) async fn user_devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), USER_DEVICES, user)?.into_iter().map(|(device,)| device).collect())
}
