//! One transaction of the writer: read what the batch depends on, decide, write many rows a statement, commit.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::json;
use sigilo_wire::{
    Base64Array, ConversationId, DeviceId, MessageId, TenantId, Timestamp,
    event::{Envelope, EventType},
    message::{Accepted, Message, Receipt},
};

use super::{
    attachments::{self, Files},
    deliver::{self, Acknowledgement, QueuedFrame},
    frame::{EventData, EventFrame},
    held,
    plan::{self, State, Verdict},
    render,
    store::{self, MessageRow},
    submit::{Submission, is_facts_changed},
    writer::Sending,
};
use crate::{
    App, Error, Result,
    audit::{self, Act, Prepared, hex},
    emergency::{self, Withheld},
    outbox::{self, DeviceEvent, EventBody, Fact},
    storage::{
        Tx,
        script::Script,
        sequences::{self, Sequences},
    },
};

/// What a committed batch answers, in the order of its sends, and what its devices get.
pub(super) struct Outcome {
    answers: Vec<Result<Accepted>>,
    news: Vec<(DeviceId, QueuedFrame)>,
}

/// What the accepted messages of a batch write.
#[derive(Default)]
struct Writes {
    messages: Vec<MessageRow>,
    /// The same messages, as their recipients see them.
    shown: HashMap<MessageId, Arc<Message>>,
    events: Vec<DeviceEvent>,
    /// Envelopes for people of an emergency who were not called yet.
    withheld: Vec<Withheld>,
    audit: BTreeMap<TenantId, Vec<Prepared>>,
    facts: BTreeMap<TenantId, Vec<Fact>>,
    moved: BTreeSet<(ConversationId, DeviceId)>,
    /// Those that were held until now.
    released: BTreeSet<MessageId>,
}

/// Runs a batch in one transaction and commits it.
///
/// That a message's name and commitment are free is left to the insert, unless `careful`: almost always they
/// are. `None` when they are not: nothing was written, and the batch wants care.
pub(super) async fn commit(
    app: &App,
    sends: &[&Submission],
    acks: &[&Acknowledgement],
    careful: bool,
) -> Result<Option<Outcome>> {
    let now = app.clock.now();
    let mut tx = app.db.begin("relay_batch").await?;
    let mut writes = Writes::default();
    let mut state = State::default();
    let mut answers = Vec::new();
    if !sends.is_empty() {
        state = store::load(&mut tx, &app.relay_memory, sends, careful).await?;
        let mut verdicts = plan::plan(&mut state, sends, now);
        if !careful {
            recall(&mut tx, sends, &mut verdicts).await?;
        }
        answers = judge(app, sends, verdicts, &state.files, now, &mut writes)?;
        writes.released = no_longer_held(&state, sends, &answers);
    }
    writes.events.extend(deliver::take_acknowledgements(&mut tx, acks, now).await?);
    let Some(places) = write(&mut tx, &state, &writes, now).await? else { return Ok(None) };
    if let Err(error) = tx.commit().await {
        // It may have been committed all the same; looking in vain costs a read.
        let devices: Vec<DeviceId> = writes.events.iter().map(|event| event.device).collect();
        app.hub.wake(&devices);
        return Err(error);
    }
    app.relay_memory.keep_chains(state);
    Ok(Some(Outcome { answers, news: news(writes, places, now) }))
}

/// Gives messages that were refused, but are stored already, their first answer: one that comes again no longer
/// continues its chain.
async fn recall(tx: &mut Tx, sends: &[&Submission], verdicts: &mut [Verdict]) -> Result<()> {
    let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refuse(error) if !is_facts_changed(error));
    let again = sends.iter().zip(verdicts.iter()).filter(|(_, verdict)| refused(verdict));
    let names = again.map(|(submission, _)| submission.message.client_message_id).collect();
    let stored = store::stored_as(tx, names).await?;
    for (submission, verdict) in sends.iter().zip(verdicts).filter(|(_, verdict)| refused(verdict)) {
        let name = (submission.sender.device_id, submission.message.client_message_id);
        if let Some(stored) = stored.get(&name) {
            let answer = stored.repeat(submission.conversation, &submission.message);
            *verdict = answer.map_or_else(Verdict::Refuse, Verdict::Repeat);
        }
    }
    Ok(())
}

