//! The calls that find people, conversations and messages.

use sigilo_wire::{
    conversation::{ContactList, ConversationList},
    message::MessageList,
};

use super::{Api, calls::escape};
use crate::{
    Result,
    finding::{ContactFilter, ConversationFilter, MetadataSearch},
};

impl Api {
    pub(crate) async fn contacts(&self, filter: &ContactFilter, cursor: Option<&str>) -> Result<ContactList> {
        let mut query = Query::new("/api/chat/contacts/", cursor);
        query.add("q", filter.name.as_deref()).add("role", filter.role);
        self.get(&query.path).await
    }

    pub(crate) async fn conversations(
        &self,
        filter: &ConversationFilter,
        cursor: Option<&str>,
    ) -> Result<ConversationList> {
        let mut query = Query::new("/api/chat/conversations/", cursor);
        query
            .add("type", filter.kind)
            .add("with_user", filter.with_user)
            .add("include_archived", filter.archived.then_some(true))
            .add("participant_type", filter.participant_role)
            .add("related_appointment", filter.related_appointment)
            .add("has_unread", filter.has_unread)
            .add("updated_since", filter.updated_since)
            .add("ordering", filter.oldest_first.then_some("updated_at"));
        self.get(&query.path).await
    }

    pub(crate) async fn search_messages(
        &self,
        search: &MetadataSearch,
        cursor: Option<&str>,
    ) -> Result<MessageList> {
        let mut query = Query::new("/api/chat/search/", cursor);
        query
            .add("with_user", search.with_user)
            .add("from", search.from)
            .add("to", search.to)
            .add("message_type", search.kind)
            .add("priority", search.priority)
            .add("has_attachments", search.has_attachments)
            .add("file_type", search.file_type);
        self.get(&query.path).await
    }
}

/// A path with what narrows its answer.
pub(super) struct Query {
    pub(super) path: String,
}

impl Query {
    pub(super) fn new(path: &str, cursor: Option<&str>) -> Self {
        let mut query = Self { path: format!("{path}?page_size=100") };
        query.add("cursor", cursor);
        query
    }

    fn add(&mut self, name: &str, value: Option<impl ToString>) -> &mut Self {
        if let Some(value) = value {
            self.path.push_str(&format!("&{name}={}", escape(&value.to_string())));
        }
        self
    }
}
