//! The rows of care teams, and of the relationships they make.

use sigilo_wire::{CareTeamId, RelationshipId, TenantId, Timestamp, UserId};

use crate::{
    Result, execute, execute_rows, fetch_all, fetch_optional, paging::Window, statements, storage::Tx,
};

statements! {
    INSERT = "INSERT INTO care_teams (care_team_id, tenant_id, name_enc, created_at) VALUES ($1, $2, $3, $4)";
    LIST = "SELECT t.care_team_id, t.name_enc, t.created_at, t.ended_at,
        (SELECT COUNT(*) FROM care_team_members m WHERE m.care_team_id = t.care_team_id AND m.side = 'clinician')
            AS clinicians,
        (SELECT COUNT(*) FROM care_team_members m WHERE m.care_team_id = t.care_team_id AND m.side = 'patient')
            AS patients
        FROM care_teams t WHERE t.tenant_id = $1 AND t.care_team_id > $2 ORDER BY t.care_team_id LIMIT $3 OFFSET $4";
    BY_ID = "SELECT care_team_id, name_enc, created_at, ended_at FROM care_teams
        WHERE care_team_id = $1 AND tenant_id = $2";
    /// Holds the team until the commit: whoever joins on one side meets everybody of the other.
    LOCK = "UPDATE care_teams SET name_enc = name_enc WHERE care_team_id = $1 AND tenant_id = $2 RETURNING ended_at";
    END = "UPDATE care_teams SET ended_at = $2 WHERE care_team_id = $1";
    MEMBERS = "SELECT m.side, m.user_id, u.full_name_enc, m.starts_at, m.ends_at FROM care_team_members m
        JOIN users u ON u.user_id = m.user_id WHERE m.care_team_id = $1 ORDER BY m.side, m.user_id";
    PUT_MEMBER = "INSERT INTO care_team_members (care_team_id, side, user_id, starts_at, ends_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (care_team_id, side, user_id)
        DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at";
    REMOVE_MEMBER = "DELETE FROM care_team_members WHERE care_team_id = $1 AND side = $2 AND user_id = $3";
    INSERT_RELATIONSHIPS = "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source,
        care_team_id, created_at, starts_at, expires_at)
        VALUES $rows(UUID, UUID, TEXT, UUID, UUID, TEXT, UUID, BIGINT, BIGINT, BIGINT)";
    REVOKE_OF_MEMBER = "UPDATE relationships SET revoked_at = $3, revocation = 'care_team'
        WHERE care_team_id = $1 AND (patient_id = $2 OR clinician_id = $2) AND revoked_at IS NULL
        RETURNING relationship_id, patient_id, clinician_id";
    DECIDED = "SELECT relationship_id, patient_id, clinician_id FROM relationships
        WHERE care_team_id = $1 AND (patient_id = $2 OR clinician_id = $2) AND revocation = 'decision'";
    FORGET_DECIDED = "UPDATE relationships SET revocation = 'care_team'
        WHERE care_team_id = $1 AND (patient_id = $2 OR clinician_id = $2) AND revocation = 'decision'";
    REVOKE_OF_TEAM = "UPDATE relationships SET revoked_at = $2, revocation = 'care_team'
        WHERE care_team_id = $1 AND revoked_at IS NULL RETURNING relationship_id, patient_id, clinician_id";
}

/// A relationship with its patient and its clinician.
pub(in crate::relationships) type Pair = (RelationshipId, UserId, UserId);

#[derive(sqlx::FromRow)]
pub(in crate::relationships) struct TeamRow {
    pub care_team_id: CareTeamId,
    pub name_enc: Vec<u8>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
pub(in crate::relationships) struct CountedRow {
    #[sqlx(flatten)]
    pub team: TeamRow,
    pub clinicians: i64,
    pub patients: i64,
}

#[derive(sqlx::FromRow)]
pub(in crate::relationships) struct MemberRow {
    pub side: String,
    pub user_id: UserId,
    pub full_name_enc: Vec<u8>,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
}

pub(in crate::relationships) async fn insert(
    tx: &mut Tx,
    id: CareTeamId,
    tenant: TenantId,
    name_enc: &[u8],
    now: Timestamp,
) -> Result<()> {
    execute!(tx, INSERT, id, tenant, name_enc, now)?;
    Ok(())
}

/// Teams of a clinic after this id, in order of their ids.
pub(in crate::relationships) async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: CareTeamId,
    window: Window,
) -> Result<Vec<CountedRow>> {
    fetch_all!(tx, CountedRow, LIST, tenant, after, window.limit, window.offset)
}

