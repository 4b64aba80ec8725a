//! The history: what is on this device, and what the server keeps, read through the record seals.

use sigilo_seal::Content;
use sigilo_wire::{ConversationId, MessageId, Timestamp, UserId, message::DeliveryStatus};

use crate::{
    Error, Result,
    engine::Engine,
    event::ClientEvent,
    message::{ChainVerdict, ReceiptVerdict, SealVerdict, ShownMessage, Verification},
    profile::{
        Order,
        records::{EarlyDelivery, MessageName, OutboxItem, StoredMessage, TimelineEntry},
    },
};

/// Stored messages read in one query.
const READ_AT_ONCE: u32 = 64;

impl Engine {
    /// Up to `limit` messages of a conversation on this device, the newest of those before the place `before`, oldest
    /// first. Edits, deletes and reactions are shown on what they are about. Without a place, those that wait are at
    /// the end.
    pub(crate) async fn history(
        &self,
        conversation: ConversationId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ShownMessage>> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut shown = Vec::new();
        let mut at = before.unwrap_or(i64::MAX);
        while shown.len() < wanted {
            let owner = conversation.as_bytes();
            let page =
                self.profile.list::<StoredMessage>(owner, at, READ_AT_ONCE, Order::NewestFirst).await?;
            let Some(oldest) = page.last() else { break };
            at = oldest.message.conversation_seq;
            for message in page {
                if shown.len() < wanted && !self.is_shown_elsewhere(&message).await? {
                    shown.push(self.folded(self.unexpired(message).await?).await?);
                }
            }
        }
        shown.reverse();
        if before.is_none() {
            for item in self.waiting(conversation).await? {
                shown.push(self.shown_waiting(item)?);
            }
        }
        Ok(shown)
    }

    /// The message at a place of a conversation.
    pub(crate) async fn message_at(&self, conversation: ConversationId, place: i64) -> Result<ShownMessage> {
        let before = place.saturating_add(1);
        let found = self.profile.list(conversation.as_bytes(), before, 1, Order::NewestFirst).await?;
        let found = found.into_iter().next().filter(|m: &StoredMessage| m.message.conversation_seq == place);
        let stored = found.ok_or(Error::Unknown("this message"))?;
        self.folded(self.unexpired(stored).await?).await
    }

