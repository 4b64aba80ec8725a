//! The key server: identities, device manifests and prekeys.
//!
//! Devices publish; contacts fetch what they need to open a session. The server takes only what every client
//! would accept: exact lengths, canonical points of the prime-order group, each signature verified, manifests
//! that continue their chain. A one-time key leaves exactly once: the fetch that returns it has deleted it in
//! the same transaction. The server is not trusted for any of it: clients check the same again, and pin.
//!
//! Rows are locked in one order, so that no two acts wait for each other: the user, conversations, one-time
//! keys, device keys, devices (their events), and last the clinic's sequences (outbox, audit).
mod authorize;
mod check;
mod fetch;
mod identity;
mod manifest;
mod notify;
mod publish;
pub(crate) mod store;
mod verify;

use std::time::Duration;

use serde_json::json;
use sigilo_wire::ErrorCode;

pub(crate) use authorize::look_fetch;
pub use authorize::{Purpose, authorize_fetch, authorize_own};
pub use check::check;
pub use fetch::{Which, fetch};
pub(crate) use identity::identity_of;
pub use identity::put_identity;
pub(crate) use manifest::{Following, Signer, lock_signer, read_unverified};
pub use manifest::{get_manifest, put_manifest};
pub use notify::{keep_reminding, remind_of_rotation};
pub use publish::{counts, publish};
pub(crate) use verify::registration_id;

use crate::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// From this age of its signed prekey on, a device hears once a day that it should publish a new one.
pub const ROTATION_DUE_AFTER: Duration = DAY.saturating_mul(30);
/// From this age of its signed prekey on, a device is not written to and cannot send.
pub const KEYS_EXPIRE_AFTER: Duration = DAY.saturating_mul(45);
/// The most one-time keys of a kind a device may publish at once.
pub const MAX_ONE_TIME_KEYS: usize = 100;
/// With fewer one-time keys of a kind, a device hears that it should publish more.
pub const LOW_KEYS: u32 = 20;
/// The largest registration id libsignal gives (14 bits, without the last three).
pub const MAX_REGISTRATION_ID: u32 = 16_380;

/// 409: this person has not published these keys yet.
fn keys_missing(user: sigilo_wire::UserId, what: &str) -> Error {
    Error::conflict(ErrorCode::KeysMissing, json!({"user_id": user, "missing": what}))
}
