//! The rows of blocks.

use sigilo_wire::{TenantId, Timestamp, UserId};

use crate::{Result, execute, fetch_all, fetch_optional, paging::Window, statements, storage::Tx};

statements! {
    INSERT = "INSERT INTO blocks (blocker_id, blocked_id, tenant_id, reason_enc, created_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    DELETE = "DELETE FROM blocks WHERE blocker_id = $1 AND blocked_id = $2";
    ONE = "SELECT b.blocked_id, u.full_name_enc, u.role, b.reason_enc, b.created_at FROM blocks b
        JOIN users u ON u.user_id = b.blocked_id WHERE b.blocker_id = $1 AND b.blocked_id = $2";
    OF = "SELECT b.blocked_id, u.full_name_enc, u.role, b.reason_enc, b.created_at FROM blocks b
        JOIN users u ON u.user_id = b.blocked_id
        WHERE b.tenant_id = $1 AND b.blocker_id = $2 AND b.blocked_id > $3 ORDER BY b.blocked_id LIMIT $4 OFFSET $5";
    ALL_OF_CLINIC = "SELECT b.blocker_id, w.full_name_enc AS blocker_name_enc, b.blocked_id,
        u.full_name_enc AS blocked_name_enc, b.reason_enc, b.created_at FROM blocks b
        JOIN users w ON w.user_id = b.blocker_id JOIN users u ON u.user_id = b.blocked_id
        WHERE b.tenant_id = $1 AND (b.blocker_id > $2 OR (b.blocker_id = $2 AND b.blocked_id > $3))
        ORDER BY b.blocker_id, b.blocked_id LIMIT $4";
}

/// A block to be made.
pub(super) struct NewBlock {
    pub(super) blocker: UserId,
    pub(super) blocked: UserId,
    pub(super) tenant: TenantId,
    pub(super) reason_enc: Option<Vec<u8>>,
    pub(super) now: Timestamp,
}

/// A block of one person.
#[derive(sqlx::FromRow)]
pub(super) struct BlockRow {
    pub(super) blocked_id: UserId,
    pub(super) full_name_enc: Vec<u8>,
    pub(super) role: String,
    pub(super) reason_enc: Option<Vec<u8>>,
    pub(super) created_at: Timestamp,
}

/// A block of anybody.
#[derive(sqlx::FromRow)]
pub(super) struct PairRow {
    pub(super) blocker_id: UserId,
    pub(super) blocker_name_enc: Vec<u8>,
    pub(super) blocked_id: UserId,
    pub(super) blocked_name_enc: Vec<u8>,
    pub(super) reason_enc: Option<Vec<u8>>,
    pub(super) created_at: Timestamp,
}

/// `false` when it stands already.
pub(super) async fn insert(tx: &mut Tx, new: &NewBlock) -> Result<bool> {
    let NewBlock { blocker, blocked, tenant, reason_enc, now } = new;
    Ok(execute!(tx, INSERT, *blocker, *blocked, *tenant, reason_enc.as_deref(), *now)? == 1)
}

/// `false` when there was none.
pub(super) async fn delete(tx: &mut Tx, blocker: UserId, blocked: UserId) -> Result<bool> {
    Ok(execute!(tx, DELETE, blocker, blocked)? == 1)
}

pub(super) async fn one(tx: &mut Tx, blocker: UserId, blocked: UserId) -> Result<Option<BlockRow>> {
    fetch_optional!(tx, BlockRow, ONE, blocker, blocked)
}

pub(super) async fn of(
    tx: &mut Tx,
    tenant: TenantId,
    blocker: UserId,
    after: UserId,
    window: Window,
) -> Result<Vec<BlockRow>> {
    fetch_all!(tx, BlockRow, OF, tenant, blocker, after, window.limit, window.offset)
}

pub(super) async fn all(
    tx: &mut Tx,
    tenant: TenantId,
    (blocker, blocked): (UserId, UserId),
    limit: i64,
) -> Result<Vec<PairRow>> {
    fetch_all!(tx, PairRow, ALL_OF_CLINIC, tenant, blocker, blocked, limit)
}
