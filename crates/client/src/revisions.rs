//! What was done to a message since: edits, deletes and reactions are messages of their own, and are shown on the one
//! they are about.
//!
//! Only what every check found good counts, and an edit or delete only when the author of the message sent it. What
//! does not count, or is about a message that is not known here, stays a line of its own: nothing is dropped. A
//! deleted message loses its content on this device; the clinic's record keeps it.

use serde::{Deserialize, Serialize};
use sigilo_seal::{Commitment, Content, ContentBody};
use sigilo_wire::{
    UserId,
    message::{Message, MessageKind},
};

use crate::{
    Result,
    engine::Engine,
    event::ClientEvent,
    message::{Reactions, ShownMessage, Version},
    outbox::SendOptions,
    profile::{
        Record, Step,
        records::{Expiring, MessageKey, MessageName, StoredMessage},
    },
};

/// An edit, delete or reaction, found by the message it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Revision {
    target: Commitment,
    message: MessageKey,
    kind: MessageKind,
    conversation_seq: i64,
}

impl Record for Revision {
    const TABLE: &'static str = "revision";

    fn key(&self) -> Vec<u8> {
        [self.target.as_bytes().as_slice(), &self.message.bytes()].concat()
    }

    fn owner(&self) -> Vec<u8> {
        self.target.as_bytes().to_vec()
    }

    fn position(&self) -> i64 {
        self.conversation_seq
    }
}

impl StoredMessage {
    fn commitment(&self) -> Commitment {
        self.message.commitment.into()
    }

    fn is_verified(&self) -> bool {
        self.verification.is_verified()
    }

    /// Whether a message of `kind` by `author` changes this one.
    fn obeys(&self, kind: MessageKind, author: UserId) -> bool {
        let own = author == self.message.sender.user_id;
        self.is_verified()
            && !self.message.message_type.needs_target()
            && (own || kind == MessageKind::Reaction)
    }
}

