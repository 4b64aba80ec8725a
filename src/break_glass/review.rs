//! What compliance sees, and finds.

use serde_json::json;
use sigilo_wire::{
    BreakGlassId, ErrorCode, Timestamp,
    break_glass::{BreakGlass, BreakGlassFinding, BreakGlassList},
};

use super::store::{self, Row};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    paging::{self, Paging},
    policy::{self, Grant, ManageRelationships, ReviewBreakGlass, facts},
    storage::crypter::Place,
};

/// Where the text stands, but for its row.
pub(super) const TEXT: Place<'static> = Place { table: "break_glass", row: &[], column: "text_enc" };

/// The grant to see and close uses of break-glass.
///
/// # Errors
/// `forbidden` to all but compliance officers.
pub async fn authorize_review(app: &App, ctx: &Ctx) -> Result<Grant<ReviewBreakGlass>> {
    let decision = app.policy.decide::<ReviewBreakGlass>(ctx, &facts::Clinic { tenant: ctx.tenant });
    policy::audited(app, ctx, decision, None, &[("clinic", ctx.tenant.to_string())]).await
}

/// The grant to see that break-glass was used, for those who manage who is in whose care.
///
/// # Errors
/// `forbidden` to all but the operator and the clinic's admins.
pub async fn authorize_list(app: &App, ctx: &Ctx) -> Result<Grant<ManageRelationships>> {
    let decision = app.policy.decide::<ManageRelationships>(ctx, &facts::Clinic { tenant: ctx.tenant });
    policy::audited(app, ctx, decision, None, &[("clinic", ctx.tenant.to_string())]).await
}

/// Which uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that wait for their review, oldest first.
    Waiting,
    /// Those that have it, newest first.
    Reviewed,
    /// All of them, newest first.
    All,
}

/// A page of the uses that wait for their review, oldest first; or of those that have it, newest first.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ReviewBreakGlass>,
    closed: bool,
    paging: &Paging,
) -> Result<BreakGlassList> {
    read(app, ctx, if closed { Which::Reviewed } else { Which::Waiting }, paging).await
}

/// A page of all uses, newest first, without their texts: those are for compliance.
///
/// # Errors
/// As [`list`].
pub async fn list_for_staff(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageRelationships>,
    paging: &Paging,
) -> Result<BreakGlassList> {
    let mut list = read(app, ctx, Which::All, paging).await?;
    for used in &mut list.results {
        used.text = None;
    }
    Ok(list)
}

async fn read(app: &App, ctx: &Ctx, which: Which, paging: &Paging) -> Result<BreakGlassList> {
    let window = paging.window()?;
    let mut tx = app.db.read("break_glass_list").await?;
    let end = match paging.place()? {
        None if which == Which::Waiting => (Timestamp::from_micros(0), BreakGlassId::from_bytes([0; 16])),
        None => (Timestamp::from_micros(i64::MAX), BreakGlassId::from_bytes([0xff; 16])),
        Some(id) => {
            let last = store::by_id(&mut tx, ctx.tenant, id).await?.ok_or_else(paging::not_a_cursor)?;
            (last.opened_at, id)
        }
    };
    let mut rows = store::list(&mut tx, ctx.tenant, which, end, window).await?;
    drop(tx);
    let next_cursor = window.cut(&mut rows, |row| row.break_glass_id);
    let results = rows.into_iter().map(|row| shown(app, row)).collect::<Result<_>>()?;
    Ok(BreakGlassList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// Closes a use with what was found. The same finding again changes nothing.
///
/// # Errors
/// 404 when the clinic has no such use; `already_settled` when it was closed with another finding.
pub async fn close(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ReviewBreakGlass>,
    id: BreakGlassId,
    finding: BreakGlassFinding,
) -> Result<BreakGlass> {
    let caller = ctx.caller()?.user_id;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("break_glass_close").await?;
    let closed = store::review(&mut tx, (ctx.tenant, id), caller, finding.as_str(), ctx.now).await?;
    let row = store::by_id(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    let reviewed = shown(app, row)?;
    if !closed {
        if reviewed.finding == Some(finding) {
            return Ok(reviewed);
        }
        return Err(Error::conflict(ErrorCode::AlreadySettled, json!({"finding": reviewed.finding})));
    }
    let act = Act::done("review_break_glass")
        .object("break_glass", id)
        .object("finding", finding)
        .patient(Some(reviewed.patient_id))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(reviewed)
}

pub(super) fn shown(app: &App, row: Row) -> Result<BreakGlass> {
    let place = Place { row: row.break_glass_id.as_bytes(), ..TEXT };
    Ok(BreakGlass {
        break_glass_id: row.break_glass_id,
        clinician_id: row.clinician_id,
        patient_id: row.patient_id,
        reason: row.reason.parse().map_err(Error::Internal)?,
        text: Some(app.crypter.decrypt_text(place, &row.text_enc)?),
        opened_at: row.opened_at,
        expires_at: row.expires_at,
        reviewed_by: row.reviewed_by,
        reviewed_at: row.reviewed_at,
        finding: row.finding.map(|word| word.parse().map_err(Error::Internal)).transpose()?,
    })
}
