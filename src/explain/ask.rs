//! Who may ask, and the asking.

use std::time::Duration;

use sigilo_wire::{DeviceId, Timestamp, UserId, account::DeviceKind, policy::ExplainPolicy};

use super::{Named, shown};
use crate::{
    Actor, App, Caller, Ctx, Error, Result,
    audit::Act,
    people,
    policy::{self, ExplainDecisions, Grant, Looked, Person, facts},
};

/// How far ahead one may ask.
const AHEAD: Duration = Duration::from_hours(366 * 24);

/// What the rules would say.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Who would act.
    pub actor: UserId,
    /// The act.
    pub action: String,
    /// When.
    pub at: Timestamp,
    /// The answer, and what was asked.
    pub looked: Looked,
    /// The facts whoever asks may see.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// The grant to ask about this person's acts.
///
/// # Errors
/// 404 when the clinic has no such person; `forbidden` about others to all but clinic staff.
pub async fn authorize(app: &App, ctx: &Ctx, actor: UserId) -> Result<Grant<ExplainDecisions>> {
    let target = load(app, ctx, actor).await?;
    let decision = app.policy.decide::<ExplainDecisions>(ctx, &facts::Explained { target });
    let patient = (target.role == sigilo_wire::Role::Patient).then_some(actor);
    policy::audited(app, ctx, decision, patient, &[("user", actor.to_string())]).await
}

/// What the rules would say to asking about this person's acts.
pub(super) async fn look(app: &App, ctx: &Ctx, actor: UserId) -> Result<(Looked, Option<UserId>)> {
    let target = load(app, ctx, actor).await?;
    let patient = (target.role == sigilo_wire::Role::Patient).then_some(actor);
    Ok((app.policy.look::<ExplainDecisions>(ctx, &facts::Explained { target })?, patient))
}

async fn load(app: &App, ctx: &Ctx, user: UserId) -> Result<Person> {
    people::person(&mut app.db.read("explain_person").await?, ctx.tenant, user).await
}

/// Asks the rules what they would say to an act of the grant's person, and does nothing.
///
/// # Errors
/// `invalid_field` when the question makes no sense; 404 when what it names does not exist for the person.
pub async fn explain(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ExplainDecisions>,
    asked: &ExplainPolicy,
) -> Result<Explained> {
    let actor = *grant.resource();
    if asked.actor_id.is_some_and(|named| named != actor) {
        return Err(Error::internal("a grant to ask about somebody was used for another person"));
    }
    let named = Named::of(asked)?;
    let at = asked.at.unwrap_or(ctx.now);
    if at < ctx.now {
        let problem = "is over: what was so then is in the audit log";
        return Err(Error::field("at", problem));
    }
    if at > ctx.now + AHEAD {
        return Err(Error::field("at", "is more than a year from now"));
    }
    let person = load(app, ctx, actor).await?;
    let would_be = would_be(ctx, person, asked.device, at);
    let (looked, patient) = named.look(app, &would_be, &asked.action).await?;
    let own = ctx.caller().is_ok_and(|caller| caller.user_id == actor && !shown::sees_all(caller.role));
    note(app, ctx, &grant, asked, patient).await?;
    let facts = shown::facts(&looked.question, own);
    Ok(Explained { actor, action: asked.action.clone(), at, looked, facts })
}

/// The context of the act, if this person did it then.
fn would_be(ctx: &Ctx, person: Person, kind: Option<DeviceKind>, at: Timestamp) -> Ctx {
    let caller = match ctx.caller() {
        Ok(caller) if caller.user_id == person.id => Caller { kind: kind.unwrap_or(caller.kind), ..*caller },
        _ => Caller {
            user_id: person.id,
            role: person.role,
            active: person.active,
            device_id: DeviceId::from_bytes([0; 16]),
            kind: kind.unwrap_or(DeviceKind::Messaging),
            device_number: None,
        },
    };
    Ctx { actor: Actor::User(caller), now: at, ..ctx.clone() }
}

async fn note(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<ExplainDecisions>,
    asked: &ExplainPolicy,
    patient: Option<UserId>,
) -> Result<()> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut act = Act::done("explain_decisions")
        .object("user", grant.resource())
        .object("action", &asked.action)
        .patient(patient)
        .by(grant.basis());
    if let Some(conversation) = asked.conversation_id {
        act = act.object("conversation", conversation);
    }
    if !asked.user_ids.is_empty() {
        let named: Vec<String> = asked.user_ids.iter().map(ToString::to_string).collect();
        act = act.object("participants", named.join(" "));
    }
    let mut tx = app.db.begin("explain_decisions").await?;
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await
}
