//! Text search on the device. The server cannot search what it cannot read.
//!
//! The index is SQLite's FTS5 in memory: filled from the encrypted profile when something is first searched for, kept
//! up with every message from then on, gone with the program. Nothing of it is ever on disk. What it holds are
//! [terms](words), not texts; results are read from the profile again.

mod index;
mod snippet;
#[cfg(test)]
mod tests;
mod words;

use std::{cell::RefCell, collections::HashSet, ops::Range, rc::Rc};

use futures_util::FutureExt as _;
use sigilo_seal::{Commitment, ContentBody};
use sigilo_wire::{ConversationId, Timestamp, UserId};

use self::{
    index::{Entry, Index},
    words::Query,
};
use crate::{
    Client, Error, Result,
    engine::Engine,
    message::ShownMessage,
    profile::{
        Order,
        records::{ConversationRecord, MessageKey, StoredMessage},
    },
};

/// Messages in the index: about 150 MB of memory, when they are of usual length. The newest ones stay.
pub const MAX_INDEXED: usize = 500_000;
/// Stored messages that go into the index in one act.
const FILLED_AT_ONCE: u32 = 256;

/// What is searched for.
#[derive(Clone, Default)]
pub struct SearchQuery {
    /// Words that must all be there. Case and accents do not count, Spanish and English endings do not either. A word
    /// that ends with `*`, and the last one, also match words that begin with them.
    pub text: String,
    /// In this conversation.
    pub conversation: Option<ConversationId>,
    /// By this person.
    pub sender: Option<UserId>,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received before.
    pub to: Option<Timestamp>,
    /// How many at most; 0 stands for 20.
    pub limit: u32,
}

impl std::fmt::Debug for SearchQuery {
    /// What is searched for is as private as what was said.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchQuery")
    }
}

