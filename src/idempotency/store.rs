//! The rows of remembered answers.

use sigilo_wire::{Timestamp, UserId};

use crate::{Result, execute, fetch_optional, statements, storage::Tx};

statements! {
    FIND = "SELECT request_hash, status, answer_enc FROM idempotency_keys
        WHERE user_id = $1 AND idempotency_key = $2 AND created_at > $3";
    INSERT = "INSERT INTO idempotency_keys (user_id, idempotency_key, request_hash, status, answer_enc, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    FORGET = "DELETE FROM idempotency_keys WHERE user_id = $1 AND created_at <= $2";
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub request_hash: Vec<u8>,
    pub status: i64,
    pub answer_enc: Vec<u8>,
}

pub(super) async fn find(tx: &mut Tx, user: UserId, key: &str, after: Timestamp) -> Result<Option<Row>> {
    fetch_optional!(tx, Row, FIND, user, key, after)
}

pub(super) async fn insert(tx: &mut Tx, user: UserId, key: &str, row: &Row, now: Timestamp) -> Result<bool> {
    let (hash, answer) = (row.request_hash.as_slice(), row.answer_enc.as_slice());
    Ok(execute!(tx, INSERT, user, key, hash, row.status, answer, now)? == 1)
}

pub(super) async fn forget(tx: &mut Tx, user: UserId, until: Timestamp) -> Result<()> {
    execute!(tx, FORGET, user, until)?;
    Ok(())
}
