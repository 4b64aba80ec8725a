//! Whom one has blocked, and who has blocked whom.

use serde::Serialize;
use sigilo_wire::{
    Timestamp, UserId,
    block::{Block, BlockList},
};

use super::{
    reason_place, row,
    store::{self, BlockRow, PairRow},
};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    paging::Paging,
    policy::{Grant, ManageOwnAccount, ManageRelationships},
    storage::crypter::Place,
};

/// A block, for those who manage relationships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockSummary {
    /// Who blocked.
    pub blocker_id: UserId,
    /// Their name.
    pub blocker_name: String,
    /// Whom.
    pub blocked_id: UserId,
    /// Their name.
    pub blocked_name: String,
    /// Why, if that was said.
    pub reason: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// How many are read at a time.
const BATCH: i64 = 500;

/// A page of the caller's own blocks, in order of ids.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOwnAccount>,
    paging: &Paging,
) -> Result<BlockList> {
    let window = paging.window()?;
    let after = paging.place()?.unwrap_or_else(|| UserId::from_bytes([0; 16]));
    let mut tx = app.db.read("blocks").await?;
    let mut rows = store::of(&mut tx, ctx.tenant, *grant.resource(), after, window).await?;
    drop(tx);
    let next_cursor = window.cut(&mut rows, |row| row.blocked_id);
    let results = rows.into_iter().map(|row| shown(app, *grant.resource(), row)).collect::<Result<_>>()?;
    Ok(BlockList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// Every block of the clinic. That somebody has looked is in the audit log.
///
/// # Errors
/// When a store is away.
pub async fn list_all(app: &App, ctx: &Ctx, grant: Grant<ManageRelationships>) -> Result<Vec<BlockSummary>> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("blocks_all").await?;
    let mut after = (UserId::from_bytes([0; 16]), UserId::from_bytes([0; 16]));
    let mut all = Vec::new();
    loop {
        let rows = store::all(&mut tx, ctx.tenant, after, BATCH).await?;
        let Some(last) = rows.last() else { break };
        after = (last.blocker_id, last.blocked_id);
        for row in rows {
            all.push(summary(app, row)?);
        }
    }
    app.audit(&mut tx, ctx, &key, Act::done("list_blocks").by(grant.basis())).await?;
    tx.commit().await?;
    Ok(all)
}

fn summary(app: &App, found: PairRow) -> Result<BlockSummary> {
    Ok(BlockSummary {
        blocker_id: found.blocker_id,
        blocker_name: name(app, found.blocker_id, &found.blocker_name_enc)?,
        blocked_id: found.blocked_id,
        blocked_name: name(app, found.blocked_id, &found.blocked_name_enc)?,
        reason: reason(app, (found.blocker_id, found.blocked_id), found.reason_enc.as_deref())?,
        created_at: found.created_at,
    })
}

/// As the person who made it sees it.
pub(super) fn shown(app: &App, blocker: UserId, found: BlockRow) -> Result<Block> {
    Ok(Block {
        user_id: found.blocked_id,
        full_name: name(app, found.blocked_id, &found.full_name_enc)?,
        role: found.role.parse().map_err(Error::Internal)?,
        reason: reason(app, (blocker, found.blocked_id), found.reason_enc.as_deref())?,
        created_at: found.created_at,
    })
}

fn name(app: &App, user: UserId, sealed: &[u8]) -> Result<String> {
    app.crypter.decrypt_text(Place { table: "users", row: user.as_bytes(), column: "full_name_enc" }, sealed)
}

fn reason(app: &App, (blocker, blocked): (UserId, UserId), sealed: Option<&[u8]>) -> Result<Option<String>> {
    let row = row(blocker, blocked);
    sealed.map(|sealed| app.crypter.decrypt_text(reason_place(&row), sealed)).transpose()
}
