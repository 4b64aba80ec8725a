//! Many rows in one statement. A statement says `VALUES $rows(UUID, BIGINT)` where its rows go, with the types
//! of their columns, or `IN ($list)` where a list of values goes; the text is completed here. Outside an INSERT the
//! columns are called `column1`, `column2` on both engines.
//!
//! PostgreSQL gets an array a column, taken apart by `UNNEST`: one text and one plan however many rows there are.
//! SQLite knows no arrays. There rows travel in chunks of powers of two and lists are padded to one, so that a
//! handful of texts stay in the statement caches whatever the load.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{PoisonError, RwLock},
};

use crate::storage::Db;

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

/// `sql` for SQLite, with `rows` tuples of parameters. They carry no numbers: there a number is a name, and each
/// binding looks the names through from the first; with thousands of parameters that took as long as the insert.
#[must_use]
pub fn rows_text(sql: &str, rows: usize) -> String {
    let (before, types, after) = split_rows(sql);
    let mut text = String::with_capacity(sql.len() + rows * types.len() * 3);
    text.push_str(before);
    text.push_str("VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..types.len() {
            text.push_str(if column == 0 { "?" } else { ", ?" });
        }
        text.push(')');
    }
    text.push_str(after);
    text
}

/// `sql` for PostgreSQL: its rows are the arrays bound as the parameters from `first` on, one a column.
#[must_use]
pub fn arrays_text(sql: &str, first: usize) -> String {
    let (before, types, after) = split_rows(sql);
    let mut text = String::with_capacity(sql.len() + types.len() * 24);
    text.push_str(before);
    text.push_str("SELECT * FROM UNNEST(");
    // Writing to a String cannot fail.
    for (column, name) in types.iter().enumerate() {
        let _ = write!(text, "{}CAST(${} AS {name}[])", comma(column), first + column);
    }
    text.push_str(") AS r (");
    for column in 0..types.len() {
        let _ = write!(text, "{}column{}", comma(column), column + 1);
    }
    text.push(')');
    text.push_str(after);
    text
}

const fn comma(column: usize) -> &'static str {
    if column == 0 { "" } else { ", " }
}

/// A statement before its rows, their types, and what comes after.
fn split_rows(sql: &str) -> (&str, Vec<&str>, &str) {
    let parts = sql.split_once("VALUES $rows(").and_then(|(before, rest)| {
        let (types, after) = rest.split_once(')')?;
        Some((before, types.split(',').map(str::trim).collect(), after))
    });
    parts.unwrap_or((sql, Vec::new(), ""))
}