/// Answers the verdicts and gathers what the accepted messages write.
fn judge(
    app: &App,
    sends: &[&Submission],
    verdicts: Vec<Verdict>,
    files: &Files,
    now: Timestamp,
    writes: &mut Writes,
) -> Result<Vec<Result<Accepted>>> {
    let mut answers: Vec<Result<Accepted>> = Vec::with_capacity(sends.len());
    for (submission, verdict) in sends.iter().zip(verdicts) {
        let answer = match verdict {
            Verdict::Refuse(error) => {
                if is_facts_changed(&error) {
                    app.snapshots.forget(submission.conversation);
                }
                Err(error)
            }
            Verdict::Repeat(accepted) => Ok(accepted),
            Verdict::RepeatOf(earlier) => match answers.get(earlier) {
                Some(Ok(accepted)) => Ok(accepted.clone()),
                _ => Err(Error::internal("a repeated message lost its first answer")),
            },
            Verdict::Accept { conversation_seq, recipients } => {
                let entry = audit_entry(app, submission, conversation_seq, now)?;
                let accepted = receipt(submission, conversation_seq, now, entry.leaf);
                gather(submission, &accepted, entry, &recipients, files, writes)?;
                Ok(accepted)
            }
        };
        answers.push(answer);
    }
    Ok(answers)
}

/// Those of a batch's held messages that are stored now, or were before: one that was sent again once its conversation
/// was open was stored without its row being looked at.
fn no_longer_held(state: &State, sends: &[&Submission], answers: &[Result<Accepted>]) -> BTreeSet<MessageId> {
    let stored = sends.iter().zip(answers).filter(|(submission, answer)| submission.held && answer.is_ok());
    // A row that is gone already would count as one that could not be written.
    stored.map(|(submission, _)| submission.message_id).filter(|id| state.held.contains(id)).collect()
}

/// The stored events with their places, as sockets send them.
fn news(writes: Writes, places: Vec<i64>, now: Timestamp) -> Vec<(DeviceId, QueuedFrame)> {
    let frame = |event: DeviceEvent, seq| {
        let data = match event.body {
            EventBody::Data(data) => EventData::Other(data),
            EventBody::Message(id, envelope) => {
                EventData::Message(Arc::clone(writes.shown.get(&id)?), envelope)
            }
        };
        let frame = EventFrame {
            r#type: event.r#type,
            data,
            timestamp: now,
            conversation_id: event.conversation,
            sender_id: event.sender,
            event_id: deliver::event_id(seq),
        };
        Some((event.device, QueuedFrame { seq, frame }))
    };
    writes.events.into_iter().zip(places).filter_map(|(event, seq)| frame(event, seq)).collect()
}

fn audit_entry(
    app: &App,
    submission: &Submission,
    conversation_seq: i64,
    now: Timestamp,
) -> Result<Prepared> {
    let act = Act::done("send_message")
        .patient(submission.snapshot.patient())
        .object("conversation", submission.conversation)
        .object("message", submission.message_id)
        .object("seq", conversation_seq)
        .object("commitment", hex(&submission.message.commitment.0))
        .object("signature_sha256", hex(&submission.hashes.signature))
        .object("wrapped_key_sha256", hex(&submission.hashes.wrapped_key))
        .by(&submission.basis);
    let ctx = crate::Ctx { now, ..submission.ctx.clone() };
    audit::prepare(&ctx, &act, &submission.data_key, None, &*app.entropy)
}

/// Signs the receipt of an accepted message.
fn receipt(submission: &Submission, conversation_seq: i64, now: Timestamp, leaf: [u8; 32]) -> Accepted {
    let statement = sigilo_seal::Receipt {
        tenant: submission.tenant,
        conversation: submission.conversation,
        conversation_seq: u64::try_from(conversation_seq).unwrap_or(0),
        message_id: submission.message_id,
        commitment: submission.message.commitment.into(),
        signature_sha256: submission.hashes.signature,
        wrapped_key_sha256: submission.hashes.wrapped_key,
        received_at: now,
        audit_leaf: leaf,
        policies: submission.basis.policies.to_vec(),
        policy_set_hash: submission.basis.policy_set,
    };
    Accepted {
        message_id: submission.message_id,
        conversation_seq,
        received_at: now,
        receipt: Receipt {
            audit_leaf: Base64Array(leaf),
            signature: Base64Array(statement.sign(&submission.receipt_key.secret)),
            policies: statement.policies,
            policy_set: Base64Array(statement.policy_set_hash),
            key_id: submission.receipt_key.key_id.into(),
        },
    }
}

