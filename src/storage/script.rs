//! Statements that write rows and give nothing back, all in one go where that is cheaper than one after the other.
//!
//! On PostgreSQL they are parts of one statement (`WITH ... AS (INSERT ...)`): one round trip whatever is written. On
//! SQLite each statement crosses to the connection's thread and back, and with a message or two in a transaction the
//! two threads waking each other is most of what it takes: a few rows are run together. Many are run singly: their
//! texts are of few sizes each, but of too many together for a statement cache.

use std::fmt::Write as _;

use sqlx::{postgres::PgArguments, sqlite::SqliteArguments};

use super::{Tx, batch};
use crate::Result;

/// How many rows run together on SQLite.
const FEW: usize = 24;

/// Statements with their rows, that do not depend on each other.
#[derive(Debug)]
pub struct Script {
    /// The statements and their arguments, by engine.
    #[doc(hidden)]
    pub parts: Parts,
    rows: u64,
}

/// What [`crate::add_rows!`] adds to.
#[doc(hidden)]
#[derive(Debug)]
pub enum Parts {
    Sqlite(Vec<(String, SqliteArguments)>, bool),
    Postgres(Joined),
}

/// Statements made one. Their arguments are numbered through.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Joined {
    text: String,
    parts: usize,
    next: usize,
    pub arguments: PgArguments,
}

impl Joined {
    /// Adds a statement whose arguments, an array for each of its `columns`, follow.
    pub fn add(&mut self, sql: &str, columns: usize) {
        let statement = batch::arrays_text(sql, self.next + 1);
        let separator = if self.parts == 0 { "WITH" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{separator} part{} AS ({statement} RETURNING 1)", self.parts);
        self.parts += 1;
        self.next += columns;
    }

    /// The one statement, which gives how many rows were written.
    fn finish(mut self) -> (String, PgArguments) {
        self.text.push_str(" SELECT 0");
        for part in 0..self.parts {
            let _ = write!(self.text, " + (SELECT COUNT(*) FROM part{part})");
        }
        (self.text, self.arguments)
    }
}

impl Script {
    /// For this transaction's engine, and about so many rows in all.
    #[must_use]
    pub fn new(tx: &Tx, rows: usize) -> Self {
        let parts = match tx {
            Tx::Sqlite(_) => Parts::Sqlite(Vec::new(), rows <= FEW),
            Tx::Postgres(_) => Parts::Postgres(Joined::default()),
        };
        Self { parts, rows: 0 }
    }

    /// Runs the statements; whether each of their rows was written.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn run(self, tx: &mut Tx) -> Result<bool> {
        if self.rows == 0 {
            return Ok(true);
        }
        let mut written = 0;
        match (tx, self.parts) {
            (Tx::Sqlite(tx), Parts::Sqlite(parts, _)) => {
                for (text, arguments) in parts {
                    let query = sqlx::query_with(sqlx::AssertSqlSafe(text), arguments);
                    written += query.execute(&mut **tx).await?.rows_affected();
                }
            }
            (Tx::Postgres(tx), Parts::Postgres(joined)) => {
                let (text, arguments) = joined.finish();
                let query = sqlx::query_scalar_with(sqlx::AssertSqlSafe(text), arguments);
                let rows: i64 = query.fetch_one(&mut **tx).await?;
                written = u64::try_from(rows).map_err(crate::Error::internal)?;
            }
            _ => return Err(crate::Error::internal("a script ran on another engine than its own")),
        }
        Ok(written == self.rows)
    }

    /// Counts rows that were added.
    #[doc(hidden)]
    pub const fn count(&mut self, rows: usize) {
        self.rows += rows as u64;
    }
}

/// The arguments to add a statement's values to.
#[doc(hidden)]
pub fn next<'a>(
    parts: &'a mut Vec<(String, SqliteArguments)>,
    together: bool,
    text: &str,
) -> Option<&'a mut SqliteArguments> {
    match parts.last_mut().filter(|_| together) {
        Some((texts, _)) => {
            texts.push(';');
            texts.push_str(text);
        }
        None => parts.push((text.to_owned(), SqliteArguments::default())),
    }
    parts.last_mut().map(|(_, arguments)| arguments)
}

/// Adds many rows to a [`Script`]: `add_rows!(script, SQL, &rows, row => [row.a, row.b])`, as
/// [`crate::execute_rows!`] would run them. Every row must touch exactly one of the table's.
#[macro_export]
macro_rules! add_rows {
    ($script:expr, $sql:expr, $rows:expr, $row:pat => [$($value:expr),+ $(,)?]) => {{
        use sqlx::Arguments as _;
        use $crate::storage::{batch::{chunks, known_rows_text}, script::{Parts, next}};
        const COLUMNS: usize = $crate::execute_rows!(@count $($value),+);
        let script: &mut $crate::storage::script::Script = $script;
        let rows = $rows;
        script.count(rows.len());
        match &mut script.parts {
            Parts::Sqlite(parts, together) => for chunk in chunks(rows) {
                let text = known_rows_text($sql, chunk.len());
                if let Some(arguments) = next(parts, *together, text) {
                    for $row in chunk { $(arguments.add($value).map_err($crate::Error::internal)?;)+ }
                }
            },
            Parts::Postgres(joined) => if !rows.is_empty() {
                joined.add($sql, COLUMNS);
                $crate::add_arrays!(joined.arguments, rows, $row => [$($value),+]);
            }
        }
    }};
}
