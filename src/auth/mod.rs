//! Who is asking: invitations become accounts, passwords become tokens, tokens become a [`Ctx`](crate::context::Ctx).
//!
//! - An access token is an EdDSA JWT of 15 minutes, bound to a device and to the device's current *family*:
//!   the chain of refresh tokens that began with one login. A device has one family at a time; logging out,
//!   logging in again or removing the device ends it, and with it every access token and socket, at once on this
//!   node and within about a second on others.
//! - A refresh token is opaque, stored as a hash, used once. Used again, it is in two hands: the family ends.
//! - A messaging device stays a device while it is logged out: it keeps its number, its keys and its place in
//!   the manifest. A session ends with its tokens.
//!
//! - A new password, chosen by the person or with the clinic's code, ends what the old one had opened. It touches
//!   neither keys nor the second factor.
//!
//! - A clinic may say from which networks the people of a role come. Whoever gets tokens gets them in one place
//!   (`sessions::issue_after`), and whoever uses them passes another (`authenticate::known`): both ask the rules.
//!
//! Login, refresh, activation and reset take no grant: what they are given is the authorization.

mod activate;
mod authenticate;
mod change_password;
mod devices;
mod known;
pub mod link;
mod login;
mod logout;
pub mod oidc;
mod opaque;
mod password;
pub(crate) mod places;
mod refresh;
mod reset_password;
mod sessions;
pub(crate) mod store;
mod token_keys;
mod watch;
mod ws_ticket;

pub use activate::activate;
pub use authenticate::{Session, authenticate, authenticate_enrolling, authenticate_session, still_stands};
pub(crate) use authenticate::{family_of, session_of_device};
pub use change_password::change_password;
pub(crate) use devices::{current_device, end_sessions};
pub use devices::{list_devices, revoke_device};
pub use known::KnownDevices;
pub(crate) use known::cut_off;
pub use login::login;
pub use logout::logout;
pub(crate) use opaque::Opaque;
pub use password::Passwords;
pub(crate) use password::password_of;
pub use refresh::refresh;
pub use reset_password::{PasswordReset, issue_password_reset, reset_password};
pub use token_keys::{Jwk, Jwks, TokenKeys};
pub use watch::keep_watching;
pub(crate) use watch::look_where_from;
pub use ws_ticket::{issue_ws_ticket, take_ws_ticket};

use std::time::Duration;

use sigilo_wire::account::DeviceKind;

/// How long an access token is good.
pub const ACCESS_TOKEN_LIFE: Duration = Duration::from_mins(15);
/// How long a ticket for a WebSocket URL is good.
pub const WS_TICKET_LIFE: Duration = Duration::from_secs(30);

/// How long a code for a new password is good.
pub const RESET_LIFE: Duration = Duration::from_hours(1);

/// How long the end of a device's tokens is told to the servers of this database. Whatever was opened with
/// them before is over after [`ACCESS_TOKEN_LIFE`] anyway.
const STANDING_CHANGES_KEPT: Duration = Duration::from_hours(1);

/// How many devices of a kind an account may have.
const fn device_limit(kind: DeviceKind) -> i64 {
    match kind {
        DeviceKind::Messaging => 6,
        DeviceKind::Session => 3,
    }
}

/// How long a device of a kind may be idle before its tokens end: the life of a refresh token.
const fn idle_limit(kind: DeviceKind) -> Duration {
    match kind {
        DeviceKind::Messaging => Duration::from_hours(30 * 24),
        DeviceKind::Session => Duration::from_mins(30),
    }
}
