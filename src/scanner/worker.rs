//! The worker's life: keys that are made anew, an engine that is asked how it is, and files, some at a time.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::{
    desk::{Desk, EngineState, Outcome},
    engine::Engine,
    keys::Keys,
    look::Looker,
};
use crate::{
    clock::SharedClock,
    config::Config,
    rng::SharedEntropy,
    shutdown::{self, Shutdown},
};

/// How often new clinics, keys that are due and the engine are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often the vault is told anew what has not changed: it may have begun anew, and know nothing.
const SAY_AGAIN: u32 = 30;
/// The first and the longest time to wait when the vault or the engine is away.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// The scan worker.
pub struct Worker {
    desk: Arc<dyn Desk>,
    engine: Engine,
    keys: Keys,
    config: Config,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

impl Worker {
    /// A worker that has no key yet.
    #[must_use]
    pub fn new(
        desk: Arc<dyn Desk>,
        engine: Engine,
        config: Config,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        Self { desk, engine, keys: Keys::default(), config, clock, entropy }
    }

    /// Works until the server drains. Files that are looked into then are given back by their leases' end.
    pub async fn run(self, mut shutdown: Shutdown) {
        let (known, is_there) = watch::channel(None);
        let workers = (0..self.config.scanner.concurrency).map(|_| self.work(is_there.clone()));
        tokio::select! {
            () = shutdown::draining(&mut shutdown) => {}
            () = self.tend_keys() => {}
            () = self.tend_engine(&known) => {}
            _ = join_all(workers) => {}
        }
    }

    /// Makes keys and publishes them.
    async fn tend_keys(&self) {
        let mut said = Vec::new();
        let mut rounds: u32 = 0;
        loop {
            if rounds.is_multiple_of(SAY_AGAIN) {
                said.clear();
            }
            rounds = rounds.wrapping_add(1);
            let keys = self.keys.refresh(&self.config, self.clock.now(), &*self.entropy);
            let keys = keys.unwrap_or_else(|error| {
                tracing::error!(%error, "no file is scanned");
                Vec::new()
            });
            for (signed, key) in keys {
                let id = key.key_id();
                if said.contains(&id) {
                    continue;
                }
                match self.desk.publish(signed, &key).await {
                    Ok(()) => said.push(id),
                    // Until the clinic's root signed its scanner key, there is nobody to scan for.
                    Err(error) => {
                        tracing::debug!(%error, clinic = %key.tenant, "a scan key is not published yet")
                    }
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks the engine how it is, and says so.
    async fn tend_engine(&self, known: &watch::Sender<Option<EngineState>>) {
        let mut rounds: u32 = 0;
        let mut said = None;
        loop {
            let state = self.engine.state().await.ok();
            if said.as_ref() != Some(&state) {
                match &state {
                    Some(state) => tracing::info!(
                        engine = state.engine,
                        database = state.database,
                        official = state.official,
                        "the scan engine answers"
                    ),
                    None => tracing::warn!("the scan engine does not answer: files wait"),
                }
                said = Some(state.clone());
                known.send_replace(state.clone());
                rounds = 0;
            }
            // When the vault is away it is told in the next round.
            if !rounds.is_multiple_of(SAY_AGAIN) || self.desk.engine(state).await.is_ok() {
                rounds = rounds.wrapping_add(1);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Looks into one file after the other, while there is an engine.
    async fn work(&self, mut engine: watch::Receiver<Option<EngineState>>) {
        let total = self.config.scanner.total_timeout();
        let looker =
            Looker { desk: &*self.desk, keys: &self.keys, engine: &self.engine, clock: &*self.clock, total };
        let mut wait = WAITS.0;
        loop {
            if engine.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let worked = match self.desk.next().await {
                Ok(None) => continue,
                Ok(Some(job)) => {
                    let outcome = looker.look(&job).await;
                    let looked = outcome != Outcome::Unavailable;
                    // Whoever is not heard is asked anew when the lease ends.
                    self.desk.done(&job, outcome).await.map(|()| looked)
                }
                Err(error) => Err(error),
            };
            match worked {
                Ok(true) => {
                    wait = WAITS.0;
                    continue;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the vault is away"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }
}
