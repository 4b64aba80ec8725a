//! WebSocket frames, and the durable events a device finds when it comes back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Base64, ClientMessageId, ConversationId, DeviceId, DeviceNumber, ErrorCode, IdentityResetId, MessageId,
    Timestamp, UserId,
    account::DeviceKind,
    mark::ReadUpTo,
    message::{EnvelopeType, Message, MessageKind, SendMessage, words},
    presence::{SetStatus, Typing},
};

words! {
    /// What a frame from the server is.
    EventType {
        /// A message with this device's envelope.
        NewMessage = "new_message",
        /// A message of kind `edit`, as a new one.
        MessageEdited = "message_edited",
        /// A message of kind `delete`, as a new one.
        MessageDeleted = "message_deleted",
        /// A held message does not go out: the rules refuse it.
        MessageHeldRefused = "message_held_refused",
        /// A held message has to be sealed anew, and sent again.
        ResealNeeded = "reseal_needed",
        /// A recipient's device has acknowledged a message.
        MessageDelivered = "message_delivered",
        /// Somebody has read a conversation up to a message.
        MessageRead = "message_read",
        /// A conversation was created or changed.
        ConversationUpdated = "conversation_updated",
        /// Somebody joined or left a conversation.
        ParticipantChanged = "participant_changed",
        /// A contact has a new identity key.
        IdentityChanged = "identity_changed",
        /// A contact or the user has a new device manifest.
        ManifestChanged = "manifest_changed",
        /// One of the user's devices was removed: the others sign a manifest without it.
        DeviceRemoved = "device_removed",
        /// The clinic is giving the user a new identity: whose devices are not lost objects.
        IdentityReset = "identity_reset",
        /// A patient has called the clinicians on call. Staff get it, too, and see no more than it says.
        EmergencyOpened = "emergency_opened",
        /// A clinician has acknowledged an emergency.
        EmergencyAcknowledged = "emergency_acknowledged",
        /// The next tier was called, or nobody is left to call.
        EmergencyEscalated = "emergency_escalated",
        /// A clinician has closed an emergency.
        EmergencyClosed = "emergency_closed",
        /// A clinician who does not treat a patient talks to them all the same.
        BreakGlassOpened = "break_glass_opened",
        /// The account was logged in to from a network it was not known to come from.
        NewPlace = "new_place",
        /// Somebody's devices did something out of the ordinary: for the clinic's staff and compliance officers.
        AnomalyRaised = "anomaly_raised",
        /// Somebody has put a file into a conversation.
        FileShared = "file_shared",
        /// A file has a verdict, its first or a newer one, or was released. Moderators and staff hear of infected ones.
        FileScanned = "file_scanned",
        /// A file that was clean is no more: do not open it, delete it.
        FileRecalled = "file_recalled",
        /// The scanner has lost a file's key: whoever uploaded it hands it over anew.
        RescanKeyNeeded = "rescan_key_needed",
        /// The device should publish more one-time keys.
        KeysLow = "keys_low",
        /// The device should publish a new signed prekey.
        RotationDue = "rotation_due",
        /// Older events were dropped after 30 days; restore by history.
        QueueTruncated = "queue_truncated",
        /// Somebody is typing, or has stopped. Not kept.
        TypingIndicator = "typing_indicator",
        /// Somebody is there, or not any more. Not kept.
        UserStatus = "user_status",
        /// All that waited has been sent.
        QueueEmpty = "queue_empty",
        /// The token expires soon: send an `auth` frame.
        SessionExpiring = "session_expiring",
        /// The answer to a frame that succeeded.
        Result = "result",
        /// The answer to a frame that failed: `data` is an error body.
        Error = "error",
    }
}

impl EventType {
    /// The event that carries a message of this kind.
    #[must_use]
    pub const fn of_message(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Edit => Self::MessageEdited,
            MessageKind::Delete => Self::MessageDeleted,
            _ => Self::NewMessage,
        }
    }
}

/// A frame from the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerFrame {
    /// What it is.
    pub r#type: EventType,
    /// Its content, by type.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: Value,
    /// When it was made.
    pub timestamp: Timestamp,
    /// The conversation it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<UserId>,
    /// Durable events only: opaque, ordered per device, acknowledged with an `ack` frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// In answers: the frame's `request_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A libsignal ciphertext for the receiving device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope {
    /// libsignal's message type.
    #[cfg_attr(feature = "openapi", schema(value_type = u8, example = 3))]
    pub r#type: EnvelopeType,
    /// The ciphertext.
    pub content: Base64,
}

/// `data` of `new_message`, `message_edited` and `message_deleted`: the message plus this device's envelope (absent for the sending device).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewMessageEvent {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// The message key for this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
}

/// `data` of `message_delivered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageDelivered {
    /// The message.
    pub message_id: crate::MessageId,
    /// The recipient whose device acknowledged it first.
    pub user_id: UserId,
    /// When.
    pub delivered_at: Timestamp,
}

/// `data` of `participant_changed`: also for who has left. The next message needs a new record seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ParticipantChanged {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who takes part from now on.
    pub joined: Vec<UserId>,
    /// Who takes part no longer.
    pub left: Vec<UserId>,
}

