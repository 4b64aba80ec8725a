//! Calling the next tier when nobody has acknowledged in time.

use std::time::Duration;

use sigilo_wire::{
    ConversationId, DeviceId, TenantId, Timestamp,
    emergency::{Emergency, EmergencyState},
    event::EventType,
};
use tokio::time::MissedTickBehavior;

use super::{call, show, store};
use crate::{
    App, Ctx, Result,
    app::SharedApp,
    audit::Act,
    policy::Basis,
    shutdown::draining,
    storage::{Tx, keystore::DataKey},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Looks every second until the server drains. What a server does not come to, the next look or another server does.
pub async fn keep_escalating(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut seconds = tokio::time::interval(EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = seconds.tick() => if let Err(error) = escalate_due(&app, app.clock.now()).await {
                tracing::error!(%error, "emergencies wait to be escalated; the next look is in a second");
            }
        }
    }
}

/// Calls the next tier of every emergency nobody has acknowledged in time. Gives how many tiers were called.
///
/// # Errors
/// When the database is away; the next look makes up for it.
pub async fn escalate_due(app: &App, now: Timestamp) -> Result<usize> {
    let mut tx = app.db.read("emergency_due").await?;
    let due = store::due(&mut tx, now).await?;
    drop(tx);
    let (mut called, mut failed) = (0, None);
    for (id, tenant) in due {
        // One that cannot be escalated keeps no other waiting.
        match look(app, id, tenant, now).await {
            Ok(true) => called += 1,
            Ok(false) => {}
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(called), Err)
}

/// One emergency. `false` when no tier was called: another server was first, somebody acknowledged, or nobody is left.
async fn look(app: &App, id: ConversationId, tenant: TenantId, now: Timestamp) -> Result<bool> {
    let ctx = Ctx { now, ..Ctx::operator(app, tenant) };
    let key = app.conversation_key(&ctx, id).await?;
    let mut tx = app.db.begin("emergency_escalate_due").await?;
    // From here on nobody else changes it: what is read below is what holds.
    if !store::move_on(&mut tx, id, now).await? {
        return Ok(false);
    }
    let Some(row) = store::by_id(&mut tx, tenant, id).await? else { return Ok(false) };
    if row.due_at.is_none_or(|due| due > now) {
        return Ok(false);
    }
    let before = show::current(&mut tx, &ctx, id).await?;
    if before.tier < before.tiers {
        let (_, devices) = call_next(app, &mut tx, &ctx, &key, &before, None).await?;
        tx.commit().await?;
        app.limits.clinics.emergency_called();
        app.hub.wake(&devices);
        return Ok(true);
    }
    store::exhaust(&mut tx, id).await?;
    let mut event = show::event(&before);
    event.exhausted = true;
    let named = (EventType::EmergencyEscalated, "emergency.exhausted");
    let devices = call::tell(&mut tx, &ctx, &before, named, event, true).await?;
    write_entry(app, &mut tx, &ctx, &key, ("exhaust_emergency", &before), None).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(false)
}

/// Calls the tier after the last one, in a transaction that holds the conversation: its people take part, and what was
/// kept back for them is theirs. Gives the emergency as it is now, and the devices to wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(super) async fn call_next(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    key: &DataKey,
    before: &Emergency,
    basis: Option<&Basis>,
) -> Result<(Emergency, Vec<DeviceId>)> {
    let id = before.conversation_id;
    let row = store::by_id(tx, ctx.tenant, id).await?.ok_or(crate::Error::NotFound)?;
    let wait = Duration::from_secs(u64::try_from(row.escalate_after_s).unwrap_or(0));
    let due_at = (before.state == EmergencyState::Open).then(|| ctx.now + wait);
    if !store::call(tx, id, row.tier, due_at).await? {
        return Err(crate::Error::internal("the tier of a locked emergency has changed"));
    }
    let emergency = show::current(tx, ctx, id).await?;
    let mut devices = call::catch_up(tx, ctx, &emergency).await?;
    if devices.is_empty() {
        store::hurry(tx, id, ctx.now).await?;
    }
    let named = (EventType::EmergencyEscalated, "emergency.escalated");
    devices.extend(call::tell(tx, ctx, &emergency, named, show::event(&emergency), false).await?);
    write_entry(app, tx, ctx, key, ("escalate_emergency", &emergency), basis).await?;
    Ok((emergency, devices))
}

async fn write_entry(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    key: &DataKey,
    (name, emergency): (&str, &Emergency),
    basis: Option<&Basis>,
) -> Result<()> {
    let mut act = Act::done(name)
        .object("conversation", emergency.conversation_id)
        .object("tier", emergency.tier)
        .patient(Some(emergency.patient_id));
    act = match basis {
        Some(basis) => act.by(basis),
        // Nobody asked: the time was over.
        None => act.object("cause", "not_acknowledged"),
    };
    app.audit(tx, ctx, key, act).await
}
