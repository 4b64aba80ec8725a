//! Hearing what other processes changed: another node, or a command beside the database.
//!
//! Whoever ends a device's tokens notes it with a sequence of the whole database. One task of each server reads
//! what is new once a second, whatever the number of its sockets, and closes what those tokens had opened. It also
//! has the hub look for tokens that have expired, and, when a clinic has changed from which networks its people may
//! come, or the rules are others, whether every socket still may.

use std::time::Duration;

use sigilo_wire::RequestId;
use tokio::time::MissedTickBehavior;

use super::{authenticate::context, store};
use crate::{
    Error, Result,
    app::{App, SharedApp},
    relay::hub::CloseReason,
    rng,
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
    let mut places = None;
    let mut failing = false;
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = seconds.tick() => {
                app.hub.check_expiry(app.clock.now());
                let looked = match look(&app, &mut seen).await {
                    Ok(()) => look_when_places_changed(&app, &mut places).await,
                    failed => failed,
                };
                match looked {
                    Ok(()) => failing = false,
                    Err(error) if !failing => {
                        failing = true;
                        tracing::warn!(%error, "cannot look for ended tokens and changed networks; their sockets live on until the tokens expire");
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

/// What decides from where people may come: how often clinics have changed that, and the rules.
type Places = (i64, [u8; 32]);

/// Looks where sockets come from when what decides on it is not what it was at the last look.
async fn look_when_places_changed(app: &App, seen: &mut Option<Places>) -> Result<()> {
    let mut tx = app.db.read("networks_watch").await?;
    let now = (store::networks_changes(&mut tx).await?, app.policy.set_hash());
    drop(tx);
    if *seen != Some(now) {
        look_where_from(app).await?;
        *seen = Some(now);
    }
    Ok(())
}

/// Closes the sockets of this server that come from where they may not come from any more.
///
/// # Errors
/// When the database is away.
pub(crate) async fn look_where_from(app: &App) -> Result<()> {
    app.known_devices.forget_all();
    let now = app.clock.now();
    for (device, address) in app.hub.sockets() {
        // One that is not known any more is closed by other means.
        let Some(standing) = app.known_devices.get(&app.db, device, now).await? else { continue };
        let request = RequestId::new(now, rng::bytes(&*app.entropy));
        let ctx = context(&standing, request, now, address);
        match app.known_devices.may_connect(&app.policy, &ctx, &standing) {
            Err(Error::Denied(_)) => app.hub.disconnect_from(device, address, CloseReason::Unauthenticated),
            other => other?,
        }
    }
    Ok(())
}
