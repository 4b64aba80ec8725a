//! A patient calls.

use std::time::Duration;

use sigilo_wire::{
    ConversationId, DeviceId, UserId,
    emergency::{Emergency, OnCallMember, OpenEmergency, OpenedEmergency},
    event::EventType,
};

use super::{
    UNFLAGGED, call, roster, show,
    store::{self, EmergencyRow},
};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    conversations,
    idempotency::{self, IdempotencyKey},
    policy::{self, Grant, OpenEmergency as Open, facts},
    rng,
    storage::{Tx, error::CONFLICT},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const CREATED: u16 = 201;
/// How often an opening is tried: nobody who calls for help should hear that the database was busy.
const TRIES: u32 = 5;

/// The grant to open an emergency.
///
/// # Errors
/// `forbidden` to all but patients.
pub async fn authorize_open(app: &App, ctx: &Ctx) -> Result<Grant<Open>> {
    let decision = app.policy.decide::<Open>(ctx, &facts::Clinic { tenant: ctx.tenant });
    if decision.is_err() {
        // Calling for help has no limit, being refused has one: it is written down.
        app.limits.clinics.request(&app.db, ctx).await?;
    }
    policy::audited(app, ctx, decision, None, &[]).await
}

/// Opens an emergency with everybody who is on call now; the first tier is called at once. A request repeated with its
/// key gets the first answer. When nobody is on call it is opened all the same, and says so.
///
/// # Errors
/// `idempotency_conflict`.
pub async fn open(
    app: &App,
    ctx: &Ctx,
    grant: Grant<Open>,
    wanted: &OpenEmergency,
    key: Option<&IdempotencyKey>,
) -> Result<OpenedEmergency> {
    let patient = ctx.caller()?.user_id;
    // Another round only when the same request came twice at once, or another transaction was in the way.
    for _ in 0..TRIES {
        if let Some(key) = key
            && let Some(first) = idempotency::recall::<OpenedEmergency>(app, ctx, patient, key).await?
        {
            return Ok(first.answer);
        }
        match attempt(app, ctx, &grant, wanted, key).await {
            Ok(Some(opened)) => return Ok(opened),
            Ok(None) => {}
            Err(Error::Unavailable(what)) if what == CONFLICT => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unavailable("emergency".to_owned()))
}

/// One try. `None` when another request with this key was first.
async fn attempt(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<Open>,
    wanted: &OpenEmergency,
    key: Option<&IdempotencyKey>,
) -> Result<Option<OpenedEmergency>> {
    let patient = ctx.caller()?.user_id;
    let id = ConversationId::new(ctx.now, rng::bytes(&*app.entropy));
    let data_key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("emergency_open").await?;
    // Whose keys and accounts are read below cannot change until the commit, and a patient's openings go one after the
    // other.
    let shifts = store::shifts(&mut tx, ctx.tenant, ctx.now).await?;
    let on_call = roster::on_call(&shifts, ctx.now);
    let everyone: Vec<UserId> =
        on_call.iter().map(|member| member.user_id).chain(std::iter::once(patient)).collect();
    conversations::lock_people(&mut tx, &everyone).await?;
    let flagged = store::recent(&mut tx, patient, ctx.now - DAY).await? >= UNFLAGGED;
    let emergency = begin(&mut tx, ctx, id, wanted, (&on_call, flagged)).await?;
    let mut devices = conversations::conversation_updated(&mut tx, ctx, id, "created").await?;
    devices.extend(announce(&mut tx, ctx, &emergency).await?);
    let act = Act::done("open_emergency")
        .object("conversation", id)
        .object("category", wanted.category)
        .object("urgency", wanted.urgency)
        .object("tiers", emergency.tiers)
        .object("flagged", flagged)
        .patient(Some(patient))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &data_key, act).await?;
    let opened = OpenedEmergency {
        conversation: conversations::shown(app, &mut tx, ctx, id).await?,
        emergency_number: store::emergency_number(&mut tx, ctx.tenant).await?,
        // Whether it is looked at afterwards is the clinic's matter.
        emergency: Emergency { flagged: false, ..emergency },
    };
    if let Some(key) = key
        && !idempotency::remember(app, &mut tx, ctx, patient, key, (CREATED, &opened)).await?
    {
        return Ok(None);
    }
    tx.commit().await?;
    app.limits.clinics.emergency_called();
    app.hub.wake(&devices);
    Ok(Some(opened))
}

async fn begin(
    tx: &mut Tx,
    ctx: &Ctx,
    id: ConversationId,
    wanted: &OpenEmergency,
    (on_call, flagged): (&[OnCallMember], bool),
) -> Result<Emergency> {
    let reachable = store::reachable(tx, ctx.tenant).await?;
    let people = roster::called(on_call, &reachable);
    let tiers = people.last().map_or(0, |member| member.tier);
    let escalate_after = roster::escalate_after(tx, ctx).await?;
    let due_at = (tiers > 0).then(|| ctx.now + Duration::from_secs(u64::from(escalate_after)));
    let row = EmergencyRow {
        conversation_id: id,
        tenant_id: ctx.tenant,
        patient_id: ctx.caller()?.user_id,
        category: wanted.category.as_str().to_owned(),
        urgency: wanted.urgency.as_str().to_owned(),
        state: "open".to_owned(),
        tier: i64::from(tiers.min(1)),
        tiers: i64::from(tiers),
        escalate_after_s: i64::from(escalate_after),
        due_at,
        flagged,
        opened_at: ctx.now,
        acknowledged_by: None,
        acknowledged_at: None,
        closed_by: None,
        closed_at: None,
        outcome: None,
    };
    store::insert(tx, &row, &people).await?;
    show::shown(row, people)
}

async fn announce(tx: &mut Tx, ctx: &Ctx, emergency: &Emergency) -> Result<Vec<DeviceId>> {
    let mut event = show::event(emergency);
    event.exhausted = emergency.tiers == 0;
    call::tell(tx, ctx, emergency, (EventType::EmergencyOpened, "emergency.opened"), event, true).await
}
