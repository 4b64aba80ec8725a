//! Being there: typing, online, away, busy, and what of it others may notice. Nothing of it is kept on this device.

use std::{cell::Cell, time::Duration};

use futures_util::FutureExt as _;
use sigilo_wire::{
    ConversationId,
    account::UpdateMe,
    event::{ClientFrame, ServerFrame},
    presence::{PresenceStatus, Privacy, PrivacyChange, SetStatus, Typing, TypingIndicator, UserStatus},
};
use tokio::time::Instant;

use crate::{Client, Error, Result, engine::Engine, event::ClientEvent};

/// That the user is typing is not said again sooner than this; the server drops what comes faster.
const SAME_AGAIN: Duration = Duration::from_secs(3);

/// What this device said last.
#[derive(Default)]
pub(crate) struct Presence {
    status: Cell<Option<PresenceStatus>>,
    typing: Cell<Option<(ConversationId, bool, Instant)>>,
}

impl Client {
    /// Lets the others of a conversation know that the user is typing, or has stopped. Call it at every key: the same
    /// is said once in three seconds. Without a connection nothing is said.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn typing(&self, conversation: ConversationId, typing: bool) -> Result<()> {
        self.act(move |engine| async move { engine.typing(conversation, typing) }.boxed_local()).await
    }

    /// Shows the user as online, away or busy while this device is connected, also after a lost connection, and
    /// brings a [`ClientEvent::Status`] for everybody who shows theirs. Before the first call the device shows nobody
    /// and hears of nobody.
    ///
    /// # Errors
    /// [`Error::Content`] for [`PresenceStatus::Offline`]: [`Client::disconnect`] is how to leave.
    pub async fn set_status(&self, status: PresenceStatus) -> Result<()> {
        if status == PresenceStatus::Offline {
            return Err(Error::Content("offline is said by leaving"));
        }
        self.act(move |engine| async move { engine.set_status(status) }.boxed_local()).await
    }

    /// What others may notice of the user.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn privacy(&self) -> Result<Privacy> {
        self.act(|engine| async move { Ok(engine.api.me().await?.privacy) }.boxed_local()).await?
    }

    /// Changes what others may notice; gives what they may from now on. What is hidden from them is not seen of them
    /// either.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn set_privacy(&self, change: PrivacyChange) -> Result<Privacy> {
        self.act(move |engine| {
            async move {
                let update = UpdateMe { privacy: change, ..UpdateMe::default() };
                Ok(engine.api.update_me(&update).await?.privacy)
            }
            .boxed_local()
        })
        .await?
    }
}

impl Engine {
    fn typing(&self, conversation: ConversationId, typing: bool) {
        let said = self.presence.typing.get();
        let just_said = |(id, was, at): (ConversationId, bool, Instant)| {
            id == conversation && was == typing && at.elapsed() < SAME_AGAIN
        };
        let Some(socket) = self.open_socket().filter(|_| !said.is_some_and(just_said)) else { return };
        self.presence.typing.set(Some((conversation, typing, Instant::now())));
        let data = Typing { typing };
        socket.send(ClientFrame::Typing { request_id: None, conversation_id: Some(conversation), data });
    }

    fn set_status(&self, status: PresenceStatus) {
        self.presence.status.set(Some(status));
        self.show_status();
    }

    /// Says how the user is, once it was said at all.
    pub(crate) fn show_status(&self) {
        if let (Some(status), Some(socket)) = (self.presence.status.get(), self.open_socket()) {
            socket.send(ClientFrame::Status { request_id: None, data: SetStatus { status } });
        }
    }

    /// Tells that somebody is typing, or has stopped.
    pub(crate) fn is_typing(&self, frame: &ServerFrame) -> Result<()> {
        let TypingIndicator { conversation_id: conversation, user_id: user, typing } = read(frame)?;
        self.tell(ClientEvent::Typing { conversation, user, typing });
        Ok(())
    }

    /// Tells how somebody is.
    pub(crate) fn status_of(&self, frame: &ServerFrame) -> Result<()> {
        let UserStatus { user_id: user, status, last_seen_at } = read(frame)?;
        self.tell(ClientEvent::Status { user, status, last_seen_at });
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(frame: &ServerFrame) -> Result<T> {
    serde_json::from_value(frame.data.clone()).map_err(|error| Error::Answer(error.to_string()))
}
