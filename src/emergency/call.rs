//! Telling people: those who take part, those just called, and the staff.

use serde_json::json;
use sigilo_wire::{
    DeviceId, Role, UserId,
    emergency::{Emergency, EmergencyEvent},
    event::{Envelope, EventType},
    message::{EnvelopeType, MessageKind},
};

use super::store::{self, WithheldRow};
use crate::{
    Actor, Ctx, Error, Result,
    outbox::{self, DeviceEvent, EventBody, Fact},
    storage::Tx,
};

/// Queues what the devices of a tier that is called now did not get before: the conversation, then its messages.
/// Gives the devices.
///
/// # Errors
/// When the database refuses.
pub(super) async fn catch_up(tx: &mut Tx, ctx: &Ctx, emergency: &Emergency) -> Result<Vec<DeviceId>> {
    let id = emergency.conversation_id;
    let (devices, withheld) = store::release(tx, id, i64::from(emergency.tier)).await?;
    let data = json!({"conversation_id": id, "change": "created"});
    let mut events: Vec<DeviceEvent> = devices
        .iter()
        .map(|device| DeviceEvent {
            device: *device,
            r#type: EventType::ConversationUpdated,
            conversation: Some(id),
            sender: Some(emergency.patient_id),
            body: EventBody::Data(data.clone()),
        })
        .collect();
    for row in withheld {
        events.push(message(emergency, row)?);
    }
    outbox::enqueue(tx, events, ctx.now);
    Ok(devices)
}

fn message(emergency: &Emergency, row: WithheldRow) -> Result<DeviceEvent> {
    let kind: MessageKind = row.kind.parse().map_err(Error::Internal)?;
    let number = u8::try_from(row.envelope_type).map_err(Error::internal)?;
    let r#type = EnvelopeType::from_number(number)
        .ok_or_else(|| Error::internal(format!("an envelope of type {number} was withheld")))?;
    Ok(DeviceEvent {
        device: row.device_id,
        r#type: EventType::of_message(kind),
        conversation: Some(emergency.conversation_id),
        sender: Some(row.sender_id),
        body: EventBody::Message(
            row.message_id,
            Some(Envelope { r#type, content: sigilo_wire::Base64(row.envelope) }),
        ),
    })
}

/// Queues an event for the devices of everybody who takes part but the calling one, and with `staff` for those of the
/// clinic's staff; publishes the fact. Gives the devices to wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(super) async fn tell(
    tx: &mut Tx,
    ctx: &Ctx,
    emergency: &Emergency,
    (r#type, topic): (EventType, &'static str),
    event: EmergencyEvent,
    staff: bool,
) -> Result<Vec<DeviceId>> {
    let (sender, calling): (Option<UserId>, Option<DeviceId>) = match &ctx.actor {
        Actor::User(caller) => (Some(caller.user_id), Some(caller.device_id)),
        Actor::Operator | Actor::Anonymous => (None, None),
    };
    let data = serde_json::to_value(event).map_err(Error::internal)?;
    let id = emergency.conversation_id;
    let mut to: Vec<(DeviceId, bool)> =
        store::member_devices(tx, id).await?.into_iter().map(|device| (device, true)).collect();
    if staff {
        let devices = store::role_devices(tx, ctx.tenant, Role::Admin.as_str()).await?;
        to.extend(devices.into_iter().map(|device| (device, false)));
    }
    to.retain(|(device, _)| Some(*device) != calling);
    let events: Vec<DeviceEvent> = to
        .iter()
        .map(|(device, member)| DeviceEvent {
            device: *device,
            r#type,
            conversation: member.then_some(id),
            sender: sender.filter(|_| *member),
            body: EventBody::Data(data.clone()),
        })
        .collect();
    outbox::enqueue(tx, events, ctx.now);
    // Whoever pushes wakes these devices at once.
    let mut fact = data;
    fact["urgent"] = json!(true);
    outbox::publish(tx, ctx.tenant, vec![Fact { topic, data: fact }], ctx.now);
    Ok(to.into_iter().map(|(device, _)| device).collect())
}
