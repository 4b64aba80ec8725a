//! Who may start, read and write: loads the facts and asks the rules.

use std::{collections::HashSet, sync::Arc};

use sigilo_wire::{
    ConversationId, Role, Timestamp, UserId, conversation::ConversationType, conversation::CreateConversation,
};

use super::{
    MAX_PARTICIPANTS,
    snapshot::{Facts, Snapshot},
    store::{self, members},
};
use crate::{
    App, Ctx, Error, Result,
    policy::{
        self, Basis, Grant, HandleEmergency, Person, PublishSeal, ReadConversation, ReadSeals, ReportSeal,
        SendMessage, StartConversation,
        facts::{InConversation, People, SealReader, Start},
    },
    storage::Tx,
};

/// The grant to start a conversation with these people.
///
/// # Errors
/// `invalid_field` for a list of participants that makes no sense, `not_found` when one is not in the clinic,
/// `conversation_not_allowed`.
pub async fn authorize_start(
    app: &App,
    ctx: &Ctx,
    wanted: &CreateConversation,
) -> Result<Grant<StartConversation>> {
    let (facts, patient) = load_start(app, ctx, wanted.r#type, &wanted.participants).await?;
    let decision = app.policy.decide::<StartConversation>(ctx, &facts);
    let others: Vec<String> = wanted.participants.iter().map(ToString::to_string).collect();
    policy::audited(app, ctx, decision, patient, &[("participants", others.join(" "))]).await
}

/// The facts of starting a conversation with these people, and the patient it concerns.
///
/// # Errors
/// As [`authorize_start`], but for the denial.
pub(super) async fn load_start(
    app: &App,
    ctx: &Ctx,
    kind: ConversationType,
    others: &[UserId],
) -> Result<(Start, Option<UserId>)> {
    let caller = Person::caller(ctx)?;
    check_participants(caller.id, kind, others)?;
    let mut tx = app.db.read("conversation_authorize_start").await?;
    let facts = start_facts(&mut tx, ctx, caller, kind, others).await?;
    let patient = patients(&facts.targets).first().copied().or_else(|| patients(&[caller]).first().copied());
    Ok((facts, patient))
}

/// What the rules need to know of the caller and these people to decide on starting a conversation.
///
/// # Errors
/// `not_found` when one is not in the clinic.
pub(crate) async fn start_facts(
    tx: &mut Tx,
    ctx: &Ctx,
    caller: Person,
    kind: ConversationType,
    others: &[UserId],
) -> Result<Start> {
    let found = store::people(tx, ctx.tenant, others).await?;
    let targets = others
        .iter()
        .map(|id| found.iter().find(|person| person.id == *id).copied().ok_or(Error::NotFound))
        .collect::<Result<Vec<Person>>>()?;
    let everyone = [targets.as_slice(), &[caller]].concat();
    let ties = store::ties::among(tx, ctx.tenant, &everyone, ctx.now).await?;
    let people = People::of(caller.id, &everyone, &ties);
    let by_appointment = ties.by_appointment(&everyone);
    Ok(Start { caller, kind, targets, people, by_appointment })
}

/// The grant to send a message, and the snapshot it was decided on. An allow may rest on a kept snapshot: the
/// relay's writer compares its version with the conversation's. A denial rests on what the database says now; it
/// is not written to the audit log yet (`audit_denied_send` does).
///
/// # Errors
/// `not_found` when the caller does not take part, `message_not_allowed`, `conversation_closed`.
pub async fn authorize_send(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<(Grant<SendMessage>, Arc<Snapshot>)> {
    let decide = |snapshot: Arc<Snapshot>| Ok((snapshot.decide(&app.policy, ctx)?, snapshot));
    if let Some(kept) = app.snapshots.get(ctx, id)
        && let Ok(allowed) = decide(kept)
    {
        return Ok(allowed);
    }
    decide(app.snapshots.refresh(app, ctx, id).await?)
}

/// Why a message may wait for the opening (only the hour stands against it), on which facts, and when that is. `None` when
/// the conversation is open by now.
///
/// # Errors
/// `not_found`; the rules' denial, with its audit entry, when more than the hour stands against it or no opening is in
/// sight.
pub(crate) async fn authorize_hold(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<Option<(Basis, Arc<Snapshot>, Timestamp)>> {
    let snapshot = app.snapshots.refresh(app, ctx, id).await?;
    match snapshot.decide_hold(&app.policy, ctx) {
        Ok(allowed) => Ok(allowed.map(|(basis, opens)| (basis, snapshot, opens))),
        Err(refusal) => Err(audit_denied_send(app, ctx, id, refusal).await),
    }
}

/// What the database says of a conversation now, kept or not.
///
/// # Errors
/// `not_found`.
pub(crate) async fn snapshot(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Arc<Snapshot>> {
    match app.snapshots.get(ctx, id) {
        Some(kept) => Ok(kept),
        None => app.snapshots.refresh(app, ctx, id).await,
    }
}

/// Writes the audit entry of a refused send, when a rule refused it, and gives the refusal back.
pub(crate) async fn audit_denied_send(app: &App, ctx: &Ctx, id: ConversationId, refusal: Error) -> Error {
    let patient = app.snapshots.get(ctx, id).and_then(|snapshot| snapshot.patient());
    let decision: Result<Grant<SendMessage>> = Err(refusal);
    match policy::audited(app, ctx, decision, patient, &[("conversation", id.to_string())]).await {
        Err(error) => error,
        Ok(_) => Error::internal("a refusal became a grant"),
    }
}

/// The grant to publish a record seal: whoever may send, may.
///
/// # Errors
/// As [`authorize_send`].
pub async fn authorize_seal(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Grant<PublishSeal>> {
    let (facts, patient) = load(app, ctx, id).await?;
    let decision = app.policy.decide::<PublishSeal>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("conversation", id.to_string())]).await
}

/// The grant to read a conversation.
///
/// # Errors
/// `not_found` when the caller does not take part, `forbidden` on a session device.
pub async fn authorize_read(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Grant<ReadConversation>> {
    let (facts, patient) = load(app, ctx, id).await?;
    let decision = app.policy.decide::<ReadConversation>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("conversation", id.to_string())]).await
}

/// The grant to read a conversation's record seals. Whoever has left gets one, too, for those that were made for them:
/// messages of before may reach a device of theirs later, and count only with their seals.
///
/// # Errors
/// `not_found` when the caller has never taken part, `forbidden` on a session device.
pub async fn authorize_read_seals(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Grant<ReadSeals>> {
    let (facts, patient) = load_seals(app, ctx, id).await?;
    let decision = app.policy.decide::<ReadSeals>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("conversation", id.to_string())]).await
}

/// The facts of reading a conversation's record seals, and the patient it concerns.
pub(super) async fn load_seals(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
) -> Result<(SealReader, Option<UserId>)> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("conversation_seal_facts").await?;
    let facts = Facts::load(&mut tx, ctx, id).await?;
    let base = match facts.of(caller.id) {
        Err(Error::NotFound) if members::took_part(&mut tx, id, caller.id).await? => facts.of_former(caller),
        base => base?,
    };
    Ok((SealReader { base, took_part: true }, facts.patient))
}

