//! The group-commit writer: many sends and acknowledgements in one transaction, answered after its commit.
//!
//! One task owns the relay's writes in this process. While a commit is on its way to the disk, the next batch
//! gathers in the channel; the busier the server, the larger the batches, and the cost of a commit is shared.
//! A full channel makes senders wait: memory stays bounded.

use std::{sync::Arc, time::Duration};

use sigilo_wire::message::Accepted;
use tokio::sync::{mpsc, oneshot};

use super::{batch, deliver::Acknowledgement, submit::Submission};
use crate::{App, Error, Result, shutdown::Shutdown, storage::error::CONFLICT};

/// Something to write.
pub(super) enum Job {
    /// A message.
    Send(Box<Submission>, oneshot::Sender<Result<Accepted>>),
    /// Acknowledged events. Nobody waits: until they are gone they are only sent once more.
    Acknowledge(Acknowledgement),
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::Sender<Job>);

/// The writer's end of the way, handed to [`run`].
pub struct Inbox(mpsc::Receiver<Job>);

/// How often a batch is tried again when another transaction was in its way.
const TRIES: u32 = 5;

impl Writer {
    /// A way to a writer that is not running yet.
    #[must_use]
    pub fn new(queue: usize) -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(queue);
        (Self(sender), Inbox(receiver))
    }

    /// Hands over a job, waiting for a place in the queue.
    pub(super) async fn take(&self, job: Job) -> Result<()> {
        self.0.send(job).await.map_err(|_| Error::Unavailable("the relay is stopping".to_owned()))
    }
}

/// Writes until every [`Writer`] is gone or the server shuts down, then what is left in the queue.
pub async fn run(app: Arc<App>, mut inbox: Inbox) {
    let mut shutdown = app.shutdown.clone();
    let most = app.config.relay.batch_sends;
    let mut jobs = Vec::with_capacity(most);
    loop {
        tokio::select! {
            biased;
            taken = inbox.0.recv_many(&mut jobs, most) => {
                if taken == 0 { return; }
                write(&app, std::mem::take(&mut jobs)).await;
            }
            // Requests are drained before the phase says so: nobody waits for what comes later.
            () = stopped(&mut shutdown) => break,
        }
    }
    inbox.0.close();
    while inbox.0.recv_many(&mut jobs, most).await > 0 {
        write(&app, std::mem::take(&mut jobs)).await;
    }
}

/// Resolves once the server has stopped, or nobody is left to say so.
async fn stopped(shutdown: &mut Shutdown) {
    while !shutdown.borrow_and_update().is_stopped() {
        if shutdown.changed().await.is_err() {
            return;
        }
    }
}

/// Writes one batch. When it fails for a fault that one job may have caused, each job is tried alone, so that
/// it cannot take its neighbours with it.
async fn write(app: &App, jobs: Vec<Job>) {
    metrics::histogram!("sigilo_relay_batch_jobs").record(jobs.len() as f64);
    match attempt(app, &jobs).await {
        Ok(outcome) => batch::answer(app, jobs, outcome),
        Err(Error::Internal(problem)) if jobs.len() > 1 => {
            tracing::error!(%problem, jobs = jobs.len(), "a batch failed; its jobs are tried one by one");
            for job in jobs {
                let alone = vec![job];
                match attempt(app, &alone).await {
                    Ok(outcome) => batch::answer(app, alone, outcome),
                    Err(error) => batch::fail(alone, &error),
                }
            }
        }
        Err(error) => batch::fail(jobs, &error),
    }
}

/// Runs the batch's transaction; tries again while the database says another was in the way.
async fn attempt(app: &App, jobs: &[Job]) -> Result<batch::Outcome> {
    let mut tries = 0;
    loop {
        tries += 1;
        match batch::commit(app, jobs).await {
            Err(Error::Unavailable(what)) if tries < TRIES && what == CONFLICT => {
                tokio::time::sleep(Duration::from_millis(5 << tries)).await;
            }
            other => return other,
        }
    }
}
