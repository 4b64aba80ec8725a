//! What the messages of a conversation depend on, read once and kept while nothing of it changes.
//!
//! A snapshot is of one `facts_version`: whoever changes any of it (members, accounts, relationships, identity
//! keys, manifests, published keys, the closing of the conversation) moves that version in the same transaction
//! ([`super::facts_changed_of`] and its siblings), on whichever node or command line. The relay's writer compares
//! the version with the locked row, so that a snapshot of the past can let nothing pass; a denial is never given
//! on a kept snapshot. What changes by time alone ends the snapshot's life.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use serde_json::Value;
use sigilo_seal::{IdentityPublicKey, KeyPurpose};
use sigilo_wire::{
    ConversationId, DeviceId, DeviceNumber, ErrorCode, Role, TenantId, Timestamp, UserId,
    account::DeviceKind,
    care::CareSource,
    conversation::{ConversationStatus, ConversationType, ParticipantRole},
    presence::Privacy,
};

use super::store::{self, FactRow, MemberRow};
use crate::{
    App, Ctx, Denial, Error, Result,
    hours::{ChatHours, Span},
    people,
    policy::{
        Basis, Grant, InForce, Person, SendMessage,
        facts::{InConversation, People, Ties},
    },
    storage::{
        Tx,
        crypter::{Crypter, Place},
    },
};

/// How many people and devices the kept snapshots may hold together.
const CAPACITY: u64 = 1_000_000;
/// How long a snapshot that nobody asks for is kept: it holds names.
const IDLE: Duration = Duration::from_secs(3600);
/// A clinic without a records key in force is looked at again after this long.
const WITHOUT_RECORDS_KEY: Duration = Duration::from_secs(60);

/// The facts rules ask for about a conversation.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    id: ConversationId,
    tenant: TenantId,
    kind: ConversationType,
    status: ConversationStatus,
    version: i64,
    people: Vec<Person>,
    /// Of each of them, whether they are a moderator, and whether they may leave.
    standing: Vec<(bool, bool)>,
    /// What holds between them.
    ties: Ties,
    /// Whom the conversation concerns.
    pub(super) patient: Option<UserId>,
    /// When conversations with patients are open, when this is one.
    hours: Option<ChatHours>,
    /// Whether it is open by its hours.
    open: bool,
    /// The first instant at which a relationship begins or ends, or the hours open or close, by themselves.
    until: Timestamp,
}

/// Someone who takes part.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Who.
    pub(crate) user: UserId,
    /// The name the clinic knows them by.
    pub(crate) full_name: String,
    /// The identity key, checked once: that costs as much as a signature.
    pub(crate) identity_key: Option<IdentityPublicKey>,
    /// The id of the newest manifest's history key.
    pub(crate) history_key_id: Option<Vec<u8>>,
    /// What they let others notice.
    pub(crate) privacy: Privacy,
    /// Whether they are of a tier of an emergency that was not called yet: what is for them is kept back.
    pub(crate) withheld: bool,
    /// The messaging devices of the newest manifest.
    pub(crate) devices: Vec<Device>,
}

/// A messaging device of the newest manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    /// Its id in queues.
    pub(crate) id: DeviceId,
    /// Its number in the protocol.
    pub(crate) number: DeviceNumber,
    /// libsignal's registration id.
    pub(crate) registration_id: i64,
    /// When its signed prekey was published.
    pub(crate) keys_published_at: Option<Timestamp>,
}

/// See the module.
#[derive(Debug)]
pub struct Snapshot {
    facts: Facts,
    /// Everybody who takes part, in order of ids.
    pub(crate) members: Vec<Member>,
    /// The id of the records key in force.
    pub(crate) records_key: Option<[u8; 16]>,
    until: Timestamp,
    /// What the rules allowed on these facts, which are all a decision on a send knows.
    allowed: Mutex<HashMap<(UserId, DeviceKind), Grant<SendMessage>>>,
}

