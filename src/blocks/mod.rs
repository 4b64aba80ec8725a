//! Blocks: a person who wants no messages from another.
//!
//! A block stops what passes between the two, both ways and at once: no new conversation, nothing new in a
//! conversation of just the two (on open sockets and for messages under way, too), no keys, no presence. What was
//! written stays readable. A larger conversation goes on, because its other people need it: who does not want to read
//! the other there leaves it. Nobody is brought into one where the other already is.
//!
//! Clinic staff cannot be blocked, and no block stops an emergency. What the rules make of a block is in
//! `policies/blocks.cedar`; it is a fact of the conversation's snapshot, and who changes it moves `facts_version`. The
//! other person is not told; their next message is refused without saying who blocked whom.

mod authorize;
mod block;
mod list;
pub(crate) mod store;

pub use authorize::authorize;
pub(crate) use authorize::look;
pub use block::{Blocked, block, unblock};
pub use list::{BlockSummary, list, list_all};

use crate::storage::crypter::Place;
use sigilo_wire::UserId;

/// What names a block: the two, in order.
fn row(blocker: UserId, blocked: UserId) -> Vec<u8> {
    [blocker.as_bytes().as_slice(), blocked.as_bytes()].concat()
}

/// The place of the reason of the block with this [`row`].
const fn reason_place(row: &[u8]) -> Place<'_> {
    Place { table: "blocks", row, column: "reason_enc" }
}
