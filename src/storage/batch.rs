//! Many rows in one statement. A statement says `$rows` where its rows go, or `$list` where a list of values
//! goes; the text is completed here for as many as there are.
//!
//! Rows travel in chunks of powers of two and lists are padded to one, so that a handful of texts stay in the
//! engines' statement caches, and in ours, whatever the load.
//!
//! Where rows stand outside an INSERT nothing tells PostgreSQL their types, so the statement does:
//! `FROM (VALUES $rows(UUID, BIGINT)) AS v`. Their columns are called `column1`, `column2` on both engines.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{PoisonError, RwLock},
};

/// The most rows in one statement: far below SQLite's 32,766 parameters for our widest table.
pub const MAX_ROWS: usize = 128;

/// Splits `rows` into chunks of powers of two, the largest first.
pub fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = (1 << rest.len().ilog2()).min(MAX_ROWS);
        let (chunk, tail) = rest.split_at(size);
        rest = tail;
        Some(chunk)
    })
}

/// How the parameters of many rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// `$1, $2, ...`, the only form PostgreSQL knows.
    Numbered,
    /// `?, ?, ...` for SQLite. There a number is a name, and each binding looks the names through from the
    /// first: with thousands of parameters that took as long as the insert itself.
    InOrder,
}

impl Parameters {
    /// Those of a database's engine.
    #[must_use]
    pub const fn of(db: &super::Db) -> Self {
        match db {
            super::Db::Sqlite { .. } => Self::InOrder,
            super::Db::Postgres(_) => Self::Numbered,
        }
    }
}

/// `sql` with `$rows` replaced by `rows` tuples of `columns` parameters.
#[must_use]
pub fn rows_text(sql: &str, columns: usize, rows: usize, parameters: Parameters) -> String {
    let (before, types, after) = split_rows(sql);
    let mut text = String::with_capacity(sql.len() + rows * columns * 5);
    text.push_str(before);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            text.push_str(if column == 1 { "" } else { ", " });
            let number = row * columns + column;
            // Writing to a String cannot fail. The types of the first row are those of all.
            let _ = match (parameters, types.get(column - 1).filter(|_| row == 0)) {
                (Parameters::Numbered, Some(r#type)) => write!(text, "CAST(${number} AS {type})"),
                (Parameters::Numbered, None) => write!(text, "${number}"),
                (Parameters::InOrder, _) => write!(text, "?"),
            };
        }
        text.push(')');
    }
    text.push_str(after);
    text
}

/// A statement before its rows, their types if it names them, and what comes after.
fn split_rows(sql: &str) -> (&str, Vec<&str>, &str) {
    let Some((before, after)) = sql.split_once("$rows") else { return (sql, Vec::new(), "") };
    let named = after.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    match named {
        Some((types, after)) => (before, types.split(',').map(str::trim).collect(), after),
        None => (before, Vec::new(), after),
    }
}

/// A statement and its size.
type TextKey = (&'static str, usize, Parameters);

/// [`rows_text`], made once: numbering some thousand parameters anew for each batch took longer than binding
/// them. There are as many texts as statements, times the eight sizes.
pub fn known_rows_text(
    sql: &'static str,
    columns: usize,
    rows: usize,
    parameters: Parameters,
) -> &'static str {
    static TEXTS: RwLock<Option<HashMap<TextKey, &'static str>>> = RwLock::new(None);
    let key = (sql, rows, parameters);
    let known = TEXTS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.as_ref().and_then(|texts| texts.get(&key)) {
        return text;
    }
    drop(known);
    let text: &'static str = Box::leak(rows_text(sql, columns, rows, parameters).into_boxed_str());
    TEXTS.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().entry(key).or_insert(text)
}

/// `sql` with `$list` replaced by `values` parameters, numbered after the `fixed` ones.
#[must_use]
pub fn list_text(sql: &str, fixed: usize, values: usize) -> String {
    let mut list = String::with_capacity(values * 5);
    for value in 1..=values {
        let _ = write!(list, "{}${}", if value == 1 { "" } else { ", " }, fixed + value);
    }
    sql.replace("$list", &list)
}

