//! The calls about who takes part in a conversation, and how it is kept.

use reqwest::Method;
use serde::de::IgnoredAny;
use sigilo_wire::{
    ConversationId, UserId,
    conversation::{AddParticipants, Conversation, UpdateConversation},
    mark::{ReadPosition, ReadUpTo},
};

use super::{Api, Auth};
use crate::Result;

fn path(conversation: ConversationId) -> String {
    format!("/api/chat/conversations/{conversation}/")
}

impl Api {
    pub(crate) async fn update_conversation(
        &self,
        conversation: ConversationId,
        change: &UpdateConversation,
    ) -> Result<Conversation> {
        self.send(Method::PUT, &path(conversation), change).await
    }

    pub(crate) async fn leave(&self, conversation: ConversationId) -> Result<()> {
        let path = path(conversation);
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, &path, None, None, Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn add_participants(
        &self,
        conversation: ConversationId,
        request: &AddParticipants,
    ) -> Result<Conversation> {
        self.send(Method::POST, &format!("{}participants/", path(conversation)), request).await
    }

    pub(crate) async fn remove_participant(&self, conversation: ConversationId, user: UserId) -> Result<()> {
        let path = format!("{}participants/{user}/", path(conversation));
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, &path, None, None, Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn mark_read(
        &self,
        conversation: ConversationId,
        up_to: ReadUpTo,
    ) -> Result<ReadPosition> {
        self.send(Method::POST, &format!("{}read/", path(conversation)), &up_to).await
    }
}
