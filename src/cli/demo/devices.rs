//! A second device of the patient: linked by what it shows, reading like the first.

use serde_json::Value;

use super::{
    actor::{Actor, text},
    narrator::Narrator,
    stage::Stage,
    story::{holds, reads, say},
};
use crate::Result;

const LINE: &str = "Puede escribirme también desde su tableta; llega igual.";

/// Ana links a tablet to the server as her phone knows it; what her doctor says then reaches both.
pub(super) async fn second_device(
    stage: &Stage,
    narrator: &mut Narrator,
    server: &str,
    ana: &mut Actor,
    maria: &mut Actor,
    said: &mut Vec<String>,
) -> Result<()> {
    narrator.chapter("Ana links her tablet");
    let mut tablet = Actor::launch(stage, "Ana's tablet", "tablet", &["--link", "--server", server])?;
    let shown = tablet.wait("to show its code", |event| event["type"] == "link").await?;
    ana.types(&format!("/link {}", text(&shown, "text"))).await?;
    let asked = ana.wait("for the code", |event| event["type"] == "link_code").await?;
    holds(asked["code"] == shown["code"], "the two screens show different codes")?;
    narrator.tell(&format!("Both screens show {}.", text(&shown, "code")));
    ana.types("/approve passphrase of ana").await?;
    let linked = ana.wait("for the link", |event| event["type"] == "linked").await?;
    holds(linked["device"] == 2, &format!("the tablet is not device 2: {linked}"))?;
    tablet.arrives().await?;
    holds(tablet.user == ana.user && tablet.root == ana.root, "the tablet is somebody else's")?;
    narrator.claim("a second device is linked, and holds to the same root");

    tablet.types("/open 1").await?;
    tablet.wait("for the conversation", |event| event["type"] == "opened").await?;
    // It reads the history by itself.
    let restored = tablet.wait("for the history", |event: &Value| event["type"] == "restored").await?;
    holds(restored["messages"] == said.len(), &format!("the tablet did not read it all: {restored}"))?;
    tablet.types(&format!("/history {}", said.len())).await?;
    let everything = |event: &Value| {
        event["type"] == "history" && event["results"].as_array().is_some_and(|all| all.len() == said.len())
    };
    let history = tablet.wait("to see it", everything).await?;
    let read: Vec<&Value> = history["results"].as_array().into_iter().flatten().collect();
    let same = read.iter().zip(said.iter()).all(|(read, line)| read["text"] == line.as_str());
    let verified = read.iter().all(|read| {
        read["verification"] == "verified" && read["receipt"] == "verified" && read["chain"] == "continuous"
    });
    holds(same, &format!("the tablet reads something else: {history}"))?;
    holds(verified, &format!("what the tablet reads is not verified: {history}"))?;
    narrator.claim("the second device reads what was said before it, word for word and verified");
    // She has switched her phone off since.
    maria.types("/open 1").await?;
    maria.wait("for the conversation", |event| event["type"] == "opened").await?;
    say(narrator, maria, ana, LINE).await?;
    reads(&mut tablet, maria, LINE).await?;
    said.push(LINE.to_owned());
    narrator.claim("what is said from then on reaches both of the patient's devices");
    tablet.leave().await
}
