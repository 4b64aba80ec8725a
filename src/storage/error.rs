//! Database errors as people and programs need them: away, conflicting, or a fault.

use crate::Error;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_conflict(&error) {
            return Self::Unavailable(CONFLICT.to_owned());
        }
        if is_unavailable(&error) {
            tracing::warn!(%error, "the database is away");
            return Self::Unavailable("database".to_owned());
        }
        Self::Internal(format!("database: {error}"))
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Internal(format!("migration: {error}"))
    }
}

/// What an [`Error::Unavailable`] says when another transaction was in the way: trying again at once helps.
pub const CONFLICT: &str = "conflict";

/// PostgreSQL: serialization failure, deadlock.
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Whether trying again later may help: connections, locks, full disks, a restarting server.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // SQLite: BUSY, LOCKED, IOERR, FULL and their extended codes end in these low bytes.
            Some(code) if code.chars().all(|c| c.is_ascii_digit()) && code.len() < 5 => {
                matches!(code.parse::<u32>().unwrap_or(0) & 0xff, 5 | 6 | 10 | 13)
            }
            // PostgreSQL: connection, resources, operator intervention, the system below it.
            Some(code) => ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)),
            None => false,
        },
        _ => false,
    }
}
