//! The rows of uploads and files.

use sigilo_wire::{
    AppointmentId, ConversationId, DataKeyId, DeviceId, FileId, TenantId, Timestamp, UploadId, UserId,
};

use crate::{Result, execute, fetch_all, fetch_optional, statements, storage::Tx};

macro_rules! file_columns {
    () => {
        "file_id, tenant_id, conversation_id, uploader_id, device_id, upload_id, mime_type, length, blob_sha256, commitment,
         document_type, related_appointment, thumbnail_of, requires_consent, watermark, can_forward, can_print,
         max_downloads, expires_at, object, data_key_id, scan, rescan_key_needed, ever_clean, verdict_at,
         verdict_statement, verdict_signature, consent, downloads, uploaded_at, destroyed_at"
    };
}

statements! {
    GET = concat!("SELECT ", file_columns!(), " FROM files WHERE file_id = $1 AND tenant_id = $2");
    BY_UPLOAD = concat!("SELECT ", file_columns!(), " FROM files WHERE uploader_id = $1 AND upload_id = $2");
    INSERT = concat!("INSERT INTO files (", file_columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
        $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, NULL, NULL, NULL, NULL, 0, $25, NULL)
        ON CONFLICT DO NOTHING");
    THUMBNAILS = "SELECT file_id FROM files WHERE thumbnail_of = $1";
    DOWNLOADED = "SELECT times, last_at FROM file_downloads WHERE file_id = $1 AND user_id = $2";
    /// One after the other, before anything is compared: SQLite has one writer.
    LOCK_POSTGRES = "SELECT file_id FROM files WHERE file_id = $1 FOR NO KEY UPDATE";
    COUNT_DOWNLOAD = "INSERT INTO file_downloads (file_id, user_id, times, last_at) VALUES ($1, $2, 1, $3)
        ON CONFLICT (file_id, user_id) DO UPDATE SET times = file_downloads.times + 1, last_at = excluded.last_at";
    COUNT_ALL = "UPDATE files SET downloads = downloads + 1 WHERE file_id = $1";
    SET_CONSENT = "UPDATE files SET consent = $2, consent_by = $3, consent_at = $4 WHERE file_id = $1";
    RELEASES = "SELECT verdict_hash, statement, signature FROM file_releases WHERE file_id = $1 ORDER BY signed_at, signer_id";
    MARK_DESTROYED = "UPDATE files SET destroyed_at = $2 WHERE (file_id = $1 OR thumbnail_of = $1) AND destroyed_at IS NULL";
    DROP_SCANS = "DELETE FROM file_scans WHERE file_id IN (SELECT file_id FROM files WHERE file_id = $1 OR thumbnail_of = $1)";
    TO_DESTROY = concat!("SELECT ", file_columns!(), " FROM files WHERE destroyed_at IS NOT NULL AND object IS NOT NULL
        ORDER BY file_id LIMIT 100");
    SET_DESTROYED = "UPDATE files SET object = NULL WHERE file_id = $1 AND destroyed_at IS NOT NULL AND object IS NOT NULL";
    COUNT_STORED = "INSERT INTO file_usage (tenant_id, files, bytes) VALUES ($1, 1, $2) ON CONFLICT (tenant_id) DO UPDATE
        SET files = file_usage.files + 1, bytes = file_usage.bytes + excluded.bytes";
    COUNT_DESTROYED = "UPDATE file_usage SET files = files - 1, bytes = bytes - $2 WHERE tenant_id = $1";
    STORED_BYTES = "SELECT bytes FROM file_usage WHERE tenant_id = $1";
    INSERT_SCAN = "INSERT INTO file_scans (file_id, tenant_id, key_id, encapsulation, ciphertext, asked_by, tries, next_at,
        leased_until) VALUES ($1, $2, $3, $4, $5, NULL, 0, $6, NULL)";

    UPLOAD = "SELECT tenant_id, user_id, upload_id, device_id, conversation_id, file_id, length, request, expires_at
        FROM uploads WHERE user_id = $1 AND upload_id = $2";
    INSERT_UPLOAD = "INSERT INTO uploads (user_id, upload_id, tenant_id, device_id, conversation_id, file_id, length, request,
        created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
    /// One after the other, before they are counted.
    LOCK_CLINIC_POSTGRES = "SELECT tenant_id FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE";
    LOCK_USER_POSTGRES = "SELECT user_id FROM users WHERE user_id = $1 FOR NO KEY UPDATE";
    OPEN_OF_USER = "SELECT COUNT(*), CAST(COALESCE(SUM(length), 0) AS BIGINT) FROM uploads
        WHERE user_id = $1 AND expires_at > $2";
    OPEN_OF_CLINIC = "SELECT CAST(COALESCE(SUM(length), 0) AS BIGINT) FROM uploads WHERE tenant_id = $1 AND expires_at > $2";
    SET_REQUEST = "UPDATE uploads SET request = $3 WHERE user_id = $1 AND upload_id = $2";
    /// Held until the commit: an upload that is swept has no file, and one that has a file is not swept.
    CLAIM_UPLOAD = "UPDATE uploads SET expires_at = expires_at
        WHERE user_id = $1 AND upload_id = $2 AND file_id = $3 AND expires_at > $4";
    SET_FINISHING = "UPDATE uploads SET finishing_until = $5
        WHERE user_id = $1 AND upload_id = $2 AND file_id = $3 AND expires_at > $4";
    CLOSE_UPLOAD = "UPDATE uploads SET expires_at = 0 WHERE user_id = $1 AND upload_id = $2 AND file_id = $3";
    OF_FILE = "SELECT file_id FROM uploads WHERE file_id = $1";
    DELETE_UPLOAD = "DELETE FROM uploads WHERE user_id = $1 AND upload_id = $2 AND file_id = $3
        AND (finishing_until IS NULL OR finishing_until <= $4)";
    EXPIRED_UPLOADS = "SELECT tenant_id, user_id, upload_id, device_id, conversation_id, file_id, length, request, expires_at
        FROM uploads WHERE expires_at <= $1 AND (finishing_until IS NULL OR finishing_until <= $2)
        ORDER BY expires_at LIMIT 100";
}

