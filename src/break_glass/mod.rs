//! Break-glass: a clinician who does not treat a patient says why they must talk to them all the same.
//!
//! It makes a care relationship of the two that ends by itself (`source` `break_glass`), so that everything that asks
//! for one, on every path and open socket, holds until then and not a moment longer. What was said before stays closed
//! to them: whoever joins reads from then on. The patient, the staff and the compliance officers are told, and each use
//! waits for a finding of compliance.

mod end;
mod open;
mod review;
mod settings;
pub(crate) mod store;

pub use end::{end_due, keep_ending};
pub(crate) use open::look;
pub use open::{authorize_open, open};
pub use review::{authorize_list, authorize_review, close, list, list_for_staff};
pub use settings::{change_settings, settings};

/// How long a use lasts when the clinic has not said otherwise, in seconds: 4 hours.
pub const LASTS_S: u32 = 4 * 3600;
