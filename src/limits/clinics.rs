//! How much the people of a clinic may do in a time. Each clinic has its own numbers where it has set some, otherwise
//! the server's.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use moka::sync::Cache;
use sigilo_wire::{DeviceId, Role, TenantId, Timestamp, UserId};

use super::{Key, Kind, Limit, Quota, Store};
use crate::{
    Caller, Ctx, Error, Result, anomalies, config, emergency,
    people::{self, RateLimits},
    storage::Db,
};

/// The time for all but files, and prekeys of one device.
const WINDOW: Duration = Duration::from_mins(1);
/// The time for files.
const FILE_WINDOW: Duration = Duration::from_hours(1);
/// How long until another bundle of one device may be had, once the burst is used up.
const DEVICE_REFILL: Duration = Duration::from_mins(10);
/// How old a clinic's numbers may be: a change made elsewhere shows after this.
const FRESH: Duration = Duration::from_secs(10);
/// Clinics whose numbers are kept.
const CAPACITY: u64 = 10_000;
/// How long somebody who is over the limit and in no emergency is taken to be in none: who asks too often reads no
/// database for each refusal.
const IN_NONE: Duration = Duration::from_secs(1);
/// People of whom that is known.
const PEOPLE: u64 = 100_000;

/// The limits of one clinic.
struct Rates {
    messages: Limit,
    clinician_messages: Limit,
    requests: Limit,
    files: Limit,
    tickets: Limit,
    prekeys: Limit,
    prekeys_of_device: Limit,
}

impl Rates {
    /// Those of a clinic, so many times lower.
    fn new(store: &dyn Store, server: &config::Limits, clinic: &RateLimits, lower: u32) -> Self {
        let number = |own: Option<NonZeroU32>, otherwise: u32| own.map_or(otherwise, NonZeroU32::get);
        let limit =
            |kind, own, otherwise| Limit::new(store, kind, Quota::of(number(own, otherwise) / lower, WINDOW));
        let requests = (clinic.requests_per_minute, server.requests_per_minute);
        let burst = number(clinic.prekey_fetches_per_device, server.prekey_fetches_per_device) / lower;
        let per_device = Quota { burst: burst.max(1), every: DEVICE_REFILL * lower };
        Self {
            messages: limit(Kind::Message, clinic.messages_per_minute, server.messages_per_minute),
            clinician_messages: limit(
                Kind::Message,
                clinic.clinician_messages_per_minute,
                server.clinician_messages_per_minute,
            ),
            requests: limit(Kind::Request, requests.0, requests.1),
            files: Limit::new(
                store,
                Kind::File,
                Quota::of(number(clinic.files_per_hour, server.files_per_hour) / lower, FILE_WINDOW),
            ),
            // Whoever acknowledges fewer messages only makes them wait.
            tickets: Limit::new(store, Kind::Ticket, Quota::of(number(requests.0, requests.1), WINDOW)),
            prekeys: limit(
                Kind::PrekeyFetch,
                clinic.prekey_fetches_per_minute,
                server.prekey_fetches_per_minute,
            ),
            prekeys_of_device: Limit::new(store, Kind::PrekeyDevice, per_device),
        }
    }
}

/// The limits of one clinic, and of those of its people who are slowed down.
struct Kept {
    rates: Rates,
    lower: Rates,
    slowed: HashMap<UserId, Timestamp>,
}

impl Kept {
    fn of(&self, ctx: &Ctx, user: UserId) -> &Rates {
        let slowed = self.slowed.get(&user).is_some_and(|until| ctx.now < *until);
        if slowed { &self.lower } else { &self.rates }
    }
}

/// The limits of all clinics, as far as they were asked for.
pub(crate) struct Clinics {
    store: Arc<dyn Store>,
    server: config::Limits,
    kept: Cache<TenantId, (Timestamp, Arc<Kept>)>,
    in_none: Cache<UserId, Timestamp>,
}

impl Clinics {
    pub(super) fn new(store: Arc<dyn Store>, server: config::Limits) -> Self {
        Self { store, server, kept: Cache::new(CAPACITY), in_none: Cache::new(PEOPLE) }
    }

