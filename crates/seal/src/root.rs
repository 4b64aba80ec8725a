//! Root statements: what the clinic's offline root says about the clinic's other keys.
//!
//! ```text
//! statement  "sigilo/v1/root-statement" || lp(tenant) || lp(purpose) || u32be(epoch)
//!            || i64be(not_before) || i64be(not_after) || lp(public_key)
//! signature  Ed25519 (RFC 8032) by the clinic root over the statement
//! key_id     first 16 bytes of SHA-256(statement)
//! pin        SHA-256(root public key): on the root card and in every invitation
//! ```

use serde::{Deserialize, Serialize};
use sigilo_wire::{TenantId, Timestamp};

use crate::{
    bytes::KeyId,
    ed25519::{Ed25519Public, Ed25519Secret},
    encode::{DecodeError, Reader, Writer},
    identity::KeyError,
    primitives::{sha256, sha256_16},
    xwing::XWingPublic,
};

const LABEL: &str = "sigilo/v1/root-statement";

/// What a key of the clinic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// X-Wing: the officers read records with it.
    Records,
    /// X-Wing: moderators read abuse reports with it.
    Moderation,
    /// Ed25519: the server signs checkpoints of the ledger.
    Ledger,
    /// Ed25519: the server signs receipts of messages.
    Receipt,
    /// Ed25519: the scan worker signs verdicts on files.
    Scanner,
    /// Ed25519: the server signs exports.
    Export,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [Self; 6] =
        [Self::Records, Self::Moderation, Self::Ledger, Self::Receipt, Self::Scanner, Self::Export];

    /// Its name in statements and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Moderation => "moderation",
            Self::Ledger => "ledger",
            Self::Receipt => "receipt",
            Self::Scanner => "scanner",
            Self::Export => "export",
        }
    }

    /// Whether keys of this purpose are sealed to (X-Wing) rather than signed with (Ed25519).
    #[must_use]
    pub const fn is_sealed_to(self) -> bool {
        matches!(self, Self::Records | Self::Moderation)
    }
}

impl std::fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for KeyPurpose {
    type Err = DecodeError;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name).ok_or(DecodeError::Value("purpose"))
    }
}

/// The root's word on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootStatement {
    /// The clinic.
    pub tenant: TenantId,
    /// What the key is for.
    pub purpose: KeyPurpose,
    /// Rises with every new key of the purpose; clients never go back.
    pub epoch: u32,
    /// The first instant the key may be used.
    pub not_before: Timestamp,
    /// The instant from which the key may not be used any more.
    pub not_after: Timestamp,
    /// X-Wing (1,216 bytes) or Ed25519 (32 bytes), by the purpose.
    pub public_key: Vec<u8>,
}

