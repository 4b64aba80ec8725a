//! The keys that files' keys are handed over to.

use std::time::Duration;

use serde_json::json;
use sigilo_seal::{ScanKey, SignedScanKey};
use sigilo_wire::{
    Base64, Base64Array, ErrorCode,
    vault::{FileChanged, ScannerStatement, SealedScanKey},
};

use super::{ALIVE, WorkerId, settle::ask, store};
use crate::{App, Ctx, Error, Result, people, storage::Tx};

/// How long a scan key must be good for at least when it is given out: sealing and an upload take their time.
const MARGIN: Duration = Duration::from_mins(2);
/// How long scan keys are remembered after their end.
const KEPT: Duration = Duration::from_hours(1);
/// How long workers are remembered that are not heard of any more.
const REMEMBERED: Duration = Duration::from_hours(24);
/// The length of an encapsulation in bytes.
const ENCAPSULATION: usize = 1_120;

/// Keeps a worker's scan key, if the clinic's scanner key in force signed it. With a worker's first one, those are asked who
/// uploaded files while nobody took their keys.
///
/// # Errors
/// `clinic_keys_missing`; `invalid_signature` with what is wrong with the statement.
pub(super) async fn publish(app: &App, worker: WorkerId, signed: &SignedScanKey) -> Result<()> {
    let refused = |error: &dyn std::fmt::Display| {
        let details = json!({"key": "scan_key", "problem": error.to_string()});
        Error::invalid(ErrorCode::InvalidSignature, details)
    };
    let tenant = ScanKey::decode(&signed.statement).map_err(|error| refused(&error))?.tenant;
    let now = app.clock.now();
    let mut tx = app.db.begin("scan_key_publish").await?;
    let certified = people::certified_scanners(&mut tx, tenant).await?;
    // They come with the highest epoch first.
    let in_force = certified.iter().find(|key| key.not_before <= now && now < key.not_after);
    let in_force = in_force.ok_or_else(|| Error::conflict(ErrorCode::ClinicKeysMissing, json!({})))?;
    let key = signed.verify(in_force, now).map_err(|error| refused(&error))?;
    store::heard(&mut tx, &worker.0, now).await?;
    let started = !store::has_keys(&mut tx, tenant, &worker.0).await?;
    store::insert_key(&mut tx, &worker.0, &key, signed).await?;
    store::sweep_keys(&mut tx, tenant, now - KEPT).await?;
    store::sweep_scanners(&mut tx, now - REMEMBERED).await?;
    let mut devices = Vec::new();
    if started {
        let ctx = Ctx { now, ..Ctx::operator(app, tenant) };
        for row in store::without_key(&mut tx, tenant).await? {
            let virus_scan = row.scan.parse().map_err(Error::Internal)?;
            let change = FileChanged { file_id: row.file_id, virus_scan };
            devices.extend(ask(&mut tx, &ctx, row.uploader_id, row.conversation_id, &change).await?);
        }
    }
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(())
}

/// The newest scan key of the caller's clinic. Everyone in the clinic may know it.
///
/// # Errors
/// `unavailable` while no worker has one.
pub async fn newest_key(app: &App, ctx: &Ctx) -> Result<ScannerStatement> {
    ctx.caller()?;
    let mut tx = app.db.read("scan_key").await?;
    let span = (ctx.now, ctx.now + MARGIN);
    let found = store::newest_key(&mut tx, ctx.tenant, span, ctx.now - ALIVE).await?;
    let (statement, signature) =
        found.ok_or_else(|| Error::Unavailable("scanner: no scan key is in use".to_owned()))?;
    let signature = <[u8; 64]>::try_from(signature)
        .map_err(|_| Error::internal("a stored scan key's signature has the wrong length"))?;
    Ok(ScannerStatement { statement: Base64(statement), signature: Base64Array(signature) })
}

/// Refuses what no scan key of the clinic can open.
///
/// # Errors
/// `invalid_field`.
pub(super) async fn check(tx: &mut Tx, ctx: &Ctx, key: &SealedScanKey) -> Result<()> {
    if key.encapsulation.0.len() != ENCAPSULATION {
        return Err(Error::field("encapsulation", "is 1,120 bytes"));
    }
    if !store::key_is_valid(tx, ctx.tenant, key.key_id.as_slice(), ctx.now).await? {
        return Err(Error::field("key_id", "is no scan key in use: seal it to the newest one"));
    }
    Ok(())
}
