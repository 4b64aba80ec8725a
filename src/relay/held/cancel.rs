//! Taking a held message back.

use serde_json::json;
use sigilo_wire::{ErrorCode, MessageId};

use super::{note, reseal, store};
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
    if !store::remove(&mut tx, message).await? {
        return Err(Error::NotFound);
    }
    let mut events = Vec::new();
    for behind in store::of_device(&mut tx, row.conversation_id, row.device_id).await? {
        if behind.device_seq > row.device_seq {
            store::remove(&mut tx, behind.message_id).await?;
            events.push(reseal(&behind, ErrorCode::ChainGap, json!({})));
        }
    }
    outbox::enqueue(&mut tx, &events, ctx.now).await?;
    let act = Act::done("cancel_held_message").by(grant.basis());
    note(app, &mut tx, ctx, &key, (&row, act)).await?;
    tx.commit().await?;
    app.hub.wake(&[row.device_id]);
    Ok(())
}
