//! One SQL text, two engines: the same constant and the same arguments in each arm.

/// Names a store file's statements and lists them in `ALL`, so that a test can prepare each on each engine.
#[macro_export]
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$meta])* const $name: &str = $sql;)*
        /// Every statement of this file, by name.
        pub(crate) const ALL: &[(&str, &str)] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

/// Runs a statement; gives the number of rows it touched.
#[macro_export]
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $arg:expr)* $(,)?) => { match $tx {
        $crate::storage::Tx::Sqlite(tx) => sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx).await
            .map(|done| done.rows_affected()).map_err($crate::Error::from),
        $crate::storage::Tx::Postgres(tx) => sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx).await
            .map(|done| done.rows_affected()).map_err($crate::Error::from),
    } };
}

/// Runs a query; gives all its rows.
#[macro_export]
macro_rules! fetch_all {
    ($tx:expr, $row:ty, $sql:expr $(, $arg:expr)* $(,)?) => { match $tx {
        $crate::storage::Tx::Sqlite(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_all(&mut **tx).await
            .map_err($crate::Error::from),
        $crate::storage::Tx::Postgres(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_all(&mut **tx).await
            .map_err($crate::Error::from),
    } };
}

/// Runs a query; gives its row if there is one.
#[macro_export]
macro_rules! fetch_optional {
    ($tx:expr, $row:ty, $sql:expr $(, $arg:expr)* $(,)?) => { match $tx {
        $crate::storage::Tx::Sqlite(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_optional(&mut **tx).await
            .map_err($crate::Error::from),
        $crate::storage::Tx::Postgres(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_optional(&mut **tx).await
            .map_err($crate::Error::from),
    } };
}

/// Runs a query that always has a row, such as a count.
#[macro_export]
macro_rules! fetch_one {
    ($tx:expr, $row:ty, $sql:expr $(, $arg:expr)* $(,)?) => { match $tx {
        $crate::storage::Tx::Sqlite(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_one(&mut **tx).await
            .map_err($crate::Error::from),
        $crate::storage::Tx::Postgres(tx) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_one(&mut **tx).await
            .map_err($crate::Error::from),
    } };
}
