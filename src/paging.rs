//! Which part of a list is wanted.

use std::{fmt::Display, str::FromStr};

use crate::{Error, Result};

/// How far `page` reaches; beyond that, cursors.
const MAX_PAGE: usize = 100;
/// The most entries of a page.
const MAX_SIZE: usize = 100;

/// How many when nobody says.
const USUAL_SIZE: usize = 20;

/// What a list's query says of its pages: where the last one ended, or which one is wanted, and how long it may be.
#[derive(Clone, Debug)]
pub struct Paging {
    /// Where the last page ended, as the list itself has said.
    pub cursor: Option<String>,
    /// The page, from 1 to 100, when there is no cursor.
    pub page: Option<usize>,
    /// How many, from 1 to 100.
    pub page_size: usize,
}

impl Default for Paging {
    /// The first twenty.
    fn default() -> Self {
        Self::new(None, None, None)
    }
}

/// What is read of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    size: usize,
    /// How many rows to pass over.
    pub offset: i64,
    /// How many to read: one more than the page has, by which a further one is noticed.
    pub limit: i64,
}

impl Paging {
    /// What a query asks for: twenty entries if it does not say how many.
    #[must_use]
    pub fn new(cursor: Option<String>, page: Option<usize>, page_size: Option<usize>) -> Self {
        Self { cursor, page, page_size: page_size.unwrap_or(USUAL_SIZE) }
    }

    /// From the start, so many at a time.
    #[must_use]
    pub fn of(page_size: usize) -> Self {
        Self::new(None, None, Some(page_size))
    }

    /// The place its cursor stands for.
    ///
    /// # Errors
    /// `invalid_field` for anything but a cursor of this kind.
    pub(crate) fn place<C: FromStr>(&self) -> Result<Option<C>> {
        self.cursor.as_deref().map(str::parse).transpose().map_err(|_| not_a_cursor())
    }

    /// What is to be read.
    ///
    /// # Errors
    /// `invalid_field` for a page or a size out of range.
    pub(crate) fn window(&self) -> Result<Window> {
        let Self { page_size, .. } = *self;
        if page_size == 0 || page_size > MAX_SIZE {
            return Err(Error::field("page_size", "is between 1 and 100"));
        }
        let page = self.page.unwrap_or(1);
        if page == 0 || page > MAX_PAGE || (self.page.is_some() && self.cursor.is_some()) {
            return Err(Error::field("page", "is between 1 and 100, and not given together with a cursor"));
        }
        let number = |n: usize| i64::try_from(n).map_err(Error::internal);
        Ok(Window { size: page_size, offset: number((page - 1) * page_size)?, limit: number(page_size + 1)? })
    }
}

impl Window {
    /// Cuts what was read to the page; gives the cursor of the next one, if there is more.
    pub(crate) fn cut<Row, C: Display>(
        self,
        rows: &mut Vec<Row>,
        cursor: impl Fn(&Row) -> C,
    ) -> Option<String> {
        let has_more = rows.len() > self.size;
        rows.truncate(self.size);
        rows.last().filter(|_| has_more).map(|row| cursor(row).to_string())
    }
}

/// A cursor no list here has given.
pub(crate) fn not_a_cursor() -> Error {
    Error::field("cursor", "is not a cursor this server gave")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_and_the_next_one_is_known() {
        let window = Paging { page: Some(3), ..Paging::of(2) }.window().unwrap();
        assert_eq!((window.offset, window.limit), (4, 3));
        let mut rows = vec![5, 6, 7];
        assert_eq!(window.cut(&mut rows, |row| *row).as_deref(), Some("6"));
        assert_eq!(rows, [5, 6]);
        let mut last = vec![7];
        assert_eq!(window.cut(&mut last, |row| *row), None);
        assert_eq!(last, [7]);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let page = |page| Paging { page: Some(page), ..Paging::default() };
        assert!(page(1).window().is_ok() && page(100).window().is_ok());
        assert!(page(0).window().is_err() && page(101).window().is_err());
        for page_size in [0, 101] {
            assert!(Paging::of(page_size).window().is_err());
        }
        assert!(Paging { cursor: Some("7".into()), ..page(2) }.window().is_err());
        let after = |cursor: &str| Paging { cursor: Some(cursor.into()), ..Paging::default() };
        assert!(after("x").place::<i64>().is_err());
        assert_eq!(after("7").place::<i64>().unwrap(), Some(7));
    }
}
