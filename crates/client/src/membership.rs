//! Who takes part in a conversation, how it is kept, and what the user has read of it.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use sigilo_wire::{
    ConversationId, UserId,
    conversation::{
        AddParticipants, Conversation, ConversationSettingsChange, ConversationStatus, CreateConversation,
        UpdateConversation,
    },
    mark::{ReadPosition, ReadUpTo},
};

use crate::{Client, Error, NewConversation, Result, conversations::members, engine::Engine};

impl Client {
    /// Starts a conversation with several people: a care team or an administrative one.
    ///
    /// # Errors
    /// [`Error::Server`] with `conversation_not_allowed` when the clinic's rules do not allow it.
    pub async fn start_group(&self, with: Vec<UserId>, new: NewConversation) -> Result<Conversation> {
        self.act(move |engine| async move { engine.start(with, new).await }.boxed_local()).await?
    }

    /// Brings people into a conversation. From the next message on, what is sent is sealed for them, too; what was
    /// before stays closed to them.
    ///
    /// # Errors
    /// [`Error::Server`] when the clinic's rules do not allow it.
    pub async fn add_participants(
        &self,
        conversation: ConversationId,
        users: Vec<UserId>,
    ) -> Result<Conversation> {
        self.act(move |engine| {
            async move { engine.add_participants(conversation, users).await }.boxed_local()
        })
        .await?
    }

    /// Takes somebody out of a conversation. From the next message on, nothing is sealed for them.
    ///
    /// # Errors
    /// As [`Client::add_participants`].
    pub async fn remove_participant(&self, conversation: ConversationId, user: UserId) -> Result<()> {
        self.act(move |engine| {
            async move { engine.remove_participant(conversation, user).await }.boxed_local()
        })
        .await?
    }

    /// Leaves a care team or an administrative conversation; any other is put away for the user alone.
    ///
    /// # Errors
    /// [`Error::Server`] when whoever answers for the conversation tries to leave it.
    pub async fn leave(&self, conversation: ConversationId) -> Result<()> {
        self.act(move |engine| async move { engine.api.leave(conversation).await }.boxed_local()).await?
    }

    /// Changes the user's own settings: whether new messages wake their devices, whether it is put away.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn arrange(
        &self,
        conversation: ConversationId,
        settings: ConversationSettingsChange,
    ) -> Result<Conversation> {
        let change = UpdateConversation { settings, status: None };
        self.act(move |engine| async move { engine.update(conversation, change).await }.boxed_local()).await?
    }

    /// Closes a conversation for everybody and for good: it stays readable. For clinicians.
    ///
    /// # Errors
    /// [`Error::Server`] with `forbidden` for others.
    pub async fn close_conversation(&self, conversation: ConversationId) -> Result<Conversation> {
        let status = Some(ConversationStatus::Closed);
        let change = UpdateConversation { status, ..UpdateConversation::default() };
        self.act(move |engine| async move { engine.update(conversation, change).await }.boxed_local()).await?
    }

    /// Tells that the user has read a conversation up to a place, or all of it. The position only moves forward.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn mark_read(&self, conversation: ConversationId, up_to: Option<i64>) -> Result<ReadPosition> {
        self.act(move |engine| {
            async move { engine.api.mark_read(conversation, ReadUpTo { up_to }).await }.boxed_local()
        })
        .await?
    }

    /// The user's conversations with those put away, newest change first; without a connection, those known on this
    /// device.
    ///
    /// # Errors
    /// Those of the server and the profile.
    pub async fn all_conversations(&self) -> Result<Vec<Conversation>> {
        self.act(|engine| async move { engine.conversations(true).await }.boxed_local()).await?
    }
}

impl Engine {
    pub(crate) async fn start(&self, with: Vec<UserId>, new: NewConversation) -> Result<Conversation> {
        let mut asked: BTreeSet<UserId> = with.iter().copied().collect();
        let NewConversation { r#type, metadata, settings } = new;
        let request = CreateConversation { r#type, participants: with, metadata, settings };
        let key = sigilo_wire::RequestId::new(self.env.now(), self.env.bytes()).to_string();
        let conversation = self.api.create_conversation(&request, &key).await?;
        asked.insert(self.account()?.user);
        if members(&conversation) != asked {
            return Err(Error::Answer("the conversation is not with those who were asked for".into()));
        }
        self.adopt_conversation(conversation.clone()).await?;
        Ok(conversation)
    }

    async fn add_participants(&self, id: ConversationId, user_ids: Vec<UserId>) -> Result<Conversation> {
        let mut expected = members(&self.refresh_conversation(id).await?.conversation);
        expected.extend(user_ids.iter().copied());
        self.note_own_act(id, &user_ids, &[]).await?;
        let conversation = self.api.add_participants(id, &AddParticipants { user_ids }).await?;
        self.adopt_answer(id, conversation, |now| now.is_subset(&expected)).await
    }

    async fn remove_participant(&self, id: ConversationId, user: UserId) -> Result<()> {
        self.note_own_act(id, &[], &[user]).await?;
        self.api.remove_participant(id, user).await?;
        self.refresh_conversation(id).await.map(|_| ())
    }

    async fn update(&self, id: ConversationId, change: UpdateConversation) -> Result<Conversation> {
        let conversation = self.api.update_conversation(id, &change).await?;
        self.adopt_answer(id, conversation, |_| true).await
    }

    async fn adopt_answer(
        &self,
        id: ConversationId,
        answer: Conversation,
        expected: impl FnOnce(&BTreeSet<UserId>) -> bool,
    ) -> Result<Conversation> {
        if answer.id != id || !expected(&members(&answer)) {
            return Err(Error::Answer("another conversation than the one asked for".into()));
        }
        self.adopt_conversation(answer.clone()).await?;
        Ok(answer)
    }
}
