//! Hearing what other processes changed: another node, or a command beside the database.
//!
//! Whoever ends a device's tokens notes it with a sequence of the whole database. One task of each server reads
//! what is new once a second, whatever the number of its sockets, and closes what those tokens had opened. It also
//! has the hub look for tokens that have expired.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::store;
use crate::{
    Result,
    app::{App, SharedApp},
    relay::hub::CloseReason,
    shutdown::draining,
};

/// How often a server looks.
const EVERY: Duration = Duration::from_secs(1);
/// How many changes are read at a time.
const BATCH: i64 = 500;

/// Looks every second until the server drains. A look that fails is made up for by the next.
pub async fn keep_watching(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut seconds = tokio::time::interval(EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Begins with all that is kept: a socket may have been opened before the first look.
    let mut seen = 0;
    let mut failing = false;
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = seconds.tick() => {
                app.hub.check_expiry(app.clock.now());
                match look(&app, &mut seen).await {
                    Ok(()) => failing = false,
                    Err(error) if !failing => {
                        failing = true;
                        tracing::warn!(%error, "cannot look for ended tokens; their sockets live on until the tokens expire");
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

/// Acts on every change after `seen`.
async fn look(app: &App, seen: &mut i64) -> Result<()> {
    loop {
        let mut tx = app.db.read("standing_watch").await?;
        let changes = store::standing_changes(&mut tx, *seen, BATCH).await?;
        drop(tx);
        let Some((last, _)) = changes.last() else { return Ok(()) };
        *seen = *last;
        for (_, standing) in &changes {
            app.known_devices.forget(standing.device);
            // The device may have logged in again since: its new sockets stay.
            app.hub.disconnect_all_but(standing.device, standing.family, CloseReason::Unauthenticated);
        }
    }
}
