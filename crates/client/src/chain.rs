//! Chains: each device numbers its messages of a conversation and names the one before, so that a message that is
//! dropped leaves a gap, and a device that tells two stories contradicts itself.
//!
//! An authentic message says two things: what stands at its own number, and what stands at the number before. The
//! first word on a number stays, however the messages came: live, late, or from the history. Whoever contradicts
//! it, or follows somebody who did, is shown as forked and has no say in what comes after.

use sigilo_wire::{ConversationId, DeviceNumber, Timestamp, UserId, message::Message};

use crate::{
    Result,
    engine::Engine,
    message::ChainVerdict,
    profile::{
        Step,
        records::{
            Chain, ChainLink, ConversationRecord, MessageName, StoredMessage, chain_key, chain_link_key,
        },
    },
    receive::Way,
};

impl Engine {
    /// Whether something of the device is missing before this message, and whether it contradicts an earlier one;
    /// moves its chain forward.
    pub(crate) async fn chain_verdict(
        &self,
        step: &Step,
        message: &Message,
        authentic: bool,
        way: Way,
    ) -> Result<ChainVerdict> {
        let (user, device) = (message.sender.user_id, message.sender.device_id);
        let chain: Option<Chain> = step.get(&chain_key(message.conversation_id, user, device)).await?;
        let predecessor = predecessor(step, message).await?;
        let verdict = if contradicts(step, message).await? {
            ChainVerdict::Forked
        } else {
            follows(message, chain.as_ref(), predecessor.as_ref(), way)
        };
        let verdict = match (verdict, &chain) {
            (ChainVerdict::Gap(_), Some(chain)) if self.came_back_after(step, chain).await? => {
                ChainVerdict::JoinedAt(message.device_seq)
            }
            (verdict, _) => verdict,
        };
        if !authentic || verdict == ChainVerdict::Forked {
            return Ok(verdict);
        }
        link(step, message).await?;
        let forward = chain.is_none_or(|chain| chain.device_seq < message.device_seq);
        if forward && !self.is_own_device(user, device)? {
            step.put(&Chain {
                conversation: message.conversation_id,
                user,
                device,
                device_seq: message.device_seq,
                commitment: message.commitment.into(),
            })?;
        }
        Ok(verdict)
    }

    /// What follows a message that came late follows it now: nothing is missing between the two any more.
    pub(crate) async fn close_gap_after(&self, step: &Step, message: &Message) -> Result<()> {
        let (user, device) = (message.sender.user_id, message.sender.device_id);
        let after =
            chain_link_key(message.conversation_id, user, device, message.device_seq.saturating_add(1));
        let Some(link) = step.get::<ChainLink>(&after).await? else { return Ok(()) };
        let Some(name) = step.get::<MessageName>(link.commitment.as_bytes()).await? else { return Ok(()) };
        let Some(mut next) = step.get::<StoredMessage>(&name.message.bytes()).await? else { return Ok(()) };
        let waits =
            matches!(next.chain, ChainVerdict::JoinedAt(_) | ChainVerdict::Gap(_) | ChainVerdict::Repeated);
        if waits && next.message.prev_commitment == Some(message.commitment) {
            next.chain = ChainVerdict::Continuous;
            step.put(&next)?;
        }
        Ok(())
    }

    /// Whether the user left after the newest message of a chain, and came back: what was said meanwhile was not for
    /// them.
    async fn came_back_after(&self, step: &Step, chain: &Chain) -> Result<bool> {
        let record: Option<ConversationRecord> = step.get(chain.conversation.as_bytes()).await?;
        let joined_at = record.and_then(|record| record.joined_at(self.account().ok()?.user));
        let Some(name) = step.get::<MessageName>(chain.commitment.as_bytes()).await? else {
            return Ok(false);
        };
        let newest: Option<StoredMessage> = step.get(&name.message.bytes()).await?;
        Ok(newest.zip(joined_at).is_some_and(|(newest, joined)| newest.message.received_at < joined))
    }

