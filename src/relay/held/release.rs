//! Handing held messages on once their conversation is open.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::json;
use sigilo_wire::{
    ConversationId, DeviceId, ErrorCode, RequestId, Timestamp, account::DeviceKind, message::SendMessage,
};
use tokio::{sync::oneshot, time::MissedTickBehavior};

use super::{
    super::submit::{self, DECISIONS, Decided, is_facts_changed},
    LOOK, PATIENCE, is_gone, look_at, note, refused, reseal,
    store::{self, HeldRow},
    stored_already,
};
use crate::{
    Actor, App, Caller, Ctx, Error, Result,
    app::SharedApp,
    audit::Act,
    conversations::{self, Snapshot},
    policy::Basis,
    rng,
    shutdown::draining,
    storage::{Tx, error::CONFLICT},
};

/// How often a server looks.
const EVERY: Duration = Duration::from_secs(1);
/// How many conversations are released in one look.
const BATCH: i64 = 200;
/// When a conversation of which something could not be released is looked at again.
const PAUSE: Duration = Duration::from_secs(30);

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
/// The first of what kept messages from being released. They are tried again later; all others were released.
pub async fn release_due(app: &App) -> Result<usize> {
    let mut tx = app.db.read("held_due").await?;
    let due = store::due(&mut tx, app.clock.now(), BATCH).await?;
    drop(tx);
    let (mut released, mut problem) = (0, None);
    for (_, conversation) in due {
        let error = match release_in(app, conversation).await {
            Ok(look) => {
                released += look.released;
                look.failed.into_iter().next().map(|(_, error)| error)
            }
            Err(error) => Some(error),
        };
        let Some(error) = error else { continue };
        if let Error::Internal(problem) = &error {
            tracing::error!(%problem, %conversation, "a held message cannot be released");
        }
        if !is_conflict(&error) {
            postpone(app, conversation).await?;
        }
        problem.get_or_insert(error);
    }
    problem.map_or(Ok(released), Err)
}

/// Has a conversation looked at again a little later, so that what cannot be released does not keep others waiting.
async fn postpone(app: &App, conversation: ConversationId) -> Result<()> {
    let mut tx = app.db.begin("held_postpone").await?;
    store::lock(&mut tx, conversation).await?;
    store::postpone(&mut tx, conversation, app.clock.now() + PAUSE).await?;
    tx.commit().await
}

/// Another transaction was in the way: the next look will do.
fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Unavailable(what) if what == CONFLICT)
}

/// Releases what waits in a conversation in which this device has something waiting. `false` when it has not.
///
/// # Errors
/// What keeps this device's messages from being released.
pub(in crate::relay) async fn release_for(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
) -> Result<bool> {
    let device = ctx.caller()?.device_id;
    let mut tx = app.db.read("held_of_device").await?;
    let waiting = store::of_device(&mut tx, conversation, device).await?;
    drop(tx);
    if waiting.is_empty() {
        return Ok(false);
    }
    let failed = release_in(app, conversation).await?.failed;
    failed.into_iter().find(|(of, _)| *of == device).map_or(Ok(true), |(_, error)| Err(error))
}

/// What a look at a conversation has come to.
#[derive(Default)]
struct Look {
    /// How many messages were stored.
    released: usize,
    /// Devices whose next message could not be released, and why.
    failed: Vec<(DeviceId, Error)>,
}

