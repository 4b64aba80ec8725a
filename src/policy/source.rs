//! The rules' texts: those of the program, and those a deployment adds or puts in their place.

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr as _};

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");

macro_rules! rules {
    ($($stem:literal),* $(,)?) => {
        /// The program's rules. When several forbid the same thing, the first of this list gives the reason.
        const RULES: &[(&str, &str)] =
            &[$(($stem, include_str!(concat!("../../policies/", $stem, ".cedar")))),*];
    };
}

rules! {
    "foreign-clinic",
    "suspended-account",
    "session-device",
    "allowed-networks",
    "second-factor-first",
    "closed-conversation",
    "patients-apart",
    "admin-administrative-only",
    "administrative-by-admin",
    "group-by-clinician",
    "emergency-by-its-own-door",
    "medical-relationship",
    "patients-start-by-appointment",
    "blocks",
    "staff-not-blocked",
    "inactive-recipient",
    "chat-hours",
    "patients-upload-for-treatment",
    "consent-before-reading",
    "patient-to-clinician",
    "clinician-to-patient",
    "staff-to-staff",
    "admin-to-anyone",
    "members-send",
    "members-read",
    "patients-consent",
    "uploaders-hand-over",
    "members-rescan",
    "readers-read-seals",
    "members-report",
    "members-arrange",
    "members-leave",
    "clinicians-close",
    "patients-open-emergencies",
    "clinicians-handle-emergencies",
    "clinicians-break-glass",
    "compliance-reviews-break-glass",
    "anomalies-reviewed-by-staff",
    "anomalies-closed-by-others",
    "moderators-keep-quarantine",
    "releases-by-others",
    "moderators-add-to-group",
    "moderators-add-to-administrative",
    "moderators-remove",
    "keys-of-contacts",
    "own-keys",
    "own-account",
    "identities-by-others",
    "block-others",
    "own-explanations",
    "admin-explains",
    "operator-explains",
    "admin-manages",
    "operator-manages",
}

/// One rule: its id and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file's name without `.cedar`.
    pub id: String,
    /// Cedar.
    pub text: String,
    /// Where it comes from, as people know it.
    pub file: String,
}

/// The rules of a server and what they may speak of.
#[derive(Clone, Debug)]
pub struct Source {
    /// Cedar's schema, in its own syntax.
    pub schema: String,
    /// In order of precedence.
    pub rules: Vec<Rule>,
}

/// What is wrong with a rule, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Rules that passed every check.
#[derive(Debug)]
pub struct Checked {
    /// What rules may speak of.
    pub schema: Schema,
    /// The rules.
    pub policies: PolicySet,
}

impl Source {
    /// The program's own rules.
    #[must_use]
    pub fn embedded() -> Self {
        let rule = |(id, text): &(&str, &str)| Rule {
            id: (*id).to_owned(),
            text: (*text).to_owned(),
            file: format!("policies/{id}.cedar"),
        };
        Self { schema: SCHEMA.to_owned(), rules: RULES.iter().map(rule).collect() }
    }

