//! Which messages of a batch are accepted: a pure function of the messages and of what the transaction read.
//!
//! Everything a message's acceptance depends on is compared here, inside the transaction that stores it, so
//! that nothing can change between the check and the commit.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{
    Base64Array, ConversationId, DeviceId, DeviceNumber, ErrorCode, MessageId, SealId, TenantId, Timestamp,
    UserId,
    conflict::{ChainState, DeviceMismatch, DeviceRef, SealStale},
    message::{Accepted, MessageKind, Receipt, SendMessage},
};

use super::{
    KEY_LIFETIME, SEAL_LIFETIME,
    attachments::{self, Files},
    submit::Submission,
};
use crate::{Error, Result, conversations::Device};

/// A conversation's row, locked for the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locked {
    pub tenant: TenantId,
    pub last_seq: i64,
    pub facts_version: i64,
}

/// A seal that a message of the batch names.
#[derive(Clone, Debug)]
pub(super) struct SealState {
    pub conversation: ConversationId,
    pub sender: UserId,
    pub device: DeviceNumber,
    pub recipients_digest: Vec<u8>,
    pub received_at: Timestamp,
}

/// The last accepted message of a device in a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub device_seq: i64,
    pub commitment: Option<[u8; 32]>,
}

/// A message stored earlier under the same name.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub conversation: ConversationId,
    pub commitment: Vec<u8>,
    pub signature: Vec<u8>,
    pub accepted: Accepted,
}

impl Stored {
    /// The first answer, when it is the same message; a conflict when another one stands under its name.
    pub(super) fn repeat(&self, conversation: ConversationId, message: &SendMessage) -> Result<Accepted> {
        let same = self.conversation == conversation
            && self.commitment == message.commitment.0
            && self.signature == message.signature.0;
        if same { Ok(self.accepted.clone()) } else { Err(other_message()) }
    }
}

/// Stored messages by device and name.
pub(super) type StoredNames = HashMap<(DeviceId, sigilo_wire::ClientMessageId), Stored>;

/// A message that others are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub conversation: ConversationId,
    pub sender: UserId,
}

/// What the transaction read for a batch.
#[derive(Debug, Default)]
pub(super) struct State {
    pub conversations: HashMap<ConversationId, Locked>,
    pub seals: HashMap<SealId, Arc<SealState>>,
    pub chains: HashMap<ConversationId, HashMap<DeviceId, Chain>>,
    pub stored: StoredNames,
    pub targets: HashMap<[u8; 32], Vec<Target>>,
    /// The files that messages of the batch name.
    pub files: Files,
    /// Those of the batch's held messages that are still held.
    pub held: HashSet<MessageId>,
}

/// What becomes of one message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is stored with this number; these devices get an envelope, in the order of the request.
    Accept { conversation_seq: i64, recipients: Vec<DeviceId> },
    /// It was stored before: the first answer again.
    Repeat(Accepted),
    /// The same message stands earlier in this batch, at this place.
    RepeatOf(usize),
    /// It is refused.
    Refuse(Error),
}

/// Decides on a batch in order of arrival. Accepted messages move the chains and sequences of `state`.
pub(super) fn plan(state: &mut State, batch: &[&Submission], now: Timestamp) -> Vec<Verdict> {
    let mut accepted_here: HashMap<(DeviceId, sigilo_wire::ClientMessageId), usize> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (place, submission) in batch.iter().enumerate() {
        let name = (submission.sender.device_id, submission.message.client_message_id);
        let verdict =
            match accepted_here.get(&name).and_then(|earlier| Some((*earlier, batch.get(*earlier)?))) {
                Some((earlier, first)) if same(first, submission) => Verdict::RepeatOf(earlier),
                Some(_) => Verdict::Refuse(other_message()),
                None => decide(state, submission, now).unwrap_or_else(Verdict::Refuse),
            };
        if matches!(verdict, Verdict::Accept { .. }) {
            accepted_here.insert(name, place);
        }
        verdicts.push(verdict);
    }
    verdicts
}

fn same(a: &Submission, b: &Submission) -> bool {
    a.conversation == b.conversation
        && a.message.commitment == b.message.commitment
        && a.message.signature == b.message.signature
}

