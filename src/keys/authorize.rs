//! Who may do what with keys: loads the facts and asks the rules.

use std::collections::HashSet;

use sigilo_wire::{Role, UserId, conversation::ConversationType};

use super::store;
use crate::{
    Ctx, Result,
    app::App,
    policy::{
        self, FetchKeys, Grant, Person, PublishKeys, StartConversation,
        facts::{Keys, OwnAccount, People, Start},
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
/// or may start one with.
///
/// # Errors
/// `not_found` when nobody of the clinic has this id; `forbidden`.
pub async fn authorize_fetch(app: &App, ctx: &Ctx, target: UserId) -> Result<Grant<FetchKeys>> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("keys_authorize_fetch").await?;
    let target = store::person(&mut tx, ctx.tenant, target).await?;
    let both: &[Person] = if caller.id == target.id { &[caller] } else { &[caller, target] };
    let mut related = HashSet::new();
    let mut shares_conversation = false;
    if caller.id != target.id {
        shares_conversation = store::share_conversation(&mut tx, caller.id, target.id).await?;
        for pair in [(caller.id, target.id), (target.id, caller.id)] {
            if store::in_care(&mut tx, ctx.tenant, pair, ctx.now).await? {
                related.insert(pair);
            }
        }
    }
    drop(tx);
    let people = People::of(caller.id, both, &related);
    let start = Start { caller, kind: ConversationType::Direct, targets: vec![target], people };
    let may_start = caller.id != target.id && app.policy.decide::<StartConversation>(ctx, &start).is_ok();
    let facts = Keys { caller, target, shares_conversation, may_start, people };
    let decision = app.policy.decide::<FetchKeys>(ctx, &facts);
    policy::audited(app, ctx, decision, patient_of(both), &[("user", target.id.to_string())]).await
}

/// The patient among these people.
fn patient_of(people: &[Person]) -> Option<UserId> {
    people.iter().find(|person| person.role == Role::Patient).map(|person| person.id)
}
