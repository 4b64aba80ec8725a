//! Dates of birth: a date after a word that says so. The year alone is not one.

use super::{
    PhiKind,
    scan::{Scan, value},
};

const CUES: &[&str] = &[
    "nacimiento",
    "nac",
    "nacido",
    "nacida",
    "naci",
    "nacio",
    "fdn",
    "fn",
    "cumpleaños",
    "dob",
    "birth",
    "birthdate",
    "birthday",
    "born",
];
const MONTHS: &[&str] = &[
    "enero",
    "ene",
    "january",
    "jan",
    "febrero",
    "february",
    "feb",
    "marzo",
    "march",
    "mar",
    "abril",
    "abr",
    "april",
    "apr",
    "mayo",
    "may",
    "junio",
    "june",
    "jun",
    "julio",
    "july",
    "jul",
    "agosto",
    "ago",
    "august",
    "aug",
    "septiembre",
    "setiembre",
    "september",
    "sept",
    "sep",
    "octubre",
    "oct",
    "october",
    "noviembre",
    "november",
    "nov",
    "diciembre",
    "dic",
    "december",
    "dec",
];
const FILLERS: &[&str] = &["de", "del", "of", "the"];

pub(super) fn births(scan: &mut Scan<'_>) {
    for first in 0..scan.len() {
        if let Some(last) = numeric(scan, first).or_else(|| written(scan, first))
            && scan.cued(first, CUES)
        {
            scan.note(PhiKind::BirthDate, true, first, last);
        }
    }
}

/// The last word of a date of three numbers.
fn numeric(scan: &Scan<'_>, first: usize) -> Option<usize> {
    let part = |word| {
        scan.gap(word).is_some_and(|gap| matches!(gap, ['/' | '-' | '.' | ' '] | ['/' | '.' | ' ', ' ']))
    };
    if !part(first) || !part(first + 1) {
        return None;
    }
    let number = |word| Some((scan.word(word).len(), value(scan.word(word))?));
    let (first_part, second, third) = (number(first)?, number(first + 1)?, number(first + 2)?);
    let day_and_month = |one: (usize, u32), other: (usize, u32)| {
        let fits = |day, month| (1..=31).contains(&day) && (1..=12).contains(&month);
        one.0 <= 2 && other.0 <= 2 && (fits(one.1, other.1) || fits(other.1, one.1))
    };
    let is_date = match (first_part.0, third.0) {
        (4, _) => day_and_month(second, third),
        (_, 2 | 4) => day_and_month(first_part, second),
        _ => false,
    };
    is_date.then_some(first + 2)
}

/// The last word of a date with the month's name.
fn written(scan: &Scan<'_>, first: usize) -> Option<usize> {
    let is = |word: usize, names: &[&str]| names.iter().any(|name| scan.folded.spells(word, name).is_some());
    let next = |word: usize| (word..word + 3).find(|word| !is(*word, FILLERS));
    if is(first, FILLERS) {
        return None;
    }
    let second = next(first + 1)?;
    let year = next(second + 1)?;
    let day_and_month =
        is_day(scan.word(first)) && is(second, MONTHS) || is(first, MONTHS) && is_day(scan.word(second));
    let is_year = scan.word(year).len() == 4 && value(scan.word(year)).is_some();
    (day_and_month && is_year).then_some(year)
}

/// A day of the month, with the ending English or Spanish give it.
fn is_day(word: &[char]) -> bool {
    let end = word.iter().position(|char| !char.is_ascii_digit()).unwrap_or(word.len());
    let (number, ending) = word.split_at(end);
    let ending: String = ending.iter().collect();
    matches!(ending.as_str(), "" | "st" | "nd" | "rd" | "th" | "o" | "ro")
        && value(number).is_some_and(|day| (1..=31).contains(&day))
}
