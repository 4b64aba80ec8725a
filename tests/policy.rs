//! The rules' own tests: every case of `policies/tests/` gets its answer, and no rule could go missing unnoticed.

#![expect(clippy::unwrap_used, reason = "a case file that cannot be read fails the test")]

use std::path::Path;

use sigilo::policy::{
    Policy,
    cases::{self, Case},
    source::Source,
};

fn all_cases() -> Vec<Case> {
    cases::read_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/tests")).unwrap()
}

#[test]
fn every_case_gets_its_answer() {
    let cases = all_cases();
    assert!(cases.len() > 80, "only {} cases were found", cases.len());
    let failures = cases::run(&Policy::load(None).unwrap(), &cases);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn case_names_are_distinct() {
    let cases = all_cases();
    let names: std::collections::HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn without_any_one_rule_a_decision_changes() {
    let cases = all_cases();
    let whole = Source::embedded();
    for rule in &whole.rules {
        let mut source = whole.clone();
        source.rules.retain(|other| other.id != rule.id);
        let policy = Policy::new(&source).unwrap();
        // Naming another rule is not enough: what is allowed must change.
        let changed = cases.iter().any(|case| {
            let mut case = case.clone();
            case.allowed = !case.allowed;
            cases::decides(&policy, &case)
        });
        assert!(changed, "no case notices when {} is removed", rule.id);
    }
}
