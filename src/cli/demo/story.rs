//! The story, chapter by chapter. Each claim is made only after it was checked.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    actor::{Actor, text},
    bundle::{SYSTEM, bundle},
    devices, evening, files, glass,
    hunt::{Hunt, Report},
    identity,
    line::Line as PhoneLine,
    lines::{Dialogue, Line},
    narrator::Narrator,
    night,
    stage::{self, MARKER, Stage},
    store, together,
};
use crate::{Error, Result, audit::hex};

const CLINIC: &str = "Clínica Demostración";
pub(super) const SLUG: &str = "demo";
/// How many lines are said live.
const LIVE_LINES: usize = 5;

/// Invitations of the four people.
struct Invitations {
    maria: String,
    ana: String,
    luis: String,
    jorge: String,
}

/// Tells it.
pub(super) async fn tell(stage: &mut Stage, narrator: &mut Narrator, dialogue: &Dialogue) -> Result<()> {
    let (invitations, line) = open_clinic(stage, narrator).await?;
    let (mut maria, mut ana, mut luis) = people_arrive(stage, narrator, &invitations).await?;
    rules_decide(narrator, &mut luis, &mut ana, &maria).await?;
    luis.leave().await?;
    let mut said = converse(narrator, dialogue, &mut ana, &mut maria).await?;
    let mut maria = while_away(stage, narrator, dialogue, &mut ana, maria, &mut said).await?;
    check(narrator, &mut ana, &mut maria).await?;
    devices::second_device(stage, narrator, &line.url, &mut ana, &mut maria, &mut said).await?;
    what_is_stored(stage, narrator, &said).await?;
    let stored = files::tell(stage, narrator, &line, (&mut ana, &mut maria), &mut said).await?;
    let mut jorge = together::tell(stage, narrator, &invitations.jorge, &mut maria, &mut said).await?;
    evening::tell(stage, narrator, &mut ana, &mut said).await?;
    night::tell(stage, narrator, (&mut ana, &mut maria, &mut jorge), &mut said).await?;
    evening::morning(stage, narrator, &mut ana, &mut maria).await?;
    glass::tell(stage, narrator, (&mut ana, &mut jorge), &mut said).await?;
    let ana = identity::tell(stage, narrator, ana, &mut maria, &mut said).await?;
    hunt_memory(stage, narrator, &said)?;
    ana.leave().await?;
    maria.leave().await?;
    jorge.leave().await?;
    let stopped = stage.stop_server().await?;
    hunt_files(stage, narrator, &said, stored)?;
    holds(stopped, "the server did not stop cleanly")?;
    narrator.claim("the server stops cleanly");
    Ok(())
}

pub(super) fn holds(condition: bool, otherwise: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(Error::internal(otherwise)) }
}

/// Gives the line of Ana's phone too.
async fn open_clinic(stage: &mut Stage, narrator: &mut Narrator) -> Result<(Invitations, PhoneLine)> {
    narrator.chapter("A clinic in Mexico City opens");
    let url = stage.start_server().await?.url.clone();
    narrator.tell(&format!("The server answers on {url}, with SQLite in a fresh folder."));
    let create =
        ["admin", "clinic", "create", "--name", CLINIC, "--slug", SLUG, "--time-zone", "America/Mexico_City"];
    stage
        .operator(
            &[&create[..], &["--hours", "00:00-24:00", "--emergency-number", "911", "--out", "request.json"]]
                .concat(),
            true,
        )
        .await?;
    stage.operator(&["records", "init", "--request", "request.json", "--out", "safe"], false).await?;
    narrator.tell("Offline, the officers made the clinic's root and records keys and printed the root card.");
    stage
        .operator(
            &["admin", "clinic", "install-keys", "--clinic", SLUG, "--file", "safe/clinic-keys.json"],
            true,
        )
        .await?;
    let file = stage.path("appointments.json");
    std::fs::write(&file, bundle().to_string()).map_err(Error::internal)?;
    stage.operator(&["admin", "appointment", "import", "--clinic", SLUG, "appointments.json"], true).await?;
    narrator.tell("A FHIR bundle came from the records system: Ana has an appointment with Dr. Martínez. Luis has none.");
    stage.start_scanner()?;
    let line = PhoneLine::to(&url).await?;
    let maria = invite(stage, &url, "doctor", "maria").await?;
    let ana = invite(stage, &line.url, "patient", "ana").await?;
    let luis = invite(stage, &url, "patient", "luis").await?;
    let jorge = invite(stage, &url, "doctor", "jorge").await?;
    Ok((Invitations { maria, ana, luis, jorge }, line))
}

