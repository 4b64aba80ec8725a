//! The chapter of the care team: a group with a title, an edit, a reaction, and a search on the device.

use serde_json::Value;

use super::{
    actor::{Actor, text},
    narrator::Narrator,
    stage::Stage,
    story::holds,
};
use crate::Result;

const TITLE: &str = "Equipo de la paciente López";
const SLIP: &str = "¿Le parece bien subir la dosis a 100 mg?";
const MEANT: &str = "¿Le parece bien subir la dosis a 10 mg?";
const ANSWER: &str = "De acuerdo, y otra medición de la presión en una semana.";
/// Another form of a word of the answer, without its accent.
const SOUGHT: &str = "mediciones";
const REACTION: &str = "👍";

/// Tells it; gives the colleague. What was said is added to `said`.
pub(super) async fn tell(
    stage: &Stage,
    narrator: &mut Narrator,
    invitation: &str,
    maria: &mut Actor,
    said: &mut Vec<String>,
) -> Result<Actor> {
    narrator.chapter("The doctor asks a colleague");
    let mut jorge = Actor::start(stage, "Dr. Ramírez", "jorge", Some(invitation)).await?;
    maria.types(&format!("/group {}", jorge.user)).await?;
    maria.wait("for the group", |event| event["type"] == "opened" && event["kind"] == "group").await?;
    maria.types(&format!("/title {TITLE}")).await?;
    let named = jorge.wait("for the title", |event| is(event, "message", TITLE)).await?;
    holds(named["kind"] == "profile", &format!("the title is not one: {named}"))?;
    jorge.types("/open 1").await?;
    let opened = jorge.wait("for the group", |event| event["type"] == "opened").await?;
    holds(opened["title"] == TITLE, &format!("the group has no title: {opened}"))?;
    narrator.tell(&format!("They are in «{TITLE}»: the title is a message like any other, and as secret."));
    narrator.claim("a group and its title are made by its members alone");

    maria.types(SLIP).await?;
    let slip = jorge.wait("for the question", |event| is(event, "message", SLIP)).await?;
    holds(slip["verification"] == "verified", &format!("the question is not verified: {slip}"))?;
    narrator.says(maria.name, SLIP);
    maria.types(&format!("/edit {} {MEANT}", slip["conversation_seq"])).await?;
    let now = jorge.wait("for the edit", |event| is(event, "revised", MEANT)).await?;
    holds(
        now["message_id"] == slip["message_id"] && now["edited_at"].is_string(),
        &format!("the edit is not shown on what it is about: {now}"),
    )?;
    narrator.says(maria.name, &format!("{MEANT} (edited)"));
    narrator.claim("an edit is shown on its message, and the first text stays in the record");

    jorge.types(&format!("/react {} {REACTION}", slip["conversation_seq"])).await?;
    let reacted = maria.wait("for the reaction", |event| {
        event["type"] == "revised" && event["reactions"][0]["emoji"] == REACTION
    });
    let reacted = reacted.await?;
    holds(
        reacted["reactions"][0]["users"][0] == jorge.user.as_str(),
        &format!("the reaction is not the colleague's: {reacted}"),
    )?;
    narrator.says(jorge.name, REACTION);
    narrator.claim("a reaction is shown on its message, and the server does not know which");

    jorge.types(ANSWER).await?;
    maria.wait("for the answer", |event| is(event, "message", ANSWER)).await?;
    narrator.says(jorge.name, ANSWER);
    maria.types(&format!("/search {SOUGHT}")).await?;
    let found = maria.wait("for what was found", |event| event["type"] == "found").await?;
    holds(
        found["results"].as_array().is_some_and(|results| results.len() == 1)
            && text(&found["results"][0], "snippet") == ANSWER,
        &format!("the search does not find the answer: {found}"),
    )?;
    narrator.tell(&format!("She searches for «{SOUGHT}» on her device, and finds it."));
    narrator.claim("what was said is found on the device, in whatever form of the word");
    said.extend([TITLE, SLIP, MEANT, ANSWER].map(str::to_owned));
    Ok(jorge)
}

fn is(event: &Value, kind: &str, text: &str) -> bool {
    event["type"] == kind && event["text"] == text
}