/// `data` of `message_read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageRead {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Who has read: another participant, or the receiving user on another device.
    pub user_id: UserId,
    /// The `conversation_seq` of the last message read; all before it are read too.
    pub up_to: i64,
    /// When.
    pub read_at: Timestamp,
}

/// `data` of `identity_changed`. A hint: the device fetches and checks for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdentityChanged {
    /// Who has a new identity key.
    pub user_id: UserId,
    /// Counts the user's identities from 1.
    pub identity_seq: u32,
}

words! {
    /// How far a new identity for somebody has come.
    ResetStage {
        /// One person of the clinic has asked for it.
        Asked = "asked",
        /// Another has approved it: the invitation is out.
        Approved = "approved",
        /// It was stopped, by the clinic or by the person: it comes to nothing.
        Cancelled = "cancelled",
    }
}

/// `data` of `identity_reset`, on the devices that it will end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdentityReset {
    /// Whose identity: the receiving user's.
    pub user_id: UserId,
    /// The reset.
    pub reset_id: IdentityResetId,
    /// How far it has come.
    pub stage: ResetStage,
    /// From when it comes to nothing.
    pub expires_at: Timestamp,
}

/// `data` of `manifest_changed`. A hint: the device fetches and checks for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManifestChanged {
    /// Who has a new manifest.
    pub user_id: UserId,
    /// Its version.
    pub version: u32,
    /// On the user's other devices, when the manifest has a new history key: the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_key: Option<SentHistoryKey>,
}

/// `data` of `device_removed`, on the user's other messaging devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceRemoved {
    /// The number of the device that is gone.
    pub device_id: DeviceNumber,
}

/// `data` of `new_place`, on the user's other messaging devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewPlace {
    /// The device that was logged in: its name is in the list of devices, where it can be removed, too.
    pub device: DeviceId,
    /// What it is.
    pub kind: DeviceKind,
    /// When.
    pub at: Timestamp,
}

/// A history key that one device of a user sends to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentHistoryKey {
    /// The device that made the manifest.
    pub device_id: DeviceNumber,
    /// The key, encrypted in the session between the two.
    pub envelope: Envelope,
}

/// `data` of `keys_low`: what is left of the device's one-time keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeysLow {
    /// One-time EC prekeys left.
    pub pre_key_count: u32,
    /// One-time Kyber prekeys left.
    pub kyber_pre_key_count: u32,
}

/// `data` of `rotation_due`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotationDue {
    /// When the device's signed prekey was published.
    pub signed_pre_key_at: Timestamp,
    /// When senders stop getting it, and the device can no longer send.
    pub expires_at: Timestamp,
}

/// `data` of `message_held_refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldRefused {
    /// The message.
    pub message_id: MessageId,
    /// The device's name for it.
    pub client_message_id: ClientMessageId,
    /// As a send would be answered now.
    pub error: ErrorCode,
    /// The same.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: Value,
    /// The policies that decided.
    pub policies: Vec<String>,
}

/// `data` of `reseal_needed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResealNeeded {
    /// The message.
    pub message_id: MessageId,
    /// The device's name for it.
    pub client_message_id: ClientMessageId,
    /// What has changed, as a send would be answered now: `device_mismatch`, `seal_stale` ...; `chain_gap` for those
    /// behind one that came back or was taken back.
    pub error: ErrorCode,
    /// The same.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: Value,
}

/// A frame from a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// Deletes these durable events.
    Ack {
        /// Their ids.
        event_ids: Vec<String>,
    },
    /// Renews the connection's token.
    Auth {
        /// Answered with this.
        #[serde(default)]
        request_id: Option<String>,
        /// A fresh access token of the same device.
        token: String,
    },
    /// Sends a message, as POST /api/chat/conversations/{id}/messages/ does.
    SendMessage {
        /// Answered with this.
        request_id: String,
        /// Where to; may be left out on a conversation's own socket.
        #[serde(default)]
        conversation_id: Option<ConversationId>,
        /// The message.
        data: Box<SendMessage>,
    },
    /// Notes how far the user has read, as POST /api/chat/conversations/{id}/read/ does.
    Read {
        /// Answered with this.
        #[serde(default)]
        request_id: Option<String>,
        /// Which conversation; may be left out on a conversation's own socket.
        #[serde(default)]
        conversation_id: Option<ConversationId>,
        /// How far.
        data: ReadUpTo,
    },
    /// Lets the others of a conversation know that the user is typing.
    Typing {
        /// Answered with this; without one, only a refusal is answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// Which conversation; may be left out on a conversation's own socket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation_id: Option<ConversationId>,
        /// Whether.
        data: Typing,
    },
    /// Says that the user is there. A socket that never does so neither shows its user nor hears of others.
    Status {
        /// Answered with this; without one, only a refusal is answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        /// How.
        data: SetStatus,
    },
}

/// GET /api/chat/events/?after=
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventList {
    /// In order, oldest first.
    pub results: Vec<ServerFrame>,
    /// The last event's id, for the next call's `after`.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
