//! `sigilo scanner`

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgs, Outcome};
use crate::{
    Error, Result,
    clock::SystemClock,
    config::{Config, ScannerMode},
    rng::SystemEntropy,
    scanner::{Engine, RemoteDesk, Worker, confine},
    shutdown::{self, Phase},
    telemetry,
};

/// Looks into files in a process of its own, until SIGTERM or SIGINT: for servers whose scanner.mode is separate. It has
/// the scanner keys and no database, and gives up what it needs not where the kernel offers it.
#[derive(Debug, Args)]
pub struct Scanner {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Scanner {
    /// Runs before there is any other thread: what is given up is given up for those that come later.
    pub(super) fn run(self) -> Result<Outcome> {
        let config = self.config.load()?;
        if config.scanner.mode != ScannerMode::Separate {
            return Err(Error::internal(
                "the server looks into files itself: set scanner.mode = \"separate\" for both, or leave this out",
            ));
        }
        telemetry::start_logs(&config.log)?;
        confine::leave_no_core()?;
        let engine = Engine::clamd(&config.scanner)?;
        config.make_scanner_keys_dir()?;
        let desk = RemoteDesk::new(&config)?;
        let confined = confine::confine(&config)?;
        tracing::info!(
            landlock = confined.landlock,
            seccomp = confined.seccomp,
            "gave up what is not needed"
        );
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::internal)?;
        runtime.block_on(work(desk, engine, config))?;
        // A file may be on its way still.
        runtime.shutdown_background();
        Ok(Outcome::Done)
    }
}

async fn work(desk: RemoteDesk, engine: Engine, config: Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
    let (phase, shutdown) = shutdown::channel();
    let worker = Worker::new(Arc::new(desk), engine, config, Arc::new(SystemClock), Arc::new(SystemEntropy));
    let working = tokio::spawn(worker.run(shutdown));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "looking into files");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    phase.send_replace(Phase::Draining);
    working.await.map_err(Error::internal)
}
