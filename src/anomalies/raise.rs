//! Raising an anomaly, or counting on, with what is done about it.

use sigilo_wire::{
    AnomalyId, DeviceId, Role, Timestamp, UserId,
    anomaly::{AnomalyAction, AnomalyKind, AnomalyRaised},
    event::EventType,
};

use super::{
    SLOW_FOR,
    store::{self, Written},
};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    auth, conversations, emergency,
    outbox::{self, DeviceEvent, EventBody, Fact},
    people, rng,
    storage::{Tx, keystore::DataKey},
};

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: AnomalyKind,
    pub(super) user: UserId,
    pub(super) device: Option<DeviceId>,
    pub(super) hits: u32,
}

/// Writes it down, does what is to be done, and tells those who look after it. The audit entries are the server's own acts,
/// not the person's.
///
/// # Errors
/// When the database is away.
pub(super) async fn raise(app: &App, ctx: &Ctx, wanted: AnomalyAction, found: Found) -> Result<()> {
    let ctx = Ctx { now: ctx.now, request: ctx.request, ..Ctx::operator(app, ctx.tenant) };
    let Found { kind, user, device, hits } = found;
    let key = app.clinic_key(&ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("anomaly_raise").await?;
    let role = people::person(&mut tx, ctx.tenant, user).await?.role;
    let (action, ended) = act(app, &mut tx, &ctx, &key, wanted, (user, role)).await?;
    let slowed_until = (action == AnomalyAction::Slow).then(|| ctx.now + SLOW_FOR);
    let written = Written { user, kind, device, hits: i64::from(hits), action, now: ctx.now, slowed_until };
    let (anomaly, total, devices) = match store::count_on(&mut tx, &written).await? {
        Some((anomaly, total)) => (anomaly, total, Vec::new()),
        None => {
            let anomaly = AnomalyId::new(ctx.now, rng::bytes(&*app.entropy));
            store::insert(&mut tx, ctx.tenant, anomaly, &written).await?;
            (anomaly, written.hits, tell(&mut tx, &ctx, anomaly, &written).await?)
        }
    };
    let mut entry = Act::done("raise_anomaly")
        .object("anomaly", anomaly)
        .object("user", user)
        .object("kind", kind)
        .object("hits", total)
        .object("action", action)
        .about(role, user);
    if let Some(device) = device {
        entry = entry.object("device", device);
    }
    app.audit(&mut tx, &ctx, &key, entry).await?;
    tx.commit().await?;
    metrics::counter!("sigilo_anomalies_total", "kind" => kind.as_str()).increment(1);
    ended.into_iter().for_each(|device| auth::cut_off(app, device));
    app.hub.wake(&devices);
    if slowed_until.is_some() {
        app.limits.clinics.forget(ctx.tenant);
    }
    Ok(())
}

/// Does what is to be done, as far as it may be; the person is locked from here on. Gives what was done, and the devices whose tokens ended.
async fn act(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    key: &DataKey,
    wanted: AnomalyAction,
    (user, role): (UserId, Role),
) -> Result<(AnomalyAction, Vec<DeviceId>)> {
    let suspends = wanted == AnomalyAction::Suspend;
    // Of admins all of them, so that no two are suspended because each sees the other.
    let mut locked =
        if suspends && role == Role::Admin { store::admins(tx, ctx.tenant).await? } else { Vec::new() };
    locked.push(user);
    conversations::lock_people(tx, &locked).await?;
    if !suspends {
        return Ok((wanted, Vec::new()));
    }
    // Nobody loses the way to help by a count, nor whoever is to give it.
    if role == Role::Patient || emergency::is_needed(tx, ctx, user).await? {
        return Ok((AnomalyAction::Slow, Vec::new()));
    }
    let is_last =
        role == Role::Admin && store::admins(tx, ctx.tenant).await?.iter().all(|admin| *admin == user);
    let grant = match people::authorize_manage_people(app, ctx) {
        Ok(grant) if !is_last => grant,
        // Rules of a deployment may leave suspensions to people.
        Ok(_) | Err(Error::Denied(_)) => return Ok((AnomalyAction::Flag, Vec::new())),
        Err(error) => return Err(error),
    };
    let ended = people::suspend_within(app, tx, ctx, (key, &grant), user, "anomaly").await?;
    Ok((AnomalyAction::Suspend, ended.unwrap_or_default()))
}

/// Tells the clinic's admins and compliance officers, but not the person themselves. Gives the devices.
async fn tell(tx: &mut Tx, ctx: &Ctx, anomaly_id: AnomalyId, written: &Written) -> Result<Vec<DeviceId>> {
    let Written { user, kind, action, .. } = *written;
    let at: Timestamp = ctx.now;
    let own = store::devices(tx, user).await?;
    let mut devices = Vec::new();
    for role in [Role::Admin, Role::Compliance] {
        devices.extend(emergency::store::role_devices(tx, ctx.tenant, role.as_str()).await?);
    }
    devices.retain(|device| !own.contains(device));
    let raised = AnomalyRaised { anomaly_id, user_id: user, kind, action, at };
    let data = serde_json::to_value(raised).map_err(Error::internal)?;
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type: EventType::AnomalyRaised,
        conversation: None,
        sender: None,
        body: EventBody::Data(data.clone()),
    };
    outbox::enqueue(tx, devices.iter().map(event).collect(), ctx.now);
    outbox::publish(tx, ctx.tenant, vec![Fact { topic: "anomaly.raised", data }], ctx.now);
    Ok(devices)
}
