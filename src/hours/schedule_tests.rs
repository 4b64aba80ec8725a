//! Hand-written hard cases, and random ones against a walk over every minute.

use chrono::{Datelike as _, Offset as _};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{
    super::{
        Together,
        week::{every_day, parse_day, parse_week, windows_of},
    },
    *,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn schedule(zone: &str, daily: &str) -> Schedule {
    let week = parse_week(&every_day(daily).unwrap()).unwrap();
    Schedule { zone: zone.parse().unwrap(), week, exceptions: BTreeMap::new() }
}

fn except(mut schedule: Schedule, day: &str, windows: &str) -> Schedule {
    schedule.exceptions.insert(date(day), parse_day(&windows_of(windows).unwrap()).unwrap());
    schedule
}

fn open_until(schedule: &Schedule, from: &str, to: &str) {
    let expected = Span { open: true, until: Some(at(to)) };
    assert_eq!(schedule.span(at(from)), expected, "{from}");
}

fn closed_until(schedule: &Schedule, from: &str, to: &str) {
    let expected = Span { open: false, until: Some(at(to)) };
    assert_eq!(schedule.span(at(from)), expected, "{from}");
}

#[test]
fn the_opening_is_in_and_the_closing_is_out() {
    // Mexico City is six hours behind.
    let clinic = schedule("America/Mexico_City", "08:00-22:00");
    closed_until(&clinic, "2026-11-28T13:59:59.999999Z", "2026-11-28T14:00:00Z");
    open_until(&clinic, "2026-11-28T14:00:00Z", "2026-11-29T04:00:00Z");
    open_until(&clinic, "2026-11-29T03:59:59.999999Z", "2026-11-29T04:00:00Z");
    closed_until(&clinic, "2026-11-29T04:00:00Z", "2026-11-29T14:00:00Z");
}

#[test]
fn a_night_belongs_to_the_day_it_begins_on() {
    let mut weekly = every_day("closed").unwrap();
    weekly.insert("fri".to_owned(), windows_of("20:00-06:00").unwrap());
    let night = Schedule { week: parse_week(&weekly).unwrap(), ..schedule("Europe/Madrid", "closed") };
    // 27 November 2026 is a Friday, one hour ahead of UTC.
    closed_until(&night, "2026-11-26T20:00:00Z", "2026-11-27T19:00:00Z");
    open_until(&night, "2026-11-28T04:00:00Z", "2026-11-28T05:00:00Z");
    // Closed on Saturday: the night that began on Friday goes on.
    open_until(
        &except(night.clone(), "2026-11-28", "closed"),
        "2026-11-28T04:00:00Z",
        "2026-11-28T05:00:00Z",
    );
    // Closed on Friday: the night does not begin.
    closed_until(&except(night, "2026-11-27", "closed"), "2026-11-28T04:00:00Z", "2026-12-04T19:00:00Z");
}

#[test]
fn an_exception_takes_the_place_of_its_day() {
    let clinic = except(schedule("America/Mexico_City", "08:00-22:00"), "2026-12-25", "closed");
    closed_until(&clinic, "2026-12-25T18:00:00Z", "2026-12-26T14:00:00Z");
    let clinic = except(clinic, "2026-12-24", "08:00-13:00,15:00-17:00");
    open_until(&clinic, "2026-12-24T18:59:59Z", "2026-12-24T19:00:00Z");
    closed_until(&clinic, "2026-12-24T19:00:00Z", "2026-12-24T21:00:00Z");
    closed_until(&clinic, "2026-12-24T23:00:00Z", "2026-12-26T14:00:00Z");
    // A closed clinic that opens once.
    let once = except(schedule("America/Mexico_City", "closed"), "2027-05-02", "10:00-11:00");
    closed_until(&once, "2026-12-24T19:00:00Z", "2027-05-02T16:00:00Z");
    open_until(&once, "2027-05-02T16:00:00Z", "2027-05-02T17:00:00Z");
    assert_eq!(once.span(at("2027-05-02T17:00:00Z")), Span { open: false, until: None });
}

#[test]
fn a_skipped_boundary_is_where_the_clock_goes_on() {
    // Madrid, 28 March 2027: 02:00 is followed by 03:00, at 01:00 UTC.
    let late = schedule("Europe/Madrid", "02:30-04:00");
    closed_until(&late, "2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z");
    open_until(&late, "2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z");
    // A window wholly inside the gap is no window.
    let inside = schedule("Europe/Madrid", "02:10-02:50");
    closed_until(&inside, "2027-03-27T12:00:00Z", "2027-03-29T00:10:00Z");
    // The day has 23 hours.
    let day = schedule("Europe/Madrid", "00:00-23:00");
    open_until(&day, "2027-03-27T23:00:00Z", "2027-03-28T21:00:00Z");
}

#[test]
fn a_repeated_boundary_opens_first_and_closes_last() {
    // Madrid, 31 October 2027: 03:00 is followed by 02:00, at 01:00 UTC.
    let night = schedule("Europe/Madrid", "22:00-02:30");
    open_until(&night, "2027-10-30T20:00:00Z", "2027-10-31T01:30:00Z");
    let early = schedule("Europe/Madrid", "02:30-04:00");
    open_until(&early, "2027-10-31T00:30:00Z", "2027-10-31T03:00:00Z");
    // Half-hour shifts: Lord Howe, 4 April 2027, 02:00 is followed by 01:30, at 15:00 UTC of the day before.
    let howe = schedule("Australia/Lord_Howe", "01:45-02:15");
    open_until(&howe, "2027-04-03T14:45:00Z", "2027-04-03T15:45:00Z");
    // The repeated hour begins at midnight in Havana: one day closes at its second beginning, the next opens at its first.
    let havana = schedule("America/Havana", "20:00-24:00");
    open_until(&havana, "2027-11-07T01:00:00Z", "2027-11-07T05:00:00Z");
}

#[test]
fn always_open_has_no_seam_anywhere() {
    let never_closes = Span { open: true, until: None };
    for zone in chrono_tz::TZ_VARIANTS {
        let mut instant = at("1970-01-05T00:00:00Z");
        for daily in ["00:00-24:00", "06:30-06:30", "00:00-12:00,12:00-24:00", "22:00-23:00,00:00-24:00"] {
            let always = Schedule { zone, ..schedule("UTC", daily) };
            assert_eq!(always.span(instant), never_closes, "{zone} {daily}");
            instant = instant + std::time::Duration::from_hours(5 * 366 * 24);
            assert_eq!(always.span(instant), never_closes, "{zone} {daily}");
        }
    }
    // Midnight itself is skipped here: Beirut, 28 March 2027.
    open_until(
        &except(schedule("Asia/Beirut", "00:00-24:00"), "2027-03-30", "closed"),
        "2027-03-20T00:00:00Z",
        "2027-03-29T21:00:00Z",
    );
}

#[test]
fn a_day_that_a_zone_skips_opens_and_closes_where_the_clock_goes_on() {
    // Samoa went from the end of 29 December 2011 (10:00 UTC on the 30th) to 31 December.
    let clinic = schedule("Pacific/Apia", "08:00-22:00");
    open_until(&clinic, "2011-12-29T18:00:00Z", "2011-12-30T08:00:00Z");
    closed_until(&clinic, "2011-12-30T08:00:00Z", "2011-12-30T18:00:00Z");
    // A night that would end on the skipped day ends where the clock goes on, and that day's begins there.
    let night = schedule("Pacific/Apia", "20:00-06:00");
    open_until(&night, "2011-12-30T06:00:00Z", "2011-12-30T16:00:00Z");
    open_until(&except(night, "2011-12-30", "closed"), "2011-12-30T06:00:00Z", "2011-12-30T10:00:00Z");
    let always = except(schedule("Pacific/Apia", "00:00-24:00"), "2011-12-30", "closed");
    assert_eq!(always.span(at("2011-12-29T18:00:00Z")), Span { open: true, until: None });
}

#[test]
fn clinicians_narrow_the_clinics_hours_and_any_of_them_will_do() {
    let clinic = schedule("America/Mexico_City", "08:00-22:00");
    let mornings = schedule("America/Mexico_City", "06:00-12:00");
    let evenings = except(schedule("America/Mexico_City", "18:00-23:00"), "2026-11-28", "closed");
    let both = Together { clinic: clinic.clone(), clinicians: vec![mornings.clone(), evenings] };
    let span = |together: &Together, from: &str| together.span(at(from));
    let open = |to: &str| Span { open: true, until: Some(at(to)) };
    let closed = |to: &str| Span { open: false, until: Some(at(to)) };
    // Before the clinic opens, nobody's hours count.
    assert_eq!(span(&both, "2026-11-27T12:30:00Z"), closed("2026-11-27T14:00:00Z"));
    assert_eq!(span(&both, "2026-11-27T14:00:00Z"), open("2026-11-27T18:00:00Z"));
    assert_eq!(span(&both, "2026-11-27T18:00:00Z"), closed("2026-11-28T00:00:00Z"));
    assert_eq!(span(&both, "2026-11-28T00:00:00Z"), open("2026-11-28T04:00:00Z"));
    assert_eq!(span(&both, "2026-11-28T18:00:00Z"), closed("2026-11-29T14:00:00Z"));
    // One whose hours touch the other's leaves no gap.
    let afternoons = schedule("America/Mexico_City", "12:00-18:00");
    let two = Together { clinic: clinic.clone(), clinicians: vec![mornings, afternoons] };
    assert_eq!(span(&two, "2026-11-27T15:00:00Z"), open("2026-11-28T00:00:00Z"));
    // Somebody who is there only when the clinic is not.
    let never =
        Together { clinic: clinic.clone(), clinicians: vec![schedule("America/Mexico_City", "23:00-07:00")] };
    assert_eq!(span(&never, "2026-11-27T15:00:00Z"), Span { open: false, until: None });
    let alone = Together { clinic, clinicians: Vec::new() };
    assert_eq!(span(&alone, "2026-11-27T15:00:00Z"), open("2026-11-28T04:00:00Z"));
}

// The walk: it knows one thing of a zone, what its clock shows at an instant, and looks at every minute.

const SECONDS_OF_DAY: i64 = 24 * 3600;

struct Walk {
    step: i64,
    from: i64,
    open: Vec<bool>,
    /// The first and last places that are true.
    sure: (usize, usize),
}

fn shown(zone: Tz, at: i64) -> i64 {
    let utc = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
    at + i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

fn epoch_day(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce())
        - i64::from(NaiveDate::from_ymd_opt(1970, 1, 1).unwrap().num_days_from_ce())
}

impl Walk {
    /// From five days before an instant to ten days after it.
    fn around(schedule: &Schedule, middle: i64) -> Self {
        let (from, to) = (middle - 5 * SECONDS_OF_DAY, middle + 10 * SECONDS_OF_DAY);
        let whole = [from, middle, to].iter().all(|at| (shown(schedule.zone, *at) - at) % 60 == 0);
        let step = if whole { 60 } else { 30 };
        let from = from - from.rem_euclid(60);
        let shows: Vec<i64> = (from..to).step_by(step as usize).map(|at| shown(schedule.zone, at)).collect();
        let (low, high) = (*shows.iter().min().unwrap(), *shows.iter().max().unwrap());
        // Where the clock shows each time first and last.
        let mut seen = vec![None::<(usize, usize)>; ((high - low) / step + 1) as usize];
        for (place, shows) in shows.iter().enumerate() {
            let slot = &mut seen[((shows - low) / step) as usize];
            *slot = Some((slot.map_or(place, |(first, _)| first), place));
        }
        let find = |time: i64| {
            let there =
                usize::try_from((time - low) / step).ok().and_then(|slot| seen.get(slot).copied()).flatten();
            let after = || shows.iter().position(|shows| *shows > time).map(|place| (place, place));
            there.or_else(after)
        };
        let mut open = vec![false; shows.len()];
        let (first, last) = (low.div_euclid(SECONDS_OF_DAY) + 1, high.div_euclid(SECONDS_OF_DAY) - 3);
        for day in first..=last {
            let date = NaiveDate::from_num_days_from_ce_opt((day + 719_163) as i32).unwrap();
            assert_eq!(epoch_day(date), day);
            for window in schedule.windows(date) {
                let time = |minutes: u16| find(day * SECONDS_OF_DAY + i64::from(minutes) * 60).unwrap();
                let (opens, closes) = (time(window.opens).0, time(window.closes).1);
                open[opens..closes.max(opens)].fill(true);
            }
        }
        let place = |day: i64| find(day * SECONDS_OF_DAY).unwrap().1;
        Self { step, from, open, sure: (place(first + 2), place(last)) }
    }

    /// The span at an instant, as far as it was walked; `None` outside of what is sure.
    fn span(&self, at: i64) -> Option<(bool, Option<i64>)> {
        let here = ((at - self.from) / self.step) as usize;
        if !(self.sure.0..self.sure.1).contains(&here) {
            return None;
        }
        let next = (here..self.sure.1).find(|place| self.open[*place] != self.open[here]);
        Some((self.open[here], next.map(|place| self.from + place as i64 * self.step)))
    }

    fn end(&self) -> i64 {
        self.from + self.sure.1 as i64 * self.step
    }
}

struct Dice(ChaCha20Rng);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    fn minute(&mut self) -> u16 {
        (match self.below(4) {
            // Where zones shift.
            0 => self.below(4 * 60),
            1 => 30 * self.below(48),
            2 => self.below(24 * 60),
            _ => 0,
        }) as u16
    }

    fn windows(&mut self) -> Vec<Window> {
        let mut windows: Vec<Window> = match self.below(8) {
            0 => Vec::new(),
            1 => vec![Window { opens: 0, closes: 1440 }],
            2 => vec![Window { opens: 480, closes: 1320 }],
            _ => (0..=self.below(3)).map(|_| self.window()).collect(),
        };
        windows.sort_unstable();
        windows
    }

    fn window(&mut self) -> Window {
        let opens = self.minute();
        let closes = if self.below(6) == 0 { 1440 } else { self.minute() };
        Window { opens, closes: if closes <= opens { closes + 1440 } else { closes } }
    }

    /// An instant between 1970 and 2040, most often where the zone's offset changes.
    fn instant(&mut self, zone: Tz) -> i64 {
        const FIRST: i64 = 10 * SECONDS_OF_DAY;
        let span = (70 * 365) * SECONDS_OF_DAY - FIRST;
        let any = FIRST + self.below(span as u64) as i64;
        if self.below(4) == 0 {
            return any;
        }
        let offset = |at: i64| shown(zone, at) - at;
        let Some((mut before, mut after)) = (0..800)
            .map(|n| (any + n * SECONDS_OF_DAY / 2, any + (n + 1) * SECONDS_OF_DAY / 2))
            .find(|(a, b)| offset(*a) != offset(*b))
        else {
            return any;
        };
        while after - before > 1 {
            let middle = i64::midpoint(before, after);
            if offset(middle) == offset(before) { before = middle } else { after = middle }
        }
        after
    }

    fn schedule(&mut self, zone: Tz, middle: i64) -> Schedule {
        let mut exceptions = BTreeMap::new();
        for _ in 0..self.below(4) {
            let day = middle.div_euclid(SECONDS_OF_DAY) - 4 + self.below(13) as i64;
            let date = NaiveDate::from_num_days_from_ce_opt((day + 719_163) as i32).unwrap();
            exceptions.insert(date, self.windows());
        }
        let daily = self.windows();
        let alike = self.below(2) == 0;
        let week = std::array::from_fn(|_| if alike { daily.clone() } else { self.windows() });
        Schedule { zone, week, exceptions }
    }
}

