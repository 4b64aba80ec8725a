//! Windows as people write them, and as the schedule counts them.

use chrono::{Datelike as _, NaiveDate};
use sigilo_wire::hours::{DayWindow, Weekly};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a wall clock's day.
const DAY: u16 = 24 * 60;
/// The most windows of one day.
const MAX_WINDOWS: usize = 12;

/// From when to when, in minutes of the wall clock after the midnight its day begins with; what goes on into the next
/// day ends after `24 * 60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Inclusive.
    pub opens: u16,
    /// Exclusive.
    pub closes: u16,
}

/// The windows of each day from Monday on, in order of their openings.
pub type Week = [Vec<Window>; 7];

/// The same window every day: `08:00-22:00`, opening inclusive, closing exclusive; `24:00` may close.
///
/// # Errors
/// How it is written, for a person.
pub fn every_day(window: &str) -> Result<Weekly, String> {
    let windows = windows_of(window)?;
    Ok(DAYS.iter().map(|day| ((*day).to_owned(), windows.clone())).collect())
}

/// One or more windows of a day: `08:00-13:00,16:00-20:00`; `closed` for none.
///
/// # Errors
/// How it is written, for a person.
pub fn windows_of(text: &str) -> Result<Vec<DayWindow>, String> {
    if text == "closed" {
        return Ok(Vec::new());
    }
    let windows: Vec<DayWindow> = text
        .split(',')
        .map(|window| {
            let (opens, closes) = window.trim().split_once('-').ok_or_else(|| {
                format!("'{window}' is not a window of hours: write for example 08:00-22:00")
            })?;
            Ok([opens.to_owned(), closes.to_owned()])
        })
        .collect::<Result<_, String>>()?;
    parse_day(&windows)?;
    Ok(windows)
}

/// The windows of a week.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn parse_week(weekly: &Weekly) -> Result<Week, String> {
    if let Some(unknown) = weekly.keys().find(|day| !DAYS.contains(&day.as_str())) {
        return Err(format!("'{unknown}' is not a day: write mon, tue, wed, thu, fri, sat or sun"));
    }
    let mut week = Week::default();
    for (windows, day) in week.iter_mut().zip(DAYS) {
        *windows = parse_day(weekly.get(day).map_or(&[], Vec::as_slice))?;
    }
    Ok(week)
}

/// The windows of a day, in order of their openings.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn parse_day(windows: &[DayWindow]) -> Result<Vec<Window>, String> {
    if windows.len() > MAX_WINDOWS {
        return Err(format!("a day has at most {MAX_WINDOWS} windows"));
    }
    let mut parsed = windows.iter().map(parse_window).collect::<Result<Vec<_>, _>>()?;
    parsed.sort_unstable();
    Ok(parsed)
}

/// The windows of a date in a week.
pub(super) fn of_date(week: &Week, date: NaiveDate) -> &[Window] {
    let day = usize::try_from(date.weekday().num_days_from_monday()).unwrap_or(0);
    week.get(day).map_or(&[], Vec::as_slice)
}

fn parse_window([opens, closes]: &DayWindow) -> Result<Window, String> {
    let how = || {
        format!(
            "'{opens}-{closes}' is not a window of hours: write for example 08:00-22:00, from 00:00 to 24:00"
        )
    };
    let from = minutes(opens).filter(|at| *at < DAY).ok_or_else(how)?;
    let to = minutes(closes).ok_or_else(how)?;
    // At or before its beginning, it goes on into the next day.
    Ok(Window { opens: from, closes: if to <= from { to + DAY } else { to } })
}

/// Minutes after midnight of `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 || !(text.replace(':', "").bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let closes = if self.closes > DAY { self.closes - DAY } else { self.closes };
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.opens / 60, self.opens % 60, closes / 60, closes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_every_day() {
        let hours = every_day("08:00-22:00").unwrap();
        assert_eq!(hours.len(), 7);
        assert_eq!(hours["sun"], [["08:00".to_owned(), "22:00".to_owned()]]);
        every_day("00:00-24:00").unwrap();
        // Crosses midnight.
        every_day("20:00-06:00").unwrap();
        assert_eq!(every_day("08:00-13:00, 16:00-20:00").unwrap()["mon"].len(), 2);
        assert!(every_day("closed").unwrap()["mon"].is_empty());
    }

    #[test]
    fn what_is_not_a_window_is_refused() {
        for wrong in ["", "08:00", "8:00-22:00", "08:00-24:01", "24:00-08:00", "08:60-22:00", "+8:00-22:00"] {
            assert!(every_day(wrong).is_err(), "{wrong}");
        }
        let weekly = Weekly::from([("monday".to_owned(), Vec::new())]);
        assert!(parse_week(&weekly).unwrap_err().contains("monday"));
        let many = vec![["08:00".to_owned(), "09:00".to_owned()]; MAX_WINDOWS + 1];
        assert!(parse_day(&many).is_err());
    }

    #[test]
    fn windows_count_from_their_days_midnight_and_are_shown_as_they_were_written() {
        let day = |text: &str| parse_day(&windows_of(text).unwrap()).unwrap();
        assert_eq!(day("20:00-06:00"), [Window { opens: 1200, closes: 1800 }]);
        assert_eq!(day("00:00-24:00"), [Window { opens: 0, closes: 1440 }]);
        assert_eq!(day("00:00-00:00"), day("00:00-24:00"));
        // In order, whatever the order in which they were written.
        assert_eq!(
            day("16:00-20:00,08:00-13:00"),
            [Window { opens: 480, closes: 780 }, Window { opens: 960, closes: 1200 }]
        );
        for text in ["08:00-22:00", "20:00-06:00", "00:00-24:00"] {
            assert_eq!(day(text).first().unwrap().to_string(), text);
        }
    }
}
