//! What the clinic's server signed of a refusal by its rules.

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use sigilo_seal::{Decision as Statement, decision::DENIED};
use sigilo_wire::policy::Decision;

use crate::{Client, Error, Result, engine::Engine};

/// Whether the clinic's server stands behind a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionVerdict {
    /// The clinic's receipt key signed that this device was refused exactly this request, by these rules.
    Verified,
    /// Nothing is signed: no rule refused it, or the server is an older one.
    Missing,
    /// Not authentic: what is signed is not this refusal, or was not signed by the clinic.
    Invalid(String),
}

impl Client {
    /// Checks what is signed of a refusal. An authentic one can be kept and shown to others:
    /// `sigilo policy verify-receipt` checks it without a server.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn check_refusal(&self, refusal: &Error) -> Result<DecisionVerdict> {
        let Some((decision, policies, asked)) = signed(refusal) else { return Ok(DecisionVerdict::Missing) };
        self.act(move |engine| {
            async move { engine.decision_verdict(&decision, &policies, asked).await }.boxed_local()
        })
        .await
    }
}

/// What is signed of a refusal, what the answer says beside it, and the hash of what was asked.
pub(crate) fn signed(refusal: &Error) -> Option<(Decision, Vec<String>, [u8; 32])> {
    let Error::Server { body, request_sha256, .. } = refusal else { return None };
    let decision = body.decision.as_deref()?.clone();
    Some((decision, body.policies.clone(), *request_sha256))
}

impl Engine {
    /// Whether the clinic's receipt key signed this refusal of a request of this device.
    pub(crate) async fn decision_verdict(
        &self,
        decision: &Decision,
        policies: &[String],
        asked: [u8; 32],
    ) -> DecisionVerdict {
        let invalid = |why: &str| DecisionVerdict::Invalid(why.to_owned());
        let Ok(account) = self.account() else { return DecisionVerdict::Missing };
        if decision.actor_id != account.user || decision.device_id != account.device_id {
            return invalid("it is about another device");
        }
        if decision.request_sha256.0 != asked {
            return invalid("it answers another request");
        }
        if decision.outcome != DENIED || decision.policies != policies {
            return invalid("it says something else than the answer");
        }
        let key = match self.receipt_key(decision.key_id.into(), decision.decided_at).await {
            Ok(key) => key,
            Err(error) => return DecisionVerdict::Invalid(error.to_string()),
        };
        if Statement::of_answer(account.tenant, decision).verify(&key, &decision.signature) {
            DecisionVerdict::Verified
        } else {
            invalid("the clinic's receipt key did not sign it")
        }
    }
}
