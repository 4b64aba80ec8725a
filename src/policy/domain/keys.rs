//! Fetching somebody's keys: each combination of who, whose, and what the two share.

use sigilo_wire::{Role, TenantId, UserId};

use super::{ROLES, cell, head, start::count};
use crate::{
    Result,
    policy::{Fact, Object, Person, Policy, Question, Subject, Verdict},
};

/// What a decision on fetching somebody's keys depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// Who fetches.
    pub role: Role,
    /// Whose.
    pub target: Role,
    /// Which of the `SHARED` hold.
    pub shares: [bool; SHARED.len()],
    /// Which of the `CONDITIONS` hold.
    pub holds: [bool; CONDITIONS.len()],
}

/// What the two may share.
pub const SHARED: [&str; 4] =
    ["an active conversation", "one larger than the two", "the right to start one", "an open emergency"];
/// What can be otherwise than it should be.
pub const CONDITIONS: [&str; 5] =
    ["same clinic", "account active", "device with keys", "in care", "no block"];

const CONVERSATION: usize = 0;
const TEAM: usize = 1;
const START: usize = 2;
const EMERGENCY: usize = 3;

const CLINIC: usize = 0;
const ACTIVE: usize = 1;
const DEVICE: usize = 2;
const CARE: usize = 3;
const UNBLOCKED: usize = 4;

impl Fetching {
    /// Every combination.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs = ROLES.into_iter().flat_map(|role| ROLES.into_iter().map(move |target| (role, target)));
        pairs.flat_map(|(role, target)| {
            (0..1_u32 << SHARED.len()).flat_map(move |shared| {
                (0..1_u32 << CONDITIONS.len()).map(move |bits| Self {
                    role,
                    target,
                    shares: std::array::from_fn(|n| shared & (1 << n) != 0),
                    holds: std::array::from_fn(|n| bits & (1 << n) != 0),
                })
            })
        })
    }

    /// What the rules say.
    ///
    /// # Errors
    /// As [`Policy::evaluate`].
    pub fn ask(&self, policy: &Policy) -> Result<Verdict> {
        let (here, elsewhere) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let holds = |condition: usize| self.holds[condition];
        let shares = |what: usize| Fact::Bool(self.shares[what]);
        let people = vec![
            ("count", Fact::Long(2)),
            ("patients", Fact::Long(count(self.role, self.target, Role::Patient))),
            ("admins", Fact::Long(count(self.role, self.target, Role::Admin))),
            ("related", Fact::Bool(holds(CARE))),
            ("reachable", Fact::Bool(true)),
            ("blocked", Fact::Bool(!holds(UNBLOCKED))),
        ];
        let person =
            |n: u8, tenant, role, active| Person { id: UserId::from_bytes([n; 16]), tenant, role, active };
        let theirs = if holds(CLINIC) { here } else { elsewhere };
        policy.evaluate(&Question {
            principal: Subject::User(person(3, here, self.role, holds(ACTIVE))),
            action: "fetch_keys",
            resource: Object::User(person(4, theirs, self.target, true)),
            context: vec![
                ("device", Fact::Text(if holds(DEVICE) { "messaging" } else { "session" })),
                ("shares_conversation", shares(CONVERSATION)),
                ("shares_team", shares(TEAM)),
                ("may_start", shares(START)),
                ("emergency", shares(EMERGENCY)),
                ("signed_release", Fact::Bool(false)),
                ("people", Fact::Record(people)),
            ],
        })
    }
}

/// Who fetches whose keys, as `docs/RULES.md` shows it: by what the two share when all else is in order, and, when they
/// share a conversation, the rules that refuse it when one thing is not.
///
/// # Errors
/// As [`Policy::evaluate`].
pub fn keys_table(policy: &Policy) -> Result<String> {
    let shared = SHARED.map(|what| format!("share {what}"));
    let conditions = CONDITIONS.map(|condition| format!("a conversation, not: {condition}"));
    let first = ["who", "whose", "share nothing"].map(str::to_owned);
    let mut text = head(&[first.as_slice(), shared.as_slice(), conditions.as_slice()].concat());
    for role in ROLES {
        for target in ROLES {
            let all = Fetching { role, target, shares: [false; 4], holds: [true; CONDITIONS.len()] };
            let mut cells = vec![role.to_string(), target.to_string(), cell(&all.ask(policy)?)];
            for what in 0..SHARED.len() {
                let mut case = all;
                case.shares[what] = true;
                // A larger one, or an emergency, is a conversation the two share.
                case.shares[CONVERSATION] |= what == TEAM || what == EMERGENCY;
                cells.push(cell(&case.ask(policy)?));
            }
            for condition in 0..CONDITIONS.len() {
                let mut case = all;
                case.shares[CONVERSATION] = true;
                case.holds[condition] = false;
                cells.push(cell(&case.ask(policy)?));
            }
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keys_are_fetched_that_the_clinic_does_not_allow() {
        let policy = Policy::load(None).unwrap();
        let (mut asked, mut allowed) = (0_u32, 0_u32);
        for case in Fetching::all() {
            asked += 1;
            if !case.ask(&policy).unwrap().allowed {
                continue;
            }
            allowed += 1;
            let patients = count(case.role, case.target, Role::Patient);
            let [conversation, team, start, emergency] = case.shares;
            assert!(patients < 2, "patient to patient: {case:?}");
            for always in [CLINIC, ACTIVE, DEVICE] {
                assert!(case.holds[always], "{case:?}");
            }
            assert!(conversation || start || emergency, "of a stranger: {case:?}");
            assert!(patients == 0 || emergency || case.holds[CARE], "without care: {case:?}");
            assert!(case.holds[UNBLOCKED] || team || emergency, "in spite of a block: {case:?}");
        }
        assert!(allowed > 0 && asked > 15_000, "{allowed} of {asked}");
    }

    #[test]
    fn the_documentation_has_the_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RULES.md")).unwrap();
        let table = keys_table(&Policy::load(None).unwrap()).unwrap();
        assert!(page.contains(&table), "print it again: sigilo policy table\n{table}");
    }
}
