//! Messages on their way in: decrypted, checked, stored, shown, and only then acknowledged.
//!
//! Everything a message changes (session, prekeys, chain, history) is committed in one transaction. A message
//! that came before is recognised by sender, device and client message id. What fails a check is kept and shown
//! with its reason.

use sigilo_seal::{
    ArchiveKey, Commitment, Context, Envelope, IdentityPublicKey, NotAuthentic, Receipt, SealedMessage,
    SessionPeer,
    message::{open_archived, open_message},
};
use sigilo_wire::{
    Base64,
    event::{self, NewMessageEvent},
    message::{Accepted, Message},
};

use crate::{
    Error, Result,
    contacts::CLOCK_ERROR,
    engine::Engine,
    event::{ClientEvent, TimelineNote},
    message::{ChainVerdict, NotAuthenticReason, ReceiptVerdict, SealVerdict, Verification},
    profile::{
        Step,
        records::{
            Contact, MessageKey, MessageName, OutboxItem, SealedItem, SecretBytes, SeenSeal, StoredMessage,
        },
    },
    sessions,
};

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As an event, with an envelope.
    Live,
    /// From the history, opened by its record seal.
    History,
}

/// What the checks found.
struct Checked {
    content: Option<SecretBytes>,
    verification: Verification,
}

impl Checked {
    fn refused(reason: impl Into<NotAuthenticReason>) -> Self {
        Self { content: None, verification: Verification::NotAuthentic(reason.into()) }
    }

    const fn is_authentic(&self) -> bool {
        !matches!(self.verification, Verification::NotAuthentic(_))
    }
}

impl Engine {
    /// Takes a message in. Returns once it is on disk.
    ///
    /// # Errors
    /// Transient ones, which leave the message to come again, and those of the profile.
    pub(crate) async fn receive(&self, event: NewMessageEvent) -> Result<()> {
        let message = event.message;
        let account = self.account()?;
        if (message.sender.user_id, message.sender.device_id) == (account.user, account.device) {
            return self.take_echo(message).await;
        }
        let known: Option<StoredMessage> = self.profile.get(&MessageKey::of(&message).bytes()).await?;
        if let Some(known) = known.as_ref().filter(|known| known.is_authentic()) {
            if !self.is_same(&known.message, &message) {
                let step = self.profile.step();
                self.note_contradiction(&step, known).await?;
                step.commit().await?;
            }
            return Ok(());
        }
        // Not being able to see the conversation is no reason to hide the message.
        self.current_conversation(message.conversation_id).await.map_or_else(not_for_later, |_| Ok(()))?;
        self.prefetch_sender(&message).await?;
        let seal = self.seal_of(&message, Way::Live).await?;
        let (step, checked) = match &event.envelope {
            Some(envelope) => self.check_envelope(&message, envelope, &seal).await?,
            // A device that had no fresh keys reads by history.
            None => (self.profile.step(), self.check_archived(&message, &seal).await?),
        };
        if !checked.is_authentic() && known.is_some_and(|known| self.is_same(&known.message, &message)) {
            // Shown before, with its reason.
            return Ok(());
        }
        let stored = self.place(&step, message, checked, &seal, Way::Live).await?;
        step.commit().await?;
        self.after_keeping(&stored.message).await?;
        self.tell_of(stored).await
    }

    /// Takes in a message of the history.
    #[cfg(test)]
    pub(crate) async fn receive_archived(&self, message: Message) -> Result<()> {
        self.receive_page(vec![message]).await.map(|_| ())
    }

    /// Takes in messages of a conversation's history, newest first as the server gives them, in one transaction. Gives
    /// how many were new.
    pub(crate) async fn receive_page(&self, messages: Vec<Message>) -> Result<u64> {
        let step = self.profile.step();
        let mut new = Vec::new();
        // Oldest first, so that each finds the one it follows and the one it is about.
        for message in messages.into_iter().rev() {
            new.extend(self.take_archived(&step, message).await?);
        }
        step.commit().await?;
        for stored in &new {
            self.after_keeping(&stored.message).await?;
        }
        u64::try_from(new.len()).map_err(Error::internal)
    }

    /// Gives the message when it was not known, or was not authentic before.
    async fn take_archived(&self, step: &Step, message: Message) -> Result<Option<StoredMessage>> {
        let known: Option<StoredMessage> = step.get(&MessageKey::of(&message).bytes()).await?;
        if let Some(known) = known.as_ref().filter(|known| known.is_authentic()) {
            if self.is_same(&known.message, &message) {
                refresh_marks(step, known.clone(), message)?;
            } else {
                self.note_contradiction(step, known).await?;
            }
            return Ok(None);
        }
        self.prefetch_sender(&message).await?;
        let seal = self.seal_of(&message, Way::History).await?;
        let checked = self.check_archived(&message, &seal).await?;
        if !checked.is_authentic() && known.is_some_and(|known| self.is_same(&known.message, &message)) {
            return Ok(None);
        }
        self.place(step, message, checked, &seal, Way::History).await.map(Some)
    }

