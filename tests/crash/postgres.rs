//! PostgreSQL is stopped and started under load, or has no room: clients are told to come again, and the server goes on by
//! itself.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use rand_chacha::ChaCha20Rng;
use rustix::process::Signal;

use crate::{
    friends::Friends,
    line::Line,
    load::{Cast, Load},
    seeded,
    served::Served,
    support::{Database, TestServer, cluster::Cluster},
    until, up_to, verify,
};

/// Between two ends, and between an end and the next start, at most.
const LONGEST: Duration = Duration::from_millis(2_000);
/// Refusals to see while it is away, and messages after it is back.
const SOME: usize = 10;

/// MiB of the small disk: what an empty PostgreSQL takes, and some.
const DISK: u32 = 192;
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_postgresql_costs_time_and_nothing_else() {
    let cluster = Cluster::start().await;
    under_load(cluster, async |trial| {
        for how in [Signal::INT, Signal::KILL, Signal::QUIT, Signal::INT, Signal::KILL] {
            trial.wait().await;
            let before = trial.line.unavailable();
            trial.cluster.end(how).await;
            trial.refused_since(before).await;
            trial.wait().await;
            trial.cluster.run().await;
            trial.goes_on().await;
        }
        "5 restarts"
    })
    .await;
}

/// In the long form only: a disk of its own takes root.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgresql_refuses_for_now_and_loses_nothing() {
    if std::env::var_os("SIGILO_LONG_TESTS").is_none_or(|set| set != "1") {
        return;
    }
    let cluster = Cluster::start_on_a_small_disk(DISK).await;
    under_load(cluster, async |trial| {
        let filler = trial.cluster.folder().join("filler");
        for _ in 0..ROUNDS {
            trial.wait().await;
            let before = trial.line.unavailable();
            fill(&filler);
            trial.refused_since(before).await;
            trial.wait().await;
            std::fs::remove_file(&filler).unwrap();
            // Without room for its journal it ends, as it must; whoever makes room starts it again.
            trial.cluster.revive().await;
            trial.goes_on().await;
        }
        "3 times full"
    })
    .await;
}

/// Takes all the room there is.
fn fill(file: &Path) {
    let mut file = File::create(file).unwrap();
    let some = vec![0u8; 64 * 1024];
    while file.write_all(&some).is_ok() {}
}

/// A server under load on a PostgreSQL to which things happen.
struct Trial {
    cluster: Cluster,
    line: Line,
    rng: ChaCha20Rng,
}

impl Trial {
    async fn wait(&mut self) {
        tokio::time::sleep(up_to(&mut self.rng, LONGEST)).await;
    }

    async fn refused_since(&self, before: usize) {
        until("a refusal while PostgreSQL is away", || self.line.unavailable() >= before + SOME).await;
    }

    async fn goes_on(&self) {
        let accepted = self.line.accepted();
        until("new messages after PostgreSQL is back", || self.line.accepted() >= accepted + SOME).await;
    }
}

/// Loads a server, lets things happen to its PostgreSQL, and looks what is left.
async fn under_load(cluster: Cluster, happens: impl AsyncFnOnce(&mut Trial) -> &'static str) {
    let server = TestServer::open(Database::create_at(&cluster.url()).await).await;
    let cast = Cast::create(&server).await;
    let friends = Friends::meet(&server).await;
    let (database, address) = server.halt().await;
    let mut trial = Trial { cluster, line: Line::to(address), rng: seeded() };
    let mut served = Served::start(database.config(), address);
    let load = Load::start(&cast, &trial.line);
    let talk = friends.talk().await;
    until("the first message", || trial.line.accepted() > 0).await;
    let happened = happens(&mut trial).await;
    // It is the same process still.
    served.pid();
    let said = talk.end().await;
    let done = load.end().await;
    served.kill().await;
    let server = TestServer::open(database).await;
    verify::check(&server, &cast, &done).await;
    let accepted: usize = done.written.iter().map(|(_, promises)| promises.len()).sum();
    println!(
        "{happened}; {accepted} messages accepted and there, {} answers of 503 with Retry-After, {} delivered again and \
         recognised, {} one-time keys given out once each; {said} messages of the client SDK",
        trial.line.unavailable(),
        done.again,
        done.keys.len()
    );
    assert_eq!(served.faults(), Vec::<String>::new());
    server.finish().await;
}
