//! Appointments as evidence of care: what an import makes, changes and refuses.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;
use sigilo::{
    Ctx, auth, fetch_all, fetch_one,
    relationships::{self, ImportReport},
};
use sigilo_wire::{RelationshipId, RequestId, Role};

use crate::support::{
    Engine, TestServer, both_engines,
    cast::{Cast, import, relationships_of, revoke_between},
    clinic::Clinic,
};

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// What changed: people made and updated, appointments made and updated, relationships made and revoked.
fn changes(report: &ImportReport) -> [usize; 6] {
    [
        report.persons_created,
        report.persons_updated,
        report.appointments_created,
        report.appointments_updated,
        report.relationships_made,
        report.relationships_revoked,
    ]
}

/// The pairs of names that stand, in order.
async fn pairs(server: &TestServer, clinic: &Clinic) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = relationships_of(server, clinic)
        .await
        .into_iter()
        .filter(|relationship| relationship.revoked_at.is_none())
        .map(|relationship| (relationship.patient_name, relationship.clinician_name))
        .collect();
    pairs.sort();
    pairs
}

fn row(id: &str, status: &str, clinician: &str) -> String {
    format!(
        "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n\
         {id},{status},P-1,Ana López,{clinician},Dra. {clinician}\n"
    )
}

#[tokio::test]
async fn a_fhir_bundle_makes_people_and_care() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        let bundle = fixture("appointments.fhir.json");
        let report = import(server, &clinic, &bundle).await;
        assert_eq!(changes(&report), [5, 0, 4, 0, 2, 0]);
        assert_eq!(report.refused.len(), 1);
        assert_eq!((report.refused[0].row, report.refused[0].resource.as_str()), (11, "Appointment"));
        assert!(report.refused[0].problem.contains("status"));
        assert_eq!(report.passed_over, BTreeMap::from([("Location".to_owned(), 1)]));
        let care = [("Ana López", "Dra. María Martínez"), ("Rosa Hernández", "Dr. Jorge Ramírez")];
        let care = care.map(|(patient, clinician)| (patient.to_owned(), clinician.to_owned()));
        assert_eq!(pairs(server, &clinic).await, care);
        // The same again changes nothing.
        let again = import(server, &clinic, &bundle).await;
        assert_eq!(changes(&again), [0; 6]);
        assert_eq!((again.persons_unchanged, again.appointments_unchanged), (5, 4));
        assert_eq!(pairs(server, &clinic).await, care);
    })
    .await;
}

#[tokio::test]
async fn a_table_makes_people_and_care() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        let report = import(server, &clinic, &fixture("appointments.csv")).await;
        assert_eq!(changes(&report), [4, 0, 3, 0, 2, 0]);
        let rows: Vec<usize> = report.refused.iter().map(|refused| refused.row).collect();
        assert_eq!(rows, [5]);
        assert_eq!(report.passed_over.keys().collect::<Vec<_>>(), ["reason"]);
        assert_eq!(changes(&import(server, &clinic, &fixture("appointments.csv")).await), [0; 6]);
    })
    .await;
}

#[tokio::test]
async fn reasons_and_names_are_not_in_the_database() {
    let server = TestServer::start(Engine::Sqlite).await;
    let clinic = Clinic::create(&server, "demo").await;
    import(&server, &clinic, &fixture("appointments.fhir.json")).await;
    import(&server, &clinic, &fixture("appointments.csv")).await;
    let mut searched = 0;
    for entry in std::fs::read_dir(server.database.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        searched += bytes.len();
        for planted in ["presión arterial", "Dolor de cabeza", "Revisión", "López", "Hernández", "Martínez"]
        {
            let found = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
            assert!(!found, "{planted} is in {}", path.display());
        }
    }
    assert!(searched > 100_000, "only {searched} bytes were searched");
    server.finish().await;
}

#[tokio::test]
async fn care_follows_what_becomes_of_the_appointment() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        for (status, made, revoked) in [
            ("proposed", 0, 0),
            ("booked", 1, 0),
            ("arrived", 0, 0),
            ("checked-in", 0, 0),
            ("fulfilled", 0, 0),
            ("noshow", 0, 1),
            ("booked", 1, 0),
            ("cancelled", 0, 1),
            ("entered-in-error", 0, 0),
            ("waitlist", 0, 0),
            ("booked", 1, 0),
        ] {
            let report = import(server, &clinic, &row("A-1", status, "D-1")).await;
            assert_eq!(
                (report.relationships_made, report.relationships_revoked),
                (made, revoked),
                "{status}"
            );
        }
        // Another appointment of the same pair: one of them ending leaves the other.
        import(server, &clinic, &row("A-2", "booked", "D-1")).await;
        import(server, &clinic, &row("A-1", "cancelled", "D-1")).await;
        assert_eq!(pairs(server, &clinic).await.len(), 1);
        // The appointment is another clinician's now.
        let report = import(server, &clinic, &row("A-2", "booked", "D-2")).await;
        assert_eq!((report.relationships_made, report.relationships_revoked), (1, 1));
        assert_eq!(pairs(server, &clinic).await, [("Ana López".to_owned(), "Dra. D-2".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn a_decision_to_revoke_outlives_the_same_import() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        revoke_between(server, &cast.clinic, &cast.ana, &cast.maria).await;
        let again = import(server, &cast.clinic, crate::support::cast::APPOINTMENTS).await;
        assert_eq!(again.relationships_made, 0);
        let standing = pairs(server, &cast.clinic).await;
        assert_eq!(standing, [("Luis Pérez".to_owned(), "Dr. Jorge Ramírez".to_owned())]);
        let ctx = Ctx::operator(&server.app, cast.clinic.id);
        let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        let unknown = RelationshipId::from_bytes([7; 16]);
        let error = relationships::revoke(&server.app, &ctx, grant, unknown).await.unwrap_err();
        assert_eq!(error.code().as_str(), "not_found");
    })
    .await;
}

