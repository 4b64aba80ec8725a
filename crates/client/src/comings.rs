//! Who came into a conversation and who left it, as far as this device was ever told.
//!
//! The server says who is there now when a conversation is fetched, and who came or left when it happens. Both may be
//! late, out of order, or about people the user never saw there. A record seal is for those who took part when it was
//! made: before one is called bad over its members, what waits in the queue is read, too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sigilo_wire::{
    ConversationId, Timestamp, UserId,
    event::{EventType, ParticipantChanged},
};

use crate::{
    Result,
    engine::Engine,
    event::TimelineNote,
    profile::{Record, Step},
};

/// More pages of events than 30 days bring; a bound for a server that never ends.
const MAX_PAGES: usize = 200;

/// Somebody came or left.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Moved {
    conversation: ConversationId,
    user: UserId,
    /// When this device last heard of it.
    at: Timestamp,
    /// When it last heard that they had left.
    left: Option<Timestamp>,
}

impl Record for Moved {
    const TABLE: &'static str = "moved";

    fn key(&self) -> Vec<u8> {
        key(self.conversation, self.user)
    }

    fn owner(&self) -> Vec<u8> {
        self.conversation.as_bytes().to_vec()
    }
}

fn key(conversation: ConversationId, user: UserId) -> Vec<u8> {
    [conversation.as_bytes().as_slice(), user.as_bytes()].concat()
}

/// What this device was told since an instant.
pub(crate) struct Comings {
    /// Who came or left.
    pub(crate) moved: BTreeSet<UserId>,
    /// Whether the user was away from the conversation: then others came and left unheard of.
    pub(crate) away: bool,
    /// Those of whom the user has seen no line that says so, and the line that would.
    pub(crate) unseen: BTreeMap<UserId, TimelineNote>,
}

impl Engine {
    /// Remembers who came and who left.
    pub(crate) async fn note_moves(
        &self,
        step: &Step,
        conversation: ConversationId,
        joined: &[UserId],
        left: &[UserId],
    ) -> Result<()> {
        let at = self.env.now();
        for user in joined.iter().chain(left) {
            let known: Option<Moved> = step.get(&key(conversation, *user)).await?;
            let has_left = left.contains(user).then_some(at);
            let left = has_left.or_else(|| known.and_then(|known| known.left));
            step.put(&Moved { conversation, user: *user, at, left })?;
        }
        Ok(())
    }

    /// Remembers, in a transaction of its own, whom this device is about to bring in or take out: of its own acts it
    /// gets no event, and the answer may be lost.
    pub(crate) async fn note_own_act(
        &self,
        conversation: ConversationId,
        joined: &[UserId],
        left: &[UserId],
    ) -> Result<()> {
        let step = self.profile.step();
        self.note_moves(&step, conversation, joined, left).await?;
        step.commit().await
    }

    /// What was told since an instant.
    pub(crate) async fn comings(&self, conversation: ConversationId, since: Timestamp) -> Result<Comings> {
        let me = self.account()?.user;
        let mut comings = Comings { moved: BTreeSet::new(), away: false, unseen: BTreeMap::new() };
        for moved in self.profile.all::<Moved>(conversation.as_bytes()).await? {
            if moved.at >= since {
                comings.moved.insert(moved.user);
                let gone = moved.left.is_some_and(|left| left >= moved.at);
                let note = if gone { TimelineNote::Left } else { TimelineNote::Joined };
                comings.unseen.insert(moved.user, note(moved.user));
            }
            comings.away |= moved.user == me && moved.left.is_some_and(|left| left >= since);
        }
        // A profile of an earlier version has these only.
        for line in self.timeline(conversation).await?.into_iter().filter(|line| line.at >= since) {
            if let TimelineNote::Joined(user) | TimelineNote::Left(user) = line.note {
                comings.moved.insert(user);
                comings.unseen.remove(&user);
            }
        }
        Ok(comings)
    }

    /// Asks the server who takes part in a conversation now, and looks through what waits for this device for those who
    /// came and left. Nothing of it is acknowledged: it is taken in when its turn has come.
    ///
    /// # Errors
    /// Transient ones, and those of the profile.
    pub(crate) async fn look_for_moves(&self, conversation: ConversationId) -> Result<()> {
        match self.refresh_conversation(conversation).await {
            Err(error) if error.is_for_later() => return Err(error),
            // Whoever has left is told nothing more.
            _ => {}
        }
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = self.api.events(cursor.as_deref()).await?;
            let step = self.profile.step();
            for frame in page.results {
                if frame.r#type != EventType::ParticipantChanged
                    || frame.conversation_id != Some(conversation)
                {
                    continue;
                }
                // One that says nothing is judged in its turn; no sender answers for it.
                let Ok(change) = serde_json::from_value::<ParticipantChanged>(frame.data) else { continue };
                self.note_moves(&step, conversation, &change.joined, &change.left).await?;
            }
            step.commit().await?;
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(())
    }
}
