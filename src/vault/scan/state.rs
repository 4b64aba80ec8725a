//! Whether files are looked into, and how many wait.

use std::time::Duration;

use sigilo_wire::Timestamp;
use tokio::time::MissedTickBehavior;

use super::{ALIVE, store};
use crate::{App, Result, app::SharedApp, scanner::EngineState, shutdown::draining};

/// How often the files that wait are counted.
const EVERY: Duration = Duration::from_secs(15);

/// What looks into files: nothing when no worker was heard of, or its engine does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanner {
    /// As the worker said that was heard of last.
    pub engine: Option<EngineState>,
}

/// What looks into files now.
///
/// # Errors
/// When the database is away.
pub async fn scanner(app: &App, now: Timestamp) -> Result<Scanner> {
    let mut tx = app.db.read("scanner").await?;
    let living = store::living(&mut tx, now - ALIVE).await?;
    let engine = living.into_iter().find_map(|row| {
        let database = row.engine_database.unwrap_or_default();
        Some(EngineState { engine: row.engine?, database, official: row.official })
    });
    Ok(Scanner { engine })
}

/// Counts the files that wait, for the metrics, until the server drains.
pub async fn keep_counting(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = looks.tick() => if let Err(error) = count(&app).await {
                tracing::warn!(%error, "files that wait for their scan were not counted");
            }
        }
    }
}

async fn count(app: &App) -> Result<()> {
    let mut tx = app.db.read("scans_waiting").await?;
    let (waiting, oldest) = store::waiting(&mut tx).await?;
    drop(tx);
    let age = oldest.map_or(0.0, |at| app.clock.now().since(at).as_secs_f64());
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    metrics::gauge!("sigilo_scans_waiting").set(f64::from(waiting));
    metrics::gauge!("sigilo_scans_oldest_waiting_seconds").set(age);
    Ok(())
}
