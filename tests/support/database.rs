//! Fresh databases of either engine.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use sigilo::{
    config::{Config, Limits, PasswordCost, ScannerMode},
    storage::{
        Db,
        gate::{self, Store},
    },
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

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
    /// The PostgreSQL they are on.
    postgres: Option<String>,
    names: Vec<String>,
}

impl Database {
    /// Makes empty ones.
    pub async fn create(engine: Engine) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst).to_string();
        Self::make(engine, &number, None).await
    }

    /// Makes empty ones on a PostgreSQL of the test's own.
    pub async fn create_at(url: &str) -> Self {
        Self::make_at(Engine::Postgres, Some(url.to_owned()), "own", None).await
    }

    /// Makes migrated ones: copies of one pair that this process has migrated.
    pub async fn migrated(engine: Engine) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SQLITE: OnceCell<Model> = OnceCell::const_new();
        static POSTGRES: OnceCell<Model> = OnceCell::const_new();
        let model = match engine {
            Engine::Sqlite => &SQLITE,
            Engine::Postgres => &POSTGRES,
        };
        let model = model.get_or_init(|| Model::make(engine)).await;
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        Self::make(engine, &format!("copy_{number}"), Some(model)).await
    }

    async fn make(engine: Engine, name: &str, model: Option<&Model>) -> Self {
        let postgres = (engine == Engine::Postgres).then(server_url);
        Self::make_at(engine, postgres, name, model).await
    }

    async fn make_at(engine: Engine, postgres: Option<String>, name: &str, model: Option<&Model>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        if let Some(url) = &postgres {
            let mut connection = connect(url).await;
            for (place, store) in ["main", "keys"].into_iter().enumerate() {
                let name = format!("sigilo_test_{}_{name}_{store}", std::process::id());
                let template =
                    model.map(|model| format!(" TEMPLATE {}", model.names[place])).unwrap_or_default();
                // Left over when an earlier run with the same process id failed.
                run(&mut connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
                run(&mut connection, format!("CREATE DATABASE {name}{template}")).await;
                names.push(name);
            }
        }
        for (file, content) in model.into_iter().flat_map(|model| &model.files) {
            write_private(&folder.path().join(file), content);
        }
        Self { engine, folder, postgres, names }
    }

    /// Makes copies of these, whose server has stopped.
    pub async fn copy(&self, name: &str) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    // The socket of the scan worker is the server's own.
                    let name = path.strip_prefix(self.folder.path()).unwrap().to_owned();
                    files.push((name, std::fs::read(path).unwrap()));
                }
            }
        }
        Self::make(self.engine, name, Some(&Model { files, names: self.names.clone() })).await
    }

    /// The configuration of a server on them, on free ports.
    pub fn config(&self) -> Config {
        let mut config = Config::for_data(self.folder.path());
        config.server.listen.set_port(0);
        config.server.metrics_listen.set_port(0);
        config.limits = unhurried(config.limits);
        // Nobody guesses passwords here.
        config.password_cost = PasswordCost { memory_kib: 64, passes: 1 };
        // No file is looked into unless a test has it so.
        config.scanner.mode = ScannerMode::Separate;
        if let (Some(url), [main, keys]) = (&self.postgres, self.names.as_slice()) {
            config.storage.database_url = Some(with_database(url, main));
            config.storage.keystore_url = Some(with_database(url, keys));
        }
        config
    }

    /// Removes them.
    pub async fn drop(self) {
        let Some(url) = &self.postgres else { return };
        let mut connection = connect(url).await;
        for name in &self.names {
            run(&mut connection, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// Limits that no test meets by being quick: all come from one address. What is about limits sets its own.
fn unhurried(limits: Limits) -> Limits {
    const MANY: u32 = 1_000_000;
    Limits {
        logins_per_account_and_address: MANY,
        logins_per_account: MANY,
        logins_per_address: MANY,
        logins_per_minute: MANY,
        messages_per_minute: MANY,
        clinician_messages_per_minute: MANY,
        requests_per_minute: MANY,
        files_per_hour: MANY,
        prekey_fetches_per_minute: MANY,
        prekey_fetches_per_device: MANY,
        ..limits
    }
}

/// Migrated databases to copy.
struct Model {
    /// On SQLite: the databases; of a server that has run, its key files, too.
    files: Vec<(PathBuf, Vec<u8>)>,
    /// On PostgreSQL: the databases. They stay until the server for tests goes.
    names: Vec<String>,
}

impl Model {
    async fn make(engine: Engine) -> Self {
        let made = Database::make(engine, "model", None).await;
        let config = made.config();
        let stores =
            [(config.database_url().unwrap(), Store::Main), (config.keystore_url().unwrap(), Store::Keys)];
        for (url, store) in stores {
            let db = Db::open(&url).await.unwrap();
            gate::migrate(&db, store).await.unwrap();
            db.close().await;
        }
        let files = match engine {
            Engine::Sqlite => ["sigilo.db", "keystore.db"]
                .map(|file| (file.into(), std::fs::read(made.folder.path().join(file)).unwrap()))
                .to_vec(),
            Engine::Postgres => Vec::new(),
        };
        Self { files, names: made.names }
    }
}

/// Writes a file that its owner alone may read, as key files must be.
fn write_private(path: &Path, content: &[u8]) {
    DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(content).unwrap();
}

/// The PostgreSQL server for tests. Its absence is a failure, never a reason to skip.
pub fn server_url() -> String {
    std::env::var("SIGILO_TEST_POSTGRES").expect(
        "SIGILO_TEST_POSTGRES is not set: run the tests with 'cargo xtask test', or one with 'cargo xtask pg -- cargo test ...'",
    )
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the PostgreSQL for tests answers")
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
