//! FHIR R4 Bundles (<https://hl7.org/fhir/R4/bundle.html>) with Patient, Practitioner and Appointment resources.
//!
//! Only identifiers, names, qualification, status, times and participants are read. Reasons, comments,
//! descriptions and everything else clinical is never looked at.

use std::collections::HashMap;

use serde_json::Value;
use sigilo_wire::{Role, Timestamp};

use super::records::{
    AppointmentRecord, AppointmentStatus, Identifier, PersonRecord, Records, Refused, clean_name, identifier,
};
use crate::{Error, Result};

/// Where references lead: full URLs and `Type/id`, to a person's first identifier.
type People = HashMap<String, (Role, Identifier)>;

/// Reads a Bundle. Entries that cannot be taken are listed, the others stand.
///
/// # Errors
/// `invalid_field` when it is not a Bundle.
pub fn read_fhir(text: &str) -> Result<Records> {
    let bundle: Value = serde_json::from_str(text).map_err(|e| {
        Error::field("file", format!("is not JSON (line {}, column {})", e.line(), e.column()))
    })?;
    if bundle["resourceType"] != "Bundle" {
        return Err(Error::field("file", "is not a FHIR Bundle"));
    }
    let none = Vec::new();
    let entries = bundle["entry"].as_array().unwrap_or(&none);
    let mut records = Records::default();
    let mut people = People::new();
    for (row, entry) in (1..).zip(entries) {
        let role = match entry["resource"]["resourceType"].as_str() {
            Some("Patient") => Role::Patient,
            Some("Practitioner") => Role::Doctor,
            _ => continue,
        };
        match person(row, role, &entry["resource"]) {
            Ok(person) => {
                if let Some(first) = person.identifiers.first() {
                    for name in reference_names(entry) {
                        people.insert(name, (role, first.clone()));
                    }
                }
                records.persons.push(person);
            }
            Err(problem) => records.refused.push(Refused::new(row, resource_name(role), problem)),
        }
    }
    for (row, entry) in (1..).zip(entries) {
        let resource = &entry["resource"];
        match resource["resourceType"].as_str() {
            Some("Patient" | "Practitioner") => {}
            Some("Appointment") => match appointment(row, resource, &people) {
                Ok(appointment) => records.appointments.push(appointment),
                Err(problem) => records.refused.push(Refused::new(row, "Appointment", problem)),
            },
            Some(other) => *records.passed_over.entry(other.to_owned()).or_default() += 1,
            None => records.refused.push(Refused::new(row, "entry", "has no resource with a resourceType")),
        }
    }
    Ok(records)
}

const fn resource_name(role: Role) -> &'static str {
    match role {
        Role::Patient => "Patient",
        _ => "Practitioner",
    }
}

fn person(row: usize, role: Role, resource: &Value) -> Result<PersonRecord, &'static str> {
    let identifiers = identifiers(resource);
    if identifiers.is_empty() {
        return Err("has no identifier with a system and a value of at most 255 bytes each");
    }
    let name = name(resource).ok_or("has no name of 1 to 200 printable characters")?;
    let speciality = match role {
        Role::Doctor => resource["qualification"][0]["code"]["text"].as_str().and_then(clean_name),
        _ => None,
    };
    Ok(PersonRecord { row, role, identifiers, name, speciality })
}