/// A statement, and how many rows it takes; none stands for arrays.
type TextKey = (&'static str, usize);

/// [`rows_text`], made once. There are as many texts as statements, times the eight sizes.
pub fn known_rows_text(sql: &'static str, rows: usize) -> &'static str {
    known((sql, rows), || rows_text(sql, rows))
}

/// [`arrays_text`], made once, with parameters from the first on.
pub fn known_arrays_text(sql: &'static str) -> &'static str {
    known((sql, 0), || arrays_text(sql, 1))
}

/// `sql` for PostgreSQL with its list as one array, bound after the `fixed` parameters; made once.
pub fn known_any_text(sql: &'static str, fixed: usize) -> &'static str {
    known((sql, 0), || any_text(sql, fixed))
}

fn any_text(sql: &str, fixed: usize) -> String {
    sql.replace("IN ($list)", &format!("= ANY(${})", fixed + 1))
}

fn known(key: TextKey, make: impl FnOnce() -> String) -> &'static str {
    static TEXTS: RwLock<Option<HashMap<TextKey, &'static str>>> = RwLock::new(None);
    let known = TEXTS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.as_ref().and_then(|texts| texts.get(&key)) {
        return text;
    }
    drop(known);
    let text: &'static str = Box::leak(make().into_boxed_str());
    TEXTS.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().entry(key).or_insert(text)
}

/// `sql` for SQLite with its list as `values` parameters, numbered after the `fixed` ones.
#[must_use]
pub fn list_text(sql: &str, fixed: usize, values: usize) -> String {
    let mut list = String::with_capacity(values * 5);
    for value in 1..=values {
        let _ = write!(list, "{}${}", comma(value - 1), fixed + value);
    }
    sql.replace("$list", &list)
}

/// How long a list of `values` is bound as: the next power of two, the last value repeated.
#[must_use]
pub const fn padded(values: usize) -> usize {
    values.next_power_of_two()
}

/// The text a database's engine gets, of one row where rows or a list go: for the tests that prepare every statement.
#[must_use]
pub fn preparable(sql: &str, db: &Db) -> String {
    let fixed = (1..).take_while(|n| sql.contains(&format!("${n}"))).count();
    match (db, sql.contains("$rows")) {
        (Db::Sqlite { .. }, true) => rows_text(sql, 1),
        (Db::Sqlite { .. }, false) => list_text(sql, fixed, 1),
        (Db::Postgres(_), true) => arrays_text(sql, 1),
        (Db::Postgres(_), false) => any_text(sql, fixed),
    }
}

/// Binds the rows of one chunk to a statement's text for SQLite, value by value.
#[doc(hidden)]
#[macro_export]
macro_rules! bind_rows {
    ($query:expr, $chunk:expr, $row:pat => [$($value:expr),+ $(,)?]) => {{
        let mut query = $query;
        for $row in $chunk { query = query$(.bind($value))+; }
        query
    }};
}

/// The arguments of a statement's text for PostgreSQL, an array a column, added to `arguments`.
#[doc(hidden)]
#[macro_export]
macro_rules! add_arrays {
    ($arguments:expr, $rows:expr, $row:pat => [$($value:expr),+ $(,)?]) => {{
        use sqlx::Arguments as _;
        const COLUMNS: usize = $crate::execute_rows!(@count $($value),+);
        let mut columns = [(); COLUMNS].map(|()| $crate::storage::column::Column::default());
        for $row in $rows {
            let mut column = columns.iter_mut();
            $(if let Some(column) = column.next() { column.push($value).map_err($crate::Error::internal)?; })+
        }
        for column in columns { $arguments.add(column).map_err($crate::Error::internal)?; }
    }};
}

/// Inserts many rows: `execute_rows!(tx, SQL, &rows, row => [row.a, row.b])`. The statement's `VALUES $rows(...)`
/// takes the values in this order. Gives how many rows were touched.
#[macro_export]
macro_rules! execute_rows {
    (@count) => { 0usize };
    (@count $head:expr $(, $tail:expr)*) => { 1usize + $crate::execute_rows!(@count $($tail),*) };
    ($tx:expr, $sql:expr, $rows:expr, $row:pat => [$($value:expr),+ $(,)?]) => {
        async {
            use $crate::storage::batch::{chunks, known_arrays_text, known_rows_text};
            let rows = $rows;
            let mut touched = 0u64;
            match $tx {
                $crate::storage::Tx::Sqlite(tx) => for chunk in chunks(rows) {
                    let query = sqlx::query(known_rows_text($sql, chunk.len()));
                    let query = $crate::bind_rows!(query, chunk, $row => [$($value),+]);
                    touched += query.execute(&mut **tx).await?.rows_affected();
                },
                $crate::storage::Tx::Postgres(tx) => if !rows.is_empty() {
                    let mut arguments = sqlx::postgres::PgArguments::default();
                    $crate::add_arrays!(arguments, rows, $row => [$($value),+]);
                    let query = sqlx::query_with(known_arrays_text($sql), arguments);
                    touched += query.execute(&mut **tx).await?.rows_affected();
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
            use $crate::storage::batch::{chunks, known_arrays_text, known_rows_text};
            let rows = $rows;
            let mut found: Vec<$found> = Vec::new();
            match $tx {
                $crate::storage::Tx::Sqlite(tx) => for chunk in chunks(rows) {
                    let query = sqlx::query_as::<_, $found>(known_rows_text($sql, chunk.len()));
                    let query = $crate::bind_rows!(query, chunk, $row => [$($value),+]);
                    found.extend(query.fetch_all(&mut **tx).await?);
                },
                $crate::storage::Tx::Postgres(tx) => if !rows.is_empty() {
                    let mut arguments = sqlx::postgres::PgArguments::default();
                    $crate::add_arrays!(arguments, rows, $row => [$($value),+]);
                    let query = sqlx::query_as_with::<_, $found, _>(known_arrays_text($sql), arguments);
                    found.extend(query.fetch_all(&mut **tx).await?);
                }
            }
            Ok::<Vec<$found>, $crate::Error>(found)
        }.await
    };
}

/// Runs a query with a list: `fetch_list!(tx, Row, SQL, [fixed, ...], &values)`; fixed arguments are `$1..`,
/// the list stands where the statement says `IN ($list)`. An empty list asks nothing and gives nothing.
#[macro_export]
macro_rules! fetch_list {
    ($tx:expr, $row:ty, $sql:expr, [$($arg:expr),* $(,)?], $values:expr) => {
        async {
            use $crate::storage::batch::{MAX_ROWS, known_any_text, list_text, padded};
            const FIXED: usize = $crate::execute_rows!(@count $($arg),*);
            let values = $values;
            let mut found: Vec<$row> = Vec::new();
            match $tx {
                $crate::storage::Tx::Sqlite(tx) => for chunk in values.chunks(MAX_ROWS) {
                    let width = padded(chunk.len());
                    let padding = chunk.last().into_iter().cycle().take(width - chunk.len());
                    let text = sqlx::AssertSqlSafe(list_text($sql, FIXED, width));
                    let mut query = sqlx::query_as::<_, $row>(text)$(.bind($arg))*;
                    for value in chunk.iter().chain(padding) { query = query.bind(value); }
                    found.extend(query.fetch_all(&mut **tx).await?);
                },
                $crate::storage::Tx::Postgres(tx) => if !values.is_empty() {
                    let query = sqlx::query_as::<_, $row>(known_any_text($sql, FIXED))$(.bind($arg))*;
                    found.extend(query.bind(values).fetch_all(&mut **tx).await?);
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
    fn each_engine_gets_its_own_form_of_rows() {
        let insert = "INSERT INTO t (a, b) VALUES $rows(UUID, BIGINT) ON CONFLICT DO NOTHING";
        assert_eq!(rows_text(insert, 2), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
        assert_eq!(
            arrays_text(insert, 3),
            "INSERT INTO t (a, b) SELECT * FROM UNNEST(CAST($3 AS UUID[]), CAST($4 AS BIGINT[])) AS r (column1, column2) \
             ON CONFLICT DO NOTHING"
        );
        let delete = "DELETE FROM t WHERE a IN (SELECT v.column1 FROM (VALUES $rows(UUID)) AS v) RETURNING a";
        assert_eq!(
            rows_text(delete, 2),
            "DELETE FROM t WHERE a IN (SELECT v.column1 FROM (VALUES (?), (?)) AS v) RETURNING a"
        );
        assert_eq!(
            arrays_text(delete, 1),
            "DELETE FROM t WHERE a IN (SELECT v.column1 FROM (SELECT * FROM UNNEST(CAST($1 AS UUID[])) AS r (column1)) AS v) \
             RETURNING a"
        );
    }

    #[test]
    fn each_engine_gets_its_own_form_of_a_list() {
        let sql = "SELECT 1 WHERE x > $1 AND y IN ($list)";
        assert_eq!(list_text(sql, 1, 2), "SELECT 1 WHERE x > $1 AND y IN ($2, $3)");
        assert_eq!(any_text(sql, 1), "SELECT 1 WHERE x > $1 AND y = ANY($2)");
    }
}
