//! What others hear of an act: the clinic's outbox (push, webhooks, analytics, other nodes) and the durable
//! events of devices. Both are written in the transaction of the act.

pub(crate) mod store;

use std::collections::BTreeMap;

use serde_json::Value;
use sigilo_wire::{
    ConversationId, DeviceId, MessageId, TenantId, Timestamp, UserId,
    event::{Envelope, EventType},
};

use crate::{
    Error, Result,
    storage::{Tx, script::Script, sequences::Reserved},
};

/// A fact for the outbox. Metadata only.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What it is about, such as `message.accepted`.
    pub topic: &'static str,
    /// Ids and times.
    pub data: Value,
}

/// A durable event for one device.
#[derive(Clone, Debug)]
pub struct DeviceEvent {
    /// The device.
    pub device: DeviceId,
    /// The event.
    pub r#type: EventType,
    /// The conversation it is about.
    pub conversation: Option<ConversationId>,
    /// Who caused it.
    pub sender: Option<UserId>,
    /// What it carries.
    pub body: EventBody,
}

/// What an event carries.
#[derive(Clone, Debug)]
pub enum EventBody {
    /// A stored message and this device's envelope (none for the sender's own sending device).
    Message(MessageId, Option<Envelope>),
    /// Its data as it is sent.
    Data(Value),
}

/// Has the commit write facts to the clinic's outbox, in order.
pub fn publish(tx: &mut Tx, tenant: TenantId, facts: Vec<Fact>, now: Timestamp) {
    tx.last().facts(tenant, facts, now);
}

/// Has the commit queue events for their devices, each device's in the order given. Then wake the devices through the
/// relay's hub.
pub fn enqueue(tx: &mut Tx, events: Vec<DeviceEvent>, now: Timestamp) {
    tx.last().events(events, now);
}

/// How many places these events take in each device's queue.
pub(crate) fn needed_places(events: &[DeviceEvent]) -> Vec<(DeviceId, i64)> {
    let mut counts: BTreeMap<DeviceId, i64> = BTreeMap::new();
    for event in events {
        *counts.entry(event.device).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Their places, in the order given, from what was reserved for them.
///
/// # Errors
/// When nothing was reserved for one.
pub(crate) fn places(events: &[DeviceEvent], reserved: &Reserved) -> Result<Vec<i64>> {
    let mut next = reserved.places.clone();
    let mut places = Vec::with_capacity(events.len());
    for event in events {
        let place = next.get_mut(&event.device).ok_or_else(|| Error::internal("an event without a place"))?;
        places.push(*place);
        *place += 1;
    }
    Ok(places)
}

/// Adds events at their reserved places to what is about to be written.
///
/// # Errors
/// Only for values no database takes.
pub(crate) fn add_events(
    script: &mut Script,
    events: &[DeviceEvent],
    places: &[i64],
    now: Timestamp,
) -> Result<()> {
    store::add_events(script, events, places, now)
}

/// Adds facts with their clinics and numbers to what is about to be written.
///
/// # Errors
/// As [`add_events`].
pub(crate) fn add_facts(script: &mut Script, facts: &[(TenantId, i64, &Fact)], now: Timestamp) -> Result<()> {
    store::add_facts(script, facts, now)
}
