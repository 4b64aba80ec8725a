//! When conversations with patients are open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId};

/// A window of a day: from inclusive, to exclusive, `HH:MM` on the wall clock; `24:00` may close. One that ends at or
/// before its beginning goes on into the next day.
pub type DayWindow = [String; 2];

/// Windows by day of the week: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. A day that is not there is closed.
pub type Weekly = BTreeMap<String, Vec<DayWindow>>;

/// A date with hours of its own: a holiday, a closure, a long evening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DayException {
    /// The date, `YYYY-MM-DD`.
    pub date: String,
    /// The windows that take the place of the day's; none: closed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Vec<String>>))]
    pub windows: Vec<DayWindow>,
    /// Why, for people to read: at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// PUT /api/admin/holidays/{date}/
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetDay {
    /// The windows that take the place of the day's; none: closed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Vec<String>>))]
    pub windows: Vec<DayWindow>,
    /// Why, for people to read: at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The hours of a clinic, or a clinician's own, which narrow them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChatHours {
    /// Whose; absent for the clinic's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The IANA time zone in which they are read.
    pub time_zone: String,
    /// The windows of each week. Absent for a clinician who is there whenever the clinic is.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub weekly: Option<Weekly>,
    /// Dates from today on with hours of their own.
    pub exceptions: Vec<DayException>,
}

/// PUT /api/admin/hours/ and /api/admin/hours/{user_id}/
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetHours {
    /// The IANA time zone; absent: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The windows of each week, `{"mon": [["08:00", "22:00"]]}`. Absent, for a clinician: whenever the clinic is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub weekly: Option<Weekly>,
}

/// GET /api/admin/holidays/
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayExceptions {
    /// In order of dates, from today on.
    pub results: Vec<DayException>,
}

/// `details` of 400 `outside_chat_hours`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideHours {
    /// The server's clock.
    pub current_time: Timestamp,
    /// Today's windows of the clinic, `08:00-22:00, ...`; empty on a day that is closed.
    pub allowed_hours: String,
    /// The clinic's IANA time zone.
    pub time_zone: String,
    /// When the conversation opens; absent when it does not within two years.
    pub next_open_at: Option<Timestamp>,
    /// Where help is at any hour.
    pub emergency_channel: EmergencyChannel,
}

/// Where help is at any hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmergencyChannel {
    /// Where to reach the clinicians on call.
    pub path: String,
    /// The local emergency number.
    pub emergency_number: String,
}
