//! Random sequences of what happens in a clinic (appointments, blocks, revocations, suspensions, hours, broken glass,
//! emergencies, messages sent and held, on both gateways and in races) against a small model of the rules: no message
//! passes that the model refuses, none is refused that it allows, and the rules named are the model's.
//!
//! Some sequences in the ordinary run; 10,000 with `SIGILO_LONG_TESTS=1`. Any number with `SIGILO_MODEL_SEQUENCES`, from
//! another seed on with `SIGILO_MODEL_FROM`, one with `SIGILO_MODEL_SEED`; not longer than `SIGILO_MODEL_SECONDS`. Odd
//! seeds run on SQLite, even ones on PostgreSQL. The seed decides what happens; which message of a race is first, it
//! does not.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod acts;
mod deadline;
mod house;
mod races;
mod rules;
mod sends;
mod steps;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use house::{House, Tally};
use support::{Engine, TestServer};

const SEQUENCES: u64 = 40;
const LONG_SEQUENCES: u64 = 10_000;
/// How many clinics of an engine are at work at once, each on a server of its own.
const HOUSES: u64 = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

struct Run {
    seeds: std::ops::RangeInclusive<u64>,
    /// How many seeds of an engine were taken.
    taken: [AtomicU64; 2],
    until: Option<Instant>,
    failed: AtomicBool,
    done: AtomicU64,
}

impl Run {
    /// The next seed of an engine.
    fn next(&self, engine: Engine) -> Option<u64> {
        if self.failed.load(Ordering::SeqCst) || self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        let parity = u64::from(engine == Engine::Sqlite);
        let first = self.seeds.start() + u64::from(self.seeds.start() % 2 != parity);
        let seed = first + 2 * self.taken[parity as usize].fetch_add(1, Ordering::SeqCst);
        (seed <= *self.seeds.end()).then_some(seed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_decides_as_the_model_does() {
    let long = std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1");
    let count = number("SIGILO_MODEL_SEQUENCES").unwrap_or(if long { LONG_SEQUENCES } else { SEQUENCES });
    let from = number("SIGILO_MODEL_FROM").unwrap_or(1);
    let seeds = number("SIGILO_MODEL_SEED").map_or(from..=from + count - 1, |seed| seed..=seed);
    println!("seeds {seeds:?}");
    let began = Instant::now();
    let until = number("SIGILO_MODEL_SECONDS").map(|seconds| began + Duration::from_secs(seconds));
    let run = Arc::new(Run {
        seeds,
        taken: Default::default(),
        until,
        failed: AtomicBool::new(false),
        done: AtomicU64::new(0),
    });
    let mut work = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for house in 0..HOUSES {
            work.push(tokio::spawn(keep_house(Arc::clone(&run), engine, house)));
        }
    }
    let mut tallies = Vec::new();
    for work in work {
        tallies.push(work.await);
    }
    for tally in tallies {
        println!("{:?}", tally.unwrap());
    }
    println!("{} sequences in {:?}", run.done.load(Ordering::SeqCst), began.elapsed());
}

/// Sequences of an engine, one after the other, until there are no more.
async fn keep_house(run: Arc<Run>, engine: Engine, number: u64) -> Tally {
    let mut tally = Tally::default();
    let mut house: Option<House> = None;
    let mut built = 0;
    while let Some(seed) = run.next(engine) {
        if house.as_ref().is_some_and(House::is_old) {
            let old = house.take().unwrap();
            tally.add(&old.tally);
            old.server.finish().await;
        }
        if house.is_none() {
            built += 1;
            let server = TestServer::start(engine).await;
            house = Some(House::build(server, &format!("house-{number}-{built}")).await);
        }
        let here = house.as_mut().unwrap();
        let outcome = AssertUnwindSafe(here.sequence(seed)).catch_unwind().await;
        if outcome.is_err() {
            run.failed.store(true, Ordering::SeqCst);
            println!("SIGILO_MODEL_SEED={seed} failed on {engine:?}, after:\n  {}", here.log.join("\n  "));
            panic!("SIGILO_MODEL_SEED={seed} failed");
        }
        let done = run.done.fetch_add(1, Ordering::SeqCst) + 1;
        if done.is_multiple_of(250) {
            println!("{done} sequences");
        }
    }
    if let Some(house) = house {
        tally.add(&house.tally);
        house.server.finish().await;
    }
    tally
}
