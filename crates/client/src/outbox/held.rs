//! Messages that wait on the server for the conversation to open.
//!
//! The device keeps them, sealed as they are, until their own event says that they were released. What comes back is sent
//! again like any other: its repair keeps body, key and commitment where the context stays the same.

use serde::{Deserialize, Serialize};
use sigilo_seal::Commitment;
use sigilo_wire::{
    ClientMessageId, ConversationId, ErrorBody, MessageId, RequestId, Timestamp,
    event::{HeldRefused, ResealNeeded},
    message::{Deliver, Held},
};

use super::{Brought, SendState, Sent, Stop};
use crate::{
    DecisionVerdict, Error, Result,
    engine::Engine,
    event::ClientEvent,
    profile::records::{Chain, OutboxItem, chain_key},
};

/// Where a message waits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct HeldItem {
    pub(crate) message_id: MessageId,
    pub(crate) until: Timestamp,
}

impl Engine {
    /// Keeps that the server holds the message.
    pub(super) async fn keep_held(&self, item: &mut OutboxItem, held: &Held) -> Result<Brought> {
        item.held = Some(HeldItem { message_id: held.message_id, until: held.release_at });
        (item.problem, item.attempts, item.repairs) = (None, 0, 0);
        self.profile.put(item).await?;
        let (conversation, client_message_id) = (item.draft.conversation, item.draft.client_message_id);
        self.tell(ClientEvent::Held { conversation, client_message_id, until: held.release_at });
        Ok(Brought::Held(held.release_at))
    }

    /// What this device's next message in a conversation continues: the last one that was accepted, or that is held.
    pub(super) async fn tail(&self, conversation: ConversationId) -> Result<Option<(u64, Commitment)>> {
        let account = self.account()?;
        let key = chain_key(conversation, account.user, account.device);
        let chain: Option<Chain> = self.profile.get(&key).await?;
        let accepted = chain.map(|chain| (chain.device_seq, chain.commitment));
        let waiting = self.waiting(conversation).await?.into_iter().filter(|item| item.held.is_some());
        let held = waiting
            .filter_map(|item| item.sealed)
            .map(|sealed| (sealed.request.device_seq, Commitment::from(sealed.request.commitment)));
        Ok(held.chain(accepted).max_by_key(|(device_seq, _)| *device_seq))
    }

    /// What the server holds after this number, by its own word, it does not hold any more: its events are on their way.
    pub(super) async fn unhold_after(&self, conversation: ConversationId, device_seq: u64) -> Result<()> {
        for mut item in self.waiting(conversation).await? {
            let after = item.sealed.as_ref().is_some_and(|sealed| sealed.request.device_seq > device_seq);
            if item.held.is_some() && after {
                item.held = None;
                self.profile.put(&item).await?;
            }
        }
        Ok(())
    }

    /// A held message came back: it is sent again, sealed for what is now.
    pub(crate) async fn take_back(&self, event: ResealNeeded) -> Result<()> {
        let Some(mut item) = self.held_item(event.client_message_id, event.message_id).await? else {
            return Ok(());
        };
        if item.discarding {
            return self.forget(event.client_message_id).await;
        }
        item.held = None;
        self.profile.put(&item).await?;
        let (conversation, client_message_id) = (item.draft.conversation, event.client_message_id);
        let reason = event.error.as_str().to_owned();
        self.tell(ClientEvent::Waiting { conversation, client_message_id, reason });
        self.flush_soon();
        Ok(())
    }

    /// The rules refuse a held message by now.
    pub(crate) async fn held_refused(&self, event: HeldRefused) -> Result<()> {
        let Some(mut item) = self.held_item(event.client_message_id, event.message_id).await? else {
            return Ok(());
        };
        if item.discarding {
            return self.forget(event.client_message_id).await;
        }
        let reason = event.error.as_str().to_owned();
        (item.held, item.refused, item.problem) = (None, true, Some(reason.clone()));
        self.profile.put(&item).await?;
        let body = ErrorBody {
            error: event.error,
            message: reason.clone(),
            details: event.details,
            policies: event.policies,
            decision: None,
            // It answers no request.
            request_id: RequestId::from_bytes([0; 16]),
        };
        let (conversation, client_message_id) = (item.draft.conversation, event.client_message_id);
        self.tell(ClientEvent::Refused {
            conversation,
            client_message_id,
            body: Some(Box::new(body)),
            decision: DecisionVerdict::Missing,
            reason,
        });
        Ok(())
    }

    /// Sends a message that was refused for the hour again, to be delivered when the conversation opens.
    pub(crate) async fn deliver_when_open(&self, id: ClientMessageId) -> Result<Sent> {
        let item: Option<OutboxItem> = self.profile.get(id.as_bytes()).await?;
        let mut item = item.filter(|item| item.refused).ok_or(Error::Unknown("a refused message"))?;
        // Part of the context: sealed anew, with another key.
        (item.draft.deliver, item.sealed, item.refused) = (Deliver::WhenOpen, None, false);
        (item.problem, item.attempts, item.repairs) = (None, 0, 0);
        self.profile.put(&item).await?;
        let result = self.flush().await?.results.remove(&id);
        sent(id, result)
    }

    /// The message of that name, if the server held it under that id.
    async fn held_item(&self, name: ClientMessageId, id: MessageId) -> Result<Option<OutboxItem>> {
        let item: Option<OutboxItem> = self.profile.get(name.as_bytes()).await?;
        Ok(item.filter(|item| item.held.is_some_and(|held| held.message_id == id)))
    }
}

/// How far a message came, as the sender is told.
pub(crate) fn sent(
    client_message_id: ClientMessageId,
    result: Option<Result<Brought, Stop>>,
) -> Result<Sent> {
    let state = match result {
        Some(Ok(Brought::Accepted(message))) => SendState::Accepted(message),
        Some(Ok(Brought::Held(until))) => SendState::Held { until },
        Some(Err(Stop::Refused(error))) => return Err(error),
        Some(Err(Stop::Waits { reason, .. })) => SendState::Queued { reason },
        None => SendState::Queued { reason: "earlier messages wait".to_owned() },
    };
    Ok(Sent { client_message_id, state })
}
