//! How much the people of a clinic may do in a time. Each clinic has its own numbers where it has set some, otherwise
//! the server's.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use moka::sync::Cache;
use sigilo_wire::{DeviceId, Role, TenantId, Timestamp, UserId};

use super::{Key, Kind, Limit, Quota, Store};
use crate::{
    Caller, Ctx, Error, Result, config, emergency,
    people::{self, RateLimits},
    storage::Db,
};

/// The time for all but prekeys of one device.
const WINDOW: Duration = Duration::from_mins(1);
/// How long until another bundle of one device may be had, once the burst is used up.
const DEVICE_REFILL: Duration = Duration::from_mins(10);
/// How old a clinic's numbers may be: a change made elsewhere shows after this.
const FRESH: Duration = Duration::from_secs(10);
/// Clinics whose numbers are kept.
const CAPACITY: u64 = 10_000;

/// The limits of one clinic.
struct Rates {
    messages: Limit,
    clinician_messages: Limit,
    requests: Limit,
    tickets: Limit,
    prekeys: Limit,
    prekeys_of_device: Limit,
}

impl Rates {
    fn new(store: &dyn Store, server: &config::Limits, clinic: &RateLimits) -> Self {
        let limit = |kind, own: Option<NonZeroU32>, otherwise: u32| {
            Limit::new(store, kind, Quota::of(own.map_or(otherwise, NonZeroU32::get), WINDOW))
        };
        let requests = (clinic.requests_per_minute, server.requests_per_minute);
        let burst =
            clinic.prekey_fetches_per_device.map_or(server.prekey_fetches_per_device, NonZeroU32::get);
        Self {
            messages: limit(Kind::Message, clinic.messages_per_minute, server.messages_per_minute),
            clinician_messages: limit(
                Kind::Message,
                clinic.clinician_messages_per_minute,
                server.clinician_messages_per_minute,
            ),
            requests: limit(Kind::Request, requests.0, requests.1),
            tickets: limit(Kind::Ticket, requests.0, requests.1),
            prekeys: limit(
                Kind::PrekeyFetch,
                clinic.prekey_fetches_per_minute,
                server.prekey_fetches_per_minute,
            ),
            prekeys_of_device: Limit::new(store, Kind::PrekeyDevice, Quota { burst, every: DEVICE_REFILL }),
        }
    }
}

/// The limits of all clinics, as far as they were asked for.
pub(crate) struct Clinics {
    store: Arc<dyn Store>,
    server: config::Limits,
    kept: Cache<TenantId, (Timestamp, Arc<Rates>)>,
}

impl Clinics {
    pub(super) fn new(store: Arc<dyn Store>, server: config::Limits) -> Self {
        Self { store, server, kept: Cache::new(CAPACITY) }
    }

    /// Counts a message of a device.
    ///
    /// # Errors
    /// `rate_limited`; `unavailable` when the clinic's numbers cannot be read.
    pub(crate) async fn message(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (rates, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let limit = if caller.role == Role::Doctor { &rates.clinician_messages } else { &rates.messages };
        limit.take(ctx, &device(caller)).await
    }

    /// Counts any other request of a device. One that takes part in an open emergency is not held up.
    ///
    /// # Errors
    /// As [`Clinics::message`].
    pub(crate) async fn request(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (rates, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        match rates.requests.take(ctx, &device(caller)).await {
            Err(Error::RateLimited { .. }) if emergency::is_in_one(db, caller.user_id).await? => Ok(()),
            counted => counted,
        }
    }

    /// Counts a ticket for a socket: apart from requests, so that a device that has made too many still opens one.
    ///
    /// # Errors
    /// As [`Clinics::message`].
    pub(crate) async fn ticket(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (rates, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        rates.tickets.take(ctx, &device(caller)).await
    }

    /// Counts a request for key bundles.
    ///
    /// # Errors
    /// As [`Clinics::message`]; `unavailable` also when nobody counts: keys that are not counted are not given out.
    pub(crate) async fn prekey_fetch(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (rates, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        rates.prekeys.take(ctx, &device(caller)).await
    }

    /// Counts a bundle of each of these devices for the caller.
    ///
    /// # Errors
    /// As [`Clinics::prekey_fetch`].
    pub(crate) async fn prekeys_of(&self, db: &Db, ctx: &Ctx, devices: &[DeviceId]) -> Result<()> {
        let (rates, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        for target in devices {
            rates.prekeys_of_device.take(ctx, &sender(caller.user_id, *target)).await?;
        }
        Ok(())
    }

    /// Reads a clinic's numbers again at the next request, after the commit that changed them.
    pub(crate) fn forget(&self, tenant: TenantId) {
        self.kept.invalidate(&tenant);
    }

    async fn rates(&self, db: &Db, ctx: &Ctx) -> Result<Arc<Rates>> {
        if let Some((at, rates)) = self.kept.get(&ctx.tenant)
            && ctx.now.since(at) < FRESH
        {
            return Ok(rates);
        }
        let mut tx = db.read("rate_limits").await?;
        let settings = people::settings(&mut tx, ctx.tenant).await?;
        drop(tx);
        let rates = Arc::new(Rates::new(&*self.store, &self.server, &settings.rate_limits));
        self.kept.insert(ctx.tenant, (ctx.now, Arc::clone(&rates)));
        Ok(rates)
    }
}

/// A person on a device: each device has its own.
fn device(caller: &Caller) -> Key {
    Key::pair(*caller.user_id.as_bytes(), *caller.device_id.as_bytes())
}

/// All devices of a person together, and one of another's: with more devices one drains no more.
fn sender(user: UserId, target: DeviceId) -> Key {
    Key::pair(*user.as_bytes(), *target.as_bytes())
}
