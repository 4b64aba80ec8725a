//! Conversations and who takes part in them.

use serde::{Deserialize, Serialize};

use crate::{
    AppointmentId, ConversationId, Role, Timestamp, UserId,
    message::{Message, Priority, words},
};

words! {
    /// What a conversation is for.
    ConversationType {
        /// Two people; a pair is unique.
        Direct = "direct",
        /// About one appointment or treatment.
        Consultation = "consultation",
        /// A care team: clinicians, and at most one patient whom all of them treat.
        Group = "group",
        /// With the clinic's staff, who see no clinical conversation.
        Administrative = "administrative",
    }
}

words! {
    /// Whether a conversation takes new messages.
    ConversationStatus {
        /// It does.
        Active = "active",
        /// Closed by a clinician.
        Closed = "closed",
    }
}

words! {
    /// What a participant may do within a conversation.
    ParticipantRole {
        /// Takes part.
        Participant = "participant",
        /// Also changes its settings and members.
        Moderator = "moderator",
    }
}

/// What the server knows of a conversation's purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationMetadata {
    /// The appointment it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related_appointment_id: Option<AppointmentId>,
    /// A word such as `follow_up`, at most 40 characters of a-z, 0-9 and _.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consultation_type: Option<String>,
    /// The priority.
    #[serde(default)]
    pub priority: Priority,
}

/// POST /api/chat/conversations/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateConversation {
    /// The type.
    pub r#type: ConversationType,
    /// The other participants (the caller is one already).
    pub participants: Vec<UserId>,
    /// What it is for.
    #[serde(default)]
    pub metadata: ConversationMetadata,
}

/// POST /api/chat/conversations/{id}/participants/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AddParticipants {
    /// Whom to add: 1 to 49 people. Those who take part already stay.
    pub user_ids: Vec<UserId>,
}

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Participant {
    /// The person.
    pub user_id: UserId,
    /// Their role in the clinic.
    pub user_type: Role,
    /// The name the clinic knows them by.
    pub full_name: String,
    /// Their role in the conversation.
    pub role: ParticipantRole,
    /// Since when.
    pub joined_at: Timestamp,
    /// Whether they may leave; whoever started it may not.
    #[serde(default = "yes")]
    pub can_leave: bool,
}

const fn yes() -> bool {
    true
}

/// A conversation as a participant sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conversation {
    /// The conversation.
    pub id: ConversationId,
    /// The type.
    pub r#type: ConversationType,
    /// Whether it takes new messages.
    pub status: ConversationStatus,
    /// What it is for.
    pub metadata: ConversationMetadata,
    /// The current participants.
    pub participants: Vec<Participant>,
    /// Who started it.
    pub created_by: UserId,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last changed or took a message.
    pub updated_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// How many messages it holds.
    pub total_messages: i64,
    /// The newest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
}

/// GET /api/chat/conversations/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConversationList {
    /// Newest change first.
    pub results: Vec<Conversation>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// A person the caller may start a conversation with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contact {
    /// The person.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// A clinician's speciality.
    pub speciality: Option<String>,
    /// The policies that allow it.
    pub why: Vec<String>,
}

/// GET /api/chat/contacts/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContactList {
    /// The people.
    pub results: Vec<Contact>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
