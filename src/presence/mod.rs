//! Who is there: typing, online, away, busy, and when somebody was last seen. Said once to those who may notice, kept
//! nowhere; only the last minute somebody was there is stored, for those who show it.
//!
//! A person is there from the first `status` frame of one of their sockets until the last such socket closes. Sockets
//! that send none (tools, a device that only fetches) take no part: they show nobody and hear nothing. Each of the
//! three can be hidden, and who hides one does not see it of others. All of it is within this process.

mod board;
mod pace;
pub(crate) mod store;
mod tell;
mod typing;

pub use board::{Board, Seat};
pub use pace::Pace;
pub use tell::{arrive, leave, settings_changed};
pub use typing::typing;

use std::time::Duration;

use sigilo_wire::{Timestamp, UserId, presence::Privacy};
use tokio::time::MissedTickBehavior;

use crate::{
    Result,
    app::{App, SharedApp},
    shutdown::Phase,
    storage::Tx,
};

/// How often the minutes people were last there are written.
const EVERY: Duration = Duration::from_secs(2);

/// The minute an instant is in: last seen is told no finer.
fn to_the_minute(at: Timestamp) -> Timestamp {
    const MINUTE: i64 = Duration::from_mins(1).as_micros() as i64;
    Timestamp::from_micros(at.micros().div_euclid(MINUTE) * MINUTE)
}

/// What a person shows.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn privacy(tx: &mut Tx, user: UserId) -> Result<Privacy> {
    store::privacy(tx, user).await
}

/// Changes what a person shows. What they hide of when they were last seen is deleted.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn set_privacy(tx: &mut Tx, user: UserId, privacy: Privacy) -> Result<()> {
    store::set_privacy(tx, user, privacy).await
}

/// Writes when people were last there, all of some seconds in one transaction, until the server has stopped.
pub async fn keep_noting(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut rounds = tokio::time::interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = tokio::select! {
            _ = rounds.tick() => false,
            stopped = shutdown.wait_for(|phase| *phase == Phase::Stopped) => {
                let _nobody_left_to_say_so = stopped;
                true
            }
        };
        if let Err(error) = note(&app).await {
            tracing::warn!(%error, "when people were last seen could not be written");
        }
        if stopped {
            return;
        }
    }
}

/// Writes what has gathered. What cannot be written waits for the next round.
async fn note(app: &App) -> Result<()> {
    let seen = app.presence.take_seen();
    if seen.is_empty() {
        return Ok(());
    }
    let written = async {
        let mut tx = app.db.begin("note_last_seen").await?;
        for (user, at) in &seen {
            store::note_seen(&mut tx, *user, to_the_minute(*at)).await?;
        }
        tx.commit().await
    };
    let written = written.await;
    if written.is_err() {
        app.presence.put_seen_back(seen);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_a_person_was_seen_is_kept_to_the_minute() {
        let at: Timestamp = "2026-11-02T10:59:59.999999Z".parse().unwrap();
        assert_eq!(to_the_minute(at).to_string(), "2026-11-02T10:59:00.000000Z");
    }
}
