//! Requests that create something may be repeated: the same `Idempotency-Key` and body get the first answer,
//! another body is refused. Keys are remembered for 24 hours a user; an activation's user is the invited one.
//!
//! The answer is stored in the transaction of the act, so that a repeated request after a crash finds either
//! both or neither; it is under column encryption, because answers show names.

pub(crate) mod store;

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{ErrorCode, UserId};

use crate::{
    App, Ctx, Error, Result,
    storage::{Tx, crypter::Place},
};

/// How long a key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// The longest key, in characters.
const MAX_LENGTH: usize = 255;

/// A request's key, and what tells the request from others.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request_hash: [u8; 32],
}

/// The first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered<T> {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub answer: T,
}

impl IdempotencyKey {
    /// The key of the header, for a request to `endpoint` (method and path) with this body.
    ///
    /// # Errors
    /// `invalid_field` unless the key is 1 to 255 visible ASCII characters.
    pub fn new(key: &str, endpoint: &str, body: &impl Serialize) -> Result<Self> {
        if key.is_empty() || key.len() > MAX_LENGTH || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::field("Idempotency-Key", "is 1 to 255 visible ASCII characters"));
        }
        let mut hasher = Sha256::new();
        hasher.update(endpoint.as_bytes());
        hasher.update([0]);
        hasher.update(serde_json::to_vec(body).map_err(Error::internal)?);
        Ok(Self { key: key.to_owned(), request_hash: hasher.finalize().into() })
    }

    fn row(&self, user: UserId) -> Vec<u8> {
        [user.as_bytes(), self.key.as_bytes()].concat()
    }
}

/// The first answer to this user's request with this key, if there was one.
///
/// # Errors
/// `idempotency_conflict` when the key was used for another request.
pub async fn recall<T: DeserializeOwned>(
    app: &App,
    ctx: &Ctx,
    user: UserId,
    key: &IdempotencyKey,
) -> Result<Option<Remembered<T>>> {
    let mut tx = app.db.read("idempotency_recall").await?;
    let Some(row) = store::find(&mut tx, user, &key.key, ctx.now - REMEMBERED).await? else {
        return Ok(None);
    };
    if row.request_hash != key.request_hash {
        return Err(conflict());
    }
    let place = Place { table: "idempotency_keys", row: &key.row(user), column: "answer_enc" };
    let answer = app.crypter.decrypt(place, &row.answer_enc)?;
    let answer = serde_json::from_slice(&answer).map_err(Error::internal)?;
    Ok(Some(Remembered { status: u16::try_from(row.status).map_err(Error::internal)?, answer }))
}

/// The refusal of a key that was used for another request.
#[must_use]
pub fn conflict() -> Error {
    let details = json!({"field": "Idempotency-Key", "problem": "was used for another request"});
    Error::conflict(ErrorCode::IdempotencyConflict, details)
}

/// Remembers an answer to this user in the transaction of the act. `false` when another request with this key was first:
/// roll back and [`recall`].
///
/// # Errors
/// When the database refuses.
pub async fn remember(
    app: &App,
    tx: &mut Tx,
    ctx: &Ctx,
    user: UserId,
    key: &IdempotencyKey,
    (status, answer): (u16, &impl Serialize),
) -> Result<bool> {
    let place = Place { table: "idempotency_keys", row: &key.row(user), column: "answer_enc" };
    let answer = serde_json::to_vec(answer).map_err(Error::internal)?;
    let answer_enc = app.crypter.encrypt(place, &answer, &*app.entropy)?;
    store::forget(tx, user, ctx.now - REMEMBERED).await?;
    let row = store::Row { request_hash: key.request_hash.to_vec(), status: i64::from(status), answer_enc };
    store::insert(tx, user, &key.key, &row, ctx.now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii_and_bound_to_the_request() {
        for wrong in ["", "a b", "ñ", &"x".repeat(256)] {
            assert!(IdempotencyKey::new(wrong, "POST /", &json!({})).is_err(), "{wrong}");
        }
        let hash = |endpoint, body| IdempotencyKey::new("k", endpoint, &body).unwrap().request_hash;
        assert_eq!(hash("POST /a", json!({"x": 1})), hash("POST /a", json!({"x": 1})));
        assert_ne!(hash("POST /a", json!({"x": 1})), hash("POST /a", json!({"x": 2})));
        assert_ne!(hash("POST /a", json!({"x": 1})), hash("POST /b", json!({"x": 1})));
    }
}
