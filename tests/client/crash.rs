//! Both devices are killed at random moments, again and again: what was written arrives, once, in order.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sigilo_client::{ActivateOptions, ChainVerdict, Client, NewConversation, OpenOptions, ShownMessage};
use sigilo_wire::Role;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    time::Instant,
};

use crate::{
    people::{DEADLINE, World, check},
    support::{TestServer, clinic::PASSWORD},
};

pub(crate) const PASSPHRASE: &str = "a passphrase for the test";
const ROUNDS: usize = 6;
const LINES_A_ROUND: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn devices_killed_at_any_moment_lose_and_double_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122);
    println!("SEED={seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let server = TestServer::start(crate::support::Engine::Sqlite).await;
    let world = World::new(&server).await;
    let ana =
        activate(&world, Role::Patient, "ana", ("https://clinica-demo.example/fhir/mrn", "MRN-1001")).await;
    let maria =
        activate(&world, Role::Doctor, "maria", ("https://clinica-demo.example/fhir/licence", "LIC-2001"))
            .await;
    let conversation = {
        let (patient, doctor) = (open(&ana).await, open(&maria).await);
        let user = doctor.me().await.unwrap().user;
        let id = patient.start_conversation(user, NewConversation::default()).await.unwrap().id;
        patient.shutdown().await.unwrap();
        doctor.shutdown().await.unwrap();
        id
    };

    // What a device said it had kept, by text: the number it had in the outbox or the conversation.
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let mut doctor = chat(&maria, &[]);
        let lines: Vec<String> =
            (0..LINES_A_ROUND).map(|line| format!("ronda {round} línea {line}")).collect();
        let mut patient = chat(&ana, &lines);
        let life = Duration::from_millis(300 + u64::from(rng.next_u32() % 1_500));
        kept.extend(listen(&mut patient, life).await);
        patient.kill().await.unwrap();
        doctor.kill().await.unwrap();
    }
    println!("{} lines were shown as accepted before a kill", kept.len());

    let (patient, doctor) = (open(&ana).await, open(&maria).await);
    patient.connect().await.unwrap();
    doctor.connect().await.unwrap();
    let sent =
        settled(&patient, conversation, |history| history.iter().all(|m| m.message_id.is_some())).await;
    let received = settled(&doctor, conversation, |history| history.len() >= sent.len()).await;
    assert_eq!(texts(&sent), texts(&received), "both sides have the same, in the same order");
    let mut count = BTreeMap::<String, usize>::new();
    for message in &received {
        check(message);
        assert_eq!(message.chain, ChainVerdict::Continuous);
        *count.entry(message.text().unwrap().to_owned()).or_default() += 1;
    }
    assert!(count.values().all(|times| *times == 1), "{count:?}");
    for text in &kept {
        assert!(count.contains_key(text), "{text} was accepted and is gone");
    }
    assert!(!kept.is_empty(), "the devices lived long enough to send something");
    patient.shutdown().await.unwrap();
    doctor.shutdown().await.unwrap();
    drop(world);
    server.finish().await;
}

fn texts(history: &[ShownMessage]) -> Vec<&str> {
    history.iter().filter_map(ShownMessage::text).collect()
}

/// A profile's folder as `sigilo chat` has it.
pub(crate) async fn activate(world: &World<'_>, role: Role, name: &str, identifier: (&str, &str)) -> PathBuf {
    activate_at(world, &world.server.url, role, name, identifier).await
}

/// The same, with another address of the server.
pub(crate) async fn activate_at(
    world: &World<'_>,
    url: &str,
    role: Role,
    name: &str,
    identifier: (&str, &str),
) -> PathBuf {
    let invitation = world.invitation_to(url, role, name, identifier).await.parse().unwrap();
    let folder = world.folder.path().join(name);
    let file = folder.join("profile.db");
    let client =
        Client::activate(&file, PASSPHRASE, invitation, ActivateOptions::new(PASSWORD)).await.unwrap();
    client.shutdown().await.unwrap();
    folder
}

/// Opens a profile; the killed process may need a moment to be gone.
pub(crate) async fn open(folder: &Path) -> Client {
    Client::open(folder.join("profile.db"), PASSPHRASE, OpenOptions::default()).await.unwrap()
}

fn chat(folder: &Path, lines: &[String]) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sigilo"))
        .arg("chat")
        .arg("--profile")
        .arg(folder)
        .arg("--json")
        .env("SIGILO_PASSPHRASE", PASSPHRASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input =
        ["/open 1".to_owned()].iter().chain(lines).map(|line| format!("{line}\n")).collect::<String>();
    tokio::spawn(async move {
        // Fails when the process is killed first.
        let _ = stdin.write_all(input.as_bytes()).await;
        // Open until the process ends: the end of the input would end it properly.
        std::future::pending::<()>().await;
    });
    child
}

/// Reads what the process says for as long as it may live after it is ready; gives the texts the server had
/// accepted.
async fn listen(child: &mut Child, life: Duration) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut accepted = Vec::new();
    let mut end = Instant::now() + DEADLINE;
    while let Ok(Ok(Some(line))) = tokio::time::timeout_at(end, lines.next_line()).await {
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["type"] == "ready" {
            end = Instant::now() + life;
        }
        if line["type"] == "message" && line["mine"] == true && !line["message_id"].is_null() {
            accepted.push(line["text"].as_str().unwrap().to_owned());
        }
    }
    accepted
}

/// The history, once it is as `wanted`.
async fn settled(
    client: &Client,
    conversation: sigilo_wire::ConversationId,
    wanted: impl Fn(&[ShownMessage]) -> bool,
) -> Vec<ShownMessage> {
    let end = Instant::now() + DEADLINE;
    let mut events = client.events().await.unwrap();
    loop {
        let history = client.history(conversation, 1_000).await.unwrap();
        if wanted(&history) {
            return history;
        }
        if tokio::time::timeout_at(end, events.next()).await.is_err() {
            panic!("not settled: {history:#?}");
        }
    }
}
