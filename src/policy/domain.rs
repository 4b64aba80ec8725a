//! Everything the rules can be asked about a message, the start of a conversation, and keys: each combination of role, people, relationship, hours, type of
//! conversation, block and clinic. Tests hold what must never be allowed over all of it, and
//! `sigilo policy table` prints what it comes to (`docs/RULES.md`).

mod keys;
mod start;

pub use keys::{Fetching, keys_table};
pub use start::{Starting, start_table};

use std::fmt::Write as _;

use sigilo_wire::{
    ConversationId, Role, TenantId, UserId,
    conversation::{ConversationStatus, ConversationType},
};

use super::{Action as _, Fact, Object, Person, Policy, Question, SendMessage, Subject, Verdict};
use crate::Result;

/// The types of conversations, as people start them.
pub const KINDS: [ConversationType; 5] = [
    ConversationType::Direct,
    ConversationType::Consultation,
    ConversationType::Group,
    ConversationType::Administrative,
    ConversationType::Emergency,
];

/// Every role.
pub const ROLES: [Role; 6] =
    [Role::Patient, Role::Doctor, Role::Admin, Role::Moderator, Role::Compliance, Role::Service];

/// What a decision on a message depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing {
    /// Who writes.
    pub role: Role,
    /// Where.
    pub kind: ConversationType,
    /// How many patients take part.
    pub patients: i64,
    /// How many of the clinic's staff take part.
    pub admins: i64,
    /// Which of [`CONDITIONS`] hold.
    pub holds: [bool; CONDITIONS.len()],
}

/// What can be otherwise than it should be, in the words of the table.
pub const CONDITIONS: [&str; 9] = [
    "same clinic",
    "account active",
    "device with keys",
    "takes part",
    "not closed",
    "in care",
    "others reachable",
    "within hours",
    "no block",
];

const CLINIC: usize = 0;
const ACTIVE: usize = 1;
const DEVICE: usize = 2;
const MEMBER: usize = 3;
const STATUS: usize = 4;
const CARE: usize = 5;
const REACHABLE: usize = 6;
const HOURS: usize = 7;
const UNBLOCKED: usize = 8;

impl Writing {
    /// Every combination.
    pub fn all() -> impl Iterator<Item = Self> {
        let people = ROLES.into_iter().flat_map(|role| KINDS.into_iter().map(move |kind| (role, kind)));
        people.flat_map(|(role, kind)| {
            (0..3).flat_map(move |patients| {
                (0..2).flat_map(move |admins| {
                    (0..1_u32 << CONDITIONS.len()).map(move |bits| {
                        let holds = std::array::from_fn(|condition| bits & (1 << condition) != 0);
                        Self { role, kind, patients, admins, holds }
                    })
                })
            })
        })
    }

    /// Whether whoever writes is counted among those who take part: other combinations do not exist.
    #[must_use]
    pub const fn exists(&self) -> bool {
        let patient = !matches!(self.role, Role::Patient) || self.patients > 0;
        let admin = !matches!(self.role, Role::Admin) || self.admins > 0;
        patient && admin
    }

    /// What the rules say.
    ///
    /// # Errors
    /// As [`Policy::evaluate`].
    pub fn ask(&self, policy: &Policy) -> Result<Verdict> {
        self.ask_to(policy, SendMessage::NAME)
    }

    /// What the rules say to an act that is asked about as a message is.
    fn ask_to(&self, policy: &Policy, action: &'static str) -> Result<Verdict> {
        let (here, elsewhere) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let holds = |condition: usize| self.holds[condition];
        let people = vec![
            // With three a block between two of them is no matter: two is the strict case.
            ("count", Fact::Long(2)),
            ("patients", Fact::Long(self.patients)),
            ("admins", Fact::Long(self.admins)),
            ("related", Fact::Bool(holds(CARE))),
            ("reachable", Fact::Bool(holds(REACHABLE))),
            ("blocked", Fact::Bool(!holds(UNBLOCKED))),
        ];
        policy.evaluate(&Question {
            principal: Subject::User(Person {
                id: UserId::from_bytes([3; 16]),
                tenant: here,
                role: self.role,
                active: holds(ACTIVE),
            }),
            action,
            resource: Object::Conversation {
                id: ConversationId::from_bytes([4; 16]),
                tenant: if holds(CLINIC) { here } else { elsewhere },
                kind: self.kind,
                status: if holds(STATUS) { ConversationStatus::Active } else { ConversationStatus::Closed },
            },
            context: vec![
                ("device", Fact::Text(if holds(DEVICE) { "messaging" } else { "session" })),
                ("member", Fact::Bool(holds(MEMBER))),
                ("people", Fact::Record(people)),
                ("open", Fact::Bool(holds(HOURS))),
            ],
        })
    }
}

