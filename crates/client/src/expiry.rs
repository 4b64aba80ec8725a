//! Messages that disappear: hidden from the moment they expire, and erased from this device soon after.
//!
//! The seconds are those the sender signed; they count from the official time, which the receipt signs. What the
//! server calls the end is not asked. What goes is the content and the sealed body, which the profile's own keys
//! would open again; that there was a message, from whom and when, stays, and so does the clinic's record.

use std::time::Duration;

use sigilo_wire::Timestamp;

use crate::{
    Result,
    engine::Engine,
    event::ClientEvent,
    profile::{
        Order, Record as _, Step,
        records::{Expiring, MessageKey, StoredMessage},
    },
};

/// Messages erased in one transaction.
const BATCH: u32 = 64;
/// The longest wait until the next look: a sleeping machine's timers stand still.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A timer rings a little late rather than a little early.
const AFTER: Duration = Duration::from_millis(5);

impl StoredMessage {
    /// When it disappears, if ever.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        let seconds = self.message.expires_in_s;
        (seconds > 0).then(|| self.message.received_at + Duration::from_secs(seconds))
    }

    /// Whether it has disappeared.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Forgets what it says. Gives whether there was something to forget.
    pub(crate) fn erase(&mut self) -> bool {
        let content = self.content.take();
        let body = std::mem::take(&mut self.message.body);
        content.is_some() || !body.is_empty()
    }
}

impl Engine {
    /// Keeps a message: one that disappears with its time; one that has disappeared, or was deleted before it came,
    /// without its content.
    pub(crate) async fn keep(&self, step: &Step, stored: &mut StoredMessage) -> Result<()> {
        self.settle(step, stored).await?;
        if let Some(at) = stored.expires_at() {
            if stored.is_expired(self.env.now()) {
                stored.erase();
            } else {
                step.put(&Expiring { message: MessageKey::of(&stored.message), at })?;
                self.upkeep_at_latest(at);
            }
        }
        self.take_title(step, stored).await?;
        self.mention_files(step, stored)?;
        step.put(stored)
    }

    /// A message that is about to be read: without its content once that has expired.
    pub(crate) async fn unexpired(&self, mut stored: StoredMessage) -> Result<StoredMessage> {
        if stored.is_expired(self.env.now()) && (stored.content.is_some() || !stored.message.body.is_empty())
        {
            let step = self.profile.step();
            self.erase_now(&step, &mut stored).await?;
            step.commit().await?;
            self.profile.scrub().await?;
            self.index_message(&MessageKey::of(&stored.message)).await;
        }
        Ok(stored)
    }

    /// Erases what has expired, and says so.
    pub(crate) async fn erase_expired(&self) -> Result<()> {
        loop {
            let before = self.env.now().micros().saturating_add(1);
            let due: Vec<Expiring> = self.profile.list(b"", before, BATCH, Order::OldestFirst).await?;
            if due.is_empty() {
                break;
            }
            let step = self.profile.step();
            let mut erased = Vec::new();
            for expiring in &due {
                step.delete::<Expiring>(&expiring.key());
                let stored: Option<StoredMessage> = step.get(&expiring.message.bytes()).await?;
                if let Some(mut stored) = stored.filter(|stored| stored.is_expired(self.env.now())) {
                    self.erase_now(&step, &mut stored).await?;
                    erased.push(stored.message);
                }
            }
            step.commit().await?;
            self.profile.scrub().await?;
            for message in erased {
                self.index_message(&MessageKey::of(&message)).await;
                self.tell(ClientEvent::Expired {
                    conversation: message.conversation_id,
                    message: message.id,
                    client_message_id: message.client_message_id,
                });
            }
        }
        let next: Vec<Expiring> = self.profile.list(b"", i64::MAX, 1, Order::OldestFirst).await?;
        if let Some(next) = next.first() {
            self.upkeep_at_latest(next.at);
        }
        Ok(())
    }

    fn upkeep_at_latest(&self, at: Timestamp) {
        self.upkeep_in(at.since(self.env.now()).min(LOOK_AGAIN) + AFTER);
    }
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod tests;
