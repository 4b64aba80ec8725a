//! Handing held messages on once their conversation is open.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sigilo_wire::{
    ConversationId, DeviceId, ErrorCode, RequestId, account::DeviceKind, message::SendMessage,
};
use tokio::{sync::oneshot, time::MissedTickBehavior};

use super::{
    super::submit::{self, DECISIONS, Decided, is_facts_changed},
    Place, is_gone, look_at, note, refused, reseal,
    store::{self, HeldRow},
};
use crate::{
    Actor, App, Caller, Ctx, Error, Result, app::SharedApp, audit::Act, conversations, policy::Basis, rng,
    shutdown::draining,
};

/// How often a server looks.
const EVERY: Duration = Duration::from_secs(1);
/// How many conversations are released in one look.
const BATCH: i64 = 200;

/// Looks every second until the server drains. Whatever server looks first releases; a look that fails is made up for
/// by the next, on any of them.
pub async fn keep_releasing(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut seconds = tokio::time::interval(EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = seconds.tick() => match release_due(&app).await {
                Ok(_) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "held messages wait on: they cannot be released now");
                }
                Err(_) => {}
            }
        }
    }
}

/// Releases what is due. Gives how many messages were stored.
///
/// # Errors
/// When a store is away: what was not released stays due.
pub async fn release_due(app: &App) -> Result<usize> {
    let mut tx = app.db.read("held_due").await?;
    let due = store::due(&mut tx, app.clock.now(), BATCH).await?;
    drop(tx);
    let mut released = 0;
    for place in due {
        match release_in(app, place).await {
            Ok(stored) => released += stored,
            // One that cannot be read must not keep the others waiting.
            Err(Error::Internal(problem)) => {
                tracing::error!(%problem, conversation = %place.1, "a held message cannot be released");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(released)
}

/// Releases what waits in a conversation in which this device has something waiting. `false` when it has not.
///
/// # Errors
/// When a store is away.
pub(in crate::relay) async fn release_for(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
) -> Result<bool> {
    let mut tx = app.db.read("held_of_device").await?;
    let waiting = store::of_device(&mut tx, conversation, ctx.caller()?.device_id).await?;
    drop(tx);
    if waiting.is_empty() {
        return Ok(false);
    }
    release_in(app, (ctx.tenant, conversation)).await?;
    Ok(true)
}

/// Releases what waits in a conversation, in the order in which it came.
async fn release_in(app: &App, (_, conversation): Place) -> Result<usize> {
    let mut tx = app.db.read("held_messages").await?;
    let rows = store::of_conversation(&mut tx, conversation).await?;
    drop(tx);
    let mut stopped: HashSet<DeviceId> = HashSet::new();
    let mut released = 0;
    for row in rows {
        if stopped.contains(&row.device_id) {
            continue;
        }
        match release(app, &row).await? {
            Came::Released => released += 1,
            Came::Gone => {}
            Came::Back => _ = stopped.insert(row.device_id),
            Came::Closed => break,
        }
    }
    Ok(released)
}

/// What became of a held message.
enum Came {
    /// It is stored.
    Released,
    /// It was not held any more.
    Gone,
    /// It went back to its device, and those behind it.
    Back,
    /// The conversation is not open.
    Closed,
}

async fn release(app: &App, row: &HeldRow) -> Result<Came> {
    for _ in 0..DECISIONS {
        let ctx = context(app, row)?;
        let outcome = match attempt(app, &ctx, row).await {
            Ok(came) => return Ok(came),
            Err(error) if is_gone(&error) => return Ok(Came::Gone),
            Err(error) if is_facts_changed(&error) => continue,
            Err(error @ (Error::Unavailable(_) | Error::Internal(_))) => return Err(error),
            Err(Error::Denied(denial)) if denial.code == ErrorCode::OutsideChatHours => {
                return delay(app, &ctx, row, &denial.details).await;
            }
            Err(error) => error,
        };
        match give_back(app, &ctx, row, &outcome).await {
            Err(error) if is_facts_changed(&error) => {}
            came => return came,
        }
    }
    // Somebody keeps changing what it depends on: the next look finds it.
    Ok(Came::Closed)
}

/// Decides on the message, checks it and has it stored, as if it came now.
async fn attempt(app: &App, ctx: &Ctx, row: &HeldRow) -> Result<Came> {
    let (grant, snapshot) = conversations::authorize_send(app, ctx, row.conversation_id).await?;
    let mut tx = app.db.read("held_request").await?;
    let Some(request) = store::request(&mut tx, row.message_id).await? else { return Ok(Came::Gone) };
    drop(tx);
    let key = app.keystore.get(row.data_key_id).await?;
    let plain = key.open("held", row.message_id.as_bytes(), &request)?;
    let message: SendMessage = serde_json::from_slice(&plain).map_err(Error::internal)?;
    let decided = Decided { basis: grant.basis().clone(), snapshot, held: Some(row.message_id) };
    let submission = submit::prepare(app, ctx, row.conversation_id, Arc::new(message), decided).await?;
    let (answer, stored) = oneshot::channel();
    app.writer.send(Box::new(submission), answer).await?;
    stored.await.unwrap_or_else(|_| Err(Error::Unavailable("relay".to_owned())))?;
    Ok(Came::Released)
}

/// The sender's context at this moment.
fn context(app: &App, row: &HeldRow) -> Result<Ctx> {
    let now = app.clock.now();
    Ok(Ctx {
        tenant: row.tenant_id,
        actor: Actor::User(Caller {
            user_id: row.sender_id,
            role: row.role.parse().map_err(Error::Internal)?,
            active: true,
            device_id: row.device_id,
            kind: DeviceKind::Messaging,
            device_number: Some(row.device_number),
        }),
        request: RequestId::new(now, rng::bytes(&*app.entropy)),
        now,
        address: None,
    })
}

/// Notes when the conversation opens. With no opening in sight it is looked at as often as all.
async fn delay(app: &App, ctx: &Ctx, row: &HeldRow, details: &Value) -> Result<Came> {
    let opens = details["next_open_at"].as_str().and_then(|at| at.parse().ok());
    let release_at = opens.unwrap_or(row.release_at.max(ctx.now + super::LOOK));
    let mut tx = app.db.begin("held_delay").await?;
    store::lock(&mut tx, row.conversation_id).await?;
    store::delay(&mut tx, row.conversation_id, release_at, look_at(release_at, ctx.now)).await?;
    tx.commit().await?;
    Ok(Came::Closed)
}

/// Takes a message that cannot go out, and those of its device behind it, out of the queue, and tells the device.
async fn give_back(app: &App, ctx: &Ctx, row: &HeldRow, why: &Error) -> Result<Came> {
    let snapshot = conversations::snapshot(app, ctx, row.conversation_id).await?;
    let key = app.conversation_key(ctx, row.conversation_id).await?;
    let mut tx = app.db.begin("held_back").await?;
    // A refusal by facts that have changed meanwhile is none.
    if store::lock(&mut tx, row.conversation_id).await? != snapshot.facts_version() {
        app.snapshots.forget(row.conversation_id);
        return Err(submit::facts_changed());
    }
    let waiting = store::of_device(&mut tx, row.conversation_id, row.device_id).await?;
    if waiting.first().is_none_or(|first| first.message_id != row.message_id) {
        return Ok(Came::Gone);
    }
    let mut events = Vec::with_capacity(waiting.len());
    for held in &waiting {
        store::remove(&mut tx, held.message_id).await?;
        let (event, act) = match why {
            // The rules say the same of all of them.
            Error::Denied(_) | Error::NotFound => {
                (refused(held, why.code(), why.details(), why.policies()), Act::denied("release_message"))
            }
            _ if held.message_id == row.message_id => {
                (reseal(held, why.code(), why.details()), Act::failed("release_message"))
            }
            _ => (reseal(held, ErrorCode::ChainGap, json!({})), Act::failed("release_message")),
        };
        events.push(event);
        let basis = match why {
            Error::Denied(denial) => {
                Some(Basis { policies: denial.policies.clone().into(), policy_set: denial.policy_set })
            }
            _ => None,
        };
        let act = act.patient(snapshot.patient());
        let act = match &basis {
            Some(basis) => act.by(basis),
            None => act,
        };
        note(app, &mut tx, ctx, &key, (held, act)).await?;
    }
    crate::outbox::enqueue(&mut tx, &events, ctx.now).await?;
    tx.commit().await?;
    app.hub.wake(&[row.device_id]);
    Ok(Came::Back)
}
