//! What is out of the ordinary: somebody starts many conversations at once, is refused again and again, asks for more keys
//! than the limits allow, downloads many files, logs in from a new place, or has a password that others guess at.
//!
//! Each server counts in memory what devices do, a tally for each person and kind ([`Watch`]). The database is written to
//! when a tally reaches what the clinic's rule says: an anomaly is raised, or one that nobody has closed yet counts on, at
//! most once a minute. The clinic's staff and compliance officers are told, and one of them closes it with what was found.
//! What was done by the person's own devices may also cost the person something: lower limits for an hour, which the row
//! keeps, so that they outlive a restart, or the account. Emergencies are never held up.
//!
//! Another kind is a word in `AnomalyKind`, its rule in [`usual`], and a call of `notice` where it happens.

mod raise;
mod review;
mod settings;
pub(crate) mod store;
mod watch;

use std::time::Duration;

use sigilo_wire::anomaly::{AnomalyAction, AnomalyKind, AnomalyRule};

pub(crate) use review::look_close;
pub use review::{authorize_close, authorize_review, close, list};
pub use settings::{change_settings, settings};
pub(crate) use store::slowed;
pub use watch::Watch;
pub(crate) use watch::notice;

/// How long somebody's limits are lower.
pub const SLOW_FOR: Duration = Duration::from_hours(1);
/// By how much.
pub const SLOWER: u32 = 10;

/// The rule of a kind where the clinic has not said otherwise.
#[must_use]
pub const fn usual(kind: AnomalyKind) -> AnomalyRule {
    let (count, within_s) = match kind {
        AnomalyKind::ManyConversations => (20, 600),
        AnomalyKind::RepeatedDenials => (30, 600),
        AnomalyKind::PrekeyDraining => (10, 600),
        AnomalyKind::BulkDownloads => (50, 600),
        AnomalyKind::NewPlace => (1, 3600),
        AnomalyKind::PasswordGuessing => (1, 3600),
    };
    AnomalyRule { action: AnomalyAction::Flag, count, within_s }
}
