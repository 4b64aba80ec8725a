//! Identifiers of digits alone: phones, cards, social security numbers.

use super::{
    PhiKind,
    scan::{Scan, digits, is_number},
};

const PHONE_CUES: &[&str] = &[
    "tel",
    "telefono",
    "telefonico",
    "cel",
    "celular",
    "movil",
    "whatsapp",
    "phone",
    "telephone",
    "mobile",
    "cell",
];
const NSS_CUES: &[&str] = &["nss", "imss", "seguro social", "seguridad social"];
const SSN_CUES: &[&str] = &["ssn", "social security", "seguro social"];

/// How the ten digits of Mexico and the United States are written.
const TEN: &[&[usize]] = &[&[10], &[3, 3, 4], &[2, 4, 4], &[2, 8], &[3, 7], &[3, 3, 2, 2]];
/// How the nine digits of Spain are written.
const NINE: &[&[usize]] = &[&[9], &[3, 3, 3], &[3, 2, 2, 2], &[2, 3, 2, 2], &[3, 6]];
/// How an NSS is written.
const NSS: &[&[usize]] = &[&[11], &[2, 2, 2, 4, 1], &[4, 2, 4, 1], &[10, 1]];
/// How dates are written, which follow phone cues too.
const DATES: &[&[usize]] = &[&[2, 2, 4], &[1, 2, 4], &[2, 1, 4], &[4, 2, 2], &[2, 2, 2, 2]];
/// What may come before a national number.
const PREFIXES: &[&[u32]] =
    &[&[0, 0, 5, 2], &[0, 0, 3, 4], &[0, 0, 1], &[0, 4, 4], &[0, 4, 5], &[5, 2], &[3, 4], &[0, 1]];

const MOST_GROUPS: usize = 8;
const MOST_DIGITS: usize = 19;

/// Groups of digits that may be one number.
struct Number {
    first: usize,
    last: usize,
    /// Digits in each group.
    sizes: Vec<usize>,
    digits: Vec<u32>,
    plus: bool,
    /// Whether a hyphen, and nothing else, is between the groups.
    hyphens: bool,
}

pub(super) fn find(scan: &mut Scan<'_>) {
    for first in 0..scan.len() {
        for number in from(scan, first) {
            let cued = |cues| scan.cued(first, cues);
            let (phone, nss, ssn) = (cued(PHONE_CUES), cued(NSS_CUES), cued(SSN_CUES));
            let attached = is_attached(scan, &number);
            let mut note = |kind, cued| scan.note(kind, cued, number.first, number.last);
            if nss && number.digits.len() == 11 {
                note(PhiKind::Nss, true);
            }
            if ssn && is_ssn(&number.digits) {
                note(PhiKind::Ssn, true);
            }
            if number.plus && (8..=15).contains(&number.digits.len()) || phone && is_local(&number) {
                note(PhiKind::Phone, phone);
            }
            if attached {
                continue;
            }
            if is_card(&number) {
                note(PhiKind::PaymentCard, false);
            }
            if NSS.contains(&number.sizes.as_slice()) && luhn(&number.digits) {
                note(PhiKind::Nss, false);
            }
            if number.hyphens && number.sizes == [3, 2, 4] && is_ssn(&number.digits) {
                note(PhiKind::Ssn, false);
            }
            if is_phone(&number) {
                note(PhiKind::Phone, false);
            }
        }
    }
}

/// The numbers that begin with a word, shorter ones first.
fn from(scan: &Scan<'_>, first: usize) -> Vec<Number> {
    let (mut numbers, mut sizes, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let plus = scan.before(first) == Some('+');
    let mut hyphens = true;
    for last in first..first + MOST_GROUPS {
        let word = scan.word(last);
        if !is_number(word) || all.len() + word.len() > MOST_DIGITS {
            break;
        }
        sizes.push(word.len());
        all.extend(digits(word));
        if all.len() >= 7 {
            numbers.push(Number { first, last, sizes: sizes.clone(), digits: all.clone(), plus, hyphens });
        }
        let Some(gap) = scan.gap(last) else { break };
        let linked = matches!(
            gap,
            [' ' | '-' | '.' | ')']
                | [')', ' ' | '-']
                | [' ', '(']
                | ['(']
                | [' ', '-', ' ']
                | [')', ' ', '-', ' ']
        );
        if !linked {
            break;
        }
        hyphens &= gap == ['-'];
    }
    numbers
}

/// Whether a number is a part of something longer, such as a UUID or a decimal.
fn is_attached(scan: &Scan<'_>, number: &Number) -> bool {
    let ties = |gap: Option<&[char]>| matches!(gap, Some(['-' | '.' | '/' | '_' | ':' | ',']));
    let before = number.first.checked_sub(1).and_then(|word| scan.gap(word));
    ties(before) || ties(scan.gap(number.last))
}

/// A number of any length that a word before it calls a phone.
fn is_local(number: &Number) -> bool {
    (7..=15).contains(&number.digits.len()) && !DATES.contains(&number.sizes.as_slice())
}

fn is_phone(number: &Number) -> bool {
    if is_national(&number.sizes, &number.digits) {
        return true;
    }
    // The country code 1 alone is too short to be seen in a row of eleven digits.
    if let ([1, sizes @ ..], [1, digits @ ..]) = (number.sizes.as_slice(), number.digits.as_slice()) {
        return is_national(sizes, digits);
    }
    PREFIXES.iter().any(|prefix| {
        let Some(rest) = number.digits.strip_prefix(*prefix) else { return false };
        match number.sizes.split_first() {
            Some((size, sizes)) if *size == prefix.len() => is_national(sizes, rest),
            Some((size, sizes)) if *size > prefix.len() => {
                let first = [*size - prefix.len()];
                is_national(&[&first, sizes].concat(), rest)
            }
            _ => false,
        }
    })
}

fn is_national(sizes: &[usize], digits: &[u32]) -> bool {
    match digits.first() {
        Some(2..=9) if TEN.contains(&sizes) => true,
        Some(6..=9) if NINE.contains(&sizes) => true,
        _ => false,
    }
}

/// Source: Social Security Administration, "SSN Randomization": numbers that are never given.
fn is_ssn(digits: &[u32]) -> bool {
    let [a, b, c, d, e, serial @ ..] = digits else { return false };
    let area = a * 100 + b * 10 + c;
    serial.len() == 4
        && area != 0
        && area != 666
        && area < 900
        && d + e != 0
        && serial.iter().any(|digit| *digit != 0)
}

/// Source: ISO/IEC 7812-1; the issuers' first digits are 2 to 6.
fn is_card(number: &Number) -> bool {
    let digits = &number.digits;
    let written = match number.sizes.as_slice() {
        [_] | [4, 6, 4 | 5] => true,
        sizes => sizes.split_last().is_some_and(|(_, most)| most.iter().all(|size| *size == 4)),
    };
    written
        && (13..=19).contains(&digits.len())
        && digits.first().is_some_and(|first| (2..=6).contains(first))
        && digits.iter().any(|digit| Some(digit) != digits.first())
        && luhn(digits)
}

/// Source: ISO/IEC 7812-1, annex B.
pub(super) fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, *digit) {
            (0, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}
