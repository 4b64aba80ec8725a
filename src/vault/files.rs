//! A file as it is kept, and as participants see it.

use serde_json::json;
use sigilo_seal::sha256;
use sigilo_wire::{
    Base64, Base64Array, ErrorCode, FileId, TenantId, Timestamp,
    vault::{FileStatus, Handling, ScanStatus, ScannerStatement, SignedRelease, StoredFile},
};

use super::{
    objects::Kept,
    store::{self, FileRow, ReleaseRow},
};
use crate::{Error, Result, storage::Tx};

/// How many people it takes to release a file that was found infected.
pub const RELEASERS: usize = 2;

/// A file of a clinic, with what moderators say of its newest finding.
///
/// # Errors
/// `not_found`.
pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, file: FileId) -> Result<File> {
    let row = store::get(tx, tenant, file).await?.ok_or(Error::NotFound)?;
    File::of(tx, row).await
}

/// See [`get`].
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) row: FileRow,
    /// Those that are about the newest finding.
    pub(crate) releases: Vec<ReleaseRow>,
}

impl File {
    pub(super) async fn of(tx: &mut Tx, row: FileRow) -> Result<Self> {
        let newest = row.verdict_statement.as_deref().map(sha256);
        let mut releases = Vec::new();
        if row.scan == ScanStatus::Infected.as_str() {
            releases = store::releases(tx, row.file_id).await?;
            releases.retain(|release| newest.is_some_and(|newest| release.verdict_hash == newest));
        }
        Ok(Self { row, releases })
    }

    /// What the scan says.
    ///
    /// # Errors
    /// For a word this program does not write.
    pub(crate) fn scan(&self) -> Result<ScanStatus> {
        self.row.scan.parse().map_err(Error::Internal)
    }

    /// Where it is in its life.
    ///
    /// # Errors
    /// As [`File::scan`].
    pub(crate) fn status(&self, now: Timestamp) -> Result<FileStatus> {
        let released = self.releases.len() >= RELEASERS;
        Ok(match self.scan()? {
            _ if self.row.destroyed_at.is_some() => FileStatus::Destroyed,
            _ if self.row.expires_at.is_some_and(|ends| ends <= now) => FileStatus::Expired,
            ScanStatus::Infected if !released => FileStatus::Quarantined,
            ScanStatus::Refused => FileStatus::Quarantined,
            _ => FileStatus::Active,
        })
    }

    /// Refuses to give the file out while it is not clean, or its time is over.
    ///
    /// # Errors
    /// `file_not_available` with what the file's status and its scan say.
    pub(crate) fn may_be_given_out(&self, now: Timestamp) -> Result<()> {
        let (status, scan) = (self.status(now)?, self.scan()?);
        let scanned = matches!(scan, ScanStatus::Clean | ScanStatus::Infected);
        if status == FileStatus::Active && scanned && self.row.object.is_some() {
            return Ok(());
        }
        let details = json!({"status": status, "virus_scan": scan});
        Err(Error::conflict(ErrorCode::FileNotAvailable, details))
    }

    /// Where its blob is.
    ///
    /// # Errors
    /// `file_not_available` when it was destroyed.
    pub(crate) fn kept(&self) -> Result<Kept> {
        let gone = || Error::conflict(ErrorCode::FileNotAvailable, json!({"status": FileStatus::Destroyed}));
        let object = self.row.object.clone().ok_or_else(gone)?;
        Ok(Kept { file: self.row.file_id, object, length: self.length()? })
    }

    /// The length of its blob in bytes.
    ///
    /// # Errors
    /// For a length this program does not write.
    pub(crate) fn length(&self) -> Result<u64> {
        u64::try_from(self.row.length).map_err(Error::internal)
    }

    /// As participants see it, without an address of its content.
    ///
    /// # Errors
    /// For values this program does not write.
    pub(crate) fn shown(&self, now: Timestamp) -> Result<StoredFile> {
        let row = &self.row;
        let verdict = match (&row.verdict_statement, &row.verdict_signature) {
            (Some(statement), Some(signature)) => {
                Some(ScannerStatement { statement: Base64(statement.clone()), signature: array(signature)? })
            }
            _ => None,
        };
        let release = |release: &ReleaseRow| {
            let statement = Base64(release.statement.clone());
            Ok(SignedRelease { statement, signature: array(&release.signature)? })
        };
        Ok(StoredFile {
            file_id: row.file_id,
            upload_id: row.upload_id,
            conversation_id: row.conversation_id,
            uploader_id: row.uploader_id,
            mime_type: row.mime_type.clone(),
            length: self.length()?,
            sha256: array(&row.blob_sha256)?,
            commitment: array(&row.commitment)?,
            document_type: row.document_type.parse().map_err(Error::Internal)?,
            related_appointment: row.related_appointment,
            thumbnail_of: row.thumbnail_of,
            handling: handling(row)?,
            status: self.status(now)?,
            virus_scan: self.scan()?,
            rescan_key_needed: row.rescan_key_needed,
            verdict,
            releases: self.releases.iter().map(release).collect::<Result<_>>()?,
            patient_consents: row.consent,
            downloads: u64::try_from(row.downloads).map_err(Error::internal)?,
            content_url: None,
            uploaded_at: row.uploaded_at,
        })
    }
}

/// How a file may be used.
pub(super) fn handling(row: &FileRow) -> Result<Handling> {
    Ok(Handling {
        requires_patient_consent: row.requires_consent,
        watermark_required: row.watermark,
        can_forward: row.can_forward,
        can_print: row.can_print,
        max_downloads: row.max_downloads.map(u32::try_from).transpose().map_err(Error::internal)?,
        expires_at: row.expires_at,
    })
}

fn array<const N: usize>(bytes: &[u8]) -> Result<Base64Array<N>> {
    let array = <[u8; N]>::try_from(bytes);
    array
        .map(Base64Array)
        .map_err(|_| Error::internal(format!("a column holds {} bytes, not {N}", bytes.len())))
}
