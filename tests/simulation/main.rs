//! A clinic by seed: people with several devices each talk, link and remove devices, come and go, over a line that
//! loses, doubles and reorders what they say, with clocks that differ. Then the line is good, and every honest device
//! must show the same authentic history.
//!
//! Some seeds in the ordinary run, with a small clinic; 1,000 with 50 devices with `SIGILO_LONG_TESTS=1`. Any number with
//! `SIGILO_SIMULATION_SEEDS`, one with `SIGILO_SIMULATION_SEED`, from another one on with `SIGILO_SIMULATION_FROM`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod line;
mod steps;
mod town;
mod verdict;
mod world;

use std::time::Instant;

use line::{Faults, Line};
use support::Engine;
use town::{Size, Town};
use world::World;

/// A clinic for the ordinary run.
const SMALL: Size = Size { patients: 2, doctors: 4, admins: 1, devices: 12, steps: 45 };
/// Fifty devices.
const FULL: Size = Size { patients: 9, doctors: 10, admins: 2, devices: 50, steps: 110 };
/// What may happen on the line.
const WEATHER: Faults = Faults { request: 15, answer: 15, drop: 15, double: 30, hold: 40, cut: 8 };
const SEEDS: u64 = 4;
const LONG_SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_honest_device_ends_with_the_same_authentic_history() {
    let long = std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1");
    let (size, seeds) = if long { (FULL, LONG_SEEDS) } else { (SMALL, SEEDS) };
    let seeds = match number("SIGILO_SIMULATION_SEED") {
        Some(seed) => seed..=seed,
        None => {
            let from = number("SIGILO_SIMULATION_FROM").unwrap_or(1);
            from..=from + number("SIGILO_SIMULATION_SEEDS").unwrap_or(seeds) - 1
        }
    };
    let line = Line::start().await;
    let mut towns: [Option<Town>; 2] = [None, None];
    for seed in seeds {
        let (place, engine) = if seed % 2 == 0 { (0, Engine::Postgres) } else { (1, Engine::Sqlite) };
        if towns[place].is_none() {
            let began = Instant::now();
            towns[place] = Some(Town::build(engine, size, &line).await);
            println!("{engine:?}: {size:?} in {:?}", began.elapsed());
        }
        simulate(towns[place].as_ref().unwrap(), &line, seed).await;
    }
    for town in towns.into_iter().flatten() {
        town.database.drop().await;
    }
}

async fn simulate(town: &Town, line: &Line, seed: u64) {
    println!("SIGILO_SIMULATION_SEED={seed}");
    let began = Instant::now();
    let mut world = World::begin(town, line, seed).await;
    world.open_talks().await;
    let opened = began.elapsed();
    line.faults(WEATHER);
    for _ in 0..town.size.steps {
        world.step().await;
    }
    let stepped = began.elapsed();
    world.calm().await;
    let calmed = began.elapsed();
    world.judge().await;
    let judged = began.elapsed();
    let (messages, devices) = (world.messages().await, world.units.len());
    let ended = world.ended.len();
    let tally = line.tally();
    world.end().await;
    println!(
        "  {messages} messages of {devices} devices, {ended} cut off; {tally:?}; {opened:?} {stepped:?} {calmed:?} {judged:?} {:?}",
        began.elapsed()
    );
}
