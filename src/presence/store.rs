//! The columns of what people show, and when they were last there.

use sigilo_wire::{Timestamp, UserId, presence::Privacy};

use crate::{Error, Result, execute, fetch_optional, statements, storage::Tx};

statements! {
    PRIVACY = "SELECT show_typing, show_presence, show_last_seen FROM users WHERE user_id = $1";
    SET_PRIVACY = "UPDATE users SET show_typing = $2, show_presence = $3, show_last_seen = $4,
        last_seen_at = CASE WHEN $4 THEN last_seen_at END WHERE user_id = $1";
    NOTE_SEEN = "UPDATE users SET last_seen_at = $2 WHERE user_id = $1 AND show_last_seen
        AND (last_seen_at IS NULL OR last_seen_at < $2)";
}

pub(super) async fn privacy(tx: &mut Tx, user: UserId) -> Result<Privacy> {
    let row = fetch_optional!(tx, (bool, bool, bool), PRIVACY, user)?.ok_or(Error::NotFound)?;
    let (show_typing, show_presence, show_last_seen) = row;
    Ok(Privacy { show_typing, show_presence, show_last_seen })
}

pub(super) async fn set_privacy(tx: &mut Tx, user: UserId, privacy: Privacy) -> Result<()> {
    let Privacy { show_typing, show_presence, show_last_seen } = privacy;
    execute!(tx, SET_PRIVACY, user, show_typing, show_presence, show_last_seen)?;
    Ok(())
}

pub(super) async fn note_seen(tx: &mut Tx, user: UserId, at: Timestamp) -> Result<()> {
    execute!(tx, NOTE_SEEN, user, at)?;
    Ok(())
}
