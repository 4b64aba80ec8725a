//! One person of the clinic asks for a new identity of somebody.

use sigilo_wire::{IdentityResetId, UserId, event::ResetStage, people::AskedReset};

use super::{RESET_LIFE, store, tell};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    mfa,
    people::{person, store as people},
    policy::{self, Grant, Looked, Person, ResetIdentity, facts::Other},
    rng,
};

/// The grant to ask for, or approve, a new identity of this person.
///
/// # Errors
/// 404 when the clinic has no such person; `forbidden` for all but its admins and compliance officers, and for the
/// person.
pub async fn authorize(app: &App, ctx: &Ctx, user: UserId) -> Result<Grant<ResetIdentity>> {
    let (facts, patient) = load(app, ctx, user).await?;
    let decision = app.policy.decide::<ResetIdentity>(ctx, &facts);
    policy::audited(app, ctx, decision, patient, &[("user", user.to_string())]).await
}

/// What the rules would say to asking for a new identity of this person, and the patient it concerns.
///
/// # Errors
/// 404 when the clinic has no such person.
pub(crate) async fn look(app: &App, ctx: &Ctx, user: UserId) -> Result<(Looked, Option<UserId>)> {
    let (facts, patient) = load(app, ctx, user).await?;
    Ok((app.policy.look::<ResetIdentity>(ctx, &facts)?, patient))
}

async fn load(app: &App, ctx: &Ctx, user: UserId) -> Result<(Other, Option<UserId>)> {
    let caller = Person::caller(ctx)?;
    let mut tx = app.db.read("identity_reset_authorize").await?;
    let target = person(&mut tx, ctx.tenant, user).await?;
    let patient = (target.role == sigilo_wire::Role::Patient).then_some(user);
    Ok((Other { caller, target }, patient))
}

/// Asks for a new identity of a person, who is told on all their devices. Another person has to approve it within
/// [`RESET_LIFE`]; what was asked for before ends.
///
/// # Errors
/// `step_up_required`; `invalid_field` when the person has no active account.
pub async fn ask(app: &App, ctx: &Ctx, grant: Grant<ResetIdentity>) -> Result<AskedReset> {
    let (user, by) = (*grant.resource(), ctx.caller()?.user_id);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let reset = IdentityResetId::new(ctx.now, rng::bytes(&*app.entropy));
    let expires_at = ctx.now + RESET_LIFE;
    let mut tx = app.db.begin("identity_reset_ask").await?;
    mfa::require_recent(&mut tx, ctx, &grant).await?;
    let person = people::lock_user(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    if person.status != "active" {
        return Err(Error::field("user_id", "this person has no account, or it is suspended"));
    }
    store::insert(&mut tx, reset, (ctx.tenant, user, by), ctx.now, expires_at).await?;
    let woken = tell(&mut tx, ctx, (reset, user), ResetStage::Asked, expires_at).await?;
    let act = Act::done("ask_identity_reset").object("user", user).object("reset", reset);
    app.audit(&mut tx, ctx, &key, act.about(person.role()?, user).by(grant.basis())).await?;
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(AskedReset { reset_id: reset, user_id: user, requested_by: by, expires_at })
}
