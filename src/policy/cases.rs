//! Test cases of the rules, as files people can read: who asks, what, with which facts, and what the answer
//! must be. `policies/tests/` holds ours; a deployment tests its own with `sigilo policy test`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{
    ConversationId, Role, TenantId, UserId,
    conversation::{ConversationStatus, ConversationType},
};

use super::{
    Action as _, Connect, Fact, FetchKeys, Object, Person, Policy, Question, StartConversation, Subject,
    Verdict,
};
use crate::{Error, Result};

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Who asks.
    pub principal: Who,
    /// The act.
    pub action: String,
    /// To what.
    pub resource: What,
    /// The context, as the schema has it for the act. Counts of two, and facts that are usually false, may be left out.
    #[serde(default)]
    pub context: serde_json::Map<String, Value>,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The determining policies, in order of precedence.
    pub policies: Vec<String>,
}

/// Who asks in a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// A person.
    User(Someone),
    /// The command line beside the database.
    Operator,
}

/// What a case is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A person.
    User(Someone),
    /// A conversation.
    Conversation(Conversation),
    /// A clinic, by any name.
    Clinic(String),
}

/// A person of a case. Names and clinics are any words; equal words are the same one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Someone {
    /// Who.
    pub id: String,
    /// Where.
    pub clinic: String,
    /// As what.
    pub role: Role,
    /// Whether the account is active.
    #[serde(default = "yes")]
    pub active: bool,
}

/// A conversation of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Where.
    pub clinic: String,
    /// The type.
    pub kind: ConversationType,
    /// The status.
    pub status: ConversationStatus,
}

const fn yes() -> bool {
    true
}

/// A case whose answer was another.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The case.
    pub name: String,
    /// What was expected and what came.
    pub problem: String,
}

/// The cases of a folder's `*.json` files, each a list, in order.
///
/// # Errors
/// When a file cannot be read or is not a list of cases.
pub fn read_dir(dir: &Path) -> Result<Vec<Case>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::internal(format!("{}: {e}", dir.display())))? {
        let path = entry.map_err(Error::internal)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let fault = |e: &dyn std::fmt::Display| Error::internal(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|e| fault(&e))?;
        cases.extend(serde_json::from_str::<Vec<Case>>(&text).map_err(|e| fault(&e))?);
    }
    Ok(cases)
}

/// Asks every case; gives those that were answered differently.
#[must_use]
pub fn run(policy: &Policy, cases: &[Case]) -> Vec<Failure> {
    cases.iter().filter_map(|case| case.failure(policy)).collect()
}

/// Whether a case is decided as it says, by whichever rules.
#[must_use]
pub fn decides(policy: &Policy, case: &Case) -> bool {
    let verdict = case.question().and_then(|question| policy.evaluate(&question));
    verdict.is_ok_and(|verdict| verdict.allowed == case.allowed)
}

/// Facts that a case may leave out, so that cases do not have to say what they are not about, and those of a deployment
/// stay good when the rules learn to speak of more: two people, nobody blocked,
/// care by an appointment.
const USUAL: [(&str, Fact<'static>); 2] = [("count", Fact::Long(2)), ("blocked", Fact::Bool(false))];

impl Case {
    fn failure(&self, policy: &Policy) -> Option<Failure> {
        let expected = Verdict { allowed: self.allowed, policies: self.policies.clone() };
        let problem = match self.question().and_then(|question| policy.evaluate(&question)) {
            Ok(verdict) if verdict == expected => return None,
            Ok(verdict) => format!("expected {}, got {}", words(&expected), words(&verdict)),
            Err(error) => error.to_string(),
        };
        Some(Failure { name: self.name.clone(), problem })
    }

    fn question(&self) -> Result<Question<'_>> {
        let principal = match &self.principal {
            Who::User(someone) => Subject::User(someone.person()),
            Who::Operator => Subject::Operator,
        };
        let resource = match &self.resource {
            What::User(someone) => Object::User(someone.person()),
            What::Conversation(conversation) => Object::Conversation {
                id: ConversationId::from_bytes(id("conversation")),
                tenant: TenantId::from_bytes(id(&conversation.clinic)),
                kind: conversation.kind,
                status: conversation.status,
            },
            What::Clinic(name) => Object::Clinic(TenantId::from_bytes(id(name))),
        };
        let mut context = facts(&self.context)?;
        for (name, fact) in &mut context {
            if let ("people", Fact::Record(people)) = (*name, fact) {
                complete(people, &USUAL);
            }
        }
        if self.action == StartConversation::NAME {
            complete(&mut context, &[("by_appointment", Fact::Bool(true))]);
        }
        if self.action == Connect::NAME {
            for (name, fact) in &mut context {
                if let ("address", Fact::Text(text)) = (*name, &*fact) {
                    let address =
                        text.parse().map_err(|_| Error::internal(format!("{text} is no address")))?;
                    *fact = Fact::Ip(address);
                }
            }
        }
        if self.action == FetchKeys::NAME {
            let usual = ["shares_team", "emergency", "signed_release"].map(|name| (name, Fact::Bool(false)));
            complete(&mut context, &usual);
        }
        Ok(Question { principal, action: &self.action, resource, context })
    }
}

impl Someone {
    fn person(&self) -> Person {
        Person {
            id: UserId::from_bytes(id(&self.id)),
            tenant: TenantId::from_bytes(id(&self.clinic)),
            role: self.role,
            active: self.active,
        }
    }
}

/// Adds what is not said.
fn complete<'a>(facts: &mut Vec<(&'a str, Fact<'a>)>, usual: &[(&'static str, Fact<'static>)]) {
    for (name, fact) in usual {
        if facts.iter().all(|(said, _)| said != name) {
            facts.push((name, fact.clone()));
        }
    }
}

fn facts(fields: &serde_json::Map<String, Value>) -> Result<Vec<(&str, Fact<'_>)>> {
    fields.iter().map(|(name, value)| Ok((name.as_str(), fact(value)?))).collect()
}

fn fact(value: &Value) -> Result<Fact<'_>> {
    Ok(match value {
        Value::Bool(value) => Fact::Bool(*value),
        Value::String(text) => Fact::Text(text),
        Value::Object(fields) => Fact::Record(facts(fields)?),
        Value::Number(number) if number.is_i64() => Fact::Long(number.as_i64().unwrap_or_default()),
        _ => return Err(Error::internal(format!("{value} is not a value of a context"))),
    })
}

fn words(verdict: &Verdict) -> String {
    let decision = if verdict.allowed { "allow" } else { "deny" };
    format!("{decision} by {}", verdict.policies.join(", "))
}

/// Sixteen bytes that are the same for the same word.
fn id(word: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(Sha256::digest(word)).for_each(|(byte, from)| *byte = from);
    bytes
}
