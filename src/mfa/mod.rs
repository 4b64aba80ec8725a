//! The second factor, and the proof that it is still the same person.
//!
//! - An authenticator app's codes (TOTP, RFC 6238) or one of ten recovery codes: a login of an enrolled account
//!   needs one beside the password. A secret counts once a code of it was shown; each code is accepted once.
//! - What could lock the owner out (another password, another second factor, a device removed) needs a proof of
//!   the last ten minutes on this very device: `require_recent`. A login is such a proof; afterwards
//!   [`verify`] takes a code, or the password of an account without a second factor. A login with a clinic's
//!   identity provider is none, and neither gives it a first identity key, or the one after a reset: `require_own`.
//! - Wrong codes and passwords are counted in the database, all of an account together, before they are
//!   compared: five in 15 minutes, then none is looked at. Nobody gains tries by asking from many places.
//! - Some roles must have a second factor, unless the clinic says otherwise (`policies/second-factor-first.cedar`):
//!   until they do, their tokens serve to enrol it, and for nothing else.

mod attempts;
mod code;
mod disable;
mod enroll;
mod forget;
mod recovery;
mod reset;
mod status;
mod step_up;
pub(crate) mod store;
mod totp;

pub(crate) use attempts::Attempt;
pub(crate) use code::{SecondFactor, second_factor};
pub use disable::disable;
pub use enroll::{confirm, enroll};
pub(crate) use forget::forget;
pub use reset::{FactorReset, reset};
pub use status::status;
pub use step_up::verify;
pub(crate) use step_up::{require_own, require_recent, verified_now};
pub(crate) use store::is_enrolled;

use std::time::Duration;

/// How long a proof of who is asking is recent.
pub const RECENT: Duration = Duration::from_mins(10);
/// How long a secret waits for its first code.
pub const ENROLMENT_LIFE: Duration = Duration::from_mins(15);
/// How many wrong codes and passwords an account may have within [`ATTEMPT_WINDOW`].
pub const MAX_ATTEMPTS: i64 = 5;
/// How long attempts are remembered, from the first.
pub const ATTEMPT_WINDOW: Duration = Duration::from_mins(15);
/// How many recovery codes an enrolment gives.
pub const RECOVERY_CODES: usize = 10;