/// A file of the vault.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct FileRow {
    pub file_id: FileId,
    pub tenant_id: TenantId,
    pub conversation_id: ConversationId,
    pub uploader_id: UserId,
    pub device_id: DeviceId,
    pub upload_id: UploadId,
    pub mime_type: String,
    pub length: i64,
    pub blob_sha256: Vec<u8>,
    pub commitment: Vec<u8>,
    pub document_type: String,
    pub related_appointment: Option<AppointmentId>,
    pub thumbnail_of: Option<FileId>,
    pub requires_consent: bool,
    pub watermark: bool,
    pub can_forward: bool,
    pub can_print: bool,
    pub max_downloads: Option<i64>,
    pub expires_at: Option<Timestamp>,
    pub object: Option<String>,
    pub data_key_id: DataKeyId,
    pub scan: String,
    pub rescan_key_needed: bool,
    pub ever_clean: bool,
    pub verdict_at: Option<Timestamp>,
    pub verdict_statement: Option<Vec<u8>>,
    pub verdict_signature: Option<Vec<u8>>,
    pub consent: Option<bool>,
    pub downloads: i64,
    pub uploaded_at: Timestamp,
    pub destroyed_at: Option<Timestamp>,
}

/// An upload on its way.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct UploadRow {
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub upload_id: UploadId,
    pub device_id: DeviceId,
    pub conversation_id: ConversationId,
    pub file_id: FileId,
    pub length: i64,
    pub request: String,
    pub expires_at: Timestamp,
}

/// A moderator's word, and the hash of the verdict it is about.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ReleaseRow {
    pub verdict_hash: Vec<u8>,
    pub statement: Vec<u8>,
    pub signature: Vec<u8>,
}

/// A file of a clinic.
pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, file: FileId) -> Result<Option<FileRow>> {
    fetch_optional!(tx, FileRow, GET, file, tenant)
}

/// What became of an upload.
pub(super) async fn by_upload(tx: &mut Tx, user: UserId, upload: UploadId) -> Result<Option<FileRow>> {
    fetch_optional!(tx, FileRow, BY_UPLOAD, user, upload)
}

