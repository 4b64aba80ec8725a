//! Messages on their way out: on disk from the moment the user sends them until the server has accepted them.
//!
//! One message of a conversation is under way at a time, because each names the one before it. A message goes
//! through three states, each committed before the next begins:
//!
//! 1. **draft**: what the user wrote;
//! 2. **sealed**: number, seal, body, commitment, signature; fixed from here on unless the server's answer makes
//!    the context another one, and then sealed anew with another key;
//! 3. **enveloped**: encrypted for each device, in one transaction with the sessions that were advanced.
//!
//! A crash between sending and the answer leaves state 3: the same request is sent again, and the server gives
//! the first answer again.

mod build;
pub(crate) mod held;
pub(crate) mod post;
mod repair;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};
use sigilo_seal::{Commitment, Content, ContentBody};
use sigilo_wire::{
    ClientMessageId, ConversationId, ErrorCode, Timestamp,
    message::{Deliver, MessageKind, Priority},
};

use crate::{
    Error, Result,
    engine::Engine,
    event::ClientEvent,
    message::ShownMessage,
    profile::records::{OutboxItem, SecretBytes},
    refusal::{self, DecisionVerdict},
};

/// The SDK's limit on the text of a message, in characters.
pub const MAX_TEXT_CHARS: usize = 5_000;
/// A message is scheduled at most this far ahead.
pub const MAX_SCHEDULE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Scheduled messages are looked for at least this often: a device that slept, or whose clock was set, finds out.
const SCHEDULE_LOOK: Duration = Duration::from_secs(60);
/// First wait before a send is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait before a send is tried again.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// The longest wait the server may ask for.
const ASKED_MOST: Duration = Duration::from_secs(15 * 60);

/// How a message is to be sent.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// The priority.
    pub priority: Priority,
    /// Wake the recipients with an urgent push.
    pub urgent: bool,
    /// When the server hands it on.
    pub deliver: Deliver,
    /// Seconds until it disappears for participants; 0: never.
    pub expires_in_s: u64,
    /// The message it answers.
    pub reply_to: Option<Commitment>,
    /// The message it is about: for edits, deletes and reactions.
    pub target: Option<Commitment>,
    /// When this device sends it, at most [`MAX_SCHEDULE`] ahead; without, or when it is past, now. Until then it is
    /// on this device only; a device that is off at that time sends it when it is back.
    pub scheduled_for: Option<Timestamp>,
}

/// What the user wrote, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) client_message_id: ClientMessageId,
    pub(crate) conversation: ConversationId,
    pub(crate) kind: MessageKind,
    pub(crate) priority: Priority,
    /// The content's JSON.
    pub(crate) content: SecretBytes,
    pub(crate) target: Option<Commitment>,
    pub(crate) reply_to: Option<Commitment>,
    pub(crate) urgent: bool,
    pub(crate) deliver: Deliver,
    pub(crate) expires_in_s: u64,
    pub(crate) created_at: Timestamp,
    #[serde(default)]
    pub(crate) scheduled_for: Option<Timestamp>,
}

impl Draft {
    /// When it is sent, if that is still to come.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        self.scheduled_for.filter(|at| *at > now)
    }
}

/// How far a message came when `send` returned. Later news comes as events.
#[derive(Clone, Debug)]
pub enum SendState {
    /// It is on the server's disk.
    Accepted(Box<ShownMessage>),
    /// It waits on this device and is sent as soon as possible.
    Queued {
        /// Why it waits, for people.
        reason: String,
    },
    /// The server holds it until the conversation opens.
    Held {
        /// When that is, as far as is known.
        until: Timestamp,
    },
    /// It is on this device, and sent at its time.
    Scheduled {
        /// When.
        at: Timestamp,
    },
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The device's id for it.
    pub client_message_id: ClientMessageId,
    /// How far it came.
    pub state: SendState,
}

impl Sent {
    /// The accepted message.
    #[must_use]
    pub fn accepted(&self) -> Option<&ShownMessage> {
        match &self.state {
            SendState::Accepted(message) => Some(message),
            SendState::Queued { .. } | SendState::Held { .. } | SendState::Scheduled { .. } => None,
        }
    }
}

