//! A doctor writes to a patient whom he does not treat: he says why, those concerned are told, and compliance looks at it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    actor::{Actor, app_code, text},
    narrator::Narrator,
    night::{note, warned},
    stage::Stage,
    story::{SLUG, holds, invite_somebody, say},
};
use crate::{Error, Result};

const PASSWORD: &str = "password of the officer";
const REVIEW: &str = "/api/compliance/break-glass/";
const LINE: &str = "Hoy cubro la consulta. ¿Cómo se encuentra después de la noche?";

/// Tells it. What was said is added to `said`.
pub(super) async fn tell(
    stage: &Stage,
    narrator: &mut Narrator,
    (ana, jorge): (&mut Actor, &mut Actor),
    said: &mut Vec<String>,
) -> Result<()> {
    narrator.chapter("A doctor breaks the glass");
    let mut staff =
        Actor::start(stage, "the reception", "staff", Some(&invite_somebody(stage, "admin").await?)).await?;
    jorge.types(&format!("/start {}", ana.user)).await?;
    let refused = jorge.wait("for an answer", |event| event["type"] == "error").await?;
    let reason = &refused["details"]["reason"];
    holds(reason == "no_medical_relationship", &format!("nothing keeps him from Ana: {refused}"))?;
    narrator.tell("Dr. Ramírez has no appointment with Ana: the rules keep them apart.");
    jorge.types(&format!("/break-glass on_call_cover {} cubre la consulta de hoy", ana.user)).await?;
    let until = note(jorge, "you may write to them").await?;
    narrator.says("server to Dr. Ramírez", &until);
    for who in [&mut *ana, &mut staff] {
        let told = warned(who, "without treating them: on call cover").await?;
        narrator.says(&format!("server to {}", who.name), &told);
    }
    jorge.types(&format!("/start {}", ana.user)).await?;
    let is_it = |event: &Value| event["type"] == "opened" && event["kind"] == "direct";
    jorge.wait("for the conversation", is_it).await?;
    say(narrator, jorge, ana, LINE).await?;
    said.push(LINE.to_owned());
    narrator.claim("a doctor who breaks the glass says why, and the patient and the staff are told");

    let officer = Officer::arrives(stage).await?;
    let waiting = officer.ask(Method::GET, REVIEW, None).await?;
    let used = &waiting["results"][0];
    holds(
        used["reason"] == "on_call_cover" && used["clinician_id"] == jorge.user.as_str(),
        &format!("the use does not wait for its review: {waiting}"),
    )?;
    narrator.says("server to compliance", &format!("one use waits: {}", text(used, "text")));
    let path = format!("{REVIEW}{}/close/", text(used, "break_glass_id"));
    let closed = officer.ask(Method::POST, &path, Some(json!({"finding": "justified"}))).await?;
    let left = officer.ask(Method::GET, REVIEW, None).await?;
    holds(
        closed["finding"] == "justified" && left["results"].as_array().is_some_and(Vec::is_empty),
        &format!("the review is not closed: {closed}"),
    )?;
    narrator.tell("Compliance found it justified, and the queue is empty.");
    narrator.claim("each broken glass waits until compliance has reviewed it");
    staff.leave().await
}

/// The compliance officer, at a console.
struct Officer {
    url: String,
    client: reqwest::Client,
    token: String,
}

impl Officer {
    /// Activates the account and enrols an authenticator app.
    async fn arrives(stage: &Stage) -> Result<Self> {
        let invitation = invite_somebody(stage, "compliance").await?;
        let part = |name: &str| {
            let found = invitation.split(['?', '&']).find_map(|part| part.strip_prefix(name));
            found.map(str::to_owned).ok_or_else(|| Error::internal("the invitation is not whole"))
        };
        // Whoever is first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build().map_err(Error::internal)?;
        let mut officer = Self { url: stage.server()?.url.clone(), client, token: String::new() };
        let body = json!({
            "clinic": SLUG, "code": part("code=")?, "password": PASSWORD,
            "device": {"kind": "session", "name": "console"},
        });
        let tokens = officer.ask(Method::POST, "/api/auth/activate/", Some(body)).await?;
        officer.token = text(&tokens, "access_token");
        let enrolment = officer.ask(Method::POST, "/api/auth/mfa/enroll/", Some(json!({}))).await?;
        let code = app_code(&text(&enrolment, "secret"), stage.ahead())?;
        officer.ask(Method::POST, "/api/auth/mfa/confirm/", Some(json!({"code": code}))).await?;
        Ok(officer)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(Error::internal)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(Error::internal)?;
        if status.is_success() { Ok(body) } else { Err(Error::internal(format!("{path}: {status} {body}"))) }
    }
}
