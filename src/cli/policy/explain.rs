//! `sigilo policy explain`: what the rules would say to an act, and why.

use std::str::FromStr;

use clap::Args;
use serde_json::Value;
use sigilo_wire::{
    ConversationId, Timestamp, UserId,
    account::DeviceKind,
    conversation::ConversationType,
    policy::{ExplainPolicy, Explanation},
};

use crate::{
    Error, Result,
    audit::hex,
    cli::{
        ConfigArgs, Outcome,
        admin::Beside,
        output::{Answer, finish},
    },
    explain::{self, Names},
    gateway::{language::Language, render},
};

/// `sigilo policy explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// Who would act, by id.
    #[arg(long, value_name = "ID")]
    actor: UserId,
    /// The act, as the rules name it, such as send_message.
    #[arg(long)]
    action: String,
    /// To what: a conversation's id, or a person's for acts like fetch_keys; for start_conversation the others' ids,
    /// with commas between them. Acts about the clinic or what is one's own have none.
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Who would join or be taken out of the conversation, by id.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    who: Vec<UserId>,
    /// The type of a conversation to start [default: direct].
    #[arg(long, value_name = "TYPE")]
    r#type: Option<ConversationType>,
    /// When, RFC 3339 with any offset, at most a year from now [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// On a device without keys, such as a console.
    #[arg(long)]
    session: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Explain {
    pub(super) async fn run(self) -> Result<Outcome> {
        let beside = Beside::open(&self.config).await?;
        let came_of_it = self.ask(&beside).await;
        beside.close().await;
        let allowed = came_of_it.as_ref().is_ok_and(|explanation| explanation.allowed);
        let outcome = finish(self.json, came_of_it.and_then(|explanation| answer(&explanation)))?;
        Ok(if outcome == Outcome::Done && !allowed { Outcome::No } else { outcome })
    }

    async fn ask(&self, beside: &Beside) -> Result<Explanation> {
        let asked = self.asked()?;
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = explain::authorize(&beside.app, &ctx, self.actor).await?;
        let explained = explain::explain(&beside.app, &ctx, grant, &asked).await?;
        Ok(render::explanation(&explained, Language::English))
    }

    fn asked(&self) -> Result<ExplainPolicy> {
        let (mut conversation_id, mut user_ids) = (None, self.who.clone());
        if let Some(resource) = &self.resource {
            match Names::of(&self.action) {
                Some(Names::Person | Names::People) => {
                    let named = resource.split(',').map(|id| parse::<UserId>(id.trim()));
                    user_ids.extend(named.collect::<Result<Vec<_>>>()?);
                }
                _ => conversation_id = Some(parse::<ConversationId>(resource)?),
            }
        }
        Ok(ExplainPolicy {
            actor_id: Some(self.actor),
            action: self.action.clone(),
            conversation_id,
            user_ids,
            r#type: self.r#type,
            device: self.session.then_some(DeviceKind::Session),
            at: self.at,
        })
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::field("resource", format!("'{text}' is no id")))
}

fn answer(explanation: &Explanation) -> Result<Answer> {
    let Explanation { actor_id, action, at, allowed, policies, policy_set, facts, .. } = explanation;
    let word = if *allowed { "allowed" } else { "refused" };
    let mut text = format!("{action} by {actor_id} at {at}: {word}\n");
    for policy in policies {
        text.push_str(&format!("  {} ({})\n", policy.id, policy.effect));
    }
    let reason = explanation.reason.as_ref().map(|reason| ("reason", reason.clone()));
    let said = [("message", &explanation.message), ("suggestion", &explanation.suggestion)];
    let said = said.into_iter().filter_map(|(name, text)| text.clone().map(|text| (name, text)));
    let opens = explanation.next_open_at.map(|at| ("opens", at.to_string()));
    for (name, value) in reason.into_iter().chain(said).chain(opens) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    let known: Vec<String> = facts.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
    text.push_str(&format!("known: {}\nrules: {}", known.join(" "), hex(policy_set.as_slice())));
    Ok(Answer { json: serde_json::to_value(explanation).map_err(Error::internal)?, text })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
