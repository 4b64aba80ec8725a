//! The rows of scans that wait, of scan keys and of the workers that made them, and what verdicts change of a file.

use sigilo_seal::{ScanKey, SignedScanKey, SignedVerdict, Verdict};
use sigilo_wire::{
    ConversationId, DeviceId, FileId, TenantId, Timestamp, UserId,
    vault::{ScanStatus, SealedScanKey},
};

use crate::{Result, execute, fetch_all, fetch_one, fetch_optional, statements, storage::Tx};

statements! {
    HEARD = "INSERT INTO scanners (scanner, engine, engine_database, official, heard_at) VALUES ($1, NULL, NULL, FALSE, $2)
        ON CONFLICT (scanner) DO UPDATE SET heard_at = excluded.heard_at";
    SET_ENGINE = "INSERT INTO scanners (scanner, engine, engine_database, official, heard_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (scanner) DO UPDATE SET engine = excluded.engine, engine_database = excluded.engine_database,
        official = excluded.official, heard_at = excluded.heard_at";
    LIVING = "SELECT engine, engine_database, official FROM scanners WHERE heard_at > $1 ORDER BY heard_at DESC";
    GONE = "DELETE FROM scanners WHERE scanner = $1";
    SWEEP_SCANNERS = "DELETE FROM scanners WHERE heard_at <= $1";

    INSERT_KEY = "INSERT INTO scan_keys (tenant_id, key_id, scanner, statement, signature, not_before, not_after)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    KEYS_OF = "SELECT COUNT(*) FROM scan_keys WHERE tenant_id = $1 AND scanner = $2";
    /// Of a worker that lives: what is handed over to another opens for nobody.
    NEWEST_KEY = "SELECT k.statement, k.signature FROM scan_keys k JOIN scanners w ON w.scanner = k.scanner
        WHERE k.tenant_id = $1 AND k.not_before <= $2 AND k.not_after > $3 AND w.heard_at > $4
        ORDER BY k.not_before DESC, k.key_id LIMIT 1";
    KEY_IS_VALID = "SELECT 1 FROM scan_keys WHERE tenant_id = $1 AND key_id = $2 AND not_before <= $3 AND not_after > $3";
    SWEEP_KEYS = "DELETE FROM scan_keys WHERE tenant_id = $1 AND not_after <= $2";

    WITHOUT_KEY = "SELECT file_id, uploader_id, conversation_id, scan FROM files
        WHERE tenant_id = $1 AND rescan_key_needed AND destroyed_at IS NULL ORDER BY file_id LIMIT 1000";
    HAND_OVER = "INSERT INTO file_scans (file_id, tenant_id, key_id, encapsulation, ciphertext, asked_by, tries, next_at,
        leased_until) VALUES ($1, $2, $3, $4, $5, NULL, 0, $6, NULL) ON CONFLICT (file_id) DO UPDATE SET
        key_id = excluded.key_id, encapsulation = excluded.encapsulation, ciphertext = excluded.ciphertext,
        asked_by = NULL, tries = 0, next_at = excluded.next_at, leased_until = NULL";
    /// Somebody else's that waits stays: whoever hands over wrong keys holds up nobody but themselves.
    ASK_AGAIN = "INSERT INTO file_scans (file_id, tenant_id, key_id, encapsulation, ciphertext, asked_by, tries, next_at,
        leased_until) VALUES ($1, $2, $3, $4, $5, $7, 0, $6, NULL) ON CONFLICT (file_id) DO UPDATE SET
        key_id = excluded.key_id, encapsulation = excluded.encapsulation, ciphertext = excluded.ciphertext, tries = 0,
        next_at = excluded.next_at, leased_until = NULL WHERE file_scans.asked_by = excluded.asked_by";
    WAITING = "SELECT COUNT(*), MIN(f.uploaded_at) FROM file_scans s JOIN files f ON f.file_id = s.file_id";

    TRIES = "SELECT tries FROM file_scans WHERE file_id = $1 AND encapsulation = $2 AND ciphertext = $3";
    PUT_BACK = "UPDATE file_scans SET leased_until = NULL, next_at = $4
        WHERE file_id = $1 AND encapsulation = $2 AND ciphertext = $3";
    TAKE_OUT = "DELETE FROM file_scans WHERE file_id = $1 AND encapsulation = $2 AND ciphertext = $3 RETURNING asked_by";
    /// What the uploader handed over for a first verdict is of no use after it.
    DROP_FIRST = "DELETE FROM file_scans WHERE file_id = $1 AND asked_by IS NULL";
    DROP_SCAN = "DELETE FROM file_scans WHERE file_id = $1";

    LOCK_FILE = "UPDATE files SET scan = scan WHERE file_id = $1 AND tenant_id = $2 RETURNING file_id";
    SET_VERDICT = "UPDATE files SET scan = $2, rescan_key_needed = FALSE, ever_clean = ever_clean OR $3, verdict_at = $4,
        verdict_statement = $5, verdict_signature = $6 WHERE file_id = $1";
    SET_WAITING = "UPDATE files SET scan = $2, rescan_key_needed = $3 WHERE file_id = $1 AND verdict_at IS NULL";
    USER_DEVICES = "SELECT device_id FROM devices WHERE user_id = $1 AND kind = 'messaging' AND revoked_at IS NULL
        ORDER BY device_id";
}

