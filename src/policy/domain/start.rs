//! Starting a conversation: each combination of who, with whom, of which type, among whom.

use sigilo_wire::{Role, TenantId, UserId, conversation::ConversationType};

use super::{KINDS, ROLES, cell, head};
use crate::{
    Result,
    policy::{Fact, Object, Person, Policy, Question, Subject, Verdict},
};

/// What a decision on starting a conversation with somebody depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starting {
    /// Who starts it.
    pub role: Role,
    /// With whom.
    pub target: Role,
    /// Of which type.
    pub kind: ConversationType,
    /// How many patients would take part.
    pub patients: i64,
    /// How many of the clinic's staff would.
    pub admins: i64,
    /// Which of the `CONDITIONS` hold.
    pub holds: [bool; CONDITIONS.len()],
}

/// What can be otherwise than it should be.
pub const CONDITIONS: [&str; 7] = [
    "same clinic",
    "account active",
    "device with keys",
    "in care",
    "by appointment",
    "other one reachable",
    "no block",
];

const CLINIC: usize = 0;
const ACTIVE: usize = 1;
const DEVICE: usize = 2;
const CARE: usize = 3;
const APPOINTMENT: usize = 4;
const REACHABLE: usize = 5;
const UNBLOCKED: usize = 6;

impl Starting {
    /// Every combination.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs = ROLES.into_iter().flat_map(|role| ROLES.into_iter().map(move |target| (role, target)));
        let kinds = pairs.flat_map(|pair| KINDS.into_iter().map(move |kind| (pair, kind)));
        kinds.flat_map(|((role, target), kind)| {
            (0..4).flat_map(move |patients| {
                (0..3).flat_map(move |admins| {
                    (0..1_u32 << CONDITIONS.len()).map(move |bits| {
                        let holds = std::array::from_fn(|condition| bits & (1 << condition) != 0);
                        Self { role, target, kind, patients, admins, holds }
                    })
                })
            })
        })
    }

    /// Of two people, all in order.
    fn of_two(role: Role, target: Role, kind: ConversationType) -> Self {
        let (patients, admins) = (count(role, target, Role::Patient), count(role, target, Role::Admin));
        Self { role, target, kind, patients, admins, holds: [true; CONDITIONS.len()] }
    }

    /// Whether both are counted among those who would take part.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.patients >= count(self.role, self.target, Role::Patient)
            && self.admins >= count(self.role, self.target, Role::Admin)
    }

    /// What the rules say.
    ///
    /// # Errors
    /// As [`Policy::evaluate`].
    pub fn ask(&self, policy: &Policy) -> Result<Verdict> {
        let (here, elsewhere) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let holds = |condition: usize| self.holds[condition];
        let people = vec![
            ("count", Fact::Long((self.patients + self.admins).max(2))),
            ("patients", Fact::Long(self.patients)),
            ("admins", Fact::Long(self.admins)),
            ("related", Fact::Bool(holds(CARE))),
            ("reachable", Fact::Bool(holds(REACHABLE))),
            ("blocked", Fact::Bool(!holds(UNBLOCKED))),
        ];
        let person =
            |n: u8, tenant, role, active| Person { id: UserId::from_bytes([n; 16]), tenant, role, active };
        let theirs = if holds(CLINIC) { here } else { elsewhere };
        policy.evaluate(&Question {
            principal: Subject::User(person(3, here, self.role, holds(ACTIVE))),
            action: "start_conversation",
            resource: Object::User(person(4, theirs, self.target, holds(REACHABLE))),
            context: vec![
                ("device", Fact::Text(if holds(DEVICE) { "messaging" } else { "session" })),
                ("kind", Fact::Text(self.kind.as_str())),
                ("people", Fact::Record(people)),
                ("by_appointment", Fact::Bool(holds(APPOINTMENT))),
            ],
        })
    }
}

/// How many of the two have this role.
pub(super) fn count(one: Role, other: Role, role: Role) -> i64 {
    i64::from(one == role) + i64::from(other == role)
}

/// Who starts which conversation with whom, the two alone, as `docs/RULES.md` shows it: the rule that refuses it when all
/// is in order, and of what passes the rules that refuse it when one thing is not.
///
/// # Errors
/// As [`Policy::evaluate`].
pub fn start_table(policy: &Policy) -> Result<String> {
    let kinds = KINDS.map(|kind| kind.to_string());
    let mut text = head(&[&["who starts it".to_owned(), "with".to_owned()], kinds.as_slice()].concat());
    let mut passes = Vec::new();
    for role in ROLES {
        for target in ROLES {
            let mut cells = vec![role.to_string(), target.to_string()];
            for kind in KINDS {
                let case = Starting::of_two(role, target, kind);
                let verdict = case.ask(policy)?;
                cells.push(cell(&verdict));
                passes.extend(verdict.allowed.then_some(case));
            }
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    let conditions = CONDITIONS.map(|condition| format!("not: {condition}"));
    let columns = ["who starts it", "with", "type"].map(str::to_owned);
    text.push('\n');
    text.push_str(&head(&[columns.as_slice(), conditions.as_slice()].concat()));
    for case in passes {
        let mut cells = vec![case.role.to_string(), case.target.to_string(), case.kind.to_string()];
        for condition in 0..CONDITIONS.len() {
            let mut other = case;
            other.holds[condition] = false;
            cells.push(cell(&other.ask(policy)?));
        }
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_conversation_starts_that_the_clinic_does_not_allow() {
        let policy = Policy::load(None).unwrap();
        let (mut asked, mut allowed) = (0_u32, 0_u32);
        for case in Starting::all().filter(Starting::exists) {
            asked += 1;
            if !case.ask(&policy).unwrap().allowed {
                continue;
            }
            allowed += 1;
            assert!(
                case.role != Role::Patient || case.target != Role::Patient,
                "patient to patient: {case:?}"
            );
            assert!(case.patients < 2, "patients together: {case:?}");
            for always in [CLINIC, ACTIVE, REACHABLE, UNBLOCKED] {
                assert!(case.holds[always], "{case:?}");
            }
            assert!(case.patients == 0 || case.holds[CARE], "without care: {case:?}");
            let calls = case.role == Role::Patient && case.patients > 0;
            assert!(!calls || case.holds[APPOINTMENT], "by a patient without an appointment: {case:?}");
            assert!(case.kind != ConversationType::Emergency, "not by its own door: {case:?}");
            let administrative = case.kind == ConversationType::Administrative;
            assert!(
                case.patients == 0 || case.admins == 0 || administrative,
                "staff where a patient is treated: {case:?}"
            );
            assert!(case.target != Role::Admin || case.role != Role::Patient, "patient to staff: {case:?}");
            assert!(
                case.kind != ConversationType::Group || matches!(case.role, Role::Doctor | Role::Admin),
                "a group by somebody else: {case:?}"
            );
        }
        assert!(allowed > 0 && asked > 50_000, "{allowed} of {asked}");
    }

    #[test]
    fn the_documentation_has_the_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RULES.md")).unwrap();
        let table = start_table(&Policy::load(None).unwrap()).unwrap();
        assert!(page.contains(&table), "print it again: sigilo policy table\n{table}");
    }
}
