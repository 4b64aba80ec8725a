//! Another client, built from the documents on Signal's official npm client (`tests/interop/`), against a real
//! server and the SDK: both read, check and answer what the other sends.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "client/people.rs"]
#[expect(dead_code, reason = "shared with the tests of the client, which use more of it")]
mod people;
mod support;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use sigilo_client::NewConversation;
use sigilo_wire::Role;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use people::{World, check};
use support::{Engine, TestServer, clinic::PASSWORD};

/// Longer than anything the device itself waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// The device in JavaScript: a line of JSON in, a line of JSON out.
struct NodeDevice {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl NodeDevice {
    async fn start() -> Self {
        let folder = packages().await;
        let mut child = Command::new("node")
            .arg("main.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed: run 'cargo xtask setup'");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    /// Gives a command and its answer.
    async fn call(&mut self, command: &str, mut arguments: Value) -> Value {
        arguments["command"] = json!(command);
        self.input.write_all(format!("{arguments}\n").as_bytes()).await.unwrap();
        let line = tokio::time::timeout(DEADLINE, self.output.next_line()).await.expect("an answer in time");
        let line = line.unwrap().unwrap_or_else(|| panic!("node ended at {command}"));
        let answer: Value = serde_json::from_str(&line).unwrap();
        match answer.get("ok") {
            Some(ok) => ok.clone(),
            None => panic!("{command}: {}", answer["error"].as_str().unwrap_or(&line)),
        }
    }

    async fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// The folder of the script, its packages installed as the lock file says.
async fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    if !folder.join("node_modules/.package-lock.json").exists() {
        let installed =
            Command::new("npm").arg("ci").current_dir(&folder).stdin(Stdio::null()).status().await;
        assert!(installed.expect("npm is installed: run 'cargo xtask setup'").success(), "npm ci");
    }
    folder
}

/// What the device in JavaScript must have checked, at least once each.
const CHECKS: [&str; 14] = [
    "the root key is the one the invitation pins",
    "the root signed every statement",
    "the server holds the keys that were published",
    "manifests are signed by their identity",
    "prekeys are signed by their identity",
    "the session is with the known identity",
    "S: the sender signed context, commitment and wrapped key",
    "C: the commitment binds key, context and body",
    "W: the archive holds the same key",
    "the device's chain has no gap",
    "the seal is signed by its maker",
    "every copy of the seal is good, the officers' too, and there is no other",
    "the receipt is signed by the clinic's receipt key",
    "a message sent twice gets the first answer",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_device_built_from_the_documents_and_the_sdk_understand_each_other() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let mut maria = world.maria().await;
    let mut ana = NodeDevice::start().await;
    assert_eq!(ana.call("vectors", json!({})).await["vectors"].as_array().unwrap().len(), 11);

    let patient = ("https://clinica-demo.example/fhir/mrn", "MRN-1001");
    let invitation = world.invitation(Role::Patient, "ana", patient).await;
    let activated = ana.call("activate", json!({"invitation": invitation, "password": PASSWORD})).await;
    let ana_id = activated["user_id"].as_str().unwrap().parse().unwrap();

    // The official client opens the session, and the SDK answers in it.
    let started = ana.call("start", json!({"user": maria.user})).await;
    let conversation = started["conversation_id"].as_str().unwrap().to_owned();
    maria.connected().await;
    for text in ["Buenos días, doctora.", "¿Puedo verla hoy?"] {
        ana.call("send", json!({"conversation": conversation, "text": text})).await;
        assert_eq!(maria.next_text().await, text);
    }
    let id = maria.client.start_conversation(ana_id, NewConversation::default()).await.unwrap().id;
    assert_eq!(id.to_string(), conversation, "a pair has one direct conversation");
    for text in ["Sí, a las diez.", "Traiga sus análisis."] {
        check(maria.client.send_text(id, text).await.unwrap().accepted().expect("accepted at once"));
    }
    let received = ana.call("receive", json!({"wanted": 2})).await;
    assert_eq!(received["texts"], json!(["Sí, a las diez.", "Traiga sus análisis."]));
    assert_eq!(received["delivered"].as_array().unwrap().len(), 2, "Ana hears that both arrived");
    ana.call("send", json!({"conversation": conversation, "text": "Gracias 🙏"})).await;
    assert_eq!(maria.next_text().await, "Gracias 🙏");

    // The history opens through the record seals, on both sides the same.
    let at_ana = ana.call("history", json!({"conversation": conversation})).await;
    let at_maria = maria.client.history(id, 100).await.unwrap();
    let at_maria: Vec<_> = at_maria.iter().map(|message| message.text().unwrap()).collect();
    assert_eq!(at_ana["texts"], json!(at_maria));
    assert_eq!(at_maria.len(), 5);

    let number = ana.call("safety_number", json!({"user": maria.user})).await;
    assert_eq!(number["digits"], json!(maria.client.safety_number(ana_id).await.unwrap().digits));

    let checks = ana.call("checks", json!({})).await;
    let checks: Vec<&str> = checks["checks"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for wanted in CHECKS {
        assert!(checks.contains(&wanted), "was not checked: {wanted}; checked: {checks:#?}");
    }
    ana.end().await;
    maria.end().await;
    drop(world);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opened_by_the_sdk_is_answered_by_the_official_client() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let mut maria = world.maria().await;
    let mut ana = NodeDevice::start().await;
    let patient = ("https://clinica-demo.example/fhir/mrn", "MRN-1001");
    let invitation = world.invitation(Role::Patient, "ana", patient).await;
    let activated = ana.call("activate", json!({"invitation": invitation, "password": PASSWORD})).await;
    let ana_id = activated["user_id"].as_str().unwrap().parse().unwrap();

    let id = maria.client.start_conversation(ana_id, NewConversation::default()).await.unwrap().id;
    maria.connected().await;
    check(maria.client.send_text(id, "¿Cómo sigue?").await.unwrap().accepted().expect("accepted at once"));
    let received = ana.call("receive", json!({"wanted": 1})).await;
    assert_eq!(received["texts"], json!(["¿Cómo sigue?"]));
    for number in 0..10 {
        let (question, answer) = (format!("pregunta {number}"), format!("respuesta {number}"));
        ana.call("send", json!({"conversation": id, "text": question})).await;
        assert_eq!(maria.next_text().await, question);
        check(maria.client.send_text(id, answer.as_str()).await.unwrap().accepted().expect("accepted"));
        assert_eq!(ana.call("receive", json!({"wanted": 1})).await["texts"], json!([answer]));
    }
    ana.end().await;
    maria.end().await;
    drop(world);
    server.finish().await;
}
