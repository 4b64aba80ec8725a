//! For each act, the facts of the database a decision needs.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use sigilo_wire::{
    ConversationId, FileId, Role, TenantId, UserId,
    account::DeviceKind,
    care::CareSource,
    conversation::{ConversationStatus, ConversationType},
};

use super::{
    Action, AddParticipant, AnswerConsent, ArrangeConversation, BlockUser, CloseAnomaly, CloseConversation,
    Connect, ExplainDecisions, Fact, FetchKeys, HandOverFileKey, HandleEmergency, Joining, LeaveConversation,
    Leaving, ListContacts, ListConversations, ManageClinic, ManageHours, ManageNetworks, ManageOnCall,
    ManageOwnAccount, ManagePeople, ManageQuarantine, ManageRelationships, Object, OpenBreakGlass,
    OpenEmergency, PublishKeys, PublishSeal, Question, ReadConversation, ReadFile, ReadSeals, ReleaseFile,
    RemoveParticipant, ReportSeal, RescanFile, ResetIdentity, ReviewAnomalies, ReviewBreakGlass, SealsOf,
    SearchMessages, SendMessage, SendResource, ShowPresence, StartConversation, Subject, UploadFile,
    UseTokens,
};
use crate::{Actor, Ctx, Error, Result};
use sigilo_wire::ErrorCode;

/// An act the rules can decide.
pub trait Decide: Action + Sized {
    /// What the decision needs to know.
    type Facts;

    /// The questions whose answers must all be yes; at least one.
    ///
    /// # Errors
    /// `unauthenticated` when the caller is not one who can ask.
    fn questions(ctx: &Ctx, facts: &Self::Facts) -> Result<Vec<Question<'static>>>;

    /// What the grant will be for.
    fn resource(facts: &Self::Facts) -> Self::Resource;
}

/// A person, as far as rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub id: UserId,
    /// Their clinic.
    pub tenant: TenantId,
    /// Their role in it.
    pub role: Role,
    /// Whether they have an account that is not suspended.
    pub active: bool,
}

impl Person {
    /// The caller.
    ///
    /// # Errors
    /// `unauthenticated` when the caller is not a person.
    pub fn caller(ctx: &Ctx) -> Result<Self> {
        let caller = ctx.caller()?;
        Ok(Self { id: caller.user_id, tenant: ctx.tenant, role: caller.role, active: caller.active })
    }
}

/// Pairs (patient, clinician) in care, and what makes it.
#[derive(Clone, Debug, Default)]
pub struct Care(HashMap<(UserId, UserId), BTreeSet<CareSource>>);

impl FromIterator<((UserId, UserId), CareSource)> for Care {
    fn from_iter<T: IntoIterator<Item = ((UserId, UserId), CareSource)>>(pairs: T) -> Self {
        let mut care: HashMap<(UserId, UserId), BTreeSet<CareSource>> = HashMap::new();
        for (pair, source) in pairs {
            care.entry(pair).or_default().insert(source);
        }
        Self(care)
    }
}

impl Care {
    /// What makes the care between a patient and a clinician; nothing when there is none.
    pub fn between(&self, patient: UserId, clinician: UserId) -> impl Iterator<Item = CareSource> {
        self.0.get(&(patient, clinician)).into_iter().flatten().copied()
    }
}

/// What holds between people.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    /// Who is in whose care.
    pub care: Care,
    /// Pairs of which the first has blocked the second.
    pub blocks: HashSet<(UserId, UserId)>,
}

impl Ties {
    /// Whether one of these two has blocked the other.
    #[must_use]
    pub fn blocked(&self, a: UserId, b: UserId) -> bool {
        self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a))
    }

    /// Whether every patient among these people has an appointment with every clinician among them that was not called
    /// off.
    #[must_use]
    pub fn by_appointment(&self, people: &[Person]) -> bool {
        every_pair(people, |patient, doctor| {
            self.care.between(patient, doctor).any(|source| source == CareSource::Appointment)
        })
    }
}