/// Invites somebody of the appointments.
async fn invite(stage: &Stage, url: &str, role: &str, who: &str) -> Result<String> {
    let identifier = format!("{SYSTEM}|{who}");
    invite_as(stage, url, (role, who), ["--identifier", &identifier]).await
}

/// Invites somebody whom no other system knows, and who has no other name than their role.
pub(super) async fn invite_somebody(stage: &Stage, role: &str) -> Result<String> {
    let url = stage.server()?.url.clone();
    invite_as(stage, &url, (role, role), ["--name", role]).await
}

/// Invites somebody whom the records system knows, or whose name is given.
pub(super) async fn invite_as(
    stage: &Stage,
    url: &str,
    (role, who): (&str, &str),
    known_by: [&str; 2],
) -> Result<String> {
    let email = format!("{who}@clinica-demo.example");
    let invite = ["admin", "user", "invite", "--clinic", SLUG, "--role", role, "--email", &email];
    let at = ["--root-card", "safe/root-card.txt", "--server", url];
    let invited = stage.operator(&[&invite[..], &known_by[..], &at[..]].concat(), true).await?;
    Ok(text(&invited, "invitation"))
}

async fn people_arrive(
    stage: &Stage,
    narrator: &mut Narrator,
    invitations: &Invitations,
) -> Result<(Actor, Actor, Actor)> {
    narrator.chapter("Three people activate their phones");
    let (maria, ana, luis) = tokio::try_join!(
        Actor::start(stage, "Dra. Martínez", "maria", Some(&invitations.maria)),
        Actor::start(stage, "Ana", "ana", Some(&invitations.ana)),
        Actor::start(stage, "Luis", "luis", Some(&invitations.luis)),
    )?;
    narrator.tell(
        "Each client is a process of its own and made its own keys; the server has public halves only.",
    );
    narrator.tell("Doctors need a second factor here: Dr. Martínez has enrolled an authenticator app.");
    let card = invitations.ana.split("root=").nth(1).map(|root| root.split('&').next().unwrap_or_default());
    let card = card.and_then(|root| URL_SAFE_NO_PAD.decode(root).ok()).map(|root| hex(&root));
    holds(
        card.is_some_and(|card| [&maria, &ana, &luis].iter().all(|actor| actor.root == card)),
        "a client pinned another root than the card's",
    )?;
    narrator.claim("every client pinned the root of the printed card");
    Ok((maria, ana, luis))
}

