//! The server's side of scanning: which file is looked into next, and what comes of it.
//!
//! A file whose key was handed over waits in a queue. A worker leases it, opens it and says what it found: a verdict that
//! the clinic's scanner key signed. The server believes no worker: it checks the signature, and that the verdict is about
//! this file and these bytes, before it keeps it. The newest verdict counts; one that is not clean after one that was is a
//! recall, and everybody hears of it.
//!
//! A key that was handed over opens for one worker alone, the one whose scan key it was sealed to. Others leave it alone
//! while that one lives. When it is gone, or the key is none of the file's, whoever handed it over is asked again; a file
//! that waits is never clean, and never lost.
//!
//! Rows are locked in this order: the scan that waits, the file, devices, the clinic's sequences.

mod again;
mod desk;
mod keys;
mod queue;
mod settle;
mod start;
mod state;
pub(crate) mod store;

use std::time::Duration;

pub use again::{authorize_hand_over, authorize_rescan, hand_over, rescan};
pub use desk::{VaultDesk, WorkerId};
pub use keys::newest_key;
pub use start::start;
pub use state::{Scanner, keep_counting, scanner};

/// How long a worker has for a file before somebody else gets it.
pub const LEASE: Duration = Duration::from_mins(15);
/// A worker that was not heard of for so long is gone, and with it the keys that were handed over to it.
pub const ALIVE: Duration = Duration::from_mins(3);
