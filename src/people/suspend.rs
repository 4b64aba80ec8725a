//! Suspending an account, and its return.

use serde::Serialize;
use serde_json::json;
use sigilo_wire::{DeviceId, UserId};

use super::{
    identity_resets,
    store::{self, UserRow},
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth, conversations, emergency,
    outbox::{self, Fact},
    policy::{Grant, ManagePeople},
    storage::{Tx, keystore::DataKey},
};

const ACTIVE: &str = "active";
const SUSPENDED: &str = "suspended";

/// What came of a suspension or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusChange {
    /// The person.
    pub user_id: UserId,
    /// Their account's status now.
    pub status: &'static str,
    /// Whether this act changed it.
    pub changed: bool,
    /// How many devices were logged out.
    pub devices: usize,
    /// How many conversations the person takes part in: who may write there was decided anew.
    pub conversations: usize,
}

/// Suspends an account: its tokens and sockets end at once, here and on other nodes; nobody writes to or from
/// it; what was written stays readable for the others. The person keeps devices, keys and conversations; a new identity
/// that was under way is not given.
///
/// # Errors
/// 404 when the clinic has no such person, `invalid_field` when they have no account.
pub async fn suspend_user(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    user: UserId,
) -> Result<StatusChange> {
    change(app, ctx, &grant, user, (ACTIVE, SUSPENDED)).await
}

/// Ends a suspension. Messaging devices log in again by their ids and are as before.
///
/// # Errors
/// As [`suspend_user`].
pub async fn resume_user(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    user: UserId,
) -> Result<StatusChange> {
    change(app, ctx, &grant, user, (SUSPENDED, ACTIVE)).await
}

async fn change(
    app: &App,
    ctx: &Ctx,
    grant: &Grant<ManagePeople>,
    user: UserId,
    (from, to): (&'static str, &'static str),
) -> Result<StatusChange> {
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin(names(to).0).await?;
    let person = store::lock_user(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    if person.status == to {
        return Ok(StatusChange { user_id: user, status: to, changed: false, devices: 0, conversations: 0 });
    }
    if person.status != from {
        return Err(Error::field("user", "this person has no account yet"));
    }
    let (devices, conversations) = set(app, &mut tx, ctx, (&key, grant), (&person, to), None).await?;
    tx.commit().await?;
    for device in &devices {
        auth::cut_off(app, *device);
    }
    Ok(StatusChange { user_id: user, status: to, changed: true, devices: devices.len(), conversations })
}

/// Suspends an account as [`suspend_user`] does, in the caller's transaction and for a reason of the server's own. Gives the
/// devices to cut off after the commit; `None` when the account is not active.
///
/// # Errors
/// 404 when the clinic has no such person.
pub(crate) async fn suspend_within(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    by: (&DataKey, &Grant<ManagePeople>),
    user: UserId,
    reason: &'static str,
) -> Result<Option<Vec<DeviceId>>> {
    let person = store::lock_user(tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    if person.status != ACTIVE {
        return Ok(None);
    }
    Ok(Some(set(app, tx, ctx, by, (&person, SUSPENDED), Some(reason)).await?.0))
}

/// Gives the person, who is locked, this status. Gives the devices that are logged out, and how many conversations it touches.
async fn set(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    (key, grant): (&DataKey, &Grant<ManagePeople>),
    (person, to): (&UserRow, &'static str),
    reason: Option<&'static str>,
) -> Result<(Vec<DeviceId>, usize)> {
    let user = person.user_id;
    let (act, topic) = names(to);
    store::set_status(tx, user, to).await?;
    let touched = conversations::facts_changed_of(tx, user).await?;
    let devices = match to {
        SUSPENDED => {
            emergency::abandon(tx, user, ctx.now).await?;
            // An invitation to a new identity would be good again after the suspension, in whosever hands it is.
            identity_resets::end_all(app, tx, ctx, key, (user, person.role()?), grant.basis()).await?;
            auth::end_sessions(tx, user, None, ctx.now).await?
        }
        _ => Vec::new(),
    };
    let mut data = json!({"user_id": user});
    let mut act = Act::done(act).object("user", user).about(person.role()?, user).by(grant.basis());
    if let Some(reason) = reason {
        data["reason"] = json!(reason);
        act = act.object("reason", reason);
    }
    outbox::publish(tx, ctx.tenant, vec![Fact { topic, data }], ctx.now);
    app.audit(tx, ctx, key, act).await?;
    Ok((devices, touched.len()))
}

/// The act that gives somebody this status, and the topic of its fact.
fn names(to: &str) -> (&'static str, &'static str) {
    match to {
        SUSPENDED => ("suspend_user", "user.suspended"),
        _ => ("resume_user", "user.resumed"),
    }
}
