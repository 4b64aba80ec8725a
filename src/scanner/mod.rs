//! The scan worker: the only place that opens a file of the vault, and the only holder of the clinics' scanner keys.
//! It knows nothing of messages and has no database: it asks the vault through a [`Desk`].
//!
//! What it promises: what the engine did not call clean is never called clean, however the engine breaks off, hangs or
//! lies in its form; a verdict is about exactly the bytes it names, all of which were opened and hashed; whoever hands
//! over a wrong key gets no verdict on somebody's file; and what a file says is in memory for as long as a segment takes.
//!
//! [`Worker`] makes the keys and takes files, one after the other; [`engine`] is ClamAV, [`sniff`] our own eyes. A worker in a process of its own reaches the vault through
//! [`host`] and [`RemoteDesk`], and gives up the rest of the machine in [`confine`].

pub mod confine;
pub mod desk;
pub mod engine;
pub mod host;
mod keys;
mod line;
mod look;
mod remote;
pub mod sniff;
mod worker;

pub use desk::{Blob, Desk, EngineState, Job, Outcome};
pub use engine::Engine;
pub use remote::RemoteDesk;
pub use worker::Worker;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{
    Result,
    clock::SharedClock,
    config::{Config, ScannerMode},
    rng::SharedEntropy,
    shutdown::Shutdown,
};

/// Looks into the files of this vault from now on: here, or by a scanner of its own process, as is configured. It ends
/// when the server drains.
///
/// # Errors
/// When clamd's address is none, or the socket for a scanner of its own process cannot be made.
pub fn start(
    desk: Arc<dyn Desk>,
    config: &Config,
    clock: SharedClock,
    entropy: SharedEntropy,
    shutdown: Shutdown,
) -> Result<JoinHandle<()>> {
    Ok(match config.scanner.mode {
        ScannerMode::InProcess => {
            let engine = Engine::clamd(&config.scanner)?;
            tokio::spawn(Worker::new(desk, engine, config.clone(), clock, entropy).run(shutdown))
        }
        ScannerMode::Separate => tokio::spawn(host::serve(desk, config, &*entropy, shutdown)?),
    })
}