fn gather(
    submission: &Submission,
    accepted: &Accepted,
    entry: Prepared,
    recipients: &[DeviceId],
    files: &Files,
    writes: &mut Writes,
) -> Result<()> {
    for (envelope, device) in submission.message.envelopes.iter().zip(recipients) {
        if submission.snapshot.withholds(*device) {
            writes.withheld.push(Withheld {
                device: *device,
                message: accepted.message_id,
                conversation: submission.conversation,
                envelope: Envelope { r#type: envelope.r#type, content: envelope.content.clone() },
            });
            continue;
        }
        writes.events.push(DeviceEvent {
            device: *device,
            r#type: EventType::of_message(submission.message.message_type),
            conversation: Some(submission.conversation),
            sender: Some(submission.sender.user_id),
            body: EventBody::Message(
                accepted.message_id,
                Some(Envelope { r#type: envelope.r#type, content: envelope.content.clone() }),
            ),
        });
    }
    if submission.held {
        // The device that wrote it has no other answer.
        writes.events.push(DeviceEvent {
            device: submission.sender.device_id,
            r#type: EventType::of_message(submission.message.message_type),
            conversation: Some(submission.conversation),
            sender: Some(submission.sender.user_id),
            body: EventBody::Message(accepted.message_id, None),
        });
    }
    writes.facts.entry(submission.tenant).or_default().push(Fact {
        topic: "message.accepted",
        data: json!({
            "message_id": accepted.message_id,
            "conversation_id": submission.conversation,
            "conversation_seq": accepted.conversation_seq,
            "sender_id": submission.sender.user_id,
            "message_type": submission.message.message_type,
            "priority": submission.message.priority,
            "urgent": submission.message.urgent || submission.snapshot.is_emergency(),
        }),
    });
    writes.audit.entry(submission.tenant).or_default().push(entry);
    writes.moved.insert((submission.conversation, submission.sender.device_id));
    let attachments = &submission.message.attachments;
    let shown = render::accepted(submission, accepted, attachments::accepted(files, attachments)?);
    writes.shown.insert(accepted.message_id, Arc::new(shown));
    writes.messages.push(MessageRow::of(submission, accepted, attachments::column(files, attachments)?));
    Ok(())
}

/// Writes it all; gives the places of the events, or `None` when a message's name or commitment is taken.
async fn write(tx: &mut Tx, state: &State, writes: &Writes, now: Timestamp) -> Result<Option<Vec<i64>>> {
    let count = |length: usize| i64::try_from(length).map_err(Error::internal);
    let mut needs = Vec::with_capacity(writes.audit.len());
    for (tenant, entries) in &writes.audit {
        let facts = writes.facts.get(tenant).map_or(0, Vec::len);
        needs.push((*tenant, Sequences { audit: count(entries.len())?, outbox: count(facts)? }));
    }
    let reserved = sequences::reserve(tx, &needs, &outbox::needed_places(&writes.events)).await?;
    let places = outbox::places(&writes.events, &reserved)?;
    let mut script = Script::new(tx, 5 * writes.messages.len() + writes.events.len() + writes.withheld.len());
    store::add_messages(&mut script, &writes.messages)?;
    let released: Vec<_> = writes.released.iter().copied().collect();
    held::store::released(&mut script, &released)?;
    let moved: Vec<_> = writes.moved.iter().copied().collect();
    store::advance(&mut script, state, &moved, now)?;
    outbox::add_events(&mut script, &writes.events, &places, now)?;
    emergency::add_withheld(&mut script, &writes.withheld)?;
    let (mut entries, mut facts) = (Vec::new(), Vec::new());
    for (tenant, first) in &reserved.numbers {
        entries.extend((first.audit..).zip(writes.audit.get(tenant).into_iter().flatten()));
        let of_clinic = (first.outbox..).zip(writes.facts.get(tenant).into_iter().flatten());
        facts.extend(of_clinic.map(|(seq, fact)| (*tenant, seq, fact)));
    }
    audit::add(&mut script, &entries)?;
    outbox::add_facts(&mut script, &facts, now)?;
    Ok(script.run(tx).await?.then_some(places))
}

/// Answers the senders of a committed batch and hands its devices what they got.
pub(super) fn answer(app: &App, sends: Vec<Sending>, outcome: Outcome) {
    for (sending, answer) in sends.into_iter().zip(outcome.answers) {
        // A caller that has gone away is not told; what it sent is stored all the same.
        let _ = sending.answer.send(answer);
    }
    for (device, event) in outcome.news {
        app.hub.push(device, event.frame.conversation_id, || event.clone());
    }
}

/// Tells the senders of a batch that was not committed.
pub(super) fn fail(sends: Vec<Sending>, error: &Error) {
    tracing::error!(%error, sends = sends.len(), "a batch of the relay was not stored");
    for sending in sends {
        let error = match error {
            Error::Unavailable(what) => Error::Unavailable(what.clone()),
            other => Error::internal(other),
        };
        let _ = sending.answer.send(Err(error));
    }
}
