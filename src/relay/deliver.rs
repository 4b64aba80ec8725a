//! A device's queue: what waits for it, and what it has acknowledged.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::json;
use sigilo_wire::{
    ConversationId, DeviceId, MessageId, Timestamp, UserId,
    event::{EventList, EventType, MessageDelivered, ServerFrame},
};

use super::{render, store, writer::Job};
use crate::{
    App, Ctx, Error, Result,
    outbox::{DeviceEvent, EventBody},
    storage::Tx,
};

/// How long events wait for a device that does not come.
pub const QUEUE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

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
    pub frame: ServerFrame,
}

/// What waits for the calling device after a place in its queue, oldest first; of one conversation only, if
/// asked. Reading acknowledges nothing.
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
    let rows = store::events(&mut tx, caller.device_id, conversation, after, limit).await?;
    drop(tx);
    let mut frames = Vec::with_capacity(rows.len());
    for row in rows {
        frames.push(QueuedFrame { seq: row.event_seq, frame: render::event(app, row).await? });
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
    Ok(EventList { results: frames.into_iter().map(|queued| queued.frame).collect(), next_cursor, has_more })
}

/// Hands acknowledged events to the writer, which deletes them for good and tells the senders. Ids that are not
/// in the queue (any more) are passed over. A crash before the deletion only sends them once more.
///
/// # Errors
/// `unavailable` when the server is stopping.
pub async fn acknowledge(app: &App, acknowledgement: Acknowledgement) -> Result<()> {
    if acknowledgement.events.is_empty() {
        return Ok(());
    }
    app.writer.take(Job::Acknowledge(acknowledgement)).await
}

/// Takes the acknowledgements of a batch: deletes the events, notes first deliveries, and gives the
/// `message_delivered` events for the senders' devices.
pub(super) async fn take_acknowledgements(
    tx: &mut Tx,
    acks: &[&Acknowledgement],
    now: Timestamp,
) -> Result<Vec<DeviceEvent>> {
    let mut delivered: HashSet<(MessageId, UserId)> = HashSet::new();
    for ack in acks {
        let messages = store::delete_events(tx, ack.device, &ack.events).await?;
        delivered.extend(messages.into_iter().map(|message| (message, ack.user)));
    }
    if delivered.is_empty() {
        return Ok(Vec::new());
    }
    let mut messages: Vec<MessageId> = delivered.iter().map(|(message, _)| *message).collect();
    messages.sort_unstable();
    messages.dedup();
    for (message, user, _) in store::deliveries(tx, &messages).await? {
        delivered.remove(&(message, user));
    }
    let mut senders: HashMap<MessageId, Vec<store::AcknowledgedRow>> = HashMap::new();
    for row in store::acknowledged(tx, &messages).await? {
        senders.entry(row.message_id).or_default().push(row);
    }
    // The sender's own other devices do not count as delivery.
    delivered.retain(|(message, user)| {
        senders.get(message).is_some_and(|rows| rows.iter().all(|row| row.sender_id != *user))
    });
    let mut first: Vec<(MessageId, UserId)> = delivered.into_iter().collect();
    first.sort_unstable();
    store::insert_deliveries(tx, &first, now).await?;
    Ok(first
        .iter()
        .flat_map(|(message, user)| senders.get(message).into_iter().flatten().map(move |row| (row, *user)))
        .filter_map(|(row, user)| {
            let data = MessageDelivered { message_id: row.message_id, user_id: user, delivered_at: now };
            Some(DeviceEvent {
                device: row.device_id?,
                r#type: EventType::MessageDelivered,
                conversation: Some(row.conversation_id),
                sender: Some(user),
                body: EventBody::Data(json!(data)),
            })
        })
        .collect())
}

/// Drops what a device has left lying for 30 days, and tells it so at its next connection.
///
/// # Errors
/// When the database is away.
pub async fn truncate_old(app: &App, ctx: &Ctx) -> Result<()> {
    let device = ctx.caller()?.device_id;
    let oldest = pending(app, ctx, None, 0, 1).await?;
    if oldest.first().is_none_or(|queued| ctx.now.since(queued.frame.timestamp) <= QUEUE_LIFETIME) {
        return Ok(());
    }
    let mut tx = app.db.begin("relay_truncate_queue").await?;
    if store::truncate_queue(&mut tx, device, ctx.now - QUEUE_LIFETIME).await? {
        let event = DeviceEvent {
            device,
            r#type: EventType::QueueTruncated,
            conversation: None,
            sender: None,
            body: EventBody::Data(json!({})),
        };
        crate::outbox::enqueue(&mut tx, &[event], ctx.now).await?;
    }
    tx.commit().await
}
