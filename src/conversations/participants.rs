//! Who joins a conversation after its start, and who leaves it.
//!
//! Whoever joins reads what is said from then on; whoever leaves gets nothing more. Either way the facts of the
//! conversation are others, and so are the keys its seals must be for: the next message needs a new seal. The
//! rules are asked about the people as they would be together.

use sigilo_wire::{
    ConversationId, DeviceId, Role, UserId,
    conversation::{Conversation, ParticipantRole},
};

use super::{
    MAX_PARTICIPANTS, details, notify,
    snapshot::Facts,
    store::{self, members},
};
use crate::{
    App, Ctx, Error, Result,
    audit::{self, Act},
    policy::{
        self, Action, AddParticipant, Decide, Grant, Joining, LeaveConversation, Leaving, Person,
        RemoveParticipant,
        facts::{InConversation, Join, People, Ties},
    },
    storage::Tx,
};

/// How often a decision is made anew because the conversation has changed under it.
pub(super) const ATTEMPTS: usize = 5;

/// Adds these people; whoever takes part already does so afterwards. Gives the conversation.
///
/// # Errors
/// `invalid_field` for a list that makes no sense or is too long, `not_found` when the caller does not take part
/// or somebody is not in the clinic, `forbidden`, `conversation_closed`.
pub async fn add_participants(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    users: &[UserId],
) -> Result<Conversation> {
    if users.is_empty() || users.len() >= MAX_PARTICIPANTS {
        return Err(Error::field("user_ids", "names 1 to 49 people"));
    }
    for _ in 0..ATTEMPTS {
        let Some(grant) = authorize_add(app, ctx, id, users).await? else {
            return details::shown(app, &mut app.db.read("participants_shown").await?, ctx, id).await;
        };
        if let Some(conversation) = add(app, ctx, &grant).await? {
            return Ok(conversation);
        }
    }
    Err(busy())
}

/// Takes somebody out; whoever has left already stays so.
///
/// # Errors
/// `not_found` when the caller does not take part or the other never did, `invalid_field` for oneself,
/// `forbidden`.
pub async fn remove_participant(app: &App, ctx: &Ctx, id: ConversationId, user: UserId) -> Result<()> {
    if ctx.caller()?.user_id == user {
        return Err(Error::field("user_id", "to leave yourself, delete the conversation"));
    }
    for _ in 0..ATTEMPTS {
        let facts = load(app, ctx, id).await?;
        let base = facts.of(ctx.caller()?.user_id)?;
        if facts.person(user).is_none() {
            let mut tx = app.db.read("participant_left").await?;
            let left = members::took_part(&mut tx, id, user).await?;
            return if left { Ok(()) } else { Err(Error::NotFound) };
        }
        let decision = app.policy.decide::<RemoveParticipant>(ctx, &policy::facts::Leave { base, user });
        let objects = [("conversation", id.to_string()), ("participants", user.to_string())];
        let grant = policy::audited(app, ctx, decision, facts.patient, &objects).await?;
        if take_out(app, ctx, &grant).await? {
            return Ok(());
        }
    }
    Err(busy())
}

/// The caller takes part no longer.
///
/// # Errors
/// `not_found` when the caller does not take part, `forbidden`.
pub async fn leave_conversation(app: &App, ctx: &Ctx, id: ConversationId) -> Result<()> {
    let user = ctx.caller()?.user_id;
    for _ in 0..ATTEMPTS {
        let facts = load(app, ctx, id).await?;
        let base = facts.of(user)?;
        let decision = app.policy.decide::<LeaveConversation>(ctx, &policy::facts::Leave { base, user });
        let objects = [("conversation", id.to_string())];
        let grant = policy::audited(app, ctx, decision, facts.patient, &objects).await?;
        if take_out(app, ctx, &grant).await? {
            return Ok(());
        }
    }
    Err(busy())
}

/// Too many others changed the conversation at the same time.
pub(super) fn busy() -> Error {
    Error::Unavailable("conversation".to_owned())
}

