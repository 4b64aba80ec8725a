//! Who treats whom: care relationships, and the appointments they come from.
//!
//! Appointments come from the clinic's own systems, as a FHIR R4 Bundle ([`read_fhir`]) or a table
//! ([`read_csv`]); [`import`] makes people by their external identifiers and a relationship for each
//! appointment that is booked, arrived, checked-in or fulfilled. Importing the same again changes nothing. An
//! appointment that is cancelled takes its relationship with it; a relationship that a person revoked
//! ([`revoke`]) does not come back with the same appointment. The reason for a visit is never read.

mod csv;
mod fhir;
mod import;
mod manage;
mod records;
pub(crate) mod store;

pub use csv::read_csv;
pub use fhir::read_fhir;
pub use import::{ImportReport, import};
pub use manage::{RelationshipSummary, Revoked, authorize_manage_relationships, list, revoke};
pub use records::{AppointmentRecord, AppointmentStatus, Identifier, PersonRecord, Records, Refused, read};

/// The largest file that is imported, in bytes.
pub const MAX_FILE: usize = 64 * 1024 * 1024;
