//! Record seals: this device's own are made here. Everybody else's are judged once ([`check`]), remembered, and,
//! when they are bad, reported ([`seen`]).

pub(crate) mod check;
mod seen;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use sigilo_seal::{ArchiveKey, IdentitySecret, KeyId, Member, Recipient, RecordSeal, SealHeader};
use sigilo_wire::{ConversationId, ErrorCode, SealId, seal::SealMember};

use crate::{
    Error, Result,
    engine::Engine,
    message::SealVerdict,
    profile::records::{ConversationRecord, OwnSeal, SecretBytes, SeenSeal},
};

/// A seal is used for 30 days; this device renews it a day before the server asks.
const SEAL_AGE: Duration = Duration::from_secs(29 * 24 * 3600);
/// The server takes a seal up to 7 days old.
const UNPUBLISHED_AGE: Duration = Duration::from_secs(6 * 24 * 3600);

impl Engine {
    /// The seal this device sends under in a conversation: the one there is while it is for the current members
    /// and keys, otherwise a new one. On the server when this returns.
    pub(crate) async fn own_seal(
        &self,
        conversation: &ConversationRecord,
        identity: &IdentitySecret,
    ) -> Result<OwnSeal> {
        let id = conversation.conversation.id;
        let account = self.account()?;
        let records = self.clinic().await?.records_key(account.tenant, self.env.now())?;
        let view = self.member_view(conversation).await?;
        let known: Option<OwnSeal> = self.profile.get(id.as_bytes()).await?;
        let mut own = match known {
            Some(own) if self.is_current(&own, &view.members, records.key_id()) => own,
            _ => {
                let mut recipients = view.recipients;
                recipients.insert(0, Recipient::records(&records).map_err(clinic_key)?);
                self.make_seal(id, view.members, &recipients, identity).await?
            }
        };
        if !own.published {
            match self.api.post_seal(id, &own.seal).await {
                Err(error) if error.code() != Some(ErrorCode::AlreadyExists) => return Err(error),
                _ => {}
            }
            own.published = true;
            self.profile.put(&own).await?;
        }
        Ok(own)
    }

    /// Makes the next send open a new seal.
    pub(crate) async fn drop_own_seal(&self, conversation: ConversationId) -> Result<()> {
        let step = self.profile.step();
        step.delete::<OwnSeal>(conversation.as_bytes());
        step.commit().await
    }

    fn is_current(&self, own: &OwnSeal, members: &[Member], records: KeyId) -> bool {
        let limit = if own.published { SEAL_AGE } else { UNPUBLISHED_AGE };
        let young = self.env.now().since(own.seal.created_at) < limit;
        let same = |sealed: &SealMember, now: &Member| {
            let key = sealed.identity_key.0 == now.identity_key.to_bytes();
            key && (sealed.user_id, KeyId::from(sealed.history_key_id)) == (now.user, now.history_key_id)
        };
        let sealed = &own.seal.members;
        let for_these = sealed.len() == members.len() && sealed.iter().zip(members).all(|(s, m)| same(s, m));
        young && own.records_key_id == records && for_these
    }

    pub(crate) async fn make_seal(
        &self,
        conversation: ConversationId,
        members: Vec<Member>,
        recipients: &[Recipient],
        identity: &IdentitySecret,
    ) -> Result<OwnSeal> {
        let account = self.account()?;
        let archive = ArchiveKey::generate(&mut self.env.rng());
        let header = SealHeader {
            tenant: account.tenant,
            conversation,
            seal_id: SealId::new(self.env.now(), self.env.bytes()),
            sender: account.user,
            device: account.device,
        };
        let now = self.env.now();
        let seal =
            RecordSeal::create(&archive, header, now, members, recipients, identity, &mut self.env.rng())
                .map_err(Error::internal)?;
        let archive_key = SecretBytes(archive.as_bytes().to_vec());
        let own = OwnSeal {
            conversation,
            seal: seal.to_new(),
            archive_key: archive_key.clone(),
            records_key_id: recipients.first().map(Recipient::key_id).ok_or_else(no_recipient)?,
            published: false,
        };
        // Its own seal is known to this device without a fetch, also when it is replaced later.
        let seen = SeenSeal {
            conversation,
            seal_id: header.seal_id,
            sender: header.sender,
            device: header.device,
            members: own.seal.members.clone(),
            archive_key: Some(archive_key),
            verdict: SealVerdict::Good,
        };
        let step = self.profile.step();
        step.put(&own)?;
        step.put(&seen)?;
        step.commit().await?;
        Ok(own)
    }

    /// The members shown to the user, with the keys this device has verified.
    pub(crate) async fn member_view(&self, conversation: &ConversationRecord) -> Result<View> {
        let mut view = View { members: Vec::new(), recipients: Vec::new() };
        let users: BTreeSet<_> = conversation.shown_members.iter().copied().collect();
        for user in users {
            let contact = self.recipient(user).await?;
            let key = contact.history_key.ok_or(Error::KeysMissing { user })?;
            let history_key_id = key.history_key_id();
            view.members.push(Member { user, identity_key: contact.identity, history_key_id });
            view.recipients.push(Recipient::history(key));
        }
        Ok(view)
    }
}

/// The members of a conversation, and the keys a seal for them is made for.
pub(crate) struct View {
    pub(crate) members: Vec<Member>,
    pub(crate) recipients: Vec<Recipient>,
}

fn clinic_key(error: impl std::fmt::Display) -> Error {
    Error::ClinicKeys(error.to_string())
}

fn no_recipient() -> Error {
    Error::internal("a seal for nobody")
}