/// The facts of a conversation of the clinic.
///
/// # Errors
/// `not_found`.
pub(super) async fn load(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Facts> {
    Facts::load(&mut app.db.read("participants_facts").await?, ctx, id).await
}

/// The grant to add those of these people who do not take part yet; `None` when all of them do.
async fn authorize_add(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    users: &[UserId],
) -> Result<Option<Grant<AddParticipant>>> {
    let Some((facts, patient)) = load_join(app, ctx, id, users).await? else { return Ok(None) };
    let joined: Vec<String> = facts.joining.iter().map(|person| person.id.to_string()).collect();
    let decision = app.policy.decide::<AddParticipant>(ctx, &facts);
    let objects = [("conversation", id.to_string()), ("participants", joined.join(" "))];
    policy::audited(app, ctx, decision, patient, &objects).await.map(Some)
}

/// The facts of adding those of these people who do not take part yet, and the patient it concerns; `None` when all of
/// them do.
///
/// # Errors
/// As [`add_participants`], but for the denial.
pub(super) async fn load_join(
    app: &App,
    ctx: &Ctx,
    id: ConversationId,
    users: &[UserId],
) -> Result<Option<(Join, Option<UserId>)>> {
    let mut tx = app.db.read("participants_authorize").await?;
    let facts = Facts::load(&mut tx, ctx, id).await?;
    let base = facts.of(ctx.caller()?.user_id)?;
    let mut new: Vec<UserId> = users.iter().copied().filter(|user| facts.person(*user).is_none()).collect();
    new.sort_unstable();
    new.dedup();
    if new.is_empty() {
        return Ok(None);
    }
    let mut joining = store::people(&mut tx, ctx.tenant, &new).await?;
    if joining.len() != new.len() {
        return Err(Error::NotFound);
    }
    joining.sort_by_key(|person| person.id);
    let everyone = [facts.people(), &joining].concat();
    if everyone.len() > MAX_PARTICIPANTS {
        return Err(Error::field("user_ids", "a conversation has at most 50 people"));
    }
    let ties = store::ties::among(&mut tx, ctx.tenant, &everyone, ctx.now).await?;
    drop(tx);
    let people = together(base, &joining, &everyone, &ties);
    let patient = facts.patient.or_else(|| patient_among(&joining));
    Ok(Some((Join { base, joining, people }, patient)))
}

/// What matters about everyone, once these have joined; each of them must be reachable, not just one. A block between
/// two who take part already does not matter to who joins.
fn together(base: InConversation, joining: &[Person], everyone: &[Person], ties: &Ties) -> People {
    let reachable = joining.iter().all(|person| person.active);
    let blocked = joining.iter().any(|one| everyone.iter().any(|other| ties.blocked(one.id, other.id)));
    People { reachable, blocked, ..People::of(base.caller.id, everyone, ties) }
}

fn patient_among(people: &[Person]) -> Option<UserId> {
    people.iter().find(|person| person.role == Role::Patient).map(|person| person.id)
}

/// One try. `None` when what was decided on has changed since.
async fn add(app: &App, ctx: &Ctx, grant: &Grant<AddParticipant>) -> Result<Option<Conversation>> {
    let Joining { base, joining, people } = grant.resource();
    let id = base.id;
    let key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("participants_add").await?;
    let everyone = [members::of(&mut tx, id).await?.as_slice(), joining].concat();
    // What was decided may have changed since; from here on it cannot.
    store::lock_people(&mut tx, &everyone).await?;
    let now = store::people(&mut tx, ctx.tenant, &everyone).await?;
    let ties = store::ties::among(&mut tx, ctx.tenant, &now, ctx.now).await?;
    let joined: Vec<Person> = now.iter().copied().filter(|person| joining.contains(&person.id)).collect();
    if together(*base, &joined, &now, &ties) != *people {
        return Ok(None);
    }
    let Some(last_seq) = members::move_on(&mut tx, id, base.facts_version, ctx.now).await? else {
        return Ok(None);
    };
    let rows: Vec<(UserId, &'static str)> =
        joined.iter().map(|person| (person.id, role_of(person.role).as_str())).collect();
    members::join(&mut tx, id, ctx.tenant, &rows, last_seq, ctx.now).await?;
    if let Some(patient) = patient_among(&joined) {
        members::concerns(&mut tx, id, patient).await?;
    }
    let devices = notify::participant_changed(&mut tx, ctx, id, joining, &[]).await?;
    write_entry(app, &mut tx, ctx, grant, (id, joining), &key).await?;
    let conversation = details::shown(app, &mut tx, ctx, id).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(Some(conversation))
}

/// One try. `false` when what was decided on has changed since.
async fn take_out<A>(app: &App, ctx: &Ctx, grant: &Grant<A>) -> Result<bool>
where
    A: Decide + Action<Resource = Leaving>,
{
    let Leaving { conversation_id: id, facts_version, user } = *grant.resource();
    let key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("participant_leave").await?;
    if members::move_on(&mut tx, id, facts_version, ctx.now).await?.is_none() {
        return Ok(false);
    }
    if !members::leave(&mut tx, id, user, ctx.now).await? {
        return Err(Error::internal("a member of this version of the facts does not take part"));
    }
    let devices: Vec<DeviceId> = notify::participant_changed(&mut tx, ctx, id, &[], &[user]).await?;
    write_entry(app, &mut tx, ctx, grant, (id, &[user]), &key).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(true)
}

async fn write_entry<A: Action>(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    grant: &Grant<A>,
    (conversation, users): (ConversationId, &[UserId]),
    key: &crate::storage::keystore::DataKey,
) -> Result<()> {
    let named: Vec<String> = users.iter().map(ToString::to_string).collect();
    let act = Act::done(A::NAME)
        .object("conversation", conversation)
        .object("participants", named.join(" "))
        .patient(store::patient(tx, conversation).await?)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, key, None, &*app.entropy)?;
    audit::write(tx, ctx.tenant, vec![entry]);
    Ok(())
}

/// Clinicians and staff also change settings and members.
pub(super) const fn role_of(role: Role) -> ParticipantRole {
    match role {
        Role::Patient => ParticipantRole::Participant,
        _ => ParticipantRole::Moderator,
    }
}
