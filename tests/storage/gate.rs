//! A server runs only on the schema it was built for.

use sigilo::storage::{
    Db,
    gate::{Schema, Store, compare, migrate, require_current},
};

use crate::{ENGINES, Stores, run};

/// What the gate says after the list of migrations was changed, and that it lets nothing pass.
async fn refusal(stores: &Stores, change: &'static str) -> (Schema, String) {
    run(&stores.main, change).await;
    let schema = compare(&stores.main, Store::Main).await.unwrap();
    let refused = migrate(&stores.main, Store::Main).await.unwrap_err().to_string();
    assert!(require_current(&stores.main, Store::Main).await.is_err());
    (schema, refused)
}

#[tokio::test]
async fn an_empty_database_is_behind_and_a_migrated_one_current() {
    for engine in ENGINES {
        let stores = Stores::empty(engine).await;
        for (db, store) in stores.each() {
            assert!(matches!(compare(db, store).await.unwrap(), Schema::Behind(missing) if missing[0] == 1));
            let refused = require_current(db, store).await.unwrap_err().to_string();
            assert!(refused.contains("sigilo migrate"), "{refused}");
            migrate(db, store).await.unwrap();
            assert_eq!(compare(db, store).await.unwrap(), Schema::Current);
            migrate(db, store).await.unwrap();
        }
        stores.finish().await;
    }
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let (schema, refused) = refusal(
            &stores,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9999, 'of the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
        assert_eq!(schema, Schema::Ahead(vec![9999]));
        assert!(refused.contains("newer"), "{refused}");
        stores.finish().await;
    }
}

#[tokio::test]
async fn a_half_migrated_database_is_refused() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let (schema, refused) =
            refusal(&stores, "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2").await;
        assert_eq!(schema, Schema::Half(2));
        assert!(refused.contains("not finished"), "{refused}");
        stores.finish().await;
    }
}

#[tokio::test]
async fn an_altered_migration_is_refused() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let (schema, refused) = refusal(
            &stores,
            "UPDATE _sqlx_migrations SET checksum =
             (SELECT checksum FROM _sqlx_migrations WHERE version = 2) WHERE version = 1",
        )
        .await;
        assert_eq!(schema, Schema::Altered(1));
        assert!(refused.contains("differs"), "{refused}");
        stores.finish().await;
    }
}

#[tokio::test]
async fn a_check_creates_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.db");
    assert!(Db::open_existing(&format!("sqlite://{}", path.display())).await.is_err());
    assert!(!path.exists());
}
