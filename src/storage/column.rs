//! The values of one column of many rows, as PostgreSQL takes them: one array.

use sqlx::{
    Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, types::Oid},
};

/// An array in PostgreSQL's binary form, filled value by value. sqlx encodes an array from a slice, which would
/// take a pass over the rows for every column.
#[derive(Debug, Default)]
pub struct Column {
    /// The element's type and the array's: those of the first value.
    types: Option<(Oid, PgTypeInfo)>,
    count: i32,
    values: PgArgumentBuffer,
}

impl Column {
    /// Adds a row's value.
    ///
    /// # Errors
    /// For values PostgreSQL does not take, and types it gives no number to.
    pub fn push<'q, T>(&mut self, value: T) -> Result<(), BoxDynError>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
    {
        if self.types.is_none() {
            let element = T::type_info().oid().ok_or("rows of a type without a number")?;
            self.types = Some((element, T::array_type_info()));
        }
        let start = self.values.len();
        self.values.extend_from_slice(&[0; 4]);
        let length = match value.encode(&mut self.values)? {
            IsNull::Yes => -1,
            IsNull::No => i32::try_from(self.values.len() - start - 4)?,
        };
        if let Some(field) = self.values.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        self.count = self.count.checked_add(1).ok_or("too many rows")?;
        Ok(())
    }
}

impl Type<Postgres> for Column {
    /// Never asked for: a column says what it [produces](Encode::produces).
    fn type_info() -> PgTypeInfo {
        <Vec<i64> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Column {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some((element, _)) = &self.types else { return Err("a column without values".into()) };
        buf.reserve(20 + self.values.len());
        // One dimension; whether there are nulls, which PostgreSQL sees for itself; the first index is 1.
        for field in [1i32.to_be_bytes(), 0i32.to_be_bytes(), element.0.to_be_bytes()] {
            buf.extend_from_slice(&field);
        }
        buf.extend_from_slice(&self.count.to_be_bytes());
        buf.extend_from_slice(&1i32.to_be_bytes());
        buf.extend_from_slice(&self.values);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        self.types.as_ref().map(|(_, array)| array.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_encoded_as_sqlx_encodes_a_slice() {
        let values = [Some("one"), None, Some("three")];
        let mut column = Column::default();
        for value in values {
            column.push(value).unwrap();
        }
        let (mut ours, mut theirs) = (PgArgumentBuffer::default(), PgArgumentBuffer::default());
        let _ = column.encode_by_ref(&mut ours).unwrap();
        let _ = values.as_slice().encode_by_ref(&mut theirs).unwrap();
        assert_eq!(*ours, *theirs);
        assert_eq!(column.produces(), Some(<Vec<String> as Type<Postgres>>::type_info()));
    }
}