async fn rules_decide(
    narrator: &mut Narrator,
    luis: &mut Actor,
    ana: &mut Actor,
    maria: &Actor,
) -> Result<()> {
    narrator.chapter("The clinic's rules decide who may talk to whom");
    luis.types(&format!("/start {}", maria.user)).await?;
    let refused = luis.wait("for an answer", |event| event["type"] == "error").await?;
    let policies: Vec<&str> =
        refused["policies"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    holds(
        refused["code"] == "conversation_not_allowed"
            && refused["details"]["reason"] == "no_medical_relationship"
            && !policies.is_empty(),
        &format!("Luis was not refused as the rules say: {refused}"),
    )?;
    narrator
        .says("server to Luis", &format!("{} [rule: {}]", text(&refused, "message"), policies.join(", ")));
    if let Some(hint) = refused["details"]["suggestion"].as_str() {
        narrator.tell(hint);
    }
    narrator.claim("the patient without an appointment is refused and told why");

    ana.types("/contacts").await?;
    let contacts = ana.wait("for her contacts", |event| event["type"] == "contacts").await?;
    let listed = contacts["results"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|contact| contact["user_id"] == maria.user.as_str());
    holds(listed, "Ana's contacts do not show her doctor")?;
    ana.types(&format!("/start {}", maria.user)).await?;
    ana.wait("for the conversation", |event| event["type"] == "opened").await?;
    narrator.claim("the patient with an appointment is served");
    Ok(())
}

/// A live exchange; gives what was said.
async fn converse(
    narrator: &mut Narrator,
    dialogue: &Dialogue,
    ana: &mut Actor,
    maria: &mut Actor,
) -> Result<Vec<String>> {
    narrator.chapter("They talk");
    narrator.tell(&format!("What they say: {}.", dialogue.source));
    maria.types(&format!("/start {}", ana.user)).await?;
    maria.wait("for the conversation", |event| event["type"] == "opened").await?;
    let mut said = Vec::new();
    for Line { doctor, text } in dialogue.lines.iter().take(LIVE_LINES) {
        let (from, to) = if *doctor { (&mut *maria, &mut *ana) } else { (&mut *ana, &mut *maria) };
        say(narrator, from, to, text).await?;
        said.push(text.clone());
    }
    let both =
        [true, false].map(|doctor| dialogue.lines.iter().take(LIVE_LINES).any(|line| line.doctor == doctor));
    holds(both == [true, true], "the dialogue is a monologue")?;
    narrator.claim("the doctor reads what the patient wrote, live and verified");
    narrator.claim("the patient reads what the doctor wrote, live and verified");
    narrator.claim("each sender sees that the message was delivered");
    Ok(said)
}

/// One says something, the other reads it verified, and the first sees it delivered.
pub(super) async fn say(narrator: &Narrator, from: &mut Actor, to: &mut Actor, line: &str) -> Result<()> {
    from.types(line).await?;
    narrator.says(from.name, line);
    let sent = accepted(from, line).await?;
    reads(to, from, line).await?;
    delivered(from, &sent).await
}

/// The sender's own message, on the server's disk.
pub(super) async fn accepted(from: &mut Actor, line: &str) -> Result<Value> {
    let sent = from
        .wait("for the server to accept it", |event| {
            is_message(event, line) && event["message_id"].is_string()
        })
        .await?;
    holds(sent["receipt"] == "verified", &format!("the receipt does not verify: {sent}"))?;
    Ok(sent)
}

/// The receiver's copy: from the sender, every check held, nothing missing before it.
pub(super) async fn reads(to: &mut Actor, from: &Actor, line: &str) -> Result<Value> {
    let read = to.wait("for the message", |event| is_message(event, line)).await?;
    let good = read["verification"] == "verified"
        && read["seal"] == "good"
        && read["receipt"] == "verified"
        && read["chain"] == "continuous"
        && read["sender_id"] == from.user.as_str();
    holds(good, &format!("what {} reads is not verified: {read}", to.name))?;
    Ok(read)
}

async fn delivered(from: &mut Actor, sent: &Value) -> Result<()> {
    let id = sent["message_id"].clone();
    from.wait("for the delivery", |event| event["type"] == "delivered" && event["message_id"] == id)
        .await
        .map(drop)
}

fn is_message(event: &Value, line: &str) -> bool {
    event["type"] == "message" && event["text"] == line
}

async fn while_away(
    stage: &Stage,
    narrator: &mut Narrator,
    dialogue: &Dialogue,
    ana: &mut Actor,
    maria: Actor,
    said: &mut Vec<String>,
) -> Result<Actor> {
    narrator.chapter("The doctor switches her phone off, and on again");
    maria.leave().await?;
    let line = dialogue
        .lines
        .iter()
        .filter(|line| !line.doctor)
        .map(|line| line.text.clone())
        .find(|line| !said.contains(line))
        .ok_or_else(|| Error::internal("the dialogue is too short"))?;
    ana.types(&line).await?;
    narrator.says(ana.name, &line);
    let sent = accepted(ana, &line).await?;
    narrator
        .tell("It is on the server's disk. The doctor's process starts again, from its encrypted profile.");
    let mut maria = Actor::start(stage, "Dra. Martínez", "maria", None).await?;
    reads(&mut maria, ana, &line).await?;
    delivered(ana, &sent).await?;
    narrator.claim("a message sent while the doctor was away waits and arrives");
    said.push(line);
    Ok(maria)
}

async fn check(narrator: &mut Narrator, ana: &mut Actor, maria: &mut Actor) -> Result<()> {
    narrator.chapter("They check");
    ana.types("/receipt 1").await?;
    let receipt = ana.wait("for the receipt", |event| event["type"] == "receipt").await?;
    holds(receipt["verdict"] == "verified", &format!("the receipt does not verify: {receipt}"))?;
    narrator.claim("the server's receipt verifies under the clinic's root");
    let hers = safety_number(ana, maria).await?;
    let theirs = safety_number(maria, ana).await?;
    holds(hers == theirs && hers.len() >= 60, "the safety numbers differ")?;
    narrator.tell(&hers);
    narrator.claim("both sides see the same safety number");
    Ok(())
}

async fn safety_number(of: &mut Actor, with: &Actor) -> Result<String> {
    of.types(&format!("/verify {}", with.user)).await?;
    Ok(text(&of.wait("for the safety number", |event| event["type"] == "safety_number").await?, "digits"))
}

async fn what_is_stored(stage: &Stage, narrator: &mut Narrator, said: &[String]) -> Result<()> {
    narrator.chapter("What the server stored");
    let stolen = store::steal(&stage.data().join("sigilo.db")).await?;
    narrator.tell(&format!(
        "{} messages, {} record seals, {} audit entries. A message, as somebody who stole the database sees it:",
        stolen.messages, stolen.seals, stolen.audit_entries
    ));
    for row in stolen.rows.iter().take(2) {
        let body = hex(row.body.get(..24).unwrap_or(&row.body));
        narrator.tell(&format!("  number {}, kind {}, {}", row.conversation_seq, row.kind, row.received_at));
        narrator.tell(&format!(
            "  body {body}... ({} bytes), wrapped key {} bytes",
            row.body.len(),
            row.wrapped_key.len()
        ));
    }
    let all_there = usize::try_from(stolen.messages).is_ok_and(|messages| messages == said.len());
    let looks_random = stolen.rows.iter().all(|row| row.body.len() > 160 && is_dense(&row.body));
    holds(all_there && looks_random, "the server did not store what was said, or not as ciphertext")?;
    narrator.fact("messages", json!(stolen.messages));
    narrator.claim("the server stored every message, and only ciphertext");
    Ok(())
}

/// Whether bytes use the whole range, as ciphertext does and text does not.
fn is_dense(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| **byte >= 0x80).count() * 3 > bytes.len()
}

