//! Frames to and from JSON.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use sigilo_wire::{
    ConversationId, ErrorCode, RequestId, Timestamp,
    event::{ClientFrame, EventType, ServerFrame},
    mark::ReadUpTo,
    message::SendMessage,
    presence::{SetStatus, Typing},
};

use crate::{
    Error, Result,
    gateway::{http::strict, language::Language, render},
};

/// A client's frame, or the error to answer it with.
pub(super) struct Received {
    /// The frame.
    pub frame: Result<ClientFrame>,
    /// Its `request_id`, when that much could be read.
    pub request_id: Option<String>,
}

/// The longest `request_id` that is repeated in an answer.
const MAX_REQUEST_ID: usize = 100;
const KNOWN: [&str; 6] = ["ack", "auth", "read", "send_message", "status", "typing"];

// One structure a type, read from the text itself: an error then names the very field, as over HTTP.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    event_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    request_id: Option<String>,
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    request_id: String,
    #[serde(default)]
    conversation_id: Option<ConversationId>,
    data: Box<SendMessage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    conversation_id: Option<ConversationId>,
    data: ReadUpTo,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IsTyping {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    conversation_id: Option<ConversationId>,
    data: Typing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    request_id: Option<String>,
    data: SetStatus,
}

/// What every frame has.
#[derive(Deserialize)]
struct Head {
    r#type: String,
    #[serde(default)]
    request_id: Option<Value>,
}

/// Reads a frame. Unknown types and malformed frames are told apart.
pub(super) fn parse(text: &str) -> Received {
    let head = match strict::json::<Head>(text.as_bytes()) {
        Ok(head) => head,
        Err(error) => return Received { frame: Err(error), request_id: None },
    };
    let named = head.request_id.as_ref().and_then(Value::as_str);
    let request_id = named.filter(|id| id.len() <= MAX_REQUEST_ID).map(str::to_owned);
    Received { frame: parse_typed(&head.r#type, text.as_bytes()), request_id }
}

fn parse_typed(r#type: &str, text: &[u8]) -> Result<ClientFrame> {
    match r#type {
        "ack" => strict::json::<Ack>(text).map(|ack| ClientFrame::Ack { event_ids: ack.event_ids }),
        "auth" => strict::json::<Auth>(text)
            .map(|auth| ClientFrame::Auth { request_id: auth.request_id, token: auth.token }),
        "send_message" => strict::json::<Send>(text).map(|send| ClientFrame::SendMessage {
            request_id: send.request_id,
            conversation_id: send.conversation_id,
            data: send.data,
        }),
        "read" => strict::json::<Read>(text).map(|read| ClientFrame::Read {
            request_id: read.request_id,
            conversation_id: read.conversation_id,
            data: read.data,
        }),
        "typing" => strict::json::<IsTyping>(text).map(|typing| ClientFrame::Typing {
            request_id: typing.request_id,
            conversation_id: typing.conversation_id,
            data: typing.data,
        }),
        "status" => strict::json::<Status>(text)
            .map(|status| ClientFrame::Status { request_id: status.request_id, data: status.data }),
        other => Err(Error::invalid(ErrorCode::UnknownFrame, json!({"type": other, "known": KNOWN}))),
    }
}

/// A frame that answers or tells something that is not kept.
pub(super) fn transient(
    r#type: EventType,
    data: impl Serialize,
    now: Timestamp,
    request_id: Option<String>,
) -> ServerFrame {
    ServerFrame {
        r#type,
        data: serde_json::to_value(data).unwrap_or_default(),
        timestamp: now,
        conversation_id: None,
        sender_id: None,
        event_id: None,
        request_id,
    }
}

/// The answer to a frame that failed: the body HTTP would have had.
pub(super) fn failure(
    error: &Error,
    request: RequestId,
    language: Language,
    now: Timestamp,
    request_id: Option<String>,
) -> ServerFrame {
    render::log_fault(error, request);
    transient(EventType::Error, render::error_body(error, request, language), now, request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_cannot_be_used_is_answered_by_name() {
        for (text, code, id) in [
            ("{", ErrorCode::InvalidJson, None),
            (r#"{"type":"dance","request_id":"7"}"#, ErrorCode::UnknownFrame, Some("7")),
            (r#"{"type":"ack","event_ids":[],"more":1}"#, ErrorCode::UnknownField, None),
            (r#"{"type":"send_message","request_id":"8","data":{}}"#, ErrorCode::InvalidField, Some("8")),
            (r#"{"type":"read","request_id":"9","data":{"until":1}}"#, ErrorCode::UnknownField, Some("9")),
            (r#"{"type":"typing","data":{"text":"h"}}"#, ErrorCode::UnknownField, None),
            (r#"{"type":"status","data":{"status":"asleep"}}"#, ErrorCode::InvalidField, None),
            (r#"{"event_ids":[]}"#, ErrorCode::InvalidField, None),
        ] {
            let received = parse(text);
            assert_eq!(received.frame.unwrap_err().code(), code, "{text}");
            assert_eq!(received.request_id.as_deref(), id, "{text}");
        }
    }
}
