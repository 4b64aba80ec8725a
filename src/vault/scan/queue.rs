//! The queue of files that wait for a worker.

use std::time::Duration;

use sigilo_seal::{FileCommitment, HandOver, KeyId, VaultFile, xwing::Sealed};

use super::{ALIVE, LEASE, WorkerId, store};
use crate::{
    App, Error, Result,
    scanner::Job,
    storage::dialect::{self, Lease, LeasedScan},
    vault::store::{self as files, FileRow},
};

/// How long until the first further try.
const SOON: Duration = Duration::from_secs(5);
/// A lease so young is somebody's who lives.
const FRESH: Duration = Duration::from_mins(1);
/// The longest time between two tries.
const LATE: Duration = Duration::from_mins(10);

/// How long a file waits after so many tries.
pub(super) fn back_off(tries: i64) -> Duration {
    let doubled = u32::try_from(tries.clamp(1, 16) - 1).unwrap_or(0);
    SOON.saturating_mul(1 << doubled).min(LATE)
}

/// The next file for this worker, leased to it.
pub(super) async fn lease(app: &App, worker: WorkerId) -> Result<Option<Job>> {
    loop {
        let now = app.clock.now();
        let until = now + LEASE;
        let wanted = Lease { scanner: &worker.0, alive: now - ALIVE, now, old: until - FRESH, until };
        // Most of the time there is none: nobody waits for the writer's turn to learn that.
        let mut tx = app.db.read("scan_due").await?;
        let due = dialect::scan_is_due(&mut tx, wanted).await?;
        drop(tx);
        if !due {
            return Ok(None);
        }
        let mut tx = app.db.begin("scan_lease").await?;
        let Some(leased) = dialect::lease_scan(&mut tx, wanted).await? else { return Ok(None) };
        let row = files::get(&mut tx, leased.tenant_id, leased.file_id).await?;
        let job = row.filter(|row| row.object.is_some() && row.destroyed_at.is_none());
        let job = job.map(|row| job_of(&row, &leased)).transpose()?;
        if job.is_none() {
            store::drop_scan(&mut tx, leased.file_id).await?;
        }
        tx.commit().await?;
        if job.is_some() {
            return Ok(job);
        }
    }
}

fn job_of(row: &FileRow, leased: &LeasedScan) -> Result<Job> {
    let key_id = <[u8; 16]>::try_from(&*leased.key_id)
        .map_err(|_| Error::internal("a stored scan key's id has the wrong length"))?;
    Ok(Job {
        file: vault_file(row)?,
        upload_id: row.upload_id,
        mime_type: row.mime_type.clone(),
        document_type: row.document_type.parse().map_err(Error::Internal)?,
        length: u64::try_from(row.length).map_err(Error::internal)?,
        handed: HandOver {
            key_id: KeyId(key_id),
            sealed: Sealed { enc: leased.encapsulation.clone(), ct: leased.ciphertext.clone() },
        },
    })
}

/// A file's name, and the bytes that have it.
pub(in crate::vault) fn vault_file(row: &FileRow) -> Result<VaultFile> {
    let array = |bytes: &[u8]| {
        <[u8; 32]>::try_from(bytes).map_err(|_| Error::internal("a stored file's hash has the wrong length"))
    };
    Ok(VaultFile {
        tenant: row.tenant_id,
        file_id: row.file_id,
        blob_sha256: array(&row.blob_sha256)?,
        commitment: FileCommitment(array(&row.commitment)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_minutes() {
        let waits: Vec<u64> = [0, 1, 2, 3, 7, 8, 9, i64::MAX].map(|tries| back_off(tries).as_secs()).to_vec();
        assert_eq!(waits, [5, 5, 10, 20, 320, 600, 600, 600]);
    }
}
