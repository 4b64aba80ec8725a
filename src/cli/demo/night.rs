//! An emergency at night: the first on call sleeps, the second comes.

use std::time::Duration;

use serde_json::Value;

use super::{
    actor::Actor,
    narrator::Narrator,
    stage::Stage,
    story::{SLUG, accepted, reads},
};
use crate::Result;

/// How long a tier has, and a moment.
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60 + 1);
const HELP: &str = "Me duele el pecho desde hace una hora.";
const ANSWER: &str = "Estoy con usted. Una ambulancia va en camino.";

/// Tells it. What was said is added to `said`.
pub(super) async fn tell(
    stage: &mut Stage,
    narrator: &mut Narrator,
    (ana, maria, jorge): (&mut Actor, &mut Actor, &mut Actor),
    said: &mut Vec<String>,
) -> Result<()> {
    narrator.chapter("An emergency at night");
    for (who, tier) in [(&*maria, "1"), (&*jorge, "2")] {
        let add = ["admin", "on-call", "add", "--clinic", SLUG, "--user", &who.user, "--tier", tier];
        stage.operator(&add, true).await?;
    }
    stage.turn_clock_to(2, 0).await?;
    narrator.tell("It is 02:00. Dr. Martínez is on call; Dr. Ramírez is called when she does not answer.");
    ana.types("/emergency symptoms immediate").await?;
    let told = note(ana, "on call are told now").await?;
    narrator.says("server to Ana", &told);
    ana.types(HELP).await?;
    narrator.says(ana.name, HELP);
    accepted(ana, HELP).await?;
    warned(maria, "open, tier 1 of 2").await?;
    reads(maria, ana, HELP).await?;

    narrator.tell("Dr. Martínez sleeps. Five minutes go by on the server's clock.");
    stage.turn_clock(FIVE_MINUTES).await?;
    let called = warned(jorge, "open, tier 2 of 2").await?;
    narrator.says("server to Dr. Ramírez", &called);
    reads(jorge, ana, HELP).await?;
    narrator.claim("an emergency nobody acknowledges reaches the next on call, with what was said");

    open_emergency(jorge).await?;
    jorge.types("/ack").await?;
    note(jorge, "the emergency is acknowledged").await?;
    let seen = warned(ana, "acknowledged, tier 2 of 2").await?;
    narrator.says("server to Ana", &seen);
    jorge.types(ANSWER).await?;
    reads(ana, jorge, ANSWER).await?;
    narrator.says(jorge.name, ANSWER);
    jorge.types("/resolve ambulance").await?;
    note(jorge, "the emergency is closed").await?;
    warned(ana, "closed, tier 2 of 2").await?;
    narrator.claim("the patient sees that somebody looks after the emergency, and that it is over");
    said.extend([HELP, ANSWER].map(str::to_owned));
    Ok(())
}

/// Opens the conversation of the emergency in somebody's client.
async fn open_emergency(who: &mut Actor) -> Result<()> {
    who.types("/conversations").await?;
    let number = |event: &Value| {
        let mut lines = event["results"].as_array().into_iter().flatten();
        lines.find(|line| line["kind"] == "emergency").and_then(|line| line["number"].as_u64())
    };
    let has_it = |event: &Value| event["type"] == "conversations" && number(event).is_some();
    let listed = who.wait("for the list", has_it).await?;
    who.types(&format!("/open {}", number(&listed).unwrap_or(0))).await?;
    let is_it = |event: &Value| event["type"] == "opened" && event["kind"] == "emergency";
    who.wait("for the conversation", is_it).await.map(drop)
}

/// What somebody's client notes of what they have done; gives it.
pub(super) async fn note(who: &mut Actor, of: &str) -> Result<String> {
    spoken(who, "note", of).await
}

/// What somebody's client warns of; gives it.
pub(super) async fn warned(who: &mut Actor, of: &str) -> Result<String> {
    spoken(who, "warning", of).await
}

async fn spoken(who: &mut Actor, kind: &str, of: &str) -> Result<String> {
    let words = |event: &Value| event["text"].as_str().unwrap_or_default().to_owned();
    let said = who.wait(of, |event| event["type"] == kind && words(event).contains(of)).await?;
    Ok(words(&said))
}
