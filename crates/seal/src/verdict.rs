//! What the scan worker found in a file. Nobody opens a file without its verdict, and the newest one counts.
//!
//! ```text
//! statement  "sigilo/v1/verdict" || lp(tenant) || lp(file_id) || lp(blob_sha256) || lp(kc) || lp(engine) || lp(database)
//!            || i64be(scanned_at) || lp(result) || lp(detail)
//! signature  Ed25519 by the clinic's scanner key over the statement
//! result     clean      detail: absent
//!            infected   detail: the name the engine gives to what it found
//!            refused    detail: type, encrypted_archive, limits or unreadable
//! ```
//! A file that was found infected after it was given out has a newer verdict: that is its recall. What two people say
//! of a false positive is a [release](crate::release).
//!
//! # What it does not protect from
//! A server that withholds a newer verdict: whoever has not seen it takes the older one for the newest. A verdict is
//! as good as the engine and its database, which it names.

use std::time::Duration;

use sigilo_wire::{FileId, TenantId, Timestamp};

use crate::{
    bytes::FileCommitment,
    ed25519::Ed25519Secret,
    encode::{DecodeError, Reader, Writer},
    identity::KeyError,
    primitives::sha256,
    root::{RootError, RootStatement},
    scan::check_scanner,
};

const LABEL: &str = "sigilo/v1/verdict";
/// The longest name of an engine, a database or a finding in bytes.
pub const MAX_WORD_LENGTH: usize = 200;
/// How far ahead of the reader's clock a verdict's time may be: one of a far future would count over every recall.
pub const MAX_AHEAD: Duration = Duration::from_mins(10);

/// A file of the vault: its name, and the bytes that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultFile {
    /// The clinic.
    pub tenant: TenantId,
    /// The file.
    pub file_id: FileId,
    /// SHA-256 of the whole blob.
    pub blob_sha256: [u8; 32],
    /// `kc` of the blob.
    pub commitment: FileCommitment,
}

impl VaultFile {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.lp(self.tenant.as_bytes()).lp(self.file_id.as_bytes());
        writer.lp(&self.blob_sha256).lp(self.commitment.as_bytes());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tenant: TenantId::from_bytes(reader.lp_array("tenant")?),
            file_id: FileId::from_bytes(reader.lp_array("file_id")?),
            blob_sha256: reader.lp_array("blob_sha256")?,
            commitment: FileCommitment(reader.lp_array("commitment")?),
        })
    }
}

/// Why a file that is not infected is not given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not of a type the clinic takes, or not of the one it is said to be.
    Type,
    /// The engine cannot look into it.
    EncryptedArchive,
    /// It is larger, or nested deeper, than the engine looks.
    Limits,
    /// The blob does not open to its end with the key it is bound to. (Another key that is handed over gives no
    /// verdict: whoever did it is asked again.)
    Unreadable,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 4] = [Self::Type, Self::EncryptedArchive, Self::Limits, Self::Unreadable];

    /// Its name in statements.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::EncryptedArchive => "encrypted_archive",
            Self::Limits => "limits",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What was found. In ascending order of how bad it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanResult {
    /// Nothing.
    Clean,
    /// The file is not one to be given out.
    Refused(Refusal),
    /// What the engine calls by this name.
    Infected(String),
}

impl ScanResult {
    /// Its name in statements.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Refused(_) => "refused",
            Self::Infected(_) => "infected",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Clean => "",
            Self::Refused(refusal) => refusal.as_str(),
            Self::Infected(name) => name,
        }
    }

    const fn badness(&self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Refused(_) => 1,
            Self::Infected(_) => 2,
        }
    }

    fn read(result: &str, detail: String) -> Result<Self, DecodeError> {
        match (result, detail.as_str()) {
            ("clean", "") => Ok(Self::Clean),
            ("infected", _) if !detail.is_empty() => Ok(Self::Infected(detail)),
            ("refused", name) => {
                let known = Refusal::ALL.into_iter().find(|refusal| refusal.as_str() == name);
                known.map(Self::Refused).ok_or(DecodeError::Value("detail"))
            }
            ("clean" | "infected", _) => Err(DecodeError::Value("detail")),
            _ => Err(DecodeError::Value("result")),
        }
    }
}

