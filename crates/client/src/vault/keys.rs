//! Handing files' keys to the scan worker, and to nobody who only says so.

use sigilo_seal::{FileCommitment, FileKey, KeyPurpose, RootStatement, ScanKey, ScanSubject, SignedScanKey};
use sigilo_wire::{Base64, Base64Array, ErrorCode, FileId, UploadId, vault::SealedScanKey};

use super::records::{OwnFile, Part};
use crate::{
    Error, Result,
    engine::Engine,
    profile::records::{ClinicKey, ClinicRecord},
};

/// The names a file's key is handed over with.
pub(super) struct Subject {
    pub(super) upload_id: UploadId,
    pub(super) sha256: [u8; 32],
    pub(super) commitment: [u8; 32],
}

impl Engine {
    /// The key of a file that is on its way, for the scan worker; `None` while the worker is away: the server asks then.
    pub(super) async fn scan_key_of(&self, part: &Part) -> Result<Option<SealedScanKey>> {
        let subject =
            Subject { upload_id: part.upload_id, sha256: part.sha256.0, commitment: part.commitment.0 };
        match self.key_for_scan(&part.file_key()?, &subject).await {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) if error.code() == Some(ErrorCode::Unavailable) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A file's key, sealed to the scan key in force.
    pub(super) async fn key_for_scan(&self, key: &FileKey, subject: &Subject) -> Result<SealedScanKey> {
        let scan_key = self.scan_key().await?;
        let subject = ScanSubject {
            tenant: self.account()?.tenant,
            upload_id: subject.upload_id,
            blob_sha256: subject.sha256,
            commitment: FileCommitment(subject.commitment),
        };
        let handed = subject.hand_over(key, &scan_key, &mut self.env.rng()).map_err(Error::internal)?;
        let ciphertext = <[u8; 48]>::try_from(handed.sealed.ct.as_slice()).map_err(Error::internal)?;
        Ok(SealedScanKey {
            key_id: Base64Array(handed.key_id.0),
            encapsulation: Base64(handed.sealed.enc),
            ciphertext: Base64Array(ciphertext),
        })
    }

    /// The scan key in force, which the clinic's scanner key signed.
    async fn scan_key(&self) -> Result<ScanKey> {
        let offered = self.api.scan_key().await?;
        let signed = SignedScanKey { statement: offered.statement.to_vec(), signature: offered.signature.0 };
        let clinic = self.clinic().await?;
        match self.verified(&signed, &clinic) {
            // The clinic may have another scanner key since.
            Err(_) => self.verified(&signed, &self.refresh_clinic().await?),
            verified => verified,
        }
    }

    pub(super) fn verified(&self, signed: &SignedScanKey, clinic: &ClinicRecord) -> Result<ScanKey> {
        let refused = |problem: &dyn std::fmt::Display| Error::ScanKey(problem.to_string());
        let statement = clinic.statements.get(&KeyPurpose::Scanner);
        let statement = statement.ok_or_else(|| refused(&"the clinic has no scanner key in force"))?;
        let scanner = RootStatement::decode(&statement.statement).map_err(|error| refused(&error))?;
        signed.verify(&scanner, self.env.now()).map_err(|error| refused(&error))
    }

    /// Every scanner key of the clinic that its root vouched for, the newest epoch first: verdicts outlive their keys.
    pub(super) async fn scanner_keys(&self) -> Result<Vec<RootStatement>> {
        let keys: Vec<ClinicKey> = self.profile.all(b"").await?;
        let decoded = keys.iter().filter_map(|key| RootStatement::decode(&key.statement.statement).ok());
        let mut scanners: Vec<_> = decoded.filter(|key| key.purpose == KeyPurpose::Scanner).collect();
        scanners.sort_by_key(|key| std::cmp::Reverse(key.epoch));
        Ok(scanners)
    }

    /// The scanner has lost a file's key: notes it, and hands it over anew.
    pub(crate) async fn key_needed(&self, file: FileId) -> Result<()> {
        let own: Option<OwnFile> = self.profile.get(file.as_bytes()).await?;
        // Another device of the user, or an older copy of this profile, may have brought it.
        let Some(mut own) = own else { return Ok(()) };
        own.key_needed = true;
        self.profile.put(&own).await?;
        self.upkeep_soon();
        Ok(())
    }

    /// Hands over the keys that the scanner waits for.
    pub(crate) async fn hand_over_keys(&self) -> Result<()> {
        for mut own in self.profile.all::<OwnFile>(b"").await? {
            if !own.key_needed {
                continue;
            }
            match self.hand_over_own(&own).await {
                Ok(()) => {}
                Err(error) if error.is_for_later() => {
                    self.upkeep_in(self.env.jitter(super::upload::RETRY_MOST));
                    continue;
                }
                // It was scanned meanwhile, or is gone.
                Err(Error::Server { status: 404 | 409 | 410, .. }) => {}
                Err(error) => return Err(error),
            }
            own.key_needed = false;
            self.profile.put(&own).await?;
        }
        Ok(())
    }

    async fn hand_over_own(&self, own: &OwnFile) -> Result<()> {
        let subject =
            Subject { upload_id: own.upload_id, sha256: own.sha256.0, commitment: own.commitment.0 };
        let sealed = self.key_for_scan(&FileKey::from_bytes(own.key.key()?), &subject).await?;
        self.api.hand_over(own.file_id, &sealed).await
    }

    /// Hands a file's key over once more, for another scan.
    pub(crate) async fn rescan_file(&self, file: FileId) -> Result<()> {
        let brought = self.brought(file).await?;
        let stored = self.stored(&brought).await?;
        let subject =
            Subject { upload_id: stored.upload_id, sha256: brought.sha256, commitment: stored.commitment.0 };
        let sealed = self.key_for_scan(&brought.key, &subject).await?;
        self.api.rescan(file, &sealed).await
    }
}