/// What looks into files, as a worker said.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct EngineRow {
    pub engine: Option<String>,
    pub engine_database: Option<String>,
    pub official: bool,
}

/// A file whose key nobody handed over.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct WithoutKey {
    pub file_id: FileId,
    pub uploader_id: UserId,
    pub conversation_id: ConversationId,
    pub scan: String,
}

/// A key as it was handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed<'a> {
    pub file: FileId,
    pub encapsulation: &'a [u8],
    pub ciphertext: &'a [u8],
}

/// Notes that a worker lives.
pub(super) async fn heard(tx: &mut Tx, scanner: &[u8], now: Timestamp) -> Result<()> {
    execute!(tx, HEARD, scanner, now)?;
    Ok(())
}

/// Notes what looks into files for a worker; nothing when it does not answer.
pub(super) async fn set_engine(
    tx: &mut Tx,
    scanner: &[u8],
    engine: Option<(&str, &str, bool)>,
    now: Timestamp,
) -> Result<()> {
    let (name, database) = (engine.map(|(name, ..)| name), engine.map(|(_, database, _)| database));
    let official = engine.is_some_and(|(.., official)| official);
    execute!(tx, SET_ENGINE, scanner, name, database, official, now)?;
    Ok(())
}

/// The workers heard of since then, the last one first.
pub(super) async fn living(tx: &mut Tx, since: Timestamp) -> Result<Vec<EngineRow>> {
    fetch_all!(tx, EngineRow, LIVING, since)
}

/// Forgets a worker.
pub(super) async fn gone(tx: &mut Tx, scanner: &[u8]) -> Result<()> {
    execute!(tx, GONE, scanner)?;
    Ok(())
}

/// Forgets workers that were not heard of since then.
pub(super) async fn sweep_scanners(tx: &mut Tx, before: Timestamp) -> Result<()> {
    execute!(tx, SWEEP_SCANNERS, before)?;
    Ok(())
}

/// Keeps a scan key, once.
pub(super) async fn insert_key(
    tx: &mut Tx,
    scanner: &[u8],
    key: &ScanKey,
    signed: &SignedScanKey,
) -> Result<()> {
    let id = key.key_id();
    execute!(
        tx,
        INSERT_KEY,
        key.tenant,
        id.0.as_slice(),
        scanner,
        signed.statement.as_slice(),
        signed.signature.as_slice(),
        key.not_before,
        key.not_after
    )?;
    Ok(())
}

/// Whether a worker has published a scan key of the clinic before.
pub(super) async fn has_keys(tx: &mut Tx, tenant: TenantId, scanner: &[u8]) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), KEYS_OF, tenant, scanner)?.0 > 0)
}

/// Files that wait for their keys.
pub(super) async fn without_key(tx: &mut Tx, tenant: TenantId) -> Result<Vec<WithoutKey>> {
    fetch_all!(tx, WithoutKey, WITHOUT_KEY, tenant)
}

/// The newest scan key that is good until `until` and whose worker was heard of since `alive`.
pub(super) async fn newest_key(
    tx: &mut Tx,
    tenant: TenantId,
    (now, until): (Timestamp, Timestamp),
    alive: Timestamp,
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    fetch_optional!(tx, (Vec<u8>, Vec<u8>), NEWEST_KEY, tenant, now, until, alive)
}

/// Whether a scan key of the clinic is valid.
pub(super) async fn key_is_valid(tx: &mut Tx, tenant: TenantId, key: &[u8], now: Timestamp) -> Result<bool> {
    Ok(fetch_optional!(tx, (i32,), KEY_IS_VALID, tenant, key, now)?.is_some())
}

/// Forgets a clinic's scan keys that ended before then.
pub(super) async fn sweep_keys(tx: &mut Tx, tenant: TenantId, before: Timestamp) -> Result<()> {
    execute!(tx, SWEEP_KEYS, tenant, before)?;
    Ok(())
}

