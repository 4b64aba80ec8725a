//! A user's devices, and their end.

use sigilo_wire::{
    DeviceId, Timestamp, UserId,
    account::{Device, DeviceList},
    event::{DeviceRemoved, EventType},
};

use super::{known::cut_off, sessions, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    conversations, mfa,
    outbox::{self, DeviceEvent, EventBody},
    policy::{Grant, ManageOwnAccount},
    storage::Tx,
};

/// The caller's devices, oldest first.
///
/// # Errors
/// When the database is away.
pub async fn list_devices(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>) -> Result<DeviceList> {
    let caller = ctx.caller()?;
    let mut tx = app.db.read("devices").await?;
    let rows = store::devices(&mut tx, *grant.resource()).await?;
    let results = rows.iter().map(|row| sessions::describe(app, row, Some(caller.device_id)));
    Ok(DeviceList { results: results.collect::<Result<_>>()? })
}

/// The device the caller's token is bound to.
///
/// # Errors
/// 404 when it was removed meanwhile.
pub(crate) async fn current_device(app: &App, ctx: &Ctx) -> Result<Device> {
    let caller = ctx.caller()?;
    let mut tx = app.db.read("device").await?;
    let row = store::device(&mut tx, caller.user_id, caller.device_id).await?.ok_or(Error::NotFound)?;
    sessions::describe(app, &row, Some(caller.device_id))
}

/// Removes a device of the caller: its tokens, keys and waiting events are gone at once, and its number is
/// never given again. The user's other devices are told: one of them has to sign a manifest without it and with a
/// new history key, whichever device or session asked for the removal.
///
/// # Errors
/// `step_up_required`; 404 when the caller has no such device.
pub async fn revoke_device(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOwnAccount>,
    device: DeviceId,
) -> Result<()> {
    let (user, role) = (*grant.resource(), ctx.caller()?.role);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("device_revoke").await?;
    mfa::require_recent(&mut tx, ctx, &grant).await?;
    // Messages are no longer for this device. Conversations are locked before devices.
    conversations::facts_changed_of(&mut tx, user).await?;
    let told = tell_of_removal(&mut tx, ctx, user, device).await?;
    if !store::revoke_device(&mut tx, device, user, ctx.now).await? {
        return Err(Error::NotFound);
    }
    let act = Act::done("revoke_device").object("device", device).about(role, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    cut_off(app, device);
    app.hub.wake(&told);
    Ok(())
}

/// Queues word of a messaging device's removal for the user's other ones, but the caller's. Gives the devices to wake
/// after the commit.
async fn tell_of_removal(tx: &mut Tx, ctx: &Ctx, user: UserId, removed: DeviceId) -> Result<Vec<DeviceId>> {
    let caller = ctx.caller()?.device_id;
    let devices = store::devices(tx, user).await?;
    let number = devices.iter().find(|row| row.device_id == removed).and_then(|row| row.device_number);
    let Some(device_id) = number else { return Ok(Vec::new()) };
    let data = serde_json::to_value(DeviceRemoved { device_id }).map_err(Error::internal)?;
    let told = |row: &&store::DeviceRow| {
        row.device_number.is_some() && row.device_id != caller && row.device_id != removed
    };
    let event = |row: &store::DeviceRow| DeviceEvent {
        device: row.device_id,
        r#type: EventType::DeviceRemoved,
        conversation: None,
        sender: Some(user),
        body: EventBody::Data(data.clone()),
    };
    let events: Vec<DeviceEvent> = devices.iter().filter(told).map(event).collect();
    let woken = events.iter().map(|event| event.device).collect();
    outbox::enqueue(tx, events, ctx.now);
    Ok(woken)
}

/// Ends the tokens of all of a person's devices, or of all but one. Gives the devices to [`cut_off`] after the
/// commit.
pub(crate) async fn end_sessions(
    tx: &mut Tx,
    user: UserId,
    spared: Option<DeviceId>,
    now: Timestamp,
) -> Result<Vec<DeviceId>> {
    let rows = store::devices(tx, user).await?.into_iter();
    let devices: Vec<DeviceId> = rows.map(|row| row.device_id).filter(|id| Some(*id) != spared).collect();
    for device in &devices {
        store::log_out(tx, *device, now).await?;
    }
    Ok(devices)
}
