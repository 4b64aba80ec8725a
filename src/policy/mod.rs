//! The clinic's rules: Cedar policies decide, and a decision to allow is a [`Grant`] the capabilities ask for.
//!
//! `policies/` holds the rules, one a file, and the schema of what they may speak of. [`facts`] says, for each
//! act, which facts of the database a decision needs; loading them is the work of the capability's own
//! `authorize_*` function. A decision is pure: no clock, no database. What no rule permits is denied, and what
//! any rule forbids is denied whatever permits it.

pub mod cases;
mod decision;
pub mod domain;
mod engine;
pub mod facts;
mod grant;
mod in_force;
mod question;
pub mod source;

pub use decision::sign;
pub use engine::{DEFAULT_DENY, Looked, Policy, Verdict};
pub use facts::{Decide, Person};
pub use grant::*;
pub use in_force::{InForce, Reloaded};
pub use question::{Fact, Object, Question, Subject};

use crate::{App, Ctx, Error, Result};
use sigilo_wire::UserId;

/// The grant to manage the caller's own account, devices and keys.
///
/// # Errors
/// As [`own`].
pub fn own_account(app: &App, ctx: &Ctx) -> Result<Grant<ManageOwnAccount>> {
    own::<ManageOwnAccount>(app, ctx)
}

/// The grant to do something with what is the caller's own: no facts are needed but who asks.
///
/// # Errors
/// `unauthenticated` when the caller is not a person, `forbidden` when a rule says so.
pub fn own<A: Decide<Facts = facts::OwnAccount>>(app: &App, ctx: &Ctx) -> Result<Grant<A>> {
    app.policy.decide::<A>(ctx, &facts::OwnAccount::of(ctx)?)
}

/// Passes a decision on; when it is a denial, the audit log gets an entry first. `patient` is whom it concerns.
///
/// # Errors
/// The decision's own, or the database's.
pub async fn audited<A: Decide>(
    app: &App,
    ctx: &Ctx,
    decision: Result<Grant<A>>,
    patient: Option<UserId>,
    objects: &[(&'static str, String)],
) -> Result<Grant<A>> {
    match decision {
        Err(Error::Denied(mut denial)) => {
            let leaf = decision::note(app, ctx, (A::NAME, &denial), patient, objects).await?;
            if let Some(refused) = &mut denial.refused {
                refused.leaf = Some(leaf);
            }
            Err(Error::Denied(denial))
        }
        decision => decision,
    }
}