/// A line of the table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// Who writes.
    pub role: Role,
    /// Where.
    pub kind: ConversationType,
    /// How many patients take part.
    pub patients: i64,
    /// How many of the clinic's staff take part.
    pub admins: i64,
    /// The rule that refuses it when all is in order; `None` when it passes.
    pub refused_by: Option<String>,
    /// Of what passes: the rule that refuses it when one of [`CONDITIONS`] does not hold, in their order.
    pub without: Vec<Option<String>>,
}

/// For each writer and conversation, whether a message passes when all is in order, and which rule refuses it when one
/// thing is not.
///
/// # Errors
/// As [`Policy::evaluate`].
pub fn rows(policy: &Policy) -> Result<Vec<Row>> {
    let in_order = Writing::all().filter(|case| case.exists() && case.holds == [true; CONDITIONS.len()]);
    in_order
        .map(|case| {
            let refused_by = refusal(&case.ask(policy)?);
            let mut without = Vec::new();
            // A case that is refused anyway says nothing about the condition.
            for condition in 0..if refused_by.is_none() { CONDITIONS.len() } else { 0 } {
                let mut other = case;
                other.holds[condition] = false;
                without.push(refusal(&other.ask(policy)?));
            }
            let Writing { role, kind, patients, admins, .. } = case;
            Ok(Row { role, kind, patients, admins, refused_by, without })
        })
        .collect()
}

/// The rows as `docs/RULES.md` shows them.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| who writes | type | patients | staff | all in order |");
    for condition in CONDITIONS {
        let _ = write!(text, " not: {condition} |");
    }
    text.push('\n');
    text.push_str(&"| --- ".repeat(5 + CONDITIONS.len()));
    text.push_str("|\n");
    let shown = |refused: &Option<String>| refused.clone().unwrap_or_else(|| "**yes**".to_owned());
    for row in rows {
        let Row { role, kind, patients, admins, .. } = row;
        let _ = write!(text, "| {role} | {kind} | {patients} | {admins} | {} |", shown(&row.refused_by));
        for condition in 0..CONDITIONS.len() {
            let _ = write!(text, " {} |", row.without.get(condition).map(shown).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// A cell of a table: the rule that refuses, or that it passes.
fn cell(verdict: &Verdict) -> String {
    refusal(verdict).unwrap_or_else(|| "**yes**".to_owned())
}

/// The head of a table, with the line below it.
fn head(columns: &[String]) -> String {
    format!("| {} |\n{}|\n", columns.join(" | "), "| --- ".repeat(columns.len()))
}

fn refusal(verdict: &Verdict) -> Option<String> {
    if verdict.allowed { None } else { verdict.policies.first().cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::UploadFile;

    /// What the clinic's rules promise, over everything that can be asked.
    #[test]
    fn no_message_passes_that_the_clinic_does_not_allow() {
        let policy = Policy::load(None).unwrap();
        let (mut asked, mut allowed) = (0_u32, 0_u32);
        for case in Writing::all().filter(Writing::exists) {
            let verdict = case.ask(&policy).unwrap();
            asked += 1;
            if !verdict.allowed {
                continue;
            }
            allowed += 1;
            let emergency = case.kind == ConversationType::Emergency;
            assert!(case.patients < 2, "patient to patient: {case:?}");
            for always in [CLINIC, ACTIVE, DEVICE, MEMBER, STATUS] {
                assert!(case.holds[always], "{case:?}");
            }
            assert!(case.patients == 0 || emergency || case.holds[HOURS], "outside hours: {case:?}");
            assert!(emergency || case.holds[UNBLOCKED], "in spite of a block: {case:?}");
            assert!(case.patients == 0 || emergency || case.holds[CARE], "without care: {case:?}");
            assert!(
                case.patients == 0 || case.admins == 0 || case.kind == ConversationType::Administrative,
                "staff where a patient is treated: {case:?}"
            );
        }
        assert!(allowed > 0 && asked > 50_000, "{allowed} of {asked}");
    }

    /// Also the rule that refuses it is a message's.
    #[test]
    fn a_file_is_uploaded_where_a_message_is_written_but_not_by_patients_to_the_staff() {
        let policy = Policy::load(None).unwrap();
        for case in Writing::all().filter(Writing::exists) {
            let (message, file) =
                (case.ask(&policy).unwrap(), case.ask_to(&policy, UploadFile::NAME).unwrap());
            let to_staff = case.role == Role::Patient && case.kind == ConversationType::Administrative;
            assert_eq!(file.allowed, message.allowed && !to_staff, "{case:?}");
            assert!(to_staff || file.policies == message.policies, "{case:?}: {file:?}");
        }
    }

    #[test]
    fn the_table_of_the_documentation_is_what_the_rules_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RULES.md");
        let page = std::fs::read_to_string(path).unwrap();
        let table = table(&rows(&Policy::load(None).unwrap()).unwrap());
        assert!(page.contains(&table), "print it again: sigilo policy table\n{table}");
    }
}
