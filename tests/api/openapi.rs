//! The committed description of the API is the one the code makes.

const COMMITTED: &str = "docs/openapi.json";

#[test]
fn the_committed_description_is_current() {
    let mut current = serde_json::to_string_pretty(&sigilo::gateway::http::document()).unwrap();
    current.push('\n');
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(COMMITTED, &current).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    // Not assert_eq!: two whole documents help nobody.
    assert!(
        committed == current,
        "the API has changed: run 'UPDATE_OPENAPI=1 cargo test --test api openapi' and commit {COMMITTED}"
    );
}

#[test]
fn every_operation_is_described() {
    let document = serde_json::to_value(sigilo::gateway::http::document()).unwrap();
    let mut poor = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or("");
            if !names.insert(name.to_owned()) {
                poor.push(format!("{method} {path}: operationId {name:?} is used twice"));
            }
            for field in ["summary", "responses", "tags"] {
                if operation[field].is_null() {
                    poor.push(format!("{method} {path}: no {field}"));
                }
            }
        }
    }
    assert!(poor.is_empty(), "{}", poor.join("\n"));
}
