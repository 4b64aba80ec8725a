//! When a conversation opens, and messages that wait for it.

use sigilo_wire::{ClientMessageId, ConversationId, conversation::Permissions};

use crate::{
    Client, Error, Result,
    client::call,
    engine::Engine,
    outbox::Sent,
    profile::records::{ClinicRecord, ONLY},
};

/// What the user may do in a conversation now, and where else help is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayNow {
    /// Act by act; `next_open_at` where it is a matter of the clinic's hours.
    pub permissions: Permissions,
    /// The clinic's IANA time zone, to show that instant in.
    pub time_zone: String,
    /// The local emergency number.
    pub emergency_number: String,
}

impl Client {
    /// What the clinic's rules let the user do in a conversation now. The server's word, for user interfaces: each act is
    /// decided on when it is done.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn may_now(&self, conversation: ConversationId) -> Result<MayNow> {
        call!(self, engine => engine.may_now(conversation).await)
    }

    /// Sends a message that was refused with `outside_chat_hours` again, to be delivered when the conversation opens.
    ///
    /// # Errors
    /// [`Error::Unknown`] when no such message was refused; those of [`Client::send`].
    pub async fn deliver_when_open(&self, id: ClientMessageId) -> Result<Sent> {
        call!(self, engine => engine.deliver_when_open(id).await)
    }
}

impl Engine {
    async fn may_now(&self, conversation: ConversationId) -> Result<MayNow> {
        let record = self.refresh_conversation(conversation).await?;
        let permissions = record.conversation.permissions;
        let permissions =
            permissions.ok_or_else(|| Error::Answer("a conversation without permissions".into()))?;
        let clinic: ClinicRecord = if permissions.send.next_open_at.is_some() {
            // The time zone may be another one by now.
            self.refresh_clinic().await?
        } else {
            self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?
        };
        let ClinicRecord { time_zone, emergency_number, .. } = clinic;
        Ok(MayNow { permissions, time_zone, emergency_number })
    }
}
