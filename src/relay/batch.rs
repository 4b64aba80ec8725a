//! One transaction of the writer: read what the batch depends on, decide, write many rows a statement, commit.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use sigilo_wire::{
    Base64Array, ConversationId, DeviceId, TenantId, Timestamp,
    event::{Envelope, EventType},
    message::{Accepted, Receipt},
};

use super::{
    deliver::{self, Acknowledgement},
    plan::{self, Verdict},
    store::{self, MessageRow},
    submit::Submission,
    writer::Job,
};
use crate::{
    App, Error, Result,
    audit::{self, Act, Prepared, hex},
    outbox::{self, DeviceEvent, EventBody, Fact},
    storage::Tx,
};

/// What a committed batch answers, in the order of its jobs, and whom to wake.
pub(super) struct Outcome {
    sends: Vec<Result<Accepted>>,
    wake: Vec<DeviceId>,
}

/// What the accepted messages of a batch write.
#[derive(Default)]
struct Writes {
    messages: Vec<MessageRow>,
    events: Vec<DeviceEvent>,
    audit: BTreeMap<TenantId, Vec<Prepared>>,
    facts: BTreeMap<TenantId, Vec<Fact>>,
}

/// Runs a batch in one transaction and commits it.
pub(super) async fn commit(app: &App, jobs: &[Job]) -> Result<Outcome> {
    let sends: Vec<&Submission> = jobs
        .iter()
        .filter_map(|job| match job {
            Job::Send(submission, _) => Some(&**submission),
            Job::Acknowledge(_) => None,
        })
        .collect();
    let acks: Vec<&Acknowledgement> = jobs
        .iter()
        .filter_map(|job| match job {
            Job::Acknowledge(ack) => Some(ack),
            Job::Send(..) => None,
        })
        .collect();
    let now = app.clock.now();
    let mut tx = app.db.begin("relay_batch").await?;
    let mut writes = Writes::default();
    let sends = accept(app, &mut tx, &sends, now, &mut writes).await?;
    writes.events.extend(deliver::take_acknowledgements(&mut tx, &acks, now).await?);
    let wake = writes.events.iter().map(|event| event.device).collect();
    write(&mut tx, writes, now).await?;
    tx.commit().await?;
    Ok(Outcome { sends, wake })
}

/// Decides on the messages and gathers what the accepted ones write.
async fn accept(
    app: &App,
    tx: &mut Tx,
    sends: &[&Submission],
    now: Timestamp,
    writes: &mut Writes,
) -> Result<Vec<Result<Accepted>>> {
    if sends.is_empty() {
        return Ok(Vec::new());
    }
    let mut state = store::load(tx, sends).await?;
    let before: HashMap<ConversationId, i64> =
        state.conversations.iter().map(|(id, c)| (*id, c.last_seq)).collect();
    let verdicts = plan::plan(&mut state, sends, now);
    let mut answers: Vec<Result<Accepted>> = Vec::with_capacity(sends.len());
    for (submission, verdict) in sends.iter().zip(verdicts) {
        let answer = match verdict {
            Verdict::Refuse(error) => Err(error),
            Verdict::Repeat(accepted) => Ok(accepted),
            Verdict::RepeatOf(earlier) => match answers.get(earlier) {
                Some(Ok(accepted)) => Ok(accepted.clone()),
                _ => Err(Error::internal("a repeated message lost its first answer")),
            },
            Verdict::Accept { conversation_seq, patient, recipients } => {
                let entry = audit_entry(app, submission, conversation_seq, patient, now)?;
                let accepted = receipt(submission, conversation_seq, now, entry.leaf);
                gather(submission, &accepted, entry, &recipients, writes);
                Ok(accepted)
            }
        };
        answers.push(answer);
    }
    store::advance(tx, &state, &before, sends, now).await?;
    Ok(answers)
}

fn audit_entry(
    app: &App,
    submission: &Submission,
    conversation_seq: i64,
    patient: Option<sigilo_wire::UserId>,
    now: Timestamp,
) -> Result<Prepared> {
    let act = Act::done("send_message")
        .patient(patient)
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
    writes: &mut Writes,
) {
    for (envelope, device) in submission.message.envelopes.iter().zip(recipients) {
        writes.events.push(DeviceEvent {
            device: *device,
            r#type: EventType::NewMessage,
            conversation: Some(submission.conversation),
            sender: Some(submission.sender.user_id),
            body: EventBody::Message(
                accepted.message_id,
                Some(Envelope { r#type: envelope.r#type, content: envelope.content.clone() }),
            ),
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
            "urgent": submission.message.urgent,
        }),
    });
    writes.audit.entry(submission.tenant).or_default().push(entry);
    writes.messages.push(MessageRow::of(submission, accepted));
}

async fn write(tx: &mut Tx, writes: Writes, now: Timestamp) -> Result<()> {
    store::insert_messages(tx, &writes.messages).await?;
    outbox::enqueue(tx, &writes.events, now).await?;
    for (tenant, entries) in &writes.audit {
        audit::write(tx, *tenant, entries).await?;
    }
    for (tenant, facts) in &writes.facts {
        outbox::publish(tx, *tenant, facts, now).await?;
    }
    Ok(())
}

/// Answers the jobs of a committed batch and wakes the devices that got something.
pub(super) fn answer(app: &App, jobs: Vec<Job>, outcome: Outcome) {
    let mut sends = outcome.sends.into_iter();
    for job in jobs {
        if let Job::Send(_, caller) = job {
            let answer = sends.next().unwrap_or_else(|| Err(Error::internal("a message lost its answer")));
            // A caller that has gone away is not told; what it sent is stored all the same.
            let _ = caller.send(answer);
        }
    }
    app.hub.wake(&outcome.wake);
}

/// Tells the callers of a batch that was not committed.
pub(super) fn fail(jobs: Vec<Job>, error: &Error) {
    tracing::error!(%error, jobs = jobs.len(), "a batch of the relay was not stored");
    for job in jobs {
        let error = match error {
            Error::Unavailable(what) => Error::Unavailable(what.clone()),
            other => Error::internal(other),
        };
        if let Job::Send(_, caller) = job {
            let _ = caller.send(Err(error));
        }
    }
}
