//! What the chat says: to people as lines, to programs as JSON.

use serde::Serialize;
use serde_json::Value;
use sigilo_client::{
    ChainVerdict, Error as ClientError, Finding, Me, ReceiptVerdict, SafetyNumber, SealVerdict, ShownMessage,
    Verification,
};
use sigilo_seal::RootFingerprint;
use sigilo_wire::{
    ClientMessageId, ConversationId, MessageId, Role, Timestamp, UserId,
    conversation::Contact,
    message::DeliveryStatus,
    mfa::MfaStatus,
    presence::{PresenceStatus, Privacy},
};

/// One thing to show.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Output {
    /// The profile is open.
    Ready {
        user_id: UserId,
        name: String,
        role: Role,
        /// The pinned root's fingerprint, hexadecimal.
        root: String,
        /// The same in the groups of the root card.
        root_card: String,
    },
    /// The socket is open.
    Connected,
    /// The socket is closed.
    Disconnected { reason: String },
    /// Everything that waited has been shown.
    CaughtUp,
    /// A message, received or sent.
    Message(Box<MessageLine>),
    /// A message of ours has reached somebody.
    Delivered { message_id: MessageId, user_id: UserId, name: String },
    /// A message's content is gone: its time was over.
    Expired { message_id: MessageId, client_message_id: ClientMessageId },
    /// A message waits.
    Waiting { client_message_id: ClientMessageId, reason: String },
    /// A message is sent at its time, unless it is taken back.
    Scheduled { client_message_id: ClientMessageId, at: Timestamp },
    /// What is scheduled in the open conversation, in the order of its numbers.
    ScheduledList { results: Vec<MessageLine> },
    /// A message was refused for good.
    Refused {
        client_message_id: ClientMessageId,
        reason: String,
        code: Option<String>,
        policies: Vec<String>,
        details: Value,
    },
    /// People to write to.
    Contacts { results: Vec<Contact> },
    /// Conversations, numbered.
    Conversations { results: Vec<ConversationLine> },
    /// A conversation is open now.
    Opened(ConversationLine),
    /// The last messages.
    History { results: Vec<MessageLine> },
    /// Older messages were read.
    Restored { messages: usize },
    /// The safety number with a person.
    SafetyNumber { user_id: UserId, name: String, digits: String, verified: bool, changed: bool },
    /// A person's identity is confirmed.
    Confirmed { user_id: UserId, name: String },
    /// Somebody's identity key has changed.
    IdentityChanged { user_id: UserId, name: String },
    /// What a receipt's check said.
    Receipt { message_id: MessageId, conversation_seq: i64, verdict: ReceiptVerdict, policies: Vec<String> },
    /// A text is held back until the sender says so: what was found in it.
    Held { findings: Vec<Finding> },
    /// How the account's authenticator app stands.
    Mfa(MfaStatus),
    /// An authenticator app to enrol.
    Enrolment { secret: String, uri: String },
    /// Codes in place of the app's.
    RecoveryCodes { codes: Vec<String> },
    /// Somebody is typing, or has stopped.
    Typing { conversation_id: ConversationId, user_id: UserId, name: String, typing: bool },
    /// How somebody is.
    Status { user_id: UserId, name: String, status: PresenceStatus, last_seen_at: Option<Timestamp> },
    /// What others may notice.
    Privacy(Privacy),
    /// Who is typing is proven.
    Proven { until: Timestamp },
    /// Something worth knowing.
    Note { text: String },
    /// What can be typed.
    Help,
    /// A command failed.
    Error { code: Option<String>, message: String, policies: Vec<String>, details: Value },
    /// The end.
    Bye,
}

/// A message as a line.
#[derive(Debug, Serialize)]
pub(super) struct MessageLine {
    pub conversation_id: ConversationId,
    pub message_id: Option<MessageId>,
    pub client_message_id: ClientMessageId,
    pub conversation_seq: Option<i64>,
    pub sender_id: UserId,
    pub sender_name: String,
    pub sender_role: Role,
    pub mine: bool,
    pub text: Option<String>,
    pub kind: String,
    pub sent_at: Timestamp,
    pub received_at: Option<Timestamp>,
    pub verification: Verification,
    pub seal: SealVerdict,
    pub receipt: ReceiptVerdict,
    pub chain: ChainVerdict,
    pub status: DeliveryStatus,
    pub policies: Vec<String>,
    pub problem: Option<String>,
    pub expires_at: Option<Timestamp>,
    pub expired: bool,
    pub scheduled_for: Option<Timestamp>,
    /// What the local filters find in a text of ours. Empty for the messages of others.
    pub findings: Vec<Finding>,
    /// Whether it came just now, rather than from the history.
    pub live: bool,
}

/// A conversation as a line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ConversationLine {
    pub number: usize,
    pub conversation_id: ConversationId,
    pub with: Vec<String>,
    pub kind: String,
    pub total_messages: i64,
}

impl MessageLine {
    pub(super) fn of(message: &ShownMessage, live: bool) -> Self {
        Self {
            conversation_id: message.conversation_id,
            message_id: message.message_id,
            client_message_id: message.client_message_id,
            conversation_seq: message.conversation_seq,
            sender_id: message.sender,
            sender_name: message.sender_name.clone(),
            sender_role: message.sender_role,
            mine: message.mine,
            text: message.text().map(str::to_owned),
            kind: message.kind.to_string(),
            sent_at: message.sent_at,
            received_at: message.received_at,
            verification: message.verification.clone(),
            seal: message.seal.clone(),
            receipt: message.receipt.clone(),
            chain: message.chain.clone(),
            status: message.status,
            policies: message.policies.clone(),
            problem: message.problem.clone(),
            expires_at: message.expires_at,
            expired: message.expired,
            scheduled_for: message.scheduled_for,
            findings: message.text().filter(|_| message.mine).map(sigilo_client::review).unwrap_or_default(),
            live,
        }
    }
}

impl Output {
    pub(super) fn ready(me: &Me, root: &RootFingerprint) -> Self {
        Self::Ready {
            user_id: me.user,
            name: me.full_name.clone(),
            role: me.role,
            root: crate::audit::hex(&root.0),
            root_card: crate::people::RootCard::groups_of(root),
        }
    }

    pub(super) fn error(error: &ClientError) -> Self {
        match error {
            ClientError::Server { body, .. } => Self::Error {
                code: Some(body.error.to_string()),
                message: body.message.clone(),
                policies: body.policies.clone(),
                details: body.details.clone(),
            },
            other => Self::Error {
                code: None,
                message: other.to_string(),
                policies: Vec::new(),
                details: Value::Null,
            },
        }
    }

    pub(super) fn safety_number(user_id: UserId, name: String, number: &SafetyNumber) -> Self {
        Self::SafetyNumber {
            user_id,
            name,
            digits: number.groups().join(" "),
            verified: number.verified,
            changed: number.changed,
        }
    }
}