impl Facts {
    /// Reads them in the caller's transaction.
    ///
    /// # Errors
    /// `not_found` when the clinic has no such conversation.
    pub(super) async fn load(tx: &mut Tx, ctx: &Ctx, id: ConversationId) -> Result<Self> {
        let rows = store::facts(tx, ctx.tenant, id, ctx.now).await?;
        let first = rows.first().ok_or(Error::NotFound)?;
        let kind = first.r#type.parse().map_err(Error::Internal)?;
        let status = first.conversation_status.parse().map_err(Error::Internal)?;
        let (version, related) = (first.facts_version, first.related_patient_id);
        let mut people: Vec<Person> = Vec::with_capacity(rows.len());
        let mut standing = Vec::with_capacity(rows.len());
        for row in &rows {
            if people.iter().all(|person| person.id != row.user_id) {
                people.push(store::person(ctx.tenant, row.user_id, &row.role, &row.status)?);
                let role: ParticipantRole = row.participant_role.parse().map_err(Error::Internal)?;
                standing.push((role == ParticipantRole::Moderator, row.can_leave));
            }
        }
        let hours = load_hours(tx, ctx, &people).await?;
        let span = hours.as_ref().map_or(Span { open: true, until: None }, |hours| hours.span(ctx.now));
        let (holding, to_come): (Vec<&FactRow>, Vec<&FactRow>) =
            rows.iter().partition(|row| row.starts_at.is_none_or(|starts| starts <= ctx.now));
        let ends = holding.iter().filter_map(|row| row.expires_at);
        let begins = to_come.iter().filter_map(|row| row.starts_at);
        let relationships_until = ends.chain(begins).min().unwrap_or(NEVER);
        let care = holding.into_iter().filter_map(care_of).collect::<Result<_>>()?;
        // Read after the version: whatever is newer than it makes a grant that the writer refuses.
        let blocks = store::ties::blocks_in(tx, id).await?;
        Ok(Self {
            id,
            tenant: ctx.tenant,
            kind,
            status,
            version,
            patient: related.or_else(|| people.iter().find(|p| p.role == Role::Patient).map(|p| p.id)),
            people,
            standing,
            ties: Ties { care, blocks },
            hours,
            open: span.open,
            until: relationships_until.min(span.until.unwrap_or(NEVER)),
        })
    }

    /// What a decision about this person needs. Whoever does not take part learns nothing, not even that the
    /// conversation exists.
    ///
    /// # Errors
    /// `not_found`.
    pub(super) fn of(&self, caller: UserId) -> Result<InConversation> {
        let mut members = self.people.iter().zip(&self.standing);
        let found = members.find(|(person, _)| person.id == caller).ok_or(Error::NotFound)?;
        let (caller, (moderator, can_leave)) = (*found.0, *found.1);
        Ok(InConversation { member: true, moderator, can_leave, ..self.of_former(caller) })
    }

    /// Says with a refusal for the hour when the conversation opens, and where help is until then.
    pub(super) fn explain(&self, now: Timestamp, refusal: Error) -> Error {
        match refusal {
            Error::Denied(denial) => Error::Denied(self.explained(now, denial)),
            refusal => refusal,
        }
    }

    /// As [`Facts::explain`], for what was a rule's refusal for sure.
    pub(super) fn explained(&self, now: Timestamp, mut denial: Box<Denial>) -> Box<Denial> {
        if denial.code == ErrorCode::OutsideChatHours
            && let Some(hours) = &self.hours
            && let (Some(details), Ok(Value::Object(outside))) =
                (denial.details.as_object_mut(), serde_json::to_value(hours.outside(now)))
        {
            details.extend(outside);
        }
        denial
    }

    /// The facts for somebody who takes part no longer.
    pub(super) fn of_former(&self, caller: Person) -> InConversation {
        InConversation {
            caller,
            id: self.id,
            tenant: self.tenant,
            kind: self.kind,
            status: self.status,
            facts_version: self.version,
            member: false,
            moderator: false,
            can_leave: false,
            people: People::of(caller.id, &self.people, &self.ties),
            open: self.open,
        }
    }

    /// Everybody who takes part.
    pub(super) fn people(&self) -> &[Person] {
        &self.people
    }

    /// Someone who takes part.
    pub(super) fn person(&self, user: UserId) -> Option<&Person> {
        self.people.iter().find(|person| person.id == user)
    }
}

/// The care a row tells of, if it does.
fn care_of(row: &FactRow) -> Option<Result<((UserId, UserId), CareSource)>> {
    let (clinician, source) = (row.clinician_id?, row.source.as_deref()?);
    Some(source.parse().map_err(Error::Internal).map(|source| ((row.user_id, clinician), source)))
}

