//! Two migration trees, one schema; one text a statement, two engines.

use std::{collections::BTreeSet, path::Path};

use sigilo::storage::{batch, dialect, registry};

use crate::{ENGINES, Stores, support::Engine};

#[tokio::test]
async fn every_statement_is_understood_by_every_engine() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        for (db, statements) in [(&stores.main, registry::main()), (&stores.keys, registry::keystore())] {
            assert!(!statements.is_empty());
            let mut refused = Vec::new();
            for (name, sql) in statements {
                if dialect::only_for(name).is_some_and(|only| only != db.engine()) {
                    continue;
                }
                if let Err(problem) = dialect::prepare(db, batch::preparable(sql, db)).await {
                    refused.push(format!("{name}: {problem}"));
                }
            }
            assert!(refused.is_empty(), "{engine:?}:\n{}", refused.join("\n"));
        }
        stores.finish().await;
    }
}

/// Tables that grow with a clinic's years. Whoever looks through one of them from end to end is slower every day.
const GROWING: [&str; 13] = [
    "audit_entries",
    "conversations",
    "deliveries",
    "device_chains",
    "device_events",
    "devices",
    "given_pre_keys",
    "messages",
    "one_time_pre_keys",
    "outbox",
    "participants",
    "record_seals",
    "users",
];

/// Statements that may: one runs hourly over all devices, the others belong to commands that make their own
/// small clinic.
const MAY_SCAN: [&str; 3] =
    ["sigilo::keys::store::TELL_ALL_ROTATION", "sigilo::cli::demo::", "sigilo::cli::bench::"];

#[tokio::test]
async fn no_statement_looks_through_a_growing_table() {
    let stores = Stores::migrated(Engine::Sqlite).await;
    let mut slow = Vec::new();
    for (name, sql) in registry::main() {
        if dialect::only_for(name) == Some("postgres") || MAY_SCAN.iter().any(|may| name.starts_with(may)) {
            continue;
        }
        let sql = batch::preparable(sql, &stores.main);
        for step in dialect::plan(&stores.main, &sql).await.unwrap() {
            // "SCAN m" names the alias: what it stands for is in the text.
            let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            let stands_for = |table: &&&str| {
                scanned.is_some_and(|alias| {
                    alias == **table
                        || sql.contains(&format!("{table} {alias}"))
                        || sql.contains(&format!("{table} AS {alias}"))
                })
            };
            if let Some(table) = GROWING.iter().find(stands_for) {
                slow.push(format!("{name} on {table}: {step}"));
            }
        }
    }
    stores.finish().await;
    assert!(slow.is_empty(), "\n{}", slow.join("\n"));
}

#[test]
fn every_store_file_is_in_the_registry() {
    let mut missing = Vec::new();
    let listed: BTreeSet<String> = registry::main()
        .into_iter()
        .chain(registry::keystore())
        .filter_map(|(name, _)| name.rsplit_once("::").map(|(module, _)| module.to_owned()))
        .collect();
    for file in rust_files(Path::new("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.contains("statements! {") || file.ends_with("storage/macros.rs") {
            continue;
        }
        let module = file.trim_end_matches(".rs").trim_start_matches("src/").replace('/', "::");
        if !listed.contains(&format!("sigilo::{module}")) {
            missing.push(file);
        }
    }
    assert!(missing.is_empty(), "add their ALL to src/storage/registry.rs: {missing:?}");
}

#[test]
fn only_store_files_know_the_database() {
    let strangers: Vec<String> = rust_files(Path::new("src"))
        .into_iter()
        .filter(|file| !file.starts_with("src/storage/") && !file.ends_with("/store.rs"))
        // A store that grew has parts.
        .filter(|file| !file.contains("/store/"))
        .filter(|file| {
            std::fs::read_to_string(file)
                .unwrap()
                .lines()
                .any(|line| line.contains("sqlx") && !line.trim_start().starts_with("//"))
        })
        .collect();
    assert!(strangers.is_empty(), "SQL outside a store: {strangers:?}");
}

#[tokio::test]
async fn both_engines_have_the_same_tables_and_columns() {
    let mut schemas = Vec::new();
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let mut schema = Vec::new();
        for (db, _) in stores.each() {
            schema.push(dialect::tables(db).await.unwrap().into_iter().collect::<BTreeSet<_>>());
        }
        assert!(schema[0].contains(&("users".to_owned(), "full_name_enc".to_owned())));
        assert!(schema[1].contains(&("data_keys".to_owned(), "wrapped".to_owned())));
        schemas.push(schema);
        stores.finish().await;
    }
    let [sqlite, postgres] = schemas.as_slice() else { panic!("two engines") };
    for (sqlite, postgres) in sqlite.iter().zip(postgres) {
        let difference: Vec<_> = sqlite.symmetric_difference(postgres).collect();
        assert!(difference.is_empty(), "on one engine only: {difference:?}");
    }
}

#[test]
fn both_trees_have_the_same_numbers_and_names() {
    let names = |folder: &str| -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("migrations/sqlite"), names("migrations/postgres"));
    assert_eq!(names("migrations/keystore/sqlite"), names("migrations/keystore/postgres"));
}

fn rust_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
    files
}
