//! Settings of the engines that promises rest on.

use std::time::Duration;

use sigilo::{Error, storage::Db};
use sqlx::AssertSqlSafe;

use crate::{ENGINES, Stores, run, support::Engine};

#[tokio::test]
async fn sqlite_commits_reach_the_disk_and_deleted_rows_are_overwritten() {
    let stores = Stores::migrated(Engine::Sqlite).await;
    let Db::Sqlite { write, read } = &stores.main else { panic!("SQLite") };
    for (pragma, expected) in [
        ("PRAGMA journal_mode", "wal"),
        // FULL
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA secure_delete", "1"),
    ] {
        let mut found: Option<String> = sqlx::query_scalar(pragma).fetch_one(write).await.ok();
        if found.is_none() {
            let number: i64 = sqlx::query_scalar(pragma).fetch_one(write).await.unwrap();
            found = Some(number.to_string());
        }
        assert_eq!(found.as_deref(), Some(expected), "{pragma}");
    }
    let written = sqlx::query("DELETE FROM users").execute(read).await;
    assert!(written.is_err(), "readers cannot write");
    stores.finish().await;
}

/// Without room, SQLite ends a transaction by itself.
#[tokio::test]
async fn after_a_full_disk_sqlite_takes_transactions_again() {
    let stores = Stores::migrated(Engine::Sqlite).await;
    let Db::Sqlite { write, .. } = &stores.main else { panic!("SQLite") };
    run(&stores.main, "CREATE TABLE probe (value BLOB)").await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(write).await.unwrap();
    let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    let _: i64 = sqlx::query_scalar(limit).fetch_one(write).await.unwrap();
    const INSERT: &str = "INSERT INTO probe (value) VALUES (zeroblob(1000000))";
    let mut tx = stores.main.begin("probe").await.unwrap();
    let refused = sigilo::execute!(&mut tx, INSERT);
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    drop(tx);
    let mut tx = stores.main.begin("probe").await.unwrap();
    sigilo::execute!(&mut tx, INSERT).unwrap();
    tx.commit().await.unwrap();
    stores.finish().await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        run(&stores.main, "CREATE TABLE probe (value INTEGER)").await;
        let insert = "INSERT INTO probe (value) VALUES (1)";
        for commit in [false, true] {
            let mut tx = stores.main.begin("probe").await.unwrap();
            sigilo::execute!(&mut tx, insert).unwrap();
            if commit {
                tx.commit().await.unwrap();
            }
        }
        let mut tx = stores.main.read("probe").await.unwrap();
        let (count,) = sigilo::fetch_one!(&mut tx, (i64,), "SELECT COUNT(*) FROM probe").unwrap();
        assert_eq!(count, 1);
        drop(tx);
        stores.finish().await;
    }
}

/// A caller who hangs up while the database is asked to begin must not leave its connection in a transaction.
#[tokio::test]
async fn an_interrupted_begin_leaves_no_transaction_behind() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        run(&stores.main, "CREATE TABLE probe (value INTEGER)").await;
        for patience in 0..200 {
            let patience = Duration::from_micros(patience * 10);
            let _ = tokio::time::timeout(patience, stores.main.read("probe")).await;
            // On the same connection, as it is the only one needed so far.
            let mut tx = stores.main.begin("probe").await.unwrap();
            sigilo::execute!(&mut tx, "INSERT INTO probe (value) VALUES (1)").unwrap();
            tx.commit().await.unwrap();
        }
        let mut tx = stores.main.read("probe").await.unwrap();
        let (count,) = sigilo::fetch_one!(&mut tx, (i64,), "SELECT COUNT(*) FROM probe").unwrap();
        assert_eq!(count, 200, "what was committed is there");
        drop(tx);
        stores.finish().await;
    }
}
