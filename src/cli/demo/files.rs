//! A laboratory's result goes to the doctor as a file, over a line that breaks. Then a file in which something is found,
//! and which nobody gets. Without a clamd no file is given out at all, and the story tells that instead.

use std::path::Path;

use serde_json::Value;

use super::{
    actor::{Actor, text},
    hunt::Hunt,
    line::Line,
    narrator::Narrator,
    pdf,
    stage::{self, Stage},
    story::{SLUG, accepted, holds, invite_somebody, reads},
};
use crate::{Error, Result};

const NAME: &str = "hemoglobina-de-ana.pdf";
const CAPTION: &str = "Doctora, aquí está el resultado del laboratorio.";
const RESULT: [&str; 4] = [
    "Laboratorio Central: resultado del estudio 4471",
    "Hemoglobina glucosilada: 7.4 por ciento",
    "Glucosa en ayuno: 138 miligramos por decilitro",
    "Creatinina: 0.9 miligramos por decilitro",
];
const BAD_NAME: &str = "receta-reenviada.pdf";
const BAD_CAPTION: &str = "Esto me lo reenviaron por correo.";
const BAD_PAGE: [&str; 1] = ["Receta reenviada: abra el archivo adjunto"];
/// The test file of antivirus makers, backwards: whole, it would be found in this program.
const EICAR_BACKWARDS: &str = r"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X";
/// The most that is sent more than once when a line breaks: the piece that was on its way, and headers.
const SENT_AGAIN: u64 = 1_300_000;

/// Tells it; gives the least that the object store holds then, in bytes. What was said, and what the files say, is added
/// to `said`.
pub(super) async fn tell(
    stage: &mut Stage,
    narrator: &mut Narrator,
    line: &Line,
    (ana, maria): (&mut Actor, &mut Actor),
    said: &mut Vec<String>,
) -> Result<u64> {
    narrator.chapter("A laboratory's result, as a file");
    let content = pdf::with_scan(&RESULT);
    let file = uploads(stage, narrator, line, (&mut *ana, &mut *maria), &content).await?;
    let mut stored = content.len() as u64;
    if stage.scans() {
        opens(stage, narrator, (&mut *maria, &file), &content).await?;
        stored += finds(stage, narrator, line, (ana, maria)).await? as u64;
        said.extend([BAD_NAME, BAD_CAPTION].into_iter().chain(BAD_PAGE).map(str::to_owned));
    } else {
        waits(stage, narrator, line, (maria, &file)).await?;
        narrator.tell(&format!(
            "No clamd is here to scan it: 'cargo xtask demo' brings one, or name the socket of yours in {}.",
            stage::CLAMD
        ));
    }
    // Its clock is the machine's: it ends before the story turns the server's.
    stage.stop_scanner().await?;
    said.extend([NAME, CAPTION].into_iter().chain(RESULT).map(str::to_owned));
    Ok(stored)
}

/// The patient sends the file over a line that breaks; gives its id.
async fn uploads(
    stage: &Stage,
    narrator: &mut Narrator,
    line: &Line,
    (ana, maria): (&mut Actor, &mut Actor),
    content: &[u8],
) -> Result<String> {
    let length = content.len() as u64;
    let before = line.sent();
    line.cut_after(length * 3 / 5);
    sends(stage, narrator, ana, (NAME, CAPTION), content).await?;
    line.broken().await?;
    let broke = line.sent() - before;
    narrator.tell(&format!("After {} of {} MB her line breaks. Then it is back.", mega(broke), mega(length)));
    line.mend();
    let mut done = 0;
    loop {
        let is_of_it = |event: &Value| event["type"] == "transfer" && event["name"] == NAME;
        let told = ana.wait("for the upload to go on", is_of_it).await?;
        let now = told["done"].as_u64().unwrap_or_default();
        holds(now >= done, &format!("the upload began anew: {told}"))?;
        done = now;
        if told["done"] == told["total"] {
            break;
        }
    }
    accepted(ana, CAPTION).await?;
    let sent = line.sent() - before;
    holds(
        broke > length / 2 && sent < length + SENT_AGAIN,
        &format!("of {length} bytes {sent} were sent, {broke} of them before the line broke"),
    )?;
    narrator.tell(&format!("Of {} MB her phone sent {} MB in all.", mega(length), mega(sent)));
    narrator.claim("an upload that breaks off goes on where it stopped");
    arrives(maria, ana, (NAME, CAPTION)).await
}

