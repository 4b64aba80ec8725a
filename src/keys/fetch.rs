//! Handing out key bundles. Each one-time key leaves once.

use serde::Deserialize;
use sigilo_wire::{
    Base64Array, DeviceId, DeviceNumber, Timestamp, UserId,
    anomaly::AnomalyKind,
    keys::{DeviceBundle, KeyBundles, KyberPreKey, PreKey, SignedPreKey},
};

use super::{
    KEYS_EXPIRE_AFTER, Purpose, keys_missing,
    manifest::read_manifest,
    notify,
    store::{self, ManifestDeviceRow},
};
use crate::{
    Caller, Ctx, Error, Result, anomalies,
    app::App,
    audit::Act,
    policy::{FetchKeys, Grant},
    storage::{
        Tx,
        dialect::{OneTimePreKey, take_one_time_pre_key},
    },
};

/// Which devices' bundles: `*` or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Which {
    /// All of the user's, but the calling one.
    All,
    /// One.
    One(DeviceNumber),
}

impl TryFrom<String> for Which {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// Takes what the caller needs to open sessions with a person's devices: those of the newest manifest whose
/// signed prekey is at most [`KEYS_EXPIRE_AFTER`] old. The transaction that returns a one-time key deletes it:
/// nobody else gets it, and when the transaction fails it stays. Devices that run low are told. Each bundle is counted
/// before, unless it is for an emergency.
///
/// # Errors
/// `rate_limited`; `unavailable` when what was fetched cannot be counted;
/// 409 `keys_missing` without identity or manifest, or when the one device asked for has only expired keys;
/// `not_found` when the manifest does not name it.
pub async fn fetch(
    app: &App,
    ctx: &Ctx,
    (grant, purpose): (Grant<FetchKeys>, Purpose),
    which: Which,
) -> Result<KeyBundles> {
    let caller = ctx.caller()?;
    let user = *grant.resource();
    let counted = match purpose {
        Purpose::Ordinary => Some(within_limits(app, ctx, user, which).await?),
        Purpose::Emergency => None,
    };
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("keys_fetch").await?;
    let row = store::user(&mut tx, ctx.tenant, user).await?;
    let published = read_manifest(&mut tx, user, &row).await?;
    let devices = choose(store::manifest_devices(&mut tx, user).await?, ctx, caller, user, which)?;
    let is_counted = |device: &ManifestDeviceRow| {
        counted.as_ref().is_none_or(|counted| counted.contains(&device.device_id))
    };
    if !devices.iter().all(is_counted) {
        return Err(Error::Unavailable("a device was added in this moment".to_owned()));
    }
    let mut bundles = Vec::with_capacity(devices.len());
    for device in &devices {
        bundles.push(take(&mut tx, device, ctx.now).await?);
    }
    let woken = notify::running_low(&mut tx, ctx, &devices).await?;
    let numbers: Vec<String> = bundles.iter().map(|bundle| bundle.device_id.to_string()).collect();
    let act = Act::done("fetch_keys")
        .object("user", user)
        .object("devices", numbers.join(","))
        .patient(
            notify::patient(&row.role, user)
                .or_else(|| notify::patient(caller.role.as_str(), caller.user_id)),
        )
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    notify::wake(app, &woken);
    bundles.sort_by_key(|bundle| bundle.device_id);
    Ok(KeyBundles {
        user_id: user,
        identity_key: published.identity_key,
        manifest: published.manifest,
        devices: bundles,
    })
}

/// Counts what is asked for, and notes when it is too much.
async fn within_limits(app: &App, ctx: &Ctx, user: UserId, which: Which) -> Result<Vec<DeviceId>> {
    let counted = count(app, ctx, user, which).await;
    if matches!(counted, Err(Error::RateLimited { .. })) {
        let Caller { user_id, device_id, .. } = *ctx.caller()?;
        anomalies::notice(app, ctx, AnomalyKind::PrekeyDraining, user_id, Some(device_id)).await;
    }
    counted
}

/// Counts a bundle of each device that will be chosen, before anything is locked.
async fn count(app: &App, ctx: &Ctx, user: UserId, which: Which) -> Result<Vec<DeviceId>> {
    app.limits.clinics.prekey_fetch(&app.db, ctx).await?;
    let mut tx = app.db.read("keys_fetch_count").await?;
    let devices = store::manifest_devices(&mut tx, user).await?;
    drop(tx);
    let chosen = choose(devices, ctx, ctx.caller()?, user, which)?;
    let chosen: Vec<DeviceId> = chosen.into_iter().map(|device| device.device_id).collect();
    app.limits.clinics.prekeys_of(&app.db, ctx, &chosen).await?;
    Ok(chosen)
}

fn choose(
    devices: Vec<ManifestDeviceRow>,
    ctx: &Ctx,
    caller: &Caller,
    user: UserId,
    which: Which,
) -> Result<Vec<ManifestDeviceRow>> {
    let fresh =
        |device: &ManifestDeviceRow| ctx.now.since(device.keys.signed_pre_key_at) <= KEYS_EXPIRE_AFTER;
    match which {
        Which::All => Ok(devices
            .into_iter()
            .filter(|device| fresh(device) && device.device_id != caller.device_id)
            .collect()),
        Which::One(number) => {
            let device = devices.into_iter().find(|d| d.device_number == number).ok_or(Error::NotFound)?;
            if device.device_id == caller.device_id {
                return Err(Error::field("device_id", "a device needs no session with itself"));
            }
            if fresh(&device) { Ok(vec![device]) } else { Err(keys_missing(user, "fresh_signed_pre_key")) }
        }
    }
}

async fn take(tx: &mut Tx, device: &ManifestDeviceRow, now: Timestamp) -> Result<DeviceBundle> {
    let keys = &device.keys;
    let pre_key = take_one_time_pre_key(tx, device.device_id, store::EC).await?;
    let kyber = take_one_time_pre_key(tx, device.device_id, store::KYBER).await?;
    let given: Vec<&OneTimePreKey> = pre_key.iter().chain(&kyber).collect();
    store::give(tx, device.device_id, &given, now).await?;
    let kyber_is_last_resort = kyber.is_none();
    let kyber = kyber.unwrap_or_else(|| OneTimePreKey {
        key_id: keys.last_resort_key_id,
        public_key: keys.last_resort_key.clone(),
        signature: Some(keys.last_resort_signature.clone()),
    });
    Ok(DeviceBundle {
        device_id: device.device_number,
        registration_id: number(device.registration_id)?,
        signed_pre_key: SignedPreKey {
            key_id: number(keys.signed_pre_key_id)?,
            public_key: array(&keys.signed_pre_key)?,
            signature: array(&keys.signed_pre_key_signature)?,
        },
        kyber_pre_key: KyberPreKey {
            key_id: number(kyber.key_id)?,
            public_key: array(&kyber.public_key)?,
            signature: array(kyber.signature.as_deref().unwrap_or_default())?,
        },
        pre_key: pre_key
            .map(|key| {
                Ok::<_, Error>(PreKey { key_id: number(key.key_id)?, public_key: array(&key.public_key)? })
            })
            .transpose()?,
        kyber_is_last_resort,
    })
}

/// A number of a stored key. What is stored was checked.
fn number(stored: i64) -> Result<u32> {
    u32::try_from(stored).map_err(Error::internal)
}

/// Bytes of a stored key. What is stored was checked.
fn array<const N: usize>(stored: &[u8]) -> Result<Base64Array<N>> {
    stored
        .try_into()
        .map(Base64Array)
        .map_err(|_| Error::internal(format!("a stored key is {} bytes, not {N}", stored.len())))
}
