//! Moving a participant's position forward.

use serde_json::json;
use sigilo_wire::{
    ConversationId, DeviceId, MessageId,
    event::{EventType, MessageRead},
    mark::ReadPosition,
};

use super::store::{self, Position};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    outbox::{self, DeviceEvent, EventBody},
    policy::{Grant, ReadConversation},
    relay,
    storage::Tx,
};

/// How far somebody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything there is.
    Newest,
    /// The message with this number, and all before it.
    UpTo(i64),
    /// This message, and all before it.
    Message(MessageId),
}

/// Notes how far the caller has read the granted conversation, and tells the devices of those who wrote what is
/// new in it, and the caller's other ones: one event a device. Going back, or reading again, changes nothing.
///
/// # Errors
/// `not_found` for a message of another conversation, `invalid_field` beyond the newest message.
pub async fn mark_read(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ReadConversation>,
    reach: Reach,
) -> Result<ReadPosition> {
    let (user, conversation) = (ctx.caller()?.user_id, *grant.resource());
    let mut tx = app.db.read("mark_read_look").await?;
    let position = store::position(&mut tx, conversation, user).await?.ok_or(Error::NotFound)?;
    let seen = position.joined_seq + 1..=position.last_seq;
    let up_to = match reach {
        Reach::Newest => position.last_seq,
        Reach::UpTo(up_to) if seen.contains(&up_to) => up_to,
        Reach::UpTo(_) => return Err(Error::field("up_to", "is not the number of a message here")),
        Reach::Message(message) => {
            let place = store::place(&mut tx, conversation, message).await?;
            place.filter(|place| seen.contains(place)).ok_or(Error::NotFound)?
        }
    };
    drop(tx);
    if up_to > position.read_seq {
        advance(app, ctx, &grant, position, up_to).await?;
    }
    let mut tx = app.db.read("mark_read_left").await?;
    let unread_count = store::unread(&mut tx, conversation, user, ctx.now).await?;
    Ok(ReadPosition { conversation_id: conversation, up_to: up_to.max(position.read_seq), unread_count })
}

async fn advance(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<ReadConversation>,
    position: Position,
    up_to: i64,
) -> Result<()> {
    let (user, conversation) = (ctx.caller()?.user_id, *grant.resource());
    let key = app.conversation_key(ctx, conversation).await?;
    let mut tx = app.db.begin("mark_read").await?;
    if !store::advance(&mut tx, conversation, user, up_to, ctx.now).await? {
        return Ok(());
    }
    let devices = tell(&mut tx, ctx, conversation, position.read_seq.max(position.joined_seq), up_to).await?;
    let act = Act::done("mark_read")
        .object("conversation", conversation)
        .object("up_to", up_to)
        .patient(position.related_patient_id)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, &key, None, &*app.entropy)?;
    audit::write(&mut tx, ctx.tenant, vec![entry]);
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(())
}

/// Queues the events; gives the devices to wake after the commit.
async fn tell(
    tx: &mut Tx,
    ctx: &Ctx,
    conversation: ConversationId,
    from: i64,
    up_to: i64,
) -> Result<Vec<DeviceId>> {
    let caller = ctx.caller()?;
    let mut people = store::senders(tx, conversation, from, up_to).await?;
    people.retain(|sender| *sender != caller.user_id);
    people.push(caller.user_id);
    let mark =
        MessageRead { conversation_id: conversation, user_id: caller.user_id, up_to, read_at: ctx.now };
    let devices: Vec<DeviceId> = relay::store::messaging_devices(tx, &people)
        .await?
        .into_iter()
        .map(|(_, device)| device)
        .filter(|device| *device != caller.device_id)
        .collect();
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type: EventType::MessageRead,
        conversation: Some(conversation),
        sender: Some(caller.user_id),
        body: EventBody::Data(json!(mark)),
    };
    let events: Vec<DeviceEvent> = devices.iter().map(event).collect();
    outbox::enqueue(tx, events, ctx.now);
    Ok(devices)
}
