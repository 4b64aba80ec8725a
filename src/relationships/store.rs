//! The rows of imported people, appointments and relationships.

pub(crate) mod care_teams;

use sigilo_wire::{AppointmentId, CareTeamId, RelationshipId, Role, TenantId, Timestamp, UserId};

use super::{AppointmentRecord, Identifier};
use crate::{Result, execute, fetch_all, fetch_optional, paging::Window, statements, storage::Tx};

/// What is shown of a relationship.
macro_rules! columns {
    () => {
        "r.relationship_id, r.kind, r.patient_id, p.full_name_enc AS patient_name_enc, r.clinician_id,
        c.full_name_enc AS clinician_name_enc, r.source, r.care_team_id, r.reason, r.text_enc, r.created_at,
        r.starts_at, r.expires_at, r.revoked_at,
        EXISTS (SELECT 1 FROM blocks b WHERE b.blocker_id = r.patient_id AND b.blocked_id = r.clinician_id)
            AS patient_blocks,
        EXISTS (SELECT 1 FROM blocks b WHERE b.blocker_id = r.clinician_id AND b.blocked_id = r.patient_id)
            AS clinician_blocks
        FROM relationships r JOIN users p ON p.user_id = r.patient_id JOIN users c ON c.user_id = r.clinician_id"
    };
}

statements! {
    /// One import of a clinic at a time: two would make a person twice.
    LOCK_CLINIC = "UPDATE tenants SET slug = slug WHERE tenant_id = $1 RETURNING tenant_id";
    PERSON = "SELECT u.user_id, u.role, u.status, u.full_name_enc, u.speciality FROM external_identifiers i
        JOIN users u ON u.user_id = i.user_id WHERE i.tenant_id = $1 AND i.system = $2 AND i.value = $3";
    INSERT_PERSON = "INSERT INTO users (user_id, tenant_id, role, status, full_name_enc, speciality, created_at)
        VALUES ($1, $2, $3, 'person', $4, $5, $6)";
    UPDATE_PERSON = "UPDATE users SET full_name_enc = $2, speciality = $3 WHERE user_id = $1";
    INSERT_IDENTIFIER = "INSERT INTO external_identifiers (tenant_id, system, value, user_id, created_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    APPOINTMENTS = "SELECT appointment_id, patient_id, clinician_id, status, starts_at, ends_at FROM appointments
        WHERE tenant_id = $1 AND system = $2 AND value = $3";
    INSERT_APPOINTMENT = "INSERT INTO appointments (appointment_id, tenant_id, system, value, patient_id, clinician_id,
        status, starts_at, ends_at, imported_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    UPDATE_APPOINTMENT = "UPDATE appointments SET status = $2, starts_at = $3, ends_at = $4, imported_at = $5
        WHERE appointment_id = $1";
    STANDING = "SELECT relationship_id, revocation FROM relationships WHERE appointment_id = $1
        AND (revoked_at IS NULL OR revocation = 'decision')";
    INSERT_RELATIONSHIP = "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id,
        appointment_id, source, created_at) VALUES ($1, $2, 'care', $3, $4, $5, 'appointment', $6)";
    REVOKE_OF_APPOINTMENT = "UPDATE relationships SET revoked_at = $2, revocation = 'appointment'
        WHERE appointment_id = $1 AND revoked_at IS NULL RETURNING relationship_id";

    PAIR = "SELECT patient_id, clinician_id FROM relationships WHERE relationship_id = $1 AND tenant_id = $2";
    REVOKE_PAIR = "UPDATE relationships SET revoked_at = $4, revocation = 'decision'
        WHERE tenant_id = $1 AND patient_id = $2 AND clinician_id = $3 AND revoked_at IS NULL
        RETURNING relationship_id";
    INSERT_GRANT = "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source, reason,
        text_enc, granted_by, created_at, expires_at) VALUES ($1, $2, 'care', $3, $4, 'grant', $5, $6, $7, $8, $9)";
    LIST = concat!("SELECT ", columns!(), " WHERE r.tenant_id = $1 AND r.relationship_id > $2
        AND ($3 = '' OR r.patient_id = $4) AND ($5 = '' OR r.clinician_id = $6) ORDER BY r.relationship_id LIMIT $7 OFFSET $8");
    ONE = concat!("SELECT ", columns!(), " WHERE r.tenant_id = $1 AND r.relationship_id = $2");
}

pub(super) async fn lock_clinic(tx: &mut Tx, tenant: TenantId) -> Result<bool> {
    Ok(fetch_optional!(tx, (TenantId,), LOCK_CLINIC, tenant)?.is_some())
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct PersonRow {
    pub user_id: UserId,
    pub role: String,
    pub status: String,
    pub full_name_enc: Vec<u8>,
    pub speciality: Option<String>,
}

pub(super) async fn person(tx: &mut Tx, tenant: TenantId, id: &Identifier) -> Result<Option<PersonRow>> {
    fetch_optional!(tx, PersonRow, PERSON, tenant, id.system.as_str(), id.value.as_str())
}

pub(super) async fn insert_person(
    tx: &mut Tx,
    user: UserId,
    (tenant, role): (TenantId, Role),
    name_enc: &[u8],
    speciality: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT_PERSON, user, tenant, role.as_str(), name_enc, speciality, now)?;
    Ok(())
}

pub(super) async fn update_person(
    tx: &mut Tx,
    user: UserId,
    name_enc: &[u8],
    speciality: Option<&str>,
) -> Result<()> {
    execute!(tx, UPDATE_PERSON, user, name_enc, speciality)?;
    Ok(())
}

