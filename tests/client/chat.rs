//! `sigilo chat` warns of what a text gives away, and sends it when the person says so.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use sigilo_client::{NewConversation, ShownMessage};
use sigilo_wire::Role;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    crash::{PASSPHRASE, activate, open},
    people::{DEADLINE, World},
    support::TestServer,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_text_with_an_identifier_is_sent_when_the_person_says_so() {
    let server = TestServer::start(crate::support::Engine::Sqlite).await;
    let world = World::new(&server).await;
    let ana =
        activate(&world, Role::Patient, "ana", ("https://clinica-demo.example/fhir/mrn", "MRN-1001")).await;
    let maria =
        activate(&world, Role::Doctor, "maria", ("https://clinica-demo.example/fhir/licence", "LIC-2001"))
            .await;
    let (patient, doctor) = (open(&ana).await, open(&maria).await);
    let user = doctor.me().await.unwrap().user;
    let conversation = patient.start_conversation(user, NewConversation::default()).await.unwrap().id;
    patient.shutdown().await.unwrap();
    doctor.shutdown().await.unwrap();

    let said = chat(
        &ana,
        &[],
        "/open 1\nhola\nmi tel es 55 1234 5678\nmejor no\n/send\nllame al 222 123 4567\n/send\n/quit\n",
    )
    .await;
    let held = "not sent yet, it has: a phone number. /send sends it anyway";
    assert_eq!(said.matches(held).count(), 2, "{said}");
    assert!(said.contains("no text was held back"), "{said}");

    // A program is not asked, and told all the same.
    let lines = chat(&ana, &["--json"], "/open 1\nmi tel es 55 1234 5678\n/history 2\n/quit\n").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let history = lines.iter().rfind(|line| line["type"] == "history").unwrap();
    let findings: Vec<&Value> =
        history["results"].as_array().unwrap().iter().map(|line| &line["findings"]).collect();
    let phone =
        |start, end| json!([{"filter": "phi", "kind": "phone", "range": {"start": start, "end": end}}]);
    assert_eq!(findings, [&phone(9, 21), &phone(10, 22)]);

    let patient = open(&ana).await;
    let history = patient.history(conversation, 10).await.unwrap();
    let texts: Vec<&str> = history.iter().filter_map(ShownMessage::text).collect();
    assert_eq!(texts, ["hola", "mejor no", "llame al 222 123 4567", "mi tel es 55 1234 5678"]);
    patient.shutdown().await.unwrap();
    drop(world);
    server.finish().await;
}

/// What the chat says to these lines, until it ends.
pub async fn chat(profile: &Path, options: &[&str], lines: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sigilo"))
        .args(["chat", "--profile"])
        .arg(profile)
        .args(options)
        .env("SIGILO_PASSPHRASE", PASSPHRASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
