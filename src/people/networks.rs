//! From which networks the people of a clinic may come: a part of its settings.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sigilo_wire::{Role, networks::AllowedNetworks};

use super::{settings, store};
use crate::{
    Actor, App, Ctx, Error, Result,
    audit::Act,
    auth, mfa,
    people::change_settings,
    policy::{Grant, ManageNetworks, facts},
};

/// The most ranges of a role.
const MOST: usize = 64;

/// The ranges of each role that has any; the others come from anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Networks(BTreeMap<Role, Vec<IpNet>>);

/// The ranges of one role: none stands for anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Arc<[IpNet]>);

impl Ranges {
    /// Whether somebody may come from here. Whose address is not known comes from nowhere.
    pub(crate) fn allow(&self, address: Option<IpAddr>) -> bool {
        self.0.is_empty()
            || address.is_some_and(|address| self.0.iter().any(|range| range.contains(&address)))
    }
}

impl Networks {
    /// No ranges for anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A role's.
    pub(crate) fn of(&self, role: Role) -> Ranges {
        Ranges(self.0.get(&role).map_or_else(Arc::default, |ranges| ranges.as_slice().into()))
    }

    fn parse(wanted: &AllowedNetworks) -> Result<Self> {
        let mut networks = BTreeMap::new();
        for (role, ranges) in &wanted.networks {
            if ranges.len() > MOST {
                return Err(Error::field("networks", format!("has more than {MOST} ranges for {role}")));
            }
            let ranges = ranges.iter().map(|text| range(text)).collect::<Result<Vec<IpNet>>>()?;
            if !ranges.is_empty() {
                networks.insert(*role, ranges);
            }
        }
        Ok(Self(networks))
    }

    fn shown(&self) -> AllowedNetworks {
        let texts = |ranges: &Vec<IpNet>| ranges.iter().map(ToString::to_string).collect();
        AllowedNetworks { networks: self.0.iter().map(|(role, ranges)| (*role, texts(ranges))).collect() }
    }
}

/// A range in CIDR notation, or a single address.
fn range(text: &str) -> Result<IpNet> {
    let single = text.parse::<IpAddr>().map(IpNet::from);
    let range = single.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        Error::field(
            "networks",
            format!("has '{text}', which is no range such as 10.20.0.0/16 or 2001:db8::/32"),
        )
    })?;
    if range.trunc() != range {
        return Err(Error::field(
            "networks",
            format!("has {range}; the range it lies in is {}", range.trunc()),
        ));
    }
    Ok(range)
}

/// The grant to see and change the networks of the clinic `ctx` is for.
///
/// # Errors
/// `forbidden` for all but the operator and the clinic's admins.
pub fn authorize_manage_networks(app: &App, ctx: &Ctx) -> Result<Grant<ManageNetworks>> {
    app.policy.decide::<ManageNetworks>(ctx, &facts::Clinic { tenant: ctx.tenant })
}

/// From which networks people may come.
///
/// # Errors
/// When the database is away.
pub async fn networks(app: &App, ctx: &Ctx, _grant: Grant<ManageNetworks>) -> Result<AllowedNetworks> {
    let mut tx = app.db.read("networks").await?;
    Ok(settings(&mut tx, ctx.tenant).await?.networks.shown())
}

/// Changes from which networks people may come. Sockets that are open from elsewhere close within about a second, on
/// every server; whoever comes from elsewhere is refused from then on.
///
/// # Errors
/// `invalid_field`, also for an admin whose own address is outside; `step_up_required` for a person.
pub async fn set_networks(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageNetworks>,
    wanted: &AllowedNetworks,
) -> Result<AllowedNetworks> {
    let networks = Networks::parse(wanted)?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("set_networks").await?;
    if let Actor::User(caller) = &ctx.actor {
        mfa::require_recent(&mut tx, ctx, &grant).await?;
        if !networks.of(caller.role).allow(ctx.address.map(|address| address.to_canonical())) {
            let from = ctx.address.map_or_else(|| "nowhere known".to_owned(), |address| address.to_string());
            return Err(Error::field("networks", format!("would shut you out: you come from {from}")));
        }
    }
    let shown = networks.shown();
    change_settings(&mut tx, ctx.tenant, |settings| settings.networks = networks).await?;
    store::networks_changed(&mut tx).await?;
    let act = Act::done("change_settings")
        .object("clinic", ctx.tenant)
        .object("networks", json!(shown.networks))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    auth::look_where_from(app).await?;
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(role: Role, ranges: &[&str]) -> Result<Networks> {
        let ranges = ranges.iter().map(|range| (*range).to_owned()).collect();
        Networks::parse(&AllowedNetworks { networks: BTreeMap::from([(role, ranges)]) })
    }

    #[test]
    fn a_role_comes_from_its_ranges_and_the_others_from_anywhere() {
        let networks = networks(Role::Admin, &["10.20.0.0/16", "2001:db8::/32", "203.0.113.7"]).unwrap();
        let allows = |role, address: &str| networks.of(role).allow(Some(address.parse().unwrap()));
        for inside in ["10.20.0.0", "10.20.255.255", "2001:db8::1", "203.0.113.7"] {
            assert!(allows(Role::Admin, inside), "{inside}");
        }
        for outside in ["10.19.255.255", "10.21.0.0", "2001:db9::", "203.0.113.8", "::ffff:10.20.0.1"] {
            assert!(!allows(Role::Admin, outside), "{outside}");
            assert!(allows(Role::Doctor, outside), "{outside}");
        }
        assert!(!networks.of(Role::Admin).allow(None) && networks.of(Role::Doctor).allow(None));
    }

    #[test]
    fn ranges_are_written_as_they_are_meant() {
        for wrong in ["", "10.20.0.0/33", "10.20.1.0/16", "the office", "10.20.0.0-10.20.0.9"] {
            assert!(networks(Role::Admin, &[wrong]).is_err(), "{wrong}");
        }
        assert!(networks(Role::Admin, &["10.0.0.0/8"; MOST]).is_ok());
        assert!(networks(Role::Admin, &["10.0.0.0/8"; MOST + 1]).is_err());
        assert!(networks(Role::Admin, &[]).unwrap().is_empty(), "nobody is shut out by an empty list");
    }
}
