//! The server dies, its database goes away, its disk is full: nothing that was accepted is lost, nothing comes twice,
//! and it goes on by itself.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../client/people.rs"]
#[expect(dead_code, reason = "each test binary uses its own part")]
mod people;

mod disk;
mod friends;
mod kill;
mod line;
mod load;
mod postgres;
mod served;
mod verify;
mod waiting;

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _, UnwrapErr};
use tokio::time::Instant;

/// How long the server may take to notice that something is away, or there again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Randomness by a seed that is printed, and may be given as `SEED`.
fn seeded() -> ChaCha20Rng {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| UnwrapErr(getrandom::SysRng).next_u64());
    println!("SEED={seed}");
    ChaCha20Rng::seed_from_u64(seed)
}

/// Waits until it is so, and fails when that takes too long.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Evenly up to `most`.
fn up_to(rng: &mut ChaCha20Rng, most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap();
    Duration::from_micros(rng.next_u64() % most)
}
