//! The decision itself.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use cedar_policy::{ActionConstraint, Authorizer, Decision, EntityUid, PolicyId, PolicySet, Schema};
use serde_json::json;
use sigilo_wire::ErrorCode;

use super::{
    ACTION_NAMES, Basis, Decide, Grant, Object, Question, Subject,
    question::Names,
    source::{Checked, Rule, Source},
};
use crate::{
    Ctx, Denial, Error, Result,
    error::{Refused, Suggestion},
};

/// Stands for the determining policies when no rule permits.
pub const DEFAULT_DENY: &str = "default-deny";

/// The rules in force. Cheap to share, never changes: a new set is a new value.
#[derive(Debug)]
pub struct Policy {
    authorizer: Authorizer,
    acts: HashMap<&'static str, ActRules>,
    schema: Schema,
    names: Names,
    rules: HashMap<PolicyId, RuleInfo>,
    hash: [u8; 32],
}

/// An act, and the rules that speak of it.
#[derive(Debug)]
struct ActRules {
    uid: EntityUid,
    policies: PolicySet,
}

impl ActRules {
    /// Those of `all` whose scope names the act, or every act. The others could neither permit nor forbid it,
    /// and Cedar would build the condition of each anew for every question.
    fn of(uid: EntityUid, all: &PolicySet) -> Result<Self> {
        // INVARIANT: the schema has no groups of acts, so a scope that names others never means this one.
        let speaks = |scope: ActionConstraint| match scope {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(named) => named == uid,
            ActionConstraint::In(named) => named.contains(&uid),
        };
        let speaking = all.policies().filter(|rule| speaks(rule.action_constraint())).cloned();
        let policies = PolicySet::from_policies(speaking).map_err(Error::internal)?;
        Ok(Self { uid, policies })
    }
}

/// What a rule says about itself in its annotations.
#[derive(Debug)]
struct RuleInfo {
    rank: usize,
    code: Option<ErrorCode>,
    reason: Option<String>,
    suggestion: Suggestion,
}

impl RuleInfo {
    fn of(rank: usize, rule: &Rule, policy: &cedar_policy::Policy) -> Result<Self> {
        const TRANSLATED: &str = "suggestion_";
        let says = |key: &str| policy.annotation(key).map(str::to_owned);
        let translated = policy.annotations().filter_map(|(key, text)| {
            key.strip_prefix(TRANSLATED).map(|language| (language.to_owned(), text.to_owned()))
        });
        let suggestion = says("suggestion").map_or(Suggestion::None, |default| Suggestion::Rule {
            default,
            translated: translated.collect(),
        });
        let code = says("code").map(|word| code(&word, &rule.file)).transpose()?;
        Ok(Self { rank, code, reason: says("reason"), suggestion })
    }
}

/// What the rules say to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Yes or no.
    pub allowed: bool,
    /// The ids of the rules that decided, in order; [`DEFAULT_DENY`] when none did.
    pub policies: Vec<String>,
}

/// What a decision says, with the question that decided it: the one that was refused, or the last.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Who, what, to what, and what was known.
    pub question: Question<'static>,
    /// Why it is allowed, or not.
    pub answer: Result<Basis, Box<Denial>>,
}

impl Policy {
    /// The program's rules with those of a folder, checked.
    ///
    /// # Errors
    /// When a rule is not valid, with file, line and reason.
    pub fn load(dir: Option<&Path>) -> Result<Self> {
        let source = match dir {
            Some(dir) => Source::embedded().with_dir(dir)?,
            None => Source::embedded(),
        };
        Self::new(&source)
    }