pub(in crate::relationships) async fn by_id(
    tx: &mut Tx,
    tenant: TenantId,
    id: CareTeamId,
) -> Result<Option<TeamRow>> {
    fetch_optional!(tx, TeamRow, BY_ID, id, tenant)
}

/// When the team was ended; `None` when the clinic has no such team. Holds it until the commit.
pub(in crate::relationships) async fn lock(
    tx: &mut Tx,
    tenant: TenantId,
    id: CareTeamId,
) -> Result<Option<Option<Timestamp>>> {
    Ok(fetch_optional!(tx, (Option<Timestamp>,), LOCK, id, tenant)?.map(|(ended,)| ended))
}

pub(in crate::relationships) async fn end(tx: &mut Tx, id: CareTeamId, now: Timestamp) -> Result<()> {
    execute!(tx, END, id, now)?;
    Ok(())
}

/// Both sides.
pub(in crate::relationships) async fn members(tx: &mut Tx, id: CareTeamId) -> Result<Vec<MemberRow>> {
    fetch_all!(tx, MemberRow, MEMBERS, id)
}

pub(in crate::relationships) async fn put_member(
    tx: &mut Tx,
    id: CareTeamId,
    side: &str,
    user: UserId,
    (starts, ends): (Timestamp, Option<Timestamp>),
) -> Result<()> {
    execute!(tx, PUT_MEMBER, id, side, user, starts, ends)?;
    Ok(())
}

/// `false` when they were not in it.
pub(in crate::relationships) async fn remove_member(
    tx: &mut Tx,
    id: CareTeamId,
    side: &str,
    user: UserId,
) -> Result<bool> {
    Ok(execute!(tx, REMOVE_MEMBER, id, side, user)? == 1)
}

/// A relationship that a team makes.
pub(in crate::relationships) struct NewPair {
    pub id: RelationshipId,
    pub patient: UserId,
    pub clinician: UserId,
    pub starts: Timestamp,
    pub ends: Option<Timestamp>,
}

pub(in crate::relationships) async fn insert_relationships(
    tx: &mut Tx,
    (tenant, team): (TenantId, CareTeamId),
    pairs: &[NewPair],
    now: Timestamp,
) -> Result<()> {
    execute_rows!(tx, INSERT_RELATIONSHIPS, pairs, pair => [
        pair.id, tenant, "care", pair.patient, pair.clinician, "care_team", team, now, pair.starts, pair.ends,
    ])?;
    Ok(())
}

/// Ends what the team makes of somebody of it.
pub(in crate::relationships) async fn revoke_of_member(
    tx: &mut Tx,
    id: CareTeamId,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<Pair>> {
    fetch_all!(tx, Pair, REVOKE_OF_MEMBER, id, user, now)
}

/// What a person's decision ended while both were in the team.
pub(in crate::relationships) async fn decided(
    tx: &mut Tx,
    id: CareTeamId,
    user: UserId,
) -> Result<Vec<Pair>> {
    fetch_all!(tx, Pair, DECIDED, id, user)
}

/// Whoever comes back into the team does so by a decision that is newer.
pub(in crate::relationships) async fn forget_decided(
    tx: &mut Tx,
    id: CareTeamId,
    user: UserId,
) -> Result<()> {
    execute!(tx, FORGET_DECIDED, id, user)?;
    Ok(())
}

/// Ends all that the team makes.
pub(in crate::relationships) async fn revoke_of_team(
    tx: &mut Tx,
    id: CareTeamId,
    now: Timestamp,
) -> Result<Vec<Pair>> {
    fetch_all!(tx, Pair, REVOKE_OF_TEAM, id, now)
}
