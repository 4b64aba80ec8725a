//! What comes of a scan.

use sigilo_seal::{RootStatement, ScanResult, SignedVerdict, Verdict, sha256};
use sigilo_wire::{
    DeviceId, ErrorCode, Role, UserId,
    event::EventType,
    vault::{FileChanged, ScanStatus},
};

use super::{
    queue::{back_off, vault_file},
    store::{self, Handed},
};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    conversations, emergency,
    outbox::{self, DeviceEvent, EventBody, Fact},
    people,
    scanner::{Job, Outcome},
    storage::{Tx, keystore::DataKey},
    vault::files::{self, File},
};

/// What the audit log calls a scan.
const ACT: &str = "scan_file";

/// Writes down how a job ended.
///
/// # Errors
/// `invalid_signature` for a verdict that does not count; `not_found` for a file that is none; `unavailable`.
pub(super) async fn settle(app: &App, job: &Job, outcome: &Outcome) -> Result<()> {
    let ctx = Ctx::operator(app, job.file.tenant);
    let handed = Handed {
        file: job.file.file_id,
        encapsulation: &job.handed.sealed.enc,
        ciphertext: &job.handed.sealed.ct,
    };
    match outcome {
        Outcome::Verdict(signed) => verdict(app, &ctx, handed, signed).await,
        Outcome::KeyLost => key_needed(app, &ctx, handed, "key_lost").await,
        Outcome::WrongKey => key_needed(app, &ctx, handed, "wrong_key").await,
        Outcome::Unavailable => put_back(app, &ctx, handed).await,
    }
}

/// Keeps a verdict, if it is the newest.
async fn verdict(app: &App, ctx: &Ctx, handed: Handed<'_>, signed: &SignedVerdict) -> Result<()> {
    let mut tx = app.db.read("scan_file").await?;
    let row = files::get(&mut tx, ctx.tenant, handed.file).await?.row;
    let certified = people::certified_scanners(&mut tx, ctx.tenant).await?;
    drop(tx);
    let verdict = verified(&certified, signed, &vault_file(&row)?, ctx)?;
    let conversation = row.conversation_id;
    let patient = conversations::patient_of(app, ctx, conversation).await?;
    let key = app.conversation_key(ctx, conversation).await?;

    let mut tx = app.db.begin("scan_verdict").await?;
    store::take_out(&mut tx, handed).await?;
    store::drop_first(&mut tx, handed.file).await?;
    if !store::lock_file(&mut tx, ctx.tenant, handed.file).await? {
        return Err(Error::NotFound);
    }
    let before = files::get(&mut tx, ctx.tenant, handed.file).await?;
    if before.row.destroyed_at.is_some() || !counts(&verdict, &before)? {
        metrics::counter!("sigilo_scan_verdicts_total", "result" => "superseded").increment(1);
        return tx.commit().await;
    }
    let scan = match verdict.result {
        ScanResult::Clean => ScanStatus::Clean,
        ScanResult::Refused(_) => ScanStatus::Refused,
        ScanResult::Infected(_) => ScanStatus::Infected,
    };
    store::set_verdict(&mut tx, scan, &verdict, signed).await?;
    // Whoever opened it while it could be opened has to hear that it was wrong.
    let given_out = before.row.ever_clean || before.may_be_given_out(ctx.now).is_ok();
    let recalled = given_out && scan != ScanStatus::Clean;
    let told = if recalled { EventType::FileRecalled } else { EventType::FileScanned };
    let change = FileChanged { file_id: handed.file, virus_scan: scan };
    let mut devices = conversations::file_changed(&mut tx, ctx, conversation, told, change.clone()).await?;
    if scan == ScanStatus::Infected {
        devices.extend(tell_staff(&mut tx, ctx, told, &change, &devices).await?);
    }
    let act = Act::done(ACT)
        .object("conversation", conversation)
        .object("file", handed.file)
        .object("result", verdict.result.as_str())
        .object("verdict", audit::hex(&sha256(&signed.statement)))
        .patient(patient);
    write_entry(app, &mut tx, ctx, &key, &act)?;
    tx.commit().await?;
    app.hub.wake(&devices);
    metrics::counter!("sigilo_scan_verdicts_total", "result" => scan.as_str()).increment(1);
    if recalled {
        metrics::counter!("sigilo_scan_recalls_total").increment(1);
    }
    Ok(())
}

