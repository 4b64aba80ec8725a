//! The checks of published prekeys: pure, so that each refusal is a test of its own.

use std::collections::HashSet;

use serde_json::json;
use sigilo_seal::{IdentityPublicKey, KeyError, KyberPublicKey, PreKeyPublic};
use sigilo_wire::{
    ErrorCode,
    keys::{KyberPreKey, PutKeys, SignedPreKey},
};

use super::{MAX_ONE_TIME_KEYS, MAX_REGISTRATION_ID};
use crate::{Error, Result};

/// A one-time key that passed its checks.
#[derive(Clone, Debug)]
pub(super) struct OneTimeKey {
    pub(super) key_id: u32,
    pub(super) public_key: Vec<u8>,
    /// Kyber keys are signed.
    pub(super) signature: Option<Vec<u8>>,
}

/// A publication that passed its checks.
#[derive(Clone, Debug)]
pub(super) struct VerifiedKeys {
    pub(super) registration_id: u32,
    pub(super) signed_pre_key: Option<SignedPreKey>,
    pub(super) last_resort: Option<KyberPreKey>,
    pub(super) pre_keys: Vec<OneTimeKey>,
    pub(super) kyber_pre_keys: Vec<OneTimeKey>,
}

/// Checks a publication against the identity that must have signed it.
///
/// # Errors
/// 400 `invalid_field` for numbers out of range, long lists and repeated ids or keys; 422 `invalid_key` and
/// `invalid_signature` naming the key.
pub(super) fn verify(identity: &IdentityPublicKey, keys: PutKeys) -> Result<VerifiedKeys> {
    registration_id(keys.registration_id)?;
    check_list("pre_keys", keys.pre_keys.iter().map(|key| (key.key_id, key.public_key.as_slice())))?;
    check_list(
        "kyber_pre_keys",
        keys.kyber_pre_keys.iter().map(|key| (key.key_id, key.public_key.as_slice())),
    )?;
    if let Some(key) = &keys.signed_pre_key {
        let name = Name("signed_pre_key", Some(key.key_id));
        PreKeyPublic::parse(key.public_key.as_slice()).map_err(|error| name.invalid_key(error))?;
        name.signed(identity, key.public_key.as_slice(), &key.signature)?;
    }
    if let Some(key) = &keys.last_resort_kyber_pre_key {
        kyber(identity, Name("last_resort_kyber_pre_key", Some(key.key_id)), key)?;
    }
    for key in &keys.pre_keys {
        PreKeyPublic::parse(key.public_key.as_slice())
            .map_err(|error| Name("pre_key", Some(key.key_id)).invalid_key(error))?;
    }
    for key in &keys.kyber_pre_keys {
        kyber(identity, Name("kyber_pre_key", Some(key.key_id)), key)?;
    }
    Ok(VerifiedKeys {
        registration_id: keys.registration_id,
        signed_pre_key: keys.signed_pre_key,
        last_resort: keys.last_resort_kyber_pre_key,
        pre_keys: keys
            .pre_keys
            .iter()
            .map(|key| OneTimeKey {
                key_id: key.key_id,
                public_key: key.public_key.to_vec(),
                signature: None,
            })
            .collect(),
        kyber_pre_keys: keys
            .kyber_pre_keys
            .iter()
            .map(|key| OneTimeKey {
                key_id: key.key_id,
                public_key: key.public_key.to_vec(),
                signature: Some(key.signature.to_vec()),
            })
            .collect(),
    })
}

/// Checks libsignal's registration id.
///
/// # Errors
/// 400 `invalid_field`.
pub(crate) fn registration_id(id: u32) -> Result<i64> {
    if (1..=MAX_REGISTRATION_ID).contains(&id) {
        return Ok(i64::from(id));
    }
    Err(Error::field("registration_id", format_args!("must be 1 to {MAX_REGISTRATION_ID}")))
}

/// Reads an identity key, or says 422 `invalid_key`.
pub(super) fn identity_key(bytes: &[u8]) -> Result<IdentityPublicKey> {
    IdentityPublicKey::parse(bytes).map_err(|error| Name("identity_key", None).invalid_key(error))
}

