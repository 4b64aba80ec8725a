//! The rows of files that messages name.

use sigilo_wire::{ConversationId, FileId, Timestamp, UserId};

use crate::{
    Error, Result, fetch_list,
    relay::{
        attachments::{FileState, Files, Scans},
        submit::Submission,
    },
    statements,
    storage::Tx,
};

statements! {
    FILES = "SELECT file_id, conversation_id, uploader_id, blob_sha256, document_type, scan, expires_at, destroyed_at
        FROM files WHERE file_id IN ($list)";
    SCANS = "SELECT file_id, scan FROM files WHERE file_id IN ($list)";
}

#[derive(sqlx::FromRow)]
struct FileRow {
    file_id: FileId,
    conversation_id: ConversationId,
    uploader_id: UserId,
    blob_sha256: Vec<u8>,
    document_type: String,
    scan: String,
    expires_at: Option<Timestamp>,
    destroyed_at: Option<Timestamp>,
}

/// The files that the messages of a batch name.
pub(in crate::relay) async fn named(tx: &mut Tx, sends: &[&Submission]) -> Result<Files> {
    let attachments = sends.iter().flat_map(|send| &send.message.attachments);
    let ids = super::distinct(attachments.map(|attachment| attachment.file_id));
    let mut files = Files::with_capacity(ids.len());
    for row in fetch_list!(tx, FileRow, FILES, [], ids.as_slice())? {
        let file = FileState {
            conversation: row.conversation_id,
            uploader: row.uploader_id,
            sha256: row.blob_sha256,
            document_type: row.document_type.parse().map_err(Error::Internal)?,
            scan: row.scan.parse().map_err(Error::Internal)?,
            expires_at: row.expires_at,
            destroyed: row.destroyed_at.is_some(),
        };
        files.insert(row.file_id, file);
    }
    Ok(files)
}

/// What the scan says of these files.
pub(in crate::relay) async fn scans(tx: &mut Tx, ids: &[FileId]) -> Result<Scans> {
    let rows = fetch_list!(tx, (FileId, String), SCANS, [], ids)?;
    rows.into_iter().map(|(id, scan)| Ok((id, scan.parse().map_err(Error::Internal)?))).collect()
}
