//! From nothing to an invitation, by the commands an operator and an officer run.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{run, sigilo, text};

/// Runs a command with `--json`; its exit status and document.
fn ask(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = sigilo(folder, arguments).arg("--json").output().unwrap();
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(text(&output.stderr).to_owned()));
    (output.status.code().unwrap(), answer)
}

fn create(folder: &Path, slug: &str, out: &str) -> (i32, Value) {
    let zone = "America/Mexico_City";
    ask(
        folder,
        &[
            "admin",
            "clinic",
            "create",
            "--name",
            "Clínica Ejemplo",
            "--slug",
            slug,
            "--time-zone",
            zone,
            "--out",
            out,
        ],
    )
}

fn install(folder: &Path, file: &str) -> (i32, Value) {
    ask(folder, &["admin", "clinic", "install-keys", "--clinic", "ejemplo", "--file", file])
}

fn invite(folder: &Path, email: &str, card: &str) -> (i32, Value) {
    let who = ["--clinic", "ejemplo", "--role", "doctor", "--name", "Dra. María Martínez", "--email", email];
    let how = ["--root-card", card, "--server", "https://chat.example"];
    ask(folder, &[&["admin", "user", "invite"], &who[..], &how[..]].concat())
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_clinic_comes_to_be_and_invites_its_first_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (status, made) = create(here, "ejemplo", "request.json");
    assert_eq!(status, 0, "{made}");
    let clinic = made["clinic_id"].as_str().unwrap();
    assert_eq!(mode(here.join(format!("data/scanner/{clinic}.key"))), 0o600);

    let (status, card) = ask(here, &["records", "init", "--request", "request.json", "--out", "safe"]);
    assert_eq!(status, 0, "{card}");
    assert_eq!(mode(here.join("safe")), 0o700);
    assert_eq!(mode(here.join("safe/private-keys.json")), 0o600);
    let printed = fs::read_to_string(here.join("safe/root-card.txt")).unwrap();
    assert!(printed.contains(card["root_card"].as_str().unwrap()), "{printed}");
    let drawing = fs::read_to_string(here.join("safe/root-card.svg")).unwrap();
    let first = card["root_groups"].as_str().unwrap().split(' ').next().unwrap();
    assert!(drawing.starts_with("<svg ") && drawing.contains(first));
    let public = fs::read_to_string(here.join("safe/clinic-keys.json")).unwrap();
    let private: Value =
        serde_json::from_slice(&fs::read(here.join("safe/private-keys.json")).unwrap()).unwrap();
    for secret in ["root", "records", "moderation"] {
        let secret = private[secret].as_str().unwrap();
        assert!(!public.contains(secret) && !printed.contains(secret));
    }

    let (status, early) = invite(here, "maria@clinic.example", "safe/root-card.txt");
    assert_eq!((status, &early["error"]), (1, &"clinic_keys_missing".into()), "{early}");
    let (status, installed) = install(here, "safe/clinic-keys.json");
    assert_eq!((status, &installed["changed"]), (0, &true.into()), "{installed}");
    assert_eq!(installed["root_card"], card["root_card"]);
    let (status, again) = install(here, "safe/clinic-keys.json");
    assert_eq!((status, &again["changed"]), (0, &false.into()), "{again}");

    let (status, invited) = invite(here, "maria@clinic.example", "safe/root-card.txt");
    assert_eq!(status, 0, "{invited}");
    let root = card["root_card"].as_str().unwrap().rsplit_once("&root=").unwrap().1;
    let invitation = invited["invitation"].as_str().unwrap();
    let expected = format!("sigilo://activate?v=1&server=https://chat.example&clinic={clinic}&code=");
    assert!(
        invitation.starts_with(&expected) && invitation.ends_with(&format!("&root={root}")),
        "{invitation}"
    );

    let (status, people) = ask(here, &["admin", "user", "list", "--clinic", clinic]);
    assert_eq!(status, 0, "{people}");
    assert_eq!(people["results"][0]["full_name"], "Dra. María Martínez");
    assert_eq!(people["results"][0]["status"], "invited");
    // For people: the QR code and the line.
    let arguments = ["admin", "user", "list", "--clinic", "ejemplo"];
    assert!(text(&run(here, &arguments).stdout).contains("maria@clinic.example"));
}

