//! Messages: what a device sends, what the server answers, what readers get.

use serde::{Deserialize, Serialize};

use crate::{
    Base64, Base64Array, ClientMessageId, ConversationId, DeviceNumber, FileId, MessageId, Role, SealId,
    Timestamp, UserId, keys::SignatureBytes, seal::KeyIdBytes, vault::ScanStatus,
};

/// A message's commitment C (protocol, "A message").
pub type CommitmentBytes = Base64Array<32>;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:tt,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in JSON and inside signed statements.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
                    .ok_or_else(|| format!("'{text}' is not one of {}",
                        Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", ")))
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a message is, visible to the server.
    MessageKind {
        /// Text.
        Text = "text",
        /// A document.
        File = "file",
        /// A picture.
        Image = "image",
        /// A voice message.
        Audio = "audio",
        /// A film.
        Video = "video",
        /// A place.
        Location = "location",
        /// An appointment.
        Appointment = "appointment",
        /// A prescription.
        Prescription = "prescription",
        /// Title, description, tags of the conversation.
        Profile = "profile",
        /// A reaction to a message.
        Reaction = "reaction",
        /// A new text for a message.
        Edit = "edit",
        /// A wish to hide a message.
        Delete = "delete",
    }
}

impl MessageKind {
    /// Kinds that name another message as their target.
    #[must_use]
    pub const fn needs_target(self) -> bool {
        matches!(self, Self::Reaction | Self::Edit | Self::Delete)
    }

    /// Kinds whose content has a place for files of the vault.
    #[must_use]
    pub const fn carries_files(self) -> bool {
        matches!(
            self,
            Self::File | Self::Image | Self::Audio | Self::Video | Self::Prescription | Self::Profile
        )
    }

    /// Kinds that count as unread for their receivers.
    #[must_use]
    pub const fn counts_as_unread(self) -> bool {
        !matches!(self, Self::Reaction | Self::Edit | Self::Delete | Self::Profile)
    }
}

words! {
    /// How pressing a message is.
    #[derive(Default)]
    Priority {
        /// Low.
        Low = "low",
        /// Normal.
        #[default]
        Normal = "normal",
        /// High.
        High = "high",
        /// Urgent.
        Urgent = "urgent",
    }
}

words! {
    /// When the server hands a message on.
    #[derive(Default)]
    Deliver {
        /// At once.
        #[default]
        Now = "now",
        /// At the next opening of the chat hours.
        WhenOpen = "when_open",
    }
}

words! {
    /// How far a message has come.
    DeliveryStatus {
        /// Stored by the server.
        Sent = "sent",
        /// Acknowledged by a device of every recipient.
        Delivered = "delivered",
        /// Read by every recipient.
        Read = "read",
        /// Refused after it was accepted.
        Failed = "failed",
        /// Waiting for the chat hours to open.
        Held = "held",
    }
}

/// libsignal's message types inside an envelope: 2 a message of an open session, 3 one that opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnvelopeType {
    /// A SignalMessage.
    Message,
    /// A PreKeySignalMessage.
    PreKeyMessage,
}

impl EnvelopeType {
    /// libsignal's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Message => 2,
            Self::PreKeyMessage => 3,
        }
    }

    /// `None` for any other number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::Message),
            3 => Some(Self::PreKeyMessage),
            _ => None,
        }
    }
}

impl Serialize for EnvelopeType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for EnvelopeType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::from_number(number).ok_or_else(|| serde::de::Error::custom("an envelope's type is 2 or 3"))
    }
}

/// A reference to a file of the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AttachmentRef {
    /// The file.
    pub file_id: FileId,
    /// SHA-256 of the encrypted blob.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub sha256: Base64Array<32>,
}

/// The message key for one device, encrypted by libsignal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecipientEnvelope {
    /// The recipient.
    pub user_id: UserId,
    /// The recipient's device.
    pub device_id: DeviceNumber,
    /// The registration id the sender knows for that device.
    pub registration_id: u32,
    /// libsignal's message type.
    #[cfg_attr(feature = "openapi", schema(value_type = u8, example = 3))]
    pub r#type: EnvelopeType,
    /// libsignal's ciphertext, at most 8 KiB.
    pub content: Base64,
}

/// POST /api/chat/conversations/{id}/messages/ and the `send_message` frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// The device's name for the message; the key of its idempotency.
    pub client_message_id: ClientMessageId,
    /// The kind.
    pub message_type: MessageKind,
    /// The priority.
    #[serde(default)]
    pub priority: Priority,
    /// The sender's clock: at most 2 minutes ahead, at most 7 days back.
    pub sent_at: Timestamp,
    /// The number of this message among those this device sent here, from 1.
    pub device_seq: u64,
    /// The commitment of this device's previous message here; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub prev_commitment: Option<CommitmentBytes>,
    /// The commitment of the newest message this device has shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub seen_commitment: Option<CommitmentBytes>,
    /// The encrypted, padded content.
    pub body: Base64,
    /// The commitment C.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub commitment: CommitmentBytes,
    /// The signature S.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
    /// The record seal whose archive key wraps the message key.
    pub seal_id: SealId,
    /// The wrapped message key W.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub wrapped_key: Base64Array<48>,
    /// For edit, delete, reaction: the commitment of the message they are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub target_commitment: Option<CommitmentBytes>,
    /// The commitment of the message this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub reply_to_commitment: Option<CommitmentBytes>,
    /// Files of the vault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentRef>,
    /// Whether recipients are woken with an urgent push.
    #[serde(default)]
    pub urgent: bool,
    /// When the server hands it on.
    #[serde(default)]
    pub deliver: Deliver,
    /// Seconds after which it disappears for participants; 0 or absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
    /// One envelope a current device of every participant but the sending one.
    pub envelopes: Vec<RecipientEnvelope>,
}