/// Whether this holds for every patient with every clinician among these people.
fn every_pair(people: &[Person], holds: impl Fn(UserId, UserId) -> bool) -> bool {
    let who = |role| people.iter().filter(move |person| person.role == role).map(|person| person.id);
    who(Role::Patient).all(|patient| who(Role::Doctor).all(|doctor| holds(patient, doctor)))
}

/// What matters about the people of a conversation together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct People {
    /// How many they are.
    pub count: usize,
    /// How many are patients.
    pub patients: usize,
    /// How many are clinic staff.
    pub admins: usize,
    /// Whether every patient among them has a care relationship with every clinician among them.
    pub related: bool,
    /// Whether somebody but the caller has an active account.
    pub reachable: bool,
    /// Whether one of them has blocked another.
    pub blocked: bool,
}

impl People {
    /// Of these people, the caller among them.
    #[must_use]
    pub fn of(caller: UserId, people: &[Person], ties: &Ties) -> Self {
        let count = |role| people.iter().filter(|person| person.role == role).count();
        let among = |user: &UserId| people.iter().any(|person| person.id == *user);
        Self {
            count: people.len(),
            patients: count(Role::Patient),
            admins: count(Role::Admin),
            related: every_pair(people, |patient, doctor| {
                ties.care.between(patient, doctor).next().is_some()
            }),
            reachable: people.iter().any(|person| person.id != caller && person.active),
            blocked: ties.blocks.iter().any(|(blocker, blocked)| among(blocker) && among(blocked)),
        }
    }

    fn fact(self) -> Fact<'static> {
        let count = |n: usize| Fact::Long(i64::try_from(n).unwrap_or(i64::MAX));
        Fact::Record(vec![
            ("count", count(self.count)),
            ("patients", count(self.patients)),
            ("admins", count(self.admins)),
            ("related", Fact::Bool(self.related)),
            ("reachable", Fact::Bool(self.reachable)),
            ("blocked", Fact::Bool(self.blocked)),
        ])
    }
}

/// Facts of [`StartConversation`].
#[derive(Clone, Debug)]
pub struct Start {
    /// The caller.
    pub caller: Person,
    /// The type wanted.
    pub kind: ConversationType,
    /// The other people.
    pub targets: Vec<Person>,
    /// All of them together.
    pub people: People,
    /// Whether an appointment relates every patient among them with every clinician among them.
    pub by_appointment: bool,
}

/// Facts of the acts inside a conversation.
#[derive(Clone, Copy, Debug)]
pub struct InConversation {
    /// The caller.
    pub caller: Person,
    /// The conversation.
    pub id: ConversationId,
    /// Its clinic.
    pub tenant: TenantId,
    /// Its type.
    pub kind: ConversationType,
    /// Whether it takes new messages.
    pub status: ConversationStatus,
    /// `conversations.facts_version` when these facts were read.
    pub facts_version: i64,
    /// Whether the caller takes part.
    pub member: bool,
    /// Whether the caller also changes its settings and members.
    pub moderator: bool,
    /// Whether the caller may leave it.
    pub can_leave: bool,
    /// Those who take part.
    pub people: People,
    /// Whether the chat hours of a conversation with a patient are open; without a patient, yes.
    pub open: bool,
}

/// Facts of [`AddParticipant`].
#[derive(Clone, Debug)]
pub struct Join {
    /// The conversation as it is.
    pub base: InConversation,
    /// Who is to join, in order of ids.
    pub joining: Vec<Person>,
    /// Everyone as they would be together; reachable when each who joins is.
    pub people: People,
}

/// Facts of [`RemoveParticipant`] and [`LeaveConversation`].
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// The conversation as it is.
    pub base: InConversation,
    /// Who is to take part no longer.
    pub user: UserId,
}

