//! The scan worker: the only place that opens a file of the vault, and the only holder of the clinics' scanner keys.
//! It knows nothing of messages and has no database: it asks the vault through a [`Desk`].

pub mod desk;

pub use desk::{Blob, Desk, EngineState, Job, Outcome};
