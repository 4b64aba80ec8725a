//! Destroying what was found infected.

use serde_json::json;
use sigilo_wire::{
    ErrorCode, FileId,
    event::EventType,
    vault::{FileChanged, ScanStatus},
};

use crate::{
    Actor, App, Ctx, Error, Result,
    audit::{self, Act},
    conversations, mfa,
    policy::{Grant, ManageQuarantine},
    vault::{destroy as destroying, files},
};

/// Destroys a file in quarantine, for good: its data key, then its object. What is destroyed already stays so.
///
/// # Errors
/// `step_up_required` for a person; 404 when the clinic has no such file; `file_not_available` when the newest verdict is
/// not that it is infected.
pub async fn destroy(app: &App, ctx: &Ctx, grant: &Grant<ManageQuarantine>, file: FileId) -> Result<()> {
    let mut tx = app.db.read("quarantine_destroy_read").await?;
    let row = files::get(&mut tx, ctx.tenant, file).await?.row;
    drop(tx);
    let conversation = row.conversation_id;
    let patient = conversations::patient_of(app, ctx, conversation).await?;
    let key = app.conversation_key(ctx, conversation).await?;
    let mut tx = app.db.begin("quarantine_destroy").await?;
    if let Actor::User(_) = ctx.actor {
        mfa::require_recent(&mut tx, ctx, grant).await?;
    }
    // What waits for a scan goes first: rows are locked in this order.
    let marked = destroying::mark(&mut tx, file, ctx.now).await?;
    let found = files::get(&mut tx, ctx.tenant, file).await?;
    if found.scan()? != ScanStatus::Infected {
        let details = json!({"virus_scan": found.scan()?});
        return Err(Error::conflict(ErrorCode::FileNotAvailable, details));
    }
    let mut devices = Vec::new();
    if marked {
        let change = FileChanged { file_id: file, virus_scan: ScanStatus::Infected };
        let recalled = EventType::FileRecalled;
        devices = conversations::file_changed(&mut tx, ctx, conversation, recalled, change).await?;
        let act = Act::done("destroy_file")
            .object("conversation", conversation)
            .object("file", file)
            .object("cause", "quarantine")
            .patient(patient)
            .by(grant.basis());
        let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
        audit::write(&mut tx, ctx.tenant, vec![entry]);
    }
    tx.commit().await?;
    app.hub.wake(&devices);
    // From the commit on nobody is given it; what breaks off here is done again by the sweep.
    if let Err(error) = destroying::go_on(app).await {
        tracing::warn!(%error, "the key and the object of a destroyed file go later");
    }
    Ok(())
}
