//! What a device says of a file before it sends it, and what is looked at before a byte is taken.

use serde_json::json;
use sigilo_seal::FileLayout;
use sigilo_wire::{
    ErrorCode, FileId, UserId,
    vault::{DocumentType, NewFile, StoredFile},
};

use super::{
    files::{self, File},
    finish, read,
    spool::Next,
    store::{self, FileRow, UploadRow},
};
use crate::{App, Ctx, Error, Result, config::Vault, conversations, rng, storage::Tx};

/// The types that are taken.
pub const TYPES: [&str; 7] = [
    "application/pdf",
    "image/jpeg",
    "image/png",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "audio/mpeg",
    "video/mp4",
];
/// The types of recordings of calls.
pub const RECORDING_TYPES: [&str; 2] = ["video/mp4", "video/webm"];
/// The types of small pictures of files.
pub const THUMBNAIL_TYPES: [&str; 2] = ["image/jpeg", "image/png"];
/// The longest small picture, in bytes, before it is encrypted.
pub const MAX_THUMBNAIL: u64 = 256 * 1024;
/// How long somebody with too many uploads on their way is asked to wait, in seconds: for one to end.
const ROOM_RETRY_S: u64 = 60;
/// The length of an X-Wing encapsulation in bytes.
const ENCAPSULATION: usize = 1_120;

/// What an announcement comes to.
#[derive(Debug)]
pub enum Begun {
    /// The upload was finished before: its first answer.
    Stored(Box<StoredFile>),
    /// Bytes are awaited.
    Going(Box<Upload>),
}

/// An upload that was announced and allowed.
#[derive(Clone, Debug)]
pub struct Upload {
    pub(super) row: UploadRow,
    pub(super) new: NewFile,
}

impl Upload {
    /// What the file will be called.
    #[must_use]
    pub const fn file(&self) -> FileId {
        self.row.file_id
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.new.length
    }

    pub(super) fn of(row: UploadRow) -> Result<Self> {
        let new = serde_json::from_str(&row.request).map_err(Error::internal)?;
        Ok(Self { row, new })
    }
}

/// Begins an upload, or goes on with it when it was begun before.
///
/// # Errors
/// The rules' denial, `not_found` when the caller does not take part; `file_type_not_allowed`, `file_too_large`,
/// `invalid_field`; `idempotency_conflict` when the upload was announced otherwise; `rate_limited`, also when too much of
/// the caller's is on its way; `storage_full`.
pub async fn begin(app: &App, ctx: &Ctx, new: &NewFile) -> Result<Begun> {
    let caller = ctx.caller()?;
    let (first, known) = looked_up(app, ctx, new).await?;
    let (first, known) = match known {
        // It came to nothing: what is announced now begins anew.
        Some(row) if first.is_none() && row.expires_at <= ctx.now => {
            let _turn = app.spool.turn(row.file_id, Next::Hurries).await?;
            finish::clean(app, &row, ctx.now).await?;
            looked_up(app, ctx, new).await?
        }
        known => (first, known),
    };
    if let Some(first) = first {
        // Who takes part no more is told nothing of it.
        read::authorize_read(app, ctx, first.file_id).await?;
        return Ok(Begun::Stored(Box::new(first)));
    }
    if known.as_ref().is_some_and(|row| row.expires_at <= ctx.now) {
        return Err(Error::Unavailable("upload: what is left of it is still being cleaned away".to_owned()));
    }
    check(&app.config.vault, ctx, new)?;
    let known = known.map(|row| going(row, new)).transpose()?;
    let (_, patient, emergency) = conversations::authorize_upload(app, ctx, new.conversation_id).await?;
    if let Some(known) = known {
        // The key may have been sealed anew.
        let mut tx = app.db.begin("upload_again").await?;
        store::set_request(&mut tx, &known.row, &known.row.request).await?;
        tx.commit().await?;
        return Ok(Begun::Going(Box::new(known)));
    }
    let length = i64::try_from(new.length).map_err(Error::internal)?;
    let mut tx = app.db.read("upload_relations").await?;
    check_relations(&mut tx, ctx, new, patient).await?;
    // Before it is counted: what there is no room for is tried again.
    check_room(&mut tx, &app.config.vault, ctx, (1, length, emergency)).await?;
    drop(tx);
    if !emergency {
        // A small picture comes with a file that was counted: they are counted apart.
        app.limits.clinics.file(&app.db, ctx, new.thumbnail_of.is_some()).await?;
    }
    let row = UploadRow {
        tenant_id: ctx.tenant,
        user_id: caller.user_id,
        upload_id: new.upload_id,
        device_id: caller.device_id,
        conversation_id: new.conversation_id,
        file_id: FileId::new(ctx.now, rng::bytes(&*app.entropy)),
        length,
        request: serde_json::to_string(new).map_err(Error::internal)?,
        expires_at: ctx.now + std::time::Duration::from_secs(app.config.vault.upload_life_s),
    };
    let mut tx = app.db.begin("upload_begin").await?;
    // Others of the person, and where its share is counted of the clinic, wait until this one counts.
    store::lock_room(&mut tx, (row.user_id, app.config.vault.max_clinic_bytes.map(|_| ctx.tenant))).await?;
    let written = store::insert_upload(&mut tx, &row, ctx.now).await?;
    if written {
        check_room(&mut tx, &app.config.vault, ctx, (0, 0, emergency)).await?;
    }
    // The same announcement may have come twice at once: what is stored counts.
    let row = if written { Some(row) } else { store::upload(&mut tx, caller.user_id, new.upload_id).await? };
    tx.commit().await?;
    let row = row.ok_or_else(|| Error::Unavailable("upload".to_owned()))?;
    Ok(Begun::Going(Box::new(going(row, new)?)))
}

