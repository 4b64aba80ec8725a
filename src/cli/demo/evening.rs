//! Too late in the evening: the clinic closes, a message waits for the opening. The demo's day has no evening at a time it
//! could count on, so the operator closes the clinic, and opens it again, by its own command.

use chrono::{DateTime, Timelike as _};
use chrono_tz::America::Mexico_City;

use super::{
    actor::Actor,
    narrator::Narrator,
    stage::Stage,
    story::{SLUG, accepted, holds, reads},
};
use crate::{
    Error, Result,
    clock::{Clock as _, SystemClock},
};

const LINE: &str = "¿Puedo tomar la pastilla con el desayuno de mañana?";

/// Ana writes when the clinic is closed, has it held, and her doctor reads it when it opens.
pub(super) async fn tell(
    stage: &Stage,
    narrator: &mut Narrator,
    ana: &mut Actor,
    maria: &mut Actor,
    said: &mut Vec<String>,
) -> Result<()> {
    narrator.chapter("Too late in the evening");
    let hours = ["admin", "clinic", "hours", "set", "--clinic", SLUG, "--every-day"];
    let tomorrow = later()?;
    stage.operator(&[&hours[..], &[&tomorrow]].concat(), true).await?;
    narrator.tell(&format!("The clinic is closed by now: from today on its hours are {tomorrow}."));
    ana.types(LINE).await?;
    narrator.says(ana.name, LINE);
    let refused = ana.wait("for an answer", |event| event["type"] == "refused").await?;
    let details = &refused["details"];
    holds(
        refused["code"] == "outside_chat_hours"
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
    stage.operator(&[&hours[..], &["00:00-24:00"]].concat(), true).await?;
    narrator.tell("The clinic opens.");
    reads(maria, ana, LINE).await?;
    accepted(ana, LINE).await?;
    said.push(LINE.to_owned());
    narrator.claim("a held message is decided on again and delivered at the opening");
    Ok(())
}

/// A window that begins in an hour on the clinic's clock.
fn later() -> Result<String> {
    let now = DateTime::from_timestamp(SystemClock.now().seconds(), 0)
        .ok_or_else(|| Error::internal("the clock shows no time"))?
        .with_timezone(&Mexico_City);
    let minute = now.hour() * 60 + now.minute();
    let written = |after: u32| {
        let at = (minute + after) % (24 * 60);
        format!("{:02}:{:02}", at / 60, at % 60)
    };
    Ok(format!("{}-{}", written(60), written(120)))
}
