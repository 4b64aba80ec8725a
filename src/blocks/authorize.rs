//! Who may block whom.

use sigilo_wire::{Role, UserId};

use crate::{
    App, Ctx, Result, people,
    policy::{self, BlockUser, Grant, Looked, Person, facts::Other},
};

/// The grant to block this person.
///
/// # Errors
/// 404 when the clinic has no such person; `forbidden`, with `reason` `staff_not_blocked` for clinic staff.
pub async fn authorize(app: &App, ctx: &Ctx, user: UserId) -> Result<Grant<BlockUser>> {
    let facts = load(app, ctx, user).await?;
    let decision = app.policy.decide::<BlockUser>(ctx, &facts);
    let patient = patient_of(&[facts.caller, facts.target]);
    policy::audited(app, ctx, decision, patient, &[("user", user.to_string())]).await
}

/// What the rules would say to blocking this person, and the patient it concerns.
///
/// # Errors
/// 404 when the clinic has no such person.
pub(crate) async fn look(app: &App, ctx: &Ctx, user: UserId) -> Result<(Looked, Option<UserId>)> {
    let facts = load(app, ctx, user).await?;
    Ok((app.policy.look::<BlockUser>(ctx, &facts)?, patient_of(&[facts.caller, facts.target])))
}

async fn load(app: &App, ctx: &Ctx, user: UserId) -> Result<Other> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("block_authorize").await?;
    let target = people::person(&mut tx, ctx.tenant, user).await?;
    Ok(Other { caller, target })
}

/// The patient among these two.
pub(super) fn patient_of(people: &[Person]) -> Option<UserId> {
    people.iter().find(|person| person.role == Role::Patient).map(|person| person.id)
}
