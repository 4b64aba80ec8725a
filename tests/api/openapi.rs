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

/// What a generator makes of the description must be what the server says.
#[test]
fn words_are_described_as_they_are_said() {
    let document = serde_json::to_value(sigilo::gateway::http::document()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let words = |name: &str| {
        let words = schemas[name]["enum"].as_array().unwrap().iter();
        words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for code in sigilo_wire::ErrorCode::ALL {
        assert!(words("ErrorCode").contains(&code.as_str().to_owned()), "{}", code.as_str());
    }
    for (name, schema) in schemas {
        let said =
            |word: &String| word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
        if schema["enum"].is_array() {
            assert!(words(name).iter().all(said), "{name}: {:?}", words(name));
        }
    }
}

#[test]
fn every_operation_names_the_answers_of_its_kind() {
    let document = serde_json::to_value(sigilo::gateway::http::document()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            let mut due = vec!["503"];
            due.extend(operation["security"].is_null().then_some("401"));
            if operation["requestBody"].is_object() {
                due.extend(["400", "413", "415"]);
            }
            for status in due {
                assert!(answers.contains_key(status), "{method} {path} does not name {status}");
            }
        }
    }
}
