//! Bringing files to the server.
//!
//! A file is sealed once; its blob and its key are on this device until the server has all of it. Whatever cuts the way,
//! the same bytes are sent from where the server has them. The message is made when the server has given its files their
//! names, in the transaction that forgets the upload, so it is written once.

use std::{
    fs::File,
    io::{BufReader, Cursor, Read as _, Seek as _, SeekFrom},
    rc::Rc,
    time::Duration,
};

use sigilo_seal::{
    Content, ContentBody, FileKey,
    content::{FileRef, Files, Thumbnail},
    file::io::{FileSummary, SealReader},
};
use sigilo_wire::{
    Base64Array, ClientMessageId, ConversationId, ErrorCode, FileId, UploadId,
    vault::{DocumentType, Handling, NewFile, StoredFile},
};

use super::{
    blobs::{Blobs, file_error, seal_into},
    forms::{NewAttachment, TransferProgress, kind_of},
    records::{OwnFile, Part, Upload},
};
use crate::{
    Error, Result,
    engine::Engine,
    event::ClientEvent,
    outbox::{Draft, SendOptions, SendState, Sent, held},
    profile::records::SecretBytes,
    refusal::DecisionVerdict,
};

/// Files whose blobs are at most this long go in one request: 512 KiB.
const ONE_REQUEST: u64 = 512 * 1024;
/// Longer ones go in pieces of this length: 1 MiB.
const PIECE: usize = 1024 * 1024;
/// The longest file that is sealed, in bytes: 1 GiB. What a clinic takes is less.
const MAX_LENGTH: u64 = 1024 * 1024 * 1024;
/// How often a way that does not open is tried while somebody waits for it.
const ATTEMPTS: u32 = 6;
/// First wait before it is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait before it is tried again.
pub(super) const RETRY_MOST: Duration = Duration::from_secs(60);
/// A longer wait that the server asks for is not waited for by whoever sends the file.
const ASKED_MOST: Duration = Duration::from_secs(60);

/// What is told of the way.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(&TransferProgress) + Send);

impl Engine {
    /// Seals a file and keeps what it takes to bring it. Gives the name of its message.
    pub(super) async fn begin_upload(
        &self,
        conversation: ConversationId,
        file: NewAttachment,
        options: SendOptions,
    ) -> Result<ClientMessageId> {
        let mime = file.media_type();
        let (kind, document_type) = kind_of(&mime);
        let document_type = file.document_type.unwrap_or(document_type);
        let draft = self.file_draft(conversation, kind, file.text.as_deref(), &options)?;
        let blobs = self.profile.blobs();
        blobs.create().map_err(|error| file_error(&error))?;
        let source = File::open(&file.path).map_err(|error| file_error(&error))?;
        let sort = Sort { name: file.shown_name(), mime, document_type, handling: file.handling.clone() };
        let mut parts = vec![self.seal_part(source, sort).await?];
        if let Some((mime, bytes)) = file.thumbnail {
            let sort = Sort {
                name: file.name.unwrap_or_default(),
                mime,
                document_type: DocumentType::Image,
                handling: file.handling,
            };
            parts.push(self.seal_part(Cursor::new(bytes), sort).await?);
        }
        let id = draft.client_message_id;
        let text = file.text.map(|text| SecretBytes(text.into_bytes()));
        self.profile.put(&Upload { draft, text, parts }).await?;
        Ok(id)
    }

    async fn seal_part(&self, source: impl std::io::Read + Send + 'static, sort: Sort) -> Result<Part> {
        let upload_id = UploadId::new(self.env.now(), self.env.bytes());
        let key = FileKey::generate(&mut self.env.rng());
        let path = self.profile.blobs().path(Blobs::outgoing(upload_id));
        let reader = SealReader::new(BufReader::new(source), &key, MAX_LENGTH, &mut self.env.rng());
        let sealed = tokio::task::spawn_blocking(move || seal_into(reader, &path)).await;
        let sealed: FileSummary = sealed.map_err(Error::internal)?.map_err(|error| file_error(&error))?;
        Ok(Part {
            upload_id,
            key: SecretBytes(key.as_bytes().to_vec()),
            name: sort.name,
            mime: sort.mime,
            size: sealed.plain_len,
            length: sealed.sealed_len,
            sha256: Base64Array(sealed.blob_sha256),
            commitment: Base64Array(sealed.commitment.0),
            document_type: sort.document_type,
            handling: sort.handling,
            file_id: None,
        })
    }

