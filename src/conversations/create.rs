//! Starting a conversation.

use sha2::{Digest as _, Sha256};
use sigilo_wire::{
    ConversationId, DeviceId, Role, UserId,
    anomaly::AnomalyKind,
    conversation::{Conversation, ConversationMetadata, ConversationType, CreateConversation},
};

use super::{
    MAX_CONSULTATION_TYPE, details, notify,
    participants::role_of,
    start_facts,
    store::{self, NewConversation},
};
use crate::{
    App, Caller, Ctx, Error, Result, anomalies,
    audit::{self, Act},
    idempotency::{self, IdempotencyKey},
    policy::{Grant, Person, StartConversation},
    rng,
    storage::{Tx, keystore::DataKey},
};

/// What came of starting a conversation.
#[derive(Clone, Debug)]
pub enum Created {
    /// It was made.
    New(Conversation),
    /// The pair had one: their direct conversation.
    Existing(Conversation),
}

const CREATED: u16 = 201;
const OK: u16 = 200;

impl Created {
    /// Whether it was made by this request, or by the one this repeats.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }

    /// The conversation.
    #[must_use]
    pub fn into_conversation(self) -> Conversation {
        match self {
            Self::New(conversation) | Self::Existing(conversation) => conversation,
        }
    }

    fn of(status: u16, conversation: Conversation) -> Self {
        if status == CREATED { Self::New(conversation) } else { Self::Existing(conversation) }
    }
}

/// Starts a conversation with the people of the grant, or gives the pair's direct one. A request repeated with
/// its key gets the first answer.
///
/// # Errors
/// `invalid_field` for metadata that makes no sense, `idempotency_conflict`.
pub async fn create(
    app: &App,
    ctx: &Ctx,
    grant: Grant<StartConversation>,
    wanted: &CreateConversation,
    key: Option<&IdempotencyKey>,
) -> Result<Created> {
    if *grant.resource() != wanted.participants {
        return Err(Error::internal("a grant to start a conversation was used for other people"));
    }
    check_metadata(&wanted.metadata)?;
    if let Some(first) = recall(app, ctx, key).await? {
        return Ok(first);
    }
    // A second round only when another request with the same key or pair was committed in between.
    for _ in 0..2 {
        if let Some(created) = attempt(app, ctx, &grant, wanted, key).await? {
            if created.is_new() {
                let Caller { user_id, device_id, .. } = *ctx.caller()?;
                anomalies::notice(app, ctx, AnomalyKind::ManyConversations, user_id, Some(device_id)).await;
            }
            return Ok(created);
        }
        if let Some(first) = recall(app, ctx, key).await? {
            return Ok(first);
        }
    }
    Err(Error::Unavailable("conversation".to_owned()))
}

async fn recall(app: &App, ctx: &Ctx, key: Option<&IdempotencyKey>) -> Result<Option<Created>> {
    let Some(key) = key else { return Ok(None) };
    let first = idempotency::recall::<Conversation>(app, ctx, ctx.caller()?.user_id, key).await?;
    Ok(first.map(|first| Created::of(first.status, first.answer)))
}

