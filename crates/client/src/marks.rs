//! Read marks: who has read this user's messages.

use sigilo_wire::{
    ConversationId,
    event::MessageRead,
    message::{DeliveryStatus, ReadMark},
};

use crate::{
    Result,
    engine::Engine,
    event::ClientEvent,
    profile::{Order, records::StoredMessage},
};

/// How many stored messages are looked at in one step when somebody has read them.
const MARKED_AT_ONCE: u32 = 100;

impl Engine {
    /// Keeps that somebody has read this user's messages up to one.
    pub(crate) async fn mark_read(&self, mark: MessageRead) -> Result<()> {
        let MessageRead { conversation_id: conversation, user_id: user, up_to, read_at } = mark;
        // What this user has read on another device is not a mark of their messages.
        if user != self.account()?.user {
            self.mark_up_to(conversation, up_to, &ReadMark { user_id: user, read_at }).await?;
        }
        self.tell(ClientEvent::Read { conversation, user, up_to, at: read_at });
        Ok(())
    }

    /// Marks this user's messages, newest first, until one was marked before.
    async fn mark_up_to(&self, conversation: ConversationId, up_to: i64, mark: &ReadMark) -> Result<()> {
        let mut before = up_to.saturating_add(1);
        loop {
            let page = self
                .profile
                .list::<StoredMessage>(conversation.as_bytes(), before, MARKED_AT_ONCE, Order::NewestFirst)
                .await?;
            let Some(oldest) = page.last() else { return Ok(()) };
            before = oldest.message.conversation_seq;
            if !self.mark_page(page, mark).await? {
                return Ok(());
            }
        }
    }

    /// Marks this user's messages among these, newest first; `false` at one that was marked before, because
    /// everything older was then, too.
    async fn mark_page(&self, page: Vec<StoredMessage>, mark: &ReadMark) -> Result<bool> {
        let me = self.account()?.user;
        let step = self.profile.step();
        let mut on = true;
        for mut stored in page.into_iter().filter(|stored| stored.message.sender.user_id == me) {
            let read_by = &mut stored.message.read_by;
            if read_by.iter().any(|known| known.user_id == mark.user_id) {
                on = false;
                break;
            }
            read_by.push(mark.clone());
            let record = self.conversation(stored.message.conversation_id).await?;
            let mut others = record.shown_members.iter().filter(|member| **member != me);
            if others.all(|member| stored.message.read_by.iter().any(|known| known.user_id == *member)) {
                stored.message.delivery_status = DeliveryStatus::Read;
            }
            step.put(&stored)?;
        }
        step.commit().await?;
        Ok(on)
    }
}
