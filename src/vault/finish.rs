//! From a whole upload to a file, and what is done about uploads that never become one.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sigilo_wire::{
    ErrorCode, Timestamp,
    event::EventType,
    vault::{FileChanged, ScanStatus, StoredFile},
};

use super::{
    announce::{Upload, check_relations, stored},
    files::File,
    objects::Placed,
    spool::{Next, Turn},
    store::{self, FileRow, UploadRow},
};
use crate::{
    App, Ctx, Error, Result,
    app::CLASS_FILE,
    audit::{self, Act},
    conversations,
    policy::{Action as _, UploadFile},
    shutdown,
};

/// How often a decision is made again because its facts changed before the commit.
const DECISIONS: usize = 3;
/// How long after its end an upload that is being finished may still become a file, and how long that may take. Then it is
/// swept.
pub const GRACE: Duration = Duration::from_hours(2);
/// How often is looked for what is to be swept.
const EVERY: Duration = Duration::from_mins(5);

/// Hands a whole upload to the object store and makes it a file, if it is what was announced.
///
/// # Errors
/// `checksum_mismatch` when it is not: then the upload is forgotten; the rules' denial, when they allow it no more;
/// `unavailable`: then the upload stays, and is finished when it is asked for again; `not_found` when it was given up.
pub(super) async fn finish(app: &App, ctx: &Ctx, upload: &Upload, turn: Turn) -> Result<StoredFile> {
    let ctx = &Ctx { now: app.clock.now(), ..ctx.clone() };
    let row = &upload.row;
    let (spooled, length) = (app.spool.path(row.file_id), upload.length());
    // Before anything of it is anywhere else: whoever gives it up meanwhile leaves the row to whoever cleans away what
    // this leaves behind.
    let mut tx = app.db.begin("upload_finishing").await?;
    let going = store::set_finishing(&mut tx, row, ctx.now - GRACE, ctx.now + GRACE).await?;
    tx.commit().await?;
    if !going {
        return Err(Error::NotFound);
    }
    let key = app.file_key(row.tenant_id, row.file_id, ctx.now).await?;
    let names = (row.tenant_id, row.file_id);
    let placed = app.objects.put(&key, names, (&spooled, length), &*app.entropy).await?;
    let made = match check(upload, &placed) {
        Ok(commitment) => {
            let file = file_row(ctx, upload, &placed, commitment, key.id)?;
            write(app, ctx, upload, file).await
        }
        Err(error) => Err(error),
    };
    // What could not be written may have been all the same: only what will never be one is cleaned away with its object.
    if !matches!(made, Err(Error::Unavailable(_) | Error::Internal(_)))
        && let Err(error) = clean(app, row, ctx.now + GRACE).await
    {
        tracing::warn!(%error, "what is left of an upload is swept later");
    }
    drop(turn);
    made
}

/// Forgets an upload: the objects it left but that of its file, the key when there is no file, what lies in the spool, and
/// its row, in this order. Whatever breaks off is done again by the sweep. The row stays, closed, while another server is
/// finishing the upload, that is, will be after `now`.
pub(super) async fn clean(app: &App, row: &UploadRow, now: Timestamp) -> Result<()> {
    let mut tx = app.db.begin("upload_close").await?;
    store::close_upload(&mut tx, row).await?;
    tx.commit().await?;
    let mut tx = app.db.read("upload_closed").await?;
    let file = store::by_upload(&mut tx, row.user_id, row.upload_id).await?;
    drop(tx);
    let file = file.filter(|file| file.file_id == row.file_id);
    let object = file.as_ref().and_then(|file| file.object.as_deref());
    app.objects.delete_all(row.tenant_id, row.file_id, object).await?;
    if file.is_none() {
        app.keystore.destroy_of(row.file_id.uuid(), CLASS_FILE, app.clock.now()).await?;
    }
    app.spool.remove(row.file_id).await?;
    let mut tx = app.db.begin("upload_forget").await?;
    store::delete_upload(&mut tx, row, now).await?;
    tx.commit().await
}

/// Cleans away what broke off, until the server stops.
pub async fn keep_sweeping(app: Arc<App>) {
    let mut stopping = app.shutdown.clone();
    loop {
        if let Err(error) = sweep(&app).await {
            tracing::warn!(%error, "uploads were not swept");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown::draining(&mut stopping) => return,
        }
    }
}

/// Cleans away uploads whose time is over, what lies in the spool without one, and what is left of destroyed files. None
/// of the three waits for another one that fails.
///
/// # Errors
/// `unavailable` when a store is away: what was not cleaned is next time.
pub async fn sweep(app: &App) -> Result<()> {
    let uploads = sweep_uploads(app).await;
    let spool = sweep_spool(app).await;
    super::destroy::go_on(app).await.and(uploads).and(spool)
}

async fn sweep_uploads(app: &App) -> Result<()> {
    let now = app.clock.now();
    loop {
        let mut tx = app.db.read("uploads_expired").await?;
        let rows = store::expired_uploads(&mut tx, now - GRACE, now).await?;
        drop(tx);
        let mut done = Ok(());
        for row in &rows {
            // One that is not cleaned keeps no other one from it.
            done = sweep_upload(app, row, now).await.and(done);
        }
        if rows.is_empty() || done.is_err() {
            return done;
        }
    }
}

