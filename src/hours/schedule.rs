//! One schedule and one clock on a wall: when it is open, and until when.
//!
//! A window belongs to the date it begins on. Its two boundaries are wall-clock times, and a zone makes instants of
//! them: one that the clock skips is the instant at which it goes on; one that it shows twice opens at the first and
//! closes at the last. That a whole day is skipped (Samoa had no 30 December 2011) is no other case. Windows that touch
//! or overlap are one.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::{GapInfo, Tz};
use sigilo_wire::Timestamp;

use super::week::{self, Week, Window};

/// How far back a window that is open now may have begun: a day, and a day that was skipped.
const BACK: Days = Days::new(3);
/// A week and a skipped day after the last exception, every week is like the one before. Twice that is certain.
const AHEAD: Days = Days::new(16);

/// Weekly windows in a time zone, and the dates that have others.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The wall clock.
    pub zone: Tz,
    /// The windows of each day from Monday on.
    pub week: Week,
    /// The windows of dates that have their own.
    pub exceptions: BTreeMap<NaiveDate, Vec<Window>>,
}

/// Whether something is open at an instant, and how long it stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whether.
    pub open: bool,
    /// The first later instant at which it is not so; `None` when there is none in sight.
    pub until: Option<Timestamp>,
}

impl Span {
    /// The instant itself when it is open, otherwise the next opening.
    #[must_use]
    pub fn next_open_at(self, at: Timestamp) -> Option<Timestamp> {
        if self.open { Some(at) } else { self.until }
    }
}

impl Schedule {
    /// Open at all times, but for exceptions.
    #[must_use]
    pub fn always(zone: Tz) -> Self {
        let day = vec![Window { opens: 0, closes: 24 * 60 }];
        Self { zone, week: std::array::from_fn(|_| day.clone()), exceptions: BTreeMap::new() }
    }

    /// The windows that begin on a date.
    #[must_use]
    pub fn windows(&self, date: NaiveDate) -> &[Window] {
        self.exceptions.get(&date).map_or_else(|| week::of_date(&self.week, date), Vec::as_slice)
    }

    /// The date the wall clock shows.
    #[must_use]
    pub fn date(&self, at: Timestamp) -> Option<NaiveDate> {
        Some(DateTime::from_timestamp(at.seconds(), 0)?.with_timezone(&self.zone).date_naive())
    }

    /// Whether it is open, and until when.
    #[must_use]
    pub fn span(&self, at: Timestamp) -> Span {
        self.look(at).unwrap_or(Span { open: false, until: None })
    }

    fn look(&self, at: Timestamp) -> Option<Span> {
        let now = at.seconds();
        let today = self.date(at)?;
        let last_exception = self.exceptions.keys().next_back().copied().unwrap_or(today);
        let last = today.max(last_exception).checked_add_days(AHEAD)?;
        let mut run: Option<i64> = None;
        for date in today.checked_sub_days(BACK)?.iter_days().take_while(|date| *date <= last) {
            // Openings never go back: each date's windows are in order, and so are the dates.
            for window in self.windows(date) {
                let (opens, closes) = (self.opening(date, window.opens)?, self.closing(date, window.closes)?);
                if closes <= opens || closes <= now {
                    continue;
                }
                match run {
                    None if opens > now => return Some(until(false, opens)),
                    None => run = Some(closes),
                    Some(end) if opens > end => return Some(until(true, end)),
                    Some(end) => run = Some(end.max(closes)),
                }
            }
        }
        // Open to the end of what was looked at: then for good.
        let seen = self.opening(last, 0)?;
        let closes = run.filter(|end| *end < seen);
        Some(Span { open: run.is_some(), until: closes.map(instant) })
    }

    fn opening(&self, date: NaiveDate, minutes: u16) -> Option<i64> {
        let local = wall(date, minutes)?;
        let first = self.zone.from_local_datetime(&local).earliest();
        first.map(|at| at.timestamp()).or_else(|| self.skipped(&local))
    }

    fn closing(&self, date: NaiveDate, minutes: u16) -> Option<i64> {
        let local = wall(date, minutes)?;
        let last = self.zone.from_local_datetime(&local).latest();
        last.map(|at| at.timestamp()).or_else(|| self.skipped(&local))
    }

    /// The instant at which the clock goes on after a time it does not show.
    fn skipped(&self, local: &NaiveDateTime) -> Option<i64> {
        Some(GapInfo::new(local, &self.zone)?.end?.timestamp())
    }
}

fn wall(date: NaiveDate, minutes: u16) -> Option<NaiveDateTime> {
    date.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::minutes(minutes.into()))
}

fn until(open: bool, end: i64) -> Span {
    Span { open, until: Some(instant(end)) }
}

const fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
