//! Read marks: how far a participant has read, and what is unread for them.

use serde::{Deserialize, Serialize};

use crate::ConversationId;

/// POST /api/chat/conversations/{id}/read/ and the `read` frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadUpTo {
    /// The `conversation_seq` of the last message read; absent: the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<i64>,
}

/// How far the caller has read a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadPosition {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The `conversation_seq` of the last message read. It never goes back.
    pub up_to: i64,
    /// How many messages of others after it count as unread.
    pub unread_count: i64,
}

/// What is unread in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnreadCount {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// How many messages of others the caller has not read: edits, deletes, reactions and profiles do not count.
    pub unread_count: i64,
}

/// GET /api/chat/unread-count/
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnreadCounts {
    /// Over all conversations.
    pub total: i64,
    /// Conversations with something unread.
    pub conversations: Vec<UnreadCount>,
}
