//! Breaking the glass.

use std::time::Duration;

use serde_json::json;
use sigilo_wire::{
    BreakGlassId, DeviceId, ErrorCode, RelationshipId, Role, UserId,
    break_glass::{BreakGlass, OpenBreakGlass},
    event::EventType,
};

use super::{
    LASTS_S,
    review::{TEXT, shown},
    store::{self, Row},
};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    conversations, emergency, free_text,
    idempotency::{self, IdempotencyKey},
    outbox::{self, DeviceEvent, EventBody, Fact},
    people,
    policy::{self, Grant, Looked, OpenBreakGlass as Open, Person, facts},
    rng,
    storage::{Tx, crypter::Place},
};

const CREATED: u16 = 201;

/// The grant to break the glass for a patient.
///
/// # Errors
/// `not_found` when the clinic has no such person; `forbidden` to all but clinicians who do not treat them.
pub async fn authorize_open(app: &App, ctx: &Ctx, patient: UserId) -> Result<Grant<Open>> {
    let (facts, concerned) = load(app, ctx, patient).await?;
    let decision = app.policy.decide::<Open>(ctx, &facts);
    policy::audited(app, ctx, decision, concerned, &[("user", patient.to_string())]).await
}

/// What the rules would say to breaking the glass for a patient, who is whom it concerns.
///
/// # Errors
/// `not_found` when the clinic has no such person.
pub(crate) async fn look(app: &App, ctx: &Ctx, patient: UserId) -> Result<(Looked, Option<UserId>)> {
    let (facts, concerned) = load(app, ctx, patient).await?;
    Ok((app.policy.look::<Open>(ctx, &facts)?, concerned))
}

async fn load(app: &App, ctx: &Ctx, patient: UserId) -> Result<(facts::BreakGlass, Option<UserId>)> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("break_glass_authorize").await?;
    let target = store::person(&mut tx, ctx.tenant, patient).await?.ok_or(Error::NotFound)?;
    let related = store::related(&mut tx, ctx.tenant, (patient, caller.id), ctx.now).await?;
    let concerned = (target.role == Role::Patient).then_some(patient);
    Ok((facts::BreakGlass { caller, target, related }, concerned))
}

/// Lets the clinician and the patient start and join conversations for some hours. A request repeated with its key gets
/// the first answer.
///
/// # Errors
/// `invalid_field`, `phi_detected` for the text; `idempotency_conflict`; `already_settled` when there is care between
/// the two meanwhile.
pub async fn open(
    app: &App,
    ctx: &Ctx,
    patient: UserId,
    wanted: &OpenBreakGlass,
    key: Option<&IdempotencyKey>,
) -> Result<BreakGlass> {
    free_text::check("text", &wanted.text)?;
    let caller = ctx.caller()?.user_id;
    // A second round only when the same request came twice at once.
    for _ in 0..2 {
        if let Some(key) = key
            && let Some(first) = idempotency::recall::<BreakGlass>(app, ctx, caller, key).await?
        {
            return Ok(first.answer);
        }
        let grant = authorize_open(app, ctx, patient).await?;
        if let Some(opened) = attempt(app, ctx, &grant, wanted, key).await? {
            return Ok(opened);
        }
    }
    Err(Error::Unavailable("break_glass".to_owned()))
}

/// One try. `None` when another request with this key was first.
async fn attempt(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<Open>,
    wanted: &OpenBreakGlass,
    key: Option<&IdempotencyKey>,
) -> Result<Option<BreakGlass>> {
    let (caller, patient) = (ctx.caller()?.user_id, *grant.resource());
    let id = BreakGlassId::new(ctx.now, rng::bytes(&*app.entropy));
    let relationship = RelationshipId::new(ctx.now, rng::bytes(&*app.entropy));
    let place = Place { row: id.as_bytes(), ..TEXT };
    let text_enc = app.crypter.encrypt(place, wanted.text.as_bytes(), &*app.entropy)?;
    let audit_key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("break_glass_open").await?;
    conversations::lock_people(&mut tx, &[patient, caller]).await?;
    if store::related(&mut tx, ctx.tenant, (patient, caller), ctx.now).await? {
        let problem = "there is care between you and this patient already";
        return Err(Error::conflict(ErrorCode::AlreadySettled, json!({"problem": problem})));
    }
    let lasts = people::settings(&mut tx, ctx.tenant).await?.break_glass_s.unwrap_or(LASTS_S);
    let row = Row {
        break_glass_id: id,
        clinician_id: caller,
        patient_id: patient,
        reason: wanted.reason.as_str().to_owned(),
        text_enc,
        opened_at: ctx.now,
        expires_at: ctx.now + Duration::from_secs(u64::from(lasts)),
        reviewed_by: None,
        reviewed_at: None,
        finding: None,
    };
    store::insert(&mut tx, ctx.tenant, relationship, &row).await?;
    conversations::facts_changed_between(&mut tx, patient, caller).await?;
    let opened = shown(app, row)?;
    let devices = tell(&mut tx, ctx, &opened).await?;
    let act = Act::done("open_break_glass")
        .object("break_glass", id)
        .object("relationship", relationship)
        .object("clinician", caller)
        .object("reason", wanted.reason)
        .object("expires_at", opened.expires_at)
        .patient(Some(patient))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &audit_key, act).await?;
    if let Some(key) = key
        && !idempotency::remember(app, &mut tx, ctx, caller, key, (CREATED, &opened)).await?
    {
        return Ok(None);
    }
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(Some(opened))
}

/// Tells the patient, the staff and the compliance officers: who, whom, why in a word, until when. The text is for
/// compliance, who read it in their queue. Gives the devices.
async fn tell(tx: &mut Tx, ctx: &Ctx, opened: &BreakGlass) -> Result<Vec<DeviceId>> {
    let mut devices = store::user_devices(tx, opened.patient_id).await?;
    for role in [Role::Admin, Role::Compliance] {
        devices.extend(emergency::store::role_devices(tx, ctx.tenant, role.as_str()).await?);
    }
    let told = BreakGlass { text: None, ..opened.clone() };
    let data = serde_json::to_value(told).map_err(Error::internal)?;
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type: EventType::BreakGlassOpened,
        conversation: None,
        sender: Some(opened.clinician_id),
        body: EventBody::Data(data.clone()),
    };
    let events: Vec<DeviceEvent> = devices.iter().map(event).collect();
    outbox::enqueue(tx, events, ctx.now);
    outbox::publish(tx, ctx.tenant, vec![Fact { topic: "break_glass.opened", data }], ctx.now);
    Ok(devices)
}
