//! A device's queue: what waits for it, and what it has acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_json::json;
use sigilo_wire::{
    ConversationId, DeviceId, MessageId, Timestamp, UserId,
    event::{EventList, EventType, MessageDelivered},
};

use super::{attachments, frame::EventFrame, render, store};
use crate::{
    App, Ctx, Error, Result,
    app::SharedApp,
    outbox::{DeviceEvent, EventBody},
    shutdown::draining,
    storage::Tx,
};

/// The most events acknowledged at once: all that can be in flight, some times over.
pub const MAX_ACKNOWLEDGED: usize = 1_024;

/// How long events wait for a device that does not come.
pub const QUEUE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often queues are looked through for older ones.
const SHORTEN_EVERY: Duration = Duration::from_hours(1);

/// Events a device is done with.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// Whose device.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The events' places in its queue.
    pub events: Vec<i64>,
}

/// An event's place in its device's queue as the opaque, ordered id clients see.
#[must_use]
pub fn event_id(seq: i64) -> String {
    format!("{seq:016x}")
}

/// The place of an event id.
///
/// # Errors
/// `invalid_field` for anything but an id this server gave.
pub fn parse_event_id(field: &str, id: &str) -> Result<i64> {
    let known = id.len() == 16 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    known
        .then(|| i64::from_str_radix(id, 16).ok())
        .flatten()
        .ok_or_else(|| Error::field(field, "is not an event id this server gave"))
}

/// One event, ready to be sent, and its place in the queue.
#[derive(Clone, Debug)]
pub struct QueuedFrame {
    /// Its place.
    pub seq: i64,
    /// The frame.
    pub frame: EventFrame,
}

/// What waits for the calling device after a place in its queue, oldest first; of one conversation only, if
/// asked. What has expired is not there any more. Reading acknowledges nothing.
///
/// # Errors
/// When a store is away.
pub async fn pending(
    app: &App,
    ctx: &Ctx,
    conversation: Option<ConversationId>,
    after: i64,
    limit: usize,
) -> Result<Vec<QueuedFrame>> {
    let caller = ctx.caller()?;
    let limit = i64::try_from(limit).map_err(Error::internal)?;
    let mut tx = app.db.read("relay_pending").await?;
    let rows = store::events(&mut tx, caller.device_id, conversation, after, limit, ctx.now).await?;
    let messages = rows.iter().filter_map(|row| row.message.as_ref());
    let scans = attachments::scans(&mut tx, messages.map(|message| message.attachments.as_str())).await?;
    drop(tx);
    let mut frames = Vec::with_capacity(rows.len());
    for row in rows {
        frames.push(QueuedFrame { seq: row.event_seq, frame: render::event(app, row, &scans).await? });
    }
    Ok(frames)
}

/// GET /api/chat/events/: what the calling device has missed, after an event id (exclusive).
///
/// # Errors
/// `invalid_field` for an unknown cursor.
pub async fn events_after(app: &App, ctx: &Ctx, after: Option<&str>, page_size: usize) -> Result<EventList> {
    let after = after.map(|id| parse_event_id("after", id)).transpose()?.unwrap_or(0);
    let mut frames = pending(app, ctx, None, after, page_size + 1).await?;
    let has_more = frames.len() > page_size;
    frames.truncate(page_size);
    let next_cursor = frames.last().map(|last| event_id(last.seq));
    let results = frames.into_iter().map(|queued| queued.frame.into_server_frame()).collect::<Result<_>>()?;
    Ok(EventList { results, next_cursor, has_more })
}

/// Hands acknowledged events to the writer, which deletes them for good and tells the senders. Ids that are not
/// in the queue (any more) are passed over. A crash before the deletion only sends them once more.
///
/// # Errors
/// `invalid_field` for more than [`MAX_ACKNOWLEDGED`]; `unavailable` when the server is stopping.
pub async fn acknowledge(app: &App, acknowledgement: Acknowledgement) -> Result<()> {
    if acknowledgement.events.is_empty() {
        return Ok(());
    }
    if acknowledgement.events.len() > MAX_ACKNOWLEDGED {
        return Err(Error::field("event_ids", format!("are at most {MAX_ACKNOWLEDGED} at once")));
    }
    app.writer.acknowledge(acknowledgement).await
}