/// The server's signed statement that it stored a message (protocol, "Receipt"). The fields the statement
/// also covers but that stand beside it (tenant, conversation, C, S, W) are not repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// The leaf hash of the audit entry.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub audit_leaf: Base64Array<32>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// SHA-256 of the policy set in force.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub policy_set: Base64Array<32>,
    /// The id of the receipt key's root statement.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub key_id: KeyIdBytes,
    /// The receipt key's Ed25519 signature.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
}

/// The answer to a send: given after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// The server's id.
    pub message_id: MessageId,
    /// The message's place in the conversation, contiguous from 1.
    pub conversation_seq: i64,
    /// The official time.
    pub received_at: Timestamp,
    /// The signed receipt.
    pub receipt: Receipt,
}

/// The answer to a send with `deliver: when_open` while the conversation is closed: its number and receipt are given
/// when it is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Held {
    /// The server's id, which stays.
    pub message_id: MessageId,
    /// `held`.
    pub delivery_status: DeliveryStatus,
    /// Since when.
    pub held_at: Timestamp,
    /// When the conversation opens, as far as is known.
    pub release_at: Timestamp,
}

/// What becomes of a send that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Taken {
    /// It is stored.
    Accepted(Accepted),
    /// It waits for the opening.
    Held(Held),
}

/// Who sent a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sender {
    /// The user.
    pub user_id: UserId,
    /// The user's device.
    pub device_id: DeviceNumber,
    /// The name the clinic knows them by.
    pub full_name: String,
    /// Their role.
    pub user_type: Role,
}

/// A file a message refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attachment {
    /// The file.
    pub file_id: FileId,
    /// SHA-256 of the encrypted blob.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub sha256: Base64Array<32>,
    /// What the scan says of it by now. Whether it is given out, [`crate::vault::StoredFile`] says.
    pub status: ScanStatus,
}

/// Who has read a message, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadMark {
    /// The reader.
    pub user_id: UserId,
    /// When.
    pub read_at: Timestamp,
}

/// A message of kind `edit` about another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Edit {
    /// The edit.
    pub message_id: MessageId,
    /// Its commitment.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub commitment: CommitmentBytes,
    /// When it was accepted.
    pub edited_at: Timestamp,
}

/// A stored message as participants read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// The server's id.
    pub id: MessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The place in the conversation, contiguous from 1.
    pub conversation_seq: i64,
    /// The sending device's id for it.
    pub client_message_id: ClientMessageId,
    /// Who sent it.
    pub sender: Sender,
    /// The kind.
    pub message_type: MessageKind,
    /// The priority.
    pub priority: Priority,
    /// The sender's claim.
    pub sent_at: Timestamp,
    /// The official time.
    pub received_at: Timestamp,
    /// The number among those its device sent here.
    pub device_seq: u64,
    /// That device's previous message here.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub prev_commitment: Option<CommitmentBytes>,
    /// The newest message its device had shown.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub seen_commitment: Option<CommitmentBytes>,
    /// The message it is about.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub target_commitment: Option<CommitmentBytes>,
    /// The message it answers.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Byte))]
    pub reply_to_commitment: Option<CommitmentBytes>,
    /// The encrypted, padded content.
    pub body: Base64,
    /// The commitment C.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub commitment: CommitmentBytes,
    /// The signature S.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: SignatureBytes,
    /// The record seal.
    pub seal_id: SealId,
    /// The wrapped message key W.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub wrapped_key: Base64Array<48>,
    /// Files of the vault.
    pub attachments: Vec<Attachment>,
    /// Flag of the signed context: woken with an urgent push.
    pub urgent: bool,
    /// Flag of the signed context: was to be held until the hours open.
    pub deliver: Deliver,
    /// Of the signed context: seconds until it disappears; 0: never.
    pub expires_in_s: u64,
    /// How far it has come.
    pub delivery_status: DeliveryStatus,
    /// Who has read it.
    pub read_by: Vec<ReadMark>,
    /// The edits of it, oldest first: the last one's text is in force.
    #[serde(default)]
    pub edited_by: Vec<Edit>,
    /// When its author deleted it: it is to be hidden, and what it said stays in the record.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
    /// When it disappears for participants.
    pub expires_at: Option<Timestamp>,
    /// The kind of client that sent it, when it said so.
    pub source: Option<String>,
    /// Whether a program wrote it.
    pub is_automated: bool,
    /// The server's receipt.
    pub receipt: Receipt,
}

/// GET /api/chat/conversations/{id}/messages/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageList {
    /// Newest first unless asked otherwise.
    pub results: Vec<Message>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