/// Releases what waits in a conversation, in the order in which it came. What goes wrong with a device's message stops
/// that device only.
async fn release_in(app: &App, conversation: ConversationId) -> Result<Look> {
    let mut tx = app.db.read("held_messages").await?;
    let rows = store::of_conversation(&mut tx, conversation).await?;
    drop(tx);
    let mut stopped: HashSet<DeviceId> = HashSet::new();
    let mut look = Look::default();
    for row in rows {
        if stopped.contains(&row.device_id) {
            continue;
        }
        match release(app, &row).await {
            Ok(Came::Released) => look.released += 1,
            Ok(Came::Gone) => {}
            Ok(Came::Back) => _ = stopped.insert(row.device_id),
            Ok(Came::Closed) => break,
            Err(error) => {
                stopped.insert(row.device_id);
                look.failed.push((row.device_id, error));
            }
        }
    }
    Ok(look)
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
        // Of before the decision: as long as it holds, the decision was made on it.
        let snapshot = conversations::snapshot(app, &ctx, row.conversation_id).await?;
        let refusal = match attempt(app, &ctx, row).await {
            Ok(came) => return Ok(came),
            Err(error) if is_gone(&error) => return Ok(Came::Gone),
            Err(error) if is_facts_changed(&error) => continue,
            Err(error @ (Error::Unavailable(_) | Error::Internal(_))) => return Err(error),
            Err(error) => error,
        };
        let came = match &refusal {
            Error::Denied(denial) if denial.code == ErrorCode::OutsideChatHours => {
                let opens = denial.details["next_open_at"].as_str().and_then(|at| at.parse().ok());
                delay(app, &ctx, row, &snapshot, (opens, &refusal)).await
            }
            _ => give_back(app, &ctx, row, &snapshot, &refusal).await,
        };
        match came {
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

/// Locks the conversation for what follows from a refusal.
///
/// # Errors
/// When its facts are not those of the snapshot any more: a refusal by facts that have changed is none.
async fn lock(app: &App, tx: &mut Tx, snapshot: &Snapshot) -> Result<()> {
    if store::lock(tx, snapshot.id()).await? == snapshot.facts_version() {
        return Ok(());
    }
    app.snapshots.forget(snapshot.id());
    Err(submit::facts_changed())
}

/// Notes when the conversation opens. With no opening in sight it is looked at as often as all, and in the end its
/// messages go back.
async fn delay(
    app: &App,
    ctx: &Ctx,
    row: &HeldRow,
    snapshot: &Snapshot,
    (opens, refusal): (Option<Timestamp>, &Error),
) -> Result<Came> {
    if opens.is_none() && ctx.now >= row.release_at + PATIENCE {
        return give_back(app, ctx, row, snapshot, refusal).await;
    }
    let look_at = opens.map_or(ctx.now + LOOK, |at| look_at(at, ctx.now));
    let mut tx = app.db.begin("held_delay").await?;
    lock(app, &mut tx, snapshot).await?;
    store::delay(&mut tx, row.conversation_id, opens.unwrap_or(row.release_at), look_at).await?;
    tx.commit().await?;
    Ok(Came::Closed)
}

/// Takes a message that cannot go out, and those of its device behind it, out of the queue, and tells the device.
async fn give_back(app: &App, ctx: &Ctx, row: &HeldRow, snapshot: &Snapshot, why: &Error) -> Result<Came> {
    let key = app.conversation_key(ctx, row.conversation_id).await?;
    let mut tx = app.db.begin("held_back").await?;
    lock(app, &mut tx, snapshot).await?;
    let waiting = store::of_device(&mut tx, row.conversation_id, row.device_id).await?;
    if waiting.first().is_none_or(|first| first.message_id != row.message_id) {
        return Ok(Came::Gone);
    }
    let stored = stored_already(&mut tx, &waiting).await?;
    for held in waiting.iter().filter(|held| stored.contains(&held.message_id)) {
        store::remove(&mut tx, held.message_id).await?;
    }
    if stored.contains(&row.message_id) {
        tx.commit().await?;
        return Ok(Came::Gone);
    }
    let mut events = Vec::with_capacity(waiting.len());
    for held in waiting.iter().filter(|held| !stored.contains(&held.message_id)) {
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
        note(app, &mut tx, ctx, &key, (held, act))?;
    }
    crate::outbox::enqueue(&mut tx, events, ctx.now);
    tx.commit().await?;
    app.hub.wake(&[row.device_id]);
    Ok(Came::Back)
}
