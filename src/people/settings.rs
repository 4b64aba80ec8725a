//! What a clinic has decided for itself: a JSON document in its row.

use std::{collections::BTreeMap, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};
use sigilo_wire::{
    TenantId,
    anomaly::{AnomalyKind, AnomalyRule},
};

use super::{networks::Networks, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    policy::{Grant, ManageClinic},
    storage::Tx,
};

/// A clinic's settings. What is not there is as new clinics have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Whether the roles that need a second factor must enrol one.
    pub second_factor: SecondFactorRule,
    /// How long each tier on call has to acknowledge an emergency, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalate_after_s: Option<u32>,
    /// How long a use of break-glass lasts, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass_s: Option<u32>,
    /// From which networks the people of each role may come.
    #[serde(skip_serializing_if = "Networks::is_empty")]
    pub networks: Networks,
    /// How much its people may do in a time.
    #[serde(skip_serializing_if = "RateLimits::is_empty")]
    pub rate_limits: RateLimits,
    /// What is out of the ordinary, where it is not as in new clinics.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub anomalies: BTreeMap<AnomalyKind, AnomalyRule>,
}

/// How much the people of a clinic may do in a time: where nothing is set, what the server's configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Messages of a device, in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_minute: Option<NonZeroU32>,
    /// Messages of a clinician's device, in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clinician_messages_per_minute: Option<NonZeroU32>,
    /// Other requests of a device, in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Files of a person, in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_per_hour: Option<NonZeroU32>,
    /// Requests of a device for key bundles, in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prekey_fetches_per_minute: Option<NonZeroU32>,
    /// Bundles of one device for one person at once; then one in ten minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prekey_fetches_per_device: Option<NonZeroU32>,
}

impl RateLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether doctors, admins, moderators and compliance officers must have a second factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondFactorRule {
    /// Until they have, their tokens serve to enrol it and for nothing else.
    #[default]
    Required,
    /// As they like.
    Optional,
}

impl FromStr for SecondFactorRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err(format!("'{text}' is not one of required, optional")),
        }
    }
}

impl Settings {
    /// As stored.
    ///
    /// # Errors
    /// When the stored text is not what this program writes.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(Error::internal)
    }

    pub(super) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }
}

/// A clinic's settings.
///
/// # Errors
/// When the database is away.
pub(crate) async fn settings(tx: &mut Tx, tenant: TenantId) -> Result<Settings> {
    Settings::parse(&store::settings(tx, tenant).await?.ok_or(Error::NotFound)?)
}

/// Changes a clinic's settings, in the caller's transaction; one change at a time.
///
/// # Errors
/// 404 when there is no such clinic.
pub(crate) async fn change_settings(
    tx: &mut Tx,
    tenant: TenantId,
    change: impl FnOnce(&mut Settings),
) -> Result<()> {
    store::lock_tenant(tx, tenant).await?.ok_or(Error::NotFound)?;
    let mut changed = settings(tx, tenant).await?;
    change(&mut changed);
    store::set_settings(tx, tenant, &changed.to_text()?).await
}

/// Changes what the clinic asks of the roles that need a second factor. Those without one are held to it from
/// their next request on, their sockets from the next renewal of their tokens.
///
/// # Errors
/// 404 when there is no such clinic.
pub async fn set_second_factor(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageClinic>,
    rule: SecondFactorRule,
) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("clinic_settings").await?;
    change_settings(&mut tx, ctx.tenant, |settings| settings.second_factor = rule).await?;
    let word = match rule {
        SecondFactorRule::Required => "required",
        SecondFactorRule::Optional => "optional",
    };
    let act = Act::done("change_settings").object("clinic", ctx.tenant).object("second_factor", word);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await?;
    app.known_devices.forget_all();
    Ok(())
}

/// Sets how much the clinic's people may do in a time, in place of what was set before. Other servers follow within
/// seconds.
///
/// # Errors
/// 404 when there is no such clinic.
pub async fn set_rate_limits(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageClinic>,
    limits: RateLimits,
) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("clinic_settings").await?;
    change_settings(&mut tx, ctx.tenant, |settings| settings.rate_limits = limits).await?;
    let text = serde_json::to_string(&limits).map_err(Error::internal)?;
    let act = Act::done("change_settings").object("clinic", ctx.tenant).object("rate_limits", text);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await?;
    app.limits.clinics.forget(ctx.tenant);
    Ok(())
}

/// What the clinic has set for how much its people may do.
///
/// # Errors
/// 404 when there is no such clinic.
pub async fn rate_limits(app: &App, ctx: &Ctx, _grant: &Grant<ManageClinic>) -> Result<RateLimits> {
    let mut tx = app.db.read("clinic_settings_show").await?;
    Ok(settings(&mut tx, ctx.tenant).await?.rate_limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clinic_that_said_nothing_requires_the_second_factor() {
        assert_eq!(Settings::parse("{}").unwrap().second_factor, SecondFactorRule::Required);
        let optional = Settings { second_factor: SecondFactorRule::Optional, ..Settings::default() };
        assert_eq!(Settings::parse(&optional.to_text().unwrap()).unwrap(), optional);
        assert!(Settings::parse(r#"{"second_factor":"never"}"#).is_err());
    }
}
