//! What the worker asks of the vault, and what it says. Everything else of the server is out of its sight.

use futures_util::future::BoxFuture;
use sigilo_seal::{HandOver, ScanKey, ScanSubject, SignedScanKey, SignedVerdict, VaultFile};
use sigilo_wire::{UploadId, vault::DocumentType};
use tokio::io::AsyncRead;

use crate::Result;

/// One file to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which file, and which bytes.
    pub file: VaultFile,
    /// The upload it came by: the key was handed over for this one.
    pub upload_id: UploadId,
    /// What it is said to be.
    pub mime_type: String,
    /// What kind of document it is said to be.
    pub document_type: DocumentType,
    /// The length of the encrypted blob in bytes.
    pub length: u64,
    /// The file's key, sealed to a scan key.
    pub handed: HandOver,
}

impl Job {
    /// What the file's key was handed over for.
    #[must_use]
    pub const fn subject(&self) -> ScanSubject {
        ScanSubject {
            tenant: self.file.tenant,
            upload_id: self.upload_id,
            blob_sha256: self.file.blob_sha256,
            commitment: self.file.commitment,
        }
    }
}

/// How one job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The worker's word on the file.
    Verdict(SignedVerdict),
    /// The scan key that the file's key was handed over to is gone, or it was handed over for something else: whoever
    /// handed it over is asked again.
    KeyLost,
    /// The blob is not bound to the key that was handed over: whoever handed it over is asked again.
    WrongKey,
    /// The engine, or the blob, is out of reach: the file waits, with its key.
    Unavailable,
}

/// What looks into files, as operators are shown it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EngineState {
    /// The engine with its version.
    pub engine: String,
    /// The version of its database; empty when it has none of the maker's.
    pub database: String,
    /// Whether it knows the maker's signatures. Without them it finds next to nothing: development alone.
    pub official: bool,
}

/// The encrypted blob of a file, from its beginning.
pub type Blob = Box<dyn AsyncRead + Send + Unpin>;

/// The vault, as the worker sees it. An error of any method means that the vault is away: the worker tries again
/// later, and what it had in hand goes to whoever asks next, when its lease ends.
pub trait Desk: Send + Sync {
    /// Makes known a scan key that the scanner key signed. `of` is what is signed. Publishing it anew changes nothing.
    fn publish<'a>(&'a self, key: SignedScanKey, of: &'a ScanKey) -> BoxFuture<'a, Result<()>>;

    /// The next file that waits and has a key handed over. It waits some seconds for one; then there is none. The
    /// job is leased to the caller: when nothing is said of it in time, somebody gets it anew.
    fn next(&self) -> BoxFuture<'_, Result<Option<Job>>>;

    /// The encrypted blob of the job's file.
    fn blob<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Blob>>;

    /// Says how the job ended.
    fn done<'a>(&'a self, job: &'a Job, outcome: Outcome) -> BoxFuture<'a, Result<()>>;

    /// Says what looks into files; nothing when the engine does not answer. Said at the start, and whenever it changes.
    fn engine(&self, state: Option<EngineState>) -> BoxFuture<'_, Result<()>>;
}
