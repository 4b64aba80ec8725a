//! Statements that write rows and give nothing back, run one after the other; on SQLite, when they are small, in one
//! go. There each statement crosses to the connection's thread and back, and with a message or two in a transaction the two
//! threads waking each other is most of what it takes.
//!
//! Large ones are run singly: their texts are of few sizes each, but of too many together for a statement cache.

use sqlx::{postgres::PgArguments, sqlite::SqliteArguments};

use super::Tx;
use crate::Result;

/// How many rows run together.
const FEW: usize = 24;

/// Statements with their rows, to be run in order.
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
    Postgres(Vec<(&'static str, PgArguments)>),
}

impl Script {
    /// For this transaction's engine, and about so many rows in all.
    #[must_use]
    pub fn new(tx: &Tx, rows: usize) -> Self {
        let parts = match tx {
            Tx::Sqlite(_) => Parts::Sqlite(Vec::new(), rows <= FEW),
            Tx::Postgres(_) => Parts::Postgres(Vec::new()),
        };
        Self { parts, rows: 0 }
    }

    /// Runs the statements; whether each of their rows was written.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn run(self, tx: &mut Tx) -> Result<bool> {
        let mut written = 0;
        match (tx, self.parts) {
            (Tx::Sqlite(tx), Parts::Sqlite(parts, _)) => {
                for (text, arguments) in parts {
                    let query = sqlx::query_with(sqlx::AssertSqlSafe(text), arguments);
                    written += query.execute(&mut **tx).await?.rows_affected();
                }
            }
            (Tx::Postgres(tx), Parts::Postgres(parts)) => {
                for (text, arguments) in parts {
                    written += sqlx::query_with(text, arguments).execute(&mut **tx).await?.rows_affected();
                }
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
        use $crate::storage::{batch::{Parameters, chunks, known_rows_text}, script::{Parts, next}};
        const COLUMNS: usize = $crate::execute_rows!(@count $($value),+);
        let script: &mut $crate::storage::script::Script = $script;
        for chunk in chunks($rows) {
            script.count(chunk.len());
            match &mut script.parts {
                Parts::Sqlite(parts, together) => {
                    let text = known_rows_text($sql, COLUMNS, chunk.len(), Parameters::InOrder);
                    if let Some(arguments) = next(parts, *together, text) {
                        for $row in chunk { $(arguments.add($value).map_err($crate::Error::internal)?;)+ }
                    }
                }
                Parts::Postgres(parts) => {
                    let text = known_rows_text($sql, COLUMNS, chunk.len(), Parameters::Numbered);
                    let mut arguments = sqlx::postgres::PgArguments::default();
                    for $row in chunk { $(arguments.add($value).map_err($crate::Error::internal)?;)+ }
                    parts.push((text, arguments));
                }
            }
        }
    }};
}
