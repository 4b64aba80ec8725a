//! Binding accounts to subjects.

use serde_json::json;
use sigilo_wire::{ErrorCode, UserId};

use super::store;
use crate::{
    Actor, Ctx, Error, Result,
    app::App,
    audit::Act,
    auth::store as accounts,
    mfa, people,
    policy::{Grant, ManagePeople},
};

/// The longest subject, in bytes (OpenID Connect Core 1.0, section 2).
const LONGEST: usize = 255;

/// Lets a person log in with this subject of a provider of their clinic. Bound once: another subject, or another
/// account, needs [`unbind`] first.
///
/// # Errors
/// `not_found`; `invalid_field`; `step_up_required` for a person; `already_settled` when the account has a subject of the
/// provider, or the subject an account.
pub async fn bind(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    (user, provider): (UserId, &str),
    subject: &str,
) -> Result<()> {
    let configured = app.providers.named(provider)?;
    if subject.is_empty() || subject.len() > LONGEST || subject.chars().any(char::is_control) {
        return Err(Error::field("subject", "is 1 to 255 bytes without control characters"));
    }
    let index = app.crypter.subject_index(ctx.tenant.as_bytes(), &configured.issuer, subject);
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("oidc_bind").await?;
    if let Actor::User(_) = &ctx.actor {
        mfa::require_recent(&mut tx, ctx, &grant).await?;
    }
    if accounts::tenant(&mut tx, &configured.clinic).await? != Some(ctx.tenant) {
        return Err(Error::NotFound);
    }
    let person = people::person(&mut tx, ctx.tenant, user).await?;
    if !store::bind(&mut tx, (ctx.tenant, user), &configured.issuer, &index, ctx.now).await? {
        let problem = "this account has a subject of this provider, or the subject an account";
        return Err(Error::conflict(ErrorCode::AlreadySettled, json!({"problem": problem})));
    }
    let act = Act::done("bind_oidc").object("user", user).object("provider", provider);
    app.audit(&mut tx, ctx, &key, act.about(person.role, user).by(grant.basis())).await?;
    tx.commit().await
}

/// Takes a binding away. What was opened with it stays until its tokens end.
///
/// # Errors
/// `not_found` when there is none.
pub async fn unbind(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    (user, provider): (UserId, &str),
) -> Result<()> {
    let configured = app.providers.named(provider)?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("oidc_unbind").await?;
    if let Actor::User(_) = &ctx.actor {
        mfa::require_recent(&mut tx, ctx, &grant).await?;
    }
    let person = people::person(&mut tx, ctx.tenant, user).await?;
    if !store::unbind(&mut tx, (ctx.tenant, user), &configured.issuer).await? {
        return Err(Error::NotFound);
    }
    let act = Act::done("unbind_oidc").object("user", user).object("provider", provider);
    app.audit(&mut tx, ctx, &key, act.about(person.role, user).by(grant.basis())).await?;
    tx.commit().await
}
