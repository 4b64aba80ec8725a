//! What others hear of an act: the clinic's outbox (push, webhooks, analytics, other nodes) and the durable
//! events of devices. Both are written in the transaction of the act.

pub(crate) mod store;

use serde_json::Value;
use sigilo_wire::{
    ConversationId, DeviceId, MessageId, TenantId, Timestamp, UserId,
    event::{Envelope, EventType},
};

use crate::{
    Error, Result,
    storage::{
        Tx,
        script::Script,
        sequences::{self, Sequences},
    },
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

/// Writes facts to the clinic's outbox, in order.
///
/// # Errors
/// When the database refuses.
pub async fn publish(tx: &mut Tx, tenant: TenantId, facts: &[Fact], now: Timestamp) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let need = Sequences { audit: 0, outbox: i64::try_from(facts.len()).map_err(Error::internal)? };
    let first = sequences::reserve_one(tx, tenant, need).await?;
    let mut script = Script::new(tx, facts.len());
    add_facts(&mut script, tenant, first.outbox, facts, now)?;
    script.run(tx).await.map(drop)
}

/// Queues events for their devices, each device's in the order given, and gives their places in the queues. After
/// the commit, wake the devices through the relay's hub.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue(tx: &mut Tx, events: &[DeviceEvent], now: Timestamp) -> Result<Vec<i64>> {
    let places = reserve_places(tx, events).await?;
    let mut script = Script::new(tx, events.len());
    add_events(&mut script, events, &places, now)?;
    script.run(tx).await?;
    Ok(places)
}

/// Reserves the places of events in their devices' queues, in the order given.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn reserve_places(tx: &mut Tx, events: &[DeviceEvent]) -> Result<Vec<i64>> {
    store::reserve_places(tx, events).await
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

/// Adds facts, numbered from `first` on, to what is about to be written.
///
/// # Errors
/// As [`add_events`].
pub(crate) fn add_facts(
    script: &mut Script,
    tenant: TenantId,
    first: i64,
    facts: &[Fact],
    now: Timestamp,
) -> Result<()> {
    store::add_facts(script, tenant, first, facts, now)
}