    /// The server has another message under the name of one that is known and authentic: the first stays, and it is
    /// said once.
    async fn note_contradiction(&self, step: &Step, known: &StoredMessage) -> Result<()> {
        if known.contradicted {
            return Ok(());
        }
        step.put(&StoredMessage { contradicted: true, ..known.clone() })?;
        let note = TimelineNote::Contradicted {
            user: known.message.sender.user_id,
            conversation_seq: known.message.conversation_seq,
        };
        self.note(known.message.conversation_id, note).await
    }

    /// Whether two messages of one name say the same, as far as their sender vouches for it. A body that was erased
    /// says nothing.
    fn is_same(&self, known: &Message, other: &Message) -> bool {
        let Ok(account) = self.account() else { return false };
        let signed = |message: &Message| {
            let context = Context::of_message(account.tenant, message).digest();
            (context, message.commitment, message.signature, message.wrapped_key)
        };
        signed(known) == signed(other) && (known.body.is_empty() || known.body == other.body)
    }

    /// The server's word that a message of this device was accepted, when the answer to the send was lost.
    async fn take_echo(&self, message: Message) -> Result<()> {
        let item: Option<OutboxItem> = self.profile.get(message.client_message_id.as_bytes()).await?;
        let same = |sealed: &SealedItem| sealed.request.commitment == message.commitment;
        let sent = item.and_then(|item| item.sealed.clone().filter(same).map(|sealed| (item, sealed)));
        // One that this profile does not have, perhaps not even this device's own: it is to be seen.
        let Some((item, sealed)) = sent else {
            let step = self.profile.step();
            let new = self.take_archived(&step, message).await?;
            step.commit().await?;
            let Some(stored) = new else { return Ok(()) };
            self.after_keeping(&stored.message).await?;
            return self.tell_of(stored).await;
        };
        let accepted = Accepted {
            message_id: message.id,
            conversation_seq: message.conversation_seq,
            received_at: message.received_at,
            receipt: message.receipt,
        };
        let shown = self.finish(&item, &sealed, &accepted).await?;
        self.tell(ClientEvent::Accepted(shown));
        Ok(())
    }

    /// Learns the sender's keys before the first message is opened; a refusal is no obstacle, because the
    /// session itself carries the identity.
    async fn prefetch_sender(&self, message: &Message) -> Result<()> {
        self.known_or_fetched(message.sender.user_id).await.map_or_else(not_for_later, |_| Ok(()))
    }

    async fn seal_of(&self, message: &Message, way: Way) -> Result<SeenSeal> {
        let sender = &message.sender;
        self.seen_seal(message.conversation_id, message.seal_id, sender.user_id, sender.device_id, way).await
    }

    /// Opens the envelope in its session, then makes every check of the protocol. On a failure in the session,
    /// the step that is given back holds none of its half-made changes.
    async fn check_envelope(
        &self,
        message: &Message,
        envelope: &event::Envelope,
        seal: &SeenSeal,
    ) -> Result<(Step, Checked)> {
        let (user, device) = (message.sender.user_id, message.sender.device_id);
        let step = self.profile.step();
        let opened = match sessions::decrypt(&step, user, device, envelope, &self.env).await {
            Ok(opened) => opened,
            Err(error @ Error::Profile(_)) => return Err(error),
            Err(error) => {
                let clean = self.profile.step();
                // The next message to that device opens a new session.
                sessions::set_aside(&clean, user, device).await?;
                let reason = NotAuthenticReason::Envelope(error.to_string());
                return Ok((clean, Checked::refused(reason)));
            }
        };
        let Ok(key) = Envelope::decode(&opened.plaintext) else {
            return Ok((step, Checked::refused(NotAuthenticReason::EnvelopeContent)));
        };
        let archive = match archive_key(seal) {
            Ok(archive) => archive,
            Err(reason) => return Ok((step, Checked::refused(reason))),
        };
        let sealed = SealedMessage::of_message(self.account()?.tenant, message);
        let peer = SessionPeer { user, device, identity: opened.identity };
        let result = open_message(&sealed, &peer, &key, &archive);
        let contact: Option<Contact> = step.get(user.as_bytes()).await?;
        if contact.as_ref().is_some_and(|contact| contact.earlier(&opened.identity).is_some()) {
            // Nothing is sent to it any more.
            sessions::set_aside(&step, user, device).await?;
        }
        Ok((step, checked(result, message, contact.as_ref(), &opened.identity)))
    }

    /// Makes every check that can be made without an envelope.
    async fn check_archived(&self, message: &Message, seal: &SeenSeal) -> Result<Checked> {
        let contact: Option<Contact> = self.profile.get(message.sender.user_id.as_bytes()).await?;
        let Some(contact) = contact else { return Ok(Checked::refused(NotAuthenticReason::UnknownIdentity)) };
        let archive = match archive_key(seal) {
            Ok(archive) => archive,
            Err(reason) => return Ok(Checked::refused(reason)),
        };
        let sealed = SealedMessage::of_message(self.account()?.tenant, message);
        // The identity of its time is the one its seal names.
        let member = seal.members.iter().find(|member| member.user_id == contact.user);
        let known = contact.identities().copied().find(|identity| {
            member.is_some_and(|member| member.identity_key.as_slice() == identity.as_bytes())
        });
        let Some(identity) = known else { return Ok(Checked::refused(NotAuthenticReason::UnknownIdentity)) };
        Ok(checked(open_archived(&sealed, &identity, &archive), message, Some(&contact), &identity))
    }

