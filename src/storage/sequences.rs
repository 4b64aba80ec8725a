//! The sequences that are given out while their row is locked, so that their order is the order of commits: a clinic's
//! audit entries and its outbox, and the places of a device's queue.

use std::collections::HashMap;

use sigilo_wire::{DeviceId, TenantId};
use sqlx::{Arguments as _, postgres::PgArguments};
use uuid::Uuid;

use super::{Tx, batch};
use crate::{Error, Result, bind_rows, statements};

statements! {
    RESERVE_NUMBERS = "UPDATE tenant_sequences SET audit_seq = audit_seq + v.column2, outbox_seq = outbox_seq + v.column3
        FROM (VALUES $rows(UUID, BIGINT, BIGINT)) AS v WHERE tenant_id = v.column1
        RETURNING tenant_id, audit_seq, outbox_seq";
    /// Places have no gaps: a socket knows by that whether an event is the next of its queue.
    RESERVE_PLACES = "UPDATE devices SET next_event_seq = next_event_seq + v.column2
        FROM (VALUES $rows(UUID, BIGINT)) AS v WHERE device_id = v.column1
        RETURNING device_id, next_event_seq, CAST(0 AS BIGINT)";
}

/// How many of each are needed, or the first of each that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// Audit entries.
    pub audit: i64,
    /// Facts of the outbox.
    pub outbox: i64,
}

/// The first number of each that was reserved.
#[derive(Debug, Default)]
pub struct Reserved {
    /// By clinic.
    pub numbers: HashMap<TenantId, Sequences>,
    /// By device.
    pub places: HashMap<DeviceId, i64>,
}

/// Reserves places in these devices' queues and numbers of these clinics, in one go and this order: nobody who holds a
/// clinic's row waits for anything but its disk. Both are sorted by the caller, so that two transactions ask for rows in
/// the same order.
///
/// # Errors
/// `not_found` for an unknown clinic, an internal error for an unknown device.
pub async fn reserve(
    tx: &mut Tx,
    numbers: &[(TenantId, Sequences)],
    places: &[(DeviceId, i64)],
) -> Result<Reserved> {
    let last: HashMap<Uuid, (i64, i64)> =
        advance(tx, numbers, places).await?.into_iter().map(|(id, a, b)| (id, (a, b))).collect();
    let mut reserved = Reserved::default();
    for (tenant, need) in numbers {
        let (audit, outbox) = last.get(&tenant.uuid()).ok_or(Error::NotFound)?;
        let first = Sequences { audit: audit - need.audit + 1, outbox: outbox - need.outbox + 1 };
        reserved.numbers.insert(*tenant, first);
    }
    for (device, count) in places {
        let (next, _) =
            last.get(&device.uuid()).ok_or_else(|| Error::internal("an event for an unknown device"))?;
        reserved.places.insert(*device, next - count);
    }
    Ok(reserved)
}

/// Both statements, whichever has rows, in one round trip; gives where the sequences stand now.
async fn advance(
    tx: &mut Tx,
    numbers: &[(TenantId, Sequences)],
    places: &[(DeviceId, i64)],
) -> Result<Vec<(Uuid, i64, i64)>> {
    match tx {
        Tx::Sqlite(tx) => {
            let (numbers, places) =
                (batch::chunks(numbers).collect::<Vec<_>>(), batch::chunks(places).collect::<Vec<_>>());
            let texts = places.iter().map(|chunk| batch::known_rows_text(RESERVE_PLACES, chunk.len()));
            let texts =
                texts.chain(numbers.iter().map(|chunk| batch::known_rows_text(RESERVE_NUMBERS, chunk.len())));
            let text = texts.collect::<Vec<_>>().join(";");
            if text.is_empty() {
                return Ok(Vec::new());
            }
            let query = sqlx::query_as(sqlx::AssertSqlSafe(text));
            let query = bind_rows!(query, places.into_iter().flatten(), (device, count) => [*device, *count]);
            let query = bind_rows!(query, numbers.into_iter().flatten(), (tenant, need) => [
                *tenant, need.audit, need.outbox,
            ]);
            Ok(query.fetch_all(&mut **tx).await?)
        }
        Tx::Postgres(tx) => {
            let mut arguments = PgArguments::default();
            let (mut parts, mut selects) = (Vec::new(), Vec::new());
            if !places.is_empty() {
                parts.push(in_order(
                    "places",
                    "devices",
                    "device_id",
                    &batch::arrays_text(RESERVE_PLACES, 1),
                    1,
                ));
                selects.push("SELECT id, a, b FROM places");
                crate::add_arrays!(arguments, places, (device, count) => [*device, *count]);
            }
            if !numbers.is_empty() {
                let first = arguments.len() + 1;
                let text = batch::arrays_text(RESERVE_NUMBERS, first);
                parts.push(in_order("numbers", "tenant_sequences", "tenant_id", &text, first));
                selects.push("SELECT id, a, b FROM numbers");
                crate::add_arrays!(arguments, numbers, (tenant, need) => [*tenant, need.audit, need.outbox]);
            }
            if parts.is_empty() {
                return Ok(Vec::new());
            }
            let text = format!("WITH {} {}", parts.join(", "), selects.join(" UNION ALL "));
            Ok(sqlx::query_as_with(sqlx::AssertSqlSafe(text), arguments).fetch_all(&mut **tx).await?)
        }
    }
}

/// A statement of PostgreSQL that moves rows on, as a part of a WITH. They are locked in the order of their ids before: an
/// UPDATE takes them as its plan comes to them, and two that share rows would wait for each other.
fn in_order(name: &str, table: &str, id: &str, moving: &str, ids: usize) -> String {
    let moving = moving
        .replace(
            &format!("WHERE {id} = v.column1"),
            &format!("JOIN {name}_locked AS l ON l.{id} = v.column1 WHERE {table}.{id} = l.{id}"),
        )
        .replace(&format!("RETURNING {id}"), &format!("RETURNING {table}.{id}"));
    format!(
        "{name}_locked AS MATERIALIZED (SELECT {id} FROM {table} WHERE {id} = ANY (CAST(${ids} AS UUID[]))
            ORDER BY {id} FOR UPDATE), {name} (id, a, b) AS ({moving})"
    )
}
