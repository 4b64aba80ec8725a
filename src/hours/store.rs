//! The rows of chat hours.

use sigilo_wire::{Role, TenantId, UserId};
use uuid::Uuid;

use crate::{Error, Result, execute, fetch_all, fetch_list, fetch_optional, statements, storage::Tx};

statements! {
    CLINIC = "SELECT time_zone, hours, emergency_number FROM tenants WHERE tenant_id = $1";
    /// Locks the clinic until the commit.
    LOCK_CLINIC = "UPDATE tenants SET slug = slug WHERE tenant_id = $1 RETURNING time_zone, hours, emergency_number";
    SET_CLINIC = "UPDATE tenants SET time_zone = $2, hours = $3 WHERE tenant_id = $1";
    /// Locks the person until the commit.
    LOCK_USER = "UPDATE users SET status = status WHERE tenant_id = $1 AND user_id = $2 RETURNING role";
    USER = "SELECT role FROM users WHERE tenant_id = $1 AND user_id = $2";
    OWN = "SELECT clinician_id, time_zone, weekly FROM clinician_hours WHERE tenant_id = $1 AND clinician_id IN ($list)";
    SET_OWN = "INSERT INTO clinician_hours (clinician_id, tenant_id, time_zone, weekly) VALUES ($1, $2, $3, $4)
        ON CONFLICT (clinician_id) DO UPDATE SET time_zone = excluded.time_zone, weekly = excluded.weekly";
    CLEAR_OWN = "DELETE FROM clinician_hours WHERE clinician_id = $1";
    CLEAR_DAYS = "DELETE FROM hours_exceptions WHERE owner_id = $1";
    DAYS = "SELECT owner_id, day, windows, reason FROM hours_exceptions WHERE tenant_id = $1 AND owner_id = $2
        AND day >= $3 ORDER BY day";
    DAYS_OF = "SELECT owner_id, day, windows, reason FROM hours_exceptions WHERE tenant_id = $1 AND day >= $2
        AND owner_id IN ($list)";
    SET_DAY = "INSERT INTO hours_exceptions (tenant_id, owner_id, day, windows, reason) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (owner_id, day) DO UPDATE SET windows = excluded.windows, reason = excluded.reason";
    REMOVE_DAY = "DELETE FROM hours_exceptions WHERE tenant_id = $1 AND owner_id = $2 AND day = $3";
}

#[derive(sqlx::FromRow)]
pub(super) struct ClinicRow {
    pub(super) time_zone: String,
    pub(super) hours: String,
    pub(super) emergency_number: String,
}

#[derive(sqlx::FromRow)]
pub(super) struct OwnRow {
    pub(super) clinician_id: UserId,
    pub(super) time_zone: Option<String>,
    pub(super) weekly: Option<String>,
}

#[derive(sqlx::FromRow)]
pub(super) struct DayRow {
    pub(super) owner_id: Uuid,
    pub(super) day: String,
    pub(super) windows: String,
    pub(super) reason: Option<String>,
}

pub(super) async fn clinic(tx: &mut Tx, tenant: TenantId) -> Result<ClinicRow> {
    fetch_optional!(tx, ClinicRow, CLINIC, tenant)?.ok_or(Error::NotFound)
}

pub(super) async fn lock_clinic(tx: &mut Tx, tenant: TenantId) -> Result<ClinicRow> {
    fetch_optional!(tx, ClinicRow, LOCK_CLINIC, tenant)?.ok_or(Error::NotFound)
}

pub(super) async fn set_clinic(tx: &mut Tx, tenant: TenantId, zone: &str, weekly: &str) -> Result<()> {
    execute!(tx, SET_CLINIC, tenant, zone, weekly)?;
    Ok(())
}

/// The role of a person of the clinic.
pub(super) async fn role(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Role> {
    let (role,) = fetch_optional!(tx, (String,), USER, tenant, user)?.ok_or(Error::NotFound)?;
    role.parse().map_err(Error::Internal)
}

/// The same, and holds their row until the commit.
pub(super) async fn lock_role(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Role> {
    let (role,) = fetch_optional!(tx, (String,), LOCK_USER, tenant, user)?.ok_or(Error::NotFound)?;
    role.parse().map_err(Error::Internal)
}

/// The hours of those of these clinicians who have their own.
pub(super) async fn own(tx: &mut Tx, tenant: TenantId, clinicians: &[UserId]) -> Result<Vec<OwnRow>> {
    fetch_list!(tx, OwnRow, OWN, [tenant], clinicians)
}

pub(super) async fn set_own(
    tx: &mut Tx,
    tenant: TenantId,
    clinician: UserId,
    zone: Option<&str>,
    weekly: Option<&str>,
) -> Result<()> {
    execute!(tx, SET_OWN, clinician, tenant, zone, weekly)?;
    Ok(())
}

/// `false` when there was nothing to clear.
pub(super) async fn clear_own(tx: &mut Tx, clinician: UserId) -> Result<bool> {
    let weekly = execute!(tx, CLEAR_OWN, clinician)?;
    Ok(weekly + execute!(tx, CLEAR_DAYS, clinician.uuid())? > 0)
}

/// The exceptions of one owner from a day on, in order.
pub(super) async fn days(tx: &mut Tx, tenant: TenantId, owner: Uuid, from: &str) -> Result<Vec<DayRow>> {
    fetch_all!(tx, DayRow, DAYS, tenant, owner, from)
}

/// The exceptions of several owners from a day on.
pub(super) async fn days_of(
    tx: &mut Tx,
    tenant: TenantId,
    owners: &[Uuid],
    from: &str,
) -> Result<Vec<DayRow>> {
    fetch_list!(tx, DayRow, DAYS_OF, [tenant, from], owners)
}

pub(super) async fn set_day(
    tx: &mut Tx,
    (tenant, owner): (TenantId, Uuid),
    day: &str,
    windows: &str,
    reason: Option<&str>,
) -> Result<()> {
    execute!(tx, SET_DAY, tenant, owner, day, windows, reason)?;
    Ok(())
}

/// `false` when there was none.
pub(super) async fn remove_day(tx: &mut Tx, tenant: TenantId, owner: Uuid, day: &str) -> Result<bool> {
    Ok(execute!(tx, REMOVE_DAY, tenant, owner, day)? == 1)
}
