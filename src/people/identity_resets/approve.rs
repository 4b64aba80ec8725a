//! Another person of the clinic approves, and gets the invitation to hand over.

use serde_json::json;
use sigilo_seal::RootFingerprint;
use sigilo_wire::{
    ErrorCode, IdentityResetId, InvitationId, Role, UserId, event::ResetStage, people::ApproveReset,
};

use super::{store, tell};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth::Opaque,
    error::Suggestion,
    mfa,
    people::{INVITATION_LIFE, Invitation, invite, store as people},
    policy::{Grant, ResetIdentity},
    rng,
    storage::Tx,
};

/// Whose identity a waiting reset is about, for [`super::authorize`].
///
/// # Errors
/// 404 when none waits by this id.
pub async fn subject(app: &App, ctx: &Ctx, reset: IdentityResetId) -> Result<UserId> {
    let mut tx = app.db.read("identity_reset_find").await?;
    let row = store::waiting(&mut tx, reset, ctx.tenant, ctx.now).await?.ok_or(Error::NotFound)?;
    Ok(row.user_id)
}

/// Approves what another person has asked for, and makes the invitation. Nothing of the account changes before it is
/// used.
///
/// # Errors
/// `step_up_required`; 404 when none waits by this id for this person; 403 `forbidden` to whoever asked for it, and
/// unless one of the two is an admin; `clinic_keys_missing`, 422 `invalid_key` when the root is not the clinic's.
pub async fn approve(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ResetIdentity>,
    reset: IdentityResetId,
    request: &ApproveReset,
) -> Result<Invitation> {
    let (user, caller) = (*grant.resource(), *ctx.caller()?);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("identity_reset_approve").await?;
    mfa::require_recent(&mut tx, ctx, &grant).await?;
    let tenant = people::lock_tenant(&mut tx, ctx.tenant).await?.ok_or(Error::NotFound)?;
    let root = invite::require_root(tenant.root_key()?, RootFingerprint(request.root.0))?;
    let person = people::lock_user(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    let row = store::waiting(&mut tx, reset, ctx.tenant, ctx.now).await?;
    let row = row.filter(|row| row.user_id == user).ok_or(Error::NotFound)?;
    require_two(&mut tx, ctx, row.requested_by, &grant).await?;
    let code = Opaque::new(&*app.entropy);
    let invitation = InvitationId::new(ctx.now, rng::bytes(&*app.entropy));
    let expires_at = ctx.now + INVITATION_LIFE;
    let whose = (ctx.tenant, user);
    people::insert_invitation(&mut tx, invitation, whose, &code.hash, ctx.now, expires_at).await?;
    if !store::approve(&mut tx, row.reset_id, caller.user_id, invitation, ctx.now).await? {
        return Err(Error::NotFound);
    }
    let woken = tell(&mut tx, ctx, (reset, user), ResetStage::Approved, expires_at).await?;
    let act = Act::done("approve_identity_reset")
        .object("user", user)
        .object("reset", reset)
        .object("requested_by", row.requested_by)
        .object("approved_by", caller.user_id)
        .object("invitation", invitation)
        .about(person.role()?, user)
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(Invitation { user_id: user, clinic_id: ctx.tenant, code: code.text, expires_at, root })
}

/// Two people, still in office, one of them an admin.
async fn require_two(
    tx: &mut Tx,
    ctx: &Ctx,
    requested_by: UserId,
    grant: &Grant<ResetIdentity>,
) -> Result<()> {
    let caller = ctx.caller()?;
    let other = people::user(tx, ctx.tenant, requested_by).await?.ok_or(Error::NotFound)?;
    let role = other.role()?;
    let in_office = other.status == "active" && matches!(role, Role::Admin | Role::Compliance);
    let suggestion = if requested_by == caller.user_id {
        "two_people-another"
    } else if !in_office {
        "two_people-ask_again"
    } else if role != Role::Admin && caller.role != Role::Admin {
        "two_people-an_admin"
    } else {
        return Ok(());
    };
    Err(Error::Denied(Box::new(crate::Denial {
        code: ErrorCode::Forbidden,
        details: json!({"reason": "two_people"}),
        suggestion: Suggestion::Said(suggestion),
        policies: Vec::new(),
        policy_set: grant.basis().policy_set,
        refused: None,
        decision: None,
    })))
}
