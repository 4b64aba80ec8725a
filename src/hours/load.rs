//! The hours that decide on a conversation, read from the database.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use sigilo_wire::{
    TenantId, Timestamp, UserId,
    hours::{DayException, DayWindow, EmergencyChannel, OutsideHours},
};
use uuid::Uuid;

use super::{
    Schedule, Span, Together,
    store::{self, DayRow},
    week::{self, Week},
};
use crate::{Error, Result, storage::Tx};

/// Exceptions further back than this decide on nothing any more.
const BACK: Days = Days::new(5);

/// The hours of a conversation with a patient.
#[derive(Clone, Debug)]
pub struct ChatHours {
    together: Together,
    emergency_number: String,
}

/// Where a patient finds help at any hour.
pub const EMERGENCY_PATH: &str = "/api/chat/emergency/";

impl ChatHours {
    /// Reads those of a clinic, narrowed by these clinicians' own.
    ///
    /// # Errors
    /// When the database refuses, or holds what this program did not write.
    pub async fn load(tx: &mut Tx, tenant: TenantId, clinicians: &[UserId], now: Timestamp) -> Result<Self> {
        let row = store::clinic(tx, tenant).await?;
        let zone = zone(&row.time_zone)?;
        let mut days: BTreeMap<Uuid, Exceptions> = BTreeMap::new();
        let owners: Vec<Uuid> =
            std::iter::once(tenant.uuid()).chain(clinicians.iter().map(|id| id.uuid())).collect();
        for row in store::days_of(tx, tenant, &owners, &relevant_from(zone, now)).await? {
            let windows: Vec<DayWindow> = serde_json::from_str(&row.windows).map_err(Error::internal)?;
            let windows = week::parse_day(&windows).map_err(Error::Internal)?;
            days.entry(row.owner_id).or_default().insert(parse_date(&row.day)?, windows);
        }
        let mut own: BTreeMap<UserId, Schedule> = BTreeMap::new();
        for row in store::own(tx, tenant, clinicians).await? {
            let zone = row.time_zone.as_deref().map_or(Ok(zone), self::zone)?;
            let mut schedule = Schedule::always(zone);
            if let Some(weekly) = &row.weekly {
                schedule.week = parse_weekly(weekly)?;
            }
            own.insert(row.clinician_id, schedule);
        }
        for clinician in clinicians {
            if let Some(exceptions) = days.remove(&clinician.uuid()) {
                own.entry(*clinician).or_insert_with(|| Schedule::always(zone)).exceptions = exceptions;
            }
        }
        // One who has no hours of their own is there whenever the clinic is.
        let narrowed = own.len() == clinicians.len();
        let exceptions = days.remove(&tenant.uuid()).unwrap_or_default();
        let clinic = Schedule { zone, week: parse_weekly(&row.hours)?, exceptions };
        let clinicians = if narrowed { own.into_values().collect() } else { Vec::new() };
        Ok(Self { together: Together { clinic, clinicians }, emergency_number: row.emergency_number })
    }

    /// Whether they are open, and until when.
    #[must_use]
    pub fn span(&self, at: Timestamp) -> Span {
        self.together.span(at)
    }

    /// What a person is told who comes at another time.
    #[must_use]
    pub fn outside(&self, now: Timestamp) -> OutsideHours {
        let clinic = &self.together.clinic;
        let today = clinic.date(now).map(|date| clinic.windows(date)).unwrap_or_default();
        let allowed: Vec<String> = today.iter().map(ToString::to_string).collect();
        OutsideHours {
            current_time: now,
            allowed_hours: allowed.join(", "),
            time_zone: clinic.zone.name().to_owned(),
            next_open_at: self.span(now).next_open_at(now),
            emergency_channel: EmergencyChannel {
                path: EMERGENCY_PATH.to_owned(),
                emergency_number: self.emergency_number.clone(),
            },
        }
    }
}

type Exceptions = BTreeMap<NaiveDate, Vec<super::week::Window>>;

pub(super) fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| Error::internal(format!("'{name}' is no time zone")))
}

fn parse_weekly(text: &str) -> Result<Week> {
    week::parse_week(&serde_json::from_str(text).map_err(Error::internal)?).map_err(Error::Internal)
}

fn parse_date(text: &str) -> Result<NaiveDate> {
    text.parse().map_err(|_| Error::internal(format!("'{text}' is no date")))
}

/// The date of a wall clock, as stored.
pub(super) fn date_of(zone: Tz, now: Timestamp) -> Option<NaiveDate> {
    Schedule::always(zone).date(now)
}

fn relevant_from(zone: Tz, now: Timestamp) -> String {
    let from = date_of(zone, now).and_then(|today| today.checked_sub_days(BACK)).unwrap_or_default();
    from.format("%Y-%m-%d").to_string()
}

/// An exception as the API shows it.
pub(super) fn shown(row: DayRow) -> Result<DayException> {
    let windows = serde_json::from_str(&row.windows).map_err(Error::internal)?;
    Ok(DayException { date: row.day, windows, reason: row.reason })
}