/// Facts of [`ReadSeals`].
#[derive(Clone, Copy, Debug)]
pub struct SealReader {
    /// The conversation as it is.
    pub base: InConversation,
    /// Whether the caller takes part, or did.
    pub took_part: bool,
}

/// Facts of [`ReadFile`].
#[derive(Clone, Copy, Debug)]
pub struct FileReader {
    /// The conversation it is in.
    pub base: InConversation,
    /// The file.
    pub file: FileId,
    /// Whether the caller uploaded it.
    pub uploader: bool,
    /// Whether the patient allows others to open it, or nobody has to ask.
    pub agreed: bool,
}

/// Facts of [`HandOverFileKey`] and [`RescanFile`].
#[derive(Clone, Copy, Debug)]
pub struct FileOf {
    /// The conversation it is in.
    pub base: InConversation,
    /// The file.
    pub file: FileId,
    /// Whether the caller uploaded it.
    pub uploader: bool,
}

/// Facts of [`FetchKeys`].
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The caller.
    pub caller: Person,
    /// Whose keys.
    pub target: Person,
    /// Whether both are in one active conversation.
    pub shares_conversation: bool,
    /// Whether both are in one in which messages pass between them also when one has blocked the other.
    pub shares_team: bool,
    /// Whether both are in an open emergency, the other one perhaps not called yet.
    pub emergency: bool,
    /// Whether the caller may start a direct conversation with them.
    pub may_start: bool,
    /// Whether the other one called the finding on a file of a conversation of the caller's false.
    pub signed_release: bool,
    /// The two of them.
    pub people: People,
}

/// Facts of what everyone may do with what is their own.
#[derive(Clone, Copy, Debug)]
pub struct OwnAccount {
    /// The caller.
    pub caller: Person,
    /// Whose account.
    pub owner: Person,
}

impl OwnAccount {
    /// The caller's own.
    ///
    /// # Errors
    /// `unauthenticated` when the caller is not a person.
    pub fn of(ctx: &Ctx) -> Result<Self> {
        let caller = Person::caller(ctx)?;
        Ok(Self { caller, owner: caller })
    }
}

/// Facts of [`Connect`].
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    /// Who.
    pub caller: Person,
    /// On which kind of device.
    pub kind: DeviceKind,
    /// Where the request comes from, in its canonical form.
    pub address: Option<IpAddr>,
    /// Whether the clinic's settings allow the role that address.
    pub within_networks: bool,
}

/// Facts of [`UseTokens`].
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// The caller.
    pub caller: Person,
    /// Whether the account has a second factor.
    pub second_factor: bool,
    /// Whether the clinic asks for one of the roles that need it.
    pub required: bool,
}

/// Facts of [`ResetIdentity`], [`BlockUser`] and [`CloseAnomaly`].
#[derive(Clone, Copy, Debug)]
pub struct Other {
    /// The caller.
    pub caller: Person,
    /// The person it is done to.
    pub target: Person,
}

/// Facts of [`OpenBreakGlass`].
#[derive(Clone, Copy, Debug)]
pub struct BreakGlass {
    /// The caller.
    pub caller: Person,
    /// The patient.
    pub target: Person,
    /// Whether there is care between the two already.
    pub related: bool,
}

/// Facts of [`ExplainDecisions`].
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// The person whose acts are asked about.
    pub target: Person,
}

/// Facts of managing a clinic.
#[derive(Clone, Copy, Debug)]
pub struct Clinic {
    /// The clinic.
    pub tenant: TenantId,
}

fn device(ctx: &Ctx) -> Result<(&'static str, Fact<'static>)> {
    Ok(device_of(ctx.caller()?.kind))
}

const fn device_of(kind: DeviceKind) -> (&'static str, Fact<'static>) {
    let word = match kind {
        DeviceKind::Messaging => "messaging",
        DeviceKind::Session => "session",
    };
    ("device", Fact::Text(word))
}

impl Decide for StartConversation {
    type Facts = Start;

