//! Telling the rest of the system that a conversation, or what decides on it, has changed.

use serde_json::{Value, json};
use sigilo_wire::{
    ConversationId, DeviceId, TenantId, UserId,
    event::{EventType, ParticipantChanged},
};

use super::store::{self, members};
use crate::{
    Actor, Ctx, Error, Result,
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

/// Makes every grant on these people's conversations stale, as [`facts_changed_of`] does for one.
///
/// # Errors
/// When the database refuses.
pub async fn facts_changed_of_many(tx: &mut Tx, users: &[UserId]) -> Result<Vec<ConversationId>> {
    store::changed_of_many(tx, users).await
}

/// Makes every grant on the conversations of this clinic stale. Call it in the transaction that changes its hours.
///
/// # Errors
/// When the database refuses.
pub async fn facts_changed_in_clinic(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    store::changed_in_clinic(tx, tenant).await
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
    let data = json!({"conversation_id": conversation, "change": change});
    let devices = store::devices(tx, conversation).await?;
    let news = News { r#type: EventType::ConversationUpdated, topic: "conversation.updated", data };
    Ok(announce(tx, ctx, conversation, devices, news))
}

/// Queues `conversation_updated` for a participant's own devices, whose view of it has changed. Gives the devices to
/// wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn settings_changed(
    tx: &mut Tx,
    ctx: &Ctx,
    conversation: ConversationId,
    user: UserId,
) -> Result<Vec<DeviceId>> {
    let data = json!({"conversation_id": conversation, "change": "settings"});
    let devices = members::devices_of(tx, &[user]).await?;
    let news = News { r#type: EventType::ConversationUpdated, topic: "conversation.updated", data };
    Ok(announce(tx, ctx, conversation, devices, news))
}

/// Queues `participant_changed` for everybody's devices, also for those of who has left, and publishes the fact.
/// Gives the devices to wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn participant_changed(
    tx: &mut Tx,
    ctx: &Ctx,
    conversation: ConversationId,
    joined: &[UserId],
    left: &[UserId],
) -> Result<Vec<DeviceId>> {
    let (joined, left) = (joined.to_vec(), left.to_vec());
    let mut devices = store::devices(tx, conversation).await?;
    devices.extend(members::devices_of(tx, &left).await?);
    let change = ParticipantChanged { conversation_id: conversation, joined, left };
    let data = serde_json::to_value(change).map_err(Error::internal)?;
    let news = News { r#type: EventType::ParticipantChanged, topic: "conversation.participants", data };
    Ok(announce(tx, ctx, conversation, devices, news))
}

/// What devices and the outbox are told.
pub(super) struct News {
    pub(super) r#type: EventType,
    pub(super) topic: &'static str,
    pub(super) data: Value,
}

pub(super) fn announce(
    tx: &mut Tx,
    ctx: &Ctx,
    conversation: ConversationId,
    mut devices: Vec<DeviceId>,
    news: News,
) -> Vec<DeviceId> {
    let (sender, calling) = match &ctx.actor {
        Actor::User(caller) => (Some(caller.user_id), Some(caller.device_id)),
        Actor::Operator | Actor::Anonymous => (None, None),
    };
    devices.retain(|device| Some(*device) != calling);
    let events: Vec<DeviceEvent> = devices
        .iter()
        .map(|device| DeviceEvent {
            device: *device,
            r#type: news.r#type,
            conversation: Some(conversation),
            sender,
            body: EventBody::Data(news.data.clone()),
        })
        .collect();
    outbox::enqueue(tx, events, ctx.now);
    let fact = Fact { topic: news.topic, data: news.data };
    outbox::publish(tx, ctx.tenant, vec![fact], ctx.now);
    devices
}
