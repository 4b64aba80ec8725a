//! Who hears what about keys.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use serde_json::Value;
use sigilo_wire::{
    DeviceId, Role, Timestamp, UserId,
    event::{EventType, KeysLow, RotationDue},
};

use super::{DAY, KEYS_EXPIRE_AFTER, LOW_KEYS, ROTATION_DUE_AFTER, store, store::ManifestDeviceRow};
use crate::{
    Ctx, Error, Result,
    app::{App, SharedApp},
    outbox::{self, DeviceEvent, EventBody},
    shutdown::draining,
    storage::Tx,
};

/// A device hears at most this often that its keys are low.
const LOW_EVERY: Duration = Duration::from_secs(60 * 60);
/// A device hears at most this often that a rotation is due.
const ROTATION_EVERY: Duration = DAY;
/// How often the server looks for devices to remind.
const REMIND_EVERY: Duration = Duration::from_secs(60 * 60);

/// What is told.
pub(super) struct Told<'a> {
    pub(super) r#type: EventType,
    pub(super) data: &'a Value,
    /// What some devices get instead.
    pub(super) instead: &'a HashMap<DeviceId, Value>,
}

/// Queues an event for the user's other devices and for everybody who shares a conversation. Gives the devices
/// to wake after the commit.
pub(super) async fn contacts(
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    except: DeviceId,
    told: &Told<'_>,
) -> Result<Vec<DeviceId>> {
    let devices = store::contact_devices(tx, user, except).await?;
    let data = |device: &DeviceId| told.instead.get(device).unwrap_or(told.data).clone();
    let events: Vec<DeviceEvent> =
        devices.iter().map(|device| event(*device, told.r#type, Some(user), data(device))).collect();
    outbox::enqueue(tx, events, ctx.now);
    Ok(devices)
}

/// Tells devices whose bundles were just taken that their one-time keys run low or their signed prekey grows
/// old. Gives the devices to wake after the commit.
pub(super) async fn running_low(
    tx: &mut Tx,
    ctx: &Ctx,
    devices: &[ManifestDeviceRow],
) -> Result<Vec<DeviceId>> {
    let mut events = Vec::new();
    for device in devices {
        let id = device.device_id;
        let (pre_key_count, kyber_pre_key_count) = store::counts(tx, id).await?;
        if pre_key_count.min(kyber_pre_key_count) < LOW_KEYS
            && store::tell_low(tx, id, ctx.now, ctx.now - LOW_EVERY).await?
        {
            let data = json(&KeysLow { pre_key_count, kyber_pre_key_count })?;
            events.push(event(id, EventType::KeysLow, None, data));
        }
        let published_at = device.keys.signed_pre_key_at;
        if ctx.now.since(published_at) >= ROTATION_DUE_AFTER
            && store::tell_rotation(tx, id, ctx.now, ctx.now - ROTATION_EVERY).await?
        {
            events.push(rotation_due(id, published_at)?);
        }
    }
    let woken = events.iter().map(|event| event.device).collect();
    outbox::enqueue(tx, events, ctx.now);
    Ok(woken)
}

/// Tells every device of a manifest whose signed prekey is older than [`ROTATION_DUE_AFTER`], whether somebody
/// fetches its keys or not: each at most once a day, however often this runs. Gives how many were told.
///
/// # Errors
/// When the database is away; then nobody was told, and the next run tells them.
pub async fn remind_of_rotation(app: &App, now: Timestamp) -> Result<usize> {
    let mut tx = app.db.begin("keys_remind").await?;
    let due = store::tell_all_rotation(&mut tx, now, now - ROTATION_DUE_AFTER, now - ROTATION_EVERY).await?;
    let events =
        due.iter().map(|(device, at)| rotation_due(*device, *at)).collect::<Result<Vec<DeviceEvent>>>()?;
    outbox::enqueue(&mut tx, events, now);
    tx.commit().await?;
    wake(app, &due.iter().map(|(device, _)| *device).collect::<Vec<_>>());
    Ok(due.len())
}

/// Runs [`remind_of_rotation`] now and every hour until the server drains.
pub async fn keep_reminding(app: SharedApp) {
    let mut shutdown = app.shutdown.clone();
    let mut hours = tokio::time::interval(REMIND_EVERY);
    loop {
        tokio::select! {
            () = draining(&mut shutdown) => return,
            _ = hours.tick() => match remind_of_rotation(&app, app.clock.now()).await {
                Ok(0) => {}
                Ok(devices) => tracing::info!(devices, "told devices to publish a new signed prekey"),
                Err(error) => tracing::warn!(%error, "reminders of key rotation wait for the next hour"),
            },
        }
    }
}

/// Lets connected devices fetch what was queued, after the commit.
pub(super) fn wake(app: &App, devices: &[DeviceId]) {
    app.hub.wake(devices);
}

/// The patient an act on this user's keys concerns: the user, if they are one.
pub(super) fn patient(role: &str, user: UserId) -> Option<UserId> {
    (role == Role::Patient.as_str()).then_some(user)
}

pub(super) fn json(data: &impl Serialize) -> Result<Value> {
    serde_json::to_value(data).map_err(Error::internal)
}

fn rotation_due(device: DeviceId, signed_pre_key_at: Timestamp) -> Result<DeviceEvent> {
    let data = json(&RotationDue { signed_pre_key_at, expires_at: signed_pre_key_at + KEYS_EXPIRE_AFTER })?;
    Ok(event(device, EventType::RotationDue, None, data))
}

fn event(device: DeviceId, r#type: EventType, sender: Option<UserId>, data: Value) -> DeviceEvent {
    DeviceEvent { device, r#type, conversation: None, sender, body: EventBody::Data(data) }
}