    /// What is missing from before the user came back to a conversation is no gap, also where a message was here before
    /// the news of it.
    pub(crate) async fn settle_gaps(
        &self,
        step: &Step,
        conversation: ConversationId,
        joined_at: Timestamp,
    ) -> Result<()> {
        let messages = self.profile.all::<StoredMessage>(conversation.as_bytes()).await?;
        for gap in messages.iter().filter(|stored| matches!(stored.chain, ChainVerdict::Gap(_))) {
            let of_device = |other: &&StoredMessage| {
                let (one, other) = (&gap.message, &other.message);
                let device = |message: &Message| (message.sender.user_id, message.sender.device_id);
                device(one) == device(other) && other.device_seq < one.device_seq
            };
            let before = messages.iter().filter(of_device).map(|before| before.message.received_at).max();
            if before.is_none_or(|before| before < joined_at) && gap.message.received_at >= joined_at {
                let chain = ChainVerdict::JoinedAt(gap.message.device_seq);
                step.put(&StoredMessage { chain, ..gap.clone() })?;
            }
        }
        Ok(())
    }

    fn is_own_device(&self, user: UserId, device: DeviceNumber) -> Result<bool> {
        let account = self.account()?;
        Ok((user, device) == (account.user, account.device))
    }
}

/// What a message says of its device's chain.
fn words(message: &Message) -> impl Iterator<Item = ChainLink> {
    let at = |device_seq, commitment: sigilo_wire::message::CommitmentBytes| ChainLink {
        conversation: message.conversation_id,
        user: message.sender.user_id,
        device: message.sender.device_id,
        device_seq,
        commitment: commitment.into(),
    };
    let before = message.device_seq.checked_sub(1).zip(message.prev_commitment);
    [Some(at(message.device_seq, message.commitment)), before.map(|(number, previous)| at(number, previous))]
        .into_iter()
        .flatten()
}

/// Keeps what a message says where nothing was said before.
pub(crate) async fn link(step: &Step, message: &Message) -> Result<()> {
    for word in words(message) {
        if known(step, &word).await?.is_none() {
            step.put(&word)?;
        }
    }
    Ok(())
}

/// Whether a message says something else than was said before, or what no device may say: the first message names
/// none before it, every other one does.
async fn contradicts(step: &Step, message: &Message) -> Result<bool> {
    let first = message.device_seq == 1;
    if message.device_seq == 0 || first != message.prev_commitment.is_none() {
        return Ok(true);
    }
    for word in words(message) {
        if known(step, &word).await?.is_some_and(|known| known.commitment != word.commitment) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn known(step: &Step, word: &ChainLink) -> Result<Option<ChainLink>> {
    step.get(&chain_link_key(word.conversation, word.user, word.device, word.device_seq)).await
}

/// The message that a message names as the one before, when it is known.
async fn predecessor(step: &Step, message: &Message) -> Result<Option<StoredMessage>> {
    let Some(previous) = message.prev_commitment else { return Ok(None) };
    match step.get::<MessageName>(previous.as_slice()).await? {
        Some(name) => step.get(&name.message.bytes()).await,
        None => Ok(None),
    }
}

/// How a message that contradicts nothing continues its device's chain.
fn follows(
    message: &Message,
    chain: Option<&Chain>,
    predecessor: Option<&StoredMessage>,
    way: Way,
) -> ChainVerdict {
    let sequence = message.device_seq;
    // Nothing is missing before the first, however late it comes.
    if sequence == 1 {
        return ChainVerdict::Continuous;
    }
    match (predecessor, chain) {
        (Some(before), _) if continues(message, before) => ChainVerdict::Continuous,
        (Some(_), _) => ChainVerdict::Forked,
        (None, None) => ChainVerdict::JoinedAt(sequence),
        (None, Some(chain)) => match sequence.checked_sub(chain.device_seq) {
            Some(ahead @ 2..) => ChainVerdict::Gap(ahead - 1),
            // Pages of the history come newest first: what is missing may be on the next one.
            _ if way == Way::History => ChainVerdict::JoinedAt(sequence),
            Some(1) => ChainVerdict::Forked,
            _ => ChainVerdict::Repeated,
        },
    }
}

/// Whether `before` is the message before, and no part of a second story itself.
fn continues(message: &Message, before: &StoredMessage) -> bool {
    let (sender, place) = (&before.message.sender, &before.message);
    (sender.user_id, sender.device_id) == (message.sender.user_id, message.sender.device_id)
        && place.conversation_id == message.conversation_id
        && place.device_seq.checked_add(1) == Some(message.device_seq)
        && before.chain != ChainVerdict::Forked
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
