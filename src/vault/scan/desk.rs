//! What a scan worker meets: see [`Desk`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use sigilo_seal::{ScanKey, SignedScanKey};
use sigilo_wire::Timestamp;

use super::{keys, queue, settle, store};
use crate::{
    App, Result,
    app::SharedApp,
    rng,
    scanner::{Blob, Desk, EngineState, Job, Outcome},
    vault::{self, files},
};

/// How long a worker waits for a file before it is told that there is none.
const WAIT: Duration = Duration::from_secs(5);
/// How often it is looked meanwhile.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is noted that a worker lives.
const NOTE: Duration = Duration::from_secs(30);

/// A worker's name, new each time it starts: what was handed over to an earlier one opens for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub [u8; 16]);

/// The vault as one worker sees it.
pub struct VaultDesk {
    app: SharedApp,
    worker: WorkerId,
    noted: Mutex<Option<Timestamp>>,
}

impl VaultDesk {
    /// The desk of a worker that has just started.
    #[must_use]
    pub fn new(app: SharedApp) -> Self {
        let worker = WorkerId(rng::bytes(&*app.entropy));
        Self::of(app, worker)
    }

    /// The desk of the worker of this name.
    #[must_use]
    pub fn of(app: SharedApp, worker: WorkerId) -> Self {
        Self { app, worker, noted: Mutex::default() }
    }

    /// Notes that the worker has ended: nobody has to wait to find out that the keys it was given are lost.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn gone(&self) -> Result<()> {
        let mut tx = self.app.db.begin("scanner_gone").await?;
        store::gone(&mut tx, &self.worker.0).await?;
        tx.commit().await
    }

    /// Notes that the worker lives, now and then.
    async fn heard(&self) -> Result<()> {
        let now = self.app.clock.now();
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.is_some_and(|at| now.since(at) < NOTE) {
                return Ok(());
            }
            *noted = Some(now);
        }
        let mut tx = self.app.db.begin("scanner_heard").await?;
        store::heard(&mut tx, &self.worker.0, now).await?;
        tx.commit().await
    }

    async fn next_job(&self) -> Result<Option<Job>> {
        for _ in 0..WAIT.as_millis() / LOOK.as_millis() {
            self.heard().await?;
            if self.app.shutdown.borrow().is_draining() {
                return Ok(None);
            }
            if let Some(job) = queue::lease(&self.app, self.worker).await? {
                return Ok(Some(job));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(None)
    }

    async fn open(&self, job: &Job) -> Result<Blob> {
        self.heard().await?;
        let app: &App = &self.app;
        let mut tx = app.db.read("scan_blob").await?;
        let file = files::get(&mut tx, job.file.tenant, job.file.file_id).await?;
        drop(tx);
        Ok(Box::new(vault::open(app, &file).await?))
    }
}

impl Desk for VaultDesk {
    fn publish<'a>(&'a self, key: SignedScanKey, _: &'a ScanKey) -> BoxFuture<'a, Result<()>> {
        // What counts is what is signed.
        async move { keys::publish(&self.app, self.worker, &key).await }.boxed()
    }

    fn next(&self) -> BoxFuture<'_, Result<Option<Job>>> {
        self.next_job().boxed()
    }

    fn blob<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Blob>> {
        self.open(job).boxed()
    }

    fn done<'a>(&'a self, job: &'a Job, outcome: Outcome) -> BoxFuture<'a, Result<()>> {
        async move {
            self.heard().await?;
            settle::settle(&self.app, job, &outcome).await
        }
        .boxed()
    }

    fn engine(&self, state: Option<EngineState>) -> BoxFuture<'_, Result<()>> {
        async move {
            let now = self.app.clock.now();
            let said = state.as_ref().map(|state| (&*state.engine, &*state.database, state.official));
            let mut tx = self.app.db.begin("scanner_engine").await?;
            store::set_engine(&mut tx, &self.worker.0, said, now).await?;
            tx.commit().await
        }
        .boxed()
    }
}