/// Takes the acknowledgements of a batch: deletes the events, notes first deliveries, and gives the
/// `message_delivered` events for the senders' devices.
pub(super) async fn take_acknowledgements(
    tx: &mut Tx,
    acks: &[&Acknowledgement],
    now: Timestamp,
) -> Result<Vec<DeviceEvent>> {
    let users: HashMap<DeviceId, UserId> = acks.iter().map(|ack| (ack.device, ack.user)).collect();
    let mut places: Vec<(DeviceId, i64)> =
        acks.iter().flat_map(|ack| ack.events.iter().map(|event| (ack.device, *event))).collect();
    places.sort_unstable();
    places.dedup();
    let mut delivered: BTreeMap<(MessageId, UserId), Origin> = BTreeMap::new();
    for row in store::delete_events(tx, &places).await? {
        let user = users.get(&row.device_id).copied();
        if let (Some(message), Some(user), Some(sender)) = (row.message_id, user, row.sender_id)
            // The sender's own other devices do not count as delivery.
            && sender != user
        {
            delivered.insert((message, user), Origin { sender, conversation: row.conversation_id });
        }
    }
    let rows: Vec<(MessageId, UserId)> = delivered.keys().copied().collect();
    let mut first = store::insert_deliveries(tx, &rows, now).await?;
    first.sort_unstable();
    let senders: BTreeSet<UserId> =
        first.iter().filter_map(|name| delivered.get(name)).map(|origin| origin.sender).collect();
    let senders: Vec<UserId> = senders.into_iter().collect();
    let mut devices: HashMap<UserId, Vec<DeviceId>> = HashMap::new();
    for (user, device) in store::messaging_devices(tx, &senders).await? {
        devices.entry(user).or_default().push(device);
    }
    let mut events = Vec::with_capacity(first.len());
    for (message_id, user) in first {
        let Some(origin) = delivered.get(&(message_id, user)) else { continue };
        let data = json!(MessageDelivered { message_id, user_id: user, delivered_at: now });
        events.extend(devices.get(&origin.sender).into_iter().flatten().map(|device| DeviceEvent {
            device: *device,
            r#type: EventType::MessageDelivered,
            conversation: origin.conversation,
            sender: Some(user),
            body: EventBody::Data(data.clone()),
        }));
    }
    Ok(events)
}

/// Where an acknowledged message came from.
struct Origin {
    sender: UserId,
    conversation: Option<ConversationId>,
}

/// Drops messages that have expired in a device's queue, and what it has left lying for 30 days; tells it of the
/// latter.
///
/// # Errors
/// When the database is away.
pub async fn shorten_queue(app: &App, ctx: &Ctx) -> Result<()> {
    let device = ctx.caller()?.device_id;
    let mut tx = app.db.read("relay_look_for_expired").await?;
    let expired = store::has_expired_events(&mut tx, device, ctx.now).await?;
    drop(tx);
    if expired {
        let mut tx = app.db.begin("relay_drop_expired").await?;
        store::drop_expired_events(&mut tx, device, ctx.now).await?;
        tx.commit().await?;
    }
    let oldest = pending(app, ctx, None, 0, 1).await?;
    if oldest.first().is_none_or(|queued| ctx.now.since(queued.frame.timestamp) <= QUEUE_LIFETIME) {
        return Ok(());
    }
    let mut tx = app.db.begin("relay_truncate_queue").await?;
    truncate(&mut tx, &[device], ctx.now).await?;
    tx.commit().await
}

/// Takes what is older than [`QUEUE_LIFETIME`] off these devices' queues, and tells them.
async fn truncate(tx: &mut Tx, devices: &[DeviceId], now: Timestamp) -> Result<()> {
    let mut told = Vec::with_capacity(devices.len());
    for device in devices {
        if store::truncate_queue(tx, *device, now - QUEUE_LIFETIME).await? {
            told.push(DeviceEvent {
                device: *device,
                r#type: EventType::QueueTruncated,
                conversation: None,
                sender: None,
                body: EventBody::Data(json!({})),
            });
        }
    }
    crate::outbox::enqueue(tx, told, now);
    Ok(())
}

/// Shortens every queue whose oldest event has waited for longer than [`QUEUE_LIFETIME`]: a device that never comes
/// back keeps nothing, and one that only polls is told. Gives how many were shortened.
///
/// # Errors
/// When the database is away; the next run goes on.
pub async fn shorten_all(app: &App, now: Timestamp) -> Result<usize> {
    let (mut after, mut shortened) = (DeviceId::from_bytes([0; 16]), 0);
    loop {
        let mut tx = app.db.read("relay_look_for_old_queues").await?;
        let page = store::heads_of_queues(&mut tx, after).await?;
        drop(tx);
        let Some((last, _)) = page.last() else { return Ok(shortened) };
        after = *last;
        let old = |head: &Option<Timestamp>| head.is_some_and(|head| now.since(head) > QUEUE_LIFETIME);
        let devices: Vec<DeviceId> =
            page.iter().filter(|(_, head)| old(head)).map(|(device, _)| *device).collect();
        if devices.is_empty() {
            continue;
        }
        let mut tx = app.db.begin("relay_truncate_queues").await?;
        truncate(&mut tx, &devices, now).await?;
        tx.commit().await?;
        app.hub.wake(&devices);
        shortened += devices.len();
    }
}

/// Runs [`shorten_all`] now and every hour until the server drains.
pub async fn keep_shortening(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut hours = tokio::time::interval(SHORTEN_EVERY);
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = hours.tick() => match shorten_all(&app, app.clock.now()).await {
                Ok(0) => {}
                Ok(devices) => tracing::info!(devices, "dropped events that had waited for 30 days"),
                Err(error) => tracing::warn!(%error, "old queues wait for the next hour"),
            },
        }
    }
}
