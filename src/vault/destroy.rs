//! Destroying a file: its data key first, which is what holds in backups, then the object.

use sigilo_wire::FileId;

use super::store::{self, FileRow};
use crate::{App, Result, storage::Tx};

/// Notes in the caller's transaction that a file is destroyed, with the small pictures of it: from the commit on it is not
/// given out. Call [`go_on`] after the commit; what breaks off is done again by the sweep.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn mark(tx: &mut Tx, file: FileId, now: sigilo_wire::Timestamp) -> Result<bool> {
    store::mark_destroyed(tx, file, now).await
}

/// Destroys the keys and deletes the objects of files that are noted as destroyed.
///
/// # Errors
/// `unavailable` when a store is away.
pub(crate) async fn go_on(app: &App) -> Result<()> {
    loop {
        let mut tx = app.db.read("files_to_destroy").await?;
        let rows: Vec<FileRow> = store::to_destroy(&mut tx).await?;
        drop(tx);
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            app.keystore.destroy(row.data_key_id, app.clock.now()).await?;
            app.objects.delete_all(row.tenant_id, row.file_id, None).await?;
            let mut tx = app.db.begin("file_destroyed").await?;
            store::set_destroyed(&mut tx, &row).await?;
            tx.commit().await?;
            metrics::counter!("sigilo_vault_destroyed_files_total").increment(1);
        }
    }
}
