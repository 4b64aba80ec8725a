//! Conversations, and the members the user has been shown: nothing is sent to anybody else.

use std::{collections::BTreeSet, time::Duration};

use sigilo_wire::{
    ConversationId, Timestamp, UserId,
    conversation::{Contact, Conversation},
    event::ParticipantChanged,
};

use crate::{
    Error, Result,
    engine::Engine,
    event::{ClientEvent, TimelineNote},
    finding::{ContactFilter, ConversationFilter},
    profile::{
        Step,
        records::{ConversationRecord, TimelineEntry},
    },
};

/// More pages than any account has; a bound for a server that never ends.
const MAX_PAGES: usize = 200;

impl Engine {
    /// Those the user may start a conversation with who match.
    pub(crate) async fn people(&self, filter: &ContactFilter) -> Result<Vec<Contact>> {
        let mut people = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = self.api.contacts(filter, cursor.as_deref()).await?;
            people.extend(page.results);
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(people)
    }

    /// The user's conversations, newest change first; also those put away, when `archived` is set. Without a connection,
    /// those known.
    pub(crate) async fn conversations(&self, archived: bool) -> Result<Vec<Conversation>> {
        let filter = ConversationFilter { archived, ..ConversationFilter::default() };
        match self.fetch_conversations(&filter).await {
            Err(error) if error.is_transient() => {
                let mut known = self.known_conversations().await?;
                known.retain(|conversation| archived || !conversation.settings.archived);
                Ok(known)
            }
            other => other,
        }
    }

    /// Those that match.
    pub(crate) async fn fetch_conversations(&self, filter: &ConversationFilter) -> Result<Vec<Conversation>> {
        let mut all = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = self.api.conversations(filter, cursor.as_deref()).await?;
            for conversation in page.results {
                self.adopt_conversation(conversation.clone()).await?;
                all.push(conversation);
            }
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(all)
    }

    async fn known_conversations(&self) -> Result<Vec<Conversation>> {
        let mut known = self.profile.all::<ConversationRecord>(b"").await?;
        known.reverse();
        Ok(known.into_iter().map(|record| record.conversation).collect())
    }

    /// A conversation as known; fetched the first time.
    pub(crate) async fn conversation(&self, id: ConversationId) -> Result<ConversationRecord> {
        match self.profile.get::<ConversationRecord>(id.as_bytes()).await? {
            Some(record) => Ok(record),
            None => self.refresh_conversation(id).await,
        }
    }

    /// A conversation to send to: fetched again when something said that it changed.
    pub(crate) async fn current_conversation(&self, id: ConversationId) -> Result<ConversationRecord> {
        let record = self.conversation(id).await?;
        if record.refresh_due { self.refresh_conversation(id).await } else { Ok(record) }
    }

    /// Fetches a conversation and shows what changed.
    pub(crate) async fn refresh_conversation(&self, id: ConversationId) -> Result<ConversationRecord> {
        let conversation = self.api.conversation(id).await?;
        if conversation.id != id {
            return Err(Error::Answer("another conversation than the one asked for".into()));
        }
        self.adopt_conversation(conversation).await
    }

    /// Keeps a conversation as the server shows it.
    pub(crate) async fn adopt_conversation(
        &self,
        mut conversation: Conversation,
    ) -> Result<ConversationRecord> {
        // Who is there now is of no use later.
        for participant in &mut conversation.participants {
            participant.presence = None;
        }
        let id = conversation.id;
        let now = members(&conversation);
        let known: Option<ConversationRecord> = self.profile.get(id.as_bytes()).await?;
        let shown_members = now.iter().copied().collect();
        let known_since = known.as_ref().map_or(Some(self.env.now()), |known| known.known_since);
        let record = ConversationRecord { conversation, shown_members, refresh_due: false, known_since };
        let is_new = known.is_none();
        let me = self.account()?.user;
        let mut unseen = Vec::new();
        if let (Some(joined_at), Some(known)) = (record.joined_at(me), &known)
            && known.joined_at(me) != Some(joined_at)
        {
            let step = self.profile.step();
            self.settle_gaps(&step, id, joined_at).await?;
            step.commit().await?;
            // It excuses gaps: when the user was never told that they were away, they are told now.
            if known.joined_at(me).is_some() && known.shown_members.contains(&me) {
                unseen.push(me);
            }
        }
        let before = known.map_or(now, |known| known.shown_members.into_iter().collect());
        self.show_members(&record, &before, &unseen).await?;
        if is_new {
            self.tell(ClientEvent::ConversationUpdated { conversation: id });
        }
        Ok(record)
    }