/// How long a list of `values` is bound as: the next power of two, the last value repeated.
#[must_use]
pub const fn padded(values: usize) -> usize {
    values.next_power_of_two()
}

/// The text of one row, or of a list of one value, for the tests that prepare every statement.
#[must_use]
pub fn preparable(sql: &str, parameters: Parameters) -> String {
    if sql.contains("$rows") {
        let types = split_rows(sql).1.len();
        let listed = sql.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        let columns = listed.map_or(0, |(columns, _)| columns.split(',').count());
        return rows_text(sql, if types > 0 { types } else { columns }, 1, parameters);
    }
    let fixed = (1..).take_while(|n| sql.contains(&format!("${n}"))).count();
    list_text(sql, fixed, 1)
}

/// Binds the rows of one chunk to a statement's text.
#[doc(hidden)]
#[macro_export]
macro_rules! bind_rows {
    ($query:expr, $chunk:expr, $row:pat => [$($value:expr),+ $(,)?]) => {{
        let mut query = $query;
        for $row in $chunk { query = query$(.bind($value))+; }
        query
    }};
}

/// Inserts many rows: `execute_rows!(tx, SQL, &rows, row => [row.a, row.b])`. The statement's `VALUES $rows`
/// takes the values in this order. Gives how many rows were touched.
#[macro_export]
macro_rules! execute_rows {
    (@count) => { 0usize };
    (@count $head:expr $(, $tail:expr)*) => { 1usize + $crate::execute_rows!(@count $($tail),*) };
    ($tx:expr, $sql:expr, $rows:expr, $row:pat => [$($value:expr),+ $(,)?]) => {
        async {
            use $crate::storage::batch::{Parameters, chunks, known_rows_text};
            const COLUMNS: usize = $crate::execute_rows!(@count $($value),+);
            let mut touched = 0u64;
            for chunk in chunks($rows) {
                match $tx {
                    $crate::storage::Tx::Sqlite(tx) => {
                        let text = known_rows_text($sql, COLUMNS, chunk.len(), Parameters::InOrder);
                        let query = $crate::bind_rows!(sqlx::query(text), chunk, $row => [$($value),+]);
                        touched += query.execute(&mut **tx).await?.rows_affected();
                    }
                    $crate::storage::Tx::Postgres(tx) => {
                        let text = known_rows_text($sql, COLUMNS, chunk.len(), Parameters::Numbered);
                        let query = $crate::bind_rows!(sqlx::query(text), chunk, $row => [$($value),+]);
                        touched += query.execute(&mut **tx).await?.rows_affected();
                    }
                }
            }
            Ok::<u64, $crate::Error>(touched)
        }.await
    };
}

/// Runs a statement with many rows that gives some back: `fetch_rows!(tx, Row, SQL, &rows, row => [row.a])`.
#[macro_export]
macro_rules! fetch_rows {
    ($tx:expr, $found:ty, $sql:expr, $rows:expr, $row:pat => [$($value:expr),+ $(,)?]) => {
        async {
            use $crate::storage::batch::{Parameters, chunks, known_rows_text};
            const COLUMNS: usize = $crate::execute_rows!(@count $($value),+);
            let mut found: Vec<$found> = Vec::new();
            for chunk in chunks($rows) {
                match $tx {
                    $crate::storage::Tx::Sqlite(tx) => {
                        let text = known_rows_text($sql, COLUMNS, chunk.len(), Parameters::InOrder);
                        let query = sqlx::query_as::<_, $found>(text);
                        let query = $crate::bind_rows!(query, chunk, $row => [$($value),+]);
                        found.extend(query.fetch_all(&mut **tx).await?);
                    }
                    $crate::storage::Tx::Postgres(tx) => {
                        let text = known_rows_text($sql, COLUMNS, chunk.len(), Parameters::Numbered);
                        let query = sqlx::query_as::<_, $found>(text);
                        let query = $crate::bind_rows!(query, chunk, $row => [$($value),+]);
                        found.extend(query.fetch_all(&mut **tx).await?);
                    }
                }
            }
            Ok::<Vec<$found>, $crate::Error>(found)
        }.await
    };
}