/// The verdict, if a scanner key of the clinic signed it while it was in force.
fn verified(
    certified: &[RootStatement],
    signed: &SignedVerdict,
    file: &sigilo_seal::VaultFile,
    ctx: &Ctx,
) -> Result<Verdict> {
    let mut refused = None;
    for scanner in certified {
        match signed.verify(scanner, file, ctx.now) {
            Ok(verdict) => return Ok(verdict),
            // Of several, the newest key says best what is wrong.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let problem = refused.map_or("the clinic has no scanner key".to_owned(), |error| error.to_string());
    metrics::counter!("sigilo_scan_verdicts_total", "result" => "not_believed").increment(1);
    let details = serde_json::json!({"key": "verdict", "problem": problem});
    Err(Error::invalid(ErrorCode::InvalidSignature, details))
}

/// Whether a verdict counts, and not the one that is kept.
fn counts(verdict: &Verdict, before: &File) -> Result<bool> {
    let Some(kept) = &before.row.verdict_statement else { return Ok(true) };
    Ok(verdict.overrules(&Verdict::decode(kept).map_err(Error::internal)?))
}

/// Tells moderators and staff of a file in quarantine, but for those who take part and hear of it as such. Gives the
/// devices.
async fn tell_staff(
    tx: &mut Tx,
    ctx: &Ctx,
    r#type: EventType,
    change: &FileChanged,
    told: &[DeviceId],
) -> Result<Vec<DeviceId>> {
    let mut devices = Vec::new();
    for role in [Role::Moderator, Role::Admin] {
        devices.extend(emergency::store::role_devices(tx, ctx.tenant, role.as_str()).await?);
    }
    devices.retain(|device| !told.contains(device));
    let data = serde_json::to_value(change).map_err(Error::internal)?;
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type,
        conversation: None,
        sender: None,
        body: EventBody::Data(data.clone()),
    };
    let events: Vec<DeviceEvent> = devices.iter().map(event).collect();
    outbox::enqueue(tx, events, ctx.now);
    outbox::publish(tx, ctx.tenant, vec![Fact { topic: "file.infected", data }], ctx.now);
    Ok(devices)
}

/// Asks whoever handed a key over for another one.
async fn key_needed(app: &App, ctx: &Ctx, handed: Handed<'_>, reason: &'static str) -> Result<()> {
    let mut tx = app.db.read("scan_file").await?;
    let row = files::get(&mut tx, ctx.tenant, handed.file).await?.row;
    drop(tx);
    let patient = conversations::patient_of(app, ctx, row.conversation_id).await?;
    let key = app.conversation_key(ctx, row.conversation_id).await?;
    let mut tx = app.db.begin("scan_key_needed").await?;
    // Another key came meanwhile: that one has its turn.
    let Some(asked_by) = store::take_out(&mut tx, handed).await? else { return Ok(()) };
    store::lock_file(&mut tx, ctx.tenant, handed.file).await?;
    let row = files::get(&mut tx, ctx.tenant, handed.file).await?.row;
    let (asked, scan) = match (asked_by, row.verdict_at) {
        (None, None) => {
            store::set_waiting(&mut tx, handed.file, ScanStatus::Pending, true).await?;
            (row.uploader_id, ScanStatus::Pending)
        }
        (Some(participant), _) => (participant, row.scan.parse().map_err(Error::Internal)?),
        // Its first verdict came meanwhile.
        (None, Some(_)) => return tx.commit().await,
    };
    let change = FileChanged { file_id: handed.file, virus_scan: scan };
    let devices = ask(&mut tx, ctx, asked, row.conversation_id, &change).await?;
    let act = Act::failed(ACT)
        .object("conversation", row.conversation_id)
        .object("file", handed.file)
        .object("reason", reason)
        .patient(patient);
    write_entry(app, &mut tx, ctx, &key, &act)?;
    tx.commit().await?;
    app.hub.wake(&devices);
    metrics::counter!("sigilo_scan_keys_asked_total", "reason" => reason).increment(1);
    Ok(())
}

/// Asks a person's devices for a file's key. Gives them.
pub(super) async fn ask(
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    conversation: sigilo_wire::ConversationId,
    change: &FileChanged,
) -> Result<Vec<DeviceId>> {
    let devices = store::user_devices(tx, user).await?;
    let data = serde_json::to_value(change).map_err(Error::internal)?;
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type: EventType::RescanKeyNeeded,
        conversation: Some(conversation),
        sender: None,
        body: EventBody::Data(data.clone()),
    };
    let events: Vec<DeviceEvent> = devices.iter().map(event).collect();
    outbox::enqueue(tx, events, ctx.now);
    outbox::publish(tx, ctx.tenant, vec![Fact { topic: "file.scan_key_needed", data }], ctx.now);
    Ok(devices)
}

/// Has a file wait, and be tried again later and later.
async fn put_back(app: &App, ctx: &Ctx, handed: Handed<'_>) -> Result<()> {
    let mut tx = app.db.begin("scan_put_back").await?;
    if let Some(tries) = store::tries(&mut tx, handed).await? {
        store::put_back(&mut tx, handed, ctx.now + back_off(tries)).await?;
        store::set_waiting(&mut tx, handed.file, ScanStatus::Unavailable, false).await?;
    }
    tx.commit().await?;
    metrics::counter!("sigilo_scan_put_back_total").increment(1);
    Ok(())
}

fn write_entry(app: &App, tx: &mut Tx, ctx: &Ctx, key: &DataKey, act: &Act<'_>) -> Result<()> {
    let entry = audit::prepare(ctx, act, key, None, &*app.entropy)?;
    audit::write(tx, ctx.tenant, vec![entry]);
    Ok(())
}