pub(super) fn other_message() -> Error {
    Error::conflict(ErrorCode::IdempotencyConflict, json!({"field": "client_message_id"}))
}

fn decide(state: &mut State, submission: &Submission, now: Timestamp) -> Result<Verdict> {
    let message = &submission.message;
    if let Some(stored) = state.stored.get(&(submission.sender.device_id, message.client_message_id)) {
        return stored.repeat(submission.conversation, message).map(Verdict::Repeat);
    }
    let conversation = *state.conversations.get(&submission.conversation).ok_or(Error::NotFound)?;
    if conversation.tenant != submission.tenant {
        return Err(Error::NotFound);
    }
    // From here on the submission's snapshot is what the database says.
    if conversation.facts_version != submission.snapshot.facts_version() {
        return Err(super::submit::facts_changed());
    }
    if submission.held && !state.held.contains(&submission.message_id) {
        return Err(super::held::gone());
    }
    // ... but for what ended by the clock since the decision. `now` is the message's official time.
    if now >= submission.snapshot.until() {
        return Err(super::submit::facts_changed());
    }
    check_sender(submission, now)?;
    check_seal(state, submission, now)?;
    let recipients = check_devices(submission, now)?;
    check_target(state, submission)?;
    check_commitment(state, submission)?;
    attachments::check(&state.files, submission, now)?;

    let chains = state.chains.entry(submission.conversation).or_default();
    let chain = chains.entry(submission.sender.device_id).or_default();
    let continues = i64::try_from(message.device_seq).ok() == chain.device_seq.checked_add(1)
        && message.prev_commitment.map(|c| c.0) == chain.commitment;
    if !continues {
        let state = ChainState {
            device_seq: u64::try_from(chain.device_seq).unwrap_or(0),
            commitment: chain.commitment.map(Base64Array),
        };
        return Err(conflict(ErrorCode::ChainGap, &state));
    }
    chain.device_seq += 1;
    chain.commitment = Some(message.commitment.0);
    // Later messages of the batch may be about this one.
    let target = Target { conversation: submission.conversation, sender: submission.sender.user_id };
    state.targets.entry(message.commitment.0).or_default().push(target);

    let conversation = state.conversations.get_mut(&submission.conversation).ok_or(Error::NotFound)?;
    conversation.last_seq += 1;
    Ok(Verdict::Accept { conversation_seq: conversation.last_seq, recipients })
}

/// The sending device must stand in the manifest with fresh keys.
fn check_sender(submission: &Submission, now: Timestamp) -> Result<()> {
    let member = submission.snapshot.member(submission.sender.user_id).ok_or(Error::NotFound)?;
    let device =
        member.devices.iter().find(|device| device.id == submission.sender.device_id).ok_or_else(|| {
            Error::conflict(ErrorCode::KeysMissing, json!({"problem": "the device is not in the manifest"}))
        })?;
    if is_fresh(device, now) {
        return Ok(());
    }
    Err(Error::conflict(ErrorCode::DeviceKeysExpired, json!({"keys_published_at": device.keys_published_at})))
}

fn is_fresh(device: &Device, now: Timestamp) -> bool {
    device.keys_published_at.is_some_and(|at| now.since(at) <= KEY_LIFETIME)
}

/// The seal must be this device's, made for exactly the keys that are current, and young enough.
fn check_seal(state: &State, submission: &Submission, now: Timestamp) -> Result<()> {
    let unknown = || Error::conflict(ErrorCode::SealUnknown, json!({"seal_id": submission.message.seal_id}));
    let seal = state.seals.get(&submission.message.seal_id).ok_or_else(unknown)?;
    if seal.conversation != submission.conversation
        || seal.sender != submission.sender.user_id
        || Some(seal.device) != submission.sender.device_number
    {
        return Err(unknown());
    }
    let snapshot = &submission.snapshot;
    let records_key = snapshot.records_key.as_ref().map(<[u8; 16]>::as_slice);
    let history_keys = snapshot.members.iter().filter_map(|member| member.history_key_id.as_deref());
    let expected: BTreeSet<&[u8]> = records_key.into_iter().chain(history_keys).collect();
    if recipients_digest(&expected) == seal.recipients_digest.as_slice()
        && now.since(seal.received_at) <= SEAL_LIFETIME
    {
        return Ok(());
    }
    let expected_key_ids =
        expected.into_iter().filter_map(|id| <[u8; 16]>::try_from(id).ok().map(Base64Array)).collect();
    Err(conflict(ErrorCode::SealStale, &SealStale { expected_key_ids }))
}