/// Has the worker look at a file, with this key in place of one that was handed over before.
pub(super) async fn hand_over(
    tx: &mut Tx,
    (tenant, file): (TenantId, FileId),
    key: &SealedScanKey,
    now: Timestamp,
) -> Result<()> {
    let (id, sealed, cipher) =
        (key.key_id.as_slice(), key.encapsulation.0.as_slice(), key.ciphertext.as_slice());
    execute!(tx, HAND_OVER, file, tenant, id, sealed, cipher, now)?;
    Ok(())
}

/// Has the worker look at a file again; `false` when it waits for somebody else's sake already.
pub(super) async fn ask_again(
    tx: &mut Tx,
    (tenant, file): (TenantId, FileId),
    key: &SealedScanKey,
    by: UserId,
    now: Timestamp,
) -> Result<bool> {
    let (id, sealed, cipher) =
        (key.key_id.as_slice(), key.encapsulation.0.as_slice(), key.ciphertext.as_slice());
    Ok(execute!(tx, ASK_AGAIN, file, tenant, id, sealed, cipher, now, by)? == 1)
}

/// How many files wait for the worker, and when the oldest of them came.
pub(super) async fn waiting(tx: &mut Tx) -> Result<(i64, Option<Timestamp>)> {
    fetch_one!(tx, (i64, Option<Timestamp>), WAITING)
}

/// How often a scan was tried; `None` when it does not wait any more, or with another key.
pub(super) async fn tries(tx: &mut Tx, handed: Handed<'_>) -> Result<Option<i64>> {
    let Handed { file, encapsulation, ciphertext } = handed;
    Ok(fetch_optional!(tx, (i64,), TRIES, file, encapsulation, ciphertext)?.map(|(tries,)| tries))
}

/// Gives a leased scan back, to be tried from then on.
pub(super) async fn put_back(tx: &mut Tx, handed: Handed<'_>, at: Timestamp) -> Result<()> {
    let Handed { file, encapsulation, ciphertext } = handed;
    execute!(tx, PUT_BACK, file, encapsulation, ciphertext, at)?;
    Ok(())
}

/// Takes a scan out of the queue, if it still waits with this key. Gives who asked for it.
pub(super) async fn take_out(tx: &mut Tx, handed: Handed<'_>) -> Result<Option<Option<UserId>>> {
    let Handed { file, encapsulation, ciphertext } = handed;
    let row = fetch_optional!(tx, (Option<UserId>,), TAKE_OUT, file, encapsulation, ciphertext)?;
    Ok(row.map(|(asked_by,)| asked_by))
}

/// Takes what waits for a first verdict out of the queue.
pub(super) async fn drop_first(tx: &mut Tx, file: FileId) -> Result<()> {
    execute!(tx, DROP_FIRST, file)?;
    Ok(())
}

/// Takes a file out of the queue, whatever was handed over.
pub(super) async fn drop_scan(tx: &mut Tx, file: FileId) -> Result<()> {
    execute!(tx, DROP_SCAN, file)?;
    Ok(())
}

/// Holds a file as it is until the commit; `false` when the clinic has none.
pub(in crate::vault) async fn lock_file(tx: &mut Tx, tenant: TenantId, file: FileId) -> Result<bool> {
    Ok(fetch_optional!(tx, (FileId,), LOCK_FILE, file, tenant)?.is_some())
}

/// Writes a file's newest verdict.
pub(super) async fn set_verdict(
    tx: &mut Tx,
    scan: ScanStatus,
    verdict: &Verdict,
    signed: &SignedVerdict,
) -> Result<()> {
    let (file, clean) = (verdict.file.file_id, scan == ScanStatus::Clean);
    let (statement, signature) = (signed.statement.as_slice(), signed.signature.as_slice());
    execute!(tx, SET_VERDICT, file, scan.as_str(), clean, verdict.scanned_at, statement, signature)?;
    Ok(())
}

/// Notes of a file without a verdict what it waits for.
pub(super) async fn set_waiting(
    tx: &mut Tx,
    file: FileId,
    scan: ScanStatus,
    key_needed: bool,
) -> Result<bool> {
    Ok(execute!(tx, SET_WAITING, file, scan.as_str(), key_needed)? == 1)
}

/// The messaging devices of a person.
pub(super) async fn user_devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceId>> {
    Ok(fetch_all!(tx, (DeviceId,), USER_DEVICES, user)?.into_iter().map(|(device,)| device).collect())
}
