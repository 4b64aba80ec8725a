//! The few places where the engines differ, each a named function.

use crate::{
    Result, statements,
    storage::{Db, Tx},
};

/// The scans that are due and that this worker may take: those that were handed over to it, or to nobody who lives. What a
/// worker has leased that lives no more is due, too.
macro_rules! due_scan {
    () => {
        "SELECT s.file_id FROM file_scans s WHERE (s.next_at <= $1 AND NOT EXISTS (SELECT 1 FROM scan_keys k
            JOIN scanners w ON w.scanner = k.scanner WHERE k.tenant_id = s.tenant_id AND k.key_id = s.key_id
            AND k.scanner <> $2 AND w.heard_at > $3))
        OR (s.leased_until <= $4 AND NOT EXISTS (SELECT 1 FROM scan_keys k
            JOIN scanners w ON w.scanner = k.scanner WHERE k.tenant_id = s.tenant_id AND k.key_id = s.key_id
            AND w.heard_at > $3)) ORDER BY s.next_at LIMIT 1"
    };
}

/// Nobody else gets it before the lease ends, unless it is given back.
macro_rules! lease_scan {
    ($one:expr) => {
        concat!(
            "UPDATE file_scans SET leased_until = $5, next_at = $5, tries = tries + 1 WHERE file_id = (",
            $one,
            ") RETURNING file_id, tenant_id, key_id, encapsulation, ciphertext"
        )
    };
}

statements! {
    DUE_SCAN = due_scan!();
    LEASE_SCAN_SQLITE = lease_scan!(due_scan!());
    LEASE_SCAN_POSTGRES = lease_scan!(concat!(due_scan!(), " FOR UPDATE OF s SKIP LOCKED"));
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

/// A file that waits for its scan, with its key as it was handed over.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LeasedScan {
    /// The file.
    pub file_id: sigilo_wire::FileId,
    /// The clinic.
    pub tenant_id: sigilo_wire::TenantId,
    /// Which scan key it was handed over to.
    pub key_id: Vec<u8>,
    /// The encapsulation.
    pub encapsulation: Vec<u8>,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
}

/// Who asks for a scan.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// The worker's name.
    pub scanner: &'a [u8],
    /// Workers that were last heard of before are gone.
    pub alive: sigilo_wire::Timestamp,
    /// Now.
    pub now: sigilo_wire::Timestamp,
    /// Leases that end by then are old enough to be looked at whether their worker lives.
    pub old: sigilo_wire::Timestamp,
    /// When somebody else gets it.
    pub until: sigilo_wire::Timestamp,
}

/// Whether there is a scan for this worker.
///
/// # Errors
/// When the database is away.
pub async fn scan_is_due(tx: &mut Tx, lease: Lease<'_>) -> Result<bool> {
    let Lease { scanner, alive, now, old, .. } = lease;
    Ok(crate::fetch_optional!(tx, (sigilo_wire::FileId,), DUE_SCAN, now, scanner, alive, old)?.is_some())
}

/// Leases the scan that is due longest, so that nobody else gets it: SQLite has one writer, PostgreSQL skips what another
/// transaction is leasing.
///
/// # Errors
/// When the database is away.
pub async fn lease_scan(tx: &mut Tx, lease: Lease<'_>) -> Result<Option<LeasedScan>> {
    let Lease { scanner, alive, now, old, until } = lease;
    let sql = match tx {
        Tx::Sqlite(_) => LEASE_SCAN_SQLITE,
        Tx::Postgres(_) => LEASE_SCAN_POSTGRES,
    };
    crate::fetch_optional!(tx, LeasedScan, sql, now, scanner, alive, old, until)
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