/// SHA-256 of the sorted ids of the keys a seal is made for: how a stale seal is recognised.
#[must_use]
pub fn recipients_digest(sorted: &BTreeSet<&[u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for id in sorted {
        hash.update(id);
    }
    hash.finalize().into()
}

/// The envelopes must be exactly those of the current devices with fresh keys, but for the sending one.
fn check_devices(submission: &Submission, now: Timestamp) -> Result<Vec<DeviceId>> {
    let expected: HashMap<DeviceRef, Device> = submission
        .snapshot
        .members
        .iter()
        .flat_map(|member| member.devices.iter().map(|device| (member.user, *device)))
        .filter(|(_, device)| device.id != submission.sender.device_id && is_fresh(device, now))
        .map(|(user_id, device)| (DeviceRef { user_id, device_id: device.number }, device))
        .collect();
    let mut mismatch = DeviceMismatch::default();
    let mut recipients = Vec::with_capacity(expected.len());
    let mut named = HashSet::with_capacity(expected.len());
    for envelope in &submission.message.envelopes {
        let device = DeviceRef { user_id: envelope.user_id, device_id: envelope.device_id };
        named.insert(device);
        match expected.get(&device) {
            None => mismatch.extra.push(device),
            Some(state) if state.registration_id != i64::from(envelope.registration_id) => {
                mismatch.stale.push(device)
            }
            Some(state) => recipients.push(state.id),
        }
    }
    mismatch.missing = expected.keys().filter(|device| !named.contains(device)).copied().collect();
    mismatch.missing.sort_unstable();
    if mismatch == DeviceMismatch::default() {
        return Ok(recipients);
    }
    Err(conflict(ErrorCode::DeviceMismatch, &mismatch))
}

/// What a message is about must be in the same conversation; only its author edits or deletes it.
fn check_target(state: &State, submission: &Submission) -> Result<()> {
    let kind = submission.message.message_type;
    for (field, commitment) in [
        ("target_commitment", submission.message.target_commitment),
        ("reply_to_commitment", submission.message.reply_to_commitment),
    ] {
        let Some(commitment) = commitment else { continue };
        let target = state
            .targets
            .get(&commitment.0)
            .and_then(|found| found.iter().find(|target| target.conversation == submission.conversation));
        let problem = match target {
            None => "is not a message of this conversation",
            Some(target)
                if field == "target_commitment"
                    && matches!(kind, MessageKind::Edit | MessageKind::Delete)
                    && target.sender != submission.sender.user_id =>
            {
                "is another person's message"
            }
            Some(_) => continue,
        };
        return Err(Error::invalid(ErrorCode::InvalidMessage, json!({"field": field, "problem": problem})));
    }
    Ok(())
}

/// A commitment names one message of its conversation: whoever copies another's could otherwise edit or delete
/// it under their own name.
fn check_commitment(state: &State, submission: &Submission) -> Result<()> {
    let there = state.targets.get(&submission.message.commitment.0).into_iter().flatten();
    if there.into_iter().any(|target| target.conversation == submission.conversation) {
        let problem = "is another message's of this conversation: make a new message key";
        return Err(Error::invalid(
            ErrorCode::InvalidMessage,
            json!({"field": "commitment", "problem": problem}),
        ));
    }
    Ok(())
}

fn conflict(code: ErrorCode, details: &impl serde::Serialize) -> Error {
    // The details are plain structures: they always have a JSON form.
    Error::conflict(code, serde_json::to_value(details).unwrap_or_default())
}

/// The answer for a stored message.
pub(super) fn accepted(
    message_id: MessageId,
    conversation_seq: i64,
    received_at: Timestamp,
    receipt: Receipt,
) -> Accepted {
    Accepted { message_id, conversation_seq, received_at, receipt }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
