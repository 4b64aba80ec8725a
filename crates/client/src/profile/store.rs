//! The profile's file: one SQLite table of encrypted rows, one row that says how they are encrypted.

use std::{os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use sqlx::{
    Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::cipher::Header;
use crate::{Error, Result};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS header (
    version INTEGER NOT NULL,
    salt BLOB NOT NULL,
    wrapped BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS row (
    name TEXT NOT NULL,
    lookup BLOB NOT NULL,
    owner BLOB NOT NULL,
    position INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (name, lookup)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS row_by_owner ON row (name, owner, position);
";

/// The only layout so far.
const VERSION: i64 = 1;

/// A row as it is on disk.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) lookup: Vec<u8>,
    pub(super) owner: Vec<u8>,
    pub(super) position: i64,
    pub(super) value: Vec<u8>,
}

/// A change of a row.
pub(super) enum Change {
    Put { table: &'static str, row: Row },
    Delete { table: &'static str, lookup: Vec<u8> },
}

/// Which end of a list is read first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

/// The open file. One connection, held exclusively: a second process must not advance the same sessions.
pub(super) struct Store {
    options: SqliteConnectOptions,
    /// Absent after an act that failed: the next one opens the file again.
    connection: Mutex<Option<SqliteConnection>>,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database)
                if database.code().is_some_and(|code| code == "5" || code == "261") =>
            {
                Self::ProfileInUse
            }
            _ => Self::Profile(error.to_string()),
        }
    }
}

impl Store {
    /// Opens the file, creating it (0600, its folder 0700) when `create` is set.
    pub(super) async fn open(path: &Path, create: bool) -> Result<Self> {
        if create {
            create_private(path)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .locking_mode(SqliteLockingMode::Exclusive)
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(2));
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        Ok(Self { options, connection: Mutex::new(Some(connection)) })
    }

    async fn connection(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>> {
        let mut connection = self.connection.lock().await;
        if connection.is_none() {
            *connection = Some(SqliteConnection::connect_with(&self.options).await?);
        }
        MutexGuard::try_map(connection, Option::as_mut).map_err(|_| Error::internal("no connection"))
    }

    pub(super) async fn header(&self) -> Result<Option<Header>> {
        let mut connection = self.connection().await?;
        let row =
            sqlx::query("SELECT version, salt, wrapped FROM header").fetch_optional(&mut *connection).await?;
        let Some(row) = row else { return Ok(None) };
        if row.try_get::<i64, _>(0)? != VERSION {
            return Err(Error::Profile("it was written by a newer version of this program".into()));
        }
        Ok(Some(Header { salt: row.try_get(1)?, wrapped: row.try_get(2)? }))
    }

    pub(super) async fn set_header(&self, header: &Header) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM header").execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO header (version, salt, wrapped) VALUES (?1, ?2, ?3)")
            .bind(VERSION)
            .bind(&header.salt)
            .bind(&header.wrapped)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    pub(super) async fn get(&self, table: &str, lookup: &[u8]) -> Result<Option<Row>> {
        let mut connection = self.connection().await?;
        let row =
            sqlx::query("SELECT lookup, owner, position, value FROM row WHERE name = ?1 AND lookup = ?2")
                .bind(table)
                .bind(lookup)
                .fetch_optional(&mut *connection)
                .await?;
        row.as_ref().map(read).transpose()
    }

    /// The rows of `owner` at positions below `before`.
    pub(super) async fn list(
        &self,
        table: &str,
        owner: &[u8],
        before: i64,
        limit: u32,
        order: Order,
    ) -> Result<Vec<Row>> {
        let mut connection = self.connection().await?;
        let query = match order {
            Order::OldestFirst => sqlx::query(
                "SELECT lookup, owner, position, value FROM row WHERE name = ?1 AND owner = ?2 AND position < ?3
                 ORDER BY position LIMIT ?4",
            ),
            Order::NewestFirst => sqlx::query(
                "SELECT lookup, owner, position, value FROM row WHERE name = ?1 AND owner = ?2 AND position < ?3
                 ORDER BY position DESC LIMIT ?4",
            ),
        };
        let rows = query
            .bind(table)
            .bind(owner)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await?;
        rows.iter().map(read).collect()
    }

    /// All changes or none: returns after they are on disk.
    pub(super) async fn apply(&self, changes: &[Change]) -> Result<()> {
        let mut connection = self.connection().await?;
        let written = write(&mut connection, changes).await;
        drop(connection);
        if written.is_err() {
            self.let_go().await;
        }
        written
    }

    /// Closes the connection. On a full disk SQLite ends a transaction by itself; sqlx 0.9 goes on counting it, and
    /// the connection could never begin another one.
    async fn let_go(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // What it says at its end was said before.
            let _failed = connection.close().await;
        }
    }

    /// Folds the journal into the file and cuts it to nothing.
    pub(super) async fn empty_journal(&self) -> Result<()> {
        let mut connection = self.connection().await?;
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await?;
        Ok(())
    }

    /// What somebody with the file may try: the two sessions' values change places.
    #[cfg(test)]
    pub(super) async fn swap_values_for_test(&self) {
        let mut connection = self.connection().await.unwrap();
        sqlx::raw_sql(
            "UPDATE row SET value = (SELECT other.value FROM row AS other
             WHERE other.name = 'session' AND other.lookup <> row.lookup) WHERE name = 'session'",
        )
        .execute(&mut *connection)
        .await
        .unwrap();
    }

    /// Leaves the file only as much room as it has, as a full disk does.
    #[cfg(test)]
    pub(super) async fn fill_the_disk_for_test(&self) {
        let mut connection = self.connection().await.unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap();
        let limit = format!("PRAGMA max_page_count = {pages}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(&mut *connection).await.unwrap();
    }

    /// Closes the file, folding the journal into it.
    pub(super) async fn close(self) -> Result<()> {
        match self.connection.into_inner() {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }
}

async fn write(connection: &mut SqliteConnection, changes: &[Change]) -> Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for change in changes {
        match change {
            Change::Put { table, row } => {
                sqlx::query(
                    "INSERT INTO row (name, lookup, owner, position, value) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (name, lookup) DO UPDATE
                     SET owner = excluded.owner, position = excluded.position, value = excluded.value",
                )
                .bind(*table)
                .bind(&row.lookup)
                .bind(&row.owner)
                .bind(row.position)
                .bind(&row.value)
                .execute(&mut *transaction)
                .await?;
            }
            Change::Delete { table, lookup } => {
                sqlx::query("DELETE FROM row WHERE name = ?1 AND lookup = ?2")
                    .bind(*table)
                    .bind(lookup)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
    }
    Ok(transaction.commit().await?)
}

fn read(row: &sqlx::sqlite::SqliteRow) -> Result<Row> {
    Ok(Row {
        lookup: row.try_get(0)?,
        owner: row.try_get(1)?,
        position: row.try_get(2)?,
        value: row.try_get(3)?,
    })
}

/// Makes the file readable by its owner only, before anything is written to it.
fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |error: std::io::Error| Error::Profile(format!("{}: {error}", path.display()));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
    Ok(())
}
