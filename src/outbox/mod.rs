//! What others hear of an act: the clinic's outbox (push, webhooks, analytics, other nodes) and the durable
//! events of devices. Both are written in the transaction of the act.

pub(crate) mod store;

use serde_json::Value;
use sigilo_wire::{
    ConversationId, DeviceId, MessageId, TenantId, Timestamp, UserId,
    event::{Envelope, EventType},
};

use crate::{Result, storage::Tx};

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
    store::insert_facts(tx, tenant, facts, now).await
}

/// Queues events for their devices, each device's in the order given, and gives their places in the queues. After
/// the commit, wake the devices through the relay's hub.
///
/// # Errors
/// When the database refuses.
pub async fn enqueue(tx: &mut Tx, events: &[DeviceEvent], now: Timestamp) -> Result<Vec<i64>> {
    store::insert_events(tx, events, now).await
}
