//! What a user interface gives and gets.

use std::path::PathBuf;

use sigilo_seal::{ScanResult, content::FileRef};
use sigilo_wire::{
    ConversationId, FileId, Timestamp, UserId,
    message::MessageKind,
    vault::{DocumentType, Handling, ScanStatus, StoredFile},
};

use super::records::{FileMention, FileNews};
use crate::{Result, engine::Engine, profile::records::StoredMessage};

/// A file to be sent.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    /// Where it is on this device.
    pub path: PathBuf,
    /// Its name for the receivers; without, the file's own.
    pub name: Option<String>,
    /// Its media type; without, that of the name's ending.
    pub mime: Option<String>,
    /// What kind of document it is; without, what its media type suggests. The server sees it.
    pub document_type: Option<DocumentType>,
    /// What is said about it.
    pub text: Option<String>,
    /// A small picture of it: its media type and its bytes.
    pub thumbnail: Option<(String, Vec<u8>)>,
    /// How it may be used.
    pub handling: Handling,
}

impl NewAttachment {
    /// The file at `path`, as it is.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            name: None,
            mime: None,
            document_type: None,
            text: None,
            thumbnail: None,
            handling: Handling::default(),
        }
    }

    /// Its name for the receivers.
    pub(super) fn shown_name(&self) -> String {
        let own = || self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        self.name.clone().or_else(own).unwrap_or_else(|| "file".to_owned())
    }

    /// Its media type.
    pub(super) fn media_type(&self) -> String {
        let guessed = || media_type_of(&self.shown_name()).to_owned();
        self.mime.clone().unwrap_or_else(guessed)
    }
}

/// The media type that the ending of a name suggests. What the file is, the scanner looks at.
fn media_type_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "pdf" => "application/pdf",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

/// The kind of message that brings a file of this media type, and the kind of document it is.
pub(super) fn kind_of(mime: &str) -> (MessageKind, DocumentType) {
    match mime.split_once('/').map(|(group, _)| group) {
        Some("image") => (MessageKind::Image, DocumentType::Image),
        Some("audio") => (MessageKind::Audio, DocumentType::Audio),
        Some("video") => (MessageKind::Video, DocumentType::Video),
        _ => (MessageKind::File, DocumentType::Document),
    }
}

/// How far a file has come on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferProgress {
    /// Bytes of the encrypted file that are there.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// A file that a message has brought.
#[derive(Clone, Debug)]
pub struct SharedFile {
    /// The file.
    pub file_id: FileId,
    /// Where.
    pub conversation_id: ConversationId,
    /// The place of the message.
    pub conversation_seq: i64,
    /// Who sent it.
    pub sender: UserId,
    /// Their name, as the clinic knows them.
    pub sender_name: String,
    /// Its name.
    pub name: String,
    /// What its sender says it is.
    pub mime: String,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it has a small picture.
    pub has_thumbnail: bool,
    /// What the scan says, as last heard.
    pub scan: ScanStatus,
    /// Whether it was clean once and is not any more: what was saved of it is to be deleted.
    pub recalled: bool,
    /// When it came.
    pub received_at: Timestamp,
}

/// Somebody who called a finding false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Who.
    pub user: UserId,
    /// Their name, when this device knows it.
    pub name: Option<String>,
    /// Whether their safety number was compared.
    pub verified: bool,
    /// When, as they say.
    pub signed_at: Timestamp,
}

/// A file by what the server says of it, as far as that was checked.
#[derive(Clone, Debug)]
pub struct FileDetails {
    /// The server's word.
    pub file: StoredFile,
    /// The newest verdict this device knows, verified; absent while there is none.
    pub found: Option<ScanResult>,
    /// What looked into it: the engine, its database and when.
    pub scanned: Option<(String, String, Timestamp)>,
    /// The two who released it from what was found.
    pub released: Vec<Released>,
    /// Whether the server shows an older verdict than this device has seen.
    pub older_verdict: bool,
    /// Why it is not opened here, for people; absent when it may be.
    pub problem: Option<String>,
}

impl Engine {
    pub(super) async fn shared(&self, stored: &StoredMessage, named: &FileRef) -> Result<SharedFile> {
        let message = &stored.message;
        let news: Option<FileNews> = self.profile.get(named.file_id.as_bytes()).await?;
        let told = message.attachments.iter().find(|attachment| attachment.file_id == named.file_id);
        let told = told.map_or(ScanStatus::Pending, |attachment| attachment.status);
        Ok(SharedFile {
            file_id: named.file_id,
            conversation_id: message.conversation_id,
            conversation_seq: message.conversation_seq,
            sender: message.sender.user_id,
            sender_name: message.sender.full_name.clone(),
            name: named.name.clone(),
            mime: named.mime.clone(),
            size: named.size,
            has_thumbnail: named.thumbnail.is_some(),
            scan: news.as_ref().map_or(told, |news| news.scan),
            recalled: news.is_some_and(|news| news.recalled_at.is_some()),
            received_at: message.received_at,
        })
    }
}

impl FileMention {
    /// The place of the message.
    pub(super) const fn conversation_seq(&self) -> i64 {
        self.conversation_seq
    }
}
