//! Stored rows as the API shows them.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use sigilo_wire::{
    Base64, Base64Array, Timestamp,
    event::{Envelope, EventType},
    message::{Accepted, Attachment, Deliver, DeliveryStatus, EnvelopeType, Message, Sender},
};

use super::{
    attachments::{self, Scans},
    deliver::event_id,
    frame::{EventData, EventFrame},
    store::{self, EventRow, StoredMessage},
    submit::Submission,
};
use crate::{App, Error, Result, storage::crypter::Place};

/// An event of a device's queue.
pub(super) async fn event(app: &App, row: EventRow, scans: &Scans) -> Result<EventFrame> {
    let r#type: EventType = row.r#type.parse().map_err(Error::Internal)?;
    let data = match (row.message, row.data) {
        (Some(stored), _) => {
            let envelope = row
                .envelope_type
                .and_then(|number| EnvelopeType::from_number(u8::try_from(number).ok()?))
                .zip(row.envelope)
                .map(|(r#type, content)| Envelope { r#type, content: Base64(content) });
            EventData::Message(Arc::new(message(app, stored, DeliveryStatus::Sent, scans).await?), envelope)
        }
        (None, Some(data)) => EventData::Other(serde_json::from_str(&data).map_err(Error::internal)?),
        (None, None) => EventData::Other(Value::Object(serde_json::Map::new())),
    };
    Ok(EventFrame {
        r#type,
        data,
        timestamp: row.created_at,
        conversation_id: row.about,
        sender_id: row.caused_by,
        event_id: event_id(row.event_seq),
    })
}

/// A stored message, its body and wrapped key opened with the data key. Who has read it, and what its author did
/// to it since, is for the caller to add. `scans` holds what the scan says of its files.
pub(super) async fn message(
    app: &App,
    stored: StoredMessage,
    delivery_status: DeliveryStatus,
    scans: &Scans,
) -> Result<Message> {
    let key = app.keystore.get(stored.data_key_id).await?;
    let row = stored.message_id.as_bytes();
    let body = key.open("body", row, &stored.body)?;
    let wrapped_key = key.open("wrapped_key", row, &stored.wrapped_key)?;
    let name = Place { table: "users", row: stored.sender_id.as_bytes(), column: "full_name_enc" };
    let link = |bytes: Option<Vec<u8>>| bytes.map(|bytes| store::array::<32>(&bytes)).transpose();
    Ok(Message {
        id: stored.message_id,
        conversation_id: stored.conversation_id,
        conversation_seq: stored.conversation_seq,
        client_message_id: stored.client_message_id,
        sender: Sender {
            user_id: stored.sender_id,
            device_id: stored.device_number,
            full_name: app.crypter.decrypt_text(name, &stored.full_name_enc)?,
            user_type: stored.role.parse().map_err(Error::Internal)?,
        },
        message_type: stored.kind.parse().map_err(Error::Internal)?,
        priority: stored.priority.parse().map_err(Error::Internal)?,
        sent_at: stored.sent_at,
        received_at: stored.received_at,
        device_seq: unsigned(stored.device_seq)?,
        prev_commitment: link(stored.prev_commitment)?,
        seen_commitment: link(stored.seen_commitment)?,
        target_commitment: link(stored.target_commitment)?,
        reply_to_commitment: link(stored.reply_to_commitment)?,
        body: Base64(body.to_vec()),
        commitment: store::array(&stored.commitment)?,
        signature: store::array(&stored.signature)?,
        seal_id: stored.seal_id,
        wrapped_key: <[u8; 48]>::try_from(wrapped_key.as_slice())
            .map(Base64Array)
            .map_err(|_| Error::internal("a wrapped key has the wrong length"))?,
        attachments: attachments::shown(&stored.attachments, scans)?,
        urgent: stored.urgent,
        deliver: stored.deliver.parse::<Deliver>().map_err(Error::Internal)?,
        expires_in_s: unsigned(stored.expires_in_s)?,
        delivery_status,
        read_by: Vec::new(),
        edited_by: Vec::new(),
        deleted_at: None,
        expires_at: stored.expires_at,
        source: stored.source,
        is_automated: stored.is_automated,
        receipt: stored.receipt.receipt()?,
    })
}

fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| Error::internal("a stored number is negative"))
}

/// A message that was just accepted, as [`message()`] will show it.
pub(super) fn accepted(
    submission: &Submission,
    accepted: &Accepted,
    attachments: Vec<Attachment>,
) -> Message {
    let request = &*submission.message;
    let member = submission.snapshot.member(submission.sender.user_id);
    let expires_in_s = request.expires_in_s.unwrap_or(0);
    Message {
        id: accepted.message_id,
        conversation_id: submission.conversation,
        conversation_seq: accepted.conversation_seq,
        client_message_id: request.client_message_id,
        sender: Sender {
            user_id: submission.sender.user_id,
            device_id: submission.device,
            full_name: member.map(|member| member.full_name.clone()).unwrap_or_default(),
            user_type: submission.sender.role,
        },
        message_type: request.message_type,
        priority: request.priority,
        sent_at: request.sent_at,
        received_at: accepted.received_at,
        device_seq: request.device_seq,
        prev_commitment: request.prev_commitment,
        seen_commitment: request.seen_commitment,
        target_commitment: request.target_commitment,
        reply_to_commitment: request.reply_to_commitment,
        body: request.body.clone(),
        commitment: request.commitment,
        signature: request.signature,
        seal_id: request.seal_id,
        wrapped_key: request.wrapped_key,
        attachments,
        urgent: request.urgent,
        deliver: request.deliver,
        expires_in_s,
        delivery_status: DeliveryStatus::Sent,
        read_by: Vec::new(),
        edited_by: Vec::new(),
        deleted_at: None,
        expires_at: expires_at(accepted.received_at, expires_in_s),
        source: None,
        is_automated: false,
        receipt: accepted.receipt.clone(),
    }
}

/// When a message disappears for participants, if it does.
pub(super) fn expires_at(received_at: Timestamp, expires_in_s: u64) -> Option<Timestamp> {
    (expires_in_s > 0).then(|| received_at + Duration::from_secs(expires_in_s))
}