/// Writes a new file's row, of which nothing is known but what the upload said; `false` when its upload has one already.
pub(super) async fn insert(tx: &mut Tx, row: &FileRow) -> Result<bool> {
    let written = execute!(
        tx,
        INSERT,
        row.file_id,
        row.tenant_id,
        row.conversation_id,
        row.uploader_id,
        row.device_id,
        row.upload_id,
        row.mime_type.as_str(),
        row.length,
        row.blob_sha256.as_slice(),
        row.commitment.as_slice(),
        row.document_type.as_str(),
        row.related_appointment,
        row.thumbnail_of,
        row.requires_consent,
        row.watermark,
        row.can_forward,
        row.can_print,
        row.max_downloads,
        row.expires_at,
        row.object.as_deref(),
        row.data_key_id,
        row.scan.as_str(),
        row.rescan_key_needed,
        row.ever_clean,
        row.uploaded_at
    )?;
    if written == 1 {
        execute!(tx, COUNT_STORED, row.tenant_id, row.length)?;
    }
    Ok(written == 1)
}

/// Small pictures of a file.
pub(super) async fn thumbnails(tx: &mut Tx, file: FileId) -> Result<Vec<FileId>> {
    Ok(fetch_all!(tx, (FileId,), THUMBNAILS, file)?.into_iter().map(|(id,)| id).collect())
}

/// What a request for content comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// It is one more download.
    OneMore,
    /// It goes on with one that was counted.
    GoesOn,
    /// There were as many as there may be.
    TooMany,
}

