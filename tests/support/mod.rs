//! Real servers for black-box tests: on both engines, over loopback, with a clock the test can move.

#![expect(dead_code, reason = "each test binary uses its own part")]

pub mod cast;
pub mod clinic;
pub mod clock;
pub mod cluster;
pub mod database;
pub mod device;
pub mod hours;
pub mod http;
pub mod lies;
pub mod link;
pub mod mfa;
pub mod proxy;
pub mod server;
pub mod socket;

pub use clock::TestClock;
pub use database::{Database, Engine};
pub use server::TestServer;

/// Runs a scenario against a fresh server on SQLite, then on PostgreSQL.
pub async fn both_engines(scenario: impl AsyncFn(&TestServer)) {
    both_engines_with(|_| {}, scenario).await;
}

/// As [`both_engines`], with other settings.
pub async fn both_engines_with(
    settings: impl Fn(&mut sigilo::config::Config),
    scenario: impl AsyncFn(&TestServer),
) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Shown when the scenario fails.
        println!("on {engine:?}");
        let server = TestServer::start_with(engine, &settings).await;
        scenario(&server).await;
        server.finish().await;
    }
}
