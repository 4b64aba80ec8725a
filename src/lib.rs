//! Sigilo: end-to-end encrypted messaging for clinics. The map, in reading order.
//!
//! A request enters through a gateway, asks [`policy`] for a grant, and calls one capability function, which
//! reads and writes through its own `store.rs` on [`storage`]. `docs/ARCHITECTURE.md` walks one message
//! through all of it.

pub mod anomalies;
pub mod app;
pub mod audit;
pub mod auth;
pub mod blocks;
pub mod break_glass;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod conversations;
pub mod emergency;
pub mod error;
pub mod explain;
pub mod free_text;
pub mod gateway;
pub mod hours;
pub mod idempotency;
pub mod keys;
pub mod limits;
pub mod marks;
pub mod mfa;
pub mod outbox;
pub mod paging;
pub mod people;
pub mod policy;
pub mod presence;
pub mod relationships;
pub mod relay;
pub mod rng;
pub mod scanner;
pub mod server;
pub mod shutdown;
pub mod storage;
pub mod telemetry;
pub mod vault;

pub use app::App;
pub use context::{Actor, Caller, Ctx};
pub use error::{Denial, Error, Result};