pub(super) async fn insert_identifier(
    tx: &mut Tx,
    tenant: TenantId,
    id: &Identifier,
    user: UserId,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT_IDENTIFIER, tenant, id.system.as_str(), id.value.as_str(), user, now)?;
    Ok(())
}

#[derive(Clone, sqlx::FromRow)]
pub(super) struct AppointmentRow {
    pub appointment_id: AppointmentId,
    pub patient_id: UserId,
    pub clinician_id: UserId,
    pub status: String,
    pub starts_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
}

pub(super) async fn appointments(
    tx: &mut Tx,
    tenant: TenantId,
    id: &Identifier,
) -> Result<Vec<AppointmentRow>> {
    fetch_all!(tx, AppointmentRow, APPOINTMENTS, tenant, id.system.as_str(), id.value.as_str())
}

pub(super) async fn insert_appointment(
    tx: &mut Tx,
    id: AppointmentId,
    tenant: TenantId,
    (patient, clinician): (UserId, UserId),
    record: &AppointmentRecord,
    now: Timestamp,
) -> Result<()> {
    execute!(
        tx,
        INSERT_APPOINTMENT,
        id,
        tenant,
        record.identifier.system.as_str(),
        record.identifier.value.as_str(),
        patient,
        clinician,
        record.status.as_str(),
        record.starts_at,
        record.ends_at,
        now,
    )?;
    Ok(())
}

pub(super) async fn update_appointment(
    tx: &mut Tx,
    id: AppointmentId,
    status: &str,
    times: (Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
) -> Result<()> {
    execute!(tx, UPDATE_APPOINTMENT, id, status, times.0, times.1, now)?;
    Ok(())
}

/// Whether the appointment's relationship stands, or was revoked by a person's decision.
pub(super) async fn is_settled(tx: &mut Tx, appointment: AppointmentId) -> Result<bool> {
    Ok(!fetch_all!(tx, (RelationshipId, Option<String>), STANDING, appointment)?.is_empty())
}

pub(super) async fn insert_relationship(
    tx: &mut Tx,
    id: RelationshipId,
    tenant: TenantId,
    (patient, clinician): (UserId, UserId),
    appointment: AppointmentId,
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT_RELATIONSHIP, id, tenant, patient, clinician, appointment, now)?;
    Ok(())
}

pub(super) async fn revoke_of_appointment(
    tx: &mut Tx,
    appointment: AppointmentId,
    now: Timestamp,
) -> Result<Vec<RelationshipId>> {
    let rows = fetch_all!(tx, (RelationshipId,), REVOKE_OF_APPOINTMENT, appointment, now)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn pair(
    tx: &mut Tx,
    tenant: TenantId,
    id: RelationshipId,
) -> Result<Option<(UserId, UserId)>> {
    fetch_optional!(tx, (UserId, UserId), PAIR, id, tenant)
}

pub(super) async fn revoke_pair(
    tx: &mut Tx,
    tenant: TenantId,
    (patient, clinician): (UserId, UserId),
    now: Timestamp,
) -> Result<Vec<RelationshipId>> {
    let rows = fetch_all!(tx, (RelationshipId,), REVOKE_PAIR, tenant, patient, clinician, now)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

#[derive(Clone, Debug)]
pub(super) struct NewGrant {
    pub id: RelationshipId,
    pub tenant: TenantId,
    pub pair: (UserId, UserId),
    pub reason: &'static str,
    pub text_enc: Vec<u8>,
    pub granted_by: Option<UserId>,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

pub(super) async fn insert_grant(tx: &mut Tx, new: &NewGrant) -> Result<()> {
    let ((patient, clinician), text) = (new.pair, new.text_enc.as_slice());
    execute!(
        tx,
        INSERT_GRANT,
        new.id,
        new.tenant,
        patient,
        clinician,
        new.reason,
        text,
        new.granted_by,
        new.now,
        new.expires_at,
    )?;
    Ok(())
}

#[derive(sqlx::FromRow)]
pub(super) struct RelationshipRow {
    pub relationship_id: RelationshipId,
    pub kind: String,
    pub patient_id: UserId,
    pub patient_name_enc: Vec<u8>,
    pub clinician_id: UserId,
    pub clinician_name_enc: Vec<u8>,
    pub source: String,
    pub care_team_id: Option<CareTeamId>,
    pub reason: Option<String>,
    pub text_enc: Option<Vec<u8>>,
    pub created_at: Timestamp,
    pub starts_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub patient_blocks: bool,
    pub clinician_blocks: bool,
}

/// Relationships of a clinic, perhaps of one patient or clinician, after this id, in order of their ids.
pub(super) async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    (patient, clinician): (Option<UserId>, Option<UserId>),
    after: RelationshipId,
    window: Window,
) -> Result<Vec<RelationshipRow>> {
    let asked = |user: Option<UserId>| if user.is_some() { "yes" } else { "" };
    let nobody = UserId::from_bytes([0; 16]);
    let (of_patient, of_clinician) = (patient.unwrap_or(nobody), clinician.unwrap_or(nobody));
    fetch_all!(
        tx,
        RelationshipRow,
        LIST,
        tenant,
        after,
        asked(patient),
        of_patient,
        asked(clinician),
        of_clinician,
        window.limit,
        window.offset
    )
}

pub(super) async fn one(
    tx: &mut Tx,
    tenant: TenantId,
    id: RelationshipId,
) -> Result<Option<RelationshipRow>> {
    fetch_optional!(tx, RelationshipRow, ONE, tenant, id)
}
