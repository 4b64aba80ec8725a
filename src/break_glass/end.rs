//! Saying that a use has ended: by itself, at its time. A conversation in which nobody may write any more because of that
//! would otherwise fall silent without a word.

use std::time::Duration;

use sigilo_wire::Timestamp;
use tokio::time::MissedTickBehavior;

use super::store::{self, Ending};
use crate::{App, Ctx, Result, app::SharedApp, audit::Act, conversations, shutdown::draining};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);

/// Looks every ten seconds until the server drains. What a server does not come to, the next look or another server does.
pub async fn keep_ending(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = looks.tick() => if let Err(error) = end_due(&app, app.clock.now()).await {
                tracing::warn!(%error, "the end of a use of break-glass is told later");
            }
        }
    }
}

/// Tells everybody in the conversations of the two, for each use whose time is over. Gives how many uses have ended.
///
/// # Errors
/// When the database is away; the next look makes up for it.
pub async fn end_due(app: &App, now: Timestamp) -> Result<usize> {
    let mut tx = app.db.read("break_glass_due").await?;
    let due = store::ending(&mut tx, now).await?;
    drop(tx);
    let (mut ended, mut failed) = (0, None);
    for ending in due {
        match end(app, &ending, now).await {
            Ok(told) => ended += usize::from(told),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(ended), Err)
}

/// `false` when another server was first.
async fn end(app: &App, ending: &Ending, now: Timestamp) -> Result<bool> {
    let Ending { break_glass_id, tenant_id, clinician_id, patient_id } = *ending;
    let ctx = Ctx { now, ..Ctx::operator(app, tenant_id) };
    let key = app.clinic_key(&ctx, tenant_id).await?;
    let mut tx = app.db.begin("break_glass_end").await?;
    let shared = conversations::facts_changed_between(&mut tx, patient_id, clinician_id).await?;
    if !store::end(&mut tx, break_glass_id, now).await? {
        return Ok(false);
    }
    let mut devices = Vec::new();
    // Care that began otherwise meanwhile goes on: nothing has changed for them.
    if !store::related(&mut tx, tenant_id, (patient_id, clinician_id), now).await? {
        for conversation in shared {
            let told = conversations::conversation_updated(&mut tx, &ctx, conversation, "care_ended").await?;
            devices.extend(told);
        }
    }
    let act = Act::done("end_break_glass")
        .object("break_glass", break_glass_id)
        .object("clinician", clinician_id)
        .object("cause", "expired")
        .patient(Some(patient_id));
    app.audit(&mut tx, &ctx, &key, act).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(true)
}
