//! Messages that wait for the chat hours to open (`deliver: when_open`).
//!
//! What is promised: a held message is on the disk before the answer leaves, and survives whatever happens to the server.
//! Once its conversation opens it is decided on and checked as if it came then, and stored exactly once, whichever
//! servers look; its number and receipt are given then. What the rules refuse by then, or what was sealed for other
//! devices, members or keys, goes back to the device that wrote it. Its author takes it back until it is released.
//!
//! A device's held messages of a conversation continue each other, behind what was accepted. While a conversation is closed
//! it takes nothing else from the device, so no receiver ever sees a gap; when one does not go out, those behind it
//! cannot, and come back with it. A row of the table goes in the very transaction that decides its fate, under the
//! conversation's lock: of two servers, or of a release and its author taking it back, one finds it gone.

mod cancel;
mod hold;
mod release;
pub(crate) mod store;

pub use cancel::cancel;
pub(super) use hold::hold;
pub(super) use release::release_for;
pub use release::{keep_releasing, release_due};
pub(crate) use store::look_again;

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};
use sigilo_wire::{
    ErrorCode, MessageId, Timestamp,
    event::{EventType, HeldRefused, ResealNeeded},
};

use self::store::HeldRow;
use super::{store as relay_store, submit::Submission};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act, hex},
    outbox::{DeviceEvent, EventBody},
    storage::{Tx, keystore::DataKey},
};

/// The most messages a device may have waiting in a conversation.
pub const MAX_HELD: usize = 100;
/// The most bytes a device may have waiting, in all its conversations.
pub const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;
/// A message whose conversation has no opening in sight goes back this long after the last that was.
pub const PATIENCE: Duration = Duration::from_secs(3 * 24 * 3600);
/// A conversation with held messages is looked at this often, whatever was computed: people come and go.
pub(super) const LOOK: Duration = Duration::from_secs(15 * 60);

/// When a server looks at a conversation that should open at an instant.
fn look_at(release_at: Timestamp, now: Timestamp) -> Timestamp {
    release_at.min(now + LOOK)
}

/// Those of these that are stored all the same: their device sent them again once the conversation was open, before a
/// server looked.
async fn stored_already(tx: &mut Tx, rows: &[HeldRow]) -> Result<HashSet<MessageId>> {
    let names = rows.iter().map(|row| row.client_message_id).collect();
    let stored = relay_store::stored_as(tx, names).await?;
    let is_stored = |row: &&HeldRow| {
        let there = stored.get(&(row.device_id, row.client_message_id));
        there.is_some_and(|there| there.commitment == row.commitment)
    };
    Ok(rows.iter().filter(is_stored).map(|row| row.message_id).collect())
}

/// Marks a held message that is gone: taken back, or released by somebody else.
const GONE: &str = "held_message_gone";

/// That the held message of a submission is not held any more.
pub(super) fn gone() -> Error {
    Error::Unavailable(GONE.to_owned())
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Unavailable(what) if what == GONE)
}

/// Tells the device that wrote it that a message does not go out.
fn refused(row: &HeldRow, code: ErrorCode, details: Value, policies: &[String]) -> DeviceEvent {
    let data = HeldRefused {
        message_id: row.message_id,
        client_message_id: row.client_message_id,
        error: code,
        details,
        policies: policies.to_vec(),
    };
    event(row, EventType::MessageHeldRefused, json!(data))
}

/// Gives a message back to the device that wrote it, to be sealed for what is now and sent again.
fn reseal(row: &HeldRow, code: ErrorCode, details: Value) -> DeviceEvent {
    let (message_id, client_message_id) = (row.message_id, row.client_message_id);
    let data = ResealNeeded { message_id, client_message_id, error: code, details };
    event(row, EventType::ResealNeeded, json!(data))
}

fn event(row: &HeldRow, r#type: EventType, data: Value) -> DeviceEvent {
    DeviceEvent {
        device: row.device_id,
        r#type,
        conversation: Some(row.conversation_id),
        sender: None,
        body: EventBody::Data(data),
    }
}

/// Writes the entry of what became of a held message.
fn note(app: &App, tx: &mut Tx, ctx: &Ctx, key: &DataKey, (row, act): (&HeldRow, Act<'_>)) -> Result<()> {
    let act = act
        .object("conversation", row.conversation_id)
        .object("message", row.message_id)
        .object("commitment", hex(&row.commitment));
    let entry = audit::prepare(ctx, &act, key, None, &*app.entropy)?;
    audit::write(tx, ctx.tenant, vec![entry]);
    Ok(())
}

/// Which of these held messages' submissions are still to be released: read under their conversations' locks.
pub(super) async fn still_held(tx: &mut Tx, sends: &[&Submission]) -> Result<HashSet<MessageId>> {
    let ids: Vec<_> = sends.iter().filter(|send| send.held).map(|send| send.message_id).collect();
    store::still_there(tx, &ids).await
}
