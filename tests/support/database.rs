//! Fresh databases of either engine.

use std::sync::atomic::{AtomicU32, Ordering};

use sigilo::config::Config;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// An engine the server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A data folder, and on PostgreSQL two databases of its own.
pub struct Database {
    pub engine: Engine,
    pub folder: TempDir,
    names: Vec<String>,
}

impl Database {
    /// Makes empty ones.
    pub async fn create(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        if engine == Engine::Postgres {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::SeqCst);
            for store in ["main", "keys"] {
                names.push(format!("sigilo_test_{}_{number}_{store}", std::process::id()));
            }
            let mut connection = connect().await;
            for name in &names {
                // Left over when an earlier run with the same process id failed.
                run(&mut connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
                run(&mut connection, format!("CREATE DATABASE {name}")).await;
            }
        }
        Self { engine, folder, names }
    }

    /// The configuration of a server on them, on free ports.
    pub fn config(&self) -> Config {
        let mut config = Config::for_data(self.folder.path());
        config.server.listen.set_port(0);
        config.server.metrics_listen.set_port(0);
        if let [main, keys] = self.names.as_slice() {
            config.storage.database_url = Some(with_database(&server_url(), main));
            config.storage.keystore_url = Some(with_database(&server_url(), keys));
        }
        config
    }

    /// Removes them.
    pub async fn drop(self) {
        if self.names.is_empty() {
            return;
        }
        let mut connection = connect().await;
        for name in &self.names {
            run(&mut connection, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// The PostgreSQL server for tests. Its absence is a failure, never a reason to skip.
pub fn server_url() -> String {
    std::env::var("SIGILO_TEST_POSTGRES").expect(
        "SIGILO_TEST_POSTGRES is not set: run the tests with 'cargo xtask test', or one with 'cargo xtask pg -- cargo test ...'",
    )
}

async fn connect() -> PgConnection {
    PgConnection::connect(&server_url()).await.expect("the PostgreSQL of SIGILO_TEST_POSTGRES answers")
}

async fn run(connection: &mut PgConnection, sql: String) {
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// The same address with another database name.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let (scheme, rest) = base.split_once("://").expect("an address with a scheme");
    let authority = rest.split('/').next().unwrap_or("");
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{authority}/{name}{query}")
}
