//! Finds what identifies a patient, or says what they have, in free text.
//!
//! Two users, one code: the client warns before it encrypts a message, and the server refuses such text where it
//! would be able to read it ([`check_free_text`]). An identifier counts when its checksum is right or when a word
//! before it says what it is, so that ordinary numbers pass. Case and accents do not matter.
//!
//! What it is not: a proof that a text is free of identifiers. Names and addresses are not looked for, and
//! whoever writes "five five one two" is not noticed.

mod codes;
mod dates;
mod numbers;
mod scan;
#[cfg(test)]
mod tests;

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use scan::Scan;

/// The longest free text a server accepts, in characters.
pub const MAX_FREE_TEXT_CHARS: usize = 200;

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident = $word:literal, $label:literal;)*) => {
        /// What was found. Where two kinds fit one place, the earlier one here is given.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum PhiKind {
            $($(#[$meta])* #[serde(rename = $word)] $name,)*
        }

        impl PhiKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// For people, in English: "a phone number".
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

kinds! {
    /// An e-mail address.
    Email = "email", "an e-mail address";
    /// Clave Única de Registro de Población, Mexico.
    Curp = "curp", "a CURP";
    /// Registro Federal de Contribuyentes of a person, Mexico.
    Rfc = "rfc", "an RFC";
    /// A payment card.
    PaymentCard = "payment_card", "a payment card number";
    /// Número de Seguridad Social of the IMSS, Mexico.
    Nss = "nss", "a social security number (NSS)";
    /// Social Security Number, United States.
    Ssn = "ssn", "a social security number (SSN)";
    /// Documento Nacional de Identidad, Spain.
    Dni = "dni", "a DNI";
    /// Número de Identidad de Extranjero, Spain.
    Nie = "nie", "an NIE";
    /// The number of a medical record.
    RecordNumber = "record_number", "a medical record number";
    /// A date of birth.
    BirthDate = "birth_date", "a date of birth";
    /// A phone number: Mexico, United States, Spain, or any with a country code.
    Phone = "phone", "a phone number";
    /// A code of ICD-10 (CIE-10).
    DiagnosisCode = "diagnosis_code", "a diagnosis code (ICD-10)";
    /// The name of an illness.
    Diagnosis = "diagnosis", "a diagnosis";
}

impl fmt::Display for PhiKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place in a text. Holds where, never what: it may be logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Phi {
    /// What it is.
    pub kind: PhiKind,
    /// Where it is, in bytes of the text as it was given.
    pub range: Range<usize>,
}

/// Why a text is not taken where a server can read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreeTextError {
    /// Longer than [`MAX_FREE_TEXT_CHARS`].
    #[error("the text is longer than 200 characters")]
    TooLong,
    /// It identifies somebody or names an illness.
    #[error("the text has {} in it: the server can read it, so leave that out", labels(.0))]
    Phi(Vec<Phi>),
}

/// Everything found in `text`, in its order; no two overlap.
#[must_use]
pub fn find(text: &str) -> Vec<Phi> {
    let mut scan = Scan::new(text);
    codes::emails(&mut scan);
    codes::identities(&mut scan);
    codes::records(&mut scan);
    codes::diagnosis_codes(&mut scan);
    codes::diagnoses(&mut scan);
    numbers::find(&mut scan);
    dates::births(&mut scan);
    scan.finish()
}

/// Whether the server takes `text` where it can read it: short, and without what [`find`] finds.
///
/// # Errors
/// [`FreeTextError`], which does not repeat the text.
pub fn check_free_text(text: &str) -> Result<(), FreeTextError> {
    if text.chars().nth(MAX_FREE_TEXT_CHARS).is_some() {
        return Err(FreeTextError::TooLong);
    }
    let found = find(text);
    if found.is_empty() { Ok(()) } else { Err(FreeTextError::Phi(found)) }
}

fn labels(found: &[Phi]) -> String {
    let mut kinds: Vec<PhiKind> = found.iter().map(|phi| phi.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.into_iter().map(PhiKind::label).collect::<Vec<_>>().join(", ")
}