    /// Shows who came and who left, as an event says. A fetch says who is there now only: somebody may have come and
    /// gone since, and what was sent between is sealed for them, too.
    pub(crate) async fn take_change(&self, change: &ParticipantChanged) -> Result<()> {
        let id = change.conversation_id;
        self.note_own_act(id, &change.joined, &change.left).await?;
        let Some(mut record) = self.profile.get::<ConversationRecord>(id.as_bytes()).await? else {
            return Ok(());
        };
        let before: BTreeSet<_> = record.shown_members.iter().copied().collect();
        let now = before.iter().chain(&change.joined).filter(|user| !change.left.contains(user));
        record.shown_members = now.copied().collect::<BTreeSet<_>>().into_iter().collect();
        record.refresh_due = true;
        self.show_members(&record, &before, &[]).await
    }

    /// Keeps a conversation, and with it the lines that show which members are new or gone since `before`, and who has
    /// come back `unseen`.
    async fn show_members(
        &self,
        record: &ConversationRecord,
        before: &BTreeSet<UserId>,
        unseen: &[UserId],
    ) -> Result<()> {
        let id = record.conversation.id;
        let now: BTreeSet<_> = record.shown_members.iter().copied().collect();
        let joined: Vec<UserId> = now.difference(before).copied().collect();
        let left: Vec<UserId> = before.difference(&now).copied().collect();
        let step = self.profile.step();
        self.note_moves(&step, id, unseen, unseen).await?;
        self.note_moves(&step, id, &joined, &left).await?;
        let back = unseen.iter().flat_map(|user| [TimelineNote::Left(*user), TimelineNote::Joined(*user)]);
        let joined = joined.into_iter().map(TimelineNote::Joined);
        let left = left.into_iter().map(TimelineNote::Left);
        step.put(record)?;
        self.note_all(step, id, back.chain(joined).chain(left)).await
    }

    /// Puts a line into a conversation's timeline.
    pub(crate) async fn note(&self, conversation: ConversationId, note: TimelineNote) -> Result<()> {
        self.note_all(self.profile.step(), conversation, std::iter::once(note)).await
    }

    /// Commits a step, and with it lines of a conversation's timeline.
    pub(crate) async fn note_all(
        &self,
        step: Step,
        conversation: ConversationId,
        notes: impl Iterator<Item = TimelineNote>,
    ) -> Result<()> {
        let mut lines = Vec::new();
        for (place, note) in (0..).zip(notes) {
            // Each line has its own instant: that is its name.
            let at = self.env.now() + Duration::from_micros(place);
            let line = TimelineEntry { conversation, at, note };
            step.put(&line)?;
            lines.push(line);
        }
        step.commit().await?;
        for TimelineEntry { conversation, at, note } in lines {
            self.tell(ClientEvent::Timeline { conversation, at, note });
        }
        Ok(())
    }

    /// Puts a line into the timeline of every conversation with somebody.
    pub(crate) async fn note_everywhere(&self, user: UserId, note: &TimelineNote) -> Result<()> {
        for record in self.profile.all::<ConversationRecord>(b"").await? {
            if record.shown_members.contains(&user) {
                self.note(record.conversation.id, note.clone()).await?;
            }
        }
        Ok(())
    }
}

impl ConversationRecord {
    /// Since when somebody takes part.
    pub(crate) fn joined_at(&self, user: UserId) -> Option<Timestamp> {
        let mut participants = self.conversation.participants.iter();
        participants.find(|participant| participant.user_id == user).map(|participant| participant.joined_at)
    }
}

/// Who takes part, as the server says.
pub(crate) fn members(conversation: &Conversation) -> BTreeSet<UserId> {
    conversation.participants.iter().map(|participant| participant.user_id).collect()
}
