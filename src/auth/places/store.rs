//! The rows of known places.

use sigilo_wire::{Timestamp, UserId};

use crate::{Result, execute, fetch_all, statements, storage::Tx};

statements! {
    PLACES = "SELECT place, last_at FROM known_places WHERE user_id = $1 ORDER BY last_at DESC, place";
    SEEN = "INSERT INTO known_places (user_id, place, last_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, place) DO UPDATE SET last_at = excluded.last_at";
    FORGET = "DELETE FROM known_places WHERE user_id = $1 AND place = $2";
}

/// A network, as a keyed hash, and when somebody last logged in from there.
#[derive(sqlx::FromRow)]
pub(super) struct PlaceRow {
    pub(super) place: Vec<u8>,
    pub(super) last_at: Timestamp,
}

/// The latest first.
pub(super) async fn places(tx: &mut Tx, user: UserId) -> Result<Vec<PlaceRow>> {
    fetch_all!(tx, PlaceRow, PLACES, user)
}

pub(super) async fn seen(tx: &mut Tx, user: UserId, place: &[u8], at: Timestamp) -> Result<()> {
    execute!(tx, SEEN, user, place, at)?;
    Ok(())
}

pub(super) async fn forget(tx: &mut Tx, user: UserId, place: &[u8]) -> Result<()> {
    execute!(tx, FORGET, user, place)?;
    Ok(())
}
