//! How often one socket may tell others something. What comes faster is dropped before anything is looked up.

use std::time::Duration;

use serde_json::json;
use sigilo_wire::{ConversationId, Timestamp};

use crate::{Error, Result};

/// How many frames may come at once.
const BURST: u32 = 5;
/// One more may come after each of these.
const STEP: Duration = Duration::from_secs(1);
/// The same is not said again sooner than this.
const SAME_AGAIN: Duration = Duration::from_secs(3);

/// One socket's pace.
#[derive(Debug)]
pub struct Pace {
    /// How many frames may come now.
    left: u32,
    /// Since when.
    since: Timestamp,
    /// What was last said of typing.
    typing: Option<(ConversationId, bool, Timestamp)>,
}

impl Pace {
    /// Of a socket that opens now.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self { left: BURST, since: now, typing: None }
    }

    /// Whether a frame about typing is passed on: not when there are too many, nor when it says what was just said.
    pub fn typing(&mut self, conversation: ConversationId, typing: bool, now: Timestamp) -> bool {
        let said = |(id, was, at): (ConversationId, bool, Timestamp)| {
            id == conversation && was == typing && now.since(at) < SAME_AGAIN
        };
        if self.typing.is_some_and(said) || !self.take(now) {
            return false;
        }
        self.typing = Some((conversation, typing, now));
        true
    }

    /// Whether a frame about the user's status is looked at.
    ///
    /// # Errors
    /// `rate_limited`: unlike typing, what is dropped would be missed.
    pub fn status(&mut self, now: Timestamp) -> Result<()> {
        if self.take(now) {
            return Ok(());
        }
        let details = json!({"limit": BURST, "remaining": 0, "reset_at": self.since + STEP});
        Err(Error::RateLimited { retry_after_s: STEP.as_secs(), details })
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let steps = u32::try_from(now.since(self.since).as_micros() / STEP.as_micros()).unwrap_or(u32::MAX);
        if steps > 0 {
            self.left = self.left.saturating_add(steps).min(BURST);
            self.since = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + ms * 1_000)
    }

    #[test]
    fn the_same_is_said_once_in_three_seconds_and_its_end_at_once() {
        let (mut pace, one, other) =
            (Pace::new(at(0)), ConversationId::from_bytes([1; 16]), ConversationId::from_bytes([2; 16]));
        assert!(pace.typing(one, true, at(0)));
        assert!(!pace.typing(one, true, at(2_999)));
        assert!(pace.typing(one, false, at(2_999)));
        assert!(pace.typing(one, true, at(3_000)));
        assert!(pace.typing(other, true, at(3_001)));
        assert!(pace.typing(one, true, at(6_001)));
    }

    #[test]
    fn a_flood_is_dropped_and_the_pace_comes_back() {
        let mut pace = Pace::new(at(0));
        let said = (0..100u8).filter(|n| pace.typing(ConversationId::from_bytes([*n; 16]), true, at(10)));
        assert_eq!(said.count(), 5);
        assert!(pace.status(at(500)).is_err());
        pace.status(at(1_000)).unwrap();
        assert!(pace.status(at(1_100)).is_err());
        let after_a_pause = (0..100u8).filter(|n| {
            let conversation = ConversationId::from_bytes([*n; 16]);
            pace.typing(conversation, false, at(60_000))
        });
        assert_eq!(after_a_pause.count(), 5);
    }
}