/// The hours that a conversation of these people has: none without a patient.
async fn load_hours(tx: &mut Tx, ctx: &Ctx, people: &[Person]) -> Result<Option<ChatHours>> {
    if people.iter().all(|person| person.role != Role::Patient) {
        return Ok(None);
    }
    // One who cannot log in is not there.
    let there = people.iter().filter(|person| person.role == Role::Doctor && person.active);
    let clinicians: Vec<UserId> = there.map(|person| person.id).collect();
    Ok(Some(ChatHours::load(tx, ctx.tenant, &clinicians, ctx.now).await?))
}

const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

impl Snapshot {
    /// Reads it from the database.
    ///
    /// # Errors
    /// `not_found` when the clinic has no such conversation.
    async fn load(app: &App, ctx: &Ctx, id: ConversationId) -> Result<Self> {
        let mut tx = app.db.read("conversation_snapshot").await?;
        let facts = Facts::load(&mut tx, ctx, id).await?;
        let rows = store::members(&mut tx, id).await?;
        let records = people::key_in_force(&mut tx, ctx.tenant, KeyPurpose::Records, ctx.now).await?;
        drop(tx);
        let mut members: Vec<Member> = Vec::new();
        for row in rows {
            if members.last().is_none_or(|member| member.user != row.user_id) {
                members.push(member(&app.crypter, &row)?);
            }
            if let (Some(member), Some(device)) = (members.last_mut(), device(&row)) {
                member.devices.push(device);
            }
        }
        let records_until = records.as_ref().map_or(ctx.now + WITHOUT_RECORDS_KEY, |key| key.until);
        Ok(Self {
            until: facts.until.min(records_until),
            facts,
            members,
            records_key: records.map(|key| key.key_id),
            allowed: Mutex::default(),
        })
    }

    /// The conversation.
    pub(crate) const fn id(&self) -> ConversationId {
        self.facts.id
    }

    /// The version of the facts it shows.
    pub(crate) const fn facts_version(&self) -> i64 {
        self.facts.version
    }

    /// The first instant at which something of it may be otherwise by the clock alone.
    pub(crate) const fn until(&self) -> Timestamp {
        self.until
    }

    /// Whom the conversation concerns.
    pub(crate) const fn patient(&self) -> Option<UserId> {
        self.facts.patient
    }

    /// Decides whether the caller may send; asks the rules once for each person and kind of device.
    ///
    /// # Errors
    /// `not_found` when they do not take part; the rules' denial.
    pub(super) fn decide(&self, policy: &InForce, ctx: &Ctx) -> Result<Grant<SendMessage>> {
        let caller = ctx.caller()?;
        let asked = (caller.user_id, caller.kind);
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = allowed.get(&asked).filter(|grant| grant.basis().policy_set == policy.set_hash())
        {
            return Ok(grant.clone());
        }
        let grant = policy
            .decide::<SendMessage>(ctx, &self.facts.of(caller.user_id)?)
            .map_err(|refusal| self.facts.explain(ctx.now, refusal))?;
        allowed.insert(asked, grant.clone());
        Ok(grant)
    }

    /// Decides whether the caller might send if the conversation were open, and says when that is. `None` when it is.
    ///
    /// # Errors
    /// `not_found` when they do not take part; the rules' denial, that for the hour when no opening is in sight.
    pub(super) fn decide_hold(&self, policy: &InForce, ctx: &Ctx) -> Result<Option<(Basis, Timestamp)>> {
        let facts = self.facts.of(ctx.caller()?.user_id)?;
        if facts.open {
            return Ok(None);
        }
        let grant = policy.decide::<SendMessage>(ctx, &InConversation { open: true, ..facts })?;
        let opens = self.facts.hours.as_ref().and_then(|hours| hours.span(ctx.now).next_open_at(ctx.now));
        match opens {
            Some(opens) => Ok(Some((grant.basis().clone(), opens))),
            None => Err(match policy.decide::<SendMessage>(ctx, &facts) {
                Err(refusal) => self.facts.explain(ctx.now, refusal),
                Ok(_) => Error::internal("a rule holds a conversation closed that none refuses"),
            }),
        }
    }

    /// Whether it is an emergency.
    pub(crate) fn is_emergency(&self) -> bool {
        self.facts.kind == ConversationType::Emergency
    }

