//! `sigilo chat`: groups, titles, answers, edits, reactions, search and the history, as a person types them.

use serde_json::Value;
use sigilo_client::NewConversation;
use sigilo_wire::Role;

use crate::{
    chat::chat,
    crash::{activate, open},
    people::World,
    support::{Engine, TestServer},
};

fn all<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_done_and_shown() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let ana = activate(&world, Role::Patient, "ana", (crate::people::PATIENT, "MRN-1001")).await;
    // The keys and no messages, as on a new device.
    let new = ana.with_file_name("new");
    std::fs::create_dir_all(&new).unwrap();
    for entry in std::fs::read_dir(&ana).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), new.join(entry.file_name())).unwrap();
    }
    let maria =
        activate(&world, Role::Doctor, "maria", ("https://clinica-demo.example/fhir/licence", "LIC-2001"))
            .await;
    let (patient, doctor) = (open(&ana).await, open(&maria).await);
    let user = doctor.me().await.unwrap().user;
    patient.start_conversation(user, NewConversation::default()).await.unwrap();
    doctor.shutdown().await.unwrap();
    patient.shutdown().await.unwrap();

    let typed = "/open 1\nme duele la cabesa\n/edit 1 me duele la cabeza\n/reply 1 desde ayer\n/react 1 🤕\n\
                 /urgent y me mareo\nesto sobra\n/delete 6\n/title Dolores de cabeza\n/search cabezas\n/who\n/mute\n\
                 /history\n/older 5\n/receipt 2\n/conversations\n/dance\n/quit\n";
    let lines = chat(&ana, &["--json"], typed).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(all(&lines, "refused").is_empty() && all(&lines, "error").is_empty(), "{lines:#?}");
    let history = all(&lines, "history");
    // The first is shown at the opening, the last is what `/older` finds before the first message.
    let shown = history[1]["results"].as_array().unwrap();
    let texts: Vec<&str> = shown.iter().map(|line| line["text"].as_str().unwrap_or("-")).collect();
    assert_eq!(texts, ["me duele la cabeza", "desde ayer", "y me mareo", "-", "Dolores de cabeza"]);
    assert!(shown[0]["edited_at"].is_string());
    assert_eq!(shown[0]["reactions"][0]["emoji"], "🤕");
    assert_eq!(shown[1]["reply_to_seq"], 1);
    assert_eq!((&shown[2]["priority"], &shown[2]["urgent"]), (&"urgent".into(), &true.into()));
    assert!(shown[3]["deleted_at"].is_string());
    assert!(history[2]["results"].as_array().unwrap().is_empty());
    let found = all(&lines, "found")[0];
    assert_eq!(found["complete"], true);
    assert_eq!(found["results"][0]["snippet"], "me duele la cabeza");
    assert_eq!(found["results"][0]["matches"][0]["start"], 12);
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    assert_eq!(all(&lines, "participants")[0]["results"].as_array().unwrap().len(), 2);
    assert_eq!(all(&lines, "settings")[0]["settings"]["notifications_enabled"], false);
    assert_eq!(all(&lines, "receipt")[0]["verdict"], "verified", "an edit has its own");
    let listed = &all(&lines, "conversations")[0]["results"][0];
    assert_eq!((&listed["title"], &listed["muted"]), (&"Dolores de cabeza".into(), &true.into()));

    // A person at the other end, whose client reads the history first, so that all is there when it is asked for.
    let said = chat(
        &maria,
        &["--restore"],
        "/open Dolores\n/conversations\n/search cabez\n/reply 1 llame al 55 1234 5678\n/quit\n",
    )
    .await;
    for expected in [
        "me duele la cabeza (edited)",
        "↩ #1: desde ayer",
        "🤕1",
        "‼ URGENT y me mareo",
        "(deleted)",
        "cabeza",
        "not sent yet, it has: a phone number",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("esto sobra") && !said.contains("cabesa"), "{said}");

    // The new device reads it all before the chat begins.
    let said = chat(&new, &["--restore"], "/open 1\n/quit\n").await;
    for expected in ["me duele la cabeza (edited)", "desde ayer", "Dolores de cabeza"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    drop(world);
    server.finish().await;
}
