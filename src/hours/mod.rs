//! Chat hours: when conversations with patients are open.
//!
//! A clinic has weekly windows in its time zone and dates with windows of their own (holidays, closures); clinicians may
//! have hours that narrow them: open while the clinic is, and any of the clinicians. [`schedule`] is the arithmetic: pure,
//! of whole seconds, exact on days of 23 and 25 hours. Whoever changes hours moves the version of the facts of the
//! conversations they decide on, in the same transaction; what ends by the clock ends the life of what was decided.

mod load;
mod manage;
pub mod schedule;
pub(crate) mod store;
mod together;
pub mod week;

pub use load::{ChatHours, EMERGENCY_PATH};
pub(crate) use manage::of_clinic;
pub use manage::{authorize_manage_hours, clear, days, get, remove_day, set, set_day};
pub use schedule::{Schedule, Span};
pub use together::Together;
pub use week::{every_day, windows_of};
