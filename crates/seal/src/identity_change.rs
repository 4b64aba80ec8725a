//! What an old identity signs to name its successor.
//!
//! ```text
//! statement  "sigilo/v1/identity-change" || lp(tenant) || lp(user) || lp(new identity key)
//! signature  XEdDSA by the identity that ends
//! ```
//! The statement has no number of its own, so a key that was an identity once never becomes one again:
//! otherwise the signatures of that earlier time could be replayed. The server refuses it.

use sigilo_wire::{TenantId, UserId};

use crate::{encode::Writer, identity::IdentityPublicKey};

const LABEL: &str = "sigilo/v1/identity-change";

/// The bytes that the previous identity signs.
#[must_use]
pub fn statement(tenant: TenantId, user: UserId, new: &IdentityPublicKey) -> Vec<u8> {
    let mut writer = Writer::statement(LABEL);
    writer.lp(tenant.as_bytes()).lp(user.as_bytes()).lp(new.as_bytes());
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::IdentitySecret, testing::test_rng};

    #[test]
    fn the_statement_names_clinic_user_and_key() {
        let key = IdentitySecret::generate(&mut test_rng(40)).public();
        let mut expected = LABEL.as_bytes().to_vec();
        for field in [[1; 16].as_slice(), &[2; 16], key.as_bytes()] {
            expected.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
            expected.extend(field);
        }
        assert_eq!(statement(TenantId::from_bytes([1; 16]), UserId::from_bytes([2; 16]), &key), expected);
    }
}
