//! `[passwords]`: what it costs to guess one.

use serde::Deserialize;

use crate::{Error, Result};

/// The least memory in KiB, and passes, that OWASP recommends for argon2id with one lane.
const LEAST: (u32, u32) = (19_456, 2);
/// The most memory in KiB: four hashes are computed at once.
const MOST: u32 = 1024 * 1024;

/// The cost of argon2id (RFC 9106) with one lane. A password keeps the cost it was set with.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Passwords {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { memory_kib: LEAST.0, passes: LEAST.1 }
    }
}

impl Passwords {
    /// Refuses a cost below what is recommended, or one that no server has room for.
    pub(super) fn check(&self) -> Result<()> {
        let Self { memory_kib, passes } = *self;
        if memory_kib < LEAST.0 || memory_kib > MOST || passes < LEAST.1 {
            return Err(Error::internal(format!(
                "passwords.memory_kib must be from {} to {MOST}, and passwords.passes at least {}",
                LEAST.0, LEAST.1
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_cheaper_to_guess_than_recommended() {
        Passwords::default().check().unwrap();
        Passwords { memory_kib: 65_536, passes: 3 }.check().unwrap();
        for (memory_kib, passes) in [(19_455, 2), (19_456, 1), (1_048_577, 2)] {
            Passwords { memory_kib, passes }.check().unwrap_err();
        }
    }
}