/// Why a root statement is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// The pinned root did not sign it.
    #[error("the clinic's root key did not sign this statement")]
    Signature,
    /// It is not a well-formed statement.
    #[error("not a root statement: {0}")]
    Malformed(#[from] DecodeError),
    /// Its key is not one of its purpose.
    #[error("the statement's key is not valid: {0}")]
    Key(#[from] KeyError),
    /// It is another clinic's.
    #[error("the statement is another clinic's")]
    Tenant,
    /// Its key is for something else.
    #[error("the key is for {actual}, not for {expected}")]
    Purpose {
        /// What was needed.
        expected: KeyPurpose,
        /// What the statement says.
        actual: KeyPurpose,
    },
    /// A newer key of this purpose was seen before.
    #[error("epoch {actual} is older than {least}, which was seen before")]
    Epoch {
        /// The highest epoch seen.
        least: u32,
        /// What the statement says.
        actual: u32,
    },
    /// Its time has not come.
    #[error("the key is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("the key has expired")]
    Expired,
}

impl RootStatement {
    /// The bytes that are signed and hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        writer.lp(self.tenant.as_bytes()).lp(self.purpose.as_str().as_bytes()).u32be(self.epoch);
        writer.time(self.not_before).time(self.not_after).lp(&self.public_key);
        writer.finish()
    }

    /// Reads the bytes of a statement, without any signature.
    ///
    /// # Errors
    /// [`RootError::Malformed`] for anything [`Self::encode`] would not write, [`RootError::Key`] when the key
    /// is not one of its purpose.
    pub fn decode(statement: &[u8]) -> Result<Self, RootError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let tenant = TenantId::from_bytes(reader.lp_array("tenant")?);
        let purpose = reader.text("purpose")?.parse()?;
        let epoch = reader.u32be()?;
        let (not_before, not_after) = (reader.time()?, reader.time()?);
        let public_key = reader.lp()?.to_vec();
        reader.finish()?;
        if not_before >= not_after {
            return Err(DecodeError::Value("not_after").into());
        }
        let decoded = Self { tenant, purpose, epoch, not_before, not_after, public_key };
        decoded.check_key()?;
        Ok(decoded)
    }

    /// The key's name: the first 16 bytes of SHA-256 of the statement.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(sha256_16(&self.encode()))
    }

    /// The key of a records or moderation statement.
    ///
    /// # Errors
    /// [`KeyError`] when the purpose is another, or the key is not valid.
    pub fn xwing_key(&self) -> Result<XWingPublic, KeyError> {
        XWingPublic::parse(&self.public_key)
    }

    /// The key of a ledger, receipt, scanner or export statement.
    ///
    /// # Errors
    /// [`KeyError`] when the purpose is another, or the key is not valid.
    pub fn ed25519_key(&self) -> Result<Ed25519Public, KeyError> {
        Ed25519Public::parse(&self.public_key)
    }

    /// Signs the statement with the clinic root.
    #[must_use]
    pub fn sign(&self, root: &Ed25519Secret) -> SignedRootStatement {
        let statement = self.encode();
        let signature = root.sign(&statement);
        SignedRootStatement { statement, signature }
    }

    /// Whether the key may be used at `now` by someone who has seen `least_epoch`.
    ///
    /// # Errors
    /// [`RootError::Tenant`], [`RootError::Purpose`], [`RootError::Epoch`], [`RootError::NotYetValid`],
    /// [`RootError::Expired`].
    pub fn check(&self, need: &KeyNeed) -> Result<(), RootError> {
        if self.tenant != need.tenant {
            return Err(RootError::Tenant);
        }
        if self.purpose != need.purpose {
            return Err(RootError::Purpose { expected: need.purpose, actual: self.purpose });
        }
        if self.epoch < need.least_epoch {
            return Err(RootError::Epoch { least: need.least_epoch, actual: self.epoch });
        }
        if need.now < self.not_before {
            return Err(RootError::NotYetValid);
        }
        if need.now >= self.not_after {
            return Err(RootError::Expired);
        }
        Ok(())
    }

    fn check_key(&self) -> Result<(), KeyError> {
        if self.purpose.is_sealed_to() {
            self.xwing_key().map(|_| ())
        } else {
            self.ed25519_key().map(|_| ())
        }
    }
}

/// What a client needs a key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyNeed {
    /// The client's clinic.
    pub tenant: TenantId,
    /// What the key is for.
    pub purpose: KeyPurpose,
    /// The time of use.
    pub now: Timestamp,
    /// The highest epoch of this purpose seen so far, 0 at first.
    pub least_epoch: u32,
}

/// A statement as it is stored and sent: its bytes and the root's signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRootStatement {
    /// The statement's bytes.
    pub statement: Vec<u8>,
    /// Ed25519, by the clinic root.
    pub signature: [u8; 64],
}

impl SignedRootStatement {
    /// The statement, if the root signed it. Says nothing about whether it may be used now.
    ///
    /// # Errors
    /// [`RootError::Signature`], [`RootError::Malformed`], [`RootError::Key`].
    pub fn verify_signature(&self, root: &Ed25519Public) -> Result<RootStatement, RootError> {
        if !root.verify(&self.statement, &self.signature) {
            return Err(RootError::Signature);
        }
        RootStatement::decode(&self.statement)
    }

    /// The statement, if the root signed it and its key may be used for what is needed.
    ///
    /// # Errors
    /// Every [`RootError`].
    pub fn verify(&self, root: &Ed25519Public, need: &KeyNeed) -> Result<RootStatement, RootError> {
        let statement = self.verify_signature(root)?;
        statement.check(need)?;
        Ok(statement)
    }

    /// The key's name: the first 16 bytes of SHA-256 of the statement.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(sha256_16(&self.statement))
    }
}

/// SHA-256 of the root public key: what a client pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootFingerprint(pub [u8; 32]);

impl RootFingerprint {
    /// The fingerprint of a root.
    #[must_use]
    pub fn of(root: &Ed25519Public) -> Self {
        Self(sha256(&root.to_bytes()))
    }

    /// The root public key the server handed out, if it is the pinned one.
    ///
    /// # Errors
    /// [`RootError::Signature`] when it is another key, [`RootError::Key`] when it is none.
    pub fn admit(&self, root: &[u8]) -> Result<Ed25519Public, RootError> {
        let root = Ed25519Public::parse(root)?;
        if Self::of(&root) == *self { Ok(root) } else { Err(RootError::Signature) }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::test_rng, xwing::XWingSecret};