/// What became of an upload, and what is known of it on its way.
async fn looked_up(app: &App, ctx: &Ctx, new: &NewFile) -> Result<(Option<StoredFile>, Option<UploadRow>)> {
    let user = ctx.caller()?.user_id;
    let mut tx = app.db.read("upload_known").await?;
    let first = stored(&mut tx, ctx, user, new).await?;
    Ok((first, store::upload(&mut tx, user, new.upload_id).await?))
}

/// Whether there is room for so many more uploads and bytes: of the person's that are on their way, and in the clinic's share
/// of the vault. An emergency has no limit of uploads, but of what they take.
async fn check_room(
    tx: &mut Tx,
    config: &Vault,
    ctx: &Ctx,
    (more, length, emergency): (i64, i64, bool),
) -> Result<()> {
    let (uploads, bytes) = store::open_of_user(tx, ctx.caller()?.user_id, ctx.now).await?;
    let above =
        |bytes: i64, limit: u64| u64::try_from(bytes.saturating_add(length)).is_ok_and(|sum| sum > limit);
    let many = uploads.saturating_add(more) > i64::from(config.max_open_uploads);
    if (many && !emergency) || above(bytes, config.max_open_bytes) {
        let details = json!({"limit": config.max_open_uploads, "max_bytes": config.max_open_bytes});
        return Err(Error::RateLimited { retry_after_s: ROOM_RETRY_S, details });
    }
    let Some(limit) = config.max_clinic_bytes else { return Ok(()) };
    if above(store::bytes_of_clinic(tx, ctx.tenant, ctx.now).await?, limit) {
        return Err(Error::invalid(ErrorCode::StorageFull, json!({"max_size": limit})));
    }
    Ok(())
}

/// The first answer to an upload, when it is finished.
///
/// # Errors
/// `idempotency_conflict` when it was announced otherwise.
pub(super) async fn stored(
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    new: &NewFile,
) -> Result<Option<StoredFile>> {
    let Some(row) = store::by_upload(tx, user, new.upload_id).await? else { return Ok(None) };
    if !same(&announced(&row)?, new) {
        return Err(conflict());
    }
    File::of(tx, row).await?.shown(ctx.now).map(Some)
}

/// An upload that goes on, with what the device says of it now.
fn going(row: UploadRow, new: &NewFile) -> Result<Upload> {
    let before = Upload::of(row)?;
    if !same(&before.new, new) {
        return Err(conflict());
    }
    let request = serde_json::to_string(new).map_err(Error::internal)?;
    Ok(Upload { row: UploadRow { request, ..before.row }, new: new.clone() })
}

