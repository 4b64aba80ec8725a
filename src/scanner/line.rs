//! What is said on the socket between the server and a scanner of its own process: the [`Desk`](super::Desk), a request a
//! method, in JSON; blobs come as they are.

use serde::{Deserialize, Serialize};
use sigilo_seal::{FileCommitment, HandOver, KeyId, SignedScanKey, SignedVerdict, VaultFile, xwing::Sealed};
use sigilo_wire::{
    Base64, Base64Array, FileId, TenantId, UploadId,
    vault::{DocumentType, ScannerStatement, SealedScanKey},
};

use super::desk::{EngineState, Job, Outcome};

/// A [`Job`].
#[derive(Serialize, Deserialize)]
pub(super) struct JobLine {
    clinic_id: TenantId,
    file_id: FileId,
    sha256: Base64Array<32>,
    commitment: Base64Array<32>,
    upload_id: UploadId,
    mime_type: String,
    document_type: DocumentType,
    length: u64,
    key: SealedScanKey,
}

/// How a job ended.
#[derive(Serialize, Deserialize)]
pub(super) struct DoneLine {
    pub job: JobLine,
    pub outcome: OutcomeLine,
}

/// An [`Outcome`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutcomeLine {
    Verdict(ScannerStatement),
    KeyLost,
    WrongKey,
    Unavailable,
}

/// What looks into files.
#[derive(Serialize, Deserialize)]
pub(super) struct EngineLine {
    pub state: Option<EngineState>,
}

impl From<&Job> for JobLine {
    fn from(job: &Job) -> Self {
        let VaultFile { tenant, file_id, blob_sha256, commitment } = job.file;
        let HandOver { key_id, sealed } = &job.handed;
        Self {
            clinic_id: tenant,
            file_id,
            sha256: Base64Array(blob_sha256),
            commitment: Base64Array(commitment.0),
            upload_id: job.upload_id,
            mime_type: job.mime_type.clone(),
            document_type: job.document_type,
            length: job.length,
            key: SealedScanKey {
                key_id: Base64Array(key_id.0),
                encapsulation: Base64(sealed.enc.clone()),
                // A key and its tag; another length is nobody's key, here as there.
                ciphertext: Base64Array(sealed.ct.as_slice().try_into().unwrap_or([0; 48])),
            },
        }
    }
}

impl From<JobLine> for Job {
    fn from(line: JobLine) -> Self {
        let file = VaultFile {
            tenant: line.clinic_id,
            file_id: line.file_id,
            blob_sha256: line.sha256.0,
            commitment: FileCommitment(line.commitment.0),
        };
        let sealed = Sealed { enc: line.key.encapsulation.0, ct: line.key.ciphertext.0.to_vec() };
        Self {
            file,
            upload_id: line.upload_id,
            mime_type: line.mime_type,
            document_type: line.document_type,
            length: line.length,
            handed: HandOver { key_id: KeyId(line.key.key_id.0), sealed },
        }
    }
}

impl From<Outcome> for OutcomeLine {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Verdict(SignedVerdict { statement, signature }) => Self::Verdict(ScannerStatement {
                statement: Base64(statement),
                signature: Base64Array(signature),
            }),
            Outcome::KeyLost => Self::KeyLost,
            Outcome::WrongKey => Self::WrongKey,
            Outcome::Unavailable => Self::Unavailable,
        }
    }
}

impl From<OutcomeLine> for Outcome {
    fn from(line: OutcomeLine) -> Self {
        match line {
            OutcomeLine::Verdict(said) => {
                Self::Verdict(SignedVerdict { statement: said.statement.0, signature: said.signature.0 })
            }
            OutcomeLine::KeyLost => Self::KeyLost,
            OutcomeLine::WrongKey => Self::WrongKey,
            OutcomeLine::Unavailable => Self::Unavailable,
        }
    }
}

pub(super) fn statement(key: SignedScanKey) -> ScannerStatement {
    ScannerStatement { statement: Base64(key.statement), signature: Base64Array(key.signature) }
}

pub(super) fn signed(said: ScannerStatement) -> SignedScanKey {
    SignedScanKey { statement: said.statement.0, signature: said.signature.0 }
}
