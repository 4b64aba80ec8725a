//! A durable event as its device gets it, without a detour over a JSON tree: a stored message is most of what a
//! relay writes.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;
use sigilo_wire::{
    ConversationId, Timestamp, UserId,
    event::{Envelope, EventType, ServerFrame},
    message::Message,
};

use crate::{Error, Result};

/// The frame; written as [`ServerFrame`] is.
#[derive(Clone, Debug, Serialize)]
pub struct EventFrame {
    /// What it is.
    pub r#type: EventType,
    /// Its content.
    pub data: EventData,
    /// When it was made.
    pub timestamp: Timestamp,
    /// The conversation it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Who caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<UserId>,
    /// Its place in the queue, as clients see it.
    pub event_id: String,
}

/// What an event carries.
#[derive(Clone, Debug)]
pub enum EventData {
    /// A message, shared by all who get it, and this device's envelope.
    Message(Arc<Message>, Option<Envelope>),
    /// Anything else.
    Other(Value),
}

impl Serialize for EventData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As `NewMessageEvent`, borrowed.
        #[derive(Serialize)]
        struct NewMessage<'a> {
            #[serde(flatten)]
            message: &'a Message,
            #[serde(skip_serializing_if = "Option::is_none")]
            envelope: Option<&'a Envelope>,
        }
        match self {
            Self::Message(message, envelope) => {
                NewMessage { message, envelope: envelope.as_ref() }.serialize(serializer)
            }
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl EventFrame {
    /// As the list of missed events shows it.
    ///
    /// # Errors
    /// Never: events are plain structures.
    pub(super) fn into_server_frame(self) -> Result<ServerFrame> {
        Ok(ServerFrame {
            r#type: self.r#type,
            data: serde_json::to_value(&self.data).map_err(Error::internal)?,
            timestamp: self.timestamp,
            conversation_id: self.conversation_id,
            sender_id: self.sender_id,
            event_id: Some(self.event_id),
            request_id: None,
        })
    }
}
