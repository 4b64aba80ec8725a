//! Where devices and their accounts stand, remembered for a second: every request asks.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use moka::sync::Cache;
use serde_json::json;
use sigilo_wire::{
    DeviceId, DeviceNumber, Role, TenantId, Timestamp, TokenFamilyId, UserId, account::DeviceKind,
};

use super::store;
use crate::{
    Ctx, Error, Result,
    app::App,
    people::Ranges,
    policy::{
        Connect, InForce, Person, UseTokens,
        facts::{Arriving, Tokens},
    },
    relay::hub::CloseReason,
    storage::Db,
};

/// How old an answer may be: changes made on another node show after this.
const FRESH: Duration = Duration::from_secs(1);
/// Devices remembered.
const CAPACITY: u64 = 100_000;

/// A device and its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) device: DeviceId,
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) kind: DeviceKind,
    pub(super) number: Option<DeviceNumber>,
    /// The family whose tokens are good; `None` while the device is logged out or removed, or the account is
    /// not active.
    pub(super) family: Option<TokenFamilyId>,
    /// Whether the account has a second factor.
    pub(super) second_factor: bool,
    /// Whether the clinic asks for one of the roles that need it.
    pub(super) required: bool,
    /// From which networks the clinic lets the role in.
    pub(super) ranges: Ranges,
}

/// Whom the rules let use their tokens, by all that the decision knows.
type Cleared = (UserId, DeviceKind, bool, bool);

/// Whom the rules let in from where, by all that the decision knows.
type LetIn = (UserId, DeviceKind, Option<IpAddr>, bool);

/// What this node knows of devices.
#[derive(Debug)]
pub struct KnownDevices {
    devices: Cache<DeviceId, (Standing, Timestamp)>,
    /// How often something was forgotten: what was read before that is not remembered after it.
    forgotten: AtomicU64,
    /// With the hash of the rules that said so.
    cleared: Cache<Cleared, [u8; 32]>,
    /// Likewise.
    let_in: Cache<LetIn, [u8; 32]>,
}

impl Default for KnownDevices {
    fn default() -> Self {
        let (devices, cleared, let_in) = (Cache::new(CAPACITY), Cache::new(CAPACITY), Cache::new(CAPACITY));
        Self { devices, forgotten: AtomicU64::default(), cleared, let_in }
    }
}

impl KnownDevices {
    /// Where a device stands, at most a second old.
    pub(super) async fn get(&self, db: &Db, device: DeviceId, now: Timestamp) -> Result<Option<Standing>> {
        if let Some((standing, at)) = self.devices.get(&device)
            && now.since(at) < FRESH
        {
            return Ok(Some(standing));
        }
        let before = self.forgotten.load(Ordering::SeqCst);
        let mut tx = db.read("device_standing").await?;
        let standing = store::standing(&mut tx, device).await?;
        if let Some(standing) = &standing {
            self.remember(standing.clone(), now, before);
        }
        Ok(standing)
    }

    /// Remembers what was read when so much was forgotten. A commit may have ended the tokens since, and been forgotten
    /// before this: so it is looked again after it stands here.
    fn remember(&self, standing: Standing, now: Timestamp, before: u64) {
        let device = standing.device;
        self.devices.insert(device, (standing, now));
        if self.forgotten.load(Ordering::SeqCst) != before {
            self.devices.invalidate(&device);
        }
    }

    /// Forgets a device, after the commit that changed it.
    pub fn forget(&self, device: DeviceId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.devices.invalidate(&device);
    }

    /// Forgets every device, after a commit that changed an account.
    pub fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.devices.invalidate_all();
    }

    /// Whether the rules let this one in from where the request comes. An allow is remembered for as long as the rules
    /// and the clinic's word on the address are the same; a denial is not.
    pub(super) fn may_connect(&self, policy: &InForce, ctx: &Ctx, standing: &Standing) -> Result<()> {
        let address = ctx.address.map(|address| address.to_canonical());
        let within_networks = standing.ranges.allow(address);
        let asked = (standing.user, standing.kind, address, within_networks);
        let rules = policy.set_hash();
        if self.let_in.get(&asked) == Some(rules) {
            return Ok(());
        }
        let Standing { user: id, tenant, role, kind, .. } = *standing;
        let caller = Person { id, tenant, role, active: true };
        let decision = policy.decide::<Connect>(ctx, &Arriving { caller, kind, address, within_networks });
        match decision {
            Ok(_) => {
                self.let_in.insert(asked, rules);
                Ok(())
            }
            Err(Error::Denied(mut denial)) => {
                // So that somebody behind a misconfigured proxy sees what the server sees.
                denial.details["address"] = json!(address);
                Err(Error::Denied(denial))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the rules let this one use their tokens. An allow is remembered for as long as the rules are the same;
    /// a denial is not.
    pub(super) fn may_use_tokens(&self, policy: &InForce, ctx: &Ctx, standing: &Standing) -> Result<()> {
        let asked = (standing.user, standing.kind, standing.second_factor, standing.required);
        let rules = policy.set_hash();
        if self.cleared.get(&asked) == Some(rules) {
            return Ok(());
        }
        let Standing { second_factor, required, .. } = *standing;
        let facts = Tokens { caller: Person::caller(ctx)?, second_factor, required };
        policy.decide::<UseTokens>(ctx, &facts)?;
        self.cleared.insert(asked, rules);
        Ok(())
    }
}

/// Ends what a device has open here, after the commit that ended its tokens. Other processes notice within a
/// second ([`super::keep_watching`]).
pub(crate) fn cut_off(app: &App, device: DeviceId) {
    app.known_devices.forget(device);
    app.hub.disconnect(device, CloseReason::Unauthenticated);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(now: Timestamp) -> Standing {
        Standing {
            device: DeviceId::new(now, [1; 10]),
            tenant: TenantId::new(now, [2; 10]),
            user: UserId::new(now, [3; 10]),
            role: Role::Patient,
            kind: DeviceKind::Messaging,
            number: None,
            family: Some(TokenFamilyId::new(now, [4; 10])),
            second_factor: false,
            required: false,
            ranges: Ranges::default(),
        }
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_remembered_after_it() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let (known, standing) = (KnownDevices::default(), standing(now));
        let device = standing.device;
        let before = known.forgotten.load(Ordering::SeqCst);
        known.remember(standing.clone(), now, before);
        assert!(known.devices.get(&device).is_some());
        known.forget(device);
        known.remember(standing.clone(), now, before);
        assert!(known.devices.get(&device).is_none(), "one device");
        let before = known.forgotten.load(Ordering::SeqCst);
        known.forget_all();
        known.remember(standing, now, before);
        assert!(known.devices.get(&device).is_none(), "all");
    }
}
