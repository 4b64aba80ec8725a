//! The stores on both engines: statements, schemas, the schema gate, keys.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod gate;
mod keys;
mod schema;
mod settings;

use sigilo::storage::{
    Db,
    gate::{Store, migrate},
};
use support::{Database, Engine};

/// Both engines, in the order tests use.
const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// A database and a key store of an engine, migrated.
struct Stores {
    main: Db,
    keys: Db,
    database: Database,
}

impl Stores {
    async fn empty(engine: Engine) -> Self {
        println!("on {engine:?}");
        let database = Database::create(engine).await;
        let config = database.config();
        let main = Db::open(&config.database_url().unwrap()).await.unwrap();
        let keys = Db::open(&config.keystore_url().unwrap()).await.unwrap();
        Self { main, keys, database }
    }

    async fn migrated(engine: Engine) -> Self {
        let stores = Self::empty(engine).await;
        for (db, store) in stores.each() {
            migrate(db, store).await.unwrap();
        }
        stores
    }

    fn each(&self) -> [(&Db, Store); 2] {
        [(&self.main, Store::Main), (&self.keys, Store::Keys)]
    }

    async fn finish(self) {
        self.main.close().await;
        self.keys.close().await;
        self.database.drop().await;
    }
}

/// Runs a statement of the test's own.
async fn run(db: &Db, sql: &'static str) {
    match db {
        Db::Sqlite { write, .. } => drop(sqlx::query(sql).execute(write).await.unwrap()),
        Db::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
    }
}
