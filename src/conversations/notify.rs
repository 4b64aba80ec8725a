//! Telling the rest of the system that a conversation, or what decides on it, has changed.

use serde_json::json;
use sigilo_wire::{ConversationId, DeviceId, UserId, event::EventType};

use super::store;
use crate::{
    Actor, Ctx, Result,
    outbox::{self, DeviceEvent, EventBody, Fact},
    storage::Tx,
};

/// Makes every grant on the conversations of these two stale. Call it in the transaction that changes what
/// holds between them. Gives the conversations.
///
/// # Errors
/// When the database refuses.
pub async fn facts_changed_between(tx: &mut Tx, a: UserId, b: UserId) -> Result<Vec<ConversationId>> {
    store::changed_between(tx, a, b).await
}

/// Makes every grant on this person's conversations stale. Call it in the transaction that changes their
/// account, role, keys or devices. Gives the conversations.
///
/// # Errors
/// When the database refuses.
pub async fn facts_changed_of(tx: &mut Tx, user: UserId) -> Result<Vec<ConversationId>> {
    store::changed_of(tx, user).await
}

/// Queues `conversation_updated` for the members' devices (not the calling one) and publishes the fact. Events
/// hold ids only: devices fetch what changed. Gives the devices to wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn conversation_updated(
    tx: &mut Tx,
    ctx: &Ctx,
    conversation: ConversationId,
    change: &'static str,
) -> Result<Vec<DeviceId>> {
    let (sender, calling) = match &ctx.actor {
        Actor::User(caller) => (Some(caller.user_id), Some(caller.device_id)),
        Actor::Operator | Actor::Anonymous => (None, None),
    };
    let data = json!({"conversation_id": conversation, "change": change});
    let devices: Vec<DeviceId> = store::devices(tx, conversation)
        .await?
        .into_iter()
        .filter(|device| Some(*device) != calling)
        .collect();
    let events: Vec<DeviceEvent> = devices
        .iter()
        .map(|device| DeviceEvent {
            device: *device,
            r#type: EventType::ConversationUpdated,
            conversation: Some(conversation),
            sender,
            body: EventBody::Data(data.clone()),
        })
        .collect();
    outbox::enqueue(tx, &events, ctx.now).await?;
    let fact = Fact { topic: "conversation.updated", data };
    outbox::publish(tx, ctx.tenant, &[fact], ctx.now).await?;
    Ok(devices)
}
