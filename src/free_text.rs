//! Text the server can read: reasons and notes. Short, and without what identifies somebody or names an illness.

use serde_json::json;
use sigilo_wire::{
    ErrorCode,
    phi::{self, FreeTextError},
};

use crate::{Error, Result};

/// Takes what a person wrote into `field`.
///
/// # Errors
/// `invalid_field` unless it is 1 to 200 printable characters; `phi_detected` with what was found.
pub fn check(field: &'static str, text: &str) -> Result<()> {
    let shape = || Error::field(field, "is 1 to 200 printable characters");
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(shape());
    }
    match phi::check_free_text(text) {
        Ok(()) => Ok(()),
        Err(FreeTextError::TooLong) => Err(shape()),
        Err(found @ FreeTextError::Phi(_)) => {
            let details = json!({"field": field, "problem": found.to_string()});
            Err(Error::invalid(ErrorCode::PhiDetected, details))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_words_pass_and_nothing_that_identifies() {
        check("reason", "covers for a colleague").unwrap();
        for wrong in ["", "  ", "two\nlines", &"x".repeat(201)] {
            assert_eq!(check("reason", wrong).unwrap_err().code(), ErrorCode::InvalidField, "{wrong:?}");
        }
        let found = check("reason", "write to ana@example.org").unwrap_err();
        assert_eq!(found.code(), ErrorCode::PhiDetected);
        assert_eq!(found.details()["field"], "reason");
    }
}
