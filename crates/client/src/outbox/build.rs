//! Sealing a message and encrypting its envelopes.

use std::time::Duration;

use sigilo_seal::{ArchiveKey, Content, ContentKey, Envelope, IdentitySecret};
use sigilo_wire::{Timestamp, message::RecipientEnvelope};

use crate::{
    Error, Result,
    engine::Engine,
    profile::records::{ConversationRecord, ONLY, OutboxItem, OwnIdentity, SealedItem, SecretBytes, Shown},
    sealer::{Sealer, Unsealed},
    sessions,
};

/// The server refuses a claim older than 7 days: a message that waited 6 is sent under the present time.
pub(super) const OLDEST_CLAIM: Duration = Duration::from_secs(6 * 24 * 3600);

impl Engine {
    /// The user's identity key.
    pub(crate) async fn identity(&self) -> Result<IdentitySecret> {
        let own: OwnIdentity = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        Ok(IdentitySecret::from_bytes(own.secret.key()?))
    }

    /// Seals the message unless it is, and encrypts its envelopes unless they are.
    pub(crate) async fn prepare(&self, item: &mut OutboxItem) -> Result<()> {
        let conversation = self.current_conversation(item.draft.conversation).await?;
        if item.sealed.is_none() {
            item.sealed = Some(self.seal(item, &conversation).await?);
            self.profile.put(item).await?;
        }
        if item.sealed.as_ref().is_some_and(|sealed| !sealed.enveloped) {
            self.envelop(item, &conversation).await?;
        }
        Ok(())
    }

    async fn seal(&self, item: &OutboxItem, conversation: &ConversationRecord) -> Result<SealedItem> {
        let identity = self.identity().await?;
        let seal = self.own_seal(conversation, &identity).await?;
        let message = self.unsealed(item).await?;
        let account = self.account()?;
        let sealer = Sealer {
            tenant: account.tenant,
            conversation: item.draft.conversation,
            sender: account.user,
            device: account.device,
            identity,
            seal_id: seal.seal.seal_id,
            archive: ArchiveKey::from_bytes(seal.archive_key.key()?),
        };
        let key = ContentKey::generate(&mut self.env.rng());
        let (request, _) = sealer.seal(&message, &key, &mut self.env.rng());
        let content_key = SecretBytes(key.as_bytes().to_vec());
        Ok(SealedItem { request, content_key, enveloped: false })
    }

    async fn unsealed(&self, item: &OutboxItem) -> Result<Unsealed> {
        let draft = &item.draft;
        let tail = self.tail(draft.conversation).await?;
        let shown: Option<Shown> = self.profile.get(draft.conversation.as_bytes()).await?;
        let content = Content::parse(draft.kind.as_str(), &draft.content.0).map_err(Error::internal)?;
        let attachments = content.attachments();
        Ok(Unsealed {
            client_message_id: draft.client_message_id,
            sent_at: self.claim(draft.scheduled_for.unwrap_or(draft.created_at).max(draft.created_at)),
            content,
            kind: draft.kind,
            priority: draft.priority,
            device_seq: tail.map_or(1, |(device_seq, _)| device_seq + 1),
            previous: tail.map(|(_, commitment)| commitment),
            seen: shown.map(|shown| shown.commitment),
            target: draft.target,
            reply_to: draft.reply_to,
            attachments,
            urgent: draft.urgent,
            deliver: draft.deliver,
            expires_in_s: draft.expires_in_s,
        })
    }

    fn claim(&self, written: Timestamp) -> Timestamp {
        let now = self.env.now();
        if now.since(written) > OLDEST_CLAIM { now } else { written }
    }

    /// Encrypts the message key for each device; sessions and message are committed together.
    async fn envelop(&self, item: &mut OutboxItem, conversation: &ConversationRecord) -> Result<()> {
        let mut targets = Vec::new();
        for user in &conversation.shown_members {
            let contact = self.recipient(*user).await?;
            targets.extend(self.other_devices(&contact)?.into_iter().map(|device| (*user, device)));
        }
        let sealed = item.sealed.as_mut().ok_or_else(|| Error::internal("an unsealed message"))?;
        let envelope = Envelope {
            key: ContentKey::from_bytes(sealed.content_key.key()?),
            commitment: sealed.request.commitment.into(),
        };
        let plaintext = envelope.encode();
        let step = self.profile.step();
        let mut envelopes: Vec<RecipientEnvelope> = Vec::with_capacity(targets.len());
        for (user, device) in targets {
            let (number, registration) = (device.device, device.registration_id);
            envelopes
                .push(sessions::encrypt(&step, user, number, registration, &plaintext, &self.env).await?);
        }
        sealed.request.envelopes = envelopes;
        sealed.enveloped = true;
        step.put(item)?;
        step.commit().await
    }
}
