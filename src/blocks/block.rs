//! Blocking somebody, and taking it back.

use serde_json::json;
use sigilo_wire::{DeviceId, UserId, block::Block};

use super::{
    authorize::patient_of,
    list, reason_place, row,
    store::{self, NewBlock},
};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    conversations, free_text,
    outbox::{self, Fact},
    people,
    policy::{BlockUser, Grant, ManageOwnAccount, Person},
    storage::Tx,
};

/// What came of blocking somebody.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// The block.
    pub block: Block,
    /// Whether it was made now; otherwise it stood already, with the reason of then.
    pub is_new: bool,
}

/// Blocks somebody. Blocking them again changes nothing.
///
/// # Errors
/// `phi_detected` and `invalid_field` for a reason the server does not take.
pub async fn block(app: &App, ctx: &Ctx, grant: Grant<BlockUser>, reason: Option<&str>) -> Result<Blocked> {
    let (blocker, blocked) = (ctx.caller()?.user_id, *grant.resource());
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if let Some(reason) = reason {
        free_text::check("reason", reason)?;
    }
    let row = row(blocker, blocked);
    let seal = |reason: &str| app.crypter.encrypt(reason_place(&row), reason.as_bytes(), &*app.entropy);
    let reason_enc = reason.map(seal).transpose()?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;

    let mut tx = app.db.begin("block").await?;
    // From here on nobody brings the two together, and no grant on what they share holds.
    let shared = conversations::facts_changed_between(&mut tx, blocker, blocked).await?;
    let new = NewBlock { blocker, blocked, tenant: ctx.tenant, reason_enc, now: ctx.now };
    let is_new = store::insert(&mut tx, &new).await?;
    let block = store::one(&mut tx, blocker, blocked).await?.ok_or(Error::NotFound)?;
    let block = list::shown(app, blocker, block)?;
    if !is_new {
        return Ok(Blocked { block, is_new });
    }
    let target = Person { id: blocked, tenant: ctx.tenant, role: block.role, active: true };
    let patient = patient_of(&[Person::caller(ctx)?, target]);
    let act = Act::done("block_user").object("user", blocked).patient(patient).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    let woken = tell(&mut tx, ctx, "user.blocked", blocked, &shared).await?;
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(Blocked { block, is_new })
}

/// Takes a block of the caller's back. Without one, nothing changes.
///
/// # Errors
/// 404 when the clinic has no such person.
pub async fn unblock(app: &App, ctx: &Ctx, grant: Grant<ManageOwnAccount>, blocked: UserId) -> Result<()> {
    let blocker = *grant.resource();
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("unblock").await?;
    let target = people::person(&mut tx, ctx.tenant, blocked).await?;
    let shared = conversations::facts_changed_between(&mut tx, blocker, blocked).await?;
    if !store::delete(&mut tx, blocker, blocked).await? {
        return Ok(());
    }
    let patient = patient_of(&[Person::caller(ctx)?, target]);
    let act = Act::done("unblock_user").object("user", blocked).patient(patient).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    let woken = tell(&mut tx, ctx, "user.unblocked", blocked, &shared).await?;
    tx.commit().await?;
    app.hub.wake(&woken);
    Ok(())
}

/// The caller's other devices see their conversations with the other person in another way now; the other person's
/// devices hear nothing.
async fn tell(
    tx: &mut Tx,
    ctx: &Ctx,
    topic: &'static str,
    blocked: UserId,
    shared: &[sigilo_wire::ConversationId],
) -> Result<Vec<DeviceId>> {
    let blocker = ctx.caller()?.user_id;
    let data = json!({"user_id": blocker, "other_user_id": blocked});
    outbox::publish(tx, ctx.tenant, vec![Fact { topic, data }], ctx.now);
    let mut woken = Vec::new();
    for conversation in shared {
        woken.extend(conversations::settings_changed(tx, ctx, *conversation, blocker).await?);
    }
    Ok(woken)
}