/// Identifiers in use, in the order of the file.
fn identifiers(resource: &Value) -> Vec<Identifier> {
    let listed = resource["identifier"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found: Vec<Identifier> = Vec::new();
    for entry in listed.iter().filter(|entry| entry["use"] != "old") {
        let parts = entry["system"].as_str().zip(entry["value"].as_str());
        found.extend(parts.and_then(|(system, value)| identifier(system, value)));
    }
    found.dedup();
    found
}

/// The official name, or the usual one, or the first.
fn name(resource: &Value) -> Option<String> {
    let names = resource["name"].as_array()?;
    let used = |word: &str| names.iter().find(|name| name["use"] == word);
    let name = used("official").or_else(|| used("usual")).or_else(|| names.first())?;
    if let Some(text) = name["text"].as_str() {
        return clean_name(text);
    }
    let words = |key: &str| name[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let parts: Vec<&str> = words("prefix").chain(words("given")).chain(name["family"].as_str()).collect();
    clean_name(&parts.join(" "))
}

/// What references call an entry.
fn reference_names(entry: &Value) -> Vec<String> {
    let resource = &entry["resource"];
    let by_id = resource["resourceType"].as_str().zip(resource["id"].as_str());
    let by_id = by_id.map(|(kind, id)| format!("{kind}/{id}"));
    entry["fullUrl"].as_str().map(str::to_owned).into_iter().chain(by_id).collect()
}

fn appointment(row: usize, resource: &Value, people: &People) -> Result<AppointmentRecord, String> {
    let identifier = identifiers(resource).into_iter().next();
    let identifier = identifier.ok_or("has no identifier with a system and a value")?;
    let status = resource["status"].as_str().and_then(AppointmentStatus::parse);
    let status = status.ok_or("has a status that FHIR R4 does not know")?;
    let (patients, clinicians) = participants(resource, people)?;
    Ok(AppointmentRecord {
        row,
        identifier,
        status,
        starts_at: time(resource, "start")?,
        ends_at: time(resource, "end")?,
        patients,
        clinicians,
    })
}

fn participants(resource: &Value, people: &People) -> Result<(Vec<Identifier>, Vec<Identifier>), String> {
    let (mut patients, mut clinicians) = (Vec::new(), Vec::new());
    let listed = resource["participant"].as_array().map_or(&[][..], Vec::as_slice);
    for (place, participant) in (1..).zip(listed) {
        if participant["status"] == "declined" {
            continue;
        }
        let Some((role, identifier)) = actor(&participant["actor"], people)
            .map_err(|problem| format!("participant {place} {problem}"))?
        else {
            continue;
        };
        let side = if role == Role::Patient { &mut patients } else { &mut clinicians };
        if !side.contains(&identifier) {
            side.push(identifier);
        }
    }
    if patients.is_empty() {
        return Err("has no patient among its participants".to_owned());
    }
    if clinicians.is_empty() {
        return Err("has no practitioner among its participants".to_owned());
    }
    Ok((patients, clinicians))
}

/// Whom a participant is, or nobody for rooms, devices and places without an actor.
fn actor(actor: &Value, people: &People) -> Result<Option<(Role, Identifier)>, &'static str> {
    let reference = actor["reference"].as_str().unwrap_or("");
    if let Some(found) = people.get(reference) {
        return Ok(Some(found.clone()));
    }
    // `https://server/fhir/Patient/17` also names the entry with `Patient/17`.
    let mut parts = reference.rsplit('/');
    let (id, kind) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if let Some(found) = people.get(&format!("{kind}/{id}")) {
        return Ok(Some(found.clone()));
    }
    let role = match (kind, actor["type"].as_str().unwrap_or("")) {
        ("Patient", _) | (_, "Patient") => Role::Patient,
        ("Practitioner", _) | (_, "Practitioner") => Role::Doctor,
        _ if reference.starts_with("urn:") => {
            return Err("refers to an entry that is not in the bundle or was refused");
        }
        _ => return Ok(None),
    };
    // Known to the clinic from an earlier import.
    let logical = &actor["identifier"];
    let parts = logical["system"].as_str().zip(logical["value"].as_str());
    match parts.and_then(|(system, value)| identifier(system, value)) {
        Some(identifier) => Ok(Some((role, identifier))),
        None => Err("refers to an entry that is not in the bundle or was refused"),
    }
}

fn time(resource: &Value, field: &str) -> Result<Option<Timestamp>, String> {
    match &resource[field] {
        Value::Null => Ok(None),
        value => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or_else(|| format!("has a {field} that is not an RFC 3339 time with a zone")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patient() -> Value {
        json!({"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "p1",
            "identifier": [{"system": "urn:demo:mrn", "value": "17"}],
            "name": [{"use": "nickname", "text": "Anita"}, {"use": "official", "given": ["Ana"], "family": "López"}]}})
    }

    fn practitioner() -> Value {
        json!({"resource": {"resourceType": "Practitioner", "id": "d1",
            "identifier": [{"use": "old", "system": "urn:demo:licence", "value": "0"},
                           {"system": "urn:demo:licence", "value": "9"}],
            "name": [{"prefix": ["Dra."], "given": ["María"], "family": "Martínez"}],
            "qualification": [{"code": {"text": "Cardiología"}}]}})
    }

    fn appointment() -> Value {
        json!({"resource": {"resourceType": "Appointment", "status": "booked",
            "identifier": [{"system": "urn:demo:appointment", "value": "A1"}],
            "start": "2026-01-12T09:00:00-06:00", "end": "2026-01-12T09:30:00-06:00",
            "description": "Dolor de pecho", "reasonCode": [{"text": "angina"}],
            "participant": [{"actor": {"reference": "urn:uuid:1"}, "status": "accepted"},
                            {"actor": {"reference": "https://ehr.example/fhir/Practitioner/d1"}, "status": "accepted"},
                            {"actor": {"reference": "Location/room-3"}, "status": "accepted"}]}})
    }

    fn read(entries: &[Value]) -> Records {
        read_fhir(&json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string())
            .unwrap()
    }

    /// The only problem found.
    fn problem(entries: &[Value]) -> String {
        let records = read(entries);
        assert_eq!(records.refused.len(), 1, "{:?}", records.refused);
        records.refused[0].problem.clone()
    }

    #[test]
    fn a_bundle_becomes_people_and_appointments_without_reasons() {
        // The order does not matter.
        let records = read(&[appointment(), practitioner(), patient()]);
        assert_eq!(records.refused, []);
        assert_eq!(records.persons[1].name, "Ana López");
        assert_eq!(records.persons[0].name, "Dra. María Martínez");
        assert_eq!(records.persons[0].speciality.as_deref(), Some("Cardiología"));
        let made = &records.appointments[0];
        assert_eq!(made.row, 1);
        assert_eq!(made.patients, [identifier("urn:demo:mrn", "17").unwrap()]);
        assert_eq!(made.clinicians, [identifier("urn:demo:licence", "9").unwrap()]);
        assert_eq!(made.starts_at, Some("2026-01-12T15:00:00Z".parse().unwrap()));
        let everything = format!("{records:?}");
        assert!(!everything.contains("pecho") && !everything.contains("angina"));
    }

    #[test]
    fn each_refused_entry_has_its_reason() {
        let mut nameless = patient();
        nameless["resource"]["name"] = json!([]);
        assert!(problem(&[nameless]).contains("no name"));
        let mut anonymous = patient();
        anonymous["resource"]["identifier"] = json!([{"value": "17"}]);
        assert!(problem(&[anonymous]).contains("no identifier"));
        let change = |field: &str, value: Value| {
            let mut changed = appointment();
            changed["resource"][field] = value;
            problem(&[patient(), practitioner(), changed])
        };
        assert!(change("status", json!("maybe")).contains("status"));
        assert!(change("start", json!("2026-01-12")).contains("start"));
        assert!(change("identifier", Value::Null).contains("identifier"));
        assert!(change("participant", json!([])).contains("no patient"));
        assert!(problem(&[patient(), appointment()]).contains("not in the bundle"));
        assert!(problem(&[practitioner(), appointment()]).contains("not in the bundle"));
        assert!(problem(&[json!({"fullUrl": "urn:uuid:9"})]).contains("resourceType"));
    }

    #[test]
    fn somebody_known_from_before_is_named_by_identifier() {
        let mut later = appointment();
        later["resource"]["participant"][1]["actor"] = json!({"type": "Practitioner",
            "identifier": {"system": "urn:demo:licence", "value": "9"}});
        let records = read(&[patient(), later]);
        assert_eq!(records.appointments[0].clinicians, [identifier("urn:demo:licence", "9").unwrap()]);
    }

    #[test]
    fn who_declined_does_not_count() {
        let mut declined = appointment();
        declined["resource"]["participant"][1]["status"] = json!("declined");
        assert!(problem(&[patient(), practitioner(), declined]).contains("no practitioner"));
    }

    #[test]
    fn other_resources_are_counted_and_passed_over() {
        let records = read(&[json!({"resource": {"resourceType": "Location", "id": "room-3"}})]);
        assert_eq!(records.passed_over.get("Location"), Some(&1));
    }
}
