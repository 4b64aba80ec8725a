//! What the chat says: to people as lines, to programs as JSON.

use std::ops::Range;

use serde::Serialize;
use serde_json::Value;
use sigilo_client::{
    ChainVerdict, Error as ClientError, Finding, Me, Reactions, ReceiptVerdict, RestoreProgress,
    SafetyNumber, SealVerdict, SharedFile, ShownMessage, Verification,
};
use sigilo_seal::{ContentBody, RootFingerprint};
use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, FileId, MessageId, Role, Timestamp, UserId,
    account::Device,
    block::Block,
    conversation::{Contact, ConversationSettings, Participant, ParticipantRole},
    event::{EventType, ResetStage},
    mark::ReadPosition,
    message::{DeliveryStatus, Priority},
    mfa::MfaStatus,
    policy::{Decision, Explanation},
    presence::{Presence, PresenceStatus, Privacy},
    vault::{FileStatus, Handling, ScanStatus},
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
    /// The server holds a message until the conversation opens.
    HeldUntil { client_message_id: ClientMessageId, until: Timestamp },
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
    Restored { messages: u64 },
    /// How far the reading of the history has come.
    Restoring { conversations_done: usize, conversations: usize, messages_done: u64, messages: u64 },
    /// A message as it is after an edit, a delete or a reaction.
    Revised(Box<MessageLine>),
    /// Somebody has read up to a message.
    ReadBy { user_id: UserId, name: String, up_to: i64 },
    /// What we have read.
    Read { position: ReadPosition },
    /// Who takes part.
    Participants { conversation_id: ConversationId, results: Vec<ParticipantLine> },
    /// Whom we have blocked.
    Blocked { results: Vec<Block> },
    /// What the rules would say.
    Explanation(Box<Explanation>),
    /// Our own settings of a conversation.
    Settings { settings: ConversationSettings },
    /// What a search found; not complete when older messages are not in the index.
    Found { results: Vec<FoundLine>, complete: bool },
    /// What the server found by what it sees.
    FoundByServer { results: Vec<FoundByServerLine> },
    /// How far a file is on its way.
    Transfer { name: String, done: u64, total: u64 },
    /// A file was checked and saved; who released it, if something was found in it.
    Saved { path: String, size: u64, released: Option<ReleaseLine> },
    /// The files of the open conversation, numbered.
    Files { results: Vec<FileLine> },
    /// What is known of a file.
    File {
        file_id: FileId,
        scan: ScanStatus,
        status: FileStatus,
        /// What was found in it.
        finding: Option<String>,
        scanned_by: Option<String>,
        scanned_at: Option<Timestamp>,
        released_by: Vec<String>,
        /// Whether the server shows an older verdict than this device has seen.
        older_verdict: bool,
        downloads: u64,
        patient_consents: Option<bool>,
        handling: Handling,
        /// Why it is not opened here.
        problem: Option<String>,
    },
    /// Something happened to a file.
    FileChanged { file_id: FileId, name: String, event: EventType, scan: ScanStatus },
    /// A file that was clean is not any more.
    Recalled { file_id: FileId, text: String },
    /// The files in quarantine.
    Quarantine { results: Vec<QuarantineLine> },
    /// What a message said before it was edited, oldest first.
    Versions { conversation_seq: i64, results: Vec<VersionLine> },
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
    /// What a new device shows to an old one.
    Link { text: String, code: String },
    /// What the old one shows before it links the new one.
    LinkCode { code: String },
    /// A device was linked.
    Linked { device: DeviceNumber },
    /// The account's devices.
    Devices { results: Vec<Device> },
    /// The account's messaging devices are others now.
    DevicesChanged { added: Vec<DeviceNumber>, removed: Vec<DeviceNumber> },
    /// The clinic is giving the account a new identity.
    IdentityReset { stage: ResetStage, expires_at: Timestamp },
    /// Something worth knowing.
    Note { text: String },
    /// Something that may be a fault or a fraud.
    Warning { text: String },
    /// What can be typed.
    Help,
    /// A command failed.
    Error {
        code: Option<String>,
        message: String,
        policies: Vec<String>,
        details: Value,
        /// What the clinic's server signed of it, to keep.
        #[serde(skip_serializing_if = "Option::is_none")]
        decision: Option<Box<Decision>>,
    },
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
    pub priority: Priority,
    pub urgent: bool,
    pub forwarded: bool,
    /// The place of the message it answers.
    pub reply_to_seq: Option<i64>,
    /// The place of the message it is about.
    pub target_seq: Option<i64>,
    pub edited_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub reactions: Vec<Reactions>,
    pub sent_at: Timestamp,
    pub received_at: Option<Timestamp>,
    pub verification: Verification,
    pub seal: SealVerdict,
    pub receipt: ReceiptVerdict,
    pub chain: ChainVerdict,
    pub contradicted: bool,
    pub status: DeliveryStatus,
    pub policies: Vec<String>,
    pub problem: Option<String>,
    /// The files it brings.
    pub files: Vec<MessageFile>,
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
    pub title: Option<String>,
    pub description: String,
    pub tags: Vec<String>,
    pub unread: i64,
    pub muted: bool,
    pub archived: bool,
    pub closed: bool,
}