async fn sweep_upload(app: &App, row: &UploadRow, now: Timestamp) -> Result<()> {
    let _turn = app.spool.turn(row.file_id, Next::Hurries).await?;
    clean(app, row, now).await?;
    metrics::counter!("sigilo_vault_swept_uploads_total").increment(1);
    Ok(())
}

async fn sweep_spool(app: &App) -> Result<()> {
    // An upload is noted before its first byte.
    for file in app.spool.list().await? {
        let mut tx = app.db.read("upload_of_spool").await?;
        let noted = store::is_upload(&mut tx, file).await?;
        drop(tx);
        if !noted {
            app.spool.remove(file).await?;
        }
    }
    Ok(())
}

/// The blob's commitment, if it is the blob that was announced.
fn check(upload: &Upload, placed: &Placed) -> Result<[u8; 32]> {
    match placed.head {
        Some(head) if placed.sha256 == upload.new.sha256.0 => Ok(*head.commitment.as_bytes()),
        _ => {
            let problem = "the bytes are not those whose SHA-256 was announced";
            Err(Error::conflict(ErrorCode::ChecksumMismatch, json!({"problem": problem})))
        }
    }
}

fn file_row(
    ctx: &Ctx,
    upload: &Upload,
    placed: &Placed,
    commitment: [u8; 32],
    data_key_id: sigilo_wire::DataKeyId,
) -> Result<FileRow> {
    let (row, new) = (&upload.row, &upload.new);
    Ok(FileRow {
        file_id: row.file_id,
        tenant_id: row.tenant_id,
        conversation_id: row.conversation_id,
        uploader_id: row.user_id,
        device_id: ctx.caller()?.device_id,
        upload_id: row.upload_id,
        mime_type: new.mime_type.clone(),
        length: row.length,
        blob_sha256: placed.sha256.to_vec(),
        commitment: commitment.to_vec(),
        document_type: new.document_type.as_str().to_owned(),
        related_appointment: new.related_appointment,
        thumbnail_of: new.thumbnail_of,
        requires_consent: new.handling.requires_patient_consent,
        watermark: new.handling.watermark_required,
        can_forward: new.handling.can_forward,
        can_print: new.handling.can_print,
        max_downloads: new.handling.max_downloads.map(i64::from),
        expires_at: new.handling.expires_at,
        object: Some(placed.object.clone()),
        data_key_id,
        scan: ScanStatus::Pending.as_str().to_owned(),
        rescan_key_needed: new.scan_key.is_none(),
        ever_clean: false,
        verdict_at: None,
        verdict_statement: None,
        verdict_signature: None,
        consent: None,
        downloads: 0,
        uploaded_at: ctx.now,
        destroyed_at: None,
    })
}

/// Writes the file's row, its audit entry and its event, if the rules still allow it.
async fn write(app: &App, ctx: &Ctx, upload: &Upload, file: FileRow) -> Result<StoredFile> {
    let new = &upload.new;
    let conversation = file.conversation_id;
    let key = app.conversation_key(ctx, conversation).await?;
    for _ in 0..DECISIONS {
        let (grant, patient, _) = conversations::authorize_upload(app, ctx, conversation).await?;
        let mut tx = app.db.begin("upload_finish").await?;
        if !conversations::hold(&mut tx, conversation, grant.resource().facts_version).await? {
            continue;
        }
        check_relations(&mut tx, ctx, new, patient).await?;
        if !store::claim_upload(&mut tx, &upload.row, ctx.now - GRACE).await?
            || !store::insert(&mut tx, &file).await?
        {
            drop(tx);
            // Another server was first, or swept it.
            let mut tx = app.db.read("upload_known").await?;
            let first = stored(&mut tx, ctx, file.uploader_id, new).await?;
            return first.ok_or_else(|| match new.thumbnail_of {
                Some(_) => Error::field("thumbnail_of", "has a small picture already"),
                None => Error::NotFound,
            });
        }
        if let Some(scan_key) = &new.scan_key {
            store::insert_scan(&mut tx, (file.tenant_id, file.file_id), scan_key, ctx.now).await?;
        }
        let act = Act::done(UploadFile::NAME)
            .object("conversation", conversation)
            .object("file", file.file_id)
            .object("sha256", audit::hex(&file.blob_sha256))
            .patient(patient)
            .by(grant.basis());
        let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
        audit::write(&mut tx, ctx.tenant, vec![entry]);
        let change = FileChanged { file_id: file.file_id, virus_scan: ScanStatus::Pending };
        let shared = EventType::FileShared;
        let devices = conversations::file_changed(&mut tx, ctx, conversation, shared, change).await?;
        tx.commit().await?;
        app.hub.wake(&devices);
        metrics::counter!("sigilo_vault_files_total").increment(1);
        return File { row: file, releases: Vec::new() }.shown(ctx.now);
    }
    Err(Error::Unavailable("upload: the conversation changes all the time".to_owned()))
}
