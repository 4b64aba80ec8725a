//! Who may block whom.

use sigilo_wire::{Role, UserId};

use crate::{
    App, Ctx, Result, people,
    policy::{self, BlockUser, Grant, Person, facts},
};

/// The grant to block this person.
///
/// # Errors
/// 404 when the clinic has no such person; `forbidden`, with `reason` `staff_not_blocked` for clinic staff.
pub async fn authorize(app: &App, ctx: &Ctx, user: UserId) -> Result<Grant<BlockUser>> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("block_authorize").await?;
    let target = people::person(&mut tx, ctx.tenant, user).await?;
    drop(tx);
    let decision = app.policy.decide::<BlockUser>(ctx, &facts::Other { caller, target });
    policy::audited(app, ctx, decision, patient_of(&[caller, target]), &[("user", user.to_string())]).await
}

/// The patient among these two.
pub(super) fn patient_of(people: &[Person]) -> Option<UserId> {
    people.iter().find(|person| person.role == Role::Patient).map(|person| person.id)
}
