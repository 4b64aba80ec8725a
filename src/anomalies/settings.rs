//! What is out of the ordinary in a clinic, and what is done about it.

use serde_json::json;
use sigilo_wire::anomaly::{AnomalyAction, AnomalyKind, AnomalyRule, AnomalySettings};

use super::usual;
use crate::{
    Actor, App, Ctx, Error, Result,
    audit::Act,
    mfa, people,
    policy::{Grant, ManagePeople},
};

const COUNTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// In seconds: a minute to a day.
const TIMES: std::ops::RangeInclusive<u32> = 60..=86_400;

/// The clinic's rule of every kind.
///
/// # Errors
/// 404 when there is no such clinic.
pub async fn settings(app: &App, ctx: &Ctx, _grant: &Grant<ManagePeople>) -> Result<AnomalySettings> {
    let mut tx = app.db.read("anomaly_settings").await?;
    let own = people::settings(&mut tx, ctx.tenant).await?.anomalies;
    let rule = |kind: &AnomalyKind| (*kind, own.get(kind).copied().unwrap_or(usual(*kind)));
    Ok(AnomalySettings { rules: AnomalyKind::ALL.iter().map(rule).collect() })
}

/// Sets the clinic's rules, in place of what was set before; other servers follow within ten seconds. Kinds that are not
/// named have the rule of new clinics.
///
/// # Errors
/// `invalid_field`; `step_up_required` for a person; 404 when there is no such clinic.
pub async fn change_settings(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    change: AnomalySettings,
) -> Result<()> {
    for (kind, rule) in &change.rules {
        check(*kind, rule)?;
    }
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("anomaly_change_settings").await?;
    if matches!(ctx.actor, Actor::User(_)) {
        mfa::require_recent(&mut tx, ctx, &grant).await?;
    }
    let act = Act::done("change_settings")
        .object("clinic", ctx.tenant)
        .object("anomalies", json!(change.rules))
        .by(grant.basis());
    let rules = change.rules;
    people::change_settings(&mut tx, ctx.tenant, |settings| settings.anomalies = rules).await?;
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    app.anomalies.forget(ctx.tenant);
    Ok(())
}

fn check(kind: AnomalyKind, rule: &AnomalyRule) -> Result<()> {
    let wrong = |problem: &str| Err(Error::field("rules", format!("has for {kind} a {problem}")));
    if !COUNTS.contains(&rule.count) {
        return wrong("count that is not 1 to 10000");
    }
    if !TIMES.contains(&rule.within_s) {
        return wrong("within_s that is not 60 to 86400");
    }
    if !kind.is_excess() && matches!(rule.action, AnomalyAction::Slow | AnomalyAction::Suspend) {
        return wrong("action that would let others have somebody slowed down or suspended: off or flag");
    }
    Ok(())
}
