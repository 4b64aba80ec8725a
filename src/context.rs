//! Who asks, for which clinic, when: made once per request by a gateway and passed to every capability.

use std::net::IpAddr;

use sigilo_wire::{
    DeviceId, DeviceNumber, RequestId, Role, TenantId, Timestamp, UserId, account::DeviceKind,
};

use crate::{Error, Result, app::App, rng};
use sigilo_wire::ErrorCode;

/// One request's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ctx {
    /// The clinic everything happens in.
    pub tenant: TenantId,
    /// Who asks.
    pub actor: Actor,
    /// Names the request in logs, errors and the audit log.
    pub request: RequestId,
    /// When the request arrived: one instant for all it does.
    pub now: Timestamp,
    /// The caller's network address, for limits; the audit log keeps a keyed hash of it.
    pub address: Option<IpAddr>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person on a device.
    User(Caller),
    /// Whoever runs the server's command line beside its database.
    Operator,
    /// Somebody who has not logged in yet.
    Anonymous,
}

/// A person on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub user_id: UserId,
    /// Its role.
    pub role: Role,
    /// Whether it may be used. Of whoever makes a request it may: that was looked at a moment ago.
    pub active: bool,
    /// The device.
    pub device_id: DeviceId,
    /// The kind of device.
    pub kind: DeviceKind,
    /// A messaging device's number.
    pub device_number: Option<DeviceNumber>,
}

impl Ctx {
    /// The context of a command beside the database.
    #[must_use]
    pub fn operator(app: &App, tenant: TenantId) -> Self {
        let now = app.clock.now();
        let request = RequestId::new(now, rng::bytes(&*app.entropy));
        Self { tenant, actor: Actor::Operator, request, now, address: None }
    }

    /// The person asking.
    ///
    /// # Errors
    /// `unauthenticated` for anonymous callers, and for the operator where only a person makes sense.
    pub fn caller(&self) -> Result<&Caller> {
        match &self.actor {
            Actor::User(caller) => Ok(caller),
            Actor::Operator | Actor::Anonymous => Err(Error::Unauthenticated(ErrorCode::Unauthenticated)),
        }
    }
}
