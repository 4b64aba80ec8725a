//! Publishing and changing the identity key.

use std::collections::HashMap;

use sigilo_seal::{IdentityPublicKey, identity_change};
use sigilo_wire::{
    Base64Array, ErrorCode, TenantId, UserId,
    event::EventType,
    keys::{Identity, PutIdentity},
};

use super::{notify, store, verify};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    conversations, emergency, mfa,
    outbox::{self, Fact},
    people::identity_resets,
    policy::{Grant, PublishKeys},
    storage::Tx,
};

/// Publishes the caller's identity key. The first is simply taken, and so is one after an identity reset; any other
/// change needs the signature of the one in force. A change makes every prekey and the manifest invalid (the old key signed them), and is told to the user's
/// other devices and to everybody who shares a conversation. The key in force is accepted again without effect.
///
/// # Errors
/// 409 `identity_exists` for a change without signature, `step_up_required` where no signature is asked for and the
/// device has logged in without a proof of the account's own; 422 `invalid_key` for an
/// unsafe key or one that was an identity before, 422 `invalid_signature`.
pub async fn put_identity(
    app: &App,
    ctx: &Ctx,
    grant: Grant<PublishKeys>,
    request: PutIdentity,
) -> Result<Identity> {
    let caller = ctx.caller()?;
    let user = *grant.resource();
    let new = verify::identity_key(request.identity_key.as_slice())?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("keys_put_identity").await?;
    let row = store::lock_user(&mut tx, ctx.tenant, user).await?;
    let answer = |seq: i64| {
        Ok(Identity {
            user_id: user,
            identity_key: Base64Array(new.to_bytes()),
            identity_seq: u32::try_from(seq).map_err(Error::internal)?,
        })
    };
    let current = row.identity_key.as_deref().map(current_identity).transpose()?;
    // Whatever key comes first after a reset uses up the right that two people gave.
    let reset = identity_resets::store::finish(&mut tx, user, ctx.now).await?;
    if reset || (current != Some(new) && request.signature_by_previous.is_none()) {
        // Whom only a clinic's identity provider knows chooses no identity, and resets none.
        mfa::require_own(&mut tx, ctx, &grant).await?;
    }
    if current == Some(new) {
        tx.commit().await?;
        return answer(row.identity_seq);
    }
    let seq = row.identity_seq + 1;
    check_change(&mut tx, ctx, &grant, (current.as_ref(), &new, reset), &request).await?;
    let identity = store::NewIdentity {
        tenant: ctx.tenant,
        user,
        seq,
        key: new.as_bytes(),
        signature_by_previous: request.signature_by_previous.as_ref().map(|signature| signature.as_slice()),
    };
    store::put_identity(&mut tx, &identity, ctx.now).await?;
    let mut act = Act::done("publish_identity");
    let mut woken = Vec::new();
    let answer = answer(seq)?;
    conversations::facts_changed_of(&mut tx, user).await?;
    if current.is_some() {
        store::forget_signed(&mut tx, user).await?;
        let data = notify::json(&sigilo_wire::event::IdentityChanged {
            user_id: user,
            identity_seq: answer.identity_seq,
        })?;
        let told = notify::Told { r#type: EventType::IdentityChanged, data: &data, instead: &HashMap::new() };
        woken = notify::contacts(&mut tx, ctx, user, caller.device_id, &told).await?;
        woken.extend(emergency::step_out(app, &mut tx, ctx, &key, user).await?);
        let fact = Fact { topic: "identity.changed", data };
        outbox::publish(&mut tx, ctx.tenant, vec![fact], ctx.now);
        act = Act::done("change_identity");
    }
    let signed = request.signature_by_previous.is_some();
    let act = act.object("user", user).object("identity_key", request.identity_key);
    let act = act.object("signed_by_previous", signed).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act.patient(notify::patient(&row.role, user))).await?;
    tx.commit().await?;
    notify::wake(app, &woken);
    Ok(answer)
}

/// The identity key of a person of the clinic, as the server knows it.
///
/// # Errors
/// 404 when the clinic has no such person; `keys_missing` when they have none.
pub(crate) async fn identity_of(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<IdentityPublicKey> {
    let row = store::user(tx, tenant, user).await?;
    current_identity(&row.identity_key.ok_or_else(|| super::keys_missing(user, "identity_key"))?)
}

/// The identity of a user's row. What is stored was checked.
pub(super) fn current_identity(bytes: &[u8]) -> Result<IdentityPublicKey> {
    IdentityPublicKey::parse(bytes)
        .map_err(|error| Error::internal(format!("a stored identity key: {error}")))
}

async fn check_change(
    tx: &mut Tx,
    ctx: &Ctx,
    grant: &Grant<PublishKeys>,
    (current, new, reset): (Option<&IdentityPublicKey>, &IdentityPublicKey, bool),
    request: &PutIdentity,
) -> Result<()> {
    let user = *grant.resource();
    let Some(current) = current else {
        return match request.signature_by_previous {
            None => Ok(()),
            Some(_) => Err(Error::field("signature_by_previous", "there is no previous identity key")),
        };
    };
    // What two people have approved takes the place of the signature, once.
    let unsigned = || {
        let details = serde_json::json!({"identity_key": Base64Array(current.to_bytes())});
        Error::conflict(ErrorCode::IdentityExists, details)
    };
    let statement = identity_change::statement(ctx.tenant, user, new);
    let signature = request.signature_by_previous.as_ref();
    if signature.is_none() && !reset {
        return Err(unsigned());
    }
    if signature.is_some_and(|signature| !current.verify(&statement, signature)) {
        return Err(verify::Name("signature_by_previous", None)
            .invalid_signature("the identity key in force did not sign this change"));
    }
    // The change statement has no number: a key in force a second time would make old signatures valid again.
    if store::identity_was_used(tx, user, new.as_bytes()).await? {
        return Err(verify::Name("identity_key", None).invalid_key("it was this user's identity key before"));
    }
    Ok(())
}
