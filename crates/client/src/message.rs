//! A message as it is shown, with everything that was checked about it.

use serde::{Deserialize, Serialize};
use sigilo_seal::{Commitment, Content, ContentBody};
use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, MessageId, Role, Timestamp, UserId,
    message::{Attachment, DeliveryStatus, MessageKind, Priority, ReadMark},
};

/// Whether a message is its sender's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// Every check of the protocol held.
    Verified,
    /// Every check held, under an identity key that the sender had before and the user's devices held to then.
    EarlierIdentity,
    /// Every check held, under an identity key that the user has not confirmed yet.
    UnconfirmedIdentity,
    /// A check failed. The message is shown with the reason, without content that failed it.
    NotAuthentic(NotAuthenticReason),
}

impl Verification {
    /// Whether every check held, under an identity key that the user's devices hold to or held to at its time.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        matches!(self, Self::Verified | Self::EarlierIdentity)
    }
}

/// The first check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NotAuthenticReason {
    /// It came without an envelope for this device.
    #[error("it came without a key for this device")]
    NoEnvelope,
    /// The envelope does not open in the session with the named device.
    #[error("its key does not open in the session with the sender's device: {0}")]
    Envelope(String),
    /// The envelope's plaintext is not a message key.
    #[error("its envelope does not hold a message key")]
    EnvelopeContent,
    /// The session is with another user or device than the message names.
    #[error("it names another sender than the session it came through")]
    Sender,
    /// The sender did not sign it.
    #[error("the sender did not sign it")]
    Signature,
    /// The commitment is not that of the key, the context and the body.
    #[error("its commitment does not match its key and content")]
    Commitment,
    /// The body does not open.
    #[error("its content does not open")]
    Body,
    /// The wrapped key holds another key: the archive would read something else.
    #[error("the archive would read something else")]
    WrappedKey,
    /// The record seal is missing, not signed by the sender, or does not open.
    #[error("its record seal is not valid: {0}")]
    Seal(String),
    /// Its record seal does not open here, and nothing speaks against it.
    #[error("its record seal cannot be checked: {0}")]
    SealUnchecked(String),
    /// The sender's identity key is not known and cannot be fetched.
    #[error("the sender's identity key is not known")]
    UnknownIdentity,
    /// It was signed after the identity key it is signed with was replaced.
    #[error("it is signed with an identity key that the sender had no more")]
    EndedIdentity,
}

impl From<sigilo_seal::NotAuthentic> for NotAuthenticReason {
    fn from(reason: sigilo_seal::NotAuthentic) -> Self {
        use sigilo_seal::NotAuthentic as Seal;
        match reason {
            Seal::Sender => Self::Sender,
            Seal::Signature => Self::Signature,
            Seal::Commitment => Self::Commitment,
            Seal::Body | Seal::Padding => Self::Body,
            Seal::WrappedKey => Self::WrappedKey,
        }
    }
}

/// What the recheck of a record seal said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealVerdict {
    /// Every copy is good, and the members are those this device knows.
    Good,
    /// A copy is bad or missing, or the members are others: the archive may not be what it seems.
    Bad(String),
    /// It could not be checked fully.
    Unchecked(String),
}

/// Whether the server promised to keep the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptVerdict {
    /// The clinic's receipt key signed exactly this message, place and time.
    Verified,
    /// There is none yet: the message has not been accepted.
    Missing,
    /// It does not verify.
    Invalid(String),
}

/// Whether something is missing before a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainVerdict {
    /// It follows the last message of its device that was shown here.
    Continuous,
    /// It is the first of its device this device has seen here, and not the device's first.
    JoinedAt(u64),
    /// This many messages of its device are missing before it.
    Gap(u64),
    /// It is older than one shown before, and the message it follows is not known here.
    Repeated,
    /// It contradicts a message shown before: another one has its number, or stands where it names the one before
    /// it; or it follows a message that does. The one shown first stays as it was.
    Forked,
}

/// A text that a message had before it was edited.
#[derive(Clone, PartialEq, Eq)]
pub struct Version {
    /// The text.
    pub text: String,
    /// Since when it stood.
    pub since: Timestamp,
}

impl std::fmt::Debug for Version {
    /// What patients write reaches no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version").field("since", &self.since).finish_non_exhaustive()
    }
}

/// A reaction, and who gave it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Reactions {
    /// The reaction.
    pub emoji: String,
    /// Who gave it.
    pub users: Vec<UserId>,
}

