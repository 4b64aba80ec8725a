//! Where devices and their accounts stand, remembered for a second: every request asks.

use std::time::Duration;

use moka::sync::Cache;
use sigilo_wire::{
    DeviceId, DeviceNumber, Role, TenantId, Timestamp, TokenFamilyId, UserId, account::DeviceKind,
};

use super::store;
use crate::{Result, app::App, relay::hub::CloseReason, storage::Db};

/// How old an answer may be: changes made on another node show after this.
const FRESH: Duration = Duration::from_secs(1);
/// Devices remembered.
const CAPACITY: u64 = 100_000;

/// A device and its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// What this node knows of devices.
#[derive(Debug)]
pub struct KnownDevices(Cache<DeviceId, (Standing, Timestamp)>);

impl Default for KnownDevices {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl KnownDevices {
    /// Where a device stands, at most a second old.
    pub(super) async fn get(&self, db: &Db, device: DeviceId, now: Timestamp) -> Result<Option<Standing>> {
        if let Some((standing, at)) = self.0.get(&device)
            && now.since(at) < FRESH
        {
            return Ok(Some(standing));
        }
        let mut tx = db.read("device_standing").await?;
        let standing = store::standing(&mut tx, device).await?;
        if let Some(standing) = standing {
            self.0.insert(device, (standing, now));
        }
        Ok(standing)
    }

    /// Forgets a device, after the commit that changed it.
    pub fn forget(&self, device: DeviceId) {
        self.0.invalidate(&device);
    }

    /// Forgets every device, after a commit that changed an account.
    pub fn forget_all(&self) {
        self.0.invalidate_all();
    }
}

/// Ends what a device has open here, after the commit that ended its tokens. Other processes notice within a
/// second ([`super::keep_watching`]).
pub(crate) fn cut_off(app: &App, device: DeviceId) {
    app.known_devices.forget(device);
    app.hub.disconnect(device, CloseReason::Unauthenticated);
}