    /// Whether what is for this device is kept back until its user's tier is called.
    pub(crate) fn withholds(&self, device: DeviceId) -> bool {
        let withheld = |member: &&Member| member.withheld;
        self.members.iter().filter(withheld).any(|member| member.devices.iter().any(|d| d.id == device))
    }

    /// Someone who takes part.
    pub(crate) fn member(&self, user: UserId) -> Option<&Member> {
        self.members.iter().find(|member| member.user == user)
    }

    fn weight(&self) -> u32 {
        let devices: usize = self.members.iter().map(|member| member.devices.len()).sum();
        u32::try_from(1 + self.members.len() + devices).unwrap_or(u32::MAX)
    }

    /// One of two people with a device each, for tests of what depends on it.
    #[cfg(test)]
    pub(crate) fn for_tests(
        id: ConversationId,
        tenant: TenantId,
        version: i64,
        patient: UserId,
        members: Vec<Member>,
        records_key: [u8; 16],
    ) -> Self {
        let facts = Facts {
            id,
            tenant,
            kind: ConversationType::Direct,
            status: ConversationStatus::Active,
            version,
            people: Vec::new(),
            standing: Vec::new(),
            ties: Ties::default(),
            patient: Some(patient),
            hours: None,
            open: true,
            until: NEVER,
        };
        Self { facts, members, records_key: Some(records_key), until: NEVER, allowed: Mutex::default() }
    }
}

#[cfg(test)]
impl Snapshot {
    /// As it was, until an instant.
    pub(crate) fn ending_for_tests(mut self, until: Timestamp) -> Self {
        self.until = until;
        self
    }
}

fn member(crypter: &Crypter, row: &MemberRow) -> Result<Member> {
    let name = Place { table: "users", row: row.user_id.as_bytes(), column: "full_name_enc" };
    Ok(Member {
        user: row.user_id,
        full_name: crypter.decrypt_text(name, &row.full_name_enc)?,
        // Keys are checked before they are stored.
        identity_key: row.identity_key.as_deref().and_then(|key| IdentityPublicKey::parse(key).ok()),
        history_key_id: row.history_key_id.clone(),
        privacy: Privacy {
            show_typing: row.show_typing,
            show_presence: row.show_presence,
            show_last_seen: row.show_last_seen,
        },
        withheld: row.withheld,
        devices: Vec::new(),
    })
}

fn device(row: &MemberRow) -> Option<Device> {
    Some(Device {
        id: row.device_id?,
        number: row.device_number?,
        registration_id: row.registration_id.unwrap_or(0),
        keys_published_at: row.signed_pre_key_at,
    })
}

/// The snapshots this process keeps.
#[derive(Debug)]
pub struct Snapshots(Cache<ConversationId, Arc<Snapshot>>);

impl Default for Snapshots {
    fn default() -> Self {
        let weigh = |_: &ConversationId, snapshot: &Arc<Snapshot>| snapshot.weight();
        Self(Cache::builder().max_capacity(CAPACITY).weigher(weigh).time_to_idle(IDLE).build())
    }
}

impl Snapshots {
    /// The kept snapshot of a conversation of the caller's clinic, if there is one that time has not ended.
    pub(super) fn get(&self, ctx: &Ctx, id: ConversationId) -> Option<Arc<Snapshot>> {
        self.0.get(&id).filter(|kept| kept.facts.tenant == ctx.tenant && ctx.now < kept.until)
    }

    /// The kept snapshot, if it is of this version of the facts or a later one; otherwise a new one.
    ///
    /// # Errors
    /// As [`Snapshots::refresh`].
    pub(super) async fn of_version(
        &self,
        app: &App,
        ctx: &Ctx,
        id: ConversationId,
        version: i64,
    ) -> Result<Arc<Snapshot>> {
        match self.get(ctx, id).filter(|kept| kept.facts_version() >= version) {
            Some(kept) => Ok(kept),
            None => self.refresh(app, ctx, id).await,
        }
    }

    /// Reads the snapshot anew and keeps it.
    ///
    /// # Errors
    /// `not_found` when the clinic has no such conversation.
    pub(super) async fn refresh(&self, app: &App, ctx: &Ctx, id: ConversationId) -> Result<Arc<Snapshot>> {
        let fresh = Arc::new(Snapshot::load(app, ctx, id).await?);
        self.0.insert(id, Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Drops a snapshot that was found to be of the past.
    pub fn forget(&self, id: ConversationId) {
        self.0.invalidate(&id);
    }
}
