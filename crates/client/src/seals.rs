//! Record seals: making this device's own, and checking everybody else's once.

use std::{collections::BTreeSet, time::Duration};

use sigilo_seal::{
    ArchiveKey, IdentityPublicKey, IdentitySecret, KeyId, KeyPurpose, Member, Origin, Recipient, RecordSeal,
    SealHeader, XWingSecret,
};
use sigilo_wire::{
    ConversationId, DeviceNumber, ErrorCode, SealId, UserId,
    seal::{Seal, SealMember},
};

use crate::{
    Error, Result,
    engine::Engine,
    event::TimelineNote,
    message::SealVerdict,
    profile::records::{
        Contact, ContactHistoryKey, ConversationRecord, OwnHistoryKey, OwnSeal, SecretBytes, SeenSeal,
        seen_seal_key,
    },
};

/// A seal is used for 30 days; this device renews it a day before the server asks.
const SEAL_AGE: Duration = Duration::from_secs(29 * 24 * 3600);
/// The server takes a seal up to 7 days old.
const UNPUBLISHED_AGE: Duration = Duration::from_secs(6 * 24 * 3600);
/// Seals of a conversation are searched this many pages back.
const MAX_PAGES: usize = 100;

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

    /// A seal of somebody's: opened and rechecked the first time, remembered after.
    ///
    /// # Errors
    /// Transient ones only; everything else is in the verdict.
    pub(crate) async fn seen_seal(
        &self,
        conversation: ConversationId,
        seal_id: SealId,
        sender: UserId,
        device: DeviceNumber,
    ) -> Result<SeenSeal> {
        let key = seen_seal_key(conversation, seal_id, sender, device);
        if let Some(seen) = self.profile.get(&key).await? {
            return Ok(seen);
        }
        let problem = match self.find_seal(conversation, seal_id).await {
            Ok(Some(seal)) => return self.take_seal(&seal, sender, device).await,
            Ok(None) => "the server does not have it".to_owned(),
            Err(error) if error.is_for_later() => return Err(error),
            Err(error) => error.to_string(),
        };
        // Not remembered: it may come later.
        Ok(SeenSeal {
            conversation,
            seal_id,
            sender,
            device,
            members: Vec::new(),
            archive_key: None,
            verdict: SealVerdict::Bad(problem),
        })
    }

    /// Opens and rechecks a seal, and remembers the verdict.
    pub(crate) async fn take_seal(
        &self,
        seal: &Seal,
        sender: UserId,
        device: DeviceNumber,
    ) -> Result<SeenSeal> {
        let (archive_key, verdict) = match self.open_seal(seal, sender, device).await {
            Ok((archive, verdict)) => (Some(SecretBytes(archive.as_bytes().to_vec())), verdict),
            Err(error) if error.is_for_later() => return Err(error),
            Err(error) => (None, SealVerdict::Bad(error.to_string())),
        };
        let seen = SeenSeal {
            conversation: seal.conversation_id,
            seal_id: seal.seal.seal_id,
            sender,
            device,
            members: seal.seal.members.clone(),
            archive_key,
            verdict,
        };
        self.profile.put(&seen).await?;
        if let SealVerdict::Bad(problem) = &seen.verdict {
            let note = TimelineNote::SealInvalid { user: sender, problem: problem.clone() };
            self.note(seen.conversation, note).await?;
        }
        Ok(seen)
    }

    async fn find_seal(&self, conversation: ConversationId, seal_id: SealId) -> Result<Option<Seal>> {
        let wanted = |seal: &Seal| seal.conversation_id == conversation && seal.seal.seal_id == seal_id;
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = match self.api.seals(conversation, cursor.as_deref()).await {
                Err(error) if error.code() == Some(ErrorCode::NotFound) => return Ok(None),
                other => other?,
            };
            if let Some(seal) = page.results.into_iter().find(wanted) {
                return Ok(Some(seal));
            }
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// Opens the copy for one of the user's history keys and rechecks all copies.
    async fn open_seal(
        &self,
        seal: &Seal,
        sender: UserId,
        device: DeviceNumber,
    ) -> Result<(ArchiveKey, SealVerdict)> {
        let bad = |problem: String| Error::Unrepairable(problem);
        if (seal.sender_id, seal.device_id) != (sender, device) {
            return Err(bad("it is another device's".into()));
        }
        let origin = Origin::of_seal(self.account()?.tenant, seal);
        let record = RecordSeal::of_new(&origin, &seal.seal).map_err(|error| bad(error.to_string()))?;
        let maker = self.known_or_fetched(sender).await?;
        let signed = |key: &IdentityPublicKey| record.verify_signature(key).is_ok();
        if !signed(&maker.identity) && !maker.pending.as_ref().is_some_and(signed) {
            return Err(bad("its maker did not sign it".into()));
        }
        let own_keys = self.profile.all::<OwnHistoryKey>(b"").await?;
        let own = own_keys.iter().find(|own| record.key_ids().any(|id| id == own.key_id));
        let own = own.ok_or_else(|| bad("it has no copy for this account".into()))?;
        let secret = XWingSecret::from_seed(own.seed.key()?);
        let archive = record.open_copy(own.key_id, &secret).map_err(|error| bad(error.to_string()))?;
        let verdict = self.recheck(&record, &archive).await?;
        Ok((archive, verdict))
    }

    /// Recomputes every copy, and compares the members with those this device knows.
    async fn recheck(&self, record: &RecordSeal, archive: &ArchiveKey) -> Result<SealVerdict> {
        let mut recipients = Vec::new();
        let mut member_keys = BTreeSet::new();
        for member in &record.members {
            member_keys.insert(member.history_key_id);
            let contact = self.known_or_fetched(member.user).await?;
            if contact.identity != member.identity_key && contact.pending != Some(member.identity_key) {
                return Ok(SealVerdict::Bad(format!("{} has another identity key", member.user)));
            }
            match self.history_key(member.user, member.history_key_id).await? {
                Some(key) => recipients.push(Recipient::history(key)),
                None => return Ok(SealVerdict::Unchecked(format!("a key of {} is not known", member.user))),
            }
        }
        for key_id in record.key_ids().filter(|id| !member_keys.contains(id)) {
            let statement = match self.clinic_key(key_id).await {
                Ok(statement) if statement.purpose == KeyPurpose::Records => statement,
                Err(error) if error.is_for_later() => return Err(error),
                _ => return Ok(SealVerdict::Bad(format!("it is also made for the unknown key {key_id}"))),
            };
            recipients.push(Recipient::records(&statement).map_err(clinic_key)?);
        }
        if recipients.len() == record.members.len() {
            return Ok(SealVerdict::Bad("it has no copy for the clinic's officers".into()));
        }
        if let Err(wrong) = record.recheck(archive, &recipients) {
            return Ok(SealVerdict::Bad(wrong.to_string()));
        }
        let shown: BTreeSet<_> =
            self.conversation(record.header.conversation).await?.shown_members.into_iter().collect();
        let sealed: BTreeSet<_> = record.members.iter().map(|member| member.user).collect();
        match sealed.symmetric_difference(&shown).next() {
            None => Ok(SealVerdict::Good),
            Some(user) => Ok(SealVerdict::Bad(format!("its members are others: {user}"))),
        }
    }

    /// A history key by its name: one of a contact's manifests, or the user's own.
    async fn history_key(&self, user: UserId, key_id: KeyId) -> Result<Option<sigilo_seal::XWingPublic>> {
        let name = [user.as_bytes().as_slice(), key_id.as_bytes()].concat();
        if let Some(known) = self.profile.get::<ContactHistoryKey>(&name).await? {
            return Ok(Some(known.public_key));
        }
        match self.refresh_manifest(user).await {
            Err(error) if error.is_for_later() => return Err(error),
            _ => {}
        }
        Ok(self.profile.get::<ContactHistoryKey>(&name).await?.map(|known| known.public_key))
    }

    /// Somebody as known, or fetched; an identity that waits for confirmation is no obstacle to reading.
    pub(crate) async fn known_or_fetched(&self, user: UserId) -> Result<Contact> {
        match self.profile.get::<Contact>(user.as_bytes()).await? {
            Some(contact) => Ok(contact),
            None => self.contact(user).await,
        }
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

#[cfg(test)]
mod tests {
    use sigilo_seal::XWingPublic;
    use sigilo_wire::seal::KeyIdBytes;

    use super::*;
    use crate::testing::{Party, World};

    async fn made(world: &World, by: &Party, recipients: impl FnOnce(&mut Vec<Recipient>)) -> Seal {
        let record = by.engine.conversation(world.conversation).await.unwrap();
        let view = by.engine.member_view(&record).await.unwrap();
        let mut list = view.recipients;
        list.insert(0, Recipient::records(&world.clinic.records_statement()).unwrap());
        recipients(&mut list);
        let own = by.engine.make_seal(world.conversation, view.members, &list, &by.identity).await.unwrap();
        let device = DeviceNumber::FIRST;
        Seal {
            conversation_id: world.conversation,
            sender_id: by.user,
            device_id: device,
            received_at: own.seal.created_at,
            seal: own.seal,
        }
    }

    async fn verdict(world: &World, seal: &Seal) -> SealVerdict {
        world.maria.engine.take_seal(seal, world.ana.user, DeviceNumber::FIRST).await.unwrap().verdict
    }

    #[tokio::test]
    async fn a_seal_for_the_members_and_the_officers_is_good() {
        let world = World::new().await;
        let seal = made(&world, &world.ana, |_| {}).await;
        assert_eq!(verdict(&world, &seal).await, SealVerdict::Good);
    }

    #[tokio::test]
    async fn a_seal_without_a_good_copy_for_the_officers_is_bad() {
        let world = World::new().await;
        let without = made(&world, &world.ana, |list| {
            list.remove(0);
        })
        .await;
        assert!(matches!(verdict(&world, &without).await, SealVerdict::Bad(_)));
        // The officers' copy is named as theirs, but made for a key they do not have.
        let stranger: XWingPublic = XWingSecret::from_seed([66; 32]).public();
        let mut stolen = made(&world, &world.ana, |list| list[0] = Recipient::history(stranger)).await;
        // A key the root may have named since: judged when the clinic's keys can be fetched, not before.
        let later = world.maria.engine.take_seal(&stolen, world.ana.user, DeviceNumber::FIRST).await;
        assert!(later.is_err_and(|error| error.is_for_later()));
        stolen.seal.copies[0].key_id = KeyIdBytes::from(world.clinic.records_statement().key_id());
        let mut resigned =
            RecordSeal::of_new(&Origin::of_seal(world.clinic.tenant, &stolen), &stolen.seal).unwrap();
        resigned.signature = world.ana.identity.sign(&resigned.signing_input(), &mut crate::testing::rng(1));
        stolen.seal = resigned.to_new();
        assert!(matches!(verdict(&world, &stolen).await, SealVerdict::Bad(_)));
    }

    #[tokio::test]
    async fn a_seal_that_others_signed_or_that_was_changed_does_not_open() {
        let world = World::new().await;
        let seal = made(&world, &world.ana, |_| {}).await;
        let changes: [fn(&mut Seal); 4] = [
            |s| s.seal.signature.0[0] ^= 1,
            |s| s.seal.copies[1].ciphertext.0[0] ^= 1,
            |s| s.seal.members[0].history_key_id.0[0] ^= 1,
            |s| s.device_id = DeviceNumber::new(2).unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = seal.clone();
            change(&mut changed);
            let seen =
                world.maria.engine.take_seal(&changed, world.ana.user, DeviceNumber::FIRST).await.unwrap();
            assert!(seen.archive_key.is_none(), "change {number}");
            assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "change {number}");
        }
        let timeline = world.maria.engine.timeline(world.conversation).await.unwrap();
        assert!(!timeline.is_empty(), "a bad seal is shown");
    }
}
