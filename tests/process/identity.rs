//! A new identity for somebody whose devices are lost, by the commands two people type.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    Served,
    people::{ask, clinic, without_second_factor},
    sigilo, text,
};

const CLINIC: [&str; 2] = ["--clinic", "ejemplo"];

/// Invites somebody and activates the invitation; their id.
async fn person(folder: &Path, server: &Served, role: &str, name: &str) -> String {
    let email = format!("{name}@clinic.example");
    let who =
        ["--role", role, "--name", name, "--email", email.as_str(), "--root-card", "safe/root-card.txt"];
    let (status, invited) = ask(folder, &[&["admin", "user", "invite"], &CLINIC[..], &who[..]].concat());
    assert_eq!(status, 0, "{invited}");
    activate(server, &invited["code"]).await["user_id"].as_str().unwrap().to_owned()
}

async fn activate(server: &Served, code: &Value) -> Value {
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let body = json!({"clinic": "ejemplo", "code": code, "password": "correct horse battery",
                      "device": {"kind": "messaging", "name": "phone"}});
    let url = format!("http://{}/api/auth/activate/", server.address);
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// Runs the command as somebody; exit status and document.
fn reset(folder: &Path, who: &str, arguments: &[&str]) -> (i32, Value) {
    let r#as = format!("{who}@clinic.example");
    let fixed = ["admin", "user", "reset-identity", "--json", "--as", r#as.as_str()];
    let output = sigilo(folder, &[&fixed[..], &CLINIC[..], arguments].concat())
        .env("SIGILO_PASSWORD", "correct horse battery")
        .output()
        .unwrap();
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(text(&output.stderr).to_owned()));
    (output.status.code().unwrap(), answer)
}

#[tokio::test]
async fn two_people_give_a_new_identity_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    clinic(here);
    without_second_factor(here);
    let server = Served::start(here, &[]);
    let ana = person(here, &server, "patient", "ana").await;
    person(here, &server, "admin", "rosa").await;
    person(here, &server, "compliance", "luis").await;

    let (status, refused) = reset(here, "ana", &[&ana]);
    assert_ne!(status, 0, "{refused}");
    let (status, asked) = reset(here, "rosa", &[&ana]);
    assert_eq!(status, 0, "{asked}");
    let approve = ["--approve", asked["reset_id"].as_str().unwrap(), "--root-card", "safe/root-card.txt"];
    let (status, same) = reset(here, "rosa", &approve);
    assert_ne!(status, 0, "{same}");
    assert!(same.to_string().contains("forbidden"), "{same}");
    let (status, made) = reset(here, "luis", &approve);
    assert_eq!(status, 0, "{made}");
    assert!(made["invitation"].as_str().unwrap().starts_with("sigilo://activate?v=1&"), "{made}");
    let tokens = activate(&server, &made["code"]).await;
    assert_eq!((&tokens["user_id"], &tokens["device"]["device_id"]), (&json!(ana), &json!(2)));
}