    fn questions(ctx: &Ctx, facts: &Start) -> Result<Vec<Question<'static>>> {
        let device = device(ctx)?;
        let about = |target: &Person| {
            // Each of them must be reachable, not just one.
            let people = People { reachable: target.active, ..facts.people };
            let kind = Fact::Text(facts.kind.as_str());
            Question {
                principal: Subject::User(facts.caller),
                action: Self::NAME,
                resource: Object::User(*target),
                context: vec![
                    device.clone(),
                    ("kind", kind),
                    ("people", people.fact()),
                    ("by_appointment", Fact::Bool(facts.by_appointment)),
                ],
            }
        };
        Ok(facts.targets.iter().map(about).collect())
    }

    fn resource(facts: &Start) -> Vec<UserId> {
        facts.targets.iter().map(|target| target.id).collect()
    }
}

/// A question about a conversation; `more` is what the act's context has beside the device and membership.
fn about(
    ctx: &Ctx,
    facts: &InConversation,
    action: &'static str,
    more: Vec<(&'static str, Fact<'static>)>,
) -> Result<Question<'static>> {
    let InConversation { id, tenant, kind, status, .. } = *facts;
    let mut context = vec![device(ctx)?, ("member", Fact::Bool(facts.member))];
    context.extend(more);
    let resource = Object::Conversation { id, tenant, kind, status };
    Ok(Question { principal: Subject::User(facts.caller), action, resource, context })
}

fn in_conversation(
    ctx: &Ctx,
    facts: &InConversation,
    action: &'static str,
    with_people: bool,
) -> Result<Vec<Question<'static>>> {
    let more = if with_people { vec![("people", facts.people.fact())] } else { Vec::new() };
    Ok(vec![about(ctx, facts, action, more)?])
}

macro_rules! sending {
    ($($action:ident),*) => { $(
        impl Decide for $action {
            type Facts = InConversation;

            fn questions(ctx: &Ctx, facts: &InConversation) -> Result<Vec<Question<'static>>> {
                let more = vec![("people", facts.people.fact()), ("open", Fact::Bool(facts.open))];
                Ok(vec![about(ctx, facts, Self::NAME, more)?])
            }

            fn resource(facts: &InConversation) -> SendResource {
                SendResource { conversation_id: facts.id, facts_version: facts.facts_version }
            }
        }
    )* };
}

sending!(SendMessage, UploadFile);

impl Decide for ReadFile {
    type Facts = FileReader;

    fn questions(ctx: &Ctx, facts: &FileReader) -> Result<Vec<Question<'static>>> {
        let more = vec![("uploader", Fact::Bool(facts.uploader)), ("agreed", Fact::Bool(facts.agreed))];
        Ok(vec![about(ctx, &facts.base, Self::NAME, more)?])
    }

    fn resource(facts: &FileReader) -> FileId {
        facts.file
    }
}

macro_rules! scanning {
    ($($action:ident),*) => { $(
        impl Decide for $action {
            type Facts = FileOf;

            fn questions(ctx: &Ctx, facts: &FileOf) -> Result<Vec<Question<'static>>> {
                let more = vec![("uploader", Fact::Bool(facts.uploader))];
                Ok(vec![about(ctx, &facts.base, Self::NAME, more)?])
            }

            fn resource(facts: &FileOf) -> FileId {
                facts.file
            }
        }
    )* };
}

scanning!(HandOverFileKey, RescanFile);

impl Decide for PublishSeal {
    type Facts = InConversation;

    fn questions(ctx: &Ctx, facts: &InConversation) -> Result<Vec<Question<'static>>> {
        in_conversation(ctx, facts, Self::NAME, true)
    }

    fn resource(facts: &InConversation) -> ConversationId {
        facts.id
    }
}

macro_rules! to_another {
    ($($action:ident),*) => { $(
        impl Decide for $action {
            type Facts = Other;

            fn questions(ctx: &Ctx, facts: &Other) -> Result<Vec<Question<'static>>> {
                Ok(vec![Question {
                    principal: Subject::User(facts.caller),
                    action: Self::NAME,
                    resource: Object::User(facts.target),
                    context: vec![device(ctx)?],
                }])
            }

            fn resource(facts: &Other) -> UserId {
                facts.target.id
            }
        }
    )* };
}