    /// Brings an upload as far as it goes while somebody waits for it. Gives why it waits, if it does.
    pub(super) async fn attend(
        self: Rc<Self>,
        id: ClientMessageId,
        tell: Tell<'_>,
    ) -> Result<Option<String>> {
        let Some(_claim) = self.claim_upload(id) else {
            return Ok(Some("it is on its way already".to_owned()));
        };
        match self.bring(id, tell).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_for_later() => {
                self.flush_in(self.env.jitter(error.retry_after().unwrap_or(RETRY_MOST)));
                Ok(Some(error.to_string()))
            }
            Err(error) => {
                self.forget_upload(id).await?;
                Err(error)
            }
        }
    }

    /// Goes on with what was cut, beside everything else.
    pub(crate) async fn resume_uploads(self: &Rc<Self>) -> Result<()> {
        for upload in self.profile.all::<Upload>(b"").await? {
            let id = upload.draft.client_message_id;
            if upload.is_there() || self.transfers.is_claimed(id) {
                continue;
            }
            let engine = Rc::clone(self);
            self.transfers.start(async move {
                let conversation = upload.draft.conversation;
                match Rc::clone(&engine).attend(id, &mut |_| {}).await {
                    Ok(None) => engine.flush_soon(),
                    Ok(Some(reason)) => {
                        engine.tell(ClientEvent::Waiting { conversation, client_message_id: id, reason });
                    }
                    Err(error) => engine.tell(refusal(conversation, id, &error)),
                }
            });
        }
        Ok(())
    }

    async fn bring(&self, id: ClientMessageId, tell: Tell<'_>) -> Result<()> {
        let upload: Option<Upload> = self.profile.get(id.as_bytes()).await?;
        let mut upload = upload.ok_or(Error::Unknown("this upload"))?;
        let mut first: Option<FileId> = None;
        for place in 0..upload.parts.len() {
            let Some(part) = upload.parts.get(place) else { break };
            if part.file_id.is_none() {
                let part = part.clone();
                let file = self.bring_part(upload.draft.conversation, &part, first, &mut *tell).await?;
                if file.sha256 != part.sha256 || file.upload_id != part.upload_id {
                    return Err(Error::Answer("another file than the one that was sent".to_owned()));
                }
                if let Some(part) = upload.parts.get_mut(place) {
                    part.file_id = Some(file.file_id);
                }
                let step = self.profile.step();
                step.put(&upload)?;
                step.put(&OwnFile {
                    file_id: file.file_id,
                    upload_id: part.upload_id,
                    key: part.key.clone(),
                    sha256: part.sha256,
                    commitment: part.commitment,
                    key_needed: file.rescan_key_needed,
                })?;
                step.commit().await?;
                self.profile.blobs().remove(Blobs::outgoing(part.upload_id))?;
                if file.rescan_key_needed {
                    self.upkeep_soon();
                }
            }
            first = first.or_else(|| upload.parts.first().and_then(|part| part.file_id));
        }
        Ok(())
    }

    /// Brings one file, as often as the line is cut and makes sense.
    async fn bring_part(
        &self,
        conversation: ConversationId,
        part: &Part,
        thumbnail_of: Option<FileId>,
        tell: Tell<'_>,
    ) -> Result<StoredFile> {
        let (mut attempts, mut there) = (0, 0);
        loop {
            let error = match self.try_part(conversation, part, thumbnail_of, (&mut *tell, &mut there)).await
            {
                Ok(file) => return Ok(file),
                Err(error) => error,
            };
            // Something came through since: it is another cut.
            attempts = if std::mem::take(&mut there) > 0 { 1 } else { attempts + 1 };
            let asked = error.retry_after().unwrap_or_default();
            let lost_place =
                matches!(error.code(), Some(ErrorCode::UploadOffset | ErrorCode::ChecksumMismatch));
            if attempts > ATTEMPTS || asked > ASKED_MOST || !(error.is_transient() || lost_place) {
                return Err(error);
            }
            let wait = (RETRY_FIRST * 2u32.pow(attempts.saturating_sub(1).min(6))).min(RETRY_MOST);
            let wait = if asked > wait { self.env.not_before(asked) } else { self.env.jitter(wait) };
            tokio::time::sleep(wait).await;
        }
    }

    /// `there` counts what came through.
    async fn try_part(
        &self,
        conversation: ConversationId,
        part: &Part,
        thumbnail_of: Option<FileId>,
        (tell, there): (Tell<'_>, &mut u64),
    ) -> Result<StoredFile> {
        let new = NewFile {
            upload_id: part.upload_id,
            conversation_id: conversation,
            mime_type: part.mime.clone(),
            length: part.length,
            sha256: part.sha256,
            document_type: part.document_type,
            related_appointment: None,
            thumbnail_of,
            handling: part.handling.clone(),
            scan_key: self.scan_key_of(part).await?,
        };
        let path = self.profile.blobs().path(Blobs::outgoing(part.upload_id));
        let total = part.length;
        if total <= ONE_REQUEST {
            tell(&TransferProgress { done: 0, total });
            let blob = std::fs::read(&path).map_err(|error| file_error(&error))?;
            let file = self.api.upload_file(&new, &blob).await?;
            tell(&TransferProgress { done: total, total });
            return Ok(file);
        }
        let placed = match self.api.upload_offset(part.upload_id).await? {
            Some(placed) => placed,
            None => self.api.begin_upload(&new).await?,
        };
        let (mut at, file_id) = (placed.at, placed.file_id);
        tell(&TransferProgress { done: at, total });
        let mut blob = File::open(&path).map_err(|error| file_error(&error))?;
        while at < total {
            let piece = read_piece(&mut blob, at).map_err(|error| file_error(&error))?;
            let now = self.api.upload_piece(part.upload_id, at, &piece).await?.at;
            if now <= at || now > total {
                return Err(Error::Answer("an upload that does not move on".to_owned()));
            }
            *there += now - at;
            at = now;
            tell(&TransferProgress { done: at, total });
        }
        self.api.file(file_id).await
    }

    /// Deletes what a sealing that was cut has left.
    ///
    /// # Errors
    /// Those of the profile.
    pub(crate) async fn sweep_blobs(&self) -> Result<()> {
        let uploads = self.profile.all::<Upload>(b"").await?;
        let kept = uploads.iter().flat_map(|upload| &upload.parts).map(|part| part.upload_id).collect();
        self.profile.blobs().sweep(&kept).map_err(|error| file_error(&error))
    }

    async fn forget_upload(&self, id: ClientMessageId) -> Result<()> {
        let upload: Option<Upload> = self.profile.get(id.as_bytes()).await?;
        let step = self.profile.step();
        step.delete::<Upload>(id.as_bytes());
        step.commit().await?;
        for part in upload.iter().flat_map(|upload| &upload.parts) {
            self.profile.blobs().remove(Blobs::outgoing(part.upload_id))?;
        }
        Ok(())
    }

    /// Makes messages of the uploads that are there, but for those somebody waits for.
    pub(crate) async fn queue_uploaded(&self) -> Result<()> {
        for upload in self.profile.all::<Upload>(b"").await? {
            if upload.is_there() && !self.transfers.is_claimed(upload.draft.client_message_id) {
                self.queue_upload(upload).await?;
            }
        }
        Ok(())
    }

    async fn queue_upload(&self, mut upload: Upload) -> Result<()> {
        let content = upload.content()?;
        upload.draft.content = SecretBytes(content.to_json().to_vec());
        let id = upload.draft.client_message_id;
        let item = self.queued(upload.draft).await?;
        let step = self.profile.step();
        step.put(&item)?;
        step.delete::<Upload>(id.as_bytes());
        step.commit().await
    }

    /// Sends the message of an upload that is there. `waits`: why it is not.
    pub(super) async fn send_uploaded(&self, id: ClientMessageId, waits: Option<String>) -> Result<Sent> {
        if let Some(reason) = waits {
            return Ok(Sent { client_message_id: id, state: SendState::Queued { reason } });
        }
        if let Some(upload) = self.profile.get::<Upload>(id.as_bytes()).await? {
            let due = upload.draft.due(self.env.now());
            self.queue_upload(upload).await?;
            if let Some(at) = due {
                self.flush_soon();
                return Ok(Sent { client_message_id: id, state: SendState::Scheduled { at } });
            }
        }
        let mut outcome = self.flush().await?;
        match outcome.take(id) {
            // Somebody else sent it a moment ago.
            None => match self.own_message_named(id).await? {
                Some(message) => {
                    Ok(Sent { client_message_id: id, state: SendState::Accepted(Box::new(message)) })
                }
                None => held::sent(id, None),
            },
            result => held::sent(id, result),
        }
    }

    fn file_draft(
        &self,
        conversation: ConversationId,
        kind: sigilo_wire::message::MessageKind,
        text: Option<&str>,
        options: &SendOptions,
    ) -> Result<Draft> {
        if options.target.is_some() {
            return Err(Error::Content("a file is not about another message"));
        }
        if text.is_some_and(|text| text.chars().count() > crate::outbox::MAX_TEXT_CHARS) {
            return Err(Error::Content("it is longer than 5,000 characters"));
        }
        self.draft(conversation, kind, SecretBytes(Vec::new()), options)
    }
}

