//! The rows of anomalies.

use std::collections::HashMap;

use sigilo_wire::{
    AnomalyId, DeviceId, TenantId, Timestamp, UserId,
    anomaly::{AnomalyAction, AnomalyKind, AnomalyStatus},
};

use crate::{Result, execute, fetch_all, fetch_optional, paging::Window, statements, storage::Tx};

statements! {
    ADMINS = "SELECT user_id FROM users WHERE tenant_id = $1 AND role = 'admin' AND status = 'active'";
    DEVICES = "SELECT device_id FROM devices WHERE user_id = $1 AND kind = 'messaging' AND revoked_at IS NULL";
    COUNT_ON = "UPDATE anomalies SET hits = hits + $3, last_at = $4, device_id = $5, action = $6,
        slowed_until = COALESCE($7, slowed_until) WHERE user_id = $1 AND kind = $2 AND reviewed_at IS NULL
        RETURNING anomaly_id, hits";
    INSERT = "INSERT INTO anomalies (anomaly_id, tenant_id, user_id, kind, device_id, hits, action, first_at, last_at,
        slowed_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)";
    SLOWED = "SELECT user_id, MAX(slowed_until) FROM anomalies
        WHERE tenant_id = $1 AND slowed_until > $2 AND reviewed_at IS NULL GROUP BY user_id";
    ALL_ANOMALIES = "SELECT anomaly_id, user_id, kind, device_id, hits, action, first_at, last_at, slowed_until, reviewed_by,
        reviewed_at, outcome, note_enc FROM anomalies WHERE tenant_id = $1 AND anomaly_id < $2
        AND kind = COALESCE($3, kind) ORDER BY anomaly_id DESC LIMIT $4 OFFSET $5";
    OPEN_ANOMALIES = "SELECT anomaly_id, user_id, kind, device_id, hits, action, first_at, last_at, slowed_until, reviewed_by,
        reviewed_at, outcome, note_enc FROM anomalies WHERE tenant_id = $1 AND anomaly_id < $2
        AND kind = COALESCE($3, kind) AND reviewed_at IS NULL ORDER BY anomaly_id DESC LIMIT $4 OFFSET $5";
    REVIEWED_ANOMALIES = "SELECT anomaly_id, user_id, kind, device_id, hits, action, first_at, last_at, slowed_until,
        reviewed_by, reviewed_at, outcome, note_enc FROM anomalies WHERE tenant_id = $1 AND anomaly_id < $2
        AND kind = COALESCE($3, kind) AND reviewed_at IS NOT NULL ORDER BY anomaly_id DESC LIMIT $4 OFFSET $5";
    BY_ID = "SELECT anomaly_id, user_id, kind, device_id, hits, action, first_at, last_at, slowed_until, reviewed_by,
        reviewed_at, outcome, note_enc FROM anomalies WHERE anomaly_id = $1 AND tenant_id = $2";
    REVIEW = "UPDATE anomalies SET reviewed_by = $3, reviewed_at = $4, outcome = $5, note_enc = $6
        WHERE anomaly_id = $1 AND tenant_id = $2 AND reviewed_at IS NULL";
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub anomaly_id: AnomalyId,
    pub user_id: UserId,
    pub kind: String,
    pub device_id: Option<DeviceId>,
    pub hits: i64,
    pub action: String,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub slowed_until: Option<Timestamp>,
    pub reviewed_by: Option<UserId>,
    pub reviewed_at: Option<Timestamp>,
    pub outcome: Option<String>,
    pub note_enc: Option<Vec<u8>>,
}

/// What is written of one that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub user: UserId,
    pub kind: AnomalyKind,
    pub device: Option<DeviceId>,
    pub hits: i64,
    pub action: AnomalyAction,
    pub now: Timestamp,
    pub slowed_until: Option<Timestamp>,
}

/// The admins of a clinic who can act.
pub(super) async fn admins(tx: &mut Tx, tenant: TenantId) -> Result<Vec<UserId>> {
    Ok(fetch_all!(tx, (UserId,), ADMINS, tenant)?.into_iter().map(|(user,)| user).collect())
}

/// Somebody's messaging devices.
pub(super) async fn devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), DEVICES, user)?.into_iter().map(|(device,)| device).collect())
}

/// Counts on in the one that is open, if one is: which, and how many it has now.
pub(super) async fn count_on(tx: &mut Tx, written: &Written) -> Result<Option<(AnomalyId, i64)>> {
    let Written { user, kind, device, hits, action, now, slowed_until } = *written;
    let (kind, action) = (kind.as_str(), action.as_str());
    fetch_optional!(tx, (AnomalyId, i64), COUNT_ON, user, kind, hits, now, device, action, slowed_until)
}

pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, id: AnomalyId, written: &Written) -> Result<()> {
    let Written { user, kind, device, hits, action, now, slowed_until } = *written;
    let (kind, action) = (kind.as_str(), action.as_str());
    execute!(tx, INSERT, id, tenant, user, kind, device, hits, action, now, slowed_until)?;
    Ok(())
}

/// Whose limits are lower in a clinic, until when.
pub(crate) async fn slowed(
    tx: &mut Tx,
    tenant: TenantId,
    now: Timestamp,
) -> Result<HashMap<UserId, Timestamp>> {
    Ok(fetch_all!(tx, (UserId, Timestamp), SLOWED, tenant, now)?.into_iter().collect())
}

/// Those before this one, the newest first.
pub(super) async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    (status, kind): (Option<AnomalyStatus>, Option<AnomalyKind>),
    before: AnomalyId,
    window: Window,
) -> Result<Vec<Row>> {
    let sql = match status {
        None => ALL_ANOMALIES,
        Some(AnomalyStatus::Open) => OPEN_ANOMALIES,
        Some(AnomalyStatus::Reviewed) => REVIEWED_ANOMALIES,
    };
    fetch_all!(tx, Row, sql, tenant, before, kind.map(AnomalyKind::as_str), window.limit, window.offset)
}

pub(super) async fn by_id(tx: &mut Tx, tenant: TenantId, id: AnomalyId) -> Result<Option<Row>> {
    fetch_optional!(tx, Row, BY_ID, id, tenant)
}

/// `false` when it was closed before.
pub(super) async fn review(
    tx: &mut Tx,
    (tenant, id): (TenantId, AnomalyId),
    by: UserId,
    (outcome, note): (&str, Option<&[u8]>),
    now: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, REVIEW, id, tenant, by, now, outcome, note)? == 1)
}