to_another!(ResetIdentity, BlockUser, CloseAnomaly, ReleaseFile);
impl Decide for OpenEmergency {
    type Facts = Clinic;

    fn questions(ctx: &Ctx, facts: &Clinic) -> Result<Vec<Question<'static>>> {
        Ok(vec![Question {
            principal: Subject::User(Person::caller(ctx)?),
            action: Self::NAME,
            resource: Object::Clinic(facts.tenant),
            context: vec![device(ctx)?],
        }])
    }

    fn resource(facts: &Clinic) -> TenantId {
        facts.tenant
    }
}

impl Decide for OpenBreakGlass {
    type Facts = BreakGlass;

    fn questions(ctx: &Ctx, facts: &BreakGlass) -> Result<Vec<Question<'static>>> {
        Ok(vec![Question {
            principal: Subject::User(facts.caller),
            action: Self::NAME,
            resource: Object::User(facts.target),
            context: vec![device(ctx)?, ("related", Fact::Bool(facts.related))],
        }])
    }

    fn resource(facts: &BreakGlass) -> UserId {
        facts.target.id
    }
}

macro_rules! by_members {
    ($($action:ident),*) => { $(
        impl Decide for $action {
            type Facts = InConversation;

            fn questions(ctx: &Ctx, facts: &InConversation) -> Result<Vec<Question<'static>>> {
                in_conversation(ctx, facts, Self::NAME, false)
            }

            fn resource(facts: &InConversation) -> ConversationId {
                facts.id
            }
        }
    )* };
}

by_members!(
    ReadConversation,
    ReportSeal,
    ArrangeConversation,
    CloseConversation,
    HandleEmergency,
    AnswerConsent
);

impl Decide for ReadSeals {
    type Facts = SealReader;

    fn questions(ctx: &Ctx, facts: &SealReader) -> Result<Vec<Question<'static>>> {
        let more = vec![("took_part", Fact::Bool(facts.took_part))];
        Ok(vec![about(ctx, &facts.base, Self::NAME, more)?])
    }

    fn resource(facts: &SealReader) -> SealsOf {
        let InConversation { id, member, caller, .. } = facts.base;
        SealsOf { conversation_id: id, only: (!member).then_some(caller.id) }
    }
}

impl Decide for AddParticipant {
    type Facts = Join;

    fn questions(ctx: &Ctx, facts: &Join) -> Result<Vec<Question<'static>>> {
        let question = |person: &Person| {
            let more = vec![
                ("moderator", Fact::Bool(facts.base.moderator)),
                ("joining", Fact::Text(person.role.as_str())),
                ("people", facts.people.fact()),
            ];
            about(ctx, &facts.base, Self::NAME, more)
        };
        facts.joining.iter().map(question).collect()
    }

    fn resource(facts: &Join) -> Joining {
        let joining = facts.joining.iter().map(|person| person.id).collect();
        Joining { base: facts.base, joining, people: facts.people }
    }
}

impl Decide for RemoveParticipant {
    type Facts = Leave;

    fn questions(ctx: &Ctx, facts: &Leave) -> Result<Vec<Question<'static>>> {
        let more = vec![("moderator", Fact::Bool(facts.base.moderator))];
        Ok(vec![about(ctx, &facts.base, Self::NAME, more)?])
    }

    fn resource(facts: &Leave) -> Leaving {
        facts.resource()
    }
}

impl Decide for LeaveConversation {
    type Facts = Leave;

    fn questions(ctx: &Ctx, facts: &Leave) -> Result<Vec<Question<'static>>> {
        let more = vec![("can_leave", Fact::Bool(facts.base.can_leave))];
        Ok(vec![about(ctx, &facts.base, Self::NAME, more)?])
    }

    fn resource(facts: &Leave) -> Leaving {
        facts.resource()
    }
}