    /// Counts a message of a device.
    ///
    /// # Errors
    /// `rate_limited`; `unavailable` when the clinic's numbers cannot be read.
    pub(crate) async fn message(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let rates = kept.of(ctx, caller.user_id);
        let limit = if caller.role == Role::Doctor { &rates.clinician_messages } else { &rates.messages };
        limit.take(ctx, &device(caller)).await
    }

    /// Counts any other request of a device. One that takes part in an open emergency is not held up.
    ///
    /// # Errors
    /// As [`Clinics::message`].
    pub(crate) async fn request(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let rates = kept.of(ctx, caller.user_id);
        match rates.requests.take(ctx, &device(caller)).await {
            Err(Error::RateLimited { .. }) if self.is_in_emergency(db, ctx, caller.user_id).await? => Ok(()),
            counted => counted,
        }
    }

    /// Asks again who is in an emergency, after the commit that called somebody to one.
    pub(crate) fn emergency_called(&self) {
        self.in_none.invalidate_all();
    }

    async fn is_in_emergency(&self, db: &Db, ctx: &Ctx, user: UserId) -> Result<bool> {
        if self.in_none.get(&user).is_some_and(|at| ctx.now.since(at) < IN_NONE) {
            return Ok(false);
        }
        let is = emergency::is_in_one(db, user).await?;
        if !is {
            self.in_none.insert(user, ctx.now);
        }
        Ok(is)
    }

    /// Counts a file of a person, on whichever device; a small picture apart from them.
    ///
    /// # Errors
    /// As [`Clinics::message`].
    pub(crate) async fn file(&self, db: &Db, ctx: &Ctx, small: bool) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let user = *caller.user_id.as_bytes();
        let key = if small { Key::pair(user, *b"a small picture.") } else { Key::one(user) };
        kept.of(ctx, caller.user_id).files.take(ctx, &key).await
    }

    /// Counts a refusal at a door that counts nothing else: each writes an entry that stays, also in an emergency.
    ///
    /// # Errors
    /// As [`Clinics::message`].
    pub(crate) async fn refusal(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        kept.of(ctx, caller.user_id).requests.take(ctx, &device(caller)).await
    }

    /// Counts a ticket for a socket: apart from requests, so that a device that has made too many still opens one.
    ///
    /// # Errors
    /// As [`Clinics::message`].
    pub(crate) async fn ticket(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let rates = kept.of(ctx, caller.user_id);
        rates.tickets.take(ctx, &device(caller)).await
    }

    /// Counts a request for key bundles.
    ///
    /// # Errors
    /// As [`Clinics::message`]; `unavailable` also when nobody counts: keys that are not counted are not given out.
    pub(crate) async fn prekey_fetch(&self, db: &Db, ctx: &Ctx) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let rates = kept.of(ctx, caller.user_id);
        rates.prekeys.take(ctx, &device(caller)).await
    }

    /// Counts a bundle of each of these devices for the caller.
    ///
    /// # Errors
    /// As [`Clinics::prekey_fetch`].
    pub(crate) async fn prekeys_of(&self, db: &Db, ctx: &Ctx, devices: &[DeviceId]) -> Result<()> {
        let (kept, caller) = (self.rates(db, ctx).await?, ctx.caller()?);
        let rates = kept.of(ctx, caller.user_id);
        for target in devices {
            rates.prekeys_of_device.take(ctx, &sender(caller.user_id, *target)).await?;
        }
        Ok(())
    }

    /// Reads a clinic's numbers again at the next request, after the commit that changed them or slowed somebody down.
    pub(crate) fn forget(&self, tenant: TenantId) {
        self.kept.invalidate(&tenant);
    }

    async fn rates(&self, db: &Db, ctx: &Ctx) -> Result<Arc<Kept>> {
        if let Some((at, kept)) = self.kept.get(&ctx.tenant)
            && ctx.now.since(at) < FRESH
        {
            return Ok(kept);
        }
        let mut tx = db.read("rate_limits").await?;
        let own = people::settings(&mut tx, ctx.tenant).await?.rate_limits;
        let slowed = anomalies::slowed(&mut tx, ctx.tenant, ctx.now).await?;
        drop(tx);
        let rates = |lower| Rates::new(&*self.store, &self.server, &own, lower);
        let kept = Arc::new(Kept { rates: rates(1), lower: rates(anomalies::SLOWER), slowed });
        self.kept.insert(ctx.tenant, (ctx.now, Arc::clone(&kept)));
        Ok(kept)
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
