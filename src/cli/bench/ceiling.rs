//! What storage and sockets can do at best on this machine, without the server between them.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{
    process,
    provision::Provisioned,
    socket::{PATIENCE, Socket, silent},
    stats,
    store::{self, Inserts, Owner},
};
use crate::{Error, Result, clock::Clock, storage::Db};

/// Bare multi-row inserts of the rows the server writes for a message, in one loop.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Storage {
    /// Messages in a transaction.
    pub(super) batch: usize,
    /// Messages inserted.
    pub(super) messages: u64,
    /// Messages a second.
    pub(super) messages_per_s: f64,
}

/// Frames sent back by a server that does nothing else.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Echo {
    /// Connected clients.
    pub(super) clients: usize,
    /// Unanswered frames of each.
    pub(super) window: usize,
    /// The length of a frame in bytes.
    pub(super) frame_bytes: usize,
    /// Frames sent and received back, a second.
    pub(super) echoes_per_s: f64,
    /// Processor seconds of the echoing server for 1,000 of them.
    pub(super) server_cpu_s_per_1000: f64,
}

/// Messages in a transaction of the bare inserts.
const BATCH: usize = 128;

/// Inserts for a time on the databases of a run, whose server has ended. Rows refer to the run's people and
/// conversations and have the sizes of the rows the server wrote.
pub(super) async fn storage(
    url: &str,
    made: &Provisioned,
    clock: &dyn Clock,
    time: Duration,
) -> Result<Storage> {
    let db = Db::open_existing(url).await?;
    let sample = store::sample(&db, made.tenant).await?;
    let owners = made
        .pairs
        .iter()
        .map(|pair| Owner {
            sender: (pair.sender.user, pair.sender.device),
            receiver: (pair.receiver.user, pair.receiver.device),
            conversation: pair.conversation,
            seal: pair.seal,
        })
        .collect();
    // The content of the rows does not matter, only that no two are alike.
    let rng = ChaCha20Rng::from_seed([7; 32]);
    let mut inserts = Inserts::new(made.tenant, sample, owners, BATCH, rng);
    // Not counted: it prepares the statements.
    inserts.batch(&db, clock.now()).await?;
    let start = Instant::now();
    let mut messages = 0;
    while start.elapsed() < time {
        inserts.batch(&db, clock.now()).await?;
        messages += BATCH as u64;
    }
    let messages_per_s = stats::rate(messages, start.elapsed());
    db.close().await;
    Ok(Storage { batch: BATCH, messages, messages_per_s })
}

/// Has frames of a size echoed for a time.
pub(super) async fn echo(clients: usize, window: usize, frame_bytes: usize, time: Duration) -> Result<Echo> {
    let server = process::Running::echo(None).await?;
    let mut sockets = Vec::with_capacity(clients);
    for _ in 0..clients {
        sockets.push(Socket::open(&server.address, "/", None).await?);
    }
    let frame = Utf8Bytes::from("x".repeat(frame_bytes));
    let before = server.cpu_time()?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for socket in sockets {
        tasks.spawn(have_echoed(socket, window, frame.clone(), start + time));
    }
    let mut echoes = 0;
    while let Some(ended) = tasks.join_next().await {
        echoes += ended.map_err(Error::internal)??;
    }
    let elapsed = start.elapsed();
    let cpu = server.cpu_time()?.saturating_sub(before);
    server.stop().await?;
    Ok(Echo {
        clients,
        window,
        frame_bytes,
        echoes_per_s: stats::rate(echoes, elapsed),
        server_cpu_s_per_1000: cpu.as_secs_f64() * 1_000.0 / (echoes.max(1) as f64),
    })
}

async fn have_echoed(mut socket: Socket, window: usize, frame: Utf8Bytes, until: Instant) -> Result<u64> {
    for _ in 0..window {
        socket.feed(frame.clone()).await?;
    }
    socket.flush().await?;
    while socket.received < socket.sent {
        let mut back = 1;
        socket.next(Instant::now() + PATIENCE).await?.ok_or_else(silent)?;
        while socket.ready()?.is_some() {
            back += 1;
        }
        if Instant::now() < until {
            for _ in 0..back {
                socket.feed(frame.clone()).await?;
            }
            socket.flush().await?;
        }
    }
    Ok(socket.received)
}