impl Leave {
    const fn resource(&self) -> Leaving {
        let InConversation { id, facts_version, .. } = self.base;
        Leaving { conversation_id: id, facts_version, user: self.user }
    }
}

impl Decide for FetchKeys {
    type Facts = Keys;

    fn questions(ctx: &Ctx, facts: &Keys) -> Result<Vec<Question<'static>>> {
        Ok(vec![Question {
            principal: Subject::User(facts.caller),
            action: Self::NAME,
            resource: Object::User(facts.target),
            context: vec![
                device(ctx)?,
                ("shares_conversation", Fact::Bool(facts.shares_conversation)),
                ("shares_team", Fact::Bool(facts.shares_team)),
                ("emergency", Fact::Bool(facts.emergency)),
                ("may_start", Fact::Bool(facts.may_start)),
                ("signed_release", Fact::Bool(facts.signed_release)),
                ("people", facts.people.fact()),
            ],
        }])
    }

    fn resource(facts: &Keys) -> UserId {
        facts.target.id
    }
}

macro_rules! own {
    ($($action:ident),*) => { $(
        impl Decide for $action {
            type Facts = OwnAccount;

            fn questions(ctx: &Ctx, facts: &OwnAccount) -> Result<Vec<Question<'static>>> {
                Ok(vec![Question {
                    principal: Subject::User(facts.caller),
                    action: Self::NAME,
                    resource: Object::User(facts.owner),
                    context: vec![device(ctx)?],
                }])
            }

            fn resource(facts: &OwnAccount) -> UserId {
                facts.owner.id
            }
        }
    )* };
}

impl Decide for Connect {
    type Facts = Arriving;

    // Whoever logs in is not the caller of the request yet: the facts say who it is.
    fn questions(_: &Ctx, facts: &Arriving) -> Result<Vec<Question<'static>>> {
        let mut context = vec![device_of(facts.kind), ("within_networks", Fact::Bool(facts.within_networks))];
        context.extend(facts.address.map(|address| ("address", Fact::Ip(address))));
        let (principal, resource) = (Subject::User(facts.caller), Object::User(facts.caller));
        Ok(vec![Question { principal, action: Self::NAME, resource, context }])
    }

    fn resource(facts: &Arriving) -> UserId {
        facts.caller.id
    }
}

impl Decide for UseTokens {
    type Facts = Tokens;

    fn questions(ctx: &Ctx, facts: &Tokens) -> Result<Vec<Question<'static>>> {
        let context = vec![
            device(ctx)?,
            ("second_factor", Fact::Bool(facts.second_factor)),
            ("required", Fact::Bool(facts.required)),
        ];
        let (principal, resource) = (Subject::User(facts.caller), Object::User(facts.caller));
        Ok(vec![Question { principal, action: Self::NAME, resource, context }])
    }

    fn resource(facts: &Tokens) -> UserId {
        facts.caller.id
    }
}

own!(PublishKeys, ManageOwnAccount, ShowPresence, ListConversations, ListContacts, SearchMessages);

/// Whoever asks for a clinic: a person, or the command line.
fn subject(ctx: &Ctx) -> Result<Subject> {
    match ctx.actor {
        Actor::User(_) => Ok(Subject::User(Person::caller(ctx)?)),
        Actor::Operator => Ok(Subject::Operator),
        Actor::Anonymous => Err(Error::Unauthenticated(ErrorCode::Unauthenticated)),
    }
}

impl Decide for ExplainDecisions {
    type Facts = Explained;

    fn questions(ctx: &Ctx, facts: &Explained) -> Result<Vec<Question<'static>>> {
        let (principal, resource) = (subject(ctx)?, Object::User(facts.target));
        Ok(vec![Question { principal, action: Self::NAME, resource, context: Vec::new() }])
    }

    fn resource(facts: &Explained) -> UserId {
        facts.target.id
    }
}

