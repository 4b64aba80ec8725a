//! When a conversation opens, said for people.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sigilo_client::MayNow;
use sigilo_wire::{ErrorCode, Timestamp, hours::OutsideHours};

/// The wall clock of the clinic, such as `Monday 30 November 08:00`.
fn wall(at: Timestamp, zone: &str) -> Option<String> {
    let zone: chrono_tz::Tz = zone.parse().ok()?;
    let utc: DateTime<Utc> = DateTime::from_timestamp(at.seconds(), 0)?;
    Some(utc.with_timezone(&zone).format("%A %-d %B %H:%M").to_string())
}

/// What the details of `outside_chat_hours` say, and what to do.
pub(super) fn closed(details: &Value) -> Option<String> {
    let outside: OutsideHours = serde_json::from_value(details.clone()).ok()?;
    Some(until(outside.next_open_at, &outside.time_zone, &outside.emergency_channel.emergency_number))
}

/// The same of a conversation that was opened while it is closed.
pub(super) fn not_now(now: &MayNow) -> Option<String> {
    let send = &now.permissions.send;
    let by_the_hour = send.reason.as_deref() == Some(ErrorCode::OutsideChatHours.as_str());
    by_the_hour.then(|| until(send.next_open_at, &now.time_zone, &now.emergency_number))
}

fn until(next_open_at: Option<Timestamp>, zone: &str, emergency_number: &str) -> String {
    let closed = match next_open_at.and_then(|at| wall(at, zone)) {
        Some(at) => format!("closed until {at} (clinic time, {zone}); /when-open has it delivered then"),
        None => "closed, and no opening is in sight: call the clinic".to_owned(),
    };
    format!("{closed}. In an emergency call {emergency_number}.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_the_clinics_clock_and_what_to_do() {
        let details = |next: Value| {
            json!({"reason": "outside_chat_hours", "current_time": "2026-11-29T05:30:00.000000Z", "allowed_hours": "08:00-22:00",
                   "time_zone": "America/Mexico_City", "next_open_at": next,
                   "emergency_channel": {"path": "/api/chat/emergency/", "emergency_number": "911"}})
        };
        assert_eq!(
            closed(&details(json!("2026-11-30T14:00:00.000000Z"))).unwrap(),
            "closed until Monday 30 November 08:00 (clinic time, America/Mexico_City); /when-open has it delivered then. \
             In an emergency call 911."
        );
        assert!(closed(&details(Value::Null)).unwrap().contains("no opening is in sight"));
        assert_eq!(closed(&json!({"reason": "no_medical_relationship"})), None);
    }
}
