//! Who treats whom: care relationships, and what makes them: appointments, care teams, decisions of the staff.
//!
//! Appointments come from the clinic's own systems, as a FHIR R4 Bundle ([`read_fhir`]) or a table
//! ([`read_csv`]); [`import`] makes people by their external identifiers and a relationship for each
//! appointment that is booked, arrived, checked-in or fulfilled. Importing the same again changes nothing. An
//! appointment that is cancelled takes its relationship with it; a relationship that a person revoked
//! ([`revoke`]) does not come back with the same appointment. The reason for a visit is never read.
//!
//! Staff may say for a time that a clinician treats a patient ([`grant`]), and keep care teams: every clinician of one
//! treats every patient assigned to it. Each pair has a row of its own, so that whatever asks for care asks one table.
//! An appointment lets either begin a conversation; everything else lets the clinician begin, and the patient answer.

mod care_teams;
mod csv;
mod fhir;
mod grant;
mod import;
mod manage;
mod records;
pub(crate) mod store;

pub use care_teams::{
    Side, care_team, create_care_team, end_care_team, list_care_teams, put_care_team_member,
    remove_care_team_member,
};
pub use csv::read_csv;
pub use fhir::read_fhir;
pub use grant::{LONGEST, grant};
pub use import::{ImportReport, import};
pub use manage::{RelationshipFilter, authorize_manage_relationships, list, revoke};
pub use records::{AppointmentRecord, AppointmentStatus, Identifier, PersonRecord, Records, Refused, read};

/// The largest file that is imported, in bytes.
pub const MAX_FILE: usize = 64 * 1024 * 1024;

/// Where the words of a grant stand, but for its row.
const TEXT: crate::storage::crypter::Place<'static> =
    crate::storage::crypter::Place { table: "relationships", row: &[], column: "text_enc" };
