//! Read marks: how far each participant has read a conversation, when, and what is unread for them.
//!
//! A participant's position only moves forward; each move is kept with its time, so that every message knows who
//! has read it since when. What counts as unread: messages of others after the position, but for edits, deletes,
//! reactions, profiles and what has expired.

mod read;
pub(crate) mod store;
mod unread;

pub use read::{Reach, mark_read};
pub use unread::unread_counts;
pub(crate) use unread::unread_in;

use std::collections::HashMap;

use sigilo_wire::{ConversationId, message::ReadMark};

use crate::{Result, storage::Tx};

/// A message's place: its conversation and its number there.
pub(crate) type Place = (ConversationId, i64);

/// Who has read these messages, and since when; their senders too, when their own position is beyond.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn readers(tx: &mut Tx, places: &[Place]) -> Result<HashMap<Place, Vec<ReadMark>>> {
    let mut readers: HashMap<Place, Vec<ReadMark>> = HashMap::new();
    for row in store::readers(tx, places).await? {
        let mark = row.read_at.map(|read_at| ReadMark { user_id: row.user_id, read_at });
        readers.entry((row.conversation_id, row.conversation_seq)).or_default().extend(mark);
    }
    Ok(readers)
}
