//! `sigilo serve`

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgs, Outcome, demo};
use crate::{
    Error, Result,
    app::App,
    audit::hex,
    clock::{SharedClock, SystemClock},
    policy::Reloaded,
    rng::SystemEntropy,
    server::{self, Running},
    shutdown, telemetry,
};

/// Runs the server until SIGTERM or SIGINT. SIGHUP reads the certificates and the clinic's rules again.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Takes turns of the clock from standard input: for the server that `sigilo demo` starts, and no other.
    #[arg(long, hide = true)]
    demo_clock: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Result<Outcome> {
        let config = self.config.load()?;
        if self.demo_clock {
            demo::clock::allowed(&config)?;
        }
        telemetry::start_logs(&config.log)?;
        telemetry::metrics()?;
        // Before the listeners, so that no signal is lost between the two.
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(Error::internal)?;
        let (phase, shutdown) = shutdown::channel();
        let clock: SharedClock =
            if self.demo_clock { demo::clock::keep_turning() } else { Arc::new(SystemClock) };
        let app = App::open(config, clock, Arc::new(SystemEntropy), shutdown).await?;
        let running = server::start(Arc::clone(&app), phase)?;
        announce(&app, &running);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => read_again(&app, &running),
            }
        }
        tracing::info!("stopping");
        running.stop().await;
        tracing::info!("stopped");
        Ok(Outcome::Done)
    }
}

/// What cannot be used stays as it was, each by itself.
fn read_again(app: &App, running: &Running) {
    match running.reload_certificates() {
        Ok(()) => tracing::info!("read the certificates again"),
        Err(error) => tracing::error!(%error, "kept the old certificates"),
    }
    match app.policy.reload(app.config.policy.dir.as_deref()) {
        Ok(Reloaded { rules, before, after }) => {
            let (before, after) = (hex(&before), hex(&after));
            tracing::info!(rules, before, after, "read the policies again");
        }
        Err(error) => tracing::error!(%error, "kept the old policies"),
    }
}

/// One line that says where: programs that start the server read it.
fn announce(app: &App, running: &Running) {
    tracing::info!(
        address = %running.address,
        metrics_address = %running.metrics_address,
        tls = app.config.tls.is_on(),
        database = app.db.engine(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
}
