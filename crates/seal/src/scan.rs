//! Handing a file's key to the scan worker, and to nobody else.
//!
//! ```text
//! scan key   statement "sigilo/v1/scan-key" || lp(tenant) || i64be(not_before) || i64be(not_after) || lp(public_key)
//!            signature Ed25519 by the clinic's scanner key over the statement
//!            key_id    first 16 bytes of SHA-256(statement)
//! hand-over  HPKE base mode (X-Wing, HKDF-SHA256, AES-256-GCM), info "sigilo/v1/scan",
//!            aad lp(tenant) || lp(upload_id) || lp(blob_sha256) || lp(kc), plaintext FK
//! ```
//! The worker makes a new scan key every hour and keeps it in memory only: what was handed over to a key that is gone
//! opens for nobody. A statement that is valid for longer than two hours is none.
//!
//! # What it does not protect from
//! Whoever has the scanner key can sign a scan key of their own. A worker that is broken into while it scans has the
//! keys of the files it is scanning.

use std::time::Duration;

use rand_core::CryptoRng;
use sigilo_wire::{TenantId, Timestamp, UploadId};

use crate::{
    bytes::{FileCommitment, KeyId},
    ed25519::Ed25519Secret,
    encode::{DecodeError, Reader, Writer},
    identity::KeyError,
    primitives::sha256_16,
    root::{KeyNeed, KeyPurpose, RootError, RootStatement},
    secret::FileKey,
    xwing::{OpeningFailed, Sealed, SealingFailed, XWingPublic, XWingSecret},
};

const LABEL: &str = "sigilo/v1/scan-key";
const INFO: &[u8] = b"sigilo/v1/scan";

/// The longest time a scan key may be used: the hour after which the next one is made, and time for what is under way.
pub const MAX_LIFETIME: Duration = Duration::from_hours(2);

/// A key to which files' keys are handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanKey {
    /// The clinic.
    pub tenant: TenantId,
    /// The first instant the key may be used.
    pub not_before: Timestamp,
    /// The instant from which the key may not be used any more.
    pub not_after: Timestamp,
    /// The key.
    pub public_key: XWingPublic,
}

/// A statement as it is sent: its bytes and the scanner key's signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedScanKey {
    /// The statement's bytes.
    pub statement: Vec<u8>,
    /// Ed25519, by the clinic's scanner key.
    pub signature: [u8; 64],
}

/// Why nothing is handed over to a scan key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanKeyError {
    /// The scanner key may not be used: another purpose, another clinic, or its time is over.
    #[error("the clinic's scanner key may not be used: {0}")]
    Scanner(#[from] RootError),
    /// The scanner key is none.
    #[error("the clinic's scanner key is not valid: {0}")]
    Key(#[from] KeyError),
    /// The scanner key did not sign it.
    #[error("the clinic's scanner key did not sign this scan key")]
    Signature,
    /// It is not a well-formed statement.
    #[error("not a scan key: {0}")]
    Malformed(#[from] DecodeError),
    /// It is another clinic's.
    #[error("the scan key is another clinic's")]
    Tenant,
    /// Its time has not come.
    #[error("the scan key is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("the scan key has expired")]
    Expired,
}

impl ScanKey {
    /// The bytes that are signed and hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        writer.lp(self.tenant.as_bytes()).time(self.not_before).time(self.not_after);
        writer.lp(self.public_key.as_bytes());
        writer.finish()
    }

    /// Reads the bytes of a statement, without any signature.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Self::encode`] would not write, a key that is none, or a time of validity that
    /// is empty or longer than [`MAX_LIFETIME`].
    pub fn decode(statement: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let tenant = TenantId::from_bytes(reader.lp_array("tenant")?);
        let (not_before, not_after) = (reader.time()?, reader.time()?);
        let public_key = XWingPublic::parse(reader.lp()?).map_err(|_| DecodeError::Value("public_key"))?;
        reader.finish()?;
        let lifetime = not_after.since(not_before);
        if lifetime.is_zero() || lifetime > MAX_LIFETIME {
            return Err(DecodeError::Value("not_after"));
        }
        Ok(Self { tenant, not_before, not_after, public_key })
    }

    /// The key's name: the first 16 bytes of SHA-256 of the statement.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(sha256_16(&self.encode()))
    }

    /// Signs the statement with the clinic's scanner key.
    #[must_use]
    pub fn sign(&self, scanner: &Ed25519Secret) -> SignedScanKey {
        let statement = self.encode();
        let signature = scanner.sign(&statement);
        SignedScanKey { statement, signature }
    }
}

