//! The rows of the outbox and of device queues.

use std::collections::{BTreeMap, HashMap};

use sigilo_wire::{DeviceId, TenantId, Timestamp};

use super::{DeviceEvent, EventBody, Fact};
use crate::{
    Error, Result, add_rows, fetch_rows, statements,
    storage::{Tx, script::Script},
};

statements! {
    INSERT_FACTS = "INSERT INTO outbox (tenant_id, seq, topic, data, created_at) VALUES $rows";
    /// Locks the devices' rows until the commit, so that the order of events is the order of commits. Places have
    /// no gaps: a socket knows by that whether an event is the next of its queue.
    RESERVE_EVENTS = "UPDATE devices SET next_event_seq = next_event_seq + v.column2
        FROM (VALUES $rows(UUID, BIGINT)) AS v WHERE device_id = v.column1 RETURNING device_id, next_event_seq";
    INSERT_EVENTS = "INSERT INTO device_events (device_id, event_seq, type, conversation_id, sender_id, message_id,
        envelope_type, envelope, data, created_at) VALUES $rows";
}

/// Adds facts, numbered from `first` on.
pub(super) fn add_facts(
    script: &mut Script,
    tenant: TenantId,
    first: i64,
    facts: &[Fact],
    now: Timestamp,
) -> Result<()> {
    let rows: Vec<(i64, &Fact)> = (first..).zip(facts).collect();
    add_rows!(script, INSERT_FACTS, &rows, (seq, fact) => [tenant, seq, fact.topic, fact.data.to_string(), now]);
    Ok(())
}

/// Reserves the places of events in their devices' queues, in the order given.
pub(super) async fn reserve_places(tx: &mut Tx, events: &[DeviceEvent]) -> Result<Vec<i64>> {
    let mut counts: BTreeMap<DeviceId, i64> = BTreeMap::new();
    for event in events {
        *counts.entry(event.device).or_default() += 1;
    }
    // Sorted, so that two transactions ask for rows in the same order.
    let needs: Vec<(DeviceId, i64)> = counts.iter().map(|(device, count)| (*device, *count)).collect();
    let reserved =
        fetch_rows!(tx, (DeviceId, i64), RESERVE_EVENTS, &needs, (device, count) => [*device, *count])?;
    let mut next: HashMap<DeviceId, i64> = reserved
        .into_iter()
        .map(|(device, after)| (device, after - counts.get(&device).copied().unwrap_or(0)))
        .collect();
    let mut places = Vec::with_capacity(events.len());
    for event in events {
        let place =
            next.get_mut(&event.device).ok_or_else(|| Error::internal("an event for an unknown device"))?;
        places.push(*place);
        *place += 1;
    }
    Ok(places)
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
        event.device, seq, event.r#type.as_str(), event.conversation, event.sender,
        match &event.body { EventBody::Message(id, _) => Some(*id), EventBody::Data(_) => None },
        match &event.body { EventBody::Message(_, Some(e)) => Some(i64::from(e.r#type.number())), _ => None },
        match &event.body { EventBody::Message(_, Some(e)) => Some(e.content.0.as_slice()), _ => None },
        match &event.body { EventBody::Data(data) => Some(data.to_string()), EventBody::Message(..) => None },
        now,
    ]);
    Ok(())
}
