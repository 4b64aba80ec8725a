//! When conversations with patients are open: `{"mon": [["08:00", "22:00"]], ...}` in the clinic's time zone.

use std::collections::BTreeMap;

/// Windows by day of the week.
pub type Hours = BTreeMap<String, Vec<[String; 2]>>;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The same window every day: `08:00-22:00`, opening inclusive, closing exclusive; `24:00` may close.
///
/// # Errors
/// How it is written, for a person.
pub fn every_day(window: &str) -> Result<Hours, String> {
    let how = || format!("'{window}' is not a window of hours: write for example 08:00-22:00");
    let (opens, closes) = window.split_once('-').ok_or_else(how)?;
    if minutes(opens).filter(|at| *at < 24 * 60).is_none() || minutes(closes).is_none() {
        return Err(how());
    }
    let window = [opens.to_owned(), closes.to_owned()];
    Ok(DAYS.iter().map(|day| ((*day).to_owned(), vec![window.clone()])).collect())
}

/// Minutes after midnight of `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 || !(text.replace(':', "").bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
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
    }

    #[test]
    fn what_is_not_a_window_is_refused() {
        for wrong in ["", "08:00", "8:00-22:00", "08:00-24:01", "24:00-08:00", "08:60-22:00", "+8:00-22:00"] {
            assert!(every_day(wrong).is_err(), "{wrong}");
        }
    }
}