    /// With the `*.cedar` files of a folder: a file named as one of the program's takes its place, others are
    /// added after them in the order of their names.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn with_dir(mut self, dir: &Path) -> Result<Self> {
        let fault = |path: &Path, e: std::io::Error| Error::internal(format!("{}: {e}", path.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|e| fault(dir, e))? {
            let path = entry.map_err(|e| fault(dir, e))?.path();
            if path.extension().is_some_and(|extension| extension == "cedar") {
                files.push(path);
            }
        }
        files.sort();
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(|e| fault(&path, e))?;
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let rule = Rule { id, text, file: path.display().to_string() };
            match self.rules.iter_mut().find(|known| known.id == rule.id) {
                Some(known) => *known = rule,
                None => self.rules.push(rule),
            }
        }
        Ok(self)
    }

    /// SHA-256 over the schema and the rules in order of their ids, each id and text preceded by its length
    /// (u32be): names exactly this set in audit entries and receipts.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut part = |text: &str| {
            // Texts are far shorter than 4 GiB.
            hasher.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        part(&self.schema);
        let sorted: BTreeMap<&str, &str> =
            self.rules.iter().map(|r| (r.id.as_str(), r.text.as_str())).collect();
        for (id, text) in sorted {
            part(id);
            part(text);
        }
        hasher.finalize().into()
    }

    /// Parses and validates everything, strictly: a rule that could never apply is a mistake, too.
    ///
    /// # Errors
    /// Every problem found.
    pub fn check(&self) -> Result<Checked, Vec<Problem>> {
        let schema = SchemaFragment::from_cedarschema_str(&self.schema)
            .map_err(|e| e.to_string())
            .and_then(|(fragment, _)| Schema::from_schema_fragments([fragment]).map_err(|e| e.to_string()))
            .map_err(|reason| {
                vec![Problem { file: "policies/schema.cedarschema".to_owned(), line: 0, reason }]
            })?;
        let mut problems = Vec::new();
        let mut policies = PolicySet::new();
        for rule in &self.rules {
            match rule.parse() {
                Ok(policy) => {
                    if let Err(error) = policies.add(policy) {
                        problems.push(rule.problem(0, error));
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        for error in result.validation_errors() {
            problems.push(self.located(error.policy_id(), error));
        }
        for warning in result.validation_warnings() {
            problems.push(self.located(warning.policy_id(), warning));
        }
        if problems.is_empty() { Ok(Checked { schema, policies }) } else { Err(problems) }
    }

    fn located(&self, id: &PolicyId, diagnostic: &dyn miette::Diagnostic) -> Problem {
        let name: &str = id.as_ref();
        match self.rules.iter().find(|rule| rule.id == name) {
            Some(rule) => rule.problem(line_of(&rule.text, diagnostic), diagnostic),
            None => Problem { file: name.to_owned(), line: 0, reason: diagnostic.to_string() },
        }
    }
}

impl Rule {
    fn problem(&self, line: usize, reason: impl fmt::Display) -> Problem {
        Problem { file: self.file.clone(), line, reason: reason.to_string() }
    }

    /// The file's one rule, under the file's name.
    fn parse(&self) -> Result<Policy, Problem> {
        let set = PolicySet::from_str(&self.text).map_err(|errors| {
            let line = errors.iter().next().map_or(0, |first| line_of(&self.text, first));
            self.problem(line, &errors)
        })?;
        let mut policies = set.policies();
        match (policies.next(), policies.next(), set.templates().next()) {
            (Some(policy), None, None) => Ok(policy.new_id(PolicyId::new(&self.id))),
            _ => Err(self.problem(0, "a file holds exactly one rule, without slots")),
        }
    }
}

/// The line, from 1, of what a diagnostic points at; 0 when it points at nothing.
fn line_of(text: &str, diagnostic: &dyn miette::Diagnostic) -> usize {
    diagnostic
        .labels()
        .and_then(|mut labels| labels.next())
        .and_then(|label| text.get(..label.offset()))
        .map_or(0, |before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(id: &str, text: &str) -> Source {
        let mut source = Source::embedded();
        source.rules.push(Rule { id: id.to_owned(), text: text.to_owned(), file: format!("{id}.cedar") });
        source
    }

    fn problem(text: &str) -> Problem {
        with("wrong", text).check().unwrap_err().remove(0)
    }

    #[test]
    fn every_file_of_the_folder_is_a_rule_of_the_program() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".cedar").map(str::to_owned))
            .collect();
        files.sort();
        let mut rules: Vec<&str> = RULES.iter().map(|(id, _)| *id).collect();
        rules.sort_unstable();
        assert_eq!(files, rules);
    }

    #[test]
    fn the_programs_rules_are_valid() {
        if let Err(problems) = Source::embedded().check() {
            panic!("{problems:#?}");
        }
    }

    #[test]
    fn the_schema_has_exactly_the_acts_of_the_program() {
        let schema = Source::embedded().check().unwrap().schema;
        let mut acts: Vec<String> =
            schema.actions().map(|uid| AsRef::<str>::as_ref(uid.id()).to_owned()).collect();
        acts.sort();
        let mut names: Vec<&str> = super::super::ACTION_NAMES.to_vec();
        names.sort_unstable();
        assert_eq!(acts, names);
    }

    #[test]
    fn a_wrong_rule_is_named_with_file_line_and_reason() {
        let syntax = problem("// a comment\npermit (principal, action,);");
        assert_eq!((syntax.file.as_str(), syntax.line), ("wrong.cedar", 2));
        let unknown =
            problem("permit (principal is User, action, resource)\nwhen {\n  principal.age > 3\n};");
        assert_eq!((unknown.file.as_str(), unknown.line), ("wrong.cedar", 3));
        assert!(unknown.reason.contains("age"), "{unknown}");
        let act = problem("permit (principal, action == Action::\"fly\", resource);");
        assert_eq!(act.line, 1);
        assert!(act.reason.contains("fly"), "{act}");
    }

    #[test]
    fn a_file_holds_one_rule_that_can_apply() {
        let one = "permit (principal, action, resource);";
        assert!(problem(&format!("{one}\n{one}")).reason.contains("exactly one"));
        assert!(problem("").reason.contains("exactly one"));
        let never = problem("permit (principal, action, resource) when { false };");
        assert_eq!(never.file, "wrong.cedar");
    }

    #[test]
    fn the_hash_names_the_set_whatever_its_order() {
        let source = Source::embedded();
        let mut reversed = source.clone();
        reversed.rules.reverse();
        assert_eq!(source.hash(), reversed.hash());
        let mut changed = source.clone();
        changed.rules[0].text.push(' ');
        assert_ne!(source.hash(), changed.hash());
        let mut renamed = source.clone();
        renamed.rules[0].id.push('x');
        assert_ne!(source.hash(), renamed.hash());
    }

    #[test]
    fn a_folder_adds_rules_and_takes_the_place_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let rule = "forbid (principal, action == Action::\"manage_clinic\", resource);";
        std::fs::write(dir.path().join("own-keys.cedar"), rule).unwrap();
        std::fs::write(dir.path().join("night.cedar"), rule).unwrap();
        std::fs::write(dir.path().join("README.md"), "not a rule").unwrap();
        let source = Source::embedded().with_dir(dir.path()).unwrap();
        assert_eq!(source.rules.len(), RULES.len() + 1);
        assert_eq!(source.rules.last().unwrap().id, "night");
        assert_eq!(source.rules.iter().find(|r| r.id == "own-keys").unwrap().text, rule);
        source.check().unwrap();
    }
}
