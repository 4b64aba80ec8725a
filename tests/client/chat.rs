//! `sigilo chat` warns of what a text gives away, and sends it when the person says so.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use sigilo_client::{
    ActivateOptions, Client, ContactFilter, ConversationFilter, MetadataSearch, NewConversation, ShownMessage,
};
use sigilo_wire::{
    ConversationId, Role,
    conversation::{ConversationSettingsChange, ConversationType},
    message::Priority,
    presence::{Presence, PresenceStatus},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::{
    crash::{PASSPHRASE, activate, open},
    people::{DEADLINE, World},
    support::{TestServer, clinic::PASSWORD},
};

/// Ana's profile, and her and María's clients: the two have a conversation.
async fn two_who_talk(world: &World<'_>) -> (PathBuf, Client, Client, ConversationId) {
    let ana =
        activate(world, Role::Patient, "ana", ("https://clinica-demo.example/fhir/mrn", "MRN-1001")).await;
    let maria =
        activate(world, Role::Doctor, "maria", ("https://clinica-demo.example/fhir/licence", "LIC-2001"))
            .await;
    let (patient, doctor) = (open(&ana).await, open(&maria).await);
    let user = doctor.me().await.unwrap().user;
    let conversation = patient.start_conversation(user, NewConversation::default()).await.unwrap().id;
    (ana, patient, doctor, conversation)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_with_an_identifier_is_sent_when_the_person_says_so() {
    let server = TestServer::start(crate::support::Engine::Sqlite).await;
    let world = World::new(&server).await;
    let (ana, patient, doctor, conversation) = two_who_talk(&world).await;
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

/// The lines that the chat writes for programs, of one type.
fn of_type<'a>(lines: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == wanted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_reaches_what_the_client_can_do() {
    let server = TestServer::start(crate::support::Engine::Sqlite).await;
    let world = World::new(&server).await;
    let (ana, patient, doctor, conversation) = two_who_talk(&world).await;
    let user = doctor.me().await.unwrap().user;
    // María was there, and is gone.
    doctor.set_status(PresenceStatus::Online).await.unwrap();
    doctor.connect().await.unwrap();
    let seen = async |wanted: fn(&Presence) -> bool| {
        tokio::time::timeout(DEADLINE, async {
            loop {
                let now = patient.conversation(conversation).await.unwrap();
                let maria = now.participants.iter().find(|participant| participant.user_id == user).unwrap();
                if maria.presence.as_ref().is_some_and(wanted) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap()
    };
    seen(|presence| presence.status == Some(PresenceStatus::Online)).await;
    doctor.shutdown().await.unwrap();
    seen(|presence| presence.status != Some(PresenceStatus::Online) && presence.last_seen_at.is_some()).await;
    patient.shutdown().await.unwrap();

    let said =
        chat(&ana, &[], "/open 1\n/who\n/contacts mart role:doctor\n/contacts role:compliance\n/quit\n")
            .await;
    assert_eq!(said.matches("offline, last seen 20").count(), 2, "{said}");
    assert!(said.contains("Nobody"), "no compliance officer: {said}");

    // Numbers of messages: 1 disappears, 2 is edited by 3.
    let said = chat(
        &ana,
        &["--json"],
        "/open 1\n/expiring 1h el código es 7\nuna dosis\n/edit 2 dos dosis\n/versions 2\n/find kind:text\n/find files:yes\n\
         /archive\n/conversations\n/archived\n/open 1\n/unarchive\n/conversations\n/quit\n",
    )
    .await;
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(of_type(&lines, "error").is_empty(), "{said}");
    let messages = of_type(&lines, "message");
    assert!(messages.len() > 1, "{said}");
    assert!(messages[0]["expires_at"].is_string() && messages[1]["expires_at"].is_null(), "{said}");
    let versions = of_type(&lines, "versions");
    assert_eq!(versions[0]["results"][0]["text"], "una dosis");
    let found = of_type(&lines, "found_by_server");
    let texts: Vec<&Value> =
        found[0]["results"].as_array().unwrap().iter().map(|line| &line["message"]["text"]).collect();
    assert_eq!(texts, [&json!("dos dosis"), &json!("el código es 7")]);
    assert_eq!(found[1]["results"], json!([]));
    let lists: Vec<usize> = of_type(&lines, "conversations")
        .iter()
        .map(|line| line["results"].as_array().unwrap().len())
        .collect();
    assert_eq!(lists, [0, 1, 1], "put away, found there, back: {said}");

    // A session of a browser is ended, and the password changed: it was right.
    let login = |password: &str| {
        json!({"clinic": "centro", "email": "ana@example.org", "password": password,
               "device": {"kind": "session", "name": "browser"}})
    };
    let session = server.post("/api/auth/login/", None, &login(PASSWORD)).await.expect(200);
    let new = "una frase nueva con espacios";
    let said = chat(
        &ana,
        &["--json"],
        &format!("/devices\n/remove-device s1\n/new-password {new}\n/password {PASSWORD}\n/new-password {new}\n/quit\n"),
    )
    .await;
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listed: Vec<usize> =
        of_type(&lines, "devices").iter().map(|line| line["results"].as_array().unwrap().len()).collect();
    assert_eq!(listed, [2, 1], "{said}");
    assert_eq!(of_type(&lines, "error").len(), 1, "a new password without the current one: {said}");
    let token = session["access_token"].as_str();
    assert_eq!(server.get("/api/me/", token).await.status, 401);
    server.post("/api/auth/login/", None, &login(PASSWORD)).await.expect_error(401, "invalid_credentials");
    server.post("/api/auth/login/", None, &login(new)).await.expect(200);
    drop(world);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_conversations_and_messages_are_found_by_what_the_server_sees() {
    let server = TestServer::start(crate::support::Engine::Sqlite).await;
    let world = World::new(&server).await;
    let (ana, maria) = (world.ana().await, world.maria().await);
    let id = ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
    ana.client.send_text(id, "hola").await.unwrap();
    let found = async |name: &str, role| {
        let filter = ContactFilter { name: Some(name.to_owned()), role };
        ana.client.find_contacts(filter).await.unwrap().len()
    };
    assert_eq!(found("martinez", Some(Role::Doctor)).await, 1, "without the accent");
    assert_eq!(found("martinez", Some(Role::Patient)).await, 0);
    assert_eq!(found("pérez & co", None).await, 0);
    let listed =
        async |filter: ConversationFilter| ana.client.find_conversations(filter).await.unwrap().len();
    let all = ConversationFilter::default();
    assert_eq!(listed(ConversationFilter { with_user: Some(maria.user), ..all }).await, 1);
    assert_eq!(listed(ConversationFilter { kind: Some(ConversationType::Group), ..all }).await, 0);
    assert_eq!(listed(ConversationFilter { has_unread: Some(true), ..all }).await, 0);
    assert_eq!(listed(ConversationFilter { participant_role: Some(Role::Doctor), ..all }).await, 1);
    let settings = ConversationSettingsChange { archived: Some(true), ..Default::default() };
    ana.client.arrange(id, settings).await.unwrap();
    assert_eq!(listed(all).await, 0);
    assert_eq!(listed(ConversationFilter { archived: true, oldest_first: true, ..all }).await, 1);
    // María's device has not read the message: it is found all the same, and not shown.
    let search = MetadataSearch { with_user: Some(ana.user), ..MetadataSearch::default() };
    let before = maria.client.find_messages(search).await.unwrap();
    assert_eq!(before.len(), 1);
    assert!(before[0].shown.is_none() && before[0].conversation_id == id);
    maria.client.sync_offline().await.unwrap();
    let after = maria.client.find_messages(search).await.unwrap();
    assert_eq!(after[0].shown.as_ref().unwrap().text(), Some("hola"));
    let urgent = MetadataSearch { priority: Some(Priority::Urgent), ..search };
    assert!(maria.client.find_messages(urgent).await.unwrap().is_empty());
    for device in [ana, maria] {
        device.end().await;
    }
    drop(world);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_says_when_somebody_logs_in_from_elsewhere_and_tells_staff_what_is_out_of_the_ordinary() {
    let behind_proxy = |config: &mut sigilo::config::Config| config.server.behind_proxy = true;
    let server = TestServer::start_with(crate::support::Engine::Sqlite, &behind_proxy).await;
    let world = World::new(&server).await;
    let ana =
        activate(&world, Role::Patient, "ana", ("https://clinica-demo.example/fhir/mrn", "MRN-1001")).await;
    let invitation = world.clinic.invite(&server, Role::Admin, "staff@example.org").await;
    let staff = world.folder.path().join("staff");
    let options = ActivateOptions::new(PASSWORD);
    let invitation = invitation.uri(&server.url).parse().unwrap();
    Client::activate(staff.join("profile.db"), PASSPHRASE, invitation, options)
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
    let login = json!({"clinic": "centro", "email": "ana@example.org", "password": PASSWORD,
                       "device": {"kind": "session", "name": "kiosk"}});
    let request = server.client.post(format!("{}/api/auth/login/", server.url));
    let answer = request.header("x-forwarded-for", "203.0.113.9").json(&login).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let said = line_of(&ana, "logged in to from a new place").await;
    assert!(said.contains("a session device 'kiosk'") && !said.contains("203.0.113"), "{said}");
    let said = line_of(&staff, "Out of the ordinary").await;
    assert!(said.contains("(new place)") && said.contains("waits for a review"), "{said}");
    drop(world);
    server.finish().await;
}

/// The line with these words that the chat shows by itself.
async fn line_of(profile: &Path, wanted: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sigilo"))
        .args(["chat", "--profile"])
        .arg(profile)
        .env("SIGILO_PASSPHRASE", PASSPHRASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the chat goes on");
            if line.contains(wanted) {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(DEADLINE, shown).await.unwrap();
    input.write_all(b"/quit\n").await.unwrap();
    // What else it shows is read, so that it can end.
    while lines.next_line().await.unwrap().is_some() {}
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    line
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
