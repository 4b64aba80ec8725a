//! The FHIR R4 bundle of the demo's clinic: two doctors, two patients, one appointment.

use serde_json::{Value, json};

/// The identifier system of the demo's people.
pub(super) const SYSTEM: &str = "https://clinica-demo.example/fhir";

/// The bundle.
pub(super) fn bundle() -> Value {
    let person = |resource: &str, value: &str, given: &str, family: &str| {
        json!({
            "fullUrl": format!("urn:{value}"),
            "resource": {
                "resourceType": resource,
                "id": value,
                "identifier": [{"system": SYSTEM, "value": value}],
                "name": [{"use": "official", "given": [given], "family": family}],
            },
        })
    };
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            person("Patient", "ana", "Ana", "López"),
            person("Patient", "luis", "Luis", "Pérez"),
            person("Practitioner", "maria", "María", "Martínez"),
            person("Practitioner", "jorge", "Jorge", "Ramírez"),
            {
                "fullUrl": "urn:appointment-1",
                "resource": {
                    "resourceType": "Appointment",
                    "id": "appointment-1",
                    "identifier": [{"system": SYSTEM, "value": "appointment-1"}],
                    "status": "booked",
                    "start": "2026-12-01T09:00:00-06:00",
                    "end": "2026-12-01T09:30:00-06:00",
                    "participant": [
                        {"actor": {"reference": "Patient/ana"}, "status": "accepted"},
                        {"actor": {"reference": "Practitioner/maria"}, "status": "accepted"},
                    ],
                },
            },
        ],
    })
}
