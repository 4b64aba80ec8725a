//! What the clinic sees of anomalies, and finds.

use serde_json::json;
use sigilo_wire::{
    AnomalyId, ErrorCode, Role, UserId,
    anomaly::{Anomaly, AnomalyKind, AnomalyList, AnomalyStatus, ReviewAnomaly},
};

use super::store::{self, Row};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    free_text, mfa,
    paging::Paging,
    people,
    policy::{
        self, CloseAnomaly, Grant, Looked, Person, ReviewAnomalies,
        facts::{self, Other},
    },
    storage::crypter::Place,
};

/// Where the note stands, but for its row.
const NOTE: Place<'static> = Place { table: "anomalies", row: &[], column: "note_enc" };

/// The grant to see what was out of the ordinary in the clinic.
///
/// # Errors
/// `forbidden` to all but admins and compliance officers.
pub async fn authorize_review(app: &App, ctx: &Ctx) -> Result<Grant<ReviewAnomalies>> {
    let decision = app.policy.decide::<ReviewAnomalies>(ctx, &facts::Clinic { tenant: ctx.tenant });
    policy::audited(app, ctx, decision, None, &[("clinic", ctx.tenant.to_string())]).await
}

/// The grant to close an anomaly.
///
/// # Errors
/// `forbidden` to all but admins and compliance officers, and to the person it is about; 404 when the clinic has no such
/// anomaly.
pub async fn authorize_close(app: &App, ctx: &Ctx, id: AnomalyId) -> Result<Grant<CloseAnomaly>> {
    authorize_review(app, ctx).await?;
    let mut tx = app.db.read("anomaly_authorize").await?;
    let row = store::by_id(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    drop(tx);
    let (facts, patient) = load(app, ctx, row.user_id).await?;
    let decision = app.policy.decide::<CloseAnomaly>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("anomaly", id.to_string())]).await
}

/// What the rules would say to closing an anomaly of this person, and the patient it concerns.
///
/// # Errors
/// 404 when the clinic has no such person.
pub(crate) async fn look_close(app: &App, ctx: &Ctx, user: UserId) -> Result<(Looked, Option<UserId>)> {
    let (facts, patient) = load(app, ctx, user).await?;
    Ok((app.policy.look::<CloseAnomaly>(ctx, &facts)?, patient))
}

async fn load(app: &App, ctx: &Ctx, user: UserId) -> Result<(Other, Option<UserId>)> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("anomaly_person").await?;
    let target = people::person(&mut tx, ctx.tenant, user).await?;
    Ok((Other { caller, target }, (target.role == Role::Patient).then_some(user)))
}

/// A page of what was out of the ordinary, the newest first.
///
/// # Errors
/// `invalid_field` for a page size or cursor that makes no sense.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ReviewAnomalies>,
    which: (Option<AnomalyStatus>, Option<AnomalyKind>),
    paging: &Paging,
) -> Result<AnomalyList> {
    let window = paging.window()?;
    let before = paging.place()?.unwrap_or_else(|| AnomalyId::from_bytes([0xff; 16]));
    let mut tx = app.db.read("anomaly_list").await?;
    let mut rows = store::list(&mut tx, ctx.tenant, which, before, window).await?;
    drop(tx);
    let next_cursor = window.cut(&mut rows, |row| row.anomaly_id);
    let results = rows.into_iter().map(|row| shown(app, row)).collect::<Result<_>>()?;
    Ok(AnomalyList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// Closes an anomaly with what was found. Lower limits end with it; a suspension is ended by whoever manages people. The
/// same outcome again changes nothing.
///
/// # Errors
/// `step_up_required`; `invalid_field`, `phi_detected` for the note; 404 when the clinic has no such anomaly;
/// `already_settled` when it was closed with another outcome.
pub async fn close(
    app: &App,
    ctx: &Ctx,
    grant: Grant<CloseAnomaly>,
    id: AnomalyId,
    found: &ReviewAnomaly,
) -> Result<Anomaly> {
    if let Some(note) = &found.note {
        free_text::check("note", note)?;
    }
    let caller = ctx.caller()?.user_id;
    let place = Place { row: id.as_bytes(), ..NOTE };
    let seal = |note: &String| app.crypter.encrypt(place, note.as_bytes(), &*app.entropy);
    let note = found.note.as_ref().map(seal).transpose()?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("anomaly_close").await?;
    mfa::require_recent(&mut tx, ctx, &grant).await?;
    let outcome = (found.outcome.as_str(), note.as_deref());
    let closed = store::review(&mut tx, (ctx.tenant, id), caller, outcome, ctx.now).await?;
    let row = store::by_id(&mut tx, ctx.tenant, id).await?.ok_or(Error::NotFound)?;
    let reviewed = shown(app, row)?;
    if reviewed.user_id != *grant.resource() {
        return Err(Error::internal("a grant to close an anomaly was used for another person's"));
    }
    if !closed {
        if reviewed.outcome == Some(found.outcome) {
            return Ok(reviewed);
        }
        return Err(Error::conflict(ErrorCode::AlreadySettled, json!({"outcome": reviewed.outcome})));
    }
    let role = people::person(&mut tx, ctx.tenant, reviewed.user_id).await?.role;
    let act = Act::done("close_anomaly")
        .object("anomaly", id)
        .object("user", reviewed.user_id)
        .object("outcome", found.outcome)
        .about(role, reviewed.user_id)
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    app.limits.clinics.forget(ctx.tenant);
    Ok(reviewed)
}

fn shown(app: &App, row: Row) -> Result<Anomaly> {
    let place = Place { row: row.anomaly_id.as_bytes(), ..NOTE };
    let open = |note: Vec<u8>| app.crypter.decrypt_text(place, &note);
    Ok(Anomaly {
        anomaly_id: row.anomaly_id,
        user_id: row.user_id,
        kind: row.kind.parse().map_err(Error::Internal)?,
        device: row.device_id,
        hits: row.hits,
        action: row.action.parse().map_err(Error::Internal)?,
        first_at: row.first_at,
        last_at: row.last_at,
        slowed_until: row.slowed_until,
        reviewed_by: row.reviewed_by,
        reviewed_at: row.reviewed_at,
        outcome: row.outcome.map(|word| word.parse().map_err(Error::Internal)).transpose()?,
        note: row.note_enc.map(open).transpose()?,
    })
}