fn hunt_memory(stage: &Stage, narrator: &mut Narrator, said: &[String]) -> Result<()> {
    narrator.chapter("The hunt");
    let pid = stage.server()?.pid;
    let in_database = Hunt::for_lines([CLINIC.to_owned()])?.file(&stage.data().join("sigilo.db"))?;
    let in_journal = Hunt::for_lines([CLINIC.to_owned()])?.file(&stage.data().join("sigilo.db-wal"))?;
    let hunt = Hunt::for_lines(said.iter().cloned().chain([MARKER.to_owned()]))?;
    holds(hunt.lines() == said.len() + 1, "a line is too short to be hunted")?;
    let mut report = hunt.memory(pid)?;
    let all = report.hits.len();
    report.hits.retain(|hit| hit.line != MARKER);
    let found = report.hits.len() < all && !in_database.and(in_journal).hits.is_empty();
    holds(found, "the hunt does not find what is there")?;
    narrator.claim("the hunt finds what it is meant to find");
    tell_report(narrator, "the server's memory", &report)?;
    narrator.fact("memory_bytes", json!(report.bytes));
    narrator.claim("no word of the conversation, nor of a file, is in the server's memory");
    Ok(())
}

/// After the server has stopped: nothing is only in its buffers any more. `stored` bytes of files are among them.
fn hunt_files(stage: &Stage, narrator: &mut Narrator, said: &[String], stored: u64) -> Result<()> {
    let hunt = Hunt::for_lines(said.iter().cloned())?;
    let mut report = hunt.folder(&stage.data())?;
    for log in ["server.log", "scanner.log"] {
        let log = stage.logs()?.join(log);
        holds(!stage::read(&log)?.is_empty(), "the server or its scanner wrote no log")?;
        report = report.and(hunt.file(&log)?);
    }
    let objects = hunt.folder(&stage.data().join("objects"))?.bytes;
    holds(objects > stored, "the object store does not hold the files that were sent")?;
    tell_report(narrator, "files", &report)?;
    narrator.fact("file_bytes", json!(report.bytes));
    narrator.fact("object_bytes", json!(objects));
    narrator.claim("no word of the conversation is in database, journal, keys or logs");
    narrator.claim("no line of a file is in object store, spool or database");
    Ok(())
}

fn tell_report(narrator: &Narrator, what: &str, report: &Report) -> Result<()> {
    let megabytes = report.bytes as f64 / 1_000_000.0;
    narrator.tell(&format!(
        "Searched {megabytes:.1} MB of {what} ({} places): {} hits.",
        report.places,
        report.hits.len()
    ));
    match report.hits.first() {
        None => Ok(()),
        Some(hit) => {
            Err(Error::internal(format!("found «{}» as {} in {}", hit.line, hit.spelling, hit.place)))
        }
    }
}