impl Engine {
    /// Keeps a message on disk, then tries to send it.
    ///
    /// # Errors
    /// [`Error::Content`]; the server's refusal, when the message was refused for good.
    pub(crate) async fn send(
        &self,
        conversation: ConversationId,
        content: Content,
        options: SendOptions,
    ) -> Result<Sent> {
        let kind = check(&content, &options)?;
        let expires_in_s = self.expiry_of_edit(kind, &options).await?;
        let content = SecretBytes(content.to_json().to_vec());
        let draft = self.draft(conversation, kind, content, &SendOptions { expires_in_s, ..options })?;
        let (client_message_id, due) = (draft.client_message_id, draft.due(self.env.now()));
        let item = self.queued(draft).await?;
        self.profile.put(&item).await?;
        let mut outcome = self.flush().await?;
        if let Some(at) = due {
            return Ok(Sent { client_message_id, state: SendState::Scheduled { at } });
        }
        held::sent(client_message_id, outcome.results.remove(&client_message_id))
    }

    /// A message under a name of its own.
    ///
    /// # Errors
    /// [`Error::Content`] when it is scheduled too far ahead.
    pub(crate) fn draft(
        &self,
        conversation: ConversationId,
        kind: MessageKind,
        content: SecretBytes,
        options: &SendOptions,
    ) -> Result<Draft> {
        let now = self.env.now();
        if options.scheduled_for.is_some_and(|at| at > now + MAX_SCHEDULE) {
            return Err(Error::Content("it is scheduled more than 30 days ahead"));
        }
        Ok(Draft {
            client_message_id: ClientMessageId::new(now, self.env.bytes()),
            conversation,
            kind,
            priority: options.priority,
            content,
            target: options.target,
            reply_to: options.reply_to,
            urgent: options.urgent,
            deliver: options.deliver,
            expires_in_s: options.expires_in_s,
            created_at: now,
            scheduled_for: options.scheduled_for,
        })
    }

    /// A draft as the last of those that wait.
    pub(crate) async fn queued(&self, draft: Draft) -> Result<OutboxItem> {
        Ok(OutboxItem {
            draft,
            position: self.next_outbox_position().await?,
            sealed: None,
            repairs: 0,
            attempts: 0,
            refused: false,
            problem: None,
            held: None,
            discarding: false,
        })
    }

    async fn next_outbox_position(&self) -> Result<i64> {
        let newest =
            self.profile.list::<OutboxItem>(b"", i64::MAX, 1, crate::profile::Order::NewestFirst).await?;
        let after = newest.first().map_or(0, |item| item.position + 1);
        Ok(after.max(self.env.now().micros()))
    }

    /// Sends what waits, oldest first; a conversation whose first message waits is left alone. Scheduled messages hold
    /// up nobody: one is sealed when its time has come, and so takes its place behind what was sent meanwhile.
    pub(crate) async fn flush(&self) -> Result<Flushed> {
        let mut flushed = Flushed::default();
        let mut waiting = HashSet::new();
        let now = self.env.now();
        self.queue_uploaded().await?;
        for item in self.profile.all::<OutboxItem>(b"").await? {
            let conversation = item.draft.conversation;
            if item.discarding {
                match self.withdraw(&item).await {
                    Err(error @ (Error::Profile(_) | Error::Internal(_))) => return Err(error),
                    Err(error) if error.is_for_later() => self.flush_in(self.env.jitter(RETRY_MOST)),
                    _ => {}
                }
                continue;
            }
            if item.refused || item.held.is_some() || waiting.contains(&conversation) {
                continue;
            }
            if let Some(due) = item.draft.due(now) {
                self.flush_in(due.since(now).min(SCHEDULE_LOOK));
                continue;
            }
            let id = item.draft.client_message_id;
            let result = self.deliver(item).await?;
            let offline = matches!(&result, Err(Stop::Waits { offline: true, .. }));
            if matches!(&result, Err(Stop::Waits { .. })) {
                waiting.insert(conversation);
            }
            flushed.results.insert(id, result);
            if offline {
                // The others would only wait for the same silence.
                break;
            }
        }
        Ok(flushed)
    }

    /// Brings one message to the server, and keeps what became of it.
    ///
    /// # Errors
    /// Those of the profile only.
    async fn deliver(&self, mut item: OutboxItem) -> Result<Result<Brought, Stop>> {
        let error = match self.try_deliver(&mut item).await {
            Ok(brought) => {
                if let Brought::Accepted(message) = &brought {
                    self.tell(ClientEvent::Accepted(message.clone()));
                }
                return Ok(Ok(brought));
            }
            Err(error @ (Error::Profile(_) | Error::Internal(_))) => return Err(error),
            Err(error) => error,
        };
        let conversation = item.draft.conversation;
        let client_message_id = item.draft.client_message_id;
        let reason = error.to_string();
        item.attempts = item.attempts.saturating_add(1);
        item.problem = Some(reason.clone());
        if waits(&error) {
            let exponent = item.attempts.saturating_sub(1).min(6);
            let wait = match error.retry_after() {
                Some(wait) => self.env.not_before(wait.min(ASKED_MOST)),
                None => self.env.jitter((RETRY_FIRST * 2u32.pow(exponent)).min(RETRY_MOST)),
            };
            self.flush_in(wait);
            self.profile.put(&item).await?;
            self.tell(ClientEvent::Waiting { conversation, client_message_id, reason: reason.clone() });
            let offline = matches!(error, Error::Offline(_) | Error::LoggedOut);
            return Ok(Err(Stop::Waits { reason, offline }));
        }
        item.refused = true;
        self.profile.put(&item).await?;
        let body = match &error {
            Error::Server { body, .. } => Some(body.clone()),
            _ => None,
        };
        let decision = match refusal::signed(&error) {
            Some((decision, policies, asked)) => self.decision_verdict(&decision, &policies, asked).await,
            None => DecisionVerdict::Missing,
        };
        self.tell(ClientEvent::Refused { conversation, client_message_id, body, decision, reason });
        Ok(Err(Stop::Refused(error)))
    }

