//! People, conversations and messages, found by what the server sees of them. What was said it cannot see: that is found
//! on the device ([`Client::search`]).

use futures_util::FutureExt as _;
use sigilo_wire::{
    AppointmentId, ConversationId, MessageId, Role, Timestamp, UserId,
    conversation::{Contact, Conversation, ConversationType},
    message::{Message, MessageKind, Priority},
    vault::DocumentType,
};

use crate::{Client, Error, Result, engine::Engine, message::ShownMessage, profile::records::StoredMessage};

/// More pages than any account has; a bound for a server that never ends.
const MAX_PAGES: usize = 200;
/// Messages found at most unless more are asked for.
const DEFAULT_LIMIT: usize = 50;

/// Which contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactFilter {
    /// Whose name has this in it, in any case, with or without accents.
    pub name: Option<String>,
    /// With this role.
    pub role: Option<Role>,
}

/// Which conversations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversationFilter {
    /// Of this type.
    pub kind: Option<ConversationType>,
    /// With this person.
    pub with_user: Option<UserId>,
    /// Also those the user has put away.
    pub archived: bool,
    /// With somebody else who has this role in the clinic.
    pub participant_role: Option<Role>,
    /// About this appointment.
    pub related_appointment: Option<AppointmentId>,
    /// With something unread, or with nothing.
    pub has_unread: Option<bool>,
    /// Changed at or after this time.
    pub updated_since: Option<Timestamp>,
    /// The oldest change first, instead of the newest.
    pub oldest_first: bool,
}

/// Which messages, over all conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataSearch {
    /// In conversations with this person.
    pub with_user: Option<UserId>,
    /// Received at or after this time.
    pub from: Option<Timestamp>,
    /// Received before this time.
    pub to: Option<Timestamp>,
    /// Of this kind.
    pub kind: Option<MessageKind>,
    /// Of this priority.
    pub priority: Option<Priority>,
    /// With files, or without.
    pub has_attachments: Option<bool>,
    /// With a file of this kind of document.
    pub file_type: Option<DocumentType>,
    /// At most so many, the newest; 50 by default.
    pub limit: usize,
}

impl Default for MetadataSearch {
    fn default() -> Self {
        Self {
            with_user: None,
            from: None,
            to: None,
            kind: None,
            priority: None,
            has_attachments: None,
            file_type: None,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// A message the server found.
#[derive(Clone, Debug)]
pub struct FoundMessage {
    /// The server's id.
    pub message_id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The place in the conversation.
    pub conversation_seq: i64,
    /// Who sent it, as the server says.
    pub sender: UserId,
    /// Their name.
    pub sender_name: String,
    /// The kind.
    pub kind: MessageKind,
    /// The priority.
    pub priority: Priority,
    /// When the server received it.
    pub received_at: Timestamp,
    /// As this device shows it, with every check; absent while it has not read it ([`Client::restore`]).
    pub shown: Option<ShownMessage>,
}

impl Client {
    /// Those the user may start a conversation with who match, and why.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn find_contacts(&self, filter: ContactFilter) -> Result<Vec<Contact>> {
        self.act(move |engine| async move { engine.people(&filter).await }.boxed_local()).await?
    }

    /// The user's conversations that match.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn find_conversations(&self, filter: ConversationFilter) -> Result<Vec<Conversation>> {
        self.act(move |engine| async move { engine.fetch_conversations(&filter).await }.boxed_local()).await?
    }

    /// The newest messages that match, by what the server sees of them, newest first.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn find_messages(&self, search: MetadataSearch) -> Result<Vec<FoundMessage>> {
        self.act(move |engine| async move { engine.find_messages(&search).await }.boxed_local()).await?
    }

    /// A conversation as the server has it now, with who of the others is there, as far as they show it.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation> {
        self.act(move |engine| async move { engine.conversation_now(id).await }.boxed_local()).await?
    }
}

impl Engine {
    async fn find_messages(&self, search: &MetadataSearch) -> Result<Vec<FoundMessage>> {
        let mut found = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = self.api.search_messages(search, cursor.as_deref()).await?;
            for message in page.results {
                if found.len() == search.limit {
                    return Ok(found);
                }
                found.push(self.found(message).await?);
            }
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// What the server says of a message beside what this device knows of it.
    async fn found(&self, message: Message) -> Result<FoundMessage> {
        let stored: Option<StoredMessage> = self.message(message.id).await?;
        let shown = match stored {
            Some(stored) => Some(self.folded(self.unexpired(stored).await?).await?),
            None => None,
        };
        Ok(FoundMessage {
            message_id: message.id,
            conversation_id: message.conversation_id,
            conversation_seq: message.conversation_seq,
            sender: message.sender.user_id,
            sender_name: message.sender.full_name,
            kind: message.message_type,
            priority: message.priority,
            received_at: message.received_at,
            shown,
        })
    }

    async fn conversation_now(&self, id: ConversationId) -> Result<Conversation> {
        let conversation = self.api.conversation(id).await?;
        if conversation.id != id {
            return Err(Error::Answer("another conversation than the one asked for".into()));
        }
        self.adopt_conversation(conversation.clone()).await?;
        Ok(conversation)
    }
}