    /// Puts a message in its place among the others.
    async fn place(
        &self,
        step: &Step,
        message: Message,
        checked: Checked,
        seal: &SeenSeal,
        way: Way,
    ) -> Result<StoredMessage> {
        let authentic = checked.is_authentic();
        let chain = self.chain_verdict(step, &message, authentic, way).await?;
        let key = MessageKey::of(&message);
        let commitment = Commitment::from(message.commitment);
        step.put(&MessageName { name: Base64(message.id.as_bytes().to_vec()), message: key })?;
        if authentic {
            step.put(&MessageName { name: Base64(commitment.as_bytes().to_vec()), message: key })?;
            self.show(step, message.conversation_id, message.conversation_seq, commitment).await?;
        }
        if authentic && chain != ChainVerdict::Forked {
            self.close_gap_after(step, &message).await?;
        }
        let mut stored = StoredMessage {
            receipt: self.receipt_verdict(&message).await,
            content: checked.content,
            verification: checked.verification,
            seal: seal.verdict.clone(),
            chain,
            contradicted: false,
            delivered_to: Vec::new(),
            message,
        };
        self.keep(step, &mut stored).await?;
        Ok(stored)
    }

    /// Shows a message that came live and is on disk.
    async fn tell_of(&self, stored: StoredMessage) -> Result<()> {
        let sender = stored.message.sender.user_id;
        let contact: Option<Contact> = self.profile.get(sender.as_bytes()).await?;
        if contact.is_some_and(|contact| contact.pending.is_some() && contact.refresh_due) {
            self.tell_identity_change(sender).await?;
        }
        let message = Box::new(self.folded(stored).await?);
        let target = message.target;
        self.tell(ClientEvent::Message(message));
        self.tell_of_target(target).await
    }

    /// Whether the clinic's receipt key signed what the server says of the message.
    pub(crate) async fn receipt_verdict(&self, message: &Message) -> ReceiptVerdict {
        let Ok(account) = self.account() else { return ReceiptVerdict::Missing };
        let key = match self.receipt_key(message.receipt.key_id.into(), message.received_at).await {
            Ok(key) => key,
            Err(error) => return ReceiptVerdict::Invalid(error.to_string()),
        };
        if Receipt::of_message(account.tenant, message).verify(&key, &message.receipt.signature) {
            ReceiptVerdict::Verified
        } else {
            ReceiptVerdict::Invalid("the clinic's receipt key did not sign it".into())
        }
    }
}

/// Takes over who has read a message that is known, and how far it has come.
fn refresh_marks(step: &Step, mut stored: StoredMessage, message: Message) -> Result<()> {
    let Message { read_by, delivery_status, .. } = message;
    if stored.message.read_by.len() < read_by.len() {
        (stored.message.read_by, stored.message.delivery_status) = (read_by, delivery_status);
        step.put(&stored)?;
    }
    Ok(())
}

/// What cannot be had later either does not stop a message from being shown.
fn not_for_later(error: Error) -> Result<()> {
    if error.is_for_later() { Err(error) } else { Ok(()) }
}

fn checked(
    result: std::result::Result<zeroize::Zeroizing<Vec<u8>>, NotAuthentic>,
    message: &Message,
    contact: Option<&Contact>,
    identity: &IdentityPublicKey,
) -> Checked {
    let content = match result {
        Ok(content) => content,
        Err(reason) => return Checked::refused(reason),
    };
    let verification = match contact.and_then(|contact| contact.earlier(identity)) {
        _ if contact.is_some_and(|contact| contact.identity == *identity) => Verification::Verified,
        // The server takes nothing from an identity that was replaced, but its devices still have it.
        Some(earlier) if message.received_at.since(earlier.until) > CLOCK_ERROR => {
            return Checked::refused(NotAuthenticReason::EndedIdentity);
        }
        Some(_) => Verification::EarlierIdentity,
        None => Verification::UnconfirmedIdentity,
    };
    Checked { content: Some(SecretBytes(content.to_vec())), verification }
}

fn archive_key(seal: &SeenSeal) -> std::result::Result<ArchiveKey, NotAuthenticReason> {
    let key = seal.archive_key.as_ref().and_then(|key| key.key().ok());
    key.map(ArchiveKey::from_bytes).ok_or_else(|| match &seal.verdict {
        SealVerdict::Bad(problem) => NotAuthenticReason::Seal(problem.clone()),
        SealVerdict::Unchecked(problem) => NotAuthenticReason::SealUnchecked(problem.clone()),
        SealVerdict::Good => NotAuthenticReason::Seal("it does not open".into()),
    })
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
