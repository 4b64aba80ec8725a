//! What a user interface is told as it happens.

use serde::{Deserialize, Serialize};
use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, ErrorBody, MessageId, Timestamp, UserId,
    anomaly::AnomalyRaised,
    break_glass::BreakGlass,
    emergency::EmergencyEvent,
    event::{EventType, NewPlace, ResetStage},
    presence::PresenceStatus,
    vault::FileChanged,
};
use tokio::sync::mpsc;

use crate::{message::ShownMessage, refusal::DecisionVerdict};

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The socket is open.
    Connected,
    /// The socket is closed; the client comes back by itself.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// The socket was replaced by another one of the same device; the client does not come back by itself.
    Replaced,
    /// This device was logged out.
    LoggedOut,
    /// Everything that waited on the server has been shown.
    CaughtUp,
    /// A new message; also one that is not authentic, which its `verification` says.
    Message(Box<ShownMessage>),
    /// A message was edited or deleted, or reacted to: as it is shown now.
    Revised(Box<ShownMessage>),
    /// A message of this device was accepted: it is on the server's disk.
    Accepted(Box<ShownMessage>),
    /// A recipient's device has a message of this user's.
    Delivered {
        /// The conversation.
        conversation: ConversationId,
        /// The message.
        message: MessageId,
        /// The sending device's id for it.
        client_message_id: ClientMessageId,
        /// The recipient.
        user: UserId,
        /// When.
        at: Timestamp,
    },
    /// A message has expired: its content is gone from this device, and is to go from the screen.
    Expired {
        /// The conversation.
        conversation: ConversationId,
        /// The message.
        message: MessageId,
        /// The sending device's id for it.
        client_message_id: ClientMessageId,
    },
    /// Somebody has read a conversation: another participant, or this user on another device.
    Read {
        /// The conversation.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// The number of the last message read.
        up_to: i64,
        /// When.
        at: Timestamp,
    },
    /// Somebody is typing: for six seconds, unless it is said again or they send.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Whether, or whether they have stopped.
        typing: bool,
    },
    /// Somebody is there, or not any more. What was known of everybody ends with [`ClientEvent::Disconnected`].
    Status {
        /// Who.
        user: UserId,
        /// How they are.
        status: PresenceStatus,
        /// Of somebody who has just left, where they show it.
        last_seen_at: Option<Timestamp>,
    },
    /// The server refused a message for good.
    Refused {
        /// The conversation.
        conversation: ConversationId,
        /// The message.
        client_message_id: ClientMessageId,
        /// The server's reason, when it was the server's.
        body: Option<Box<ErrorBody>>,
        /// Whether the clinic's server stands behind the refusal.
        decision: DecisionVerdict,
        /// For people.
        reason: String,
    },
    /// The server holds a message until the conversation opens.
    Held {
        /// The conversation.
        conversation: ConversationId,
        /// The message.
        client_message_id: ClientMessageId,
        /// When it opens, as far as is known.
        until: Timestamp,
    },
    /// A message waits, and why.
    Waiting {
        /// The conversation.
        conversation: ConversationId,
        /// The message.
        client_message_id: ClientMessageId,
        /// For people.
        reason: String,
    },
    /// Somebody's identity key is new: nothing is sent to them until it is confirmed.
    IdentityChanged {
        /// Whose.
        user: UserId,
    },
    /// The user's own messaging devices are others now: the manifest, which one of them signed, says so.
    DevicesChanged {
        /// Linked since.
        added: Vec<DeviceNumber>,
        /// Removed since.
        removed: Vec<DeviceNumber>,
    },
    /// The clinic is giving this account a new identity, because its devices are said to be lost. Whose are not tells
    /// the clinic at once.
    IdentityReset {
        /// How far it has come.
        stage: ResetStage,
        /// From when it comes to nothing.
        expires_at: Timestamp,
    },
    /// An emergency was opened, or has taken a step.
    Emergency {
        /// What the server says of it.
        event: EmergencyEvent,
        /// Whether this user takes part; staff are only told.
        member: bool,
    },
    /// A clinician talks to a patient they do not treat: told to the patient, the staff and the compliance officers.
    BreakGlass {
        /// What the server says of it.
        opened: BreakGlass,
    },
    /// The account was logged in to from a network it was not known to come from.
    NewPlace {
        /// What the server says of it.
        place: NewPlace,
    },
    /// Somebody's devices did something out of the ordinary: told to the clinic's staff and compliance officers.
    AnomalyRaised {
        /// What the server says of it.
        raised: AnomalyRaised,
    },
    /// A file was shared, scanned or recalled, or its key must be handed over anew.
    FileChanged {
        /// Which of them.
        event: EventType,
        /// What the server says of it.
        changed: FileChanged,
    },
    /// A line for a conversation's timeline.
    Timeline {
        /// The conversation.
        conversation: ConversationId,
        /// When.
        at: Timestamp,
        /// What.
        note: TimelineNote,
    },
    /// A conversation is new or has changed.
    ConversationUpdated {
        /// Which.
        conversation: ConversationId,
    },
    /// Events older than 30 days were dropped: read the history.
    QueueTruncated,
    /// Something failed that needs no act of the user's yet.
    Warning {
        /// For people.
        reason: String,
    },
}

/// What a conversation's timeline shows between its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineNote {
    /// Somebody takes part from now on.
    Joined(UserId),
    /// Somebody does not take part any more.
    Left(UserId),
    /// Somebody's identity key is new.
    IdentityChanged(UserId),
    /// The user confirmed somebody's new identity key.
    IdentityConfirmed(UserId),
    /// A record seal of somebody's is not valid.
    SealInvalid {
        /// Whose.
        user: UserId,
        /// What is wrong.
        problem: String,
    },
    /// The server has shown another message under the name of one that is known. The first stays as it was.
    Contradicted {
        /// Whose message it is.
        user: UserId,
        /// Its place in the conversation.
        conversation_seq: i64,
    },
}

/// Events since [`crate::Client::events`] was called, in order.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::UnboundedReceiver<ClientEvent>);

impl Events {
    /// The next event; `None` after the client was shut down.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        self.0.recv().await
    }

    /// An event that is already there.
    pub fn try_next(&mut self) -> Option<ClientEvent> {
        self.0.try_recv().ok()
    }
}

/// Hands each event to everybody who listens.
#[derive(Default)]
pub(crate) struct Listeners(std::cell::RefCell<Vec<mpsc::UnboundedSender<ClientEvent>>>);

impl Listeners {
    pub(crate) fn add(&self) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.borrow_mut().push(sender);
        Events(receiver)
    }

    pub(crate) fn tell(&self, event: &ClientEvent) {
        self.0.borrow_mut().retain(|listener| listener.send(event.clone()).is_ok());
    }
}