impl Engine {
    /// Keeps what a message does to another one, and what others did to it before it came.
    pub(crate) async fn settle(&self, step: &Step, stored: &mut StoredMessage) -> Result<()> {
        if !stored.is_verified() {
            return Ok(());
        }
        let kind = stored.message.message_type;
        let Some(target) = stored.message.target_commitment.map(Commitment::from) else {
            let done = step.all::<Revision>(stored.commitment().as_bytes()).await?;
            if done.iter().any(|r| r.kind == MessageKind::Delete && stored.obeys(r.kind, r.message.sender)) {
                stored.erase();
            }
            return Ok(());
        };
        let key = MessageKey::of(&stored.message);
        let others = step.all::<Revision>(target.as_bytes()).await?;
        let seq = stored.message.conversation_seq;
        step.put(&Revision { target, message: key, kind, conversation_seq: seq })?;
        let own = |revision: &&Revision| revision.message.sender == key.sender;
        let Some(mut target) = named(step, target).await? else {
            // The delete may be here already, and what it deletes not.
            let deleted = others.iter().filter(own).any(|r| r.kind == MessageKind::Delete);
            if kind == MessageKind::Edit && deleted {
                stored.erase();
            }
            return Ok(());
        };
        if !target.obeys(kind, key.sender) {
            return Ok(());
        }
        let gone = target.content.is_none();
        match kind {
            MessageKind::Delete => self.erase_now(step, &mut target).await,
            // A new text for what is deleted or has expired.
            MessageKind::Edit if gone => {
                stored.erase();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Erases a message that was deleted or has expired, the texts that its author gave it since, and what it called
    /// the conversation.
    pub(crate) async fn erase_now(&self, step: &Step, stored: &mut StoredMessage) -> Result<()> {
        if !stored.erase() {
            return Ok(());
        }
        step.put(stored)?;
        step.delete::<Expiring>(&MessageKey::of(&stored.message).bytes());
        self.forget_title(step, &stored.message).await?;
        for revision in step.all::<Revision>(stored.commitment().as_bytes()).await? {
            let edit = match revision.kind {
                MessageKind::Edit => step.get::<StoredMessage>(&revision.message.bytes()).await?,
                _ => None,
            };
            if let Some(mut edit) =
                edit.filter(|edit| stored.obeys(MessageKind::Edit, edit.message.sender.user_id))
                && edit.erase()
            {
                step.put(&edit)?;
                step.delete::<Expiring>(&revision.message.bytes());
            }
        }
        Ok(())
    }

    /// A new text disappears with the message it is for, unless it is to disappear by itself.
    pub(crate) async fn expiry_of_edit(&self, kind: MessageKind, options: &SendOptions) -> Result<u64> {
        let (MessageKind::Edit, 0, Some(target)) = (kind, options.expires_in_s, options.target) else {
            return Ok(options.expires_in_s);
        };
        let end = self.message_named(target).await?.and_then(|target| target.expires_at());
        Ok(end.map_or(0, |end| end.since(self.env.now()).as_secs().max(1)))
    }

    /// What follows a message that is on disk: a delete leaves nothing of what was said in the file, and the index of
    /// the search knows what is said now.
    pub(crate) async fn after_keeping(&self, message: &Message) -> Result<()> {
        if message.message_type == MessageKind::Delete {
            self.profile.scrub().await?;
        }
        self.index_message(&MessageKey::of(message)).await;
        Ok(())
    }

    /// A stored message as it is shown: with what was done to it since.
    pub(crate) async fn folded(&self, stored: StoredMessage) -> Result<ShownMessage> {
        let revisions = match stored.message.target_commitment {
            None if stored.is_verified() => {
                self.profile.all::<Revision>(stored.commitment().as_bytes()).await?
            }
            _ => Vec::new(),
        };
        let mut shown = self.shown(stored.clone())?;
        self.update_scans(&mut shown.attachments).await?;
        shown.target_seq = self.place_of(shown.target).await?;
        shown.reply_to_seq = self.place_of(shown.reply_to).await?;
        for revision in revisions.iter().filter(|r| stored.obeys(r.kind, r.message.sender)) {
            let made: Option<StoredMessage> = self.profile.get(&revision.message.bytes()).await?;
            if let Some(made) = made {
                apply(&mut shown, self.shown(made)?);
            }
        }
        Ok(shown)
    }

    async fn place_of(&self, commitment: Option<Commitment>) -> Result<Option<i64>> {
        let Some(commitment) = commitment else { return Ok(None) };
        Ok(self.message_named(commitment).await?.map(|named| named.message.conversation_seq))
    }

    /// Whether a message is shown on the one it is about, and has no line of its own.
    pub(crate) async fn is_shown_elsewhere(&self, stored: &StoredMessage) -> Result<bool> {
        let Some(target) = stored.message.target_commitment else { return Ok(false) };
        let target = named(&self.profile.step(), target.into()).await?;
        let (kind, author) = (stored.message.message_type, stored.message.sender.user_id);
        Ok(stored.is_verified() && target.is_some_and(|target| target.obeys(kind, author)))
    }

    /// Tells what a message that was just taken in did to another one.
    pub(crate) async fn tell_of_target(&self, target: Option<Commitment>) -> Result<()> {
        let Some(target) = target else { return Ok(()) };
        if let Some(target) = named(&self.profile.step(), target).await? {
            let message = Box::new(self.folded(target).await?);
            self.tell(ClientEvent::Revised(message));
        }
        Ok(())
    }

    /// A message by its commitment.
    pub(crate) async fn message_named(&self, commitment: Commitment) -> Result<Option<StoredMessage>> {
        named(&self.profile.step(), commitment).await
    }
}

async fn named(step: &Step, commitment: Commitment) -> Result<Option<StoredMessage>> {
    match step.get::<MessageName>(commitment.as_bytes()).await? {
        Some(name) => step.get(&name.message.bytes()).await,
        None => Ok(None),
    }
}

/// Shows on a message what a later one did to it.
fn apply(shown: &mut ShownMessage, made: ShownMessage) {
    let at = made.received_at.unwrap_or(made.sent_at);
    match (made.content.map(|content| content.body), made.kind) {
        (_, MessageKind::Delete) => {
            shown.deleted_at.get_or_insert(at);
            shown.content = None;
            shown.versions.clear();
            shown.reactions.clear();
        }
        (Some(ContentBody::Edit(edit)), _) if shown.deleted_at.is_none() => {
            let before = shown.text().map(str::to_owned);
            if let (Some(before), Some(content)) = (before, &mut shown.content)
                && replace_text(content, edit.text)
            {
                let since = shown.edited_at.unwrap_or(shown.received_at.unwrap_or(shown.sent_at));
                shown.versions.push(Version { text: before, since });
                shown.edited_at = Some(at);
            }
        }
        (Some(ContentBody::Reaction(reaction)), _) if shown.deleted_at.is_none() => {
            react(&mut shown.reactions, made.sender, reaction.emoji, reaction.remove);
        }
        _ => {}
    }
}

fn replace_text(content: &mut Content, new: String) -> bool {
    match &mut content.body {
        ContentBody::Text(text) => text.text = new,
        ContentBody::File(files) => files.text = Some(new),
        _ => return false,
    }
    true
}

fn react(reactions: &mut Vec<Reactions>, user: UserId, emoji: String, remove: bool) {
    let place = reactions.iter().position(|known| known.emoji == emoji);
    match (place, remove) {
        (None, false) => reactions.push(Reactions { emoji, users: vec![user] }),
        (Some(place), _) => {
            if let Some(known) = reactions.get_mut(place) {
                known.users.retain(|known| *known != user);
                if !remove {
                    known.users.push(user);
                }
            }
            reactions.retain(|known| !known.users.is_empty());
        }
        (None, true) => {}
    }
}

#[cfg(test)]
#[path = "revisions_tests.rs"]
mod tests;
