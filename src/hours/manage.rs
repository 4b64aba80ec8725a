//! What the clinic's staff sees and changes of its hours, and of its clinicians'.

use chrono::{Days, NaiveDate};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{
    Role, TenantId, Timestamp, UserId,
    hours::{ChatHours, DayException, DayExceptions, SetDay, SetHours, Weekly},
};
use uuid::Uuid;

use super::{
    load::{self, date_of},
    store, week,
};
use crate::{
    App, Ctx, Error, Result,
    audit::{Act, hex},
    conversations, free_text,
    policy::{self, Grant, ManageHours, facts},
    relay,
    storage::Tx,
};

/// How far ahead a date may have hours of its own.
const AHEAD: Days = Days::new(2 * 366);

/// The grant to see and change the hours of the clinic `ctx` is for.
///
/// # Errors
/// `forbidden` for all but the operator and the clinic's admins.
pub async fn authorize_manage_hours(app: &App, ctx: &Ctx) -> Result<Grant<ManageHours>> {
    let decision = app.policy.decide::<ManageHours>(ctx, &facts::Clinic { tenant: ctx.tenant });
    policy::audited(app, ctx, decision, None, &[("clinic", ctx.tenant.to_string())]).await
}

/// The hours of the clinic, or a clinician's own.
///
/// # Errors
/// 404 when the clinic has no such person, `invalid_field` when they are no clinician.
pub async fn get(
    app: &App,
    ctx: &Ctx,
    _grant: Grant<ManageHours>,
    clinician: Option<UserId>,
) -> Result<ChatHours> {
    let mut tx = app.db.read("hours").await?;
    let Some(clinician) = clinician else { return of_clinic(&mut tx, ctx.tenant, ctx.now).await };
    be_clinician(store::role(&mut tx, ctx.tenant, clinician).await?)?;
    of_clinician(&mut tx, ctx, clinician).await
}

/// The hours of a clinic, with what comes from today on.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn of_clinic(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<ChatHours> {
    let row = store::clinic(tx, tenant).await?;
    let exceptions = to_come(tx, (tenant, tenant.uuid()), &row.time_zone, now).await?;
    let weekly: Weekly = serde_json::from_str(&row.hours).map_err(Error::internal)?;
    Ok(ChatHours { user_id: None, time_zone: row.time_zone, weekly: Some(weekly), exceptions })
}

async fn of_clinician(tx: &mut Tx, ctx: &Ctx, clinician: UserId) -> Result<ChatHours> {
    let own = store::own(tx, ctx.tenant, &[clinician]).await?.pop();
    let (zone, weekly) = own.map_or((None, None), |row| (row.time_zone, row.weekly));
    let time_zone = match zone {
        Some(zone) => zone,
        None => store::clinic(tx, ctx.tenant).await?.time_zone,
    };
    let weekly = weekly.map(|text| serde_json::from_str(&text).map_err(Error::internal)).transpose()?;
    let exceptions = to_come(tx, (ctx.tenant, clinician.uuid()), &time_zone, ctx.now).await?;
    Ok(ChatHours { user_id: Some(clinician), time_zone, weekly, exceptions })
}

async fn to_come(
    tx: &mut Tx,
    (tenant, owner): (TenantId, Uuid),
    zone: &str,
    now: Timestamp,
) -> Result<Vec<DayException>> {
    let today = date_of(load::zone(zone)?, now).unwrap_or_default();
    let rows = store::days(tx, tenant, owner, &written(today)).await?;
    rows.into_iter().map(load::shown).collect()
}

/// Changes the hours of the clinic, or those a clinician has of their own. Open sockets are held to them at once.
///
/// # Errors
/// `invalid_field`; 404 when the clinic has no such person.
pub async fn set(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageHours>,
    clinician: Option<UserId>,
    change: &SetHours,
) -> Result<ChatHours> {
    if let Some(zone) = &change.time_zone
        && zone.parse::<chrono_tz::Tz>().is_err()
    {
        return Err(Error::field("time_zone", "an IANA time zone such as America/Mexico_City"));
    }
    if let Some(weekly) = &change.weekly {
        week::parse_week(weekly).map_err(|problem| Error::field("weekly", problem))?;
    }
    let text = change.weekly.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
    let mut work = Work::begin(app, ctx, clinician).await?;
    match clinician {
        None => {
            let before = store::lock_clinic(&mut work.tx, ctx.tenant).await?;
            let zone = change.time_zone.as_ref().unwrap_or(&before.time_zone);
            let weekly = text.as_ref().unwrap_or(&before.hours);
            store::set_clinic(&mut work.tx, ctx.tenant, zone, weekly).await?;
        }
        Some(clinician) => {
            let zone = change.time_zone.as_deref();
            store::set_own(&mut work.tx, ctx.tenant, clinician, zone, text.as_deref()).await?;
        }
    }
    let hours = match clinician {
        None => of_clinic(&mut work.tx, ctx.tenant, ctx.now).await?,
        Some(clinician) => of_clinician(&mut work.tx, ctx, clinician).await?,
    };
    let act = Act::done("set_hours").object("hours_sha256", digest(change)?);
    work.finish(app, ctx, act, &grant).await?;
    Ok(hours)
}