    const TENANT: TenantId = TenantId::from_bytes([1; 16]);

    fn statement(purpose: KeyPurpose) -> RootStatement {
        let public_key = if purpose.is_sealed_to() {
            XWingSecret::from_seed([2; 32]).public().as_bytes().to_vec()
        } else {
            Ed25519Secret::from_seed([3; 32]).public().to_bytes().to_vec()
        };
        RootStatement {
            tenant: TENANT,
            purpose,
            epoch: 4,
            not_before: Timestamp::from_micros(1_000),
            not_after: Timestamp::from_micros(2_000),
            public_key,
        }
    }

    const fn need(purpose: KeyPurpose) -> KeyNeed {
        KeyNeed { tenant: TENANT, purpose, now: Timestamp::from_micros(1_500), least_epoch: 4 }
    }

    #[test]
    fn a_statement_of_the_pinned_root_is_accepted() {
        let root = Ed25519Secret::generate(&mut test_rng(10));
        let pin = RootFingerprint::of(&root.public());
        let public = pin.admit(&root.public().to_bytes()).unwrap();
        for purpose in KeyPurpose::ALL {
            let signed = statement(purpose).sign(&root);
            assert_eq!(signed.verify(&public, &need(purpose)).unwrap(), statement(purpose));
            assert_eq!(signed.key_id(), statement(purpose).key_id());
        }
        assert_eq!(
            pin.admit(&Ed25519Secret::from_seed([9; 32]).public().to_bytes()),
            Err(RootError::Signature)
        );
    }

    #[test]
    fn what_is_needed_otherwise_is_refused() {
        let root = Ed25519Secret::generate(&mut test_rng(11));
        let signed = statement(KeyPurpose::Receipt).sign(&root);
        let refusal = |change: fn(&mut KeyNeed)| {
            let mut need = need(KeyPurpose::Receipt);
            change(&mut need);
            signed.verify(&root.public(), &need).unwrap_err()
        };
        assert_eq!(refusal(|n| n.tenant = TenantId::from_bytes([2; 16])), RootError::Tenant);
        assert_eq!(
            refusal(|n| n.purpose = KeyPurpose::Ledger),
            RootError::Purpose { expected: KeyPurpose::Ledger, actual: KeyPurpose::Receipt }
        );
        assert_eq!(refusal(|n| n.least_epoch = 5), RootError::Epoch { least: 5, actual: 4 });
        assert_eq!(refusal(|n| n.now = Timestamp::from_micros(999)), RootError::NotYetValid);
        assert_eq!(refusal(|n| n.now = Timestamp::from_micros(2_000)), RootError::Expired);
        let other = Ed25519Secret::generate(&mut test_rng(12)).public();
        assert_eq!(signed.verify(&other, &need(KeyPurpose::Receipt)), Err(RootError::Signature));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let root = Ed25519Secret::generate(&mut test_rng(13));
        let signed = statement(KeyPurpose::Scanner).sign(&root);
        for byte in 0..signed.statement.len() {
            let mut flipped = signed.clone();
            flipped.statement[byte] ^= 1;
            assert_eq!(flipped.verify_signature(&root.public()), Err(RootError::Signature), "byte {byte}");
        }
    }

    #[test]
    fn a_statement_that_is_not_well_formed_is_refused_even_when_signed() {
        let root = Ed25519Secret::generate(&mut test_rng(14));
        let refusal = |bytes: Vec<u8>| {
            let signature = root.sign(&bytes);
            SignedRootStatement { statement: bytes, signature }.verify_signature(&root.public()).unwrap_err()
        };
        let good = statement(KeyPurpose::Export).encode();
        let mut trailing = good.clone();
        trailing.push(0);
        assert_eq!(refusal(trailing), RootError::Malformed(DecodeError::Trailing));
        assert_eq!(refusal(good[..good.len() - 1].to_vec()), RootError::Malformed(DecodeError::Truncated));
        assert_eq!(refusal(b"sigilo/v1/other".to_vec()), RootError::Malformed(DecodeError::Label(LABEL)));
        let mut empty = statement(KeyPurpose::Export);
        empty.not_after = empty.not_before;
        assert_eq!(refusal(empty.encode()), RootError::Malformed(DecodeError::Value("not_after")));
        let mut wrong_kind = statement(KeyPurpose::Records);
        wrong_kind.public_key = statement(KeyPurpose::Export).public_key;
        assert_eq!(
            refusal(wrong_kind.encode()),
            RootError::Key(KeyError::Length { expected: 1_216, actual: 32 })
        );
    }
}