/// The doctor sees the verdict and opens the file.
async fn opens(
    stage: &Stage,
    narrator: &mut Narrator,
    (maria, file): (&mut Actor, &str),
    content: &[u8],
) -> Result<()> {
    scanned(maria, file, "clean").await?;
    let about = about(maria, file).await?;
    let by = text(&about, "scanned_by");
    holds(
        about["scan"] == "clean"
            && about["status"] == "active"
            && about["problem"].is_null()
            && by.starts_with("ClamAV "),
        &format!("the file has no verdict that verifies: {about}"),
    )?;
    narrator.says("scanner to all", &format!("clean, by {by}, signed"));
    narrator.claim("a file is scanned before anybody opens it, and its verdict verifies");
    let target = stage.path("saved-by-the-doctor.pdf");
    save(maria, file, &target).await?;
    let path = target.display().to_string();
    maria.wait("for the file", |event| event["type"] == "saved" && event["path"] == path).await?;
    holds(stage::read(&target)? == content, "the doctor has another file than the patient sent")?;
    // What is hunted later can be found.
    let found = Hunt::for_lines(RESULT.map(str::to_owned))?.file(&target)?;
    holds(found.hits.len() == RESULT.len(), "the hunt does not find a file's lines in the file")?;
    narrator.claim("the doctor has the patient's file, decrypted and byte for byte");
    Ok(())
}

/// A file waits for the scanner, which finds something in it; gives its length.
async fn finds(
    stage: &mut Stage,
    narrator: &mut Narrator,
    line: &Line,
    (ana, maria): (&mut Actor, &mut Actor),
) -> Result<usize> {
    let invitation = invite_somebody(stage, "moderator").await?;
    let mut moderator = Actor::start(stage, "the moderator", "moderator", Some(&invitation)).await?;
    let test_file: String = EICAR_BACKWARDS.chars().rev().collect();
    let content = pdf::with_attachment(&BAD_PAGE, test_file.as_bytes());
    stage.stop_scanner().await?;
    narrator.tell("The scanner is switched off.");
    sends(stage, narrator, ana, (BAD_NAME, BAD_CAPTION), &content).await?;
    accepted(ana, BAD_CAPTION).await?;
    let file = arrives(maria, ana, (BAD_NAME, BAD_CAPTION)).await?;
    waits(stage, narrator, line, (&mut *maria, &file)).await?;
    stage.start_scanner()?;
    narrator.tell("It is on again, with new keys: Ana's phone hands it the file's key once more.");
    for who in [&mut *ana, &mut *maria, &mut moderator] {
        scanned(who, &file, "infected").await?;
    }
    for who in [&mut *ana, &mut *maria] {
        let about = about(who, &file).await?;
        let finding = text(&about, "finding");
        holds(
            about["scan"] == "infected" && about["status"] == "quarantined" && !finding.is_empty(),
            &format!("{} does not see what was found: {about}", who.name),
        )?;
        narrator.says(&format!("scanner to {}", who.name), &format!("found {finding}: in quarantine"));
        refused(stage, (who, &file), "was found in it").await?;
    }
    not_given_out(stage, line, &file, &["infected"]).await?;
    narrator
        .tell("Their phones refuse to open it. One that heeds no verdict asks for it: the server refuses.");
    narrator.claim("a file in which something was found is given out to nobody");

    moderator.types("/quarantine").await?;
    let list = moderator.wait("for the quarantine", |event| event["type"] == "quarantine").await?;
    let shown = &list["results"][0];
    let listed = stage.operator(&["admin", "quarantine", "list", "--clinic", SLUG], true).await?;
    let kept = &listed["files"][0];
    holds(
        shown["file_id"] == file.as_str()
            && shown["scan"] == "infected"
            && shown["uploader_id"] == ana.user.as_str()
            && kept["file_id"] == file.as_str()
            && kept["status"] == "quarantined"
            && kept["downloads"] == 0,
        &format!("it is not in quarantine: {list} {listed}"),
    )?;
    narrator.claim("who takes part, the moderator and the operator see it in quarantine");
    moderator.leave().await?;
    Ok(content.len())
}