/// Somebody who takes part, as a line.
#[derive(Debug, Serialize)]
pub(super) struct ParticipantLine {
    pub user_id: UserId,
    pub name: String,
    pub user_type: Role,
    pub role: ParticipantRole,
    /// Whether they may leave.
    pub can_leave: bool,
    /// Whether they are there, and when they were last, as far as they show it.
    pub presence: Option<Presence>,
}

impl From<Participant> for ParticipantLine {
    fn from(participant: Participant) -> Self {
        let Participant { user_id, full_name: name, user_type, role, can_leave, presence, .. } = participant;
        Self { user_id, name, user_type, role, can_leave, presence }
    }
}

/// A message the server found, as a line.
#[derive(Debug, Serialize)]
pub(super) struct FoundByServerLine {
    pub conversation_id: ConversationId,
    /// What its conversation is called.
    pub conversation: String,
    pub message_id: MessageId,
    pub conversation_seq: i64,
    pub sender_id: UserId,
    pub sender_name: String,
    pub kind: String,
    pub priority: Priority,
    pub received_at: Timestamp,
    /// As this device shows it; absent while it has not read it.
    pub message: Option<Box<MessageLine>>,
}

/// A text that a message had, as a line.
#[derive(Debug, Serialize)]
pub(super) struct VersionLine {
    pub text: String,
    pub since: Timestamp,
}

/// A message that was found, as a line.
#[derive(Debug, Serialize)]
pub(super) struct FoundLine {
    pub message: Box<MessageLine>,
    /// What its conversation is called.
    pub conversation: String,
    pub snippet: String,
    /// The words in the snippet, in bytes.
    pub matches: Vec<Range<usize>>,
}

/// A file of a message, as a part of its line.
#[derive(Debug, Serialize)]
pub(super) struct MessageFile {
    pub file_id: FileId,
    pub name: String,
    pub mime: String,
    pub size: u64,
    pub scan: ScanStatus,
}

impl MessageFile {
    fn of(message: &ShownMessage) -> Vec<Self> {
        let scan = |id: FileId| {
            let told = message.attachments.iter().find(|attachment| attachment.file_id == id);
            told.map_or(ScanStatus::Pending, |attachment| attachment.status)
        };
        let files = message.content.iter().flat_map(|content| content.files());
        files
            .map(|file| Self {
                file_id: file.file_id,
                name: file.name.clone(),
                mime: file.mime.clone(),
                size: file.size,
                scan: scan(file.file_id),
            })
            .collect()
    }
}

