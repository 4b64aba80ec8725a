//! Identifiers with letters in them, and the names of illnesses.

use std::sync::LazyLock;

use super::{
    PhiKind,
    scan::{Scan, digits, is_number, value},
};
use crate::fold::lines;

/// Illnesses, folded.
pub(super) static NAMES: LazyLock<Vec<&str>> =
    LazyLock::new(|| lines(include_str!("diagnoses.txt")).collect());

const RECORD_CUES: &[&str] = &[
    "expediente",
    "expediente clinico",
    "historia clinica",
    "nhc",
    "mrn",
    "medical record",
    "chart",
    "patient id",
    "patient number",
    "numero de paciente",
];
/// Also means "expires": only a longer number is a record's.
const SHORT_RECORD_CUES: &[&str] = &["exp"];
const FILLERS: &[&str] = &["numero", "number", "num", "no", "n", "o", "id", "es", "is", "el", "the"];
const CODE_CUES: &[&str] =
    &["cie", "cie10", "icd", "icd10", "dx", "diagnostico", "diagnosticos", "diagnosis", "diagnoses"];

pub(super) fn emails(scan: &mut Scan<'_>) {
    let chars = scan.folded.chars();
    let is_local = |char: &char| char.is_alphanumeric() || "._%+-".contains(*char);
    let is_domain = |char: &char| char.is_alphanumeric() || ".-".contains(*char);
    let mut found = Vec::new();
    let signs = chars.iter().enumerate().filter(|(_, char)| **char == '@').map(|(at, _)| at);
    for at in signs {
        let (left, right) = (chars.get(..at).unwrap_or_default(), chars.get(at + 1..).unwrap_or_default());
        let local = left.iter().rev().take(64).take_while(|char| is_local(char)).count();
        let host: String = right.iter().take(253).take_while(|char| is_domain(char)).collect();
        let host = host.trim_end_matches(['.', '-']);
        let top = host.rsplit_once('.').filter(|(name, _)| !name.is_empty()).map(|(_, top)| top);
        let is_top = |top: &str| top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
        if local > 0 && top.is_some_and(is_top) {
            found.push(at - local..at + 1 + host.chars().count());
        }
    }
    for range in found {
        scan.note_chars(PhiKind::Email, range);
    }
}

/// CURP, RFC, DNI and NIE.
pub(super) fn identities(scan: &mut Scan<'_>) {
    for first in 0..scan.len() {
        for last in first..first + 4 {
            let Some(code) = scan.joined(first, last).filter(|code| code.len() <= 18) else { break };
            let cued = |cue| scan.cued(first, &[cue]);
            let kind = if is_curp(&code) && (curp_digit(&code) || cued("curp")) {
                (PhiKind::Curp, cued("curp"))
            } else if is_rfc(&code) && (rfc_digit(&code) || cued("rfc")) {
                (PhiKind::Rfc, cued("rfc"))
            } else if let Some(nie) = dni(&code) {
                if nie { (PhiKind::Nie, cued("nie")) } else { (PhiKind::Dni, cued("dni")) }
            } else if cued("dni") && is_number(&code) && code.len() == 8 {
                (PhiKind::Dni, true)
            } else {
                continue;
            };
            scan.note(kind.0, kind.1, first, last);
        }
    }
}

/// The shape: four letters, a date, sex, state, consonants. Source: Instructivo normativo para la asignación de la
/// CURP, Diario Oficial de la Federación, 18 October 2021.
fn is_curp(code: &[char]) -> bool {
    let (letters, rest) = code.split_at(code.len().min(4));
    let (date, rest) = rest.split_at(rest.len().min(6));
    code.len() == 18
        && letters.iter().all(char::is_ascii_lowercase)
        && is_short_date(date)
        && matches!(rest, ['h' | 'm' | 'x', names @ .., _, digit]
            if names.iter().all(char::is_ascii_lowercase) && digit.is_ascii_digit())
}

/// Source: as [`is_curp`], annex on the check digit.
fn curp_digit(code: &[char]) -> bool {
    const ALPHABET: &str = "0123456789abcdefghijklmnñopqrstuvwxyz";
    let Some((digit, body)) = code.split_last() else { return false };
    let sum = weighted(body, 18, ALPHABET);
    digit.to_digit(10).is_some_and(|digit| sum.is_some_and(|sum| (sum + digit as usize).is_multiple_of(10)))
}