#[test]
fn wrong_cards_requests_and_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert_eq!(create(here, "ejemplo", "request.json").0, 0);
    let (status, taken) = create(here, "ejemplo", "second.json");
    assert_eq!((status, &taken["error"]), (1, &"already_exists".into()), "{taken}");
    assert!(!here.join("second.json").exists(), "nothing is left behind");
    let (status, exists) = create(here, "otra", "request.json");
    assert_eq!((status, &exists["details"]["field"]), (2, &"out".into()), "{exists}");
    assert_eq!(create(here, "Not A Slug", "third.json").0, 2);

    let init = |out: &str| ask(here, &["records", "init", "--request", "request.json", "--out", out]);
    assert_eq!(init("safe").0, 0);
    assert_eq!(init("safe").0, 2, "the folder is not empty");
    let shares = ["records", "init", "--request", "request.json", "--out", "x", "--shares", "5"];
    assert_eq!(run(here, &shares).status.code(), Some(2), "shares are not written yet");
    assert_eq!(init("forged").0, 0);

    // One letter of a signed statement.
    let keys = fs::read_to_string(here.join("safe/clinic-keys.json")).unwrap();
    let mut altered: Value = serde_json::from_str(&keys).unwrap();
    let signature = altered["statements"][3]["signature"].as_str().unwrap().to_owned();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    altered["statements"][3]["signature"] = format!("{flipped}{}", &signature[1..]).into();
    fs::write(here.join("altered.json"), altered.to_string()).unwrap();
    let (status, refused) = install(here, "altered.json");
    assert_eq!((status, &refused["error"]), (1, &"invalid_signature".into()), "{refused}");
    assert_eq!(refused["details"]["statement"], 3);
    assert_eq!(install(here, "request.json").0, 2, "another kind of file");

    assert_eq!(install(here, "safe/clinic-keys.json").0, 0);
    let (status, other) = install(here, "forged/clinic-keys.json");
    assert_eq!((status, &other["error"]), (1, &"already_exists".into()), "{other}");
    let (status, refused) = invite(here, "maria@clinic.example", "forged/root-card.txt");
    assert_eq!((status, &refused["details"]["key"]), (1, &"root_card".into()), "{refused}");
    assert_eq!(invite(here, "maria@clinic.example", "request.json").0, 2, "not a card");
    assert_eq!(invite(here, "not an address", "safe/root-card.txt").0, 2);
    let (status, nobody) = ask(here, &["admin", "user", "list", "--clinic", "nowhere"]);
    assert_eq!((status, &nobody["details"]["field"]), (2, &"clinic".into()), "{nobody}");
}

#[test]
fn a_clinic_says_what_is_done_about_what_is_out_of_the_ordinary() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert_eq!(create(here, "ejemplo", "request.json").0, 0);
    let anomalies =
        |more: &[&str]| ask(here, &[&["admin", "clinic", "anomalies", "--clinic", "ejemplo"], more].concat());
    let (status, shown) = anomalies(&[]);
    assert_eq!((status, &shown["changed"]), (0, &false.into()), "{shown}");
    assert_eq!(shown["rules"]["new_place"]["action"], "flag");
    let wanted = ["--kind", "repeated_denials", "--action", "slow", "--count", "5"];
    let (status, set) = anomalies(&wanted);
    assert_eq!((status, &set["changed"]), (0, &true.into()), "{set}");
    let (_, kept) = anomalies(&[]);
    let rule = &kept["rules"]["repeated_denials"];
    assert_eq!(
        (&rule["action"], &rule["count"], &rule["within_s"]),
        (&"slow".into(), &5.into(), &600.into())
    );
    let (status, refused) = anomalies(&["--kind", "new_place", "--action", "suspend"]);
    assert_eq!((status, &refused["details"]["field"]), (2, &"rules".into()), "{refused}");
    let (_, reset) = anomalies(&["--reset"]);
    assert_eq!((&reset["changed"], &reset["rules"]), (&true.into(), &shown["rules"]));
}

#[test]
fn the_operator_sees_the_quarantine_and_destroys_nothing_that_is_not_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert_eq!(create(here, "ejemplo", "request.json").0, 0);
    let (status, shown) = ask(here, &["admin", "quarantine", "list", "--clinic", "ejemplo"]);
    assert_eq!((status, &shown["files"]), (0, &Value::Array(Vec::new())), "{shown}");
    let nobody = "0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10";
    let (status, refused) = ask(here, &["admin", "quarantine", "destroy", "--clinic", "ejemplo", nobody]);
    assert_eq!((status, &refused["error"]), (1, &"not_found".into()), "{refused}");
}
