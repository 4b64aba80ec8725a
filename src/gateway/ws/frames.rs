//! Frames to and from JSON.

use serde::Serialize;
use serde_json::{Value, json};
use sigilo_wire::{
    ErrorCode, RequestId, Timestamp,
    event::{ClientFrame, EventType, ServerFrame},
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
const KNOWN: [&str; 3] = ["ack", "auth", "send_message"];

/// Reads a frame. Unknown types and malformed frames are told apart.
pub(super) fn parse(text: &str) -> Received {
    let frame = strict::json::<ClientFrame>(text.as_bytes());
    match &frame {
        Ok(ClientFrame::SendMessage { request_id, .. }) => {
            Received { request_id: Some(request_id.clone()), frame }
        }
        Ok(ClientFrame::Auth { request_id, .. }) => Received { request_id: request_id.clone(), frame },
        Ok(ClientFrame::Ack { .. }) => Received { request_id: None, frame },
        Err(_) => refuse(text, frame),
    }
}

fn refuse(text: &str, frame: Result<ClientFrame>) -> Received {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let request_id = value["request_id"].as_str().filter(|id| id.len() <= MAX_REQUEST_ID).map(str::to_owned);
    let known = value["type"].as_str().is_none_or(|name| KNOWN.contains(&name));
    let frame = if known {
        frame
    } else {
        Err(Error::invalid(ErrorCode::UnknownFrame, json!({"type": value["type"], "known": KNOWN})))
    };
    Received { frame, request_id }
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
            (r#"{"event_ids":[]}"#, ErrorCode::InvalidField, None),
        ] {
            let received = parse(text);
            assert_eq!(received.frame.unwrap_err().code(), code, "{text}");
            assert_eq!(received.request_id.as_deref(), id, "{text}");
        }
    }
}