/// Counts a download, unless it goes on with one that began after `since`, if it may, or there were as many as there may be.
pub(super) async fn count_download(
    tx: &mut Tx,
    (file, user): (FileId, UserId),
    most: Option<i64>,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Counted> {
    if let Tx::Postgres(_) = tx {
        fetch_optional!(&mut *tx, (FileId,), LOCK_POSTGRES, file)?;
    }
    let before = fetch_optional!(&mut *tx, (i64, Timestamp), DOWNLOADED, file, user)?;
    let (times, last) = before.unwrap_or((0, Timestamp::from_micros(i64::MIN)));
    if since.is_some_and(|since| times > 0 && last > since) {
        return Ok(Counted::GoesOn);
    }
    if most.is_some_and(|most| times >= most) {
        return Ok(Counted::TooMany);
    }
    execute!(&mut *tx, COUNT_DOWNLOAD, file, user, now)?;
    execute!(&mut *tx, COUNT_ALL, file)?;
    Ok(Counted::OneMore)
}

/// Notes what the patient says.
pub(super) async fn set_consent(
    tx: &mut Tx,
    file: FileId,
    allowed: bool,
    (by, at): (UserId, Timestamp),
) -> Result<()> {
    execute!(tx, SET_CONSENT, file, allowed, by, at)?;
    Ok(())
}

/// Notes that a file is destroyed, with the small pictures of it; `false` when it was before.
pub(super) async fn mark_destroyed(tx: &mut Tx, file: FileId, now: Timestamp) -> Result<bool> {
    execute!(tx, DROP_SCANS, file)?;
    Ok(execute!(tx, MARK_DESTROYED, file, now)? > 0)
}

/// Files whose keys and objects are still to be destroyed.
pub(super) async fn to_destroy(tx: &mut Tx) -> Result<Vec<FileRow>> {
    fetch_all!(tx, FileRow, TO_DESTROY)
}

/// Notes that nothing is left of a destroyed file.
pub(super) async fn set_destroyed(tx: &mut Tx, file: &FileRow) -> Result<()> {
    if execute!(&mut *tx, SET_DESTROYED, file.file_id)? == 1 {
        execute!(&mut *tx, COUNT_DESTROYED, file.tenant_id, file.length)?;
    }
    Ok(())
}

/// What is kept for a clinic, and what is on its way, in bytes.
pub(super) async fn bytes_of_clinic(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<i64> {
    let stored = fetch_optional!(&mut *tx, (i64,), STORED_BYTES, tenant)?.map_or(0, |(bytes,)| bytes);
    let open = fetch_optional!(&mut *tx, (i64,), OPEN_OF_CLINIC, tenant, now)?.map_or(0, |(bytes,)| bytes);
    Ok(stored.saturating_add(open))
}

/// Has others who begin an upload of this person, or in this clinic, wait until the commit: SQLite has one writer.
pub(super) async fn lock_room(tx: &mut Tx, (user, clinic): (UserId, Option<TenantId>)) -> Result<()> {
    if let Tx::Postgres(_) = tx {
        fetch_optional!(&mut *tx, (UserId,), LOCK_USER_POSTGRES, user)?;
        if let Some(clinic) = clinic {
            fetch_optional!(&mut *tx, (TenantId,), LOCK_CLINIC_POSTGRES, clinic)?;
        }
    }
    Ok(())
}

/// How many uploads of a person are on their way, and their lengths together in bytes.
pub(super) async fn open_of_user(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<(i64, i64)> {
    Ok(fetch_optional!(&mut *tx, (i64, i64), OPEN_OF_USER, user, now)?.unwrap_or_default())
}

/// Who calls findings on a file false.
pub(crate) async fn releases(tx: &mut Tx, file: FileId) -> Result<Vec<ReleaseRow>> {
    fetch_all!(tx, ReleaseRow, RELEASES, file)
}

/// Has the scan worker look at a file: its key was handed over.
pub(super) async fn insert_scan(
    tx: &mut Tx,
    (tenant, file): (TenantId, FileId),
    key: &sigilo_wire::vault::SealedScanKey,
    now: Timestamp,
) -> Result<()> {
    let (id, sealed, cipher) =
        (key.key_id.as_slice(), key.encapsulation.0.as_slice(), key.ciphertext.as_slice());
    execute!(tx, INSERT_SCAN, file, tenant, id, sealed, cipher, now)?;
    Ok(())
}

/// An upload of somebody's.
pub(super) async fn upload(tx: &mut Tx, user: UserId, upload: UploadId) -> Result<Option<UploadRow>> {
    fetch_optional!(tx, UploadRow, UPLOAD, user, upload)
}

/// Notes a new upload; `false` when there is one of this name.
pub(super) async fn insert_upload(tx: &mut Tx, row: &UploadRow, now: Timestamp) -> Result<bool> {
    let written = execute!(
        tx,
        INSERT_UPLOAD,
        row.user_id,
        row.upload_id,
        row.tenant_id,
        row.device_id,
        row.conversation_id,
        row.file_id,
        row.length,
        row.request.as_str(),
        now,
        row.expires_at
    )?;
    Ok(written == 1)
}

/// Notes what the device says of an upload now.
pub(super) async fn set_request(tx: &mut Tx, row: &UploadRow, request: &str) -> Result<()> {
    execute!(tx, SET_REQUEST, row.user_id, row.upload_id, request)?;
    Ok(())
}

/// Whether an upload may still become a file; nobody sweeps it before the commit.
pub(super) async fn claim_upload(tx: &mut Tx, row: &UploadRow, after: Timestamp) -> Result<bool> {
    Ok(execute!(tx, CLAIM_UPLOAD, row.user_id, row.upload_id, row.file_id, after)? == 1)
}

/// Notes that an upload is being made a file until then at the latest; `false` when it may not become one any more.
pub(super) async fn set_finishing(
    tx: &mut Tx,
    row: &UploadRow,
    after: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    Ok(execute!(tx, SET_FINISHING, row.user_id, row.upload_id, row.file_id, after, until)? == 1)
}

/// Has an upload become no file from the commit on, if it has not yet.
pub(super) async fn close_upload(tx: &mut Tx, row: &UploadRow) -> Result<()> {
    execute!(tx, CLOSE_UPLOAD, row.user_id, row.upload_id, row.file_id)?;
    Ok(())
}

/// Whether what lies in the spool is an upload's.
pub(super) async fn is_upload(tx: &mut Tx, file: FileId) -> Result<bool> {
    Ok(fetch_optional!(tx, (FileId,), OF_FILE, file)?.is_some())
}

/// Forgets an upload that nobody has been finishing since `now`; `false` when there is none.
pub(super) async fn delete_upload(tx: &mut Tx, row: &UploadRow, now: Timestamp) -> Result<bool> {
    Ok(execute!(tx, DELETE_UPLOAD, row.user_id, row.upload_id, row.file_id, now)? == 1)
}

/// Uploads whose time was over then, and that nobody is finishing now.
pub(super) async fn expired_uploads(tx: &mut Tx, then: Timestamp, now: Timestamp) -> Result<Vec<UploadRow>> {
    fetch_all!(tx, UploadRow, EXPIRED_UPLOADS, then, now)
}
