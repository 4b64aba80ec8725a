//! The rows of files in quarantine, and of what moderators say of them.

use sigilo_seal::{ReleaseStatement, SignedReleaseStatement};
use sigilo_wire::{FileId, TenantId, Timestamp, UserId};

use crate::{Result, execute, fetch_all, paging::Window, statements, storage::Tx};

statements! {
    INFECTED = "SELECT file_id FROM files WHERE tenant_id = $1 AND file_id > $2 AND scan = 'infected' AND destroyed_at IS NULL
        ORDER BY file_id LIMIT $3 OFFSET $4";
    SIGNED = "SELECT signer_id, statement, signature FROM file_releases WHERE file_id = $1 AND verdict_hash = $2
        ORDER BY signed_at, signer_id";
    INSERT_RELEASE = "INSERT INTO file_releases (file_id, signer_id, verdict_hash, statement, signature, signed_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    DROP_RELEASE = "DELETE FROM file_releases WHERE file_id = $1 AND signer_id = $2 AND verdict_hash = $3";
}

/// One moderator's word.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct SignedRow {
    pub signer_id: UserId,
    pub statement: Vec<u8>,
    pub signature: Vec<u8>,
}

/// Infected files after this one, in order of their ids.
pub(super) async fn infected(
    tx: &mut Tx,
    tenant: TenantId,
    after: FileId,
    window: Window,
) -> Result<Vec<FileId>> {
    let rows = fetch_all!(tx, (FileId,), INFECTED, tenant, after, window.limit, window.offset)?;
    Ok(rows.into_iter().map(|(file,)| file).collect())
}

/// Who calls this verdict false.
pub(super) async fn signed(tx: &mut Tx, file: FileId, verdict: &[u8; 32]) -> Result<Vec<SignedRow>> {
    fetch_all!(tx, SignedRow, SIGNED, file, verdict.as_slice())
}

/// Keeps a moderator's word. Its time is when it came: what they claim stands in the statement.
pub(super) async fn insert(
    tx: &mut Tx,
    statement: &ReleaseStatement,
    signed: &SignedReleaseStatement,
    now: Timestamp,
) -> Result<()> {
    let (file, signer) = (statement.file.file_id, statement.signer);
    let (bytes, signature) = (signed.statement.as_slice(), signed.signature.as_slice());
    execute!(tx, INSERT_RELEASE, file, signer, statement.verdict_sha256.as_slice(), bytes, signature, now)?;
    Ok(())
}

/// Drops a word that does not count any more.
pub(super) async fn drop_release(
    tx: &mut Tx,
    file: FileId,
    signer: UserId,
    verdict: &[u8; 32],
) -> Result<()> {
    execute!(tx, DROP_RELEASE, file, signer, verdict.as_slice())?;
    Ok(())
}