impl SignedScanKey {
    /// The scan key, if it may be used at `now` in the clinic of `scanner`, the root statement of the scanner key,
    /// which the caller has verified.
    ///
    /// # Errors
    /// Every [`ScanKeyError`].
    pub fn verify(&self, scanner: &RootStatement, now: Timestamp) -> Result<ScanKey, ScanKeyError> {
        check_scanner(scanner, now)?;
        if !scanner.ed25519_key()?.verify(&self.statement, &self.signature) {
            return Err(ScanKeyError::Signature);
        }
        let key = ScanKey::decode(&self.statement)?;
        if key.tenant != scanner.tenant {
            return Err(ScanKeyError::Tenant);
        }
        if now < key.not_before {
            return Err(ScanKeyError::NotYetValid);
        }
        if now >= key.not_after {
            return Err(ScanKeyError::Expired);
        }
        Ok(key)
    }
}

/// Whether this root statement is of a scanner key that was in force at `at`. A later epoch changes nothing: what was
/// signed in its time stays signed.
pub(crate) fn check_scanner(scanner: &RootStatement, at: Timestamp) -> Result<(), RootError> {
    let need =
        KeyNeed { tenant: scanner.tenant, purpose: KeyPurpose::Scanner, now: at, least_epoch: scanner.epoch };
    scanner.check(&need)
}

/// What a file's key is handed over for: this blob, come by this upload, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanSubject {
    /// The clinic.
    pub tenant: TenantId,
    /// The upload.
    pub upload_id: UploadId,
    /// SHA-256 of the whole blob.
    pub blob_sha256: [u8; 32],
    /// `kc` of the blob.
    pub commitment: FileCommitment,
}

/// A file's key, sealed to a scan key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// The scan key's name.
    pub key_id: KeyId,
    /// The encapsulation, 1,120 bytes, and the ciphertext, 48 bytes.
    pub sealed: Sealed,
}

impl ScanSubject {
    /// `aad`.
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.lp(self.tenant.as_bytes()).lp(self.upload_id.as_bytes());
        writer.lp(&self.blob_sha256).lp(self.commitment.as_bytes());
        writer.finish()
    }

    /// Hands the file's key over to a scan key that was verified.
    ///
    /// # Errors
    /// [`SealingFailed`] when the key cannot be encapsulated to.
    pub fn hand_over<R: CryptoRng + ?Sized>(
        &self,
        file: &FileKey,
        key: &ScanKey,
        rng: &mut R,
    ) -> Result<HandOver, SealingFailed> {
        let sealed = key.public_key.seal_fresh(rng, INFO, &self.aad(), file.as_bytes())?;
        Ok(HandOver { key_id: key.key_id(), sealed })
    }

    /// The file's key, as the worker takes it. It opens the blob or it does not: [`FileOpener`](crate::FileOpener)
    /// says so before it decrypts, and the worker compares the blob's hash.
    ///
    /// # Errors
    /// [`OpeningFailed`] when it was handed over to another key or for something else, or is no key.
    pub fn take(&self, handed: &HandOver, secret: &XWingSecret) -> Result<FileKey, OpeningFailed> {
        let opened = secret.open(&handed.sealed, INFO, &self.aad())?;
        FileKey::try_from(opened.as_slice()).map_err(|_| OpeningFailed)
    }
}

#[cfg(test)]
mod tests;
