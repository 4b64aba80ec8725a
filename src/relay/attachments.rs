//! The files that messages refer to: whose they must be, and how they are kept and shown.
//!
//! A message may name its sender's own files of its conversation that are clean, or wait for their scan. They are looked
//! at in the transaction that stores the message, without a lock on them: what is found infected, or destroyed, between
//! that look and the commit stands in a message that would have been refused a moment later. Nothing leaks by it. Whether
//! a file is given out is decided at each download, and every reader is shown its present state.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sigilo_wire::{
    Base64Array, ConversationId, ErrorCode, FileId, Timestamp, UserId,
    message::{Attachment, AttachmentRef},
    vault::{DocumentType, ScanStatus},
};

use super::{store, submit::Submission};
use crate::{Error, Result, storage::Tx};

/// A file that a message of a batch names.
#[derive(Clone, Debug)]
pub(super) struct FileState {
    pub conversation: ConversationId,
    pub uploader: UserId,
    pub sha256: Vec<u8>,
    pub document_type: DocumentType,
    pub scan: ScanStatus,
    pub expires_at: Option<Timestamp>,
    pub destroyed: bool,
}

/// What the transaction read of the files of a batch.
pub(super) type Files = HashMap<FileId, FileState>;

/// What the scan says of files by now.
pub(super) type Scans = HashMap<FileId, ScanStatus>;

/// A file as its message's row names it. The document type never changes; it is here to be searched for.
#[derive(Serialize, Deserialize)]
struct Named {
    file_id: FileId,
    sha256: Base64Array<32>,
    document_type: DocumentType,
}

/// The files must be the sender's own, of this conversation, with the hash they have, and good as far as is known.
///
/// # Errors
/// `invalid_message` that says which file it is and what is wrong.
pub(super) fn check(files: &Files, submission: &Submission, now: Timestamp) -> Result<()> {
    for attachment in &submission.message.attachments {
        if let Some(problem) = problem(files.get(&attachment.file_id), attachment, submission, now) {
            return Err(refused(attachment.file_id, problem));
        }
    }
    Ok(())
}

fn problem(
    file: Option<&FileState>,
    named: &AttachmentRef,
    submission: &Submission,
    now: Timestamp,
) -> Option<&'static str> {
    // One word for all that is not theirs: which files others have is not told.
    let Some(file) = file
        .filter(|file| file.conversation == submission.conversation)
        .filter(|file| file.uploader == submission.sender.user_id)
    else {
        return Some("is not a file you uploaded to this conversation");
    };
    if file.sha256 != named.sha256.0 {
        return Some("has another hash");
    }
    if file.destroyed {
        return Some("was destroyed");
    }
    if file.expires_at.is_some_and(|at| at <= now) {
        return Some("has expired");
    }
    match file.scan {
        ScanStatus::Infected => Some("was found infected"),
        ScanStatus::Refused => Some("was refused by the scan"),
        ScanStatus::Pending | ScanStatus::Clean | ScanStatus::Unavailable => None,
    }
}

pub(super) fn refused(file: FileId, problem: &str) -> Error {
    let details = json!({"field": "attachments", "problem": problem, "file_id": file});
    Error::invalid(ErrorCode::InvalidMessage, details)
}

/// What the row of an accepted message says of its files.
///
/// # Errors
/// When one was not read, which its check refuses.
pub(super) fn column(files: &Files, attachments: &[AttachmentRef]) -> Result<String> {
    let named = |attachment: &AttachmentRef| {
        let document_type = read(files, attachment.file_id)?.document_type;
        Ok(Named { file_id: attachment.file_id, sha256: attachment.sha256, document_type })
    };
    let named = attachments.iter().map(named).collect::<Result<Vec<_>>>()?;
    serde_json::to_string(&named).map_err(Error::internal)
}

/// The files of a message that was just accepted, as its recipients see them.
///
/// # Errors
/// As [`column`].
pub(super) fn accepted(files: &Files, attachments: &[AttachmentRef]) -> Result<Vec<Attachment>> {
    let shown = |attachment: &AttachmentRef| {
        let status = read(files, attachment.file_id)?.scan;
        Ok(Attachment { file_id: attachment.file_id, sha256: attachment.sha256, status })
    };
    attachments.iter().map(shown).collect()
}

fn read(files: &Files, file: FileId) -> Result<&FileState> {
    files.get(&file).ok_or_else(|| Error::internal("an accepted message names a file that was not read"))
}

/// Reads what the scan says by now of all the files in these columns, in one statement.
///
/// # Errors
/// When the database is away.
pub(super) async fn scans<'a>(tx: &mut Tx, columns: impl Iterator<Item = &'a str>) -> Result<Scans> {
    let mut ids = BTreeSet::new();
    for column in columns {
        ids.extend(named(column)?.into_iter().map(|file| file.file_id));
    }
    let ids: Vec<FileId> = ids.into_iter().collect();
    store::files::scans(tx, &ids).await
}

/// The files in a message's column, with what the scan says of each.
///
/// # Errors
/// When the column is not what [`column`] writes, or a file is not among `scans`.
pub(super) fn shown(column: &str, scans: &Scans) -> Result<Vec<Attachment>> {
    let shown = |file: Named| {
        let status = scans.get(&file.file_id).copied();
        let status = status.ok_or_else(|| Error::internal("a message names a file that is not there"))?;
        Ok(Attachment { file_id: file.file_id, sha256: file.sha256, status })
    };
    named(column)?.into_iter().map(shown).collect()
}

fn named(column: &str) -> Result<Vec<Named>> {
    // Most messages have none.
    if column == "[]" {
        return Ok(Vec::new());
    }
    serde_json::from_str(column).map_err(Error::internal)
}
