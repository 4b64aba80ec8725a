//! Where rows live: SQLite embedded by default, PostgreSQL to scale out, one SQL text for both.
//!
//! Statements are named constants of `store.rs` files ([`crate::statements!`]); they run through
//! [`crate::execute!`] and its siblings, which bind the same arguments on either engine. Only this folder and
//! `store.rs` files know sqlx.

pub mod batch;
pub mod column;
pub mod crypter;
pub mod dialect;
pub mod error;
pub mod gate;
pub mod keystore;
pub mod last;
mod macros;
pub mod registry;
pub mod script;
pub mod sequences;

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    str::FromStr as _,
    time::Duration,
};

use sqlx::{
    Connection as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use self::last::Last;
use crate::{Error, Result};

/// A database of either engine. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// One file, one writer, many readers.
    Sqlite {
        /// The only connection that writes.
        write: SqlitePool,
        /// Connections that read.
        read: SqlitePool,
    },
    /// A server.
    Postgres(PgPool),
}

/// A transaction of either engine. Dropped without [`Tx::commit`], it rolls back.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Sqlite(Open<Sqlite>),
    /// On PostgreSQL.
    Postgres(Open<Postgres>),
}

/// An open transaction, as statements see it its connection, and what it is still to write.
#[derive(Debug)]
pub struct Open<D: sqlx::Database> {
    transaction: Transaction<'static, D>,
    last: Last,
}

impl<D: sqlx::Database> Open<D> {
    fn new(transaction: Transaction<'static, D>) -> Self {
        Self { transaction, last: Last::default() }
    }
}

impl<D: sqlx::Database> Deref for Open<D> {
    type Target = D::Connection;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

impl<D: sqlx::Database> DerefMut for Open<D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.transaction
    }
}

const PING: &str = "SELECT 1";
/// How many connections PostgreSQL gives this process, and how many readers SQLite.
const CONNECTIONS: u32 = 16;
/// How long a caller waits for a connection before hearing `unavailable`.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

impl Db {
    /// Opens `sqlite://path` or `postgres://...`. A missing SQLite file is created.
    ///
    /// # Errors
    /// When the address is not understood or the database cannot be reached.
    pub async fn open(url: &str) -> Result<Self> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)?.application_name("sigilo");
            let pool = PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options)
                .await?;
            return Ok(Self::Postgres(pool));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: a commit has reached the disk when it returns. Accepted means durable.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(ACQUIRE_TIMEOUT)
            .pragma("secure_delete", "ON")
            .statement_cache_capacity(512);
        let write = pool(1).connect_with(options.clone()).await?;
        let read = pool(CONNECTIONS).connect_with(options.pragma("query_only", "ON")).await?;
        Ok(Self::Sqlite { write, read })
    }

    /// Opens a database that must exist: no SQLite file is created.
    ///
    /// # Errors
    /// When it does not exist, or as [`Db::open`].
    pub async fn open_existing(url: &str) -> Result<Self> {
        if Self::is_missing_file(url) {
            return Err(crate::Error::internal("there is no database yet: run 'sigilo migrate'"));
        }
        Self::open(url).await
    }

    /// Whether the address is that of a SQLite file that does not exist.
    #[must_use]
    pub fn is_missing_file(url: &str) -> bool {
        url.strip_prefix("sqlite:").is_some_and(|path| {
            let path = path.strip_prefix("//").unwrap_or(path);
            !Path::new(path.split('?').next().unwrap_or_default()).exists()
        })
    }

    /// Opens a SQLite file by its path.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open_file(path: &Path) -> Result<Self> {
        Self::open(&format!("sqlite://{}", path.display())).await
    }

    /// Begins a transaction that may write. The name feeds metrics.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(&self, name: &'static str) -> Result<Tx> {
        metrics::counter!("sigilo_transactions_total", "name" => name).increment(1);
        Ok(match self {
            Self::Sqlite { write, .. } => Tx::Sqlite(Open::new(write.begin_with("BEGIN IMMEDIATE").await?)),
            Self::Postgres(pool) => {
                Tx::Postgres(Open::new(begin_postgres(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await?))
            }
        })
    }

    /// Begins a transaction that only reads: one snapshot, beside the writer.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn read(&self, name: &'static str) -> Result<Tx> {
        metrics::counter!("sigilo_transactions_total", "name" => name).increment(1);
        Ok(match self {
            Self::Sqlite { read, .. } => Tx::Sqlite(Open::new(read.begin().await?)),
            Self::Postgres(pool) => {
                let statement = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Tx::Postgres(Open::new(begin_postgres(pool, statement).await?))
            }
        })
    }

    /// Asks the database to answer.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        match self {
            Self::Sqlite { write, .. } => sqlx::query(PING).execute(write).await.map(drop)?,
            Self::Postgres(pool) => sqlx::query(PING).execute(pool).await.map(drop)?,
        }
        Ok(())
    }

    /// The engine's name.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Closes every connection, after what is under way.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Connections to a SQLite file. When a write fails for want of room, SQLite ends the transaction by itself; sqlx 0.9
/// goes on counting it, and the connection could never begin another one. Such a connection is closed.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A file does not go away as a server does, and asking would cross to the connection's thread every time.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
}

/// Begins on a task of its own, so that a caller who goes away cannot interrupt it. sqlx 0.9 counts the
/// transaction only when PostgreSQL has answered: interrupted before, it would give the connection back inside
/// an open transaction, and the next one would run in it, perhaps read-only.
async fn begin_postgres(pool: &PgPool, statement: &'static str) -> Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    Ok(begun.await.map_err(Error::internal)??)
}

impl Tx {
    /// What the commit writes.
    pub(crate) const fn last(&mut self) -> &mut Last {
        match self {
            Self::Sqlite(open) => &mut open.last,
            Self::Postgres(open) => &mut open.last,
        }
    }

    /// Writes what was gathered for the end, and makes the transaction's writes durable.
    ///
    /// # Errors
    /// When the database refuses; then nothing was written.
    pub async fn commit(mut self) -> Result<()> {
        let last = std::mem::take(self.last());
        last.write(&mut self).await?;
        match self {
            Self::Sqlite(open) => open.transaction.commit().await?,
            Self::Postgres(open) => open.transaction.commit().await?,
        }
        Ok(())
    }
}