#[tokio::test]
async fn clinics_do_not_share_people_or_relationships() {
    both_engines(async |server| {
        let (here, there) = (Cast::create(server, "here").await, Cast::create(server, "there").await);
        assert_ne!(here.ana.tokens.user_id, there.ana.tokens.user_id, "equal identifiers, other people");
        let theirs = relationships_of(server, &there.clinic).await.remove(0).id;
        let ctx = Ctx::operator(&server.app, here.clinic.id);
        let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        let error = relationships::revoke(&server.app, &ctx, grant, theirs).await.unwrap_err();
        assert_eq!(error.code().as_str(), "not_found");
        assert_eq!(pairs(server, &there.clinic).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn conflicts_between_people_are_refused_with_the_entry() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        import(server, &clinic, &row("A-1", "booked", "D-1")).await;
        let person = |kind: &str, identifiers: &[(&str, &str)]| {
            let identifiers: Vec<_> =
                identifiers.iter().map(|(system, value)| json!({"system": system, "value": value})).collect();
            json!({"resource": {"resourceType": kind, "identifier": identifiers, "name": [{"text": "Otra Persona"}]}})
        };
        let (patient, clinician) = (("urn:sigilo:patient", "P-1"), ("urn:sigilo:clinician", "D-1"));
        let file = json!({"resourceType": "Bundle", "type": "collection", "entry": [
            person("Practitioner", &[patient]),
            person("Patient", &[patient, clinician]),
            {"resource": {"resourceType": "Appointment", "status": "booked",
                "identifier": [{"system": "urn:x", "value": "1"}],
                "participant": [
                    {"actor": {"type": "Patient", "identifier": {"system": "urn:sigilo:patient", "value": "P-404"}}},
                    {"actor": {"type": "Practitioner", "identifier": {"system": clinician.0, "value": clinician.1}}}]}},
        ]});
        let report = import(server, &clinic, &file.to_string()).await;
        let refused: Vec<(usize, &str)> =
            report.refused.iter().map(|refused| (refused.row, refused.problem.as_str())).collect();
        assert_eq!(
            refused,
            [
                (1, "its identifier belongs to a person with another role"),
                (2, "its identifiers belong to different people"),
                (3, "names a patient this clinic does not know"),
            ]
        );
        assert_eq!(changes(&report), [0; 6]);
    })
    .await;
}

#[tokio::test]
async fn names_follow_the_file_until_there_is_an_account() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let file = "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n\
                    A-1,booked,P-ana,Ana María López,D-maria,Dra. María Martínez\n\
                    A-8,booked,P-eva,Eva Ruiz,D-maria,Dra. María Martínez\n";
        assert_eq!(changes(&import(server, &cast.clinic, file).await)[..2], [1, 0]);
        let renamed = file.replace("Eva Ruiz", "Eva Ruiz Soto");
        assert_eq!(changes(&import(server, &cast.clinic, &renamed).await)[..2], [0, 1]);
        let names: Vec<String> =
            pairs(server, &cast.clinic).await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["Ana López", "Eva Ruiz Soto", "Luis Pérez"],
            "Ana has an account: her name is hers"
        );
    })
    .await;
}

#[tokio::test]
async fn a_large_file_is_taken_in_batches_and_audited() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        let mut file =
            "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n".to_owned();
        for n in 0..450 {
            file.push_str(&format!("A-{n},booked,P-{n},Paciente {n},D-{},Clínico {}\n", n % 7, n % 7));
        }
        let report = import(server, &clinic, &file).await;
        assert_eq!(changes(&report), [457, 0, 450, 0, 450, 0]);
        assert_eq!(relationships_of(server, &clinic).await.len(), 450);
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act, COUNT(*) FROM audit_entries GROUP BY act ORDER BY act";
        let acts: BTreeMap<String, i64> =
            fetch_all!(&mut tx, (String, i64), sql).unwrap().into_iter().collect();
        for (act, count) in [("import_person", 457), ("make_relationship", 450), ("import_appointments", 1)] {
            assert_eq!(acts.get(act), Some(&count), "{act}");
        }
        let sql = "SELECT COUNT(*) FROM audit_entries WHERE act = 'make_relationship' AND patient_id IS NULL";
        assert_eq!(fetch_one!(&mut tx, (i64,), sql).unwrap().0, 0, "patients find what concerns them");
    })
    .await;
}

#[tokio::test]
async fn two_imports_at_once_make_everybody_once() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        let bundle = fixture("appointments.fhir.json");
        let reports = futures_util::future::join_all((0..4).map(|_| import(server, &clinic, &bundle))).await;
        let created: usize = reports.iter().map(|report| report.persons_created).sum();
        let made: usize = reports.iter().map(|report| report.relationships_made).sum();
        assert_eq!((created, made), (5, 2));
    })
    .await;
}

#[tokio::test]
async fn only_the_operator_and_the_clinics_staff_manage_relationships() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        for (role, allowed) in [
            (Role::Admin, true),
            (Role::Doctor, false),
            (Role::Patient, false),
            (Role::Moderator, false),
            (Role::Compliance, false),
        ] {
            let person = clinic.person(server, role, &format!("{role}@demo.example")).await;
            let request = RequestId::new(server.app.clock.now(), [0; 10]);
            let token = &person.tokens.access_token;
            let ctx = auth::authenticate(&server.app, token, request, None).await.unwrap();
            let decision = relationships::authorize_manage_relationships(&server.app, &ctx);
            assert_eq!(decision.is_ok(), allowed, "{role}");
        }
    })
    .await;
}