/// One try. `None` when another request won a race.
async fn attempt(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<StartConversation>,
    wanted: &CreateConversation,
    key: Option<&IdempotencyKey>,
) -> Result<Option<Created>> {
    let caller = Person::caller(ctx)?;
    let pair = direct_pair(caller.id, wanted);
    let (existing, people) = look(app, ctx, caller, wanted, pair.as_ref()).await?;
    let id = existing.unwrap_or_else(|| ConversationId::new(ctx.now, rng::bytes(&*app.entropy)));
    let patient = people.iter().find(|person| person.role == Role::Patient).map(|person| person.id);
    let data_key = app.conversation_key(ctx, id).await?;

    let mut tx = app.db.begin("conversation_create").await?;
    let mut devices = Vec::new();
    if existing.is_none() {
        // What was decided may have changed since; from here on it cannot.
        let everyone: Vec<UserId> = people.iter().map(|person| person.id).collect();
        store::lock_people(&mut tx, &everyone).await?;
        let facts = start_facts(&mut tx, ctx, caller, wanted.r#type, &wanted.participants).await?;
        app.policy.decide::<StartConversation>(ctx, &facts)?;
        let new = NewConversation {
            id,
            tenant: ctx.tenant,
            kind: wanted.r#type.as_str(),
            direct_pair: pair.as_ref().map(<[u8; 32]>::as_slice),
            created_by: caller.id,
            appointment: wanted.metadata.related_appointment_id,
            patient,
            consultation_type: wanted.metadata.consultation_type.as_deref(),
            priority: wanted.metadata.priority.as_str(),
            now: ctx.now,
        };
        if !store::insert(&mut tx, &new).await? {
            return Ok(None);
        }
        devices = insert_people(&mut tx, ctx, grant, id, &people, patient, &data_key, app).await?;
        if !wanted.settings.is_empty() {
            store::members::arrange(&mut tx, id, caller.id, &wanted.settings).await?;
        }
    }
    let conversation = details::shown(app, &mut tx, ctx, id).await?;
    let status = if existing.is_some() { OK } else { CREATED };
    if let Some(key) = key
        && !idempotency::remember(app, &mut tx, ctx, caller.id, key, (status, &conversation)).await?
    {
        return Ok(None);
    }
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(Some(Created::of(status, conversation)))
}

/// The pair's direct conversation if there is one, and everybody who takes part.
async fn look(
    app: &App,
    ctx: &Ctx,
    caller: Person,
    wanted: &CreateConversation,
    pair: Option<&[u8; 32]>,
) -> Result<(Option<ConversationId>, Vec<Person>)> {
    let mut tx = app.db.read("conversation_create_look").await?;
    let existing = match pair {
        Some(pair) => store::by_pair(&mut tx, ctx.tenant, pair).await?,
        None => None,
    };
    let mut people = store::people(&mut tx, ctx.tenant, &wanted.participants).await?;
    people.push(caller);
    people.sort_by_key(|person| person.id);
    people.dedup();
    if people.len() != wanted.participants.len() + 1 {
        return Err(Error::NotFound);
    }
    if let Some(appointment) = wanted.metadata.related_appointment_id {
        let parties = store::appointment(&mut tx, ctx.tenant, appointment).await?;
        let takes_part = |id: UserId| people.iter().any(|person| person.id == id);
        if !parties.is_some_and(|(patient, clinician)| takes_part(patient) && takes_part(clinician)) {
            return Err(Error::field(
                "metadata.related_appointment_id",
                "is not an appointment between participants of this conversation",
            ));
        }
    }
    Ok((existing, people))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one insertion, named at its only call")]
async fn insert_people(
    tx: &mut Tx,
    ctx: &Ctx,
    grant: &Grant<StartConversation>,
    id: ConversationId,
    people: &[Person],
    patient: Option<UserId>,
    data_key: &DataKey,
    app: &App,
) -> Result<Vec<DeviceId>> {
    // Who started it answers for it: it never lacks somebody who can change its members.
    let starter = ctx.caller()?.user_id;
    let row = |person: &Person| (person.id, role_of(person.role).as_str(), person.id != starter);
    let rows: Vec<(UserId, &'static str, bool)> = people.iter().map(row).collect();
    store::insert_participants(tx, id, ctx.tenant, &rows, ctx.now).await?;
    let devices = notify::conversation_updated(tx, ctx, id, "created").await?;
    let others: Vec<String> = grant.resource().iter().map(ToString::to_string).collect();
    let act = Act::done("start_conversation")
        .object("conversation", id)
        .object("participants", others.join(" "))
        .patient(patient)
        .by(grant.basis());
    let entry = audit::prepare(ctx, &act, data_key, None, &*app.entropy)?;
    audit::write(tx, ctx.tenant, vec![entry]);
    Ok(devices)
}

/// What is unique about a direct conversation: SHA-256 of both ids, the smaller first.
fn direct_pair(caller: UserId, wanted: &CreateConversation) -> Option<[u8; 32]> {
    let (ConversationType::Direct, [other]) = (wanted.r#type, wanted.participants.as_slice()) else {
        return None;
    };
    let mut hasher = Sha256::new();
    hasher.update(caller.min(*other).as_bytes());
    hasher.update(caller.max(*other).as_bytes());
    Some(hasher.finalize().into())
}

fn check_metadata(metadata: &ConversationMetadata) -> Result<()> {
    let word = |text: &str| {
        (1..=MAX_CONSULTATION_TYPE).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    match &metadata.consultation_type {
        Some(text) if !word(text) => {
            Err(Error::field("metadata.consultation_type", "is 1 to 40 characters of a-z, 0-9 and _"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: ConversationType, others: &[u8]) -> CreateConversation {
        CreateConversation::of(kind, others.iter().map(|n| UserId::from_bytes([*n; 16])).collect())
    }

    #[test]
    fn a_pair_is_the_same_from_both_sides() {
        let (a, b) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let direct = ConversationType::Direct;
        assert_eq!(direct_pair(a, &wanted(direct, &[2])), direct_pair(b, &wanted(direct, &[1])));
        assert_ne!(direct_pair(a, &wanted(direct, &[2])), direct_pair(a, &wanted(direct, &[3])));
        assert_eq!(direct_pair(a, &wanted(ConversationType::Consultation, &[2])), None);
    }

    #[test]
    fn a_consultation_type_is_a_word() {
        let check = |text: &str| {
            check_metadata(&ConversationMetadata {
                consultation_type: Some(text.to_owned()),
                ..ConversationMetadata::default()
            })
        };
        assert!(check("follow_up").is_ok());
        for wrong in ["", "Follow up", "diagnóstico", &"x".repeat(41)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
