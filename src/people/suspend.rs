//! Suspending an account, and its return.

use serde::Serialize;
use serde_json::json;
use sigilo_wire::UserId;

use super::{identity_resets, store};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth, conversations, emergency,
    outbox::{self, Fact},
    policy::{Grant, ManagePeople},
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
    let (act, topic) = match to {
        SUSPENDED => ("suspend_user", "user.suspended"),
        _ => ("resume_user", "user.resumed"),
    };
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin(act).await?;
    let person = store::lock_user(&mut tx, ctx.tenant, user).await?.ok_or(Error::NotFound)?;
    if person.status == to {
        return Ok(StatusChange { user_id: user, status: to, changed: false, devices: 0, conversations: 0 });
    }
    if person.status != from {
        return Err(Error::field("user", "this person has no account yet"));
    }
    store::set_status(&mut tx, user, to).await?;
    let touched = conversations::facts_changed_of(&mut tx, user).await?;
    let devices = match to {
        SUSPENDED => {
            emergency::abandon(&mut tx, user, ctx.now).await?;
            // An invitation to a new identity would be good again after the suspension, in whosever hands it is.
            let of = (user, person.role()?);
            identity_resets::end_all(app, &mut tx, ctx, &key, of, grant.basis()).await?;
            auth::end_sessions(&mut tx, user, None, ctx.now).await?
        }
        _ => Vec::new(),
    };
    outbox::publish(&mut tx, ctx.tenant, vec![Fact { topic, data: json!({"user_id": user}) }], ctx.now);
    let act = Act::done(act).object("user", user).about(person.role()?, user).by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    for device in &devices {
        auth::cut_off(app, *device);
    }
    Ok(StatusChange {
        user_id: user,
        status: to,
        changed: true,
        devices: devices.len(),
        conversations: touched.len(),
    })
}
