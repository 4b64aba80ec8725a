//! Taking a message that waits for the opening.

use std::sync::Arc;

use serde_json::json;
use sigilo_wire::{
    ConversationId,
    message::{DeliveryStatus, Held, SendMessage},
};

use super::{
    super::{
        plan::{self, Target, Verdict},
        store as relay_store,
        submit::{self, Decided, Submission},
    },
    MAX_HELD, MAX_HELD_BYTES, look_at, note,
    store::{self, HeldRow},
};
use crate::{App, Ctx, Error, Result, audit::Act, conversations};

/// Holds a message that only the hour stands against: everything else is decided and checked now, and again when it
/// is released.
///
/// # Errors
/// Those of a send; the rules' word when more than the hour stands against it, or when no opening is in sight;
/// `rate_limited` when [`MAX_HELD`] or [`MAX_HELD_BYTES`] wait already.
pub(in crate::relay) async fn hold(
    app: &App,
    ctx: &Ctx,
    conversation: ConversationId,
    message: Arc<SendMessage>,
) -> Result<Held> {
    let allowed = conversations::authorize_hold(app, ctx, conversation).await?;
    let Some((basis, snapshot, release_at)) = allowed else { return Err(submit::facts_changed()) };
    let decided = Decided { basis, snapshot, held: None };
    let submission = submit::prepare(app, ctx, conversation, message, decided).await?;
    let row = row(app, &submission, release_at);
    let plain = serde_json::to_vec(&*submission.message).map_err(Error::internal)?;
    let request = submission.data_key.seal("held", row.message_id.as_bytes(), &plain, &*app.entropy)?;

    let mut tx = app.db.begin("relay_hold").await?;
    let mut state = relay_store::load(&mut tx, &app.relay_memory, &[&submission], true).await?;
    let chains = state.chains.entry(conversation).or_default();
    let accepted = chains.get(&row.device_id).map_or(0, |chain| chain.device_seq);
    let mut waiting = store::of_device(&mut tx, conversation, row.device_id).await?;
    // What the device has gone past while it was open is not of the queue any more: the next look takes it away.
    waiting.retain(|held| held.device_seq > accepted);
    if let Some(known) = waiting.iter().find(|held| held.client_message_id == row.client_message_id) {
        let same = known.commitment == row.commitment && known.signature == row.signature;
        return if same { Ok(answer(known)) } else { Err(plan::other_message()) };
    }
    let too_much = |details| {
        let retry_after_s = release_at.since(ctx.now).as_secs().max(1);
        Err(Error::RateLimited { retry_after_s, details })
    };
    if waiting.len() >= MAX_HELD {
        return too_much(json!({"limit": MAX_HELD}));
    }
    if store::bytes_of_device(&mut tx, row.device_id).await? + request.len() > MAX_HELD_BYTES {
        return too_much(json!({"limit_bytes": MAX_HELD_BYTES}));
    }
    // It continues what waits, and may be about it.
    if let Some(last) = waiting.last() {
        state.chains.entry(conversation).or_default().insert(row.device_id, last.chain()?);
    }
    for held in &waiting {
        if let Some(commitment) = held.chain()?.commitment {
            let target = Target { conversation, sender: held.sender_id };
            state.targets.entry(commitment).or_default().push(target);
        }
    }
    match plan::plan(&mut state, &[&submission], row.held_at).pop() {
        Some(Verdict::Accept { .. }) => {}
        Some(Verdict::Refuse(error)) => return Err(error),
        // Somebody has stored it meanwhile: whoever asks again hears of it.
        _ => return Err(submit::facts_changed()),
    }
    if !store::insert(&mut tx, &row, &request, look_at(release_at, row.held_at)).await? {
        return Err(plan::other_message());
    }
    let act = Act::done("hold_message").patient(submission.snapshot.patient()).by(&submission.basis);
    note(app, &mut tx, ctx, &submission.data_key, (&row, act))?;
    tx.commit().await?;
    Ok(answer(&row))
}

fn row(app: &App, submission: &Submission, release_at: sigilo_wire::Timestamp) -> HeldRow {
    let message = &submission.message;
    HeldRow {
        message_id: submission.message_id,
        tenant_id: submission.tenant,
        conversation_id: submission.conversation,
        sender_id: submission.sender.user_id,
        device_id: submission.sender.device_id,
        device_number: submission.device,
        client_message_id: message.client_message_id,
        // The shape check has bounded it.
        device_seq: i64::try_from(message.device_seq).unwrap_or(i64::MAX),
        commitment: message.commitment.0.to_vec(),
        signature: message.signature.0.to_vec(),
        data_key_id: submission.data_key.id,
        held_at: app.clock.now(),
        release_at,
        role: submission.sender.role.as_str().to_owned(),
    }
}

fn answer(row: &HeldRow) -> Held {
    Held {
        message_id: row.message_id,
        delivery_status: DeliveryStatus::Held,
        held_at: row.held_at,
        release_at: row.release_at,
    }
}