/// The scan worker's word on one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which file.
    pub file: VaultFile,
    /// What looked into it, with its version.
    pub engine: String,
    /// The version of the engine's database; empty when it has none, as one for development.
    pub database: String,
    /// When.
    pub scanned_at: Timestamp,
    /// What was found.
    pub result: ScanResult,
}

/// A verdict as it is stored and sent: its bytes and the scanner key's signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVerdict {
    /// The statement's bytes.
    pub statement: Vec<u8>,
    /// Ed25519, by the clinic's scanner key.
    pub signature: [u8; 64],
}

/// Why a verdict does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerdictError {
    /// It is not a well-formed verdict.
    #[error("not a verdict: {0}")]
    Malformed(#[from] DecodeError),
    /// The scanner key was not in force, or is none of the clinic's scanner.
    #[error("the clinic's scanner key did not count at the time of the verdict: {0}")]
    Scanner(#[from] RootError),
    /// The scanner key is none.
    #[error("the clinic's scanner key is not valid: {0}")]
    Key(#[from] KeyError),
    /// The scanner key did not sign it.
    #[error("the clinic's scanner key did not sign this verdict")]
    Signature,
    /// It is about another file, or other bytes under the file's name.
    #[error("the verdict is about another file")]
    OtherFile,
    /// Its time has not come.
    #[error("the verdict is of a time to come")]
    Future,
}

impl Verdict {
    /// The bytes that are signed and hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        self.file.write(&mut writer);
        writer.lp(self.engine.as_bytes()).lp(self.database.as_bytes()).time(self.scanned_at);
        writer.lp(self.result.as_str().as_bytes()).lp(self.result.detail().as_bytes());
        writer.finish()
    }

    /// Reads the bytes of a verdict, without any signature.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Self::encode`] would not write, and for words that are no words: longer than
    /// [`MAX_WORD_LENGTH`], or with characters that do not show.
    pub fn decode(statement: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let file = VaultFile::read(&mut reader)?;
        let engine = word(&mut reader, "engine")?;
        let database = word(&mut reader, "database")?;
        let scanned_at = reader.time()?;
        let result = word(&mut reader, "result")?;
        let result = ScanResult::read(&result, word(&mut reader, "detail")?)?;
        reader.finish()?;
        if engine.is_empty() {
            return Err(DecodeError::Value("engine"));
        }
        Ok(Self { file, engine, database, scanned_at, result })
    }

    /// Signs the verdict with the clinic's scanner key.
    ///
    /// # Errors
    /// [`DecodeError`] when nobody would accept it.
    pub fn sign(&self, scanner: &Ed25519Secret) -> Result<SignedVerdict, DecodeError> {
        let statement = self.encode();
        Self::decode(&statement)?;
        let signature = scanner.sign(&statement);
        Ok(SignedVerdict { statement, signature })
    }

    /// SHA-256 of the statement: the verdict's name in a release.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }

    /// Whether this one counts, and not `other`, which is about the same file: it is newer or, of the same instant,
    /// found worse.
    #[must_use]
    pub fn overrules(&self, other: &Self) -> bool {
        (self.scanned_at, self.result.badness()) > (other.scanned_at, other.result.badness())
    }
}

impl SignedVerdict {
    /// The verdict, if it is about this file and was signed with the clinic's scanner key while that was in force.
    /// `scanner` is the key's root statement, of whatever epoch, which the caller has verified.
    ///
    /// # Errors
    /// Every [`VerdictError`].
    pub fn verify(
        &self,
        scanner: &RootStatement,
        file: &VaultFile,
        now: Timestamp,
    ) -> Result<Verdict, VerdictError> {
        let verdict = Verdict::decode(&self.statement)?;
        check_scanner(scanner, verdict.scanned_at)?;
        if !scanner.ed25519_key()?.verify(&self.statement, &self.signature) {
            return Err(VerdictError::Signature);
        }
        if verdict.file != *file || verdict.file.tenant != scanner.tenant {
            return Err(VerdictError::OtherFile);
        }
        if verdict.scanned_at.since(now) > MAX_AHEAD {
            return Err(VerdictError::Future);
        }
        Ok(verdict)
    }
}

/// A word that is shown to people as it stands.
fn word(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    let text = reader.text(field)?;
    let shows = text.len() <= MAX_WORD_LENGTH && !text.chars().any(char::is_control);
    if shows { Ok(text.to_owned()) } else { Err(DecodeError::Value(field)) }
}

#[cfg(test)]
mod tests;