/// Runs a query with a list: `fetch_list!(tx, Row, SQL, [fixed, ...], &values)`; fixed arguments are `$1..`,
/// the list stands where the statement says `$list`. An empty list asks nothing and gives nothing.
#[macro_export]
macro_rules! fetch_list {
    ($tx:expr, $row:ty, $sql:expr, [$($arg:expr),* $(,)?], $values:expr) => {
        async {
            let values = $values;
            let mut found: Vec<$row> = Vec::new();
            for chunk in values.chunks($crate::storage::batch::MAX_ROWS) {
                let width = $crate::storage::batch::padded(chunk.len());
                let padding = chunk.last().into_iter().cycle().take(width - chunk.len());
                let text = sqlx::AssertSqlSafe($crate::storage::batch::list_text(
                    $sql, $crate::execute_rows!(@count $($arg),*), width));
                match $tx {
                    $crate::storage::Tx::Sqlite(tx) => {
                        let mut query = sqlx::query_as::<_, $row>(text)$(.bind($arg))*;
                        for value in chunk.iter().chain(padding) { query = query.bind(value); }
                        found.extend(query.fetch_all(&mut **tx).await?);
                    }
                    $crate::storage::Tx::Postgres(tx) => {
                        let mut query = sqlx::query_as::<_, $row>(text)$(.bind($arg))*;
                        for value in chunk.iter().chain(padding) { query = query.bind(value); }
                        found.extend(query.fetch_all(&mut **tx).await?);
                    }
                }
            }
            Ok::<Vec<$row>, $crate::Error>(found)
        }.await
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_travel_in_powers_of_two() {
        let rows: Vec<u8> = vec![0; 300];
        assert_eq!(chunks(&rows).map(<[u8]>::len).collect::<Vec<_>>(), [128, 128, 32, 8, 4]);
    }

    #[test]
    fn texts_number_their_parameters() {
        assert_eq!(
            rows_text("INSERT INTO t (a, b) VALUES $rows", 2, 2, Parameters::Numbered),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)"
        );
        assert_eq!(
            rows_text("INSERT INTO t (a, b) VALUES $rows", 2, 2, Parameters::InOrder),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)"
        );
        assert_eq!(
            list_text("SELECT 1 WHERE x > $1 AND y IN ($list)", 1, 2),
            "SELECT 1 WHERE x > $1 AND y IN ($2, $3)"
        );
        assert_eq!(
            preparable("INSERT INTO t (a, b) VALUES $rows", Parameters::Numbered),
            "INSERT INTO t (a, b) VALUES ($1, $2)"
        );
        let typed = "DELETE FROM t WHERE (a, b) IN (VALUES $rows(UUID, BIGINT)) RETURNING a";
        assert_eq!(
            rows_text(typed, 2, 2, Parameters::Numbered),
            "DELETE FROM t WHERE (a, b) IN (VALUES (CAST($1 AS UUID), CAST($2 AS BIGINT)), ($3, $4)) RETURNING a"
        );
        assert_eq!(
            rows_text(typed, 2, 2, Parameters::InOrder),
            "DELETE FROM t WHERE (a, b) IN (VALUES (?, ?), (?, ?)) RETURNING a"
        );
        assert_eq!(
            preparable(typed, Parameters::Numbered),
            "DELETE FROM t WHERE (a, b) IN (VALUES (CAST($1 AS UUID), CAST($2 AS BIGINT))) RETURNING a"
        );
        assert_eq!(
            preparable("SELECT 1 WHERE x > $1 AND y IN ($list)", Parameters::Numbered),
            "SELECT 1 WHERE x > $1 AND y IN ($2)"
        );
    }
}
