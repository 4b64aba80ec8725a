//! The patient loses her phone: two people of the clinic give her a new identity, and her doctor is told before anything
//! is said to it.

use serde_json::Value;

use super::{
    actor::{Actor, text},
    narrator::Narrator,
    stage::Stage,
    story::{SLUG, accepted, holds, invite_as, reads},
};
use crate::{Error, Result};

const UNSURE: &str = "Ana, ¿es usted quien escribe desde otro teléfono?";
const SURE: &str = "Sí, doctora, perdí el teléfono y la clínica me dio otra clave.";

/// Whoever approves for the clinic, on a device of their own.
struct Official {
    email: String,
    profile: &'static str,
    codes: Vec<String>,
}

/// Tells it; gives Ana on her new phone. What was said is added to `said`.
pub(super) async fn tell(
    stage: &Stage,
    narrator: &mut Narrator,
    ana: Actor,
    maria: &mut Actor,
    said: &mut Vec<String>,
) -> Result<Actor> {
    narrator.chapter("Ana loses her phone");
    let mut asker = official(stage, "admin", "Sra. Vega", "vega").await?;
    let mut approver = official(stage, "compliance", "Lic. Soto", "soto").await?;
    let asked = asker.resets(stage, &[&ana.user]).await?;
    let reset = text(&asked, "reset_id");
    let url = stage.server()?.url.clone();
    let approve = ["--approve", &reset, "--root-card", "safe/root-card.txt", "--server", &url];
    let invitation = text(&approver.resets(stage, &approve).await?, "invitation");
    narrator.tell("Two people of the clinic, one after the other, give her an invitation to a new identity.");
    let user = ana.user.clone();
    let mut ana = {
        let again = Actor::start(stage, "Ana", "ana-again", Some(&invitation)).await?;
        ana.leave().await?;
        again
    };
    holds(ana.user == user, "the new phone is somebody else's")?;
    let theirs = |event: &Value| event["type"] == "identity_changed" && event["user_id"] == user.as_str();
    maria.wait("to hear of the new key", theirs).await?;
    maria.types(&format!("/start {user}")).await?;
    maria.wait("for the conversation", |event| event["type"] == "opened").await?;
    maria.types(UNSURE).await?;
    maria.wait("for it to be held", |event| event["type"] == "waiting").await?;
    narrator.tell("The doctor's client says that Ana's key is another one, and holds back what she writes.");
    narrator.claim("a new identity is noticed, and nothing is said to it before it is confirmed");

    let hers = number(&mut ana, &maria.user).await?;
    let shown = number(maria, &user).await?;
    holds(hers == shown, "the new safety numbers differ")?;
    narrator.tell("On the phone they compare the new safety number. It is the same on both sides.");
    maria.types(&format!("/confirm {user}")).await?;
    maria.wait("for the confirmation", |event| event["type"] == "confirmed").await?;
    narrator.says(maria.name, UNSURE);
    // What the doctor said before stays closed to the new phone: of her messages this is the first it sees.
    let read =
        ana.wait("for the message", |event| event["type"] == "message" && event["text"] == UNSURE).await?;
    let good = read["verification"] == "verified" && read["seal"] == "good" && read["receipt"] == "verified";
    holds(good, &format!("what Ana reads is not verified: {read}"))?;
    accepted(maria, UNSURE).await?;
    ana.types("/open 1").await?;
    ana.wait("for the conversation", |event| event["type"] == "opened").await?;
    ana.types(SURE).await?;
    narrator.says(ana.name, SURE);
    reads(maria, &ana, SURE).await?;
    said.extend([UNSURE, SURE].map(str::to_owned));
    narrator.claim("once the two have compared the number, they go on under the new key");
    Ok(ana)
}

async fn number(of: &mut Actor, with: &str) -> Result<String> {
    of.types(&format!("/verify {with}")).await?;
    Ok(text(&of.wait("for the safety number", |event| event["type"] == "safety_number").await?, "digits"))
}

/// Somebody who acts for the clinic, with the codes that work in place of an authenticator app.
async fn official(stage: &Stage, role: &str, name: &'static str, profile: &'static str) -> Result<Official> {
    let invitation = invite_as(stage, &stage.server()?.url, (role, profile), ["--name", name]).await?;
    let mut actor = Actor::start(stage, name, profile, Some(&invitation)).await?;
    let shown = actor.wait("for the recovery codes", |event| event["type"] == "recovery_codes").await?;
    let codes = shown["codes"].as_array().into_iter().flatten();
    let codes = codes.filter_map(Value::as_str).map(str::to_owned).collect();
    actor.leave().await?;
    Ok(Official { email: format!("{profile}@clinica-demo.example"), profile, codes })
}

impl Official {
    /// Types their part of the reset, with the next of their codes.
    async fn resets(&mut self, stage: &Stage, part: &[&str]) -> Result<Value> {
        let code = self.codes.pop().ok_or_else(|| Error::internal("there are no recovery codes"))?;
        let command = ["admin", "user", "reset-identity", "--clinic", SLUG, "--as", &self.email];
        let password = format!("password of {}", self.profile);
        let secrets = [("SIGILO_PASSWORD", password.as_str()), ("SIGILO_TOTP", code.as_str())];
        stage.operator_as(&[&command[..], part].concat(), true, &secrets).await
    }
}
