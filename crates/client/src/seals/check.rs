//! Judging a record seal: whether its maker signed it, whether it opens, and whether every copy and every member
//! is what this device knows. The server enforces that copies are there; only the participants see that they are
//! good.

use std::collections::BTreeSet;

use sigilo_seal::{
    ArchiveKey, IdentityPublicKey, KeyId, KeyPurpose, Member, Origin, Recipient, RecordSeal, XWingPublic,
    record_seal::{RecheckError, SealError},
};
use sigilo_wire::{Timestamp, UserId, seal::SealProblem};

use super::clinic_key;
use crate::{
    Error, Result,
    engine::Engine,
    message::SealVerdict,
    profile::{
        history_keys,
        records::{Contact, ContactHistoryKey, SeenSeal, UncheckedSeal},
    },
};

/// Whether keys that are not known are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Of the server, before anything is said against a seal.
    Fetched,
    /// Not: what is on this device decides.
    Known,
}

/// What is wrong with a seal.
#[derive(Debug)]
pub(super) struct Flaw {
    /// What the server is told; absent when the seal itself may be good, and the message under it is not.
    pub(super) problem: Option<SealProblem>,
    /// For people.
    pub(super) text: String,
}

impl Flaw {
    fn of(problem: SealProblem, text: impl std::fmt::Display) -> Self {
        Self { problem: Some(problem), text: text.to_string() }
    }
}

/// What a seal turned out to be.
#[derive(Debug)]
pub(super) enum Judgement {
    Good,
    /// A key is not known yet.
    Unchecked(String),
    /// It is for somebody whom this device never saw take part, in a time it knows nothing of.
    Unknowable(String),
    Bad(Flaw),
}

/// A seal, its key if it opened, and what was found.
pub(super) struct Judged {
    pub(super) archive: Option<ArchiveKey>,
    pub(super) judgement: Judgement,
}

impl Judged {
    /// Whether it is bad because its members are not those this device knows of.
    pub(super) const fn is_about_members(&self) -> bool {
        matches!(&self.judgement, Judgement::Bad(Flaw { problem: Some(SealProblem::WrongMembers), .. }))
    }
}

/// Why a seal was not opened.
enum Closed {
    /// This device lacks a key that it is made with or for.
    Unchecked(String),
    Flawed(Flaw),
    Failed(Error),
}

impl From<Flaw> for Closed {
    fn from(flaw: Flaw) -> Self {
        Self::Flawed(flaw)
    }
}

