//! The digest with which a device asks whether the server hands out the keys it published.
//!
//! ```text
//! SHA-256(identity_key || u64be(signed id) || signed key || u64be(last-resort id) || last-resort key)
//! ```
//! Every part has a fixed length, so the concatenation is unambiguous.

use crate::{
    encode::Writer,
    identity::{IdentityPublicKey, KyberPublicKey, PreKeyPublic},
    primitives::sha256,
};

/// The digest of `POST /api/keys/check/`. Prekey ids are libsignal's, 24 bits wide.
#[must_use]
pub fn digest(
    identity: &IdentityPublicKey,
    signed_id: u32,
    signed: &PreKeyPublic,
    last_resort_id: u32,
    last_resort: &KyberPublicKey,
) -> [u8; 32] {
    let mut writer = Writer::new();
    writer.raw(identity.as_bytes()).u64be(u64::from(signed_id)).raw(signed.as_bytes());
    writer.u64be(u64::from(last_resort_id)).raw(last_resort.as_bytes());
    sha256(writer.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::IdentitySecret, testing::test_rng};

    #[test]
    fn the_digest_changes_with_every_part() {
        let mut rng = test_rng(30);
        let identity = IdentitySecret::generate(&mut rng).public();
        let other = IdentitySecret::generate(&mut rng).public();
        let signed = PreKeyPublic::parse(other.as_bytes()).unwrap();
        let also = PreKeyPublic::parse(identity.as_bytes()).unwrap();
        let kyber = KyberPublicKey::parse(&[8; 1_569]).unwrap();
        let mut bytes = [8; 1_569];
        bytes[1_568] = 9;
        let late = KyberPublicKey::parse(&bytes).unwrap();
        let base = digest(&identity, 1, &signed, 2, &kyber);
        let all = [
            digest(&other, 1, &signed, 2, &kyber),
            digest(&identity, 3, &signed, 2, &kyber),
            digest(&identity, 1, &also, 2, &kyber),
            digest(&identity, 1, &signed, 3, &kyber),
            digest(&identity, 1, &signed, 2, &late),
        ];
        assert!(all.iter().all(|changed| *changed != base));
        let mut expected = identity.as_bytes().to_vec();
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend(signed.as_bytes());
        expected.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([8; 1_569]);
        assert_eq!(base, sha256(&expected));
    }
}