/// The grant to report a record seal of a conversation.
///
/// # Errors
/// As [`authorize_read`].
pub async fn authorize_report_seal(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Grant<ReportSeal>> {
    let (facts, patient) = load(app, ctx, id).await?;
    let decision = app.policy.decide::<ReportSeal>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("conversation", id.to_string())]).await
}

/// The grant to handle an emergency of which the caller was told.
///
/// # Errors
/// `not_found` when the caller does not take part, `forbidden` to all but clinicians.
pub async fn authorize_handle(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Grant<HandleEmergency>> {
    let (facts, patient) = load(app, ctx, id).await?;
    let decision = app.policy.decide::<HandleEmergency>(ctx, &facts);
    if decision.is_err() {
        app.limits.clinics.refusal(&app.db, ctx).await?;
    }
    policy::audited(app, ctx, decision, patient, &[("conversation", id.to_string())]).await
}

/// The facts of a conversation for the caller, and the patient it concerns.
async fn load(app: &App, ctx: &Ctx, id: ConversationId) -> Result<(InConversation, Option<UserId>)> {
    let caller = ctx.caller()?.user_id;
    let mut tx = app.db.read("conversation_facts").await?;
    let facts = Facts::load(&mut tx, ctx, id).await?;
    Ok((facts.of(caller)?, facts.patient))
}

pub(super) fn patients(people: &[Person]) -> Vec<UserId> {
    people.iter().filter(|person| person.role == Role::Patient).map(|person| person.id).collect()
}

fn check_participants(caller: UserId, kind: ConversationType, others: &[UserId]) -> Result<()> {
    let distinct: HashSet<&UserId> = others.iter().collect();
    let problem = if others.is_empty() {
        "name at least one other person"
    } else if others.contains(&caller) {
        "you take part anyway: name the others only"
    } else if distinct.len() != others.len() {
        "name each person once"
    } else if kind == ConversationType::Direct && others.len() != 1 {
        "a direct conversation has exactly one other person"
    } else if others.len() >= MAX_PARTICIPANTS {
        "a conversation has at most 50 people"
    } else {
        return Ok(());
    };
    Err(Error::field("participants", problem))
}
