//! Letting the others of a conversation know that somebody is typing.

use std::sync::Arc;

use serde_json::json;
use sigilo_wire::{
    event::{EventType, ServerFrame},
    presence::TypingIndicator,
};

use crate::{
    App, Ctx, Result,
    conversations::Snapshot,
    policy::{Grant, SendMessage},
    relay::hub::Sockets,
};

/// Tells the sockets of the others, unless the caller hides it; those who hide it hear nothing.
///
/// # Errors
/// `unauthenticated` when the caller is not a person.
pub fn typing(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<SendMessage>,
    snapshot: &Snapshot,
    typing: bool,
) -> Result<()> {
    let caller = ctx.caller()?.user_id;
    if snapshot.member(caller).is_none_or(|me| !me.privacy.show_typing) {
        return Ok(());
    }
    let conversation = grant.resource().conversation_id;
    let data = json!(TypingIndicator { conversation_id: conversation, user_id: caller, typing });
    let frame = Arc::new(ServerFrame {
        r#type: EventType::TypingIndicator,
        data,
        timestamp: ctx.now,
        conversation_id: Some(conversation),
        sender_id: Some(caller),
        event_id: None,
        request_id: None,
    });
    let others = snapshot
        .members
        .iter()
        .filter(|member| member.user != caller && !member.withheld && member.privacy.show_typing);
    for device in others.flat_map(|member| &member.devices) {
        app.hub.signal(device.id, &[conversation], Sockets::All, &frame);
    }
    Ok(())
}
