//! Handing a message to the server, and keeping what it answered.

use std::time::Duration;

use sigilo_seal::decision::{FRAME, request_hash};
use sigilo_wire::{
    Base64, ClientMessageId, ErrorBody, ErrorCode,
    event::{ClientFrame, EventType, ServerFrame},
    message::{Accepted, Attachment, DeliveryStatus, Message, SendMessage, Sender, Taken},
    vault::ScanStatus,
};

use super::Brought;
use crate::{
    Error, Result, chain,
    engine::Engine,
    message::{ChainVerdict, SealVerdict, ShownMessage, Verification},
    profile::records::{
        Chain, EarlyDelivery, MessageKey, MessageName, OutboxItem, SealedItem, Shown, StoredMessage,
        chain_key,
    },
};

/// A message that the server has and this device does not is looked for among this many of the newest.
pub(super) const REPAIR_HISTORY: usize = 200;

impl Engine {
    /// Brings a message to the server, repairing it as often as makes sense.
    pub(super) async fn try_deliver(&self, item: &mut OutboxItem) -> Result<Brought> {
        loop {
            match self.attempt(item).await {
                Ok((sealed, Taken::Accepted(accepted))) => {
                    return self.finish(item, &sealed, &accepted).await.map(Brought::Accepted);
                }
                Ok((_, Taken::Held(held))) => return self.keep_held(item, &held).await,
                Err(error) if error.code() == Some(ErrorCode::IdempotencyConflict) => {
                    return self.accepted_before(item).await?.map(Brought::Accepted).ok_or(error);
                }
                Err(error) => self.repair(item, error).await?,
            }
        }
    }

    /// The message as the server has it already, sealed otherwise: an older copy of this profile, or an attempt
    /// whose answer was lost, had brought it there. Ends the wait when the history shows that it says the same.
    async fn accepted_before(&self, item: &OutboxItem) -> Result<Option<Box<ShownMessage>>> {
        let account = self.account()?;
        let client_message_id = item.draft.client_message_id;
        let key = MessageKey { sender: account.user, device: account.device, client_message_id };
        self.fetch_history(item.draft.conversation, REPAIR_HISTORY).await?;
        let stored: Option<StoredMessage> = self.profile.get(&key.bytes()).await?;
        let is_it = |stored: &StoredMessage| {
            let same = stored.content.as_ref() == Some(&item.draft.content);
            stored.verification == Verification::Verified && (same || stored.is_expired(self.env.now()))
        };
        let Some(stored) = stored.filter(is_it) else { return Ok(None) };
        let step = self.profile.step();
        step.delete::<OutboxItem>(client_message_id.as_bytes());
        step.commit().await?;
        Ok(Some(Box::new(self.folded(stored).await?)))
    }

    /// Whether the server has a message of the outbox after all; then it waits no longer.
    pub(super) async fn is_in_history(&self, item: &OutboxItem) -> Result<bool> {
        if self.accepted_before(item).await?.is_some() {
            return Ok(true);
        }
        let account = self.account()?;
        let client_message_id = item.draft.client_message_id;
        let key = MessageKey { sender: account.user, device: account.device, client_message_id };
        Ok(self.profile.get::<StoredMessage>(&key.bytes()).await?.is_some())
    }

    /// A message of this device's that was accepted under that name.
    pub(crate) async fn own_message_named(&self, name: ClientMessageId) -> Result<Option<ShownMessage>> {
        let account = self.account()?;
        let key = MessageKey { sender: account.user, device: account.device, client_message_id: name };
        match self.profile.get::<StoredMessage>(&key.bytes()).await? {
            Some(stored) => self.folded(stored).await.map(Some),
            None => Ok(None),
        }
    }

    async fn attempt(&self, item: &mut OutboxItem) -> Result<(SealedItem, Taken)> {
        self.prepare(item).await?;
        let sealed = item.sealed.clone().ok_or_else(|| Error::internal("an unsealed message"))?;
        let taken = self.post(item, &sealed.request).await?;
        Ok((sealed, taken))
    }

