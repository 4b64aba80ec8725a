//! The history of a device that has the keys and not the messages: read from the server, newest first, conversation
//! after conversation, every message checked as if it had come live.
//!
//! How far each conversation has been read is kept in the same file as the messages. A reading that was cut goes on
//! where it stopped; one that had come to its end reads, when it is asked again, only what is newer.

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use sigilo_wire::{ConversationId, ErrorCode};

use crate::{
    Client, Error, Result,
    engine::Engine,
    finding::ConversationFilter,
    profile::{
        Record,
        records::{ConversationRecord, ONLY},
    },
};

/// How far the reading of the history has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Conversations read to their end.
    pub conversations_done: usize,
    /// Conversations to read.
    pub conversations: usize,
    /// Messages read.
    pub messages_done: u64,
    /// Messages to read, as far as known before: those that expired and those from before the user joined count
    /// until their conversation is done.
    pub messages: u64,
    /// How many of those read were not on this device.
    pub new: u64,
}

impl RestoreProgress {
    /// Whether everything has been read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.conversations_done == self.conversations
    }
}

/// How far the reading of a conversation has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    conversation: ConversationId,
    /// Where the last page of messages ended.
    cursor: Option<String>,
    /// Where the last page of record seals ended.
    seals: Option<String>,
    /// The place of the newest message of this reading; 0 before the first page.
    newest: i64,
    /// The oldest place of the last page; of none before the first.
    #[serde(default)]
    oldest: Option<i64>,
    /// Up to here the conversation was read before.
    floor: i64,
    done: bool,
    /// Messages read, to be read and new, since the reading of all conversations began.
    read: u64,
    expected: u64,
    new: u64,
}

impl Record for Reading {
    const TABLE: &'static str = "reading";

    fn key(&self) -> Vec<u8> {
        self.conversation.as_bytes().to_vec()
    }
}

/// There: the history has to be read, because this device is new or something was dropped on the way to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RestoreDue {}

impl Record for RestoreDue {
    const TABLE: &'static str = "restore_due";

    fn key(&self) -> Vec<u8> {
        ONLY.to_vec()
    }
}

impl Client {
    /// Reads the history of all conversations from the server into this device, through the record seals, newest
    /// first. `progress` is told after each page. Other acts go on meanwhile. When it is cut, by an error or by the
    /// end of the program, calling it again goes on where it stopped.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn restore(
        &self,
        mut progress: impl FnMut(&RestoreProgress) + Send,
    ) -> Result<RestoreProgress> {
        let mut now = self.act(|engine| async move { engine.begin_restore().await }.boxed_local()).await??;
        progress(&now);
        while !now.is_done() {
            now = self.act(|engine| async move { engine.restore_page().await }.boxed_local()).await??;
            progress(&now);
        }
        Ok(now)
    }

    /// Whether the history has to be read: a reading was cut, or the server dropped events before this device had
    /// them.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn restore_due(&self) -> Result<bool> {
        self.act(|engine| async move { engine.is_restore_due().await }.boxed_local()).await?
    }
}

impl Engine {
    /// Remembers that the history has to be read.
    pub(crate) async fn restore_later(&self) -> Result<()> {
        self.profile.put(&RestoreDue {}).await
    }

    pub(crate) async fn is_restore_due(&self) -> Result<bool> {
        let cut = self.profile.all::<Reading>(b"").await?.iter().any(|reading| !reading.done);
        Ok(cut || self.profile.get::<RestoreDue>(ONLY).await?.is_some())
    }

    /// Plans the reading, or what is left of one that was cut.
    async fn begin_restore(&self) -> Result<RestoreProgress> {
        let all = ConversationFilter { archived: true, ..ConversationFilter::default() };
        let conversations = self.fetch_conversations(&all).await?;
        let step = self.profile.step();
        let cut = self.profile.all::<Reading>(b"").await?.iter().any(|reading| !reading.done);
        for conversation in &conversations {
            let known: Option<Reading> = self.profile.get(conversation.id.as_bytes()).await?;
            let floor = match known {
                // What is newer than a conversation's own reading is read after what was cut.
                Some(_) if cut => continue,
                Some(reading) => reading.floor.max(reading.newest),
                None => 0,
            };
            step.put(&Reading {
                conversation: conversation.id,
                cursor: None,
                seals: None,
                newest: 0,
                oldest: None,
                floor,
                done: conversation.total_messages <= floor,
                read: 0,
                expected: u64::try_from(conversation.total_messages - floor).unwrap_or(0),
                new: 0,
            })?;
        }
        if !cut {
            step.delete::<RestoreDue>(ONLY);
        }
        step.commit().await?;
        self.restore_progress().await
    }

    async fn restore_progress(&self) -> Result<RestoreProgress> {
        let mut progress = RestoreProgress::default();
        for reading in self.profile.all::<Reading>(b"").await? {
            progress.conversations += 1;
            progress.conversations_done += usize::from(reading.done);
            progress.messages_done += if reading.done { reading.expected } else { reading.read };
            progress.messages += reading.expected.max(reading.read);
            progress.new += reading.new;
        }
        Ok(progress)
    }

    /// Reads one page of the conversation that changed last among those not read yet.
    async fn restore_page(&self) -> Result<RestoreProgress> {
        let mut left = self.profile.all::<Reading>(b"").await?;
        left.retain(|reading| !reading.done);
        let mut changed = Vec::with_capacity(left.len());
        for reading in left {
            let known: Option<ConversationRecord> = self.profile.get(reading.conversation.as_bytes()).await?;
            changed.push((known.map(|known| known.conversation.updated_at), reading));
        }
        // One that was begun is read to its end first.
        let next = changed.into_iter().max_by_key(|(at, reading)| (reading.cursor.is_some(), *at));
        if let Some((_, reading)) = next {
            let reading = self.read_on(reading).await?;
            self.profile.put(&reading).await?;
        }
        self.restore_progress().await
    }

    async fn read_on(&self, mut reading: Reading) -> Result<Reading> {
        let conversation = reading.conversation;
        let page = match self.api.messages(conversation, reading.cursor.as_deref()).await {
            // Left meanwhile: there is nothing more to read.
            Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                return Ok(Reading { done: true, ..reading });
            }
            other => other?,
        };
        let more = page.has_more && page.next_cursor.is_some() && !page.results.is_empty();
        let oldest = page.results.iter().map(|message| message.conversation_seq).min();
        let mut messages = page.results;
        messages.retain(|m| m.conversation_id == conversation && m.conversation_seq > reading.floor);
        reading.seals = self.take_seals(conversation, &messages, reading.seals.take()).await?;
        reading.newest = messages.iter().map(|m| m.conversation_seq).fold(reading.newest, i64::max);
        reading.read += u64::try_from(messages.len()).map_err(Error::internal)?;
        // A page that is taken in twice, because the cut came between here and the cursor, changes nothing.
        reading.new += self.receive_page(messages).await?;
        reading.cursor = page.next_cursor;
        // A server whose pages do not lead back has nothing more to give.
        let goes_back = oldest.is_some_and(|oldest| reading.oldest.is_none_or(|before| oldest < before));
        reading.oldest = oldest;
        reading.done = !more || !goes_back || oldest.is_some_and(|oldest| oldest <= reading.floor + 1);
        Ok(reading)
    }
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
