//! A fresh proof of who is asking, for what could lock the owner out.

use serde_json::json;
use sigilo_wire::{
    ErrorCode, UserId,
    mfa::{Verified, VerifyMfa},
};

use super::{Attempt, RECENT, code, store};
use crate::{
    Ctx, Denial, Error, Result,
    app::App,
    audit::Act,
    auth,
    error::Suggestion,
    policy::{Action, Grant, ManageOwnAccount},
    storage::{Tx, keystore::DataKey},
};

/// Proves for the next ten minutes that the account's owner uses this device: by a code, or by the password of
/// an account without a second factor.
///
/// # Errors
/// `invalid_field` unless exactly what the account needs was given; `invalid_totp`, `invalid_credentials`;
/// `rate_limited`.
pub async fn verify(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManageOwnAccount>,
    request: &VerifyMfa,
) -> Result<Verified> {
    let user = *grant.resource();
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("mfa_verify").await?;
    let enrolled = store::is_enrolled(&mut tx, user).await?;
    match (enrolled, &request.code, &request.password) {
        (true, Some(shown), None) => {
            let attempt = Attempt::begin(&mut tx, ctx, user).await?;
            let factor = code::accept(app, &mut tx, user, shown, ctx.now).await?;
            let outcome = factor.map(code::Factor::as_str).ok_or(ErrorCode::InvalidTotp);
            finish(app, tx, ctx, &grant, &key, attempt, outcome).await
        }
        (false, None, Some(password)) => {
            let attempt = Attempt::begin(&mut tx, ctx, user).await?;
            let stored = auth::password_of(&mut tx, user).await?;
            // A slow hash is not computed while rows are locked; the attempt is counted before.
            tx.commit().await?;
            let right = app.passwords.verify(password, stored.as_deref()).await?;
            let tx = app.db.begin("mfa_verify_password").await?;
            let outcome = if right { Ok("password") } else { Err(ErrorCode::InvalidCredentials) };
            finish(app, tx, ctx, &grant, &key, attempt, outcome).await
        }
        (true, ..) => Err(Error::field("code", "this account proves itself by a code, and by nothing else")),
        (false, ..) => {
            Err(Error::field("password", "this account has no second factor: give the password alone"))
        }
    }
}

/// Writes down what came of an attempt, in either case.
async fn finish(
    app: &App,
    mut tx: Tx,
    ctx: &Ctx,
    grant: &Grant<ManageOwnAccount>,
    key: &DataKey,
    attempt: Attempt,
    outcome: Result<&'static str, ErrorCode>,
) -> Result<Verified> {
    let (user, role) = (*grant.resource(), ctx.caller()?.role);
    let act = match outcome {
        Ok(factor) => {
            attempt.succeeded(&mut tx).await?;
            verified_now(&mut tx, ctx).await?;
            Act::done("verify_identity").object("factor", factor)
        }
        Err(code) => Act::failed("verify_identity").object("reason", code),
    };
    app.audit(&mut tx, ctx, key, act.object("user", user).about(role, user).by(grant.basis())).await?;
    tx.commit().await?;
    outcome.map_err(Error::Unauthenticated)?;
    Ok(Verified { verified_until: ctx.now + RECENT })
}

/// Notes that the caller has just proven on this device who they are.
pub(crate) async fn verified_now(tx: &mut Tx, ctx: &Ctx) -> Result<()> {
    store::set_verified(tx, ctx.caller()?.device_id, ctx.now).await
}

/// Lets pass who has proven on this device, within [`RECENT`], who they are.
///
/// # Errors
/// `step_up_required`, with what proves it.
pub(crate) async fn require_recent<A: Action>(tx: &mut Tx, ctx: &Ctx, grant: &Grant<A>) -> Result<()> {
    let caller = ctx.caller()?;
    let verified = store::verified_at(tx, caller.device_id).await?;
    if verified.is_some_and(|at| at + RECENT > ctx.now) {
        return Ok(());
    }
    Err(step_up(tx, caller.user_id, grant).await?)
}

/// Lets pass who has ever proven on this device, since it logged in, who they are: by the account's password or a code,
/// or by an invitation. Somebody else's word, that of a clinic's identity provider, is no such proof.
///
/// # Errors
/// `step_up_required`, with what proves it.
pub(crate) async fn require_own<A: Action>(tx: &mut Tx, ctx: &Ctx, grant: &Grant<A>) -> Result<()> {
    let caller = ctx.caller()?;
    if store::verified_at(tx, caller.device_id).await?.is_some() {
        return Ok(());
    }
    Err(step_up(tx, caller.user_id, grant).await?)
}

async fn step_up<A: Action>(tx: &mut Tx, user: UserId, grant: &Grant<A>) -> Result<Error> {
    let proof = if store::is_enrolled(tx, user).await? { "code" } else { "password" };
    Ok(Error::Denied(Box::new(Denial {
        code: ErrorCode::StepUpRequired,
        details: json!({"proof": proof, "max_age_s": RECENT.as_secs()}),
        suggestion: Suggestion::None,
        // The rules allowed it; what is missing is the proof.
        policies: Vec::new(),
        policy_set: grant.basis().policy_set,
        refused: None,
        decision: None,
    })))
}
