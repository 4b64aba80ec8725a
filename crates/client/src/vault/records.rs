//! What the profile keeps of files. Keys are here, encrypted with the profile; blobs, which are ciphertext, lie in a
//! folder beside it.

use serde::{Deserialize, Serialize};
use sigilo_seal::FileKey;
use sigilo_wire::{
    Base64Array, ConversationId, FileId, Timestamp, UploadId,
    vault::{DocumentType, Handling, ScanStatus, ScannerStatement},
};

use crate::{
    Result,
    outbox::Draft,
    profile::{
        Record,
        records::{MessageKey, SecretBytes},
    },
};

/// A message with files, before its files are all on the server. It becomes an item of the outbox then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Upload {
    /// The message; its content is made when the files have their names.
    pub(crate) draft: Draft,
    /// What is said about the files.
    pub(crate) text: Option<SecretBytes>,
    /// The file, and its small picture if it has one.
    pub(crate) parts: Vec<Part>,
}

/// A file that was sealed, once: the same bytes are sent however often the upload is cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) upload_id: UploadId,
    pub(crate) key: SecretBytes,
    pub(crate) name: String,
    pub(crate) mime: String,
    /// Unencrypted, in bytes.
    pub(crate) size: u64,
    /// Of the blob, in bytes.
    pub(crate) length: u64,
    pub(crate) sha256: Base64Array<32>,
    pub(crate) commitment: Base64Array<32>,
    pub(crate) document_type: DocumentType,
    pub(crate) handling: Handling,
    /// Once the server has it.
    pub(crate) file_id: Option<FileId>,
}

impl Part {
    pub(crate) fn file_key(&self) -> Result<FileKey> {
        Ok(FileKey::from_bytes(self.key.key()?))
    }
}

/// A file of this device's on the server: what its key is handed over with, if the scanner needs it anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnFile {
    pub(crate) file_id: FileId,
    pub(crate) upload_id: UploadId,
    pub(crate) key: SecretBytes,
    pub(crate) sha256: Base64Array<32>,
    pub(crate) commitment: Base64Array<32>,
    /// The scanner has asked for its key, and does not have it yet.
    pub(crate) key_needed: bool,
}

/// Where a file is named: the message that brought its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileMention {
    pub(crate) file_id: FileId,
    pub(crate) conversation: ConversationId,
    pub(crate) conversation_seq: i64,
    pub(crate) message: MessageKey,
}

/// What is known of the scan of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileNews {
    pub(crate) file_id: FileId,
    /// The server's word.
    pub(crate) scan: ScanStatus,
    /// The newest verdict that was verified here: an older one never counts again.
    pub(crate) verdict: Option<ScannerStatement>,
    /// When this device heard that it is recalled: a clean verdict of before does not count any more.
    pub(crate) recalled_at: Option<Timestamp>,
}

impl Record for Upload {
    const TABLE: &'static str = "upload";

    fn key(&self) -> Vec<u8> {
        self.draft.client_message_id.as_bytes().to_vec()
    }

    fn position(&self) -> i64 {
        self.draft.created_at.micros()
    }
}

impl Record for OwnFile {
    const TABLE: &'static str = "own_file";

    fn key(&self) -> Vec<u8> {
        self.file_id.as_bytes().to_vec()
    }
}

impl Record for FileMention {
    const TABLE: &'static str = "file_mention";

    fn key(&self) -> Vec<u8> {
        self.file_id.as_bytes().to_vec()
    }

    fn owner(&self) -> Vec<u8> {
        self.conversation.as_bytes().to_vec()
    }

    fn position(&self) -> i64 {
        self.conversation_seq
    }
}

impl Record for FileNews {
    const TABLE: &'static str = "file_news";

    fn key(&self) -> Vec<u8> {
        self.file_id.as_bytes().to_vec()
    }
}
