//! Importing appointments, ending relationships and checking rules from the command line.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{run, sigilo, text};

/// Runs a command with `--json`; its exit status and document.
fn ask(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = sigilo(folder, arguments).arg("--json").output().unwrap();
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(text(&output.stderr).to_owned()));
    (output.status.code().unwrap(), answer)
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn import(folder: &Path, file: &str) -> (i32, Value) {
    ask(folder, &["admin", "appointment", "import", "--clinic", "ejemplo", file])
}

/// A folder with a clinic.
fn clinic() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let who = [
        "--name",
        "Clínica Ejemplo",
        "--slug",
        "ejemplo",
        "--time-zone",
        "America/Mexico_City",
        "--hours",
        "00:00-24:00",
    ];
    let arguments = [&["admin", "clinic", "create", "--out", "request.json"], &who[..]].concat();
    assert!(run(folder.path(), &arguments).status.success());
    folder
}

#[test]
fn an_import_says_what_it_did_and_what_it_refused() {
    let folder = clinic();
    let here = folder.path();
    let (status, report) = import(here, &fixture("appointments.fhir.json"));
    assert_eq!(status, 0, "{report}");
    assert_eq!(report["persons_created"], 5);
    assert_eq!(report["relationships_made"], 2);
    assert_eq!(report["refused"][0]["resource"], "Appointment");
    let (status, again) = import(here, &fixture("appointments.fhir.json"));
    assert_eq!((status, &again["persons_created"]), (0, &0.into()), "{again}");
    // For people: each refused entry with its reason, and no names.
    let table = fixture("appointments.csv");
    let said = run(here, &["admin", "appointment", "import", "--clinic", "ejemplo", &table]);
    let said = text(&said.stdout);
    assert!(said.contains("refused         row 5: start"), "{said}");
    assert!(said.contains("passed over     reason"), "{said}");
    assert!(!said.contains("López"), "{said}");

    fs::write(here.join("broken.json"), "{\"resourceType\": \"Bundle\", ").unwrap();
    for file in ["broken.json", "nowhere.json", "request.json"] {
        let (status, refused) = import(here, file);
        assert_eq!((status, &refused["details"]["field"]), (2, &"file".into()), "{file}: {refused}");
    }
    let table = fixture("appointments.csv");
    let (status, nobody) = ask(here, &["admin", "appointment", "import", "--clinic", "nowhere", &table]);
    assert_eq!((status, &nobody["details"]["field"]), (2, &"clinic".into()), "{nobody}");
}

#[test]
fn a_relationship_is_listed_and_revoked() {
    let folder = clinic();
    let here = folder.path();
    assert_eq!(import(here, &fixture("appointments.fhir.json")).0, 0);
    let list = || ask(here, &["admin", "relationship", "list", "--clinic", "ejemplo"]).1["results"].clone();
    let found = list();
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    assert_eq!(found[0]["revoked_at"], Value::Null);
    assert_eq!(found[0]["blocked_by"], serde_json::json!([]));
    let blocks = ask(here, &["admin", "relationship", "blocks", "--clinic", "ejemplo"]);
    assert_eq!(blocks, (0, serde_json::json!({"results": []})));
    let id = found[0]["id"].as_str().unwrap();
    let revoke = |id: &str| ask(here, &["admin", "relationship", "revoke", "--clinic", "ejemplo", id]);
    let (status, revoked) = revoke(id);
    assert_eq!((status, &revoked["relationships"][0]), (0, &id.into()), "{revoked}");
    assert!(list()[0]["revoked_at"].is_string());
    let (status, again) = revoke(id);
    assert_eq!((status, again["relationships"].as_array().unwrap().len()), (0, 0));
    let (status, unknown) = revoke("0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10");
    assert_eq!((status, &unknown["error"]), (1, &"not_found".into()), "{unknown}");
    assert_eq!(revoke("not-an-id").0, 2);
}

#[test]
fn rules_are_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let cases = format!("{}/policies/tests", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(ask(here, &["policy", "validate"]).0, 0);
    let (status, tested) = ask(here, &["policy", "test", &cases]);
    assert_eq!((status, &tested["failures"]), (0, &serde_json::json!([])), "{tested}");

    fs::create_dir(here.join("ours")).unwrap();
    let rule = "// Nobody writes.\nforbid (principal, action == Action::\"send_message\", resource);";
    fs::write(here.join("ours/silence.cedar"), rule).unwrap();
    let (status, tested) = ask(here, &["policy", "test", &cases, "--policies", "ours"]);
    assert_eq!(status, 1, "{tested}");
    assert!(tested["failures"][0]["problem"].as_str().unwrap().contains("silence"), "{tested}");

    fs::write(here.join("ours/silence.cedar"), "// Nobody writes.\nforbid (principal, action, reso);")
        .unwrap();
    let (status, checked) = ask(here, &["policy", "validate", "--policies", "ours"]);
    assert_eq!((status, &checked["problems"][0]["line"]), (1, &2.into()), "{checked}");
    let said = run(here, &["policy", "validate", "--policies", "ours"]);
    assert!(text(&said.stdout).starts_with("ours/silence.cedar:2: "), "{}", text(&said.stdout));
    // A server does not start with them either.
    fs::write(here.join("sigilo.toml"), "[policy]\ndir = \"ours\"\n").unwrap();
    let started = run(here, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(started.status.code(), Some(3));
    assert!(text(&started.stderr).contains("silence.cedar:2"), "{}", text(&started.stderr));
}