    /// Sends by the socket when it is open, otherwise by HTTP; the server answers the same on both.
    async fn post(&self, item: &OutboxItem, request: &SendMessage) -> Result<Taken> {
        let conversation = item.draft.conversation;
        if let Some(socket) = self.open_socket() {
            let frame = |request_id| ClientFrame::SendMessage {
                request_id,
                conversation_id: Some(conversation),
                data: Box::new(request.clone()),
            };
            match socket.request(frame).await {
                Ok(answer) => {
                    let asked = answer.request_id.clone().map(frame);
                    return taken(answer, asked.as_ref());
                }
                // Whether it arrived is not known; by HTTP the first answer comes again.
                Err(Error::Offline(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.api.post_message(conversation, request).await
    }

    /// Moves an accepted message from the outbox into the history, in one transaction.
    pub(crate) async fn finish(
        &self,
        item: &OutboxItem,
        sealed: &SealedItem,
        accepted: &Accepted,
    ) -> Result<Box<ShownMessage>> {
        let account = self.account()?;
        let sender = Sender {
            user_id: account.user,
            device_id: account.device,
            full_name: account.full_name.clone(),
            user_type: account.role,
        };
        let message = own_message(item, &sealed.request, accepted, sender);
        let step = self.profile.step();
        let early: Option<EarlyDelivery> = step.get(accepted.message_id.as_bytes()).await?;
        step.delete::<EarlyDelivery>(accepted.message_id.as_bytes());
        let receipt = self.receipt_verdict(&message).await;
        let mut stored = StoredMessage {
            content: Some(item.draft.content.clone()),
            verification: Verification::Verified,
            seal: SealVerdict::Good,
            receipt,
            chain: ChainVerdict::Continuous,
            contradicted: false,
            delivered_to: early.map(|early| early.users).unwrap_or_default(),
            message,
        };
        if !stored.delivered_to.is_empty() {
            stored.message.delivery_status = DeliveryStatus::Delivered;
        }
        let key = MessageKey::of(&stored.message);
        for name in [accepted.message_id.as_bytes().as_slice(), sealed.request.commitment.as_slice()] {
            step.put(&MessageName { name: Base64(name.to_vec()), message: key })?;
        }
        let conversation = item.draft.conversation;
        let commitment = sealed.request.commitment.into();
        let (user, device, device_seq) = (account.user, account.device, sealed.request.device_seq);
        let key = chain_key(conversation, user, device);
        // What was held comes after what was sent meanwhile.
        if step.get::<Chain>(&key).await?.is_none_or(|chain| chain.device_seq < device_seq) {
            step.put(&Chain { conversation, user, device, device_seq, commitment })?;
        }
        chain::link(&step, &stored.message).await?;
        self.show(&step, conversation, accepted.conversation_seq, commitment).await?;
        self.keep(&step, &mut stored).await?;
        step.delete::<OutboxItem>(item.draft.client_message_id.as_bytes());
        step.commit().await?;
        self.after_keeping(&stored.message).await?;
        let shown = self.folded(stored).await?;
        self.tell_of_target(shown.target).await?;
        Ok(Box::new(shown))
    }

    /// Remembers the newest message shown in a conversation.
    pub(crate) async fn show(
        &self,
        step: &crate::profile::Step,
        conversation: sigilo_wire::ConversationId,
        conversation_seq: i64,
        commitment: sigilo_seal::Commitment,
    ) -> Result<()> {
        let shown: Option<Shown> = step.get(conversation.as_bytes()).await?;
        if shown.is_none_or(|shown| shown.conversation_seq < conversation_seq) {
            step.put(&Shown { conversation, conversation_seq, commitment })?;
        }
        Ok(())
    }
}

/// What an answer says. `asked` is the frame it answers.
fn taken(frame: ServerFrame, asked: Option<&ClientFrame>) -> Result<Taken> {
    let malformed = |error: serde_json::Error| Error::Answer(error.to_string());
    if frame.r#type == EventType::Error {
        let body: ErrorBody = serde_json::from_value(frame.data).map_err(malformed)?;
        let retry_after = body.details["retry_after_s"].as_u64().map(Duration::from_secs);
        let asked =
            asked.map(serde_json::to_string).transpose().map_err(Error::internal)?.unwrap_or_default();
        let request_sha256 = request_hash(FRAME, "", asked.as_bytes());
        return Err(Error::Server { status: 0, body: Box::new(body), retry_after, request_sha256 });
    }
    serde_json::from_value(frame.data).map_err(malformed)
}

/// The message as the server will give it to others.
pub(crate) fn own_message(
    item: &OutboxItem,
    request: &SendMessage,
    accepted: &Accepted,
    sender: Sender,
) -> Message {
    let attachments = request.attachments.iter();
    Message {
        id: accepted.message_id,
        conversation_id: item.draft.conversation,
        conversation_seq: accepted.conversation_seq,
        client_message_id: request.client_message_id,
        sender,
        message_type: request.message_type,
        priority: request.priority,
        sent_at: request.sent_at,
        received_at: accepted.received_at,
        device_seq: request.device_seq,
        prev_commitment: request.prev_commitment,
        seen_commitment: request.seen_commitment,
        target_commitment: request.target_commitment,
        reply_to_commitment: request.reply_to_commitment,
        body: request.body.clone(),
        commitment: request.commitment,
        signature: request.signature,
        seal_id: request.seal_id,
        wrapped_key: request.wrapped_key,
        attachments: attachments
            .map(|a| Attachment { file_id: a.file_id, sha256: a.sha256, status: ScanStatus::Pending })
            .collect(),
        urgent: request.urgent,
        deliver: request.deliver,
        expires_in_s: request.expires_in_s.unwrap_or(0),
        delivery_status: DeliveryStatus::Sent,
        read_by: Vec::new(),
        edited_by: Vec::new(),
        deleted_at: None,
        expires_at: None,
        source: None,
        is_automated: false,
        receipt: accepted.receipt.clone(),
    }
}
