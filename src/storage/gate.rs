//! The schema gate: a server runs only on the schema it was built for.

use sqlx::migrate::Migrator;

use crate::{Error, Result, storage::Db};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static KEYSTORE_SQLITE: Migrator = sqlx::migrate!("migrations/keystore/sqlite");
static KEYSTORE_POSTGRES: Migrator = sqlx::migrate!("migrations/keystore/postgres");

/// Which of the two stores a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Everything but data keys.
    Main,
    /// Data keys.
    Keys,
}

/// How a database's schema compares with this program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// The same.
    Current,
    /// These migrations are missing.
    Behind(Vec<i64>),
    /// A newer program has migrated it.
    Ahead(Vec<i64>),
    /// A migration was begun and not finished.
    Half(i64),
    /// A migration's text differs from what was applied.
    Altered(i64),
}

#[derive(sqlx::FromRow)]
struct Applied {
    version: i64,
    success: bool,
    checksum: Vec<u8>,
}

const APPLIED: &str = "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version";

fn migrator(db: &Db, store: Store) -> &'static Migrator {
    match (db, store) {
        (Db::Sqlite { .. }, Store::Main) => &SQLITE,
        (Db::Postgres(_), Store::Main) => &POSTGRES,
        (Db::Sqlite { .. }, Store::Keys) => &KEYSTORE_SQLITE,
        (Db::Postgres(_), Store::Keys) => &KEYSTORE_POSTGRES,
    }
}

/// Compares a database's schema with this program's.
///
/// # Errors
/// When the database cannot be reached.
pub async fn compare(db: &Db, store: Store) -> Result<Schema> {
    let applied: Vec<Applied> = match db {
        Db::Sqlite { read, .. } => sqlx::query_as(APPLIED).fetch_all(read).await,
        Db::Postgres(pool) => sqlx::query_as(APPLIED).fetch_all(pool).await,
    }
    .or_else(|error| match &error {
        // A database nobody has migrated has no list of migrations.
        sqlx::Error::Database(_) => Ok(Vec::new()),
        _ => Err(error),
    })?;
    if let Some(half) = applied.iter().find(|migration| !migration.success) {
        return Ok(Schema::Half(half.version));
    }
    let known = migrator(db, store);
    let ahead: Vec<i64> = applied.iter().map(|m| m.version).filter(|v| !known.version_exists(*v)).collect();
    if !ahead.is_empty() {
        return Ok(Schema::Ahead(ahead));
    }
    let mut missing = Vec::new();
    for migration in known.iter() {
        match applied.iter().find(|m| m.version == migration.version) {
            None => missing.push(migration.version),
            Some(m) if m.checksum != *migration.checksum => return Ok(Schema::Altered(m.version)),
            Some(_) => {}
        }
    }
    Ok(if missing.is_empty() { Schema::Current } else { Schema::Behind(missing) })
}

/// Brings a database to this program's schema.
///
/// # Errors
/// When it is ahead, half-migrated or altered, with what to do.
pub async fn migrate(db: &Db, store: Store) -> Result<()> {
    match compare(db, store).await? {
        Schema::Current | Schema::Behind(_) => {}
        wrong => return Err(refusal(&wrong)),
    }
    match db {
        Db::Sqlite { write, .. } => migrator(db, store).run(write).await?,
        Db::Postgres(pool) => migrator(db, store).run(pool).await?,
    }
    Ok(())
}

/// Refuses any schema but this program's.
///
/// # Errors
/// With a message that says what to do.
pub async fn require_current(db: &Db, store: Store) -> Result<()> {
    match compare(db, store).await? {
        Schema::Current => Ok(()),
        wrong => Err(refusal(&wrong)),
    }
}

fn refusal(schema: &Schema) -> Error {
    Error::Internal(explain(schema))
}

/// How a schema stands, and what to do about it.
#[must_use]
pub fn explain(schema: &Schema) -> String {
    match schema {
        Schema::Current => "the schema is current".to_owned(),
        Schema::Behind(missing) => format!("the database lacks migrations {missing:?}: run 'sigilo migrate'"),
        Schema::Ahead(newer) => {
            format!(
                "the database was migrated by a newer sigilo (migrations {newer:?}): run that version, or restore a backup"
            )
        }
        Schema::Half(version) => {
            format!(
                "migration {version} was begun and not finished: restore the backup made before it, then run 'sigilo migrate'"
            )
        }
        Schema::Altered(version) => {
            format!(
                "migration {version} differs from the one that was applied: this program was built from altered migrations"
            )
        }
    }
}