/// Which key an error is about.
pub(super) struct Name(pub(super) &'static str, pub(super) Option<u32>);

impl Name {
    pub(super) fn invalid_key(&self, problem: impl ToString) -> Error {
        self.error(ErrorCode::InvalidKey, &problem.to_string())
    }

    pub(super) fn invalid_signature(&self, problem: &str) -> Error {
        self.error(ErrorCode::InvalidSignature, problem)
    }

    fn signed(&self, identity: &IdentityPublicKey, key: &[u8], signature: &[u8; 64]) -> Result<()> {
        if identity.verify(key, signature) {
            return Ok(());
        }
        Err(self.invalid_signature("the identity key did not sign this key"))
    }

    fn error(&self, code: ErrorCode, problem: &str) -> Error {
        let mut details = json!({"key": self.0, "problem": problem});
        if let (Some(id), Some(object)) = (self.1, details.as_object_mut()) {
            object.insert("key_id".to_owned(), id.into());
        }
        Error::invalid(code, details)
    }
}

fn kyber(identity: &IdentityPublicKey, name: Name, key: &KyberPreKey) -> Result<()> {
    KyberPublicKey::parse(key.public_key.as_slice()).map_err(|error: KeyError| name.invalid_key(error))?;
    name.signed(identity, key.public_key.as_slice(), &key.signature)
}

/// A list is short, and neither an id nor a key stands in it twice: a one-time key under two ids would leave
/// twice.
fn check_list<'a>(field: &str, list: impl ExactSizeIterator<Item = (u32, &'a [u8])>) -> Result<()> {
    if list.len() > MAX_ONE_TIME_KEYS {
        return Err(Error::field(
            field,
            format_args!("at most {MAX_ONE_TIME_KEYS} keys, not {}", list.len()),
        ));
    }
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    for (id, key) in list {
        if !ids.insert(id) {
            return Err(Error::field(field, format_args!("key id {id} stands in the list twice")));
        }
        if !keys.insert(key) {
            return Err(Error::field(field, format_args!("the key with id {id} stands in the list twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng as _, SeedableRng as _};
    use sigilo_seal::IdentitySecret;
    use sigilo_wire::{Base64Array, keys::PreKey};

    use super::*;

    struct Device {
        identity: IdentitySecret,
        rng: ChaCha20Rng,
    }

    impl Device {
        fn new() -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(71);
            Self { identity: IdentitySecret::generate(&mut rng), rng }
        }

        fn point(&mut self) -> [u8; 33] {
            IdentitySecret::generate(&mut self.rng).public().to_bytes()
        }

        fn pre_key(&mut self, key_id: u32) -> PreKey {
            PreKey { key_id, public_key: Base64Array(self.point()) }
        }

        fn signed(&mut self, key_id: u32) -> SignedPreKey {
            let public_key = self.point();
            let signature = Base64Array(self.identity.sign(&public_key, &mut self.rng));
            SignedPreKey { key_id, public_key: Base64Array(public_key), signature }
        }

        fn kyber(&mut self, key_id: u32) -> KyberPreKey {
            let mut public_key = [8; 1_569];
            self.rng.fill_bytes(&mut public_key[1..]);
            let signature = Base64Array(self.identity.sign(&public_key, &mut self.rng));
            KyberPreKey { key_id, public_key: Base64Array(public_key), signature }
        }

        fn keys(&mut self, one_time: u32) -> PutKeys {
            PutKeys {
                registration_id: 1,
                signed_pre_key: Some(self.signed(7)),
                last_resort_kyber_pre_key: Some(self.kyber(8)),
                pre_keys: (0..one_time).map(|id| self.pre_key(id)).collect(),
                kyber_pre_keys: (100..100 + one_time).map(|id| self.kyber(id)).collect(),
            }
        }

        /// The code and the key the refusal names, after `change`.
        fn refusal(&mut self, change: impl FnOnce(&mut PutKeys)) -> (ErrorCode, String, Option<u64>) {
            let mut keys = self.keys(3);
            change(&mut keys);
            let error = verify(&self.identity.public(), keys).unwrap_err();
            let details = error.details();
            let name = details.get("key").or(details.get("field")).unwrap();
            let id = details.get("key_id").and_then(serde_json::Value::as_u64);
            (error.code(), name.as_str().unwrap().to_owned(), id)
        }
    }

    fn refused(code: ErrorCode, name: &str, id: Option<u64>) -> (ErrorCode, String, Option<u64>) {
        (code, name.to_owned(), id)
    }

    /// Serialized points that are refused: of low order, with another type byte, not canonical.
    fn unsafe_points() -> Vec<[u8; 33]> {
        let mut zero = [0; 33];
        zero[0] = 5;
        let mut one = zero;
        one[1] = 1;
        // p + 9: the base point written a second way.
        let mut not_canonical = [0xff; 33];
        (not_canonical[0], not_canonical[1], not_canonical[32]) = (5, 0xed + 9, 0x7f);
        let mut of_order_8 = zero;
        of_order_8[1..].copy_from_slice(&[
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
            0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ]);
        // On the twist: no point of the curve has this coordinate.
        let mut twist = zero;
        twist[1] = 2;
        let mut other_type = Device::new().point();
        other_type[0] = 6;
        vec![zero, one, not_canonical, of_order_8, twist, other_type]
    }

    #[test]
    fn good_keys_pass_and_numbers_have_limits() {
        let mut device = Device::new();
        let keys = device.keys(100);
        let verified = verify(&device.identity.public(), keys).unwrap();
        assert_eq!((verified.pre_keys.len(), verified.kyber_pre_keys.len()), (100, 100));
        for good in [1, MAX_REGISTRATION_ID] {
            let keys = PutKeys { registration_id: good, ..PutKeys::default() };
            assert!(verify(&device.identity.public(), keys).is_ok());
        }
        for bad in [0, MAX_REGISTRATION_ID + 1, u32::MAX] {
            let refusal = device.refusal(|keys| keys.registration_id = bad);
            assert_eq!(refusal, refused(ErrorCode::InvalidField, "registration_id", None));
        }
    }

    #[test]
    fn lists_are_short_and_without_repetition() {
        use ErrorCode::InvalidField;
        let mut device = Device::new();
        let (extra, kyber) = (device.pre_key(3), device.kyber(103));
        let full = device.keys(100);
        let same = full.clone();
        let long = device.refusal(|keys| keys.pre_keys = [full.pre_keys, vec![extra.clone()]].concat());
        assert_eq!(long, refused(InvalidField, "pre_keys", None));
        let long =
            device.refusal(|keys| keys.kyber_pre_keys = [same.kyber_pre_keys, vec![kyber.clone()]].concat());
        assert_eq!(long, refused(InvalidField, "kyber_pre_keys", None));
        let twice = device.refusal(|keys| keys.pre_keys.push(PreKey { key_id: 2, ..extra.clone() }));
        assert_eq!(twice, refused(InvalidField, "pre_keys", None));
        let twice = device.refusal(|keys| keys.kyber_pre_keys.push(KyberPreKey { key_id: 102, ..kyber }));
        assert_eq!(twice, refused(InvalidField, "kyber_pre_keys", None));
        // The same key under two ids would leave twice.
        let twice = device.refusal(|keys| {
            let again = PreKey { key_id: 50, ..keys.pre_keys[0].clone() };
            keys.pre_keys.push(again);
        });
        assert_eq!(twice, refused(InvalidField, "pre_keys", None));
        let twice = device.refusal(|keys| {
            let again = KyberPreKey { key_id: 50, ..keys.kyber_pre_keys[0].clone() };
            keys.kyber_pre_keys.push(again);
        });
        assert_eq!(twice, refused(InvalidField, "kyber_pre_keys", None));
    }

    #[test]
    fn unsafe_points_are_refused_wherever_they_stand() {
        let mut device = Device::new();
        for bad in unsafe_points() {
            let error = identity_key(&bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidKey, "{bad:02x?}");
            assert_eq!(error.details()["key"], "identity_key");
            // Signed all the same: the signature does not make it a key.
            let signature = Base64Array(device.identity.sign(&bad, &mut device.rng));
            let signed = SignedPreKey { key_id: 9, public_key: Base64Array(bad), signature };
            let refusal = device.refusal(|keys| keys.signed_pre_key = Some(signed));
            assert_eq!(refusal, refused(ErrorCode::InvalidKey, "signed_pre_key", Some(9)), "{bad:02x?}");
            let refusal = device.refusal(|keys| keys.pre_keys[1].public_key = Base64Array(bad));
            assert_eq!(refusal, refused(ErrorCode::InvalidKey, "pre_key", Some(1)), "{bad:02x?}");
        }
        for length in [0, 32, 34] {
            assert_eq!(identity_key(&vec![5; length]).unwrap_err().code(), ErrorCode::InvalidKey);
        }
    }

    #[test]
    fn kyber_keys_of_another_type_are_refused() {
        let mut device = Device::new();
        let mut other = device.kyber(9);
        other.public_key.0[0] = 7;
        other.signature = Base64Array(device.identity.sign(other.public_key.as_slice(), &mut device.rng));
        let one_time = other.clone();
        let refusal = device.refusal(|keys| keys.last_resort_kyber_pre_key = Some(other));
        assert_eq!(refusal, refused(ErrorCode::InvalidKey, "last_resort_kyber_pre_key", Some(9)));
        let refusal = device.refusal(|keys| keys.kyber_pre_keys[2] = one_time);
        assert_eq!(refusal, refused(ErrorCode::InvalidKey, "kyber_pre_key", Some(9)));
    }

    #[test]
    fn every_signature_is_verified() {
        use ErrorCode::InvalidSignature;
        let mut device = Device::new();
        let flip = |signature: &mut Base64Array<64>| signature.0[5] ^= 1;
        let refusal = device.refusal(|keys| flip(&mut keys.signed_pre_key.as_mut().unwrap().signature));
        assert_eq!(refusal, refused(InvalidSignature, "signed_pre_key", Some(7)));
        let refusal =
            device.refusal(|keys| flip(&mut keys.last_resort_kyber_pre_key.as_mut().unwrap().signature));
        assert_eq!(refusal, refused(InvalidSignature, "last_resort_kyber_pre_key", Some(8)));
        for position in 0..3 {
            let refusal = device.refusal(|keys| flip(&mut keys.kyber_pre_keys[position].signature));
            assert_eq!(refusal, refused(InvalidSignature, "kyber_pre_key", Some(100 + position as u64)));
        }
        // The signature of another of the same identity's keys.
        let refusal =
            device.refusal(|keys| keys.kyber_pre_keys[0].signature = keys.kyber_pre_keys[1].signature);
        assert_eq!(refusal, refused(InvalidSignature, "kyber_pre_key", Some(100)));
        let keys = device.keys(1);
        let stranger = IdentitySecret::generate(&mut device.rng).public();
        assert_eq!(verify(&stranger, keys).unwrap_err().code(), InvalidSignature);
    }
}
