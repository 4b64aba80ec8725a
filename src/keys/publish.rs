//! Publishing a device's prekeys, and how many are left.

use sigilo_wire::{
    DeviceId, Timestamp,
    keys::{KeyCounts, PutKeys},
};

use super::{
    DAY, identity::current_identity, keys_missing, notify, store, store::DeviceKeysRow, verify,
    verify::VerifiedKeys,
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    conversations,
    policy::{Grant, PublishKeys},
    storage::Tx,
};

/// Publishes prekeys of the calling device. A list that is there replaces its set; what is absent stays. Keys that were
/// given out are not given out again, so that an answer that was lost can be asked for by publishing the same once more.
///
/// # Errors
/// 409 `keys_missing` before the identity key, 400 `invalid_field` and 422 as
/// `verify::verify`. Nothing is written unless all is.
pub async fn publish(app: &App, ctx: &Ctx, grant: Grant<PublishKeys>, request: PutKeys) -> Result<KeyCounts> {
    let device = ctx.caller()?.device_id;
    let user = *grant.resource();
    let mut tx = app.db.read("keys_identity").await?;
    let before = store::user(&mut tx, ctx.tenant, user).await?;
    drop(tx);
    let identity = before.identity_key.as_deref().ok_or_else(|| keys_missing(user, "identity_key"))?;
    let identity = current_identity(identity)?;
    // A hundred signatures are some milliseconds of work: not on a thread that serves sockets.
    let keys = tokio::task::spawn_blocking(move || verify::verify(&identity, request))
        .await
        .map_err(Error::internal)??;

    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("keys_publish").await?;
    let row = store::lock_user(&mut tx, ctx.tenant, user).await?;
    if row.identity_key != before.identity_key {
        return Err(verify::Name("identity_key", None)
            .invalid_signature("the identity key changed while these keys were published"));
    }
    write(&mut tx, ctx, device, &keys).await?;
    let act = Act::done("publish_keys")
        .object("user", user)
        .object("pre_keys", keys.pre_keys.len())
        .object("kyber_pre_keys", keys.kyber_pre_keys.len())
        .object("signed_pre_key", keys.signed_pre_key.is_some())
        .object("last_resort_kyber_pre_key", keys.last_resort.is_some())
        .patient(notify::patient(&row.role, user))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    let counts = read_counts(&mut tx, device, ctx.now).await?;
    tx.commit().await?;
    Ok(counts)
}

/// What is left of the calling device's one-time keys, and how old its signed prekey is.
///
/// # Errors
/// When the database is away.
pub async fn counts(app: &App, ctx: &Ctx, _grant: Grant<PublishKeys>) -> Result<KeyCounts> {
    let device = ctx.caller()?.device_id;
    let mut tx = app.db.read("keys_counts").await?;
    read_counts(&mut tx, device, ctx.now).await
}

pub(super) async fn read_counts(tx: &mut Tx, device: DeviceId, now: Timestamp) -> Result<KeyCounts> {
    let (pre_key_count, kyber_pre_key_count) = store::counts(tx, device).await?;
    let keys = store::device_keys(tx, device).await?;
    Ok(KeyCounts {
        pre_key_count,
        kyber_pre_key_count,
        signed_pre_key_age_days: keys.map(|keys| {
            u32::try_from(now.since(keys.signed_pre_key_at).as_secs() / DAY.as_secs()).unwrap_or(u32::MAX)
        }),
    })
}

async fn write(tx: &mut Tx, ctx: &Ctx, device: DeviceId, keys: &VerifiedKeys) -> Result<()> {
    if !keys.pre_keys.is_empty() {
        store::replace_one_time_keys(tx, device, store::EC, &keys.pre_keys, ctx.now).await?;
    }
    if !keys.kyber_pre_keys.is_empty() {
        store::replace_one_time_keys(tx, device, store::KYBER, &keys.kyber_pre_keys, ctx.now).await?;
    }
    let before = store::device_keys(tx, device).await?;
    let published_at = before.as_ref().map(|keys| keys.signed_pre_key_at);
    let merged = merge(before, keys, ctx.now)?;
    // A device looks Kyber keys up by id alone, whether one-time or last-resort.
    if store::one_time_key_exists(tx, device, store::KYBER, merged.last_resort_key_id).await? {
        return Err(Error::field(
            "kyber_pre_keys",
            format_args!("key id {} is the last-resort key's", merged.last_resort_key_id),
        ));
    }
    store::put_device_keys(tx, device, &merged).await?;
    if published_at != Some(merged.signed_pre_key_at) {
        // Whether messages must be for this device depends on the age of its keys.
        conversations::facts_changed_of(tx, ctx.caller()?.user_id).await?;
    }
    register(tx, device, keys.registration_id).await
}

/// The device's keys after a publication. A key that was there before keeps its age: publishing it again does
/// not make it younger.
fn merge(before: Option<DeviceKeysRow>, keys: &VerifiedKeys, now: Timestamp) -> Result<DeviceKeysRow> {
    let signed = keys.signed_pre_key.as_ref().map(|key| {
        let known = before.as_ref().filter(|old| old.signed_pre_key == key.public_key.as_slice());
        let since = known.map_or(now, |old| old.signed_pre_key_at);
        (i64::from(key.key_id), key.public_key.to_vec(), key.signature.to_vec(), since)
    });
    let last_resort = keys.last_resort.as_ref().map(|key| {
        let known = before.as_ref().filter(|old| old.last_resort_key == key.public_key.as_slice());
        let since = known.map_or(now, |old| old.last_resort_at);
        (i64::from(key.key_id), key.public_key.to_vec(), key.signature.to_vec(), since)
    });
    let kept = |old: &DeviceKeysRow| {
        let old = old.clone();
        (
            (old.signed_pre_key_id, old.signed_pre_key, old.signed_pre_key_signature, old.signed_pre_key_at),
            (old.last_resort_key_id, old.last_resort_key, old.last_resort_signature, old.last_resort_at),
        )
    };
    let (old_signed, old_last_resort) = before.as_ref().map(kept).unzip();
    let missing = |field| move || Error::field(field, "is required at a device's first publication");
    let signed = signed.or(old_signed).ok_or_else(missing("signed_pre_key"))?;
    let last_resort = last_resort.or(old_last_resort).ok_or_else(missing("last_resort_kyber_pre_key"))?;
    Ok(DeviceKeysRow {
        signed_pre_key_id: signed.0,
        signed_pre_key: signed.1,
        signed_pre_key_signature: signed.2,
        signed_pre_key_at: signed.3,
        last_resort_key_id: last_resort.0,
        last_resort_key: last_resort.1,
        last_resort_signature: last_resort.2,
        last_resort_at: last_resort.3,
    })
}

/// Remembers the registration id. Once a manifest has named the device with one, it stays: another would be
/// another installation, which is linked as a new device.
async fn register(tx: &mut Tx, device: DeviceId, registration: u32) -> Result<()> {
    let (current, added_at) = store::device(tx, device).await?;
    if current == Some(i64::from(registration)) {
        return Ok(());
    }
    if current.is_some() && added_at.is_some() {
        return Err(Error::field(
            "registration_id",
            "the manifest names this device with another registration id; link the new installation instead",
        ));
    }
    store::set_registration(tx, device, registration).await
}