/// A message that was found.
#[derive(Clone, Debug)]
pub struct SearchHit {
    /// The message as it is shown now.
    pub message: ShownMessage,
    /// The part of its text where the words are.
    pub snippet: String,
    /// The words in the snippet, in bytes.
    pub matches: Vec<Range<usize>>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct SearchResults {
    /// Newest first.
    pub hits: Vec<SearchHit>,
    /// Whether every message of this device was searched; otherwise the newest `MAX_INDEXED`.
    pub complete: bool,
}

impl Client {
    /// Searches the messages on this device, newest first. The first search fills the index; other acts go on
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Content`] without a word to search for; those of the profile.
    pub async fn search(&self, query: SearchQuery) -> Result<SearchResults> {
        while self.act(|engine| async move { engine.fill_index().await }.boxed_local()).await?? {}
        self.act(move |engine| async move { engine.search(&query).await }.boxed_local()).await?
    }
}

/// The index of an open profile, once something was searched for.
#[derive(Default)]
pub(crate) struct Search(RefCell<Option<Rc<Open>>>);

struct Open {
    index: Index,
    filling: RefCell<Filling>,
}

/// What is still to be read into the index, newest first.
#[derive(Default)]
struct Filling {
    /// Conversations, and the place before which messages are still missing.
    left: Vec<(ConversationId, i64)>,
    /// Messages that were edited, deleted or reacted to later in the conversation that is being read.
    revised: HashSet<Commitment>,
    /// Whether the index had no room for all.
    cut: bool,
}

impl Engine {
    fn index(&self) -> Option<Rc<Open>> {
        self.search.0.borrow().clone()
    }

    /// Opens the index the first time, and reads some more messages into it. Gives whether there are more.
    pub(crate) async fn fill_index(&self) -> Result<bool> {
        let Some(open) = self.index() else {
            let open = Open { index: Index::open(MAX_INDEXED).await?, filling: RefCell::default() };
            let known = self.profile.all::<ConversationRecord>(b"").await?;
            // Taken from the end: the one that changed last comes first.
            open.filling.borrow_mut().left =
                known.into_iter().map(|record| (record.conversation.id, i64::MAX)).collect();
            self.search.0.replace(Some(Rc::new(open)));
            return Ok(true);
        };
        let Some((conversation, before)) = open.filling.borrow().left.last().copied() else {
            return Ok(false);
        };
        let owner = conversation.as_bytes();
        let page =
            self.profile.list::<StoredMessage>(owner, before, FILLED_AT_ONCE, Order::NewestFirst).await?;
        let reached = page.last().map(|oldest| oldest.message.conversation_seq);
        let room = self.index_page(&open, page).await?;
        let mut filling = open.filling.borrow_mut();
        match reached.filter(|_| room) {
            Some(reached) => filling.left.last_mut().into_iter().for_each(|(_, before)| *before = reached),
            None => {
                filling.left.pop();
                filling.revised.clear();
            }
        }
        if !room {
            filling.cut = true;
            filling.left.clear();
        }
        Ok(!filling.left.is_empty())
    }

    /// Gives whether there is room for more.
    async fn index_page(&self, open: &Open, page: Vec<StoredMessage>) -> Result<bool> {
        let mut entries = Vec::with_capacity(page.len());
        for stored in page {
            if let Some(target) = stored.message.target_commitment {
                open.filling.borrow_mut().revised.insert(target.into());
                continue;
            }
            let key = MessageKey::of(&stored.message);
            let revised = open.filling.borrow().revised.contains(&stored.message.commitment.into());
            let shown = if revised { self.folded(stored).await? } else { self.shown(stored)? };
            entries.extend(entry(&key, &shown));
        }
        open.index.fill(&entries).await
    }

    /// Brings the index up to date with a message that was just kept, changed or erased. An index that fails is thrown
    /// away, and filled anew by the next search: no message waits for it.
    pub(crate) async fn index_message(&self, key: &MessageKey) {
        if let Err(error) = self.try_index(key).await {
            tracing::warn!(%error, "the index of the text search is filled anew");
            self.search.0.replace(None);
        }
    }

    async fn try_index(&self, key: &MessageKey) -> Result<()> {
        let Some(open) = self.index() else { return Ok(()) };
        let Some(stored) = self.profile.get::<StoredMessage>(&key.bytes()).await? else { return Ok(()) };
        let stored = match stored.message.target_commitment {
            None => stored,
            Some(target) => match self.message_named(target.into()).await? {
                Some(target) => target,
                None => return Ok(()),
            },
        };
        let key = MessageKey::of(&stored.message);
        match entry(&key, &self.folded(stored).await?) {
            Some(entry) => open.index.put(&entry).await,
            None => open.index.remove(&key.bytes()).await,
        }
    }

    async fn search(&self, wanted: &SearchQuery) -> Result<SearchResults> {
        let query = Query::of(&wanted.text).ok_or(Error::Content("there is no word to search for"))?;
        let Some(open) = self.index() else { return Ok(SearchResults::default()) };
        let mut hits = Vec::new();
        for key in open.index.find(&query, wanted).await? {
            let Some(stored) = self.profile.get::<StoredMessage>(&key).await? else { continue };
            let message = self.folded(self.unexpired(stored).await?).await?;
            let Some(text) = searchable(&message) else { continue };
            let (snippet, matches) = snippet::of(&text, &query);
            hits.push(SearchHit { message, snippet, matches });
        }
        let complete = !open.filling.borrow().cut && !open.index.has_evicted();
        Ok(SearchResults { hits, complete })
    }
}

fn entry(key: &MessageKey, shown: &ShownMessage) -> Option<Entry> {
    let terms = words::terms(&searchable(shown)?);
    Some(Entry {
        key: key.bytes(),
        conversation: shown.conversation_id,
        sender: shown.sender,
        at: shown.received_at.unwrap_or(shown.sent_at),
        terms,
    })
}

/// The words of a message; `None` when it has none, any more or ever.
fn searchable(shown: &ShownMessage) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    match &shown.content.as_ref()?.body {
        ContentBody::Text(text) => {
            parts.push(&text.text);
            parts.extend(text.medical_terms.iter().map(String::as_str));
        }
        ContentBody::File(files) => {
            parts.extend(files.text.as_deref());
            parts.extend(files.files.iter().map(|file| file.name.as_str()));
        }
        ContentBody::Location(location) => parts.extend(location.label.as_deref()),
        ContentBody::Appointment(appointment) => parts.extend(appointment.text.as_deref()),
        ContentBody::Prescription(prescription) => {
            for medication in &prescription.medications {
                parts.extend([medication.name.as_str(), &medication.dosage]);
            }
            parts.extend(prescription.text.as_deref());
        }
        ContentBody::Edit(_) | ContentBody::Delete | ContentBody::Reaction(_) | ContentBody::Profile(_) => {
            return None;
        }
    }
    Some(parts.join("\n")).filter(|text| !text.is_empty())
}