/// Nothing has looked into a file.
async fn waits(
    stage: &Stage,
    narrator: &mut Narrator,
    line: &Line,
    (maria, file): (&mut Actor, &str),
) -> Result<()> {
    refused(stage, (maria, file), "waits for its scan").await?;
    not_given_out(stage, line, file, &["pending", "unavailable"]).await?;
    narrator.claim("a file that nothing has scanned waits, and is given out to nobody");
    Ok(())
}

/// Writes a file to the sender's disk and sends it.
async fn sends(
    stage: &Stage,
    narrator: &Narrator,
    from: &mut Actor,
    (name, caption): (&str, &str),
    content: &[u8],
) -> Result<()> {
    let path = stage.path(name);
    std::fs::write(&path, content).map_err(Error::internal)?;
    from.types(&format!("/send as:lab_result \"{}\" {caption}", path.display())).await?;
    narrator.says(from.name, &format!("{caption} [{name}]"));
    Ok(())
}

/// The message that brings a file, verified; gives the file's id.
async fn arrives(to: &mut Actor, from: &Actor, (name, caption): (&str, &str)) -> Result<String> {
    let read = reads(to, from, caption).await?;
    let file = &read["files"][0];
    holds(file["name"] == name, &format!("the message brings no file: {read}"))?;
    Ok(text(file, "file_id"))
}

/// Waits for the word that a file was scanned.
async fn scanned(who: &mut Actor, file: &str, scan: &str) -> Result<()> {
    let is_it = |event: &Value| {
        event["type"] == "file_changed"
            && event["event"] == "file_scanned"
            && event["file_id"] == file
            && event["scan"] == scan
    };
    who.wait(&format!("for the scan to say {scan}"), is_it).await.map(drop)
}

/// What somebody's client knows of a file.
async fn about(who: &mut Actor, file: &str) -> Result<Value> {
    who.types(&format!("/file {file}")).await?;
    who.wait("for what is known of the file", |event| event["type"] == "file" && event["file_id"] == file)
        .await
}

async fn save(who: &mut Actor, file: &str, target: &Path) -> Result<()> {
    who.types(&format!("/save {file} \"{}\"", target.display())).await
}

/// Somebody's client does not open a file, and says why.
async fn refused(stage: &Stage, (who, file): (&mut Actor, &str), why: &str) -> Result<()> {
    let target = stage.path("not-to-be.pdf");
    save(who, file, &target).await?;
    let says_why = |event: &Value| event["type"] == "error" && text(event, "message").contains(why);
    who.wait("for the refusal of the file", says_why).await?;
    holds(!target.exists(), &format!("{} has a file that is not to be opened", who.name))
}

/// The server gives a file not even to the phone that sent it.
async fn not_given_out(stage: &Stage, line: &Line, file: &str, scans: &[&str]) -> Result<()> {
    // Whoever is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().build().map_err(Error::internal)?;
    let url = format!("{}/api/chat/files/{file}/content/", stage.server()?.url);
    let answer = client.get(url).bearer_auth(line.token()).send().await.map_err(Error::internal)?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(Error::internal)?;
    let scan = text(&body["details"], "virus_scan");
    holds(
        status == reqwest::StatusCode::CONFLICT
            && body["error"] == "file_not_available"
            && scans.contains(&scan.as_str()),
        &format!("the server does not refuse the file: {status} {body}"),
    )
}

fn mega(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1_000_000.0)
}
