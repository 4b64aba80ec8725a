//! Who may do what with keys: loads the facts and asks the rules.

use sigilo_wire::{Role, UserId, conversation::ConversationType};

use super::store;
use crate::{
    Ctx, Error, Result,
    app::App,
    conversations,
    policy::{
        self, FetchKeys, Grant, Looked, Person, PublishKeys, StartConversation,
        facts::{Keys, OwnAccount, People, Ties},
    },
};

/// The grant to publish the caller's own keys, from a messaging device.
///
/// # Errors
/// `forbidden` on a session device: it has no keys.
pub async fn authorize_own(app: &App, ctx: &Ctx) -> Result<Grant<PublishKeys>> {
    let facts = OwnAccount::of(ctx)?;
    let patient = patient_of(&[facts.owner]);
    let decision = app.policy.decide::<PublishKeys>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("user", facts.owner.id.to_string())]).await
}

/// The grant to fetch a person's keys: one's own, or those of somebody one shares an active conversation with
/// or may start one with, or who called the finding on a file of one's conversation false.
///
/// # Errors
/// `not_found` when nobody of the clinic has this id; `forbidden`.
pub async fn authorize_fetch(app: &App, ctx: &Ctx, target: UserId) -> Result<(Grant<FetchKeys>, Purpose)> {
    let facts = load(app, ctx, target).await?;
    let decision = app.policy.decide::<FetchKeys>(ctx, &facts);
    if decision.is_err() {
        // A refusal is written down, and fetches are counted by what they take.
        app.limits.clinics.request(&app.db, ctx).await?;
    }
    let patient = patient_of(&[facts.target, facts.caller]);
    let grant = policy::audited(app, ctx, decision, patient, &[("user", target.to_string())]).await?;
    Ok((grant, if facts.emergency { Purpose::Emergency } else { Purpose::Ordinary }))
}

/// What keys are fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The two are in an open emergency: nothing is counted.
    Emergency,
    /// Anything else.
    Ordinary,
}

/// What the rules would say to fetching a person's keys, and the patient it concerns.
///
/// # Errors
/// `not_found` when nobody of the clinic has this id.
pub(crate) async fn look_fetch(app: &App, ctx: &Ctx, target: UserId) -> Result<(Looked, Option<UserId>)> {
    let facts = load(app, ctx, target).await?;
    Ok((app.policy.look::<FetchKeys>(ctx, &facts)?, patient_of(&[facts.target, facts.caller])))
}

async fn load(app: &App, ctx: &Ctx, target: UserId) -> Result<Keys> {
    let caller = Person::caller(ctx)?;
    if target == caller.id { Ok(own_facts(caller)) } else { facts(app, ctx, caller, target).await }
}

async fn facts(app: &App, ctx: &Ctx, caller: Person, target: UserId) -> Result<Keys> {
    let mut tx = app.db.read("keys_authorize_fetch").await?;
    let start = conversations::start_facts(&mut tx, ctx, caller, ConversationType::Direct, &[target]).await?;
    let shares_conversation = store::share_conversation(&mut tx, caller.id, target).await?;
    let shares_team = start.people.blocked && store::share_team(&mut tx, caller.id, target).await?;
    let emergency = store::share_emergency(&mut tx, caller.id, target).await?;
    let signed_release =
        !shares_conversation && store::signed_release_for(&mut tx, caller.id, target).await?;
    drop(tx);
    let may_start = app.policy.decide::<StartConversation>(ctx, &start).is_ok();
    let target = start.targets.first().copied().ok_or(Error::NotFound)?;
    let people = start.people;
    Ok(Keys {
        caller,
        target,
        shares_conversation,
        shares_team,
        emergency,
        may_start,
        signed_release,
        people,
    })
}

fn own_facts(caller: Person) -> Keys {
    let people = People::of(caller.id, &[caller], &Ties::default());
    Keys {
        caller,
        target: caller,
        shares_conversation: false,
        shares_team: false,
        emergency: false,
        may_start: false,
        signed_release: false,
        people,
    }
}

/// The patient among these people.
fn patient_of(people: &[Person]) -> Option<UserId> {
    people.iter().find(|person| person.role == Role::Patient).map(|person| person.id)
}