/// Takes away what a clinician has of their own: they are there whenever the clinic is.
///
/// # Errors
/// 404 when the clinic has no such person, or they have no hours of their own.
pub async fn clear(app: &App, ctx: &Ctx, grant: Grant<ManageHours>, clinician: UserId) -> Result<()> {
    let mut work = Work::begin(app, ctx, Some(clinician)).await?;
    if !store::clear_own(&mut work.tx, clinician).await? {
        return Err(Error::NotFound);
    }
    work.finish(app, ctx, Act::done("clear_hours"), &grant).await
}

/// The dates from today on that have hours of their own.
///
/// # Errors
/// As [`get`].
pub async fn days(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageHours>,
    clinician: Option<UserId>,
) -> Result<DayExceptions> {
    Ok(DayExceptions { results: get(app, ctx, grant, clinician).await?.exceptions })
}

/// Gives a date hours of its own, for the clinic or a clinician; none: closed.
///
/// # Errors
/// `invalid_field`, `phi_detected` for a reason that identifies somebody or names an illness; 404.
pub async fn set_day(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageHours>,
    clinician: Option<UserId>,
    (date, day): (&str, &SetDay),
) -> Result<DayException> {
    week::parse_day(&day.windows).map_err(|problem| Error::field("windows", problem))?;
    day.reason.as_deref().map_or(Ok(()), |reason| free_text::check("reason", reason))?;
    let windows = serde_json::to_string(&day.windows).map_err(Error::internal)?;
    let date = parse_date(date)?;
    let mut work = Work::begin(app, ctx, clinician).await?;
    let zone = match clinician {
        None => store::clinic(&mut work.tx, ctx.tenant).await?.time_zone,
        Some(clinician) => of_clinician(&mut work.tx, ctx, clinician).await?.time_zone,
    };
    let today = date_of(load::zone(&zone)?, ctx.now).unwrap_or_default();
    if date < today || today.checked_add_days(AHEAD).is_none_or(|last| date > last) {
        return Err(Error::field("date", "is a day from today to two years ahead"));
    }
    let written = written(date);
    let owner = (ctx.tenant, work.owner);
    store::set_day(&mut work.tx, owner, &written, &windows, day.reason.as_deref()).await?;
    let act = Act::done("set_holiday").object("date", &written).object("hours_sha256", digest(day)?);
    work.finish(app, ctx, act, &grant).await?;
    Ok(DayException { date: written, windows: day.windows.clone(), reason: day.reason.clone() })
}

/// Gives a date the hours of its day of the week again.
///
/// # Errors
/// 404 when it has none of its own.
pub async fn remove_day(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageHours>,
    clinician: Option<UserId>,
    date: &str,
) -> Result<()> {
    let written = written(parse_date(date)?);
    let mut work = Work::begin(app, ctx, clinician).await?;
    if !store::remove_day(&mut work.tx, ctx.tenant, work.owner, &written).await? {
        return Err(Error::NotFound);
    }
    let act = Act::done("remove_holiday").object("date", &written);
    work.finish(app, ctx, act, &grant).await
}

/// A change of somebody's hours under way: their row is held.
struct Work {
    tx: Tx,
    key: crate::storage::keystore::DataKey,
    owner: Uuid,
    clinician: Option<UserId>,
}

impl Work {
    async fn begin(app: &App, ctx: &Ctx, clinician: Option<UserId>) -> Result<Self> {
        let key = app.clinic_key(ctx, ctx.tenant).await?;
        let mut tx = app.db.begin("hours_change").await?;
        let owner = match clinician {
            None => {
                store::lock_clinic(&mut tx, ctx.tenant).await?;
                ctx.tenant.uuid()
            }
            Some(clinician) => {
                be_clinician(store::lock_role(&mut tx, ctx.tenant, clinician).await?)?;
                clinician.uuid()
            }
        };
        Ok(Self { tx, key, owner, clinician })
    }

    /// Makes every decision made on the hours of before stale, writes the entry and commits.
    async fn finish(mut self, app: &App, ctx: &Ctx, act: Act<'_>, grant: &Grant<ManageHours>) -> Result<()> {
        let act = match self.clinician {
            None => {
                conversations::facts_changed_in_clinic(&mut self.tx, ctx.tenant).await?;
                act.object("clinic", ctx.tenant)
            }
            Some(clinician) => {
                conversations::facts_changed_of(&mut self.tx, clinician).await?;
                act.object("user", clinician)
            }
        };
        relay::held::look_again(&mut self.tx, ctx.tenant, ctx.now).await?;
        app.audit(&mut self.tx, ctx, &self.key, act.by(grant.basis())).await?;
        self.tx.commit().await
    }
}

fn be_clinician(role: Role) -> Result<()> {
    if role == Role::Doctor { Ok(()) } else { Err(Error::field("user_id", "is no clinician")) }
}

fn parse_date(text: &str) -> Result<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|date| written(*date) == text);
    date.ok_or_else(|| Error::field("date", "is written as YYYY-MM-DD"))
}

/// As stored: in order of time when in order of letters.
fn written(date: NaiveDate) -> String {
    date.format("%Y-%m-%d").to_string()
}

fn digest(change: &impl Serialize) -> Result<String> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(change).map_err(Error::internal)?)))
}
