//! Editing and deleting a message: sending another one about it.

use std::sync::Arc;

use sigilo_wire::{
    MessageId,
    message::{MessageKind, SendMessage, Taken},
};

use super::{read, validate::malformed};
use crate::{
    App, Ctx, Result,
    policy::{Grant, ReadConversation},
};

/// Sends a message of this kind about a message of the granted conversation. Nothing is overwritten: the record
/// keeps both.
///
/// # Errors
/// `not_found` when the conversation shows no such message, `invalid_message` when what is sent is of another kind
/// or about another message; then those of [`super::send()`].
pub async fn revise(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ReadConversation>,
    target: MessageId,
    kind: MessageKind,
    message: Arc<SendMessage>,
) -> Result<Taken> {
    let conversation = *grant.resource();
    let mut tx = app.db.read("relay_revise").await?;
    let stored = read::seen(&mut tx, ctx, conversation, target).await?;
    drop(tx);
    if message.message_type != kind {
        return Err(malformed("message_type", &format!("must be '{kind}' for this request")));
    }
    if message.target_commitment.is_none_or(|commitment| commitment.0 != stored.commitment.as_slice()) {
        return Err(malformed("target_commitment", "is not the commitment of this message"));
    }
    super::send(app, ctx, conversation, message).await
}
