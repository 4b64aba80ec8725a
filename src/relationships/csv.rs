//! Tables of appointments: comma-separated values (RFC 4180), UTF-8, one appointment a row, with a header.
//!
//! ```text
//! required   appointment_id, status, patient_id, patient_name, clinician_id, clinician_name
//! optional   start, end (RFC 3339), clinician_speciality,
//!            appointment_system, patient_system, clinician_system (by default urn:sigilo:appointment,
//!            urn:sigilo:patient and urn:sigilo:clinician)
//! ```
//! Other columns are passed over and named in the report: a column with reasons for visits does no harm.

use std::collections::HashMap;

use sigilo_wire::{Role, Timestamp};

use super::records::{
    AppointmentRecord, AppointmentStatus, Identifier, PersonRecord, Records, Refused, clean_name, identifier,
};
use crate::{Error, Result};

const REQUIRED: [&str; 6] =
    ["appointment_id", "status", "patient_id", "patient_name", "clinician_id", "clinician_name"];
const OPTIONAL: [&str; 6] =
    ["start", "end", "clinician_speciality", "appointment_system", "patient_system", "clinician_system"];

/// One row, by the names of its columns.
struct Row<'a> {
    number: usize,
    columns: &'a HashMap<String, usize>,
    fields: &'a csv::StringRecord,
}

impl Row<'_> {
    fn get(&self, column: &str) -> &str {
        self.columns.get(column).and_then(|place| self.fields.get(*place)).map_or("", str::trim)
    }

    fn identifier(&self, of: &str) -> Result<Identifier, String> {
        let default = format!("urn:sigilo:{of}");
        let system = match self.get(&format!("{of}_system")) {
            "" => default.as_str(),
            system => system,
        };
        identifier(system, self.get(&format!("{of}_id")))
            .ok_or_else(|| format!("{of}_id and {of}_system are 1 to 255 bytes each"))
    }

    fn time(&self, column: &str) -> Result<Option<Timestamp>, String> {
        match self.get(column) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| format!("{column} is an RFC 3339 time such as 2026-01-12T09:00:00-06:00")),
        }
    }

    fn person(&self, of: &str, role: Role) -> Result<PersonRecord, String> {
        let column = format!("{of}_name");
        let name = clean_name(self.get(&column))
            .ok_or_else(|| format!("{column} is 1 to 200 printable characters"))?;
        Ok(PersonRecord {
            row: self.number,
            role,
            identifiers: vec![self.identifier(of)?],
            name,
            speciality: clean_name(self.get(&format!("{of}_speciality"))),
        })
    }
}

/// Reads a table. Rows that cannot be taken are listed, the others stand.
///
/// # Errors
/// `invalid_field` when a required column is missing.
pub fn read_csv(text: &str) -> Result<Records> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|_| Error::field("file", "has no header row"))?.clone();
    let names = header.iter().map(|name| name.trim().to_lowercase());
    let columns: HashMap<String, usize> = names.zip(0..).collect();
    if let Some(missing) = REQUIRED.into_iter().find(|name| !columns.contains_key(*name)) {
        return Err(Error::field(
            "file",
            format!("is neither a FHIR Bundle nor a table with the column {missing}"),
        ));
    }
    let mut records = Records::default();
    for name in columns.keys().filter(|name| !REQUIRED.contains(&name.as_str())) {
        if !OPTIONAL.contains(&name.as_str()) {
            records.passed_over.insert(name.clone(), 1);
        }
    }
    // The header is row 1, as in every spreadsheet.
    for (number, fields) in (2..).zip(reader.records()) {
        let taken = fields
            .map_err(|_| "is not a row of comma-separated values".to_owned())
            .and_then(|fields| take(&mut records, &Row { number, columns: &columns, fields: &fields }));
        if let Err(problem) = taken {
            records.refused.push(Refused::new(number, "row", problem));
        }
    }
    Ok(records)
}

fn take(records: &mut Records, row: &Row<'_>) -> Result<(), String> {
    let patient = row.person("patient", Role::Patient)?;
    let clinician = row.person("clinician", Role::Doctor)?;
    let status = AppointmentStatus::parse(row.get("status"))
        .ok_or("status is one of FHIR's: booked, arrived, checked-in, fulfilled, cancelled, noshow ...")?;
    let appointment = AppointmentRecord {
        row: row.number,
        identifier: row.identifier("appointment")?,
        status,
        starts_at: row.time("start")?,
        ends_at: row.time("end")?,
        patients: patient.identifiers.clone(),
        clinicians: clinician.identifiers.clone(),
    };
    for person in [patient, clinician] {
        // A person stands in many rows: the last one says how they are called.
        match records.persons.iter_mut().find(|known| known.identifiers == person.identifiers) {
            Some(known) if known.role != person.role => {
                return Err("the same identifier is a patient's and a clinician's".to_owned());
            }
            Some(known) => *known = person,
            None => records.persons.push(person),
        }
    }
    records.appointments.push(appointment);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "appointment_id,status,start,end,patient_id,patient_name,clinician_id,clinician_name,reason";

    fn read(rows: &[&str]) -> Records {
        read_csv(&format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap()
    }

    #[test]
    fn rows_become_people_and_appointments_without_reasons() {
        let records = read(&[
            "A1,booked,2026-01-12T09:00:00-06:00,,17,Ana López,9,\"Martínez, María\",angina",
            "A2,cancelled,,,18,Luis Pérez,9,Dra. María Martínez,",
        ]);
        assert_eq!(records.refused, []);
        assert_eq!(records.appointments.len(), 2);
        assert_eq!(records.persons.len(), 3, "the clinician stands in both rows");
        let clinician = records.persons.iter().find(|person| person.role == Role::Doctor).unwrap();
        assert_eq!(clinician.name, "Dra. María Martínez");
        assert_eq!(records.passed_over.keys().collect::<Vec<_>>(), ["reason"]);
        assert!(!format!("{records:?}").contains("angina"));
    }

    #[test]
    fn each_refused_row_has_its_number_and_reason() {
        let records = read(&[
            "A1,booked,,,,Ana López,9,Dra. María Martínez,",
            "A2,perhaps,,,17,Ana López,9,Dra. María Martínez,",
            "A3,booked,tomorrow,,17,Ana López,9,Dra. María Martínez,",
            "A4,booked,,,17,,9,Dra. María Martínez,",
            "A5",
            "A6,booked,,,17,Ana López,9,Dra. María Martínez,",
        ]);
        let rows: Vec<usize> = records.refused.iter().map(|refused| refused.row).collect();
        assert_eq!(rows, [2, 3, 4, 5, 6]);
        assert!(records.refused[0].problem.contains("patient_id"));
        assert!(records.refused[1].problem.contains("status"));
        assert!(records.refused[2].problem.contains("start"));
        assert!(records.refused[3].problem.contains("patient_name"));
        assert_eq!(records.appointments.len(), 1);
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = read_csv("appointment_id,status\n").unwrap_err();
        assert!(error.details()["problem"].as_str().unwrap().contains("patient_id"));
    }
}