/// Whether two announcements are of one file: its key may be sealed to another scan key meanwhile.
fn same(one: &NewFile, other: &NewFile) -> bool {
    NewFile { scan_key: None, ..one.clone() } == NewFile { scan_key: None, ..other.clone() }
}

/// What was announced of a stored file.
fn announced(row: &FileRow) -> Result<NewFile> {
    let sha256: [u8; 32] = row.blob_sha256.as_slice().try_into().map_err(Error::internal)?;
    Ok(NewFile {
        upload_id: row.upload_id,
        conversation_id: row.conversation_id,
        mime_type: row.mime_type.clone(),
        length: u64::try_from(row.length).map_err(Error::internal)?,
        sha256: sha256.into(),
        document_type: row.document_type.parse().map_err(Error::Internal)?,
        related_appointment: row.related_appointment,
        thumbnail_of: row.thumbnail_of,
        handling: files::handling(row)?,
        scan_key: None,
    })
}

fn conflict() -> Error {
    let details = json!({"field": "upload_id", "problem": "was used for another file"});
    Error::conflict(ErrorCode::IdempotencyConflict, details)
}

/// What needs no database.
fn check(config: &Vault, ctx: &Ctx, new: &NewFile) -> Result<()> {
    let (types, limit): (&[&str], u64) = match new.document_type {
        _ if new.thumbnail_of.is_some() => (&THUMBNAIL_TYPES, MAX_THUMBNAIL),
        DocumentType::CallRecording => (&RECORDING_TYPES, config.max_recording_bytes),
        _ => (&TYPES, config.max_file_bytes),
    };
    if !types.contains(&new.mime_type.as_str()) {
        // Anybody's words are not said again.
        return Err(Error::invalid(ErrorCode::FileTypeNotAllowed, json!({"allowed_types": types})));
    }
    let layout = FileLayout::of_sealed(new.length)
        .map_err(|_| Error::field("length", "is no length that an encrypted file has"))?;
    if layout.plain_len() > limit {
        let details = json!({"file_size": layout.plain_len(), "max_size": limit});
        return Err(Error::invalid(ErrorCode::FileTooLarge, details));
    }
    if new.handling.max_downloads == Some(0) {
        return Err(Error::field("handling.max_downloads", "is at least 1"));
    }
    if new.handling.expires_at.is_some_and(|ends| ends <= ctx.now) {
        return Err(Error::field("handling.expires_at", "is over"));
    }
    // A recording is one of a call, with everybody's consent.
    if new.document_type == DocumentType::CallRecording {
        return Err(Error::field("document_type", "is of a recorded call, and there was none"));
    }
    if new.scan_key.as_ref().is_some_and(|key| key.encapsulation.len() != ENCAPSULATION) {
        return Err(Error::field("scan_key.encapsulation", "has 1,120 bytes"));
    }
    Ok(())
}

/// What it says to belong to. Looked at again when the file is stored.
pub(super) async fn check_relations(
    tx: &mut Tx,
    ctx: &Ctx,
    new: &NewFile,
    patient: Option<UserId>,
) -> Result<()> {
    if let Some(appointment) = new.related_appointment {
        let whose = conversations::patient_of_appointment(tx, ctx, appointment).await?;
        if whose.is_none() || whose != patient {
            return Err(Error::field("related_appointment", "is not of this conversation's patient"));
        }
    }
    let Some(of) = new.thumbnail_of else { return Ok(()) };
    let caller = ctx.caller()?.user_id;
    let file = store::get(tx, ctx.tenant, of).await?.filter(|file| {
        (file.conversation_id, file.uploader_id) == (new.conversation_id, caller)
            && file.thumbnail_of.is_none()
            && file.destroyed_at.is_none()
    });
    if file.is_none() {
        return Err(Error::field("thumbnail_of", "is no file of yours in this conversation"));
    }
    if !store::thumbnails(tx, of).await?.is_empty() {
        return Err(Error::field("thumbnail_of", "has a small picture already"));
    }
    Ok(())
}
