//! The relay: takes sealed messages, keeps them, hands each device its envelopes.
//!
//! What it promises: an accepted message is on the disk before the answer leaves; a message is accepted once,
//! however often it is sent; every current device of every participant gets its envelope, in the order of
//! acceptance, until it acknowledges it; a device's messages in a conversation form a chain without gaps; and
//! nothing the clinic's rules refuse gets past them, not even in a race with the rule's change.
//!
//! [`send()`] checks one message and hands it to the [`writer`], which commits many in one transaction.
//! [`deliver`] reads a device's queue and takes acknowledgements; [`hub`] hands the sockets of this process what
//! was just stored, or tells them to look; [`read`] serves the history. [`held`] keeps what waits for the chat hours to open.

mod attachments;
mod batch;
pub mod deliver;
pub mod frame;
pub mod held;
pub mod hub;
mod memory;
mod plan;
pub mod read;
mod receipts;
mod render;
mod revise;
mod room;
mod search;
pub(crate) mod store;
pub mod submit;
mod validate;
pub mod writer;

pub use deliver::{Acknowledgement, acknowledge, events_after};
pub use memory::Memory;
pub(crate) use plan::recipients_digest;
pub use receipts::ReceiptKeys;
pub use revise::revise;
pub use search::{MessageSearch, search};
pub use submit::{Pending, begin_send, is_facts_changed, may_try_again, send, send_again};

use std::time::Duration;

/// The largest encrypted body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// The largest envelope, in bytes.
pub const MAX_ENVELOPE: usize = 8 * 1024;
/// The largest send request, in bytes.
pub const MAX_SEND_REQUEST: usize = 4 * 1024 * 1024;
/// The most files a message refers to: ten, each with a small picture.
pub const MAX_ATTACHMENTS: usize = 20;
/// How far a sender's clock may be ahead.
pub const MAX_AHEAD: Duration = Duration::from_secs(2 * 60);
/// How long ago a message may have been written, for outboxes of phones that were offline.
pub const MAX_BEHIND: Duration = Duration::from_secs(7 * 24 * 3600);
/// The age at which a record seal must be renewed.
pub const SEAL_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// The age of a signed prekey at which its device neither gets nor sends messages.
pub const KEY_LIFETIME: Duration = Duration::from_secs(45 * 24 * 3600);
/// The longest time after which a message may be set to disappear.
pub const MAX_EXPIRY: Duration = Duration::from_secs(366 * 24 * 3600);