/// What a file is said to be.
struct Sort {
    name: String,
    mime: String,
    document_type: DocumentType,
    handling: Handling,
}

impl Upload {
    /// Whether the server has all its files.
    fn is_there(&self) -> bool {
        self.parts.iter().all(|part| part.file_id.is_some())
    }

    /// What its message says.
    fn content(&self) -> Result<Content> {
        let missing = || Error::internal("an upload without its file");
        let own = self.parts.first().ok_or_else(missing)?;
        let thumbnail = self.parts.get(1).map(|part| {
            Ok::<_, Error>(Thumbnail {
                file_id: part.file_id.ok_or_else(missing)?,
                key: part.file_key()?,
                mime: part.mime.clone(),
                size: part.size,
                sha256: part.sha256,
            })
        });
        let file = FileRef {
            file_id: own.file_id.ok_or_else(missing)?,
            key: own.file_key()?,
            name: own.name.clone(),
            mime: own.mime.clone(),
            size: own.size,
            sha256: own.sha256,
            thumbnail: thumbnail.transpose()?,
        };
        let text = self.text.as_ref().map(|text| String::from_utf8_lossy(&text.0).into_owned());
        Ok(Content::new(ContentBody::File(Files { text, files: vec![file] })))
    }
}

fn read_piece(blob: &mut File, at: u64) -> std::io::Result<Vec<u8>> {
    blob.seek(SeekFrom::Start(at))?;
    let mut piece = Vec::with_capacity(PIECE);
    blob.take(u64::try_from(PIECE).unwrap_or(u64::MAX)).read_to_end(&mut piece)?;
    Ok(piece)
}

fn refusal(conversation: ConversationId, client_message_id: ClientMessageId, error: &Error) -> ClientEvent {
    let body = match error {
        Error::Server { body, .. } => Some(body.clone()),
        _ => None,
    };
    let reason = error.to_string();
    ClientEvent::Refused { conversation, client_message_id, body, decision: DecisionVerdict::Missing, reason }
}
