//! Handing a file's key over: by its uploader before the first verdict, by any participant for another look.

use serde_json::json;
use sigilo_wire::{
    ErrorCode, FileId, UserId,
    vault::{FileStatus, ScanStatus, SealedScanKey},
};

use super::{keys, store};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    conversations::{self, OfFile},
    policy::{Action, Grant, HandOverFileKey, RescanFile},
    storage::{Tx, keystore::DataKey},
    vault::files::{self, File},
};

/// The grant to hand a file's key over before its first verdict.
///
/// # Errors
/// `not_found` when the clinic has no such file, or the caller does not take part; `forbidden` to all but the uploader's
/// messaging devices.
pub async fn authorize_hand_over(app: &App, ctx: &Ctx, file: FileId) -> Result<Grant<HandOverFileKey>> {
    let found = find(app, ctx, file).await?;
    conversations::authorize_of_file(app, ctx, OfFile::of(&found)).await
}

/// The grant to have a file looked into again.
///
/// # Errors
/// `not_found` when the clinic has no such file, or the caller does not take part; `forbidden` to session devices.
pub async fn authorize_rescan(app: &App, ctx: &Ctx, file: FileId) -> Result<Grant<RescanFile>> {
    let found = find(app, ctx, file).await?;
    conversations::authorize_of_file(app, ctx, OfFile::of(&found)).await
}

async fn find(app: &App, ctx: &Ctx, file: FileId) -> Result<File> {
    files::get(&mut app.db.read("scan_authorize").await?, ctx.tenant, file).await
}

impl OfFile {
    const fn of(file: &File) -> Self {
        let row = &file.row;
        Self { file: row.file_id, conversation: row.conversation_id, uploader: row.uploader_id }
    }
}

/// Has the worker look at a file that has no verdict yet. What was handed over before counts no more.
///
/// # Errors
/// `already_settled` after the first verdict; `file_not_available` when it is destroyed; `invalid_field` for a key that is
/// not in use.
pub async fn hand_over(
    app: &App,
    ctx: &Ctx,
    grant: Grant<HandOverFileKey>,
    key: &SealedScanKey,
) -> Result<()> {
    let file = *grant.resource();
    let row = find(app, ctx, file).await?.row;
    let audit_key = app.conversation_key(ctx, row.conversation_id).await?;
    let patient = conversations::patient_of(app, ctx, row.conversation_id).await?;
    let mut tx = app.db.begin("scan_hand_over").await?;
    keys::check(&mut tx, ctx, key).await?;
    store::hand_over(&mut tx, (ctx.tenant, file), key, ctx.now).await?;
    let found = held(&mut tx, ctx, file).await?;
    if found.row.verdict_at.is_some() {
        let details = json!({"virus_scan": found.scan()?});
        return Err(Error::conflict(ErrorCode::AlreadySettled, details));
    }
    store::set_waiting(&mut tx, file, ScanStatus::Pending, false).await?;
    finish(app, tx, ctx, &grant, &audit_key, (&found, patient)).await
}

/// Has the worker look at a file again. While it waits for somebody else's sake already, that is enough.
///
/// # Errors
/// `file_not_available` before the first verdict, which is the uploader's to ask for, and when it is destroyed;
/// `invalid_field` for a key that is not in use; `rate_limited`.
pub async fn rescan(app: &App, ctx: &Ctx, grant: Grant<RescanFile>, key: &SealedScanKey) -> Result<()> {
    let file = *grant.resource();
    app.limits.clinics.file(&app.db, ctx, false).await?;
    let row = find(app, ctx, file).await?.row;
    let audit_key = app.conversation_key(ctx, row.conversation_id).await?;
    let patient = conversations::patient_of(app, ctx, row.conversation_id).await?;
    let mut tx = app.db.begin("scan_again").await?;
    keys::check(&mut tx, ctx, key).await?;
    store::ask_again(&mut tx, (ctx.tenant, file), key, ctx.caller()?.user_id, ctx.now).await?;
    let found = held(&mut tx, ctx, file).await?;
    if found.row.verdict_at.is_none() {
        let details = json!({"status": found.status(ctx.now)?, "virus_scan": found.scan()?});
        return Err(Error::conflict(ErrorCode::FileNotAvailable, details));
    }
    finish(app, tx, ctx, &grant, &audit_key, (&found, patient)).await
}

/// The file, held as it is until the commit.
async fn held(tx: &mut Tx, ctx: &Ctx, file: FileId) -> Result<File> {
    store::lock_file(tx, ctx.tenant, file).await?;
    let found = files::get(tx, ctx.tenant, file).await?;
    let status = found.status(ctx.now)?;
    if matches!(status, FileStatus::Destroyed | FileStatus::Expired) {
        return Err(Error::conflict(ErrorCode::FileNotAvailable, json!({"status": status})));
    }
    Ok(found)
}

async fn finish<A: Action>(
    app: &App,
    mut tx: Tx,
    ctx: &Ctx,
    grant: &Grant<A>,
    key: &DataKey,
    (file, patient): (&File, Option<UserId>),
) -> Result<()> {
    let act = Act::done(A::NAME)
        .object("conversation", file.row.conversation_id)
        .object("file", file.row.file_id)
        .patient(patient)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, key, None, &*app.entropy)?;
    audit::write(&mut tx, ctx.tenant, vec![entry]);
    tx.commit().await
}
