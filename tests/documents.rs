//! What the documents name exists, and what exists is in the documents: tests, links, error codes, events,
//! tables.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sigilo_wire::{ErrorCode, event::EventType};

const DOCUMENTS: [&str; 10] = [
    "README.md",
    "docs/API.md",
    "docs/APPOINTMENTS.md",
    "docs/ARCHITECTURE.md",
    "docs/BENCHMARKS.md",
    "docs/OPERATIONS.md",
    "docs/PROTOCOL.md",
    "compliance/controls.md",
    "compliance/data-inventory.md",
    "compliance/threat-model.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The names of all functions in the project's Rust and JavaScript files, and of the cases of policies.
fn names_of_tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests", "xtask"] {
        collect(&root().join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (_, rest) in text.match_indices("fn ").map(|(at, found)| text.split_at(at + found.len())) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            names.insert(rest[..end].to_owned());
        }
    }
    names
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("node_modules") && !path.ends_with("target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What stands between backticks in a table row's last cell.
fn cited(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_end_matches([' ', '|']).rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_test_that_is_cited_exists() {
    let known = names_of_tests();
    let mut cited_tests = 0;
    let protocol = read("docs/PROTOCOL.md");
    let (_, cheats) = protocol.split_once("## 13. Cheat, check, test").unwrap();
    let (cheats, _) = cheats.split_once("\n## 14.").unwrap();
    for (document, text) in
        [("docs/PROTOCOL.md", cheats), ("compliance/controls.md", &read("compliance/controls.md"))]
    {
        for name in cited(text) {
            if name.contains(['/', '.']) {
                let found = ["", "src/", "crates/seal/src/", "tests/"]
                    .iter()
                    .any(|base| root().join(base).join(name).exists());
                assert!(found, "{document} cites the file {name}, which is not there");
            } else {
                cited_tests += 1;
                assert!(known.contains(name), "{document} cites the test {name}, which is not there");
            }
        }
    }
    assert!(cited_tests > 40, "only {cited_tests} citations were found: is the tables' form another?");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        for (_, rest) in text.match_indices("](").map(|(at, found)| text.split_at(at + found.len())) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(document) } else { folder.join(file) };
            assert!(path.exists(), "{document} links to {target}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&path).unwrap();
                let found =
                    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(found, "{document} links to {target}: no such heading");
            }
        }
    }
}

/// The anchor of a heading, as renderers make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_error_code_and_event_is_explained() {
    let text = read("docs/API.md");
    let words = ErrorCode::ALL
        .iter()
        .map(|code| code.as_str())
        .chain(EventType::ALL.iter().map(|event| event.as_str()));
    for word in words {
        assert!(
            text.contains(&format!("`{word}`")) || text.contains(&format!("\"{word}\"")),
            "docs/API.md lacks {word}"
        );
    }
}

#[test]
fn every_setting_is_explained() {
    let text = read("docs/OPERATIONS.md");
    let mut settings = 0;
    for section in
        ["limits", "log", "oidc", "policy", "relay", "scanner", "server", "storage", "tls", "vault"]
    {
        assert!(
            text.contains(&format!("\n| {section} | ")),
            "docs/OPERATIONS.md lacks the section {section}"
        );
        for line in read(&format!("src/config/{section}.rs")).lines() {
            let field = line.strip_prefix("    pub ").and_then(|rest| rest.split_once(": "));
            let Some((name, _)) = field.filter(|(name, _)| !name.contains([' ', '('])) else { continue };
            settings += 1;
            assert!(text.contains(&format!("| `{name}` |")), "docs/OPERATIONS.md lacks {section}.{name}");
        }
    }
    assert!(settings > 20, "only {settings} settings were found: are they written otherwise?");
    let sections = read("src/config/mod.rs").lines().filter(|line| line.starts_with("mod ")).count();
    assert_eq!(sections, 10 + ["load", "secrets"].len(), "src/config has another section");
}

#[test]
fn every_table_and_encrypted_column_is_in_the_inventory() {
    /// Tables without personal data: the clinic itself, its certified keys, counters.
    const IMPERSONAL: [&str; 4] = ["tenants", "tenant_sequences", "root_statements", "sequences"];
    let inventory = read("compliance/data-inventory.md");
    for folder in ["migrations/sqlite", "migrations/keystore/sqlite"] {
        let mut files: Vec<_> =
            fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            for line in fs::read_to_string(&file).unwrap().lines() {
                if let Some(table) =
                    line.strip_prefix("CREATE TABLE ").and_then(|rest| rest.split(' ').next())
                {
                    let named = inventory.contains(&format!("`{table}."))
                        || IMPERSONAL.contains(&table)
                        || table == "device_chains";
                    assert!(named, "compliance/data-inventory.md lacks the table {table}");
                }
                let column = line.trim().split(' ').next().unwrap();
                if column.ends_with("_enc") {
                    assert!(
                        inventory.contains(column),
                        "compliance/data-inventory.md lacks the column {column}"
                    );
                }
            }
        }
    }
}