impl std::fmt::Debug for Reactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactions").field("users", &self.users).finish_non_exhaustive()
    }
}

/// A message as it is shown.
#[derive(Clone, Debug)]
pub struct ShownMessage {
    /// The server's id; absent while the message waits in the outbox.
    pub message_id: Option<MessageId>,
    /// The sending device's id.
    pub client_message_id: ClientMessageId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The place in the conversation; absent while the message waits.
    pub conversation_seq: Option<i64>,
    /// Who sent it.
    pub sender: UserId,
    /// With which device.
    pub device: DeviceNumber,
    /// The sender's name, as the clinic knows them.
    pub sender_name: String,
    /// The sender's role.
    pub sender_role: Role,
    /// Whether the user sent it, from this or another device.
    pub mine: bool,
    /// The kind.
    pub kind: MessageKind,
    /// The priority.
    pub priority: Priority,
    /// Whether the sender woke the recipients with it.
    pub urgent: bool,
    /// What it says; absent when it is not authentic, not understood or expired.
    pub content: Option<Content>,
    /// The files it names, with what the scan says of each, as last heard.
    pub attachments: Vec<Attachment>,
    /// When it disappears for participants: the official time plus the seconds the sender signed. Absent when
    /// never, and while the message waits.
    pub expires_at: Option<Timestamp>,
    /// Whether that time has passed: the content is gone from this device. The clinic's record stays.
    pub expired: bool,
    /// The sender's claim.
    pub sent_at: Timestamp,
    /// The official time; absent while the message waits.
    pub received_at: Option<Timestamp>,
    /// Names the message for replies, edits and reactions; absent while the message is not sealed.
    pub commitment: Option<Commitment>,
    /// The message it is about.
    pub target: Option<Commitment>,
    /// The place of that message in the conversation, when it is known here.
    pub target_seq: Option<i64>,
    /// The message it answers.
    pub reply_to: Option<Commitment>,
    /// The place of that message in the conversation, when it is known here.
    pub reply_to_seq: Option<i64>,
    /// Whether it is its sender's.
    pub verification: Verification,
    /// What the recheck of its record seal said.
    pub seal: SealVerdict,
    /// Whether the server promised to keep it.
    pub receipt: ReceiptVerdict,
    /// Whether something is missing before it.
    pub chain: ChainVerdict,
    /// Whether the server has shown another message under its name since. This one is the first, and stays.
    pub contradicted: bool,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// Which recipients' devices have acknowledged it.
    pub delivered_to: Vec<UserId>,
    /// Who has read it, and when.
    pub read_by: Vec<ReadMark>,
    /// When its author last gave it another text.
    pub edited_at: Option<Timestamp>,
    /// The texts it had before, oldest first.
    pub versions: Vec<Version>,
    /// When its author deleted it: what it said is gone from this device, and stays in the clinic's record.
    pub deleted_at: Option<Timestamp>,
    /// The reactions to it, in the order in which each was first given.
    pub reactions: Vec<Reactions>,
    /// The ids of the rules that allowed it.
    pub policies: Vec<String>,
    /// Why it still waits, or why it failed.
    pub problem: Option<String>,
    /// When it is sent, while it waits for its time.
    pub scheduled_for: Option<Timestamp>,
}

/// More apart than this, both times of a message are shown: 5 minutes.
const CLOCKS_DIFFER_AFTER: std::time::Duration = std::time::Duration::from_secs(5 * 60);

impl ShownMessage {
    /// The text, when it has one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content.as_ref()?.body {
            ContentBody::Text(text) => Some(&text.text),
            ContentBody::Edit(edit) => Some(&edit.text),
            ContentBody::File(files) => files.text.as_deref(),
            _ => None,
        }
    }

    /// Whether every check held.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verification.is_verified()
    }

    /// Whether this device lacks a key to read and check it, and nothing speaks against it. It may be the sender's, or
    /// made up by the server.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.verification, Verification::NotAuthentic(NotAuthenticReason::SealUnchecked(_)))
    }

    /// Whether the sender's claim and the official time are so far apart that both are to be shown.
    #[must_use]
    pub fn clocks_differ(&self) -> bool {
        self.received_at.is_some_and(|received| {
            received.since(self.sent_at).max(self.sent_at.since(received)) > CLOCKS_DIFFER_AFTER
        })
    }
}
