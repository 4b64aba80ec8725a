//! The few places where the engines differ, each a named function.

use crate::{
    Result, statements,
    storage::{Db, Tx},
};

statements! {
    TABLES_SQLITE = "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m, pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '_sqlx%' ORDER BY 1, 2";
    TABLES_POSTGRES = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name NOT LIKE '_sqlx%' ORDER BY 1, 2";
    TAKE_PRE_KEY_SQLITE = "DELETE FROM one_time_pre_keys WHERE device_id = $1 AND kind = $2 AND key_id =
        (SELECT MIN(key_id) FROM one_time_pre_keys WHERE device_id = $1 AND kind = $2)
        RETURNING key_id, public_key, signature";
    TAKE_PRE_KEY_POSTGRES = "DELETE FROM one_time_pre_keys WHERE device_id = $1 AND kind = $2 AND key_id =
        (SELECT key_id FROM one_time_pre_keys WHERE device_id = $1 AND kind = $2
         ORDER BY key_id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING key_id, public_key, signature";
}

/// Statements that only one engine understands, by its name.
#[must_use]
pub fn only_for(statement: &str) -> Option<&'static str> {
    if statement.ends_with("_SQLITE") {
        Some("sqlite")
    } else if statement.ends_with("_POSTGRES") {
        Some("postgres")
    } else {
        None
    }
}

/// Tables and columns, in order, but for the list of migrations.
///
/// # Errors
/// When the database cannot be reached.
pub async fn tables(db: &Db) -> Result<Vec<(String, String)>> {
    Ok(match db {
        Db::Sqlite { read, .. } => sqlx::query_as(TABLES_SQLITE).fetch_all(read).await?,
        Db::Postgres(pool) => sqlx::query_as(TABLES_POSTGRES).fetch_all(pool).await?,
    })
}

/// A one-time prekey as stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OneTimePreKey {
    /// The device's number for it.
    pub key_id: i64,
    /// The serialized public key.
    pub public_key: Vec<u8>,
    /// The identity key's signature, for Kyber keys.
    pub signature: Option<Vec<u8>>,
}

/// Takes one one-time prekey of a device, so that nobody else gets it: SQLite has one writer, PostgreSQL
/// skips keys that another transaction is taking.
///
/// # Errors
/// When the database is away.
pub async fn take_one_time_pre_key(
    tx: &mut Tx,
    device: sigilo_wire::DeviceId,
    kind: &str,
) -> Result<Option<OneTimePreKey>> {
    Ok(match tx {
        Tx::Sqlite(tx) => {
            sqlx::query_as(TAKE_PRE_KEY_SQLITE).bind(device).bind(kind).fetch_optional(&mut **tx).await?
        }
        Tx::Postgres(tx) => {
            sqlx::query_as(TAKE_PRE_KEY_POSTGRES).bind(device).bind(kind).fetch_optional(&mut **tx).await?
        }
    })
}

/// Asks the engine to prepare a statement, as the first use would.
///
/// # Errors
/// What the engine says of the statement.
pub async fn prepare(db: &Db, sql: String) -> Result<(), String> {
    use sqlx::{Executor as _, SqlSafeStr as _};
    let sql = sqlx::AssertSqlSafe(sql).into_sql_str();
    match db {
        Db::Sqlite { read, .. } => {
            let mut connection = read.acquire().await.map_err(|e| e.to_string())?;
            connection.prepare(sql).await.map(drop).map_err(|e| e.to_string())
        }
        Db::Postgres(pool) => {
            let mut connection = pool.acquire().await.map_err(|e| e.to_string())?;
            connection.prepare(sql).await.map(drop).map_err(|e| e.to_string())
        }
    }
}

/// How SQLite would run a statement, a step a line; nothing on PostgreSQL, whose plans depend on what it holds.
///
/// # Errors
/// What the engine says of the statement.
pub async fn plan(db: &Db, sql: &str) -> Result<Vec<String>, String> {
    let Db::Sqlite { read, .. } = db else { return Ok(Vec::new()) };
    let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(explained).fetch_all(read).await.map_err(|e| e.to_string())?;
    Ok(steps.into_iter().map(|(.., step)| step).collect())
}
