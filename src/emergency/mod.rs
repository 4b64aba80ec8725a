//! The emergency channel: a patient reaches the clinicians on call at any hour.
//!
//! Staff keep a roster of shifts, each of a tier. Opening an emergency makes a conversation of the patient and everybody
//! who is on call at that moment, of all tiers; the patient's device seals and encrypts for all of them at once. Who is
//! of a tier that was not called yet is a participant with the status `withheld`: the conversation is not there for
//! them, and the relay keeps their envelopes back. Calling the tier makes them participants and their envelopes events,
//! in one transaction, under the conversation's lock and with a new version of its facts: a message is either kept back
//! before it, or sent to them after it. If nobody acknowledges in time, [`keep_escalating`] calls the next tier.
//! Staff are told that there is an emergency; they never take part.

mod call;
mod escalate;
mod open;
mod roster;
mod show;
mod steps;
pub(crate) mod store;

pub use escalate::{escalate_due, keep_escalating};
pub use open::{authorize_open, open};
pub use roster::{add_shift, authorize_manage, on_call, remove_shift, roster, set_escalation};
pub use show::{list, show};
pub(crate) use steps::step_out;
pub use steps::{acknowledge, authorize_handle, close, escalate};
pub(crate) use store::{Withheld, abandon, add_withheld};

use sigilo_wire::UserId;

use crate::{
    Ctx, Result,
    storage::{Db, Tx},
};

/// Whether somebody takes part in an emergency that is open.
pub(crate) async fn is_in_one(db: &Db, user: UserId) -> Result<bool> {
    let mut tx = db.read("emergency_is_in_one").await?;
    store::is_in_one(&mut tx, user).await
}

/// Whether emergencies need this person now: they take part in an open one, or are on call.
pub(crate) async fn is_needed(tx: &mut Tx, ctx: &Ctx, user: UserId) -> Result<bool> {
    let shifts = store::shifts(tx, ctx.tenant, ctx.now).await?;
    let on_call = on_call(&shifts, ctx.now).iter().any(|member| member.user_id == user);
    Ok(on_call || store::is_in_one(tx, user).await?)
}

/// How long each tier has to acknowledge when the clinic has not said otherwise.
pub const ESCALATE_AFTER_S: u32 = 300;
/// How many tiers there may be.
pub const MAX_TIERS: u32 = 5;
/// How often a patient opens emergencies within 24 hours before the next is flagged for review.
pub const UNFLAGGED: i64 = 3;