/// With `SIGILO_LONG_TESTS=1` 120,000 instants in all zones, otherwise 7,000. `SIGILO_SEED` chooses others.
#[test]
fn every_answer_is_that_of_a_walk_over_every_minute() {
    const INSTANTS: usize = 12;
    let long = std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1");
    let seed = std::env::var("SIGILO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    println!("SIGILO_SEED={seed}");
    let mut dice = Dice(ChaCha20Rng::seed_from_u64(seed));
    let zones = chrono_tz::TZ_VARIANTS;
    let (mut cases, mut open, mut switched) = (0_usize, 0_usize, 0_usize);
    for round in 0..if long { 10_200 } else { zones.len() } {
        let zone = zones[round % zones.len()];
        let middle = dice.instant(zone);
        let schedule = dice.schedule(zone, middle);
        let walk = Walk::around(&schedule, middle);
        for _ in 0..INSTANTS {
            let near = middle - 90_000 + dice.below(180_000) as i64;
            // A second before, at, and after a boundary.
            let edge = schedule.span(instant(near)).until.map_or(near, Timestamp::seconds);
            let here = match dice.below(5) {
                0 => near,
                1 => middle - 1 + dice.below(3) as i64,
                2 => near.div_euclid(60) * 60,
                _ => edge - 1 + dice.below(3) as i64,
            };
            let Some((is_open, next)) = walk.span(here) else { continue };
            let got = schedule.span(instant(here));
            let until = got.until.map(Timestamp::seconds);
            let same = got.open == is_open
                && match next {
                    Some(next) => until == Some(next),
                    None => until.is_none_or(|until| until >= walk.end()),
                };
            assert!(
                same,
                "seed {seed}, round {round}: {zone} at {here} ({}): walked {is_open} until {next:?}, got {got:?} of {schedule:?}",
                instant(here)
            );
            // What changes within the same second does not.
            assert_eq!(
                schedule.span(instant(here) + std::time::Duration::from_micros(999_999)).open,
                is_open
            );
            cases += 1;
            open += usize::from(is_open);
            switched += usize::from(next.is_some());
        }
    }
    println!(
        "{cases} instants, {open} of them open, {switched} with a change in sight, {} zones",
        zones.len()
    );
    assert!(cases > if long { 100_000 } else { 5_000 });
    assert!(open > cases / 5 && open < cases * 4 / 5 && switched > cases / 2, "the cases are too much alike");
}