/// The shape of a person's RFC: four letters, a date, three more. Source: Servicio de Administración Tributaria, the
/// key of the Registro Federal de Contribuyentes.
fn is_rfc(code: &[char]) -> bool {
    let (letters, rest) = code.split_at(code.len().min(4));
    let (date, rest) = rest.split_at(rest.len().min(6));
    code.len() == 13
        && letters.iter().all(|char| char.is_ascii_lowercase() || *char == 'ñ')
        && is_short_date(date)
        && matches!(rest, [a, b, '0'..='9' | 'a'] if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
}

/// Modulo 11 over positions, written `A` for 10.
fn rfc_digit(code: &[char]) -> bool {
    const ALPHABET: &str = "0123456789abcdefghijklmn&opqrstuvwxyz ñ";
    let Some((digit, body)) = code.split_last() else { return false };
    let value = if *digit == 'a' { Some(10) } else { digit.to_digit(10) };
    let sum = weighted(body, 13, ALPHABET);
    value.is_some_and(|value| sum.is_some_and(|sum| (sum + value as usize).is_multiple_of(11)))
}

/// Each character's place in the alphabet times a weight that falls from `weight` on.
fn weighted(body: &[char], weight: usize, alphabet: &str) -> Option<usize> {
    let value = |char: &char| alphabet.chars().position(|one| one == *char);
    body.iter().enumerate().map(|(place, char)| Some(value(char)? * weight.checked_sub(place)?)).sum()
}

/// Six digits that are a year, a month and a day.
fn is_short_date(date: &[char]) -> bool {
    let part = |range| date.get(range).and_then(value);
    date.len() == 6
        && is_number(date)
        && part(2..4).is_some_and(|month| (1..=12).contains(&month))
        && part(4..6).is_some_and(|day| (1..=31).contains(&day))
}

/// Whether a code is a DNI (`false`) or an NIE (`true`), by its letter. Source: Ministerio del Interior, "Cálculo del
/// dígito de control del NIF-NIE".
fn dni(code: &[char]) -> Option<bool> {
    const LETTERS: &str = "trwagmyfpdxbnjzsqvhlcke";
    let (letter, body) = code.split_last()?;
    let (nie, number) = match body {
        ['x', rest @ ..] if rest.len() == 7 => (true, value(rest)?),
        ['y', rest @ ..] if rest.len() == 7 => (true, 10_000_000 + value(rest)?),
        ['z', rest @ ..] if rest.len() == 7 => (true, 20_000_000 + value(rest)?),
        rest if rest.len() == 8 => (false, value(rest)?),
        _ => return None,
    };
    (LETTERS.chars().nth((number % 23) as usize) == Some(*letter)).then_some(nie)
}

/// "Expediente 12345", "MRN: 00-12345".
pub(super) fn records(scan: &mut Scan<'_>) {
    for first in 0..scan.len() {
        let mut cue = first;
        while first - cue < 3
            && cue > 0
            && FILLERS.iter().any(|word| scan.folded.spells(cue - 1, word).is_some())
        {
            cue -= 1;
        }
        let last =
            (first..first + 4).take_while(|last| scan.joined(first, *last).is_some()).last().unwrap_or(first);
        let code = scan.joined(first, last).unwrap_or_default();
        let is_record = scan.cue_ends_at(cue, RECORD_CUES) && digits(&code).len() >= 4
            || scan.cue_ends_at(cue, SHORT_RECORD_CUES) && digits(scan.word(first)).len() >= 5;
        if is_record {
            scan.note(PhiKind::RecordNumber, true, first, last);
        }
    }
}

/// "E11.9" anywhere; "E11" and "E119" only where a word before it announces a code: B12 is a vitamin.
pub(super) fn diagnosis_codes(scan: &mut Scan<'_>) {
    for word in 0..scan.len() {
        let ['a'..='z', tail @ ..] = scan.word(word) else { continue };
        let begins =
            |digits: &[char]| digits.iter().take(2).filter(|char| char.is_ascii_digit()).count() == 2;
        if !begins(tail) || tail.len() > 6 {
            continue;
        }
        let cued = scan.cued(word, CODE_CUES);
        let dotted = tail.len() == 2
            && scan.gap(word) == Some(&['.'])
            && matches!(scan.word(word + 1), sub @ ['0'..='9', ..] if sub.len() <= 4);
        let upper = scan.original(word).is_some_and(char::is_uppercase);
        if dotted && (cued || upper && !is_temperature(scan.word(word))) {
            scan.note(PhiKind::DiagnosisCode, cued, word, word + 1);
        } else if cued {
            scan.note(PhiKind::DiagnosisCode, true, word, word);
        }
    }
}

/// "T38.5" is how many write a fever.
fn is_temperature(word: &[char]) -> bool {
    matches!(word, ['t', degrees @ ..] if value(degrees).is_some_and(|degrees| (34..=42).contains(&degrees)))
}

pub(super) fn diagnoses(scan: &mut Scan<'_>) {
    for word in 0..scan.len() {
        let longest = NAMES.iter().filter_map(|name| scan.folded.spells(word, name)).max();
        if let Some(length) = longest {
            scan.note(PhiKind::Diagnosis, false, word, word + length - 1);
        }
    }
}