    /// Reads up to `limit` messages from the server through the record seals, and keeps those not known yet.
    /// Gives how many messages the server had.
    pub(crate) async fn fetch_history(&self, conversation: ConversationId, limit: usize) -> Result<usize> {
        self.conversation(conversation).await?;
        let mut count = 0;
        let mut cursor = None;
        while count < limit {
            let page = self.api.messages(conversation, cursor.as_deref()).await?;
            if page.results.is_empty() {
                break;
            }
            let mut messages = page.results;
            messages.truncate(limit - count);
            count += messages.len();
            messages.retain(|message| message.conversation_id == conversation);
            self.receive_page(messages).await?;
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(count)
    }

    /// The lines between a conversation's messages, oldest first.
    pub(crate) async fn timeline(&self, conversation: ConversationId) -> Result<Vec<TimelineEntry>> {
        self.profile.all(conversation.as_bytes()).await
    }

    /// A message by the server's id, its receipt checked again.
    pub(crate) async fn check_receipt(&self, id: MessageId) -> Result<ReceiptVerdict> {
        let mut stored = self.message(id).await?.ok_or(Error::Unknown("this message"))?;
        let verdict = self.receipt_verdict(&stored.message).await;
        if verdict != stored.receipt {
            stored.receipt = verdict.clone();
            self.profile.put(&stored).await?;
        }
        Ok(verdict)
    }

    /// A message by the server's id.
    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>> {
        let Some(name) = self.profile.get::<MessageName>(id.as_bytes()).await? else { return Ok(None) };
        self.profile.get(&name.message.bytes()).await
    }

    /// Keeps that a recipient has a message.
    pub(crate) async fn mark_delivered(&self, id: MessageId, user: UserId, at: Timestamp) -> Result<()> {
        let Some(mut stored) = self.message(id).await? else {
            return self.mark_early(id, user).await;
        };
        if stored.delivered_to.contains(&user) {
            return Ok(());
        }
        stored.delivered_to.push(user);
        if stored.message.delivery_status == DeliveryStatus::Sent {
            let record = self.conversation(stored.message.conversation_id).await?;
            let sender = stored.message.sender.user_id;
            let mut others = record.shown_members.iter().filter(|member| **member != sender);
            if others.all(|member| stored.delivered_to.contains(member)) {
                stored.message.delivery_status = DeliveryStatus::Delivered;
            }
        }
        self.profile.put(&stored).await?;
        self.tell(ClientEvent::Delivered {
            conversation: stored.message.conversation_id,
            message: id,
            client_message_id: stored.message.client_message_id,
            user,
            at,
        });
        Ok(())
    }

    /// The mark came before the answer to the send did.
    async fn mark_early(&self, message: MessageId, user: UserId) -> Result<()> {
        let known: Option<EarlyDelivery> = self.profile.get(message.as_bytes()).await?;
        let mut early = known.unwrap_or(EarlyDelivery { message, users: Vec::new() });
        if !early.users.contains(&user) {
            early.users.push(user);
        }
        self.profile.put(&early).await
    }

    /// A stored message as it is shown, without what was done to it since.
    pub(crate) fn shown(&self, stored: StoredMessage) -> Result<ShownMessage> {
        let expires_at = stored.expires_at();
        let expired = stored.is_expired(self.env.now());
        let StoredMessage {
            message,
            content,
            verification,
            seal,
            receipt,
            chain,
            contradicted,
            delivered_to,
        } = stored;
        let kind = message.message_type.as_str();
        let parsed = content.filter(|_| !expired).map(|json| Content::parse(kind, &json.0));
        let problem = match &parsed {
            Some(Err(error)) => Some(error.to_string()),
            _ => None,
        };
        Ok(ShownMessage {
            message_id: Some(message.id),
            client_message_id: message.client_message_id,
            conversation_id: message.conversation_id,
            conversation_seq: Some(message.conversation_seq),
            sender: message.sender.user_id,
            device: message.sender.device_id,
            mine: message.sender.user_id == self.account()?.user,
            sender_name: message.sender.full_name,
            sender_role: message.sender.user_type,
            kind: message.message_type,
            priority: message.priority,
            urgent: message.urgent,
            content: parsed.and_then(std::result::Result::ok),
            attachments: message.attachments,
            expires_at,
            expired,
            sent_at: message.sent_at,
            received_at: Some(message.received_at),
            commitment: Some(message.commitment.into()),
            target: message.target_commitment.map(Into::into),
            target_seq: None,
            reply_to: message.reply_to_commitment.map(Into::into),
            reply_to_seq: None,
            verification,
            seal,
            receipt,
            chain,
            contradicted,
            status: message.delivery_status,
            delivered_to,
            read_by: message.read_by,
            edited_at: None,
            versions: Vec::new(),
            deleted_at: None,
            reactions: Vec::new(),
            policies: message.receipt.policies,
            problem,
            scheduled_for: None,
        })
    }

    /// A message of the outbox as it is shown.
    fn shown_waiting(&self, item: OutboxItem) -> Result<ShownMessage> {
        let account = self.account()?;
        let draft = item.draft;
        Ok(ShownMessage {
            message_id: None,
            client_message_id: draft.client_message_id,
            conversation_id: draft.conversation,
            conversation_seq: None,
            sender: account.user,
            device: account.device,
            sender_name: account.full_name.clone(),
            sender_role: account.role,
            mine: true,
            kind: draft.kind,
            priority: draft.priority,
            urgent: draft.urgent,
            content: Content::parse(draft.kind.as_str(), &draft.content.0).ok(),
            attachments: Vec::new(),
            expires_at: None,
            expired: false,
            sent_at: draft.created_at,
            received_at: None,
            commitment: item.sealed.map(|sealed| sealed.request.commitment.into()),
            target: draft.target,
            target_seq: None,
            reply_to: draft.reply_to,
            reply_to_seq: None,
            verification: Verification::Verified,
            seal: SealVerdict::Unchecked("not sent yet".into()),
            receipt: ReceiptVerdict::Missing,
            chain: ChainVerdict::Continuous,
            contradicted: false,
            status: if item.refused { DeliveryStatus::Failed } else { DeliveryStatus::Held },
            delivered_to: Vec::new(),
            read_by: Vec::new(),
            edited_at: None,
            versions: Vec::new(),
            deleted_at: None,
            reactions: Vec::new(),
            policies: Vec::new(),
            problem: item.problem,
            scheduled_for: item.held.map(|held| held.until).or(draft.scheduled_for),
        })
    }
}