    /// Forgets a message that was refused or still waits. One that the server holds is taken back there; from before
    /// that request on this device never sends it again, also when the answer is lost.
    pub(crate) async fn discard(&self, id: ClientMessageId) -> Result<()> {
        let item: Option<OutboxItem> = self.profile.get(id.as_bytes()).await?;
        let mut item = item.ok_or(Error::Unknown("this message"))?;
        if item.held.is_none() && !item.discarding {
            if item.sealed.is_some() && !item.refused {
                // The server may have it already.
                return Err(on_its_way());
            }
            return self.forget(id).await;
        }
        item.discarding = true;
        self.profile.put(&item).await?;
        self.withdraw(&item).await
    }

    /// Takes a message back from the server, which held it when last heard of.
    async fn withdraw(&self, item: &OutboxItem) -> Result<()> {
        let id = item.draft.client_message_id;
        if let Some(held) = item.held {
            match self.api.cancel_held(held.message_id).await {
                Ok(()) => return self.forget(id).await,
                Err(error) if error.code() == Some(ErrorCode::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        // It was released, or it is gone: by an earlier request of this kind, or back to this device.
        if self.is_in_history(item).await? {
            return Err(on_its_way());
        }
        self.forget(id).await
    }

    pub(super) async fn forget(&self, id: ClientMessageId) -> Result<()> {
        let step = self.profile.step();
        step.delete::<OutboxItem>(id.as_bytes());
        step.commit().await
    }

    /// The messages of a conversation that wait or were refused, oldest first.
    pub(crate) async fn waiting(&self, conversation: ConversationId) -> Result<Vec<OutboxItem>> {
        let mut items = self.profile.all::<OutboxItem>(b"").await?;
        items.retain(|item| item.draft.conversation == conversation);
        Ok(items)
    }
}

/// What became of each message that was tried.
#[derive(Default)]
pub(crate) struct Flushed {
    results: std::collections::HashMap<ClientMessageId, Result<Brought, Stop>>,
}

impl Flushed {
    /// What became of one of them, if it was tried.
    pub(crate) fn take(&mut self, id: ClientMessageId) -> Option<Result<Brought, Stop>> {
        self.results.remove(&id)
    }
}

/// Where the server has a message.
pub(crate) enum Brought {
    /// On its disk, for good.
    Accepted(Box<ShownMessage>),
    /// Waiting for the opening.
    Held(Timestamp),
}

/// Why a message was not accepted.
pub(crate) enum Stop {
    /// It will be tried again.
    Waits {
        /// For people.
        reason: String,
        /// Whether nothing else can be sent either.
        offline: bool,
    },
    /// It will not.
    Refused(Error),
}

fn on_its_way() -> Error {
    Error::Content("it is already on its way")
}

/// Whether a message is kept for another try.
fn waits(error: &Error) -> bool {
    let needs_somebody =
        matches!(error, Error::IdentityChanged { .. } | Error::KeysMissing { .. } | Error::LoggedOut);
    error.is_transient() || needs_somebody || error.code() == Some(ErrorCode::KeysMissing)
}

fn check(content: &Content, options: &SendOptions) -> Result<MessageKind> {
    let kind: MessageKind = content.kind().parse().map_err(|_| Error::Content("its kind is not known"))?;
    if kind.needs_target() != options.target.is_some() {
        return Err(Error::Content("only edits, deletes and reactions are about another message"));
    }
    let text = match &content.body {
        ContentBody::Text(text) => &text.text,
        ContentBody::Edit(edit) => &edit.text,
        _ => return Ok(kind),
    };
    if text.trim().is_empty() {
        return Err(Error::Content("it is empty"));
    }
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(Error::Content("it is longer than 5,000 characters"));
    }
    Ok(kind)
}
