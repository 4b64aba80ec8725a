//! What conversations are called: the newest `profile` message counts, when every check found it good. The server
//! knows that there was one, and no word of it.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use sigilo_seal::{Content, ContentBody, content::Profile};
use sigilo_wire::{
    ConversationId,
    message::{Message, MessageKind},
};

use crate::{
    Client, Error, Result, SendOptions, Sent,
    engine::Engine,
    message::ShownMessage,
    profile::{
        Record, Step,
        records::{SecretBytes, StoredMessage},
    },
};

/// The newest description of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Title {
    conversation: ConversationId,
    conversation_seq: i64,
    /// The content's JSON.
    content: SecretBytes,
}

impl Record for Title {
    const TABLE: &'static str = "title";

    fn key(&self) -> Vec<u8> {
        self.conversation.as_bytes().to_vec()
    }
}

impl Title {
    fn profile(&self) -> Option<Profile> {
        match Content::parse(MessageKind::Profile.as_str(), &self.content.0).ok()?.body {
            ContentBody::Profile(profile) => Some(profile),
            _ => None,
        }
    }
}

impl Client {
    /// Gives a conversation a title, a description and labels, for everybody in it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn describe(&self, conversation: ConversationId, profile: Profile) -> Result<Sent> {
        self.send(conversation, Content::new(ContentBody::Profile(profile)), SendOptions::default()).await
    }

    /// What each conversation is called that has been given a title, a description or labels.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn descriptions(&self) -> Result<BTreeMap<ConversationId, Profile>> {
        self.act(|engine| async move { engine.descriptions().await }.boxed_local()).await?
    }

    /// Sends what a message says to another conversation, marked as forwarded.
    ///
    /// # Errors
    /// [`Error::Content`] for what cannot be forwarded: what is not authentic, disappears, was deleted, holds files or
    /// is about another message. Otherwise as [`Client::send`].
    pub async fn forward(&self, message: &ShownMessage, to: ConversationId) -> Result<Sent> {
        self.send(to, forwarded(message)?, SendOptions::default()).await
    }
}

impl Engine {
    /// Keeps a description that is newer than the one known.
    pub(crate) async fn take_title(&self, step: &Step, stored: &StoredMessage) -> Result<()> {
        let message = &stored.message;
        let verified = stored.verification.is_verified();
        let Some(content) = &stored.content else { return Ok(()) };
        if message.message_type != MessageKind::Profile || !verified {
            return Ok(());
        }
        let known: Option<Title> = step.get(message.conversation_id.as_bytes()).await?;
        let title = Title {
            conversation: message.conversation_id,
            conversation_seq: message.conversation_seq,
            content: content.clone(),
        };
        let newer = known.is_none_or(|known| known.conversation_seq < title.conversation_seq);
        if newer && title.profile().is_some() { step.put(&title) } else { Ok(()) }
    }

    /// What a message called the conversation goes with it.
    pub(crate) async fn forget_title(&self, step: &Step, message: &Message) -> Result<()> {
        let key = message.conversation_id.as_bytes();
        let known: Option<Title> = step.get(key).await?;
        if known.is_some_and(|known| known.conversation_seq == message.conversation_seq) {
            step.delete::<Title>(key);
        }
        Ok(())
    }

    pub(crate) async fn descriptions(&self) -> Result<BTreeMap<ConversationId, Profile>> {
        let titles = self.profile.all::<Title>(b"").await?;
        let named = titles.iter().filter_map(|title| Some((title.conversation, title.profile()?)));
        Ok(named.collect())
    }
}

/// The content of a message for another conversation.
fn forwarded(message: &ShownMessage) -> Result<Content> {
    let refused = if !message.is_verified() {
        "only what every check found good is forwarded"
    } else if message.deleted_at.is_some() {
        "it was deleted"
    } else if message.expires_at.is_some() || message.expired {
        "a message that disappears is not forwarded"
    } else {
        ""
    };
    if !refused.is_empty() {
        return Err(Error::Content(refused));
    }
    let content = message.content.clone().ok_or(Error::Content("it has no content"))?;
    match &content.body {
        ContentBody::Prescription(prescription) if prescription.document.is_some() => {
            return Err(Error::Content("files are shared again, not forwarded"));
        }
        ContentBody::Text(_)
        | ContentBody::Location(_)
        | ContentBody::Appointment(_)
        | ContentBody::Prescription(_) => {}
        ContentBody::File(_) => return Err(Error::Content("files are shared again, not forwarded")),
        _ => return Err(Error::Content("it is about another message or the conversation itself")),
    }
    Ok(Content { forwarded: true, ..content })
}
