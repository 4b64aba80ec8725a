//! What the clinicians who were called do: acknowledge, call the next tier, close.

use serde_json::json;
use sigilo_wire::{
    ConversationId, DeviceId, ErrorCode, UserId,
    emergency::{Emergency, EmergencyOutcome, EmergencyState},
    event::EventType,
};

use super::{call, escalate::call_next, show, store};
use crate::{
    App, Ctx, Error, Result,
    audit::Act,
    conversations,
    policy::{Grant, HandleEmergency},
    storage::{Tx, keystore::DataKey},
};

/// The grant to handle an emergency.
///
/// # Errors
/// `not_found` when the caller does not take part (yet); `forbidden` to all but clinicians.
pub async fn authorize_handle(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Grant<HandleEmergency>> {
    conversations::authorize_handle(app, ctx, id).await
}

/// Somebody looks after it: no further tier is called by itself. Acknowledging again changes nothing.
///
/// # Errors
/// `already_settled` when it is closed.
pub async fn acknowledge(app: &App, ctx: &Ctx, grant: Grant<HandleEmergency>) -> Result<Emergency> {
    let id = *grant.resource();
    let caller = ctx.caller()?.user_id;
    let key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("emergency_acknowledge").await?;
    if !store::move_on(&mut tx, id, ctx.now).await? {
        return Err(settled(&show::current(&mut tx, ctx, id).await?));
    }
    if !store::acknowledge(&mut tx, id, caller, ctx.now).await? {
        return show::current(&mut tx, ctx, id).await;
    }
    let emergency = show::current(&mut tx, ctx, id).await?;
    let named = (EventType::EmergencyAcknowledged, "emergency.acknowledged");
    let devices = call::tell(&mut tx, ctx, &emergency, named, show::event(&emergency), false).await?;
    let act = Act::done("acknowledge_emergency")
        .object("conversation", id)
        .patient(Some(emergency.patient_id))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(emergency)
}

/// Calls the next tier now, also when somebody has acknowledged: more hands. `from` is the tier the caller knows to be
/// the last called, so that two who ask at once call one tier, not two.
///
/// # Errors
/// `already_settled` when it is closed or nobody is left to call.
pub async fn escalate(
    app: &App,
    ctx: &Ctx,
    grant: Grant<HandleEmergency>,
    from: Option<u32>,
) -> Result<Emergency> {
    let id = *grant.resource();
    let key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("emergency_escalate").await?;
    let open = store::move_on(&mut tx, id, ctx.now).await?;
    let before = show::current(&mut tx, ctx, id).await?;
    if !open {
        return Err(settled(&before));
    }
    if from.is_some_and(|tier| tier < before.tier) {
        return Ok(before);
    }
    if before.tier >= before.tiers {
        return Err(settled(&before));
    }
    let (emergency, devices) = call_next(app, &mut tx, ctx, &key, &before, Some(grant.basis())).await?;
    tx.commit().await?;
    app.limits.clinics.emergency_called();
    app.hub.wake(&devices);
    Ok(emergency)
}

/// It is over. Nothing and nobody new from then on; tiers that were not called never see it.
///
/// # Errors
/// `already_settled` when it was closed before.
pub async fn close(
    app: &App,
    ctx: &Ctx,
    grant: Grant<HandleEmergency>,
    outcome: EmergencyOutcome,
) -> Result<Emergency> {
    let id = *grant.resource();
    let caller = ctx.caller()?.user_id;
    let key = app.conversation_key(ctx, id).await?;
    let mut tx = app.db.begin("emergency_close").await?;
    if !store::move_on(&mut tx, id, ctx.now).await? {
        return Err(settled(&show::current(&mut tx, ctx, id).await?));
    }
    store::close(&mut tx, id, caller, outcome.as_str(), ctx.now).await?;
    let emergency = show::current(&mut tx, ctx, id).await?;
    let mut devices = conversations::conversation_updated(&mut tx, ctx, id, "closed").await?;
    let named = (EventType::EmergencyClosed, "emergency.closed");
    devices.extend(call::tell(&mut tx, ctx, &emergency, named, show::event(&emergency), false).await?);
    let act = Act::done("close_emergency")
        .object("conversation", id)
        .object("outcome", outcome)
        .patient(Some(emergency.patient_id))
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    app.hub.wake(&devices);
    Ok(emergency)
}

/// A clinician has another identity from now on: nothing can be sealed for them until they have signed a manifest and
/// the others have confirmed who they are, and nobody who calls for help is to wait for that. They leave their open
/// emergencies, whether called or not; what they alone looked after is the next tier's. Call it in the transaction that
/// holds their conversations. Gives the devices to wake after the commit.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn step_out(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    key: &DataKey,
    clinician: UserId,
) -> Result<Vec<DeviceId>> {
    store::abandon(tx, clinician, ctx.now).await?;
    let mut devices = Vec::new();
    for (conversation, called) in store::step_out(tx, clinician, ctx.now).await? {
        devices.extend(if called {
            conversations::participant_changed(tx, ctx, conversation, &[], &[clinician]).await?
        } else {
            // Whoever was not called never hears of it.
            conversations::conversation_updated(tx, ctx, conversation, "participants").await?
        });
        let act = Act::done("leave_emergency")
            .object("conversation", conversation)
            .object("clinician", clinician)
            .object("cause", "identity_changed")
            .patient(Some(show::current(tx, ctx, conversation).await?.patient_id));
        app.audit(tx, ctx, key, act).await?;
    }
    Ok(devices)
}

fn settled(emergency: &Emergency) -> Error {
    let Emergency { state, tier, tiers, .. } = emergency;
    let problem = match state {
        EmergencyState::Closed => "it is closed",
        _ => "nobody is left to call",
    };
    let details = json!({"state": state, "tier": tier, "tiers": tiers, "problem": problem});
    Error::conflict(ErrorCode::AlreadySettled, details)
}
