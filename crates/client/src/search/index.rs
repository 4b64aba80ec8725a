//! The index: SQLite's FTS5 without contents, in memory.

use std::{cell::Cell, str::FromStr as _};

use sigilo_wire::{ConversationId, Timestamp, UserId};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

use super::{
    SearchQuery,
    words::{Query, Terms},
};
use crate::Result;

const SCHEMA: &str = "
PRAGMA temp_store = MEMORY;
PRAGMA secure_delete = ON;
CREATE VIRTUAL TABLE entry USING fts5(
    word, es, en, content = '', contentless_delete = 1, detail = column, tokenize = 'ascii'
);
INSERT INTO entry (entry, rank) VALUES ('secure-delete', 1);
CREATE TABLE place (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    conversation BLOB NOT NULL,
    sender BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX place_by_time ON place (at);
";

const DEFAULT_LIMIT: u32 = 20;

/// A message for the index.
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) conversation: ConversationId,
    pub(super) sender: UserId,
    pub(super) at: Timestamp,
    pub(super) terms: Terms,
}

/// The open index.
pub(super) struct Index {
    connection: Mutex<SqliteConnection>,
    most: usize,
    held: Cell<usize>,
    evicted: Cell<bool>,
}

impl Index {
    /// An empty one, for so many messages at most.
    pub(super) async fn open(most: usize) -> Result<Self> {
        let options = SqliteConnectOptions::from_str("sqlite::memory:")?;
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        let connection = Mutex::new(connection);
        Ok(Self { connection, most, held: Cell::new(0), evicted: Cell::new(false) })
    }

    /// Whether older messages had to make room for newer ones.
    pub(super) fn has_evicted(&self) -> bool {
        self.evicted.get()
    }

    /// Puts in what is not there yet. Gives whether there is room for more.
    pub(super) async fn fill(&self, entries: &[Entry]) -> Result<bool> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await?;
        for entry in entries {
            if self.held.get() >= self.most {
                break;
            }
            let known = sqlx::query("SELECT 1 FROM place WHERE key = ?1").bind(&entry.key);
            if known.fetch_optional(&mut *transaction).await?.is_none() {
                self.insert(&mut transaction, entry).await?;
            }
        }
        transaction.commit().await?;
        Ok(self.held.get() < self.most)
    }

    /// Puts a message in place of what is known of it.
    pub(super) async fn put(&self, entry: &Entry) -> Result<()> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await?;
        self.delete(&mut transaction, &entry.key).await?;
        self.insert(&mut transaction, entry).await?;
        if self.held.get() > self.most {
            let oldest = sqlx::query("SELECT key FROM place ORDER BY at LIMIT 1");
            if let Some(row) = oldest.fetch_optional(&mut *transaction).await? {
                self.delete(&mut transaction, &row.try_get::<Vec<u8>, _>(0)?).await?;
                self.evicted.set(true);
            }
        }
        Ok(transaction.commit().await?)
    }

    /// Forgets a message.
    pub(super) async fn remove(&self, key: &[u8]) -> Result<()> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await?;
        self.delete(&mut transaction, key).await?;
        Ok(transaction.commit().await?)
    }

    /// The keys of the messages that have every word, newest first.
    pub(super) async fn find(&self, query: &Query, wanted: &SearchQuery) -> Result<Vec<Vec<u8>>> {
        let limit = if wanted.limit == 0 { DEFAULT_LIMIT } else { wanted.limit };
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(
            "SELECT place.key FROM entry JOIN place ON place.id = entry.rowid
             WHERE entry MATCH ?1 AND (?2 IS NULL OR place.conversation = ?2)
             AND (?3 IS NULL OR place.sender = ?3) AND place.at >= ?4 AND place.at < ?5
             ORDER BY place.at DESC, place.id DESC LIMIT ?6",
        )
        .bind(query.expression())
        .bind(wanted.conversation.map(|id| id.as_bytes().to_vec()))
        .bind(wanted.sender.map(|id| id.as_bytes().to_vec()))
        .bind(wanted.from.map_or(i64::MIN, Timestamp::micros))
        .bind(wanted.to.map_or(i64::MAX, Timestamp::micros))
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn insert(&self, connection: &mut SqliteConnection, entry: &Entry) -> Result<()> {
        let placed = sqlx::query("INSERT INTO place (key, conversation, sender, at) VALUES (?1, ?2, ?3, ?4)")
            .bind(&entry.key)
            .bind(entry.conversation.as_bytes().as_slice())
            .bind(entry.sender.as_bytes().as_slice())
            .bind(entry.at.micros())
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO entry (rowid, word, es, en) VALUES (?1, ?2, ?3, ?4)")
            .bind(placed.last_insert_rowid())
            .bind(&entry.terms.word)
            .bind(&entry.terms.es)
            .bind(&entry.terms.en)
            .execute(&mut *connection)
            .await?;
        self.held.set(self.held.get() + 1);
        Ok(())
    }

    async fn delete(&self, connection: &mut SqliteConnection, key: &[u8]) -> Result<()> {
        let row = sqlx::query("DELETE FROM place WHERE key = ?1 RETURNING id").bind(key);
        if let Some(row) = row.fetch_optional(&mut *connection).await? {
            let delete = sqlx::query("DELETE FROM entry WHERE rowid = ?1").bind(row.try_get::<i64, _>(0)?);
            delete.execute(&mut *connection).await?;
            self.held.set(self.held.get().saturating_sub(1));
        }
        Ok(())
    }

    /// The memory of the database, in bytes.
    #[cfg(test)]
    pub(super) async fn size(&self) -> i64 {
        let mut connection = self.connection.lock().await;
        let query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        sqlx::query_scalar(query).fetch_one(&mut *connection).await.unwrap()
    }

    /// Every term in the index.
    #[cfg(test)]
    pub(super) async fn terms(&self) -> Vec<String> {
        let mut connection = self.connection.lock().await;
        let vocabulary =
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, entry, row)";
        sqlx::raw_sql(vocabulary).execute(&mut *connection).await.unwrap();
        sqlx::query_scalar("SELECT term FROM temp.vocabulary").fetch_all(&mut *connection).await.unwrap()
    }
}
