//! PostgreSQL is stopped and started under load: clients are told to come again, and the server goes on by itself.

use std::time::Duration;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_postgresql_costs_time_and_nothing_else() {
    let mut rng = seeded();
    let mut cluster = Cluster::start().await;
    let server = TestServer::open(Database::create_at(&cluster.url()).await).await;
    let cast = Cast::create(&server).await;
    let friends = Friends::meet(&server).await;
    let (database, address) = server.halt().await;
    let line = Line::to(address);
    let mut served = Served::start(database.config(), address);
    let load = Load::start(&cast, &line);
    let talk = friends.talk().await;
    until("the first message", || line.accepted() > 0).await;
    for how in [Signal::INT, Signal::KILL, Signal::QUIT, Signal::INT, Signal::KILL] {
        tokio::time::sleep(up_to(&mut rng, LONGEST)).await;
        let before = line.unavailable();
        cluster.end(how).await;
        until("a refusal while PostgreSQL is away", || line.unavailable() >= before + SOME).await;
        tokio::time::sleep(up_to(&mut rng, LONGEST)).await;
        cluster.run().await;
        let accepted = line.accepted();
        until("new messages after PostgreSQL is back", || line.accepted() >= accepted + SOME).await;
        served.pid();
    }
    let said = talk.end().await;
    let done = load.end().await;
    served.kill().await;
    let server = TestServer::open(database).await;
    verify::check(&server, &cast, &done).await;
    let accepted: usize = done.written.iter().map(|(_, promises)| promises.len()).sum();
    println!(
        "5 restarts; {accepted} messages accepted and there, {} answers of 503 with Retry-After, {} delivered again and \
         recognised, {} one-time keys given out once each; {said} messages of the client SDK",
        line.unavailable(),
        done.again,
        done.keys.len()
    );
    assert_eq!(served.faults(), Vec::<String>::new());
    server.finish().await;
    drop(cluster);
}
