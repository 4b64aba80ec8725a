//! Linking: a device without an account becomes one of somebody's messaging devices.
//!
//! The new device makes up the link and shows it; it exists here from the moment an old device opens it, behind a
//! fresh proof of its user, and for [`LINK_LIFE`]. Who has not logged in can add one public key to an open link,
//! once, and read what the old device put there: nobody can store anything without an account, and nobody learns
//! anything without the keys. A user has one link at a time.
//!
//! With the package the old device publishes the manifest that names the new device, in one transaction: there is no
//! device that its user's manifest does not name. The tokens go to whoever shows the claim in the package.

mod approve;
mod begin;
mod claim;
mod offer;
pub(crate) mod store;

pub use approve::approve;
pub use begin::{begin, own};
pub use claim::claim;
pub use offer::{offer_key, state};

use std::time::Duration;

/// How long a link is good.
pub const LINK_LIFE: Duration = Duration::from_mins(10);
/// The largest package, in bytes: some 3,000 contacts.
pub const MAX_PACKAGE: usize = 256 * 1024;
