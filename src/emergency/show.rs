//! How an emergency stands, without what is said in it.

use sigilo_wire::{
    ConversationId, Timestamp,
    emergency::{Emergency, EmergencyEvent, EmergencyList, OnCallMember},
};

use super::store::{self, EmergencyRow};
use crate::{
    App, Ctx, Error, Result,
    paging::{self, Paging},
    policy::{Grant, ManageOnCall, ReadConversation},
    storage::Tx,
};

/// An emergency, for those who take part.
///
/// # Errors
/// `not_found` when the conversation is none.
pub async fn show(app: &App, ctx: &Ctx, grant: Grant<ReadConversation>) -> Result<Emergency> {
    let mut tx = app.db.read("emergency_show").await?;
    current(&mut tx, ctx, *grant.resource()).await
}

/// A page of the clinic's emergencies, the newest first; with `flagged`, those that wait for a look because the patient
/// had opened several before.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageOnCall>,
    flagged: bool,
    paging: &Paging,
) -> Result<EmergencyList> {
    let window = paging.window()?;
    let mut tx = app.db.read("emergency_list").await?;
    let before = match paging.place()? {
        None => (Timestamp::from_micros(i64::MAX), ConversationId::from_bytes([0xff; 16])),
        Some(id) => {
            let last = store::by_id(&mut tx, ctx.tenant, id).await?.ok_or_else(paging::not_a_cursor)?;
            (last.opened_at, id)
        }
    };
    let mut rows = store::list(&mut tx, ctx.tenant, flagged, before, window).await?;
    let next_cursor = window.cut(&mut rows, |row| row.conversation_id);
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        let people = store::people(&mut tx, row.conversation_id).await?;
        results.push(shown(row, people)?);
    }
    Ok(EmergencyList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// As it stands in this transaction.
///
/// # Errors
/// `not_found`.
pub(super) async fn current(tx: &mut Tx, ctx: &Ctx, id: ConversationId) -> Result<Emergency> {
    let row = store::by_id(tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    let people = store::people(tx, id).await?;
    shown(row, people).map(|emergency| Emergency { flagged: false, ..emergency })
}

pub(super) fn shown(row: EmergencyRow, on_call: Vec<OnCallMember>) -> Result<Emergency> {
    let number = |n: i64| u32::try_from(n).map_err(Error::internal);
    Ok(Emergency {
        conversation_id: row.conversation_id,
        patient_id: row.patient_id,
        category: row.category.parse().map_err(Error::Internal)?,
        urgency: row.urgency.parse().map_err(Error::Internal)?,
        state: row.state.parse().map_err(Error::Internal)?,
        on_call,
        tier: number(row.tier)?,
        tiers: number(row.tiers)?,
        opened_at: row.opened_at,
        escalates_at: row.due_at.filter(|_| row.tier < row.tiers),
        acknowledged_by: row.acknowledged_by,
        acknowledged_at: row.acknowledged_at,
        closed_by: row.closed_by,
        closed_at: row.closed_at,
        outcome: row.outcome.map(|word| word.parse().map_err(Error::Internal)).transpose()?,
        flagged: row.flagged,
    })
}

/// What devices are told of it.
pub(super) fn event(emergency: &Emergency) -> EmergencyEvent {
    EmergencyEvent {
        emergency_id: emergency.conversation_id,
        category: emergency.category,
        urgency: emergency.urgency,
        state: emergency.state,
        tier: emergency.tier,
        tiers: emergency.tiers,
        exhausted: false,
        outcome: emergency.outcome,
    }
}
