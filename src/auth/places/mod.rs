//! From where an account is logged in to.
//!
//! Of each account the server remembers a few networks, as keyed hashes. A log-in from another one is told to the
//! person's other devices: whose password is in other hands learns of it. Renewed tokens are not looked at: they prove no
//! more than the log-in they come from, and where a phone goes all day is nobody's business.

pub(crate) mod store;

use std::{net::IpAddr, time::Duration};

use sigilo_wire::{
    DeviceId, UserId,
    account::Device,
    anomaly::AnomalyKind,
    event::{EventType, NewPlace},
};

use super::{sessions::to_the_hour, store as devices};
use crate::{
    App, Ctx, Error, Result, anomalies,
    audit::Act,
    outbox::{self, DeviceEvent, EventBody},
    storage::Tx,
};

/// How many networks of an account are remembered.
const MOST: usize = 20;
/// How long one is remembered from which nobody logs in.
const IDLE: Duration = Duration::from_hours(180 * 24);

/// What is known of where a device was logged in.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// Whether the account was not known to come from there. The first place of an account is not new.
    new: bool,
    /// The devices that are told.
    told: Vec<DeviceId>,
}

impl Arrival {
    /// The act with which the device got its tokens, with word of it when it is new.
    pub(super) fn noted<'a>(&self, act: Act<'a>) -> Act<'a> {
        if self.new { act.object("place", "new") } else { act }
    }

    /// After the commit: wakes the devices that are told, and has the clinic note it.
    pub(super) async fn told(self, app: &App, ctx: &Ctx, user: UserId, device: DeviceId) {
        app.hub.wake(&self.told);
        if self.new {
            anomalies::notice(app, ctx, AnomalyKind::NewPlace, user, Some(device)).await;
        }
    }
}

/// Notes from where a device of an account was given its first tokens, and tells the person's other messaging devices when
/// that is new. The account is locked.
///
/// # Errors
/// When the database refuses.
pub(super) async fn arrived(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    device: &Device,
) -> Result<Arrival> {
    let place = app.crypter.place_index(user.as_bytes(), &network(ctx.address));
    let known = store::places(tx, user).await?;
    let fresh = |row: &&store::PlaceRow| ctx.now.since(row.last_at) < IDLE;
    let new = !known.is_empty() && !known.iter().filter(fresh).any(|row| row.place == place);
    store::seen(tx, user, &place, to_the_hour(ctx.now)).await?;
    let others = known.iter().filter(|row| row.place != place).enumerate();
    for (_, row) in others.filter(|(place, row)| *place + 1 >= MOST || !fresh(row)) {
        store::forget(tx, user, &row.place).await?;
    }
    let told = if new { tell(tx, ctx, user, device).await? } else { Vec::new() };
    Ok(Arrival { new, told })
}

/// Queues word of it for the person's other messaging devices.
async fn tell(tx: &mut Tx, ctx: &Ctx, user: UserId, device: &Device) -> Result<Vec<DeviceId>> {
    let place = NewPlace { device: device.id, kind: device.kind, at: ctx.now };
    let data = serde_json::to_value(place).map_err(Error::internal)?;
    let rows = devices::devices(tx, user).await?;
    let others = rows.iter().filter(|row| row.device_number.is_some() && row.device_id != device.id);
    let told: Vec<DeviceId> = others.map(|row| row.device_id).collect();
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type: EventType::NewPlace,
        conversation: None,
        sender: Some(user),
        body: EventBody::Data(data.clone()),
    };
    outbox::enqueue(tx, told.iter().map(event).collect(), ctx.now);
    Ok(told)
}

/// The network an address belongs to: the first 24 bits of IPv4, the first 48 of IPv6, which is what one line or one
/// house commonly has. Callers without an address are one network.
fn network(address: Option<IpAddr>) -> [u8; 16] {
    match address.map(|address| address.to_canonical()) {
        None => [0; 16],
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            std::net::Ipv4Addr::new(a, b, c, 0).to_ipv6_mapped().octets()
        }
        Some(IpAddr::V6(address)) => {
            let mut octets = address.octets();
            octets[6..].fill(0);
            octets
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [u8; 16] {
        network(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_line_or_a_house_is_one_network() {
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.77"));
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:ffff::1"));
        assert_ne!(of("2001:db8:1::7"), of("2001:db8:2::7"));
        assert_ne!(network(None), of("192.0.2.1"));
    }
}
