//! The rows of the outbox and of device queues.

use sigilo_wire::{TenantId, Timestamp};

use super::{DeviceEvent, EventBody, Fact};
use crate::{Result, add_rows, statements, storage::script::Script};

statements! {
    INSERT_FACTS = "INSERT INTO outbox (tenant_id, seq, topic, data, created_at)
        VALUES $rows(UUID, BIGINT, TEXT, TEXT, BIGINT)";
    INSERT_EVENTS = "INSERT INTO device_events (device_id, event_seq, type, conversation_id, sender_id, message_id,
        envelope_type, envelope, data, created_at)
        VALUES $rows(UUID, BIGINT, TEXT, UUID, UUID, UUID, BIGINT, BYTEA, TEXT, BIGINT)";
}

/// Adds facts with their clinics and numbers.
pub(super) fn add_facts(script: &mut Script, facts: &[(TenantId, i64, &Fact)], now: Timestamp) -> Result<()> {
    add_rows!(script, INSERT_FACTS, facts, (tenant, seq, fact) => [
        *tenant, *seq, fact.topic, fact.data.to_string(), now,
    ]);
    Ok(())
}

/// Adds events at their places.
pub(super) fn add_events(
    script: &mut Script,
    events: &[DeviceEvent],
    places: &[i64],
    now: Timestamp,
) -> Result<()> {
    let rows: Vec<(i64, &DeviceEvent)> = places.iter().copied().zip(events).collect();
    add_rows!(script, INSERT_EVENTS, &rows, (seq, event) => [
        event.device, *seq, event.r#type.as_str(), event.conversation, event.sender,
        match &event.body { EventBody::Message(id, _) => Some(*id), EventBody::Data(_) => None },
        match &event.body { EventBody::Message(_, Some(e)) => Some(i64::from(e.r#type.number())), _ => None },
        match &event.body { EventBody::Message(_, Some(e)) => Some(e.content.0.as_slice()), _ => None },
        match &event.body { EventBody::Data(data) => Some(data.to_string()), EventBody::Message(..) => None },
        now,
    ]);
    Ok(())
}
