//! `kill -9` at random moments under load, again and again.
//!
//! Some rounds in the ordinary run, 200 with `SIGILO_LONG_TESTS=1`, any number with `SIGILO_CRASH_ROUNDS`; the life
//! of an access token is enough for some 300.

use std::time::Duration;

use rand_core::Rng as _;

use crate::{
    friends::Friends,
    line::Line,
    load::{Cast, Load},
    seeded,
    served::Served,
    support::{Engine, TestServer},
    until, up_to, verify,
};

/// From the first message after a start to the next kill, at most.
const LONGEST_LIFE: Duration = Duration::from_millis(1_000);
/// One kill in so many falls into the start itself, at most this long after it began.
const ONE_IN: u32 = 5;
const START: Duration = Duration::from_millis(500);

fn rounds() -> usize {
    let set = std::env::var("SIGILO_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let long = std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1");
    set.unwrap_or(if long { 200 } else { 5 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_on_sqlite_loses_and_doubles_nothing() {
    killed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_on_postgresql_loses_and_doubles_nothing() {
    killed(Engine::Postgres).await;
}

async fn killed(engine: Engine) {
    let (rounds, mut rng) = (rounds(), seeded());
    let server = TestServer::start(engine).await;
    let cast = Cast::create(&server).await;
    let friends = Friends::meet(&server).await;
    let (database, address) = server.halt().await;
    let line = Line::to(address);
    let mut served = Served::start(database.config(), address);
    let load = Load::start(&cast, &line);
    let talk = friends.talk().await;
    for _ in 0..rounds {
        if rng.next_u32() % ONE_IN == 0 {
            tokio::time::sleep(up_to(&mut rng, START)).await;
        } else {
            let accepted = line.accepted();
            until("a message after the start", || line.accepted() > accepted).await;
            tokio::time::sleep(up_to(&mut rng, LONGEST_LIFE)).await;
        }
        served.kill().await;
        served.again();
    }
    let said = talk.end().await;
    let done = load.end().await;
    served.kill().await;
    let server = TestServer::open(database).await;
    verify::check(&server, &cast, &done).await;
    let accepted: usize = done.written.iter().map(|(_, promises)| promises.len()).sum();
    println!(
        "{engine:?}: {rounds} kills; {accepted} messages accepted and there, {} attempts without an answer, {} delivered \
         again and recognised, {} one-time keys given out once each; {said} messages of the client SDK",
        done.vain,
        done.again,
        done.keys.len()
    );
    assert!(accepted >= rounds && done.vain > 0 && done.keys.len() >= rounds, "the server was at work");
    assert_eq!(served.faults(), Vec::<String>::new());
    server.finish().await;
}
