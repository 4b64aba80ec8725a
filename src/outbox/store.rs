//! The rows of the outbox and of device queues.

use std::collections::HashMap;

use sigilo_wire::{DeviceId, TenantId, Timestamp};

use super::{DeviceEvent, EventBody, Fact};
use crate::{Error, Result, execute_rows, fetch_list, fetch_optional, statements, storage::Tx};

statements! {
    RESERVE_FACTS = "UPDATE tenant_sequences SET outbox_seq = outbox_seq + $2 WHERE tenant_id = $1 RETURNING outbox_seq";
    INSERT_FACTS = "INSERT INTO outbox (tenant_id, seq, topic, data, created_at) VALUES $rows";
    /// Locks the devices' rows until the commit, so that the order of events is the order of commits.
    RESERVE_EVENTS = "UPDATE devices SET next_event_seq = next_event_seq + $1 WHERE device_id IN ($list)
        RETURNING device_id, next_event_seq";
    INSERT_EVENTS = "INSERT INTO device_events (device_id, event_seq, type, conversation_id, sender_id, message_id,
        envelope_type, envelope, data, created_at) VALUES $rows";
}

pub(super) async fn insert_facts(
    tx: &mut Tx,
    tenant: TenantId,
    facts: &[Fact],
    now: Timestamp,
) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(facts.len()).map_err(Error::internal)?;
    let (last,) = fetch_optional!(tx, (i64,), RESERVE_FACTS, tenant, count)?.ok_or(Error::NotFound)?;
    let rows: Vec<(i64, &Fact)> = (last - count + 1..).zip(facts).collect();
    execute_rows!(tx, INSERT_FACTS, &rows, (seq, fact) => [tenant, seq, fact.topic, fact.data.to_string(), now])?;
    Ok(())
}

pub(super) async fn insert_events(tx: &mut Tx, events: &[DeviceEvent], now: Timestamp) -> Result<()> {
    let mut counts: HashMap<DeviceId, i64> = HashMap::new();
    for event in events {
        *counts.entry(event.device).or_default() += 1;
    }
    let Some(most) = counts.values().copied().max() else { return Ok(()) };
    // Every device's counter moves by the largest need: gaps do no harm, one statement serves all. Sorted, so
    // that two transactions lock rows in the same order.
    let mut devices: Vec<DeviceId> = counts.into_keys().collect();
    devices.sort_unstable();
    let reserved: Vec<(DeviceId, i64)> =
        fetch_list!(tx, (DeviceId, i64), RESERVE_EVENTS, [most], devices.as_slice())?;
    let mut next: HashMap<DeviceId, i64> =
        reserved.into_iter().map(|(device, after)| (device, after - most)).collect();
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let seq =
            next.get_mut(&event.device).ok_or_else(|| Error::internal("an event for an unknown device"))?;
        rows.push((*seq, event));
        *seq += 1;
    }
    execute_rows!(tx, INSERT_EVENTS, &rows, (seq, event) => [
        event.device, seq, event.r#type.as_str(), event.conversation, event.sender,
        match &event.body { EventBody::Message(id, _) => Some(*id), EventBody::Data(_) => None },
        match &event.body { EventBody::Message(_, Some(e)) => Some(i64::from(e.r#type.number())), _ => None },
        match &event.body { EventBody::Message(_, Some(e)) => Some(e.content.0.as_slice()), _ => None },
        match &event.body { EventBody::Data(data) => Some(data.to_string()), EventBody::Message(..) => None },
        now,
    ])?;
    Ok(())
}
