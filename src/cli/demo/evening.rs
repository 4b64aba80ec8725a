//! Too late in the evening: the clinic is closed, a message waits for the morning, and comes.

use super::{
    actor::Actor,
    narrator::Narrator,
    stage::Stage,
    story::{SLUG, accepted, holds, reads},
};
use crate::Result;

/// What waits.
const LINE: &str = "¿Puedo tomar la pastilla con el desayuno de mañana?";

/// Ana writes when the clinic is closed, and has it held.
pub(super) async fn tell(
    stage: &mut Stage,
    narrator: &mut Narrator,
    ana: &mut Actor,
    said: &mut Vec<String>,
) -> Result<()> {
    narrator.chapter("Too late in the evening");
    let hours = ["admin", "clinic", "hours", "set", "--clinic", SLUG, "--every-day", "08:00-22:00"];
    stage.operator(&hours, true).await?;
    stage.turn_clock_to(22, 30).await?;
    narrator.tell("The clinic is open from 08:00 to 22:00. The demo turns its server's clock: it is 22:30.");
    ana.types(LINE).await?;
    narrator.says(ana.name, LINE);
    let refused = ana.wait("for an answer", |event| event["type"] == "refused").await?;
    let details = &refused["details"];
    holds(
        refused["code"] == "outside_chat_hours"
            && details["allowed_hours"] == "08:00-22:00"
            && details["next_open_at"].is_string()
            && details["emergency_channel"]["emergency_number"] == "911",
        &format!("Ana was not told that the clinic is closed: {refused}"),
    )?;
    let opens = details["next_open_at"].as_str().unwrap_or_default();
    narrator
        .says("server to Ana", &format!("closed until {opens}; in an emergency call 911 [rule: chat-hours]"));
    narrator.claim("who writes too late is told when the clinic opens, and where help is");

    ana.types("/when-open").await?;
    let held = ana.wait("for the hold", |event| event["type"] == "held_until").await?;
    holds(held["until"] == opens, &format!("the message is not held until the opening: {held}"))?;
    narrator.tell("Ana has it delivered then. It is on the server's disk, sealed; her phone could be off.");
    said.push(LINE.to_owned());
    Ok(())
}

/// The clinic opens, and the doctor reads it.
pub(super) async fn morning(
    stage: &mut Stage,
    narrator: &mut Narrator,
    ana: &mut Actor,
    maria: &mut Actor,
) -> Result<()> {
    narrator.chapter("In the morning");
    stage.turn_clock_to(8, 0).await?;
    narrator.tell("It is 08:00: the clinic opens.");
    reads(maria, ana, LINE).await?;
    accepted(ana, LINE).await?;
    narrator.says(ana.name, LINE);
    narrator.claim("a held message is decided on again and delivered at the opening");
    Ok(())
}
