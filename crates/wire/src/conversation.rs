//! Conversations and who takes part in them.

use serde::{Deserialize, Serialize};

use crate::{
    AppointmentId, ConversationId, Role, Timestamp, UserId,
    care::CareSource,
    message::{Message, Priority, words},
    presence::Presence,
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
        /// A patient and the clinicians on call: opened with POST /api/chat/emergency/.
        Emergency = "emergency",
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
    /// The caller's own settings. A direct conversation that is there keeps those it has.
    #[serde(default, skip_serializing_if = "ConversationSettingsChange::is_empty")]
    pub settings: ConversationSettingsChange,
}

impl CreateConversation {
    /// One of this type with these people, and nothing said of it.
    #[must_use]
    pub fn of(r#type: ConversationType, participants: Vec<UserId>) -> Self {
        let (metadata, settings) = (ConversationMetadata::default(), ConversationSettingsChange::default());
        Self { r#type, participants, metadata, settings }
    }
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
    /// In an emergency: whether they are of a tier that was not called yet. Seals and envelopes are for them, too; the
    /// server keeps these back until the tier is called.
    #[serde(default, skip_serializing_if = "is_false")]
    pub waiting: bool,
    /// Whether they are there; only where one conversation was asked for, and the caller may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// How the caller sees a conversation: everyone has their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConversationSettings {
    /// Whether new messages wake the caller's devices.
    pub notifications_enabled: bool,
    /// Whether it is put away: lists show it only with `include_archived`.
    pub archived: bool,
}

impl Default for ConversationSettings {
    fn default() -> Self {
        Self { notifications_enabled: true, archived: false }
    }
}

/// What to change of [`ConversationSettings`]; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationSettingsChange {
    /// Whether new messages wake the caller's devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications_enabled: Option<bool>,
    /// Whether it is put away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

impl ConversationSettingsChange {
    /// Whether nothing is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// PUT /api/chat/conversations/{id}/
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateConversation {
    /// The caller's own settings.
    #[serde(default)]
    pub settings: ConversationSettingsChange,
    /// `closed`: nothing and nobody new from now on. For clinicians, and for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ConversationStatus>,
}

/// Whether the caller may do something now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permission {
    /// Yes or no.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// When it will be allowed, where that is a matter of hours.
    pub next_open_at: Option<Timestamp>,
}

/// What the caller may do in a conversation now. A hint for user interfaces: each act is decided on when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permissions {
    /// Send messages.
    pub send: Permission,
    /// Upload files.
    pub upload: Permission,
    /// Edit one's own messages.
    pub edit: Permission,
    /// Delete one's own messages.
    pub delete: Permission,
    /// Add a clinician who treats the patient, if there is one; other people are decided on when they are named.
    pub add_participant: Permission,
    /// Take others out.
    pub remove_participant: Permission,
    /// Leave.
    pub leave: Permission,
    /// Close it for everybody.
    pub close: Permission,
    /// Block the other one; in a larger conversation, somebody of it.
    pub block: Permission,
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
    /// The caller's own settings.
    #[serde(default)]
    pub settings: ConversationSettings,
    /// What the caller may do; only where one conversation was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// How many of them are unread for the caller.
    #[serde(default)]
    pub unread_count: i64,
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
    /// The types of conversation the caller may start with this person alone.
    #[serde(default)]
    pub types: Vec<ConversationType>,
    /// The policies that allow the first of them.
    pub why: Vec<String>,
    /// What makes the care between a patient and a clinician, when one of the two is the caller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub care: Vec<CareSource>,
    /// Whether they are there; where the two share an open conversation, and the caller may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
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