/// A file of a conversation, as a line.
#[derive(Debug, Serialize)]
pub(super) struct FileLine {
    pub number: usize,
    pub file_id: FileId,
    pub conversation_seq: i64,
    pub sender_id: UserId,
    pub sender_name: String,
    pub name: String,
    pub mime: String,
    pub size: u64,
    pub scan: ScanStatus,
    pub recalled: bool,
    pub received_at: Timestamp,
}

impl FileLine {
    pub(super) fn of(number: usize, file: SharedFile) -> Self {
        Self {
            number,
            file_id: file.file_id,
            conversation_seq: file.conversation_seq,
            sender_id: file.sender,
            sender_name: file.sender_name,
            name: file.name,
            mime: file.mime,
            size: file.size,
            scan: file.scan,
            recalled: file.recalled,
            received_at: file.received_at,
        }
    }
}

/// A finding that two people call false.
#[derive(Debug, Serialize)]
pub(super) struct ReleaseLine {
    pub finding: String,
    pub by: Vec<String>,
}

/// A file in quarantine, as a line.
#[derive(Debug, Serialize)]
pub(super) struct QuarantineLine {
    pub file_id: FileId,
    pub uploader_id: UserId,
    pub uploader: String,
    pub mime_type: String,
    pub length: u64,
    pub scan: ScanStatus,
    /// How many have signed its release.
    pub signatures: usize,
    pub uploaded_at: Timestamp,
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
            text: words(message),
            kind: message.kind.to_string(),
            priority: message.priority,
            urgent: message.urgent,
            forwarded: message.content.as_ref().is_some_and(|content| content.forwarded),
            reply_to_seq: message.reply_to_seq,
            target_seq: message.target_seq,
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
            reactions: message.reactions.clone(),
            sent_at: message.sent_at,
            received_at: message.received_at,
            verification: message.verification.clone(),
            seal: message.seal.clone(),
            receipt: message.receipt.clone(),
            chain: message.chain.clone(),
            contradicted: message.contradicted,
            status: message.status,
            policies: message.policies.clone(),
            problem: message.problem.clone(),
            files: MessageFile::of(message),
            expires_at: message.expires_at,
            expired: message.expired,
            scheduled_for: message.scheduled_for,
            findings: message.text().filter(|_| message.mine).map(sigilo_client::review).unwrap_or_default(),
            live,
        }
    }
}

/// The words of a message, or what it says without them.
fn words(message: &ShownMessage) -> Option<String> {
    if let Some(text) = message.text() {
        return Some(text.to_owned());
    }
    match &message.content.as_ref()?.body {
        ContentBody::Reaction(reaction) if reaction.remove => Some(format!("no more {}", reaction.emoji)),
        ContentBody::Reaction(reaction) => Some(reaction.emoji.clone()),
        ContentBody::Profile(profile) => Some(profile.title.clone()),
        ContentBody::Location(place) => {
            let label = place.label.as_deref().unwrap_or("a place");
            Some(format!("{label} ({}, {})", place.latitude, place.longitude))
        }
        ContentBody::Appointment(appointment) => {
            let text = appointment.text.as_deref().unwrap_or("an appointment");
            Some(format!("{text}: {}", appointment.starts_at))
        }
        ContentBody::Prescription(prescription) => {
            let medications = prescription.medications.iter();
            Some(medications.map(|m| format!("{}: {}", m.name, m.dosage)).collect::<Vec<_>>().join("; "))
        }
        _ => None,
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

    pub(super) fn restoring(progress: &RestoreProgress) -> Self {
        let RestoreProgress { conversations_done, conversations, messages_done, messages, .. } = *progress;
        Self::Restoring { conversations_done, conversations, messages_done, messages }
    }

    pub(super) fn error(error: &ClientError) -> Self {
        match error {
            ClientError::Server { body, .. } => Self::Error {
                code: Some(body.error.to_string()),
                message: body.message.clone(),
                policies: body.policies.clone(),
                details: body.details.clone(),
                decision: body.decision.clone(),
            },
            other => Self::Error {
                code: None,
                message: other.to_string(),
                policies: Vec::new(),
                details: Value::Null,
                decision: None,
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
