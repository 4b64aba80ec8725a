//! A new identity for a person whose devices are lost.
//!
//! Whoever gets one becomes that person to everybody who does not compare safety numbers, so no one alone can give it:
//! one admin or compliance officer asks, another approves, an admin is among the two, neither is the person, and both
//! prove who they are. The approval makes an invitation. The person's devices are told at both steps, in case they are
//! not lost; activating the invitation ends them, and lets one identity key come without the old one's signature.

mod approve;
mod ask;
mod cancel;
pub(crate) mod store;

pub use approve::{approve, subject};
pub(crate) use ask::look;
pub use ask::{ask, authorize};
pub(super) use cancel::end_all;
pub use cancel::{cancel, cancel_own, open_subject};

use std::time::Duration;

use serde_json::json;
use sigilo_wire::{
    DeviceId, IdentityResetId, Timestamp, UserId,
    event::{EventType, IdentityReset, ResetStage},
};

use crate::{
    Ctx, Error, Result,
    outbox::{self, DeviceEvent, EventBody, Fact},
    storage::Tx,
};

/// How long a device that was activated by a reset may take to publish the new identity key.
pub const IDENTITY_KEY_WAIT: Duration = Duration::from_hours(24);

/// How long what was asked for waits for its approval.
pub const RESET_LIFE: Duration = Duration::from_hours(24);

/// Tells the person's devices, and whoever sends word by another channel, how far a reset has come. Gives the devices
/// to wake after the commit.
async fn tell(
    tx: &mut Tx,
    ctx: &Ctx,
    (reset, user): (IdentityResetId, UserId),
    stage: ResetStage,
    expires_at: Timestamp,
) -> Result<Vec<DeviceId>> {
    let told = IdentityReset { user_id: user, reset_id: reset, stage, expires_at };
    let data = serde_json::to_value(&told).map_err(Error::internal)?;
    let devices = store::messaging_devices(tx, user).await?;
    let event = |device: &DeviceId| DeviceEvent {
        device: *device,
        r#type: EventType::IdentityReset,
        conversation: None,
        sender: ctx.caller().ok().map(|caller| caller.user_id),
        body: EventBody::Data(data.clone()),
    };
    outbox::enqueue(tx, devices.iter().map(event).collect(), ctx.now);
    let topic = match stage {
        ResetStage::Asked => "identity.reset_asked",
        ResetStage::Approved => "identity.reset_approved",
        ResetStage::Cancelled => "identity.reset_cancelled",
    };
    let fact = Fact { topic, data: json!({"user_id": user, "reset_id": reset}) };
    outbox::publish(tx, ctx.tenant, vec![fact], ctx.now);
    Ok(devices)
}
