//! The group-commit writer: many sends and acknowledgements in one transaction, answered after its commit.
//!
//! One task owns the relay's writes in this process. While a commit is on its way to the disk, the next batch
//! gathers in the channel; the busier the server, the larger the batches, and the cost of a commit is shared.
//! A full channel, or too many bytes in it, makes senders wait, those of a clinic that fills it first: memory stays
//! bounded.
//!
//! Acknowledgements wait a moment for company: nobody waits for them, and a transaction each would make senders
//! wait behind it.

use std::{sync::Arc, time::Duration};

use sigilo_wire::message::Accepted;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    batch,
    deliver::Acknowledgement,
    room::{Place, Room},
    submit::Submission,
};
use crate::{App, Error, Result, shutdown::Shutdown, storage::error::CONFLICT};

/// Something to write.
enum Job {
    /// A message.
    Send(Box<Submission>, oneshot::Sender<Result<Accepted>>, Place),
    /// Acknowledged events. Nobody waits: until they are gone they are only sent once more.
    Acknowledge(Acknowledgement),
}

/// A message, and who waits for what becomes of it.
pub(super) struct Sending {
    pub(super) submission: Box<Submission>,
    pub(super) answer: oneshot::Sender<Result<Accepted>>,
    _place: Place,
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    room: Arc<Room>,
}

/// The writer's end of the way, handed to [`run`].
pub struct Inbox(mpsc::Receiver<Job>);

/// How often a batch is tried again when another transaction was in its way.
const TRIES: u32 = 5;
/// How long acknowledgements wait for others.
const ACK_PAUSE: Duration = Duration::from_millis(20);

impl Writer {
    /// A way to a writer that is not running yet.
    #[must_use]
    pub fn new(queue: usize, room_mib: u32) -> (Self, Inbox) {
        let (jobs, receiver) = mpsc::channel(queue);
        (Self { jobs, room: Arc::new(Room::new(queue, room_mib.saturating_mul(1024))) }, Inbox(receiver))
    }

    /// Hands over a message, waiting for room and for a place in the queue.
    pub(super) async fn send(
        &self,
        submission: Box<Submission>,
        answer: oneshot::Sender<Result<Accepted>>,
    ) -> Result<()> {
        let kib = u32::try_from(submission.size() / 1024 + 1).map_err(Error::internal)?;
        let place = self.room.take(submission.tenant, kib).await.map_err(|_| stopping())?;
        self.take(Job::Send(submission, answer, place)).await
    }

    /// Hands over acknowledgements, waiting for a place in the queue.
    pub(super) async fn acknowledge(&self, acknowledgement: Acknowledgement) -> Result<()> {
        self.take(Job::Acknowledge(acknowledgement)).await
    }

    async fn take(&self, job: Job) -> Result<()> {
        self.jobs.send(job).await.map_err(|_| stopping())
    }
}

fn stopping() -> Error {
    Error::Unavailable("the relay is stopping".to_owned())
}

/// What has gathered for the next transactions.
#[derive(Default)]
struct Gathered {
    sends: Vec<Sending>,
    acks: Vec<Acknowledgement>,
    /// How many events they name together.
    acknowledged: usize,
    /// When the acknowledgements have waited long enough.
    acks_due: Option<Instant>,
}

impl Gathered {
    fn take(&mut self, jobs: &mut Vec<Job>) {
        for job in jobs.drain(..) {
            match job {
                Job::Send(submission, answer, place) => {
                    self.sends.push(Sending { submission, answer, _place: place });
                }
                Job::Acknowledge(acknowledgement) => {
                    self.acks_due.get_or_insert_with(|| Instant::now() + ACK_PAUSE);
                    self.acknowledged += acknowledgement.events.len();
                    self.acks.push(acknowledgement);
                }
            }
        }
    }

    /// Writes the sends, and the acknowledgements when it is their time or they name `many` events.
    async fn write(&mut self, app: &App, many: usize) {
        let due = self.acks_due.is_some_and(|due| due <= Instant::now()) || self.acknowledged >= many;
        let acks = if due { std::mem::take(&mut self.acks) } else { Vec::new() };
        if due {
            (self.acks_due, self.acknowledged) = (None, 0);
        }
        let sends = std::mem::take(&mut self.sends);
        if !sends.is_empty() || !acks.is_empty() {
            write(app, sends, acks).await;
        }
    }
}

/// Writes until every [`Writer`] is gone or the server shuts down, then what is left in the queue.
pub async fn run(app: Arc<App>, mut inbox: Inbox) {
    let mut shutdown = app.shutdown.clone();
    let most = app.config.relay.batch_sends;
    let mut jobs = Vec::with_capacity(most);
    let mut gathered = Gathered::default();
    loop {
        tokio::select! {
            biased;
            taken = inbox.0.recv_many(&mut jobs, most) => {
                if taken == 0 { break; }
                gathered.take(&mut jobs);
            }
            () = sleep_until(gathered.acks_due) => {}
            // Requests are drained before the phase says so: nobody waits for what comes later.
            () = stopped(&mut shutdown) => break,
        }
        gathered.write(&app, most).await;
    }
    inbox.0.close();
    while inbox.0.recv_many(&mut jobs, most).await > 0 {
        gathered.take(&mut jobs);
        gathered.write(&app, most).await;
    }
    gathered.write(&app, 0).await;
}

/// Never, when nothing is due.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
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

/// Writes one batch. When it fails for a fault that one send may have caused, each is tried alone, so that it
/// cannot take its neighbours with it.
async fn write(app: &App, sends: Vec<Sending>, acks: Vec<Acknowledgement>) {
    metrics::histogram!("sigilo_relay_batch_sends").record(sends.len() as f64);
    match attempt(app, &sends, &acks).await {
        Ok(outcome) => batch::answer(app, sends, outcome),
        Err(Error::Internal(problem)) if sends.len() + acks.len() > 1 => {
            tracing::error!(%problem, sends = sends.len(), "a batch failed; its parts are tried one by one");
            let acks = acks.into_iter().map(|ack| (Vec::new(), vec![ack]));
            for (sends, acks) in sends.into_iter().map(|send| (vec![send], Vec::new())).chain(acks) {
                match attempt(app, &sends, &acks).await {
                    Ok(outcome) => batch::answer(app, sends, outcome),
                    Err(error) => batch::fail(sends, &error),
                }
            }
        }
        Err(error) => batch::fail(sends, &error),
    }
}

/// Runs the batch's transaction; tries again, with care, when a name or commitment is taken, and again while
/// the database says another transaction was in the way.
async fn attempt(app: &App, sends: &[Sending], acks: &[Acknowledgement]) -> Result<batch::Outcome> {
    let submissions: Vec<&Submission> = sends.iter().map(|sending| &*sending.submission).collect();
    let acks: Vec<&Acknowledgement> = acks.iter().collect();
    let mut careful = false;
    let mut tries = 0;
    loop {
        tries += 1;
        match batch::commit(app, &submissions, &acks, careful).await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) if tries < TRIES => careful = true,
            Ok(None) => return Err(Error::Unavailable(CONFLICT.to_owned())),
            Err(Error::Unavailable(what)) if tries < TRIES && what == CONFLICT => {
                tokio::time::sleep(Duration::from_millis(5 << tries)).await;
            }
            Err(error) => return Err(error),
        }
    }
}
