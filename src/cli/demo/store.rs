//! What the demo reads from the server's database, as somebody who stole it would.

use std::path::Path;

use crate::{Result, fetch_all, fetch_one, statements, storage::Db};

statements! {
    COUNT_MESSAGES = "SELECT COUNT(*) FROM messages";
    COUNT_AUDIT = "SELECT COUNT(*) FROM audit_entries";
    COUNT_SEALS = "SELECT COUNT(*) FROM record_seals";
    STORED_MESSAGES = "SELECT kind, conversation_seq, received_at, body, wrapped_key FROM messages ORDER BY received_at";
}

/// A message as it lies there.
#[derive(sqlx::FromRow)]
pub(super) struct Lying {
    pub kind: String,
    pub conversation_seq: i64,
    pub received_at: sigilo_wire::Timestamp,
    pub body: Vec<u8>,
    pub wrapped_key: Vec<u8>,
}

/// What lies there.
pub(super) struct Stolen {
    pub messages: i64,
    pub audit_entries: i64,
    pub seals: i64,
    pub rows: Vec<Lying>,
}

/// Reads the database's file beside the running server.
pub(super) async fn steal(database: &Path) -> Result<Stolen> {
    let db = Db::open_file(database).await?;
    let mut tx = db.read("demo_stolen").await?;
    let (messages,) = fetch_one!(&mut tx, (i64,), COUNT_MESSAGES)?;
    let (audit_entries,) = fetch_one!(&mut tx, (i64,), COUNT_AUDIT)?;
    let (seals,) = fetch_one!(&mut tx, (i64,), COUNT_SEALS)?;
    let rows = fetch_all!(&mut tx, Lying, STORED_MESSAGES)?;
    drop(tx);
    db.close().await;
    Ok(Stolen { messages, audit_entries, seals, rows })
}
