//! Taking a held message back.

use serde_json::json;
use sigilo_wire::{ErrorCode, MessageId};

use super::{note, reseal, store, stored_already};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    outbox,
    policy::{Grant, ManageOwnAccount},
};

/// Takes a message of the caller's back that is still held: nobody hears of it. Those its device wrote after it name it,
/// so they come back to the device to be sealed anew.
///
/// # Errors
/// `not_found` when it is not theirs, or not held any more.
pub async fn cancel(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>, message: MessageId) -> Result<()> {
    let mut tx = app.db.read("held_find").await?;
    let found = store::by_id(&mut tx, ctx.tenant, message).await?;
    drop(tx);
    let row = found.filter(|row| row.sender_id == *grant.resource()).ok_or(Error::NotFound)?;
    let key = app.conversation_key(ctx, row.conversation_id).await?;
    let mut tx = app.db.begin("held_cancel").await?;
    store::lock(&mut tx, row.conversation_id).await?;
    let mut leaving = store::of_device(&mut tx, row.conversation_id, row.device_id).await?;
    leaving.retain(|held| held.device_seq >= row.device_seq);
    let stored = stored_already(&mut tx, &leaving).await?;
    if leaving.first().is_none_or(|first| first.message_id != message) || stored.contains(&message) {
        return Err(Error::NotFound);
    }
    let mut events = Vec::new();
    for held in &leaving {
        store::remove(&mut tx, held.message_id).await?;
        if held.message_id == message {
            let act = Act::done("cancel_held_message").by(grant.basis());
            note(app, &mut tx, ctx, &key, (held, act))?;
        } else if !stored.contains(&held.message_id) {
            events.push(reseal(held, ErrorCode::ChainGap, json!({})));
            let act = Act::failed("release_message").object("because_of", message).by(grant.basis());
            note(app, &mut tx, ctx, &key, (held, act))?;
        }
    }
    outbox::enqueue(&mut tx, events, ctx.now);
    tx.commit().await?;
    app.hub.wake(&[row.device_id]);
    Ok(())
}