impl From<Error> for Closed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    /// Judges a seal by the members that this device knows of its time.
    ///
    /// # Errors
    /// Transient ones, and what keeps the maker's keys from being known: then nothing is said of the seal.
    pub(super) async fn judge(&self, unchecked: &UncheckedSeal, keys: Keys) -> Result<Judged> {
        match self.open_seal(unchecked, keys).await {
            Ok((record, archive)) => {
                let judgement = self.recheck(&record, &archive, unchecked, keys).await?;
                Ok(Judged { archive: Some(archive), judgement })
            }
            Err(Closed::Unchecked(why)) => Ok(Judged { archive: None, judgement: Judgement::Unchecked(why) }),
            Err(Closed::Flawed(flaw)) => Ok(Judged { archive: None, judgement: Judgement::Bad(flaw) }),
            Err(Closed::Failed(error)) => Err(error),
        }
    }

    /// Opens the copy for one of the user's history keys.
    async fn open_seal(
        &self,
        unchecked: &UncheckedSeal,
        keys: Keys,
    ) -> std::result::Result<(RecordSeal, ArchiveKey), Closed> {
        let UncheckedSeal { seal, sender, device, .. } = unchecked;
        let (sender, device) = (*sender, *device);
        if (seal.sender_id, seal.device_id) != (sender, device) {
            return Err(Flaw { problem: None, text: "it is another device's".into() }.into());
        }
        let origin = Origin::of_seal(self.account()?.tenant, seal);
        let record = RecordSeal::of_new(&origin, &seal.seal)
            .map_err(|error| Flaw::of(SealProblem::Unopenable, error))?;
        let made = seal.seal.created_at;
        self.check_maker(&record, (sender, made), keys).await?;
        let own_keys = history_keys::all(&self.profile).await?;
        let own = own_keys.iter().find(|own| record.key_ids().any(|id| id == own.key_id));
        if own.is_none()
            && let Some(why) = self.is_locked(&record, made).await?
        {
            return Err(Closed::Unchecked(why));
        }
        let own = own.ok_or_else(|| Flaw {
            // Seals from before may be for history keys that an earlier identity of the user's had.
            problem: Some(SealProblem::MissingCopy).filter(|_| !unchecked.unseen),
            text: "it has no copy for this account".into(),
        })?;
        let archive = record
            .open_copy(own.key_id, &own.secret)
            .map_err(|error| Flaw::of(SealProblem::Unopenable, error))?;
        Ok((record, archive))
    }

    /// Why a seal is not for this device, when nobody is to be accused of that: it is for a history key that a manifest
    /// of the user's names, and this device does not have, or for an identity that the user had before.
    async fn is_locked(&self, record: &RecordSeal, made: Timestamp) -> Result<Option<String>> {
        let me = self.account()?.user;
        let Some(named) = record.members.iter().find(|member| member.user == me) else { return Ok(None) };
        if !record.key_ids().any(|id| id == named.history_key_id) {
            return Ok(None);
        }
        let own = self.known_or_fetched(me).await?;
        if own.identity != named.identity_key
            && (own.earlier(&named.identity_key).is_some() || own.may_have_had_another(made))
        {
            return Ok(Some("it is for an identity key that this account had before".into()));
        }
        let known = self.history_key(me, named.history_key_id, Keys::Fetched).await?;
        Ok(known.map(|_| "this device was not given the key it is for".into()))
    }

    /// Whether one of the maker's identities signed it: the one in use, one in use before, or one that waits for
    /// the user to confirm it. One that this device has never known, and the seal names as the maker's, may be from before
    /// it knew them, or made up: nothing is said of the seal then, and it is not opened.
    async fn check_maker(
        &self,
        record: &RecordSeal,
        (sender, made): (UserId, Timestamp),
        keys: Keys,
    ) -> std::result::Result<(), Closed> {
        let signed = |maker: &Contact| {
            let mut refusal = SealError::Signature;
            for identity in maker.identities() {
                match record.verify_signature(identity) {
                    Ok(()) => return Ok(()),
                    Err(error) => refusal = error,
                }
            }
            Err(refusal)
        };
        let mut maker = self.known_or_fetched(sender).await?;
        let mut verdict = signed(&maker);
        if verdict == Err(SealError::Signature) && keys == Keys::Fetched {
            // Perhaps by an identity this device has not heard of.
            maker = self.refreshed(sender).await?;
            verdict = signed(&maker);
        }
        match verdict {
            Ok(()) => Ok(()),
            Err(SealError::Signature)
                if signed_by_its_member(record, sender) && maker.may_have_had_another(made) =>
            {
                let why = format!("it is signed with an identity key of {sender} that is not known");
                Err(Closed::Unchecked(why))
            }
            Err(SealError::Signature) => {
                Err(Flaw::of(SealProblem::BadSignature, "its maker did not sign it").into())
            }
            Err(malformed) => Err(Flaw::of(SealProblem::Unopenable, malformed).into()),
        }
    }

    /// Recomputes every copy, and compares the members with those this device knows.
    async fn recheck(
        &self,
        record: &RecordSeal,
        archive: &ArchiveKey,
        unchecked: &UncheckedSeal,
        keys: Keys,
    ) -> Result<Judgement> {
        let mut recipients = Vec::new();
        for member in &record.members {
            match self.member_key(member, unchecked.seal.seal.created_at, keys).await? {
                Ok(key) => recipients.push(Recipient::history(key)),
                Err(Judgement::Unchecked(_)) if is_stranger(unchecked, member.user) => {
                    return Ok(stranger(member.user));
                }
                Err(judgement) => return Ok(judgement),
            }
        }
        let members: BTreeSet<KeyId> = record.members.iter().map(|member| member.history_key_id).collect();
        for key_id in record.key_ids().filter(|id| !members.contains(id)) {
            let statement = match self.find_clinic_key(key_id).await {
                Ok(Some(statement)) if statement.purpose == KeyPurpose::Records => statement,
                Ok(_) => {
                    let text = format!("it is also made for the unknown key {key_id}");
                    return Ok(Judgement::Bad(Flaw::of(SealProblem::UnexpectedCopy, text)));
                }
                Err(error) if error.is_for_later() => return Err(error),
                Err(error) => return Ok(Judgement::Unchecked(error.to_string())),
            };
            recipients.push(Recipient::records(&statement).map_err(clinic_key)?);
        }
        if recipients.len() == record.members.len() {
            let text = "it has no copy for the clinic's officers";
            return Ok(Judgement::Bad(Flaw::of(SealProblem::MissingCopy, text)));
        }
        if let Err(wrong) = record.recheck(archive, &recipients) {
            return Ok(Judgement::Bad(Flaw::of(problem_of(&wrong), wrong)));
        }
        let sealed: BTreeSet<_> = record.members.iter().map(|member| member.user).collect();
        let shown: BTreeSet<_> = unchecked.shown_members.iter().copied().collect();
        let others = sealed.symmetric_difference(&shown).find(|user| !unchecked.departed.contains(user));
        Ok(match others {
            None => Judgement::Good,
            Some(user) if is_stranger(unchecked, *user) => stranger(*user),
            Some(user) => {
                let text = format!("its members are others: {user}");
                Judgement::Bad(Flaw::of(SealProblem::WrongMembers, text))
            }
        })
    }

    /// The history key that a seal names for a member, or why the seal is not good or not to be judged.
    async fn member_key(
        &self,
        member: &Member,
        made: Timestamp,
        keys: Keys,
    ) -> Result<std::result::Result<XWingPublic, Judgement>> {
        let user = member.user;
        let unknown = || Judgement::Unchecked(format!("a key of {user} is not known"));
        let contact = match self.contact_knowing(user, &member.identity_key, keys).await {
            Ok(contact) => contact,
            Err(error) if error.is_for_later() => return Err(error),
            Err(_) => return Ok(Err(unknown())),
        };
        let named = Some(member.identity_key);
        if ![Some(contact.identity), contact.pending].contains(&named) {
            return Ok(Err(if contact.earlier(&member.identity_key).is_some() {
                // Whether it was made before that identity ended is not to be seen from here.
                Judgement::Unchecked(format!("it is for an identity key that {user} had before"))
            } else if contact.may_have_had_another(made) {
                Judgement::Unchecked(format!("it is for an identity key of {user} that is not known"))
            } else {
                let text = format!("{user} has another identity key");
                Judgement::Bad(Flaw::of(SealProblem::WrongMembers, text))
            }));
        }
        let key = self.history_key(user, member.history_key_id, keys).await?;
        Ok(key.ok_or_else(unknown))
    }

    /// Somebody, asked for again when an identity is not theirs as far as known.
    async fn contact_knowing(&self, user: UserId, key: &IdentityPublicKey, keys: Keys) -> Result<Contact> {
        let contact = self.known_or_fetched(user).await?;
        let known = contact.identities().any(|known| known == key);
        if known || keys == Keys::Known { Ok(contact) } else { self.refreshed(user).await }
    }

    /// A history key by its name: one of a contact's manifests, or the user's own.
    async fn history_key(&self, user: UserId, key_id: KeyId, keys: Keys) -> Result<Option<XWingPublic>> {
        let name = [user.as_bytes().as_slice(), key_id.as_bytes()].concat();
        let known: Option<ContactHistoryKey> = self.profile.get(&name).await?;
        if known.is_some() || keys == Keys::Known {
            return Ok(known.map(|known| known.public_key));
        }
        self.refreshed(user).await?;
        Ok(self.profile.get::<ContactHistoryKey>(&name).await?.map(|known| known.public_key))
    }

    /// Somebody after their keys were asked for; what does not verify leaves them as they were.
    async fn refreshed(&self, user: UserId) -> Result<Contact> {
        match self.refresh_manifest(user).await {
            Err(error) if error.is_for_later() => Err(error),
            _ => self.known_or_fetched(user).await,
        }
    }

    /// Somebody as known, or fetched; an identity that waits for confirmation is no obstacle to reading. Of people the
    /// user has nothing to do with any more the server gives no keys: what others sealed for them counts then.
    pub(crate) async fn known_or_fetched(&self, user: UserId) -> Result<Contact> {
        if let Some(contact) = self.profile.get::<Contact>(user.as_bytes()).await? {
            return Ok(contact);
        }
        match self.contact(user).await {
            Err(Error::Server { status: status @ (403 | 404), body, retry_after, request_sha256 }) => {
                let refusal = Error::Server { status, body, retry_after, request_sha256 };
                self.vouched(user).await?.ok_or(refusal)
            }
            other => other,
        }
    }

    /// Somebody by the identity key under which another participant, whose signature was checked, made a seal for them.
    pub(super) async fn vouched(&self, user: UserId) -> Result<Option<Contact>> {
        let seals = self.profile.all::<SeenSeal>(b"").await?;
        let opened = seals.iter().filter(|seal| seal.sender != user && seal.archive_key.is_some());
        let good = opened.filter(|seal| !matches!(seal.verdict, SealVerdict::Bad(_)));
        let key = good.flat_map(|seal| &seal.members).find(|member| member.user_id == user);
        let Some(key) = key else { return Ok(None) };
        let identity = IdentityPublicKey::parse(key.identity_key.as_slice())
            .map_err(|error| Error::contact(user, error))?;
        let contact = Contact::first_seen(user, identity, self.env.now());
        self.profile.put(&contact).await?;
        Ok(Some(contact))
    }
}

/// Whether the identity that a seal names as its maker's signed it.
fn signed_by_its_member(record: &RecordSeal, maker: UserId) -> bool {
    let member = record.members.iter().find(|member| member.user == maker);
    member.is_some_and(|member| record.verify_signature(&member.identity_key).is_ok())
}

/// Whether a member of a seal from before this device knew the conversation is nobody it ever saw there.
fn is_stranger(unchecked: &UncheckedSeal, user: UserId) -> bool {
    unchecked.unseen && !unchecked.shown_members.contains(&user)
}

fn stranger(user: UserId) -> Judgement {
    Judgement::Unknowable(format!("it is also for {user}, who does not take part any more"))
}

/// The gravest of what a recheck found.
fn problem_of(wrong: &RecheckError) -> SealProblem {
    if !wrong.bad.is_empty() {
        SealProblem::BadCopy
    } else if !wrong.missing.is_empty() {
        SealProblem::MissingCopy
    } else {
        SealProblem::UnexpectedCopy
    }
}