macro_rules! managing {
    ($($action:ident),*) => { $(
        impl Decide for $action {
            type Facts = Clinic;

            fn questions(ctx: &Ctx, facts: &Clinic) -> Result<Vec<Question<'static>>> {
                let (principal, resource) = (subject(ctx)?, Object::Clinic(facts.tenant));
                Ok(vec![Question { principal, action: Self::NAME, resource, context: Vec::new() }])
            }

            fn resource(_: &Clinic) {}
        }
    )* };
}

managing!(
    ManagePeople,
    ManageRelationships,
    ManageHours,
    ManageClinic,
    ManageOnCall,
    ManageNetworks,
    ManageQuarantine,
    ReviewAnomalies,
    ReviewBreakGlass
);

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: u8, role: Role, active: bool) -> Person {
        Person { id: UserId::from_bytes([n; 16]), tenant: TenantId::from_bytes([1; 16]), role, active }
    }

    #[test]
    fn everyone_in_care_means_every_pair() {
        let (ana, luis) = (person(1, Role::Patient, true), person(2, Role::Doctor, true));
        let eva = person(3, Role::Doctor, true);
        let ties = |pair| Ties { care: Care::from_iter([(pair, CareSource::CareTeam)]), ..Ties::default() };
        let care = ties((ana.id, luis.id));
        assert!(People::of(ana.id, &[ana, luis], &care).related);
        assert!(!People::of(ana.id, &[ana, eva], &care).related);
        assert!(!People::of(luis.id, &[ana, luis, eva], &care).related);
        assert!(People::of(luis.id, &[luis, eva], &care).related);
        // The pair has a direction: the clinician is not the patient's patient.
        assert!(!People::of(ana.id, &[ana, luis], &ties((luis.id, ana.id))).related);
    }

    #[test]
    fn an_appointment_is_told_from_other_care() {
        let (ana, luis, eva) =
            (person(1, Role::Patient, true), person(2, Role::Doctor, true), person(3, Role::Doctor, true));
        let sources = [
            ((ana.id, luis.id), CareSource::Grant),
            ((ana.id, luis.id), CareSource::Appointment),
            ((ana.id, eva.id), CareSource::CareTeam),
        ];
        let ties = Ties { care: Care::from_iter(sources), ..Ties::default() };
        assert!(ties.by_appointment(&[ana, luis]) && !ties.by_appointment(&[ana, eva]));
        assert!(!ties.by_appointment(&[ana, luis, eva]) && ties.by_appointment(&[luis, eva]));
        let between: Vec<CareSource> = ties.care.between(ana.id, luis.id).collect();
        assert_eq!(between, [CareSource::Appointment, CareSource::Grant]);
        assert_eq!(ties.care.between(luis.id, ana.id).next(), None);
    }

    #[test]
    fn reachable_is_somebody_else() {
        let (ana, luis) = (person(1, Role::Patient, true), person(2, Role::Doctor, false));
        let none = Ties::default();
        assert!(!People::of(ana.id, &[ana, luis], &none).reachable);
        assert!(People::of(luis.id, &[ana, luis], &none).reachable);
    }

    #[test]
    fn a_block_counts_among_those_present_whichever_way() {
        let (ana, luis) = (person(1, Role::Patient, true), person(2, Role::Doctor, true));
        let eva = person(3, Role::Doctor, true);
        let ties = Ties { blocks: HashSet::from([(luis.id, ana.id)]), ..Ties::default() };
        assert!(
            ties.blocked(ana.id, luis.id) && ties.blocked(luis.id, ana.id) && !ties.blocked(ana.id, eva.id)
        );
        for (people, blocked) in
            [(vec![ana, luis], true), (vec![ana, eva], false), (vec![eva, ana, luis], true)]
        {
            assert_eq!(People::of(ana.id, &people, &ties).blocked, blocked, "{people:?}");
        }
    }
}