    /// These rules, checked.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn new(source: &Source) -> Result<Self> {
        let Checked { schema, policies } = source.check().map_err(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::internal(format!("the policies are not valid:\n{}", list.join("\n")))
        })?;
        let mut rules = HashMap::new();
        for (rank, rule) in source.rules.iter().enumerate() {
            let id = PolicyId::new(&rule.id);
            let policy =
                policies.policy(&id).ok_or_else(|| Error::internal(format!("{} is not there", rule.id)))?;
            rules.insert(id, RuleInfo::of(rank, rule, policy)?);
        }
        let names = Names::new()?;
        let acts = ACTION_NAMES
            .iter()
            .map(|act| Ok((*act, ActRules::of(names.action(act), &policies)?)))
            .collect::<Result<_>>()?;
        Ok(Self { authorizer: Authorizer::new(), acts, schema, names, rules, hash: source.hash() })
    }

    /// How many rules are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// SHA-256 of the rules in force ([`Source::hash`]).
    #[must_use]
    pub const fn set_hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What the rules say to one question.
    ///
    /// # Errors
    /// Only when the question does not fit the schema, or a rule fails on it: a fault, and no permission.
    pub fn evaluate(&self, question: &Question<'_>) -> Result<Verdict> {
        // Every question is made of typed facts; that these fit the schema is checked where tests run, and
        // costs more than the decision itself.
        let schema = cfg!(debug_assertions).then_some(&self.schema);
        let act = self
            .acts
            .get(question.action)
            .ok_or_else(|| Error::internal(format!("no rule can speak of '{}'", question.action)))?;
        let (request, entities) = question.to_cedar(&self.names, &act.uid, schema)?;
        let response = self.authorizer.is_authorized(&request, &act.policies, &entities);
        // INVARIANT: a rule that fails is skipped by Cedar. A skipped forbid would be a permission nobody gave.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(Error::internal(format!("policy: {error}")));
        }
        let mut determining: Vec<&PolicyId> = response.diagnostics().reason().collect();
        determining.sort_by_key(|id| self.rules.get(id).map(|info| info.rank));
        let mut policies: Vec<String> = determining.iter().map(ToString::to_string).collect();
        if policies.is_empty() {
            policies.push(DEFAULT_DENY.to_owned());
        }
        Ok(Verdict { allowed: response.decision() == Decision::Allow, policies })
    }

    /// Decides an act on facts.
    ///
    /// # Errors
    /// [`Error::Denied`] with the reason, what the person can do, and the determining policies;
    /// `unauthenticated` when a person is needed.
    pub fn decide<A: Decide>(&self, ctx: &Ctx, facts: &A::Facts) -> Result<Grant<A>> {
        match self.look::<A>(ctx, facts)?.answer {
            Ok(basis) => Ok(Grant::new(A::resource(facts), basis)),
            Err(denial) => Err(Error::Denied(denial)),
        }
    }

    /// As [`Policy::decide`], for whoever wants to know and not to act: the answer, and what was asked.
    ///
    /// # Errors
    /// `unauthenticated` when a person is needed.
    pub fn look<A: Decide>(&self, ctx: &Ctx, facts: &A::Facts) -> Result<Looked> {
        let mut determining = BTreeSet::new();
        let mut last = None;
        for question in A::questions(ctx, facts)? {
            let verdict = self.evaluate(&question)?;
            if !verdict.allowed {
                let denial = self.denial::<A>(ctx, &question, verdict);
                return Ok(Looked { question, answer: Err(Box::new(denial)) });
            }
            determining.extend(verdict.policies);
            last = Some(question);
        }
        let question =
            last.ok_or_else(|| Error::internal(format!("{} was decided without a question", A::NAME)))?;
        let basis = Basis { policies: determining.into_iter().collect(), policy_set: self.hash };
        Ok(Looked { question, answer: Ok(basis) })
    }

    fn denial<A: Decide>(&self, ctx: &Ctx, question: &Question<'_>, verdict: Verdict) -> Denial {
        let first = verdict.policies.first().and_then(|id| self.rules.get(&PolicyId::new(id)));
        let reason = first.and_then(|info| info.reason.as_deref()).unwrap_or("not_permitted");
        let mut details = json!({"reason": reason});
        if let (Subject::User(caller), Object::User(target)) = (question.principal, question.resource)
            && caller.id != target.id
        {
            details["target_user_id"] = json!(target.id);
        }
        let code = first.and_then(|info| info.code).unwrap_or(A::DENIED);
        let suggestion = first.map(|info| info.suggestion.clone()).unwrap_or_default();
        Denial {
            code,
            details,
            suggestion,
            policies: verdict.policies,
            policy_set: self.hash,
            refused: Some(Refused { ctx: ctx.clone(), act: A::NAME, leaf: None }),
            decision: None,
        }
    }
}

fn code(word: &str, file: &str) -> Result<ErrorCode> {
    ErrorCode::ALL
        .iter()
        .copied()
        .find(|code| code.as_str() == word)
        .ok_or_else(|| Error::internal(format!("{file}: @code(\"{word}\") is not a code of the API")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_have_no_groups_and_each_has_its_rules() {
        let policy = Policy::load(None).unwrap();
        assert_eq!(policy.schema.action_groups().count(), 0, "the rules are chosen by the act's own name");
        for act in ACTION_NAMES {
            let rules = policy.acts[act].policies.policies().count();
            assert!(rules > 0 && rules < policy.count(), "{act}: {rules}");
        }
    }
}
