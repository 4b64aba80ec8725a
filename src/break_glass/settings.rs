//! How long a use lasts in a clinic.

use sigilo_wire::break_glass::BreakGlassSettings;

use super::LASTS_S;
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    people,
    policy::{Grant, ManageRelationships},
};

/// How long a use may last, in seconds: ten minutes to a day.
const LENGTHS: std::ops::RangeInclusive<u32> = 600..=86_400;

/// How long uses of break-glass last.
///
/// # Errors
/// 404 when there is no such clinic.
pub async fn settings(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageRelationships>,
) -> Result<BreakGlassSettings> {
    let mut tx = app.db.read("break_glass_settings").await?;
    let settings = people::settings(&mut tx, ctx.tenant).await?;
    Ok(BreakGlassSettings { break_glass_s: settings.break_glass_s.unwrap_or(LASTS_S) })
}

/// Changes how long uses last from now on; those that are open end as they were to.
///
/// # Errors
/// `invalid_field`; 404 when there is no such clinic.
pub async fn change_settings(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageRelationships>,
    change: BreakGlassSettings,
) -> Result<()> {
    let seconds = change.break_glass_s;
    if !LENGTHS.contains(&seconds) {
        return Err(Error::field("break_glass_s", "is 600 to 86400"));
    }
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("break_glass_change_settings").await?;
    people::change_settings(&mut tx, ctx.tenant, |settings| settings.break_glass_s = Some(seconds)).await?;
    let act = Act::done("change_settings").object("clinic", ctx.tenant).object("break_glass_s", seconds);
    app.audit(&mut tx, ctx, &key, act.by(grant.basis())).await?;
    tx.commit().await
}
