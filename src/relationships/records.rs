//! What an import is made of, whichever format it came in.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{Role, Timestamp};

use super::{MAX_FILE, read_csv, read_fhir};
use crate::{Error, Result};

/// The longest system or value of an identifier, in bytes.
const MAX_IDENTIFIER: usize = 255;
/// The longest name, in characters.
const MAX_NAME: usize = 200;

/// What another system calls a person or an appointment: a FHIR identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    /// Who gives the values: a URI.
    pub system: String,
    /// The value.
    pub value: String,
}

/// A person of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRecord {
    /// The entry or row, from 1.
    pub row: usize,
    /// Patient or doctor.
    pub role: Role,
    /// At least one.
    pub identifiers: Vec<Identifier>,
    /// As the clinic knows them.
    pub name: String,
    /// A clinician's.
    pub speciality: Option<String>,
}

/// An appointment of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppointmentRecord {
    /// The entry or row, from 1.
    pub row: usize,
    /// Its identifier.
    pub identifier: Identifier,
    /// What has become of it.
    pub status: AppointmentStatus,
    /// When it begins.
    pub starts_at: Option<Timestamp>,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// An identifier of each patient.
    pub patients: Vec<Identifier>,
    /// An identifier of each clinician.
    pub clinicians: Vec<Identifier>,
}

/// What has become of an appointment (FHIR R4 AppointmentStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppointmentStatus {
    /// Suggested.
    Proposed,
    /// Not confirmed by everyone.
    Pending,
    /// Confirmed.
    Booked,
    /// The patient is there.
    Arrived,
    /// The patient has been registered.
    CheckedIn,
    /// It took place.
    Fulfilled,
    /// It was called off.
    Cancelled,
    /// The patient did not come.
    NoShow,
    /// It never was.
    EnteredInError,
    /// Waiting for a place.
    Waitlist,
}

impl AppointmentStatus {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Proposed, "proposed"),
        (Self::Pending, "pending"),
        (Self::Booked, "booked"),
        (Self::Arrived, "arrived"),
        (Self::CheckedIn, "checked-in"),
        (Self::Fulfilled, "fulfilled"),
        (Self::Cancelled, "cancelled"),
        (Self::NoShow, "noshow"),
        (Self::EnteredInError, "entered-in-error"),
        (Self::Waitlist, "waitlist"),
    ];

    /// The status of this FHIR code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, word)| *word == code).map(|(status, _)| status)
    }

    /// The FHIR code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(status, _)| *status == self).map_or("", |(_, word)| word)
    }

    /// Whether it makes a care relationship.
    #[must_use]
    pub const fn is_care(self) -> bool {
        matches!(self, Self::Booked | Self::Arrived | Self::CheckedIn | Self::Fulfilled)
    }
}

/// Why an entry or row was not taken. Says nothing about the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The entry or row, from 1.
    pub row: usize,
    /// What it is: `Patient`, `Practitioner`, `Appointment` or `row`.
    pub resource: String,
    /// What is wrong.
    pub problem: String,
}

impl Refused {
    pub(super) fn new(row: usize, resource: &str, problem: impl std::fmt::Display) -> Self {
        Self { row, resource: resource.to_owned(), problem: problem.to_string() }
    }
}

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// SHA-256 of the file, for the audit log.
    pub sha256: [u8; 32],
    /// The people, each once.
    pub persons: Vec<PersonRecord>,
    /// The appointments.
    pub appointments: Vec<AppointmentRecord>,
    /// What was refused while reading.
    pub refused: Vec<Refused>,
    /// Resource types or columns that were passed over, and how often they came.
    pub passed_over: BTreeMap<String, usize>,
}

/// Reads a file: JSON is a FHIR Bundle, anything else a table.
///
/// # Errors
/// `body_too_large`; `invalid_field` when the whole file makes no sense.
pub fn read(file: &[u8]) -> Result<Records> {
    if file.len() > MAX_FILE {
        return Err(Error::TooLarge { limit: MAX_FILE as u64 });
    }
    let text = std::str::from_utf8(file).map_err(|_| Error::field("file", "is not UTF-8"))?;
    // Some systems put a byte order mark before everything.
    let text = text.trim_start_matches('\u{feff}');
    let mut records = if text.trim_start().starts_with('{') { read_fhir(text) } else { read_csv(text) }?;
    records.sha256 = Sha256::digest(file).into();
    Ok(records)
}

pub(super) fn identifier(system: &str, value: &str) -> Option<Identifier> {
    let (system, value) = (system.trim(), value.trim());
    let good =
        |text: &str| !text.is_empty() && text.len() <= MAX_IDENTIFIER && !text.chars().any(char::is_control);
    (good(system) && good(value)).then(|| Identifier { system: system.to_owned(), value: value.to_owned() })
}

/// A name with single spaces, if it is one that can be shown.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let good = (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    good.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn care_follows_the_status() {
        let care: Vec<&str> = AppointmentStatus::ALL
            .into_iter()
            .filter(|(status, _)| status.is_care())
            .map(|(_, word)| word)
            .collect();
        assert_eq!(care, ["booked", "arrived", "checked-in", "fulfilled"]);
        assert_eq!(AppointmentStatus::parse("checked-in"), Some(AppointmentStatus::CheckedIn));
        assert_eq!(AppointmentStatus::parse("Booked"), None);
        assert_eq!(AppointmentStatus::NoShow.as_str(), "noshow");
    }

    #[test]
    fn files_that_make_no_sense_are_refused_whole() {
        for wrong in [&b"\xff\xfe"[..], b"", b"{", b"{\"resourceType\":\"Patient\"}", b"a;b\n1;2"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(read(&vec![b' '; MAX_FILE + 1]).unwrap_err().code().as_str(), "body_too_large");
    }

    #[test]
    fn names_are_shown_on_one_line() {
        assert_eq!(clean_name("  Ana \n López ").as_deref(), Some("Ana López"));
        assert_eq!(clean_name(" \t"), None);
        assert_eq!(clean_name("Ana\u{7}"), None);
        assert_eq!(clean_name(&"x".repeat(201)), None);
    }
}
