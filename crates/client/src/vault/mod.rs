//! Files: sealed on this device before they leave it, opened here only under a verdict of the clinic's scanner.
//!
//! **Out.** A file is sealed once, into a folder beside the profile ([`blobs`]), and its key kept in the profile; then the
//! blob is brought to the server, in one request or in pieces, however often the line or the program is cut ([`upload`]).
//! Its key is handed to the scan worker, sealed to a scan key that the clinic's scanner key signed ([`keys`]). When the
//! server has all of it, the message that names it and carries its key goes out like any other.
//!
//! **In.** A message says which files it brings, with their keys. Opening one ([`download`]) asks the server for its newest
//! verdict and checks it ([`verdict`]); fetches the blob, going on where a cut left it; and decrypts it to a file beside its
//! target that gets the target's name only when every byte was checked.
//!
//! Transfers run beside the engine's acts, so that messages come and go meanwhile ([`transfers`]).
//!
//! # What it does not protect from
//! The server, which can withhold a newer verdict from a device that has not seen it. Whoever may open a file can keep it:
//! what `handling` asks for is asked of honest clients.

mod blobs;
mod download;
mod forms;
mod keys;
mod records;
#[cfg(test)]
mod tests;
mod transfers;
mod upload;
mod verdict;

use std::{collections::BTreeMap, path::PathBuf};

use futures_util::FutureExt as _;
use sigilo_seal::FileKey;
use sigilo_wire::{
    ConversationId, FileId, UserId,
    vault::{Consent, StoredFile},
};

use self::records::{FileMention, FileNews};
pub(crate) use self::{blobs::Blobs, transfers::Transfers};
pub use self::{
    download::SavedFile,
    forms::{FileDetails, NewAttachment, Released, SharedFile, TransferProgress},
};
use crate::{
    Client, Error, Result,
    engine::Engine,
    outbox::{SendOptions, Sent},
    profile::{Order, Step, records::StoredMessage},
};

impl Client {
    /// Sends a file: seals it, brings it to the server, and sends the message that carries its key. `progress` is told of
    /// each piece. What is not done when this returns, because the connection is gone, is gone on with later, also after a
    /// restart; dropping the future does not stop it.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read; [`Error::ScanKey`] when the server offers a scan key that is not the
    /// clinic's; [`Error::Content`]; the server's refusal, after which nothing of it is kept.
    pub async fn send_file(
        &self,
        conversation: ConversationId,
        file: NewAttachment,
        options: SendOptions,
        progress: impl FnMut(&TransferProgress) + Send + 'static,
    ) -> Result<Sent> {
        let id = self
            .beside(move |engine| {
                async move { engine.begin_upload(conversation, file, options).await }.boxed_local()
            })
            .await?;
        let mut progress = progress;
        let brought = self
            .beside(move |engine| async move { engine.attend(id, &mut progress).await }.boxed_local())
            .await?;
        self.act(move |engine| async move { engine.send_uploaded(id, brought).await }.boxed_local()).await?
    }

    /// The newest `limit` files that messages of a conversation on this device have brought, oldest first.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn files(&self, conversation: ConversationId, limit: u32) -> Result<Vec<SharedFile>> {
        self.act(move |engine| async move { engine.files(conversation, limit).await }.boxed_local()).await?
    }

    /// What its sender called a file, if a message on this device has brought it.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn file_name(&self, file: FileId) -> Result<Option<String>> {
        let brought = self.act(move |engine| async move { engine.brought(file).await }.boxed_local()).await?;
        match brought {
            Ok(brought) => Ok(Some(brought.name)),
            Err(Error::Unknown(_) | Error::FileRefused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the server says of a file, and what its newest verdict comes to.
    ///
    /// # Errors
    /// [`Error::FileRefused`] when something the server says of it does not verify; those of the server.
    pub async fn file(&self, file: FileId) -> Result<FileDetails> {
        self.act(move |engine| async move { engine.file_details(file).await }.boxed_local()).await?
    }

    /// Fetches a file that a message has brought, checks it, and puts it at `target`, which must not be there yet.
    ///
    /// # Errors
    /// [`Error::FileWaits`] before its scan; [`Error::FileRefused`], saying why, when it is not to be opened;
    /// [`Error::File`]; those of the server. Nothing is at `target` then.
    pub async fn save_file(
        &self,
        file: FileId,
        target: PathBuf,
        progress: impl FnMut(&TransferProgress) + Send + 'static,
    ) -> Result<SavedFile> {
        let mut progress = progress;
        self.beside(move |engine| {
            async move { engine.save_file(file, target, &mut progress).await }.boxed_local()
        })
        .await
    }

    /// The bytes of the small picture of a file, at most 1 MiB.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it has none; otherwise as [`Client::save_file`].
    pub async fn thumbnail(&self, file: FileId) -> Result<Vec<u8>> {
        self.beside(move |engine| async move { engine.thumbnail(file).await }.boxed_local()).await
    }

    /// As a patient: whether other clinicians of the conversation may open a file that asks for it.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn consent_to_file(&self, file: FileId, allowed: bool) -> Result<StoredFile> {
        self.act(move |engine| {
            async move { engine.api.consent(file, &Consent { allowed }).await }.boxed_local()
        })
        .await?
    }

    /// Has a file scanned again: hands its key to the scanner once more. The clinic's log names who did.
    ///
    /// # Errors
    /// [`Error::ScanKey`]; [`Error::Unknown`] when no message here brought its key; those of the server.
    pub async fn rescan_file(&self, file: FileId) -> Result<()> {
        self.act(move |engine| async move { engine.rescan_file(file).await }.boxed_local()).await?
    }

    /// As a moderator: the files in quarantine.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn quarantine(&self) -> Result<Vec<StoredFile>> {
        self.act(move |engine| async move { engine.api.quarantine().await }.boxed_local()).await?
    }

    /// As a moderator: signs, with the user's identity key, that the finding in a file is false. It is released when a
    /// second person has signed.
    ///
    /// # Errors
    /// [`Error::FileRefused`] when its verdict does not verify, or is not `infected`; those of the server.
    pub async fn release_file(&self, file: FileId) -> Result<StoredFile> {
        self.act(move |engine| async move { engine.release_file(file).await }.boxed_local()).await?
    }

    /// As a moderator: destroys a file in quarantine for good.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn destroy_file(&self, file: FileId) -> Result<()> {
        self.act(move |engine| async move { engine.api.destroy_file(file).await }.boxed_local()).await?
    }
}

/// A file of a message, as the message brought it: what everything the server says of it is compared with.
pub(crate) struct Brought {
    pub(crate) file_id: FileId,
    pub(crate) key: FileKey,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
    /// Who brought it, which is who uploaded it.
    pub(crate) sender: UserId,
}

impl Engine {
    /// Notes the files that a message brings, so that they are found by their names.
    pub(crate) fn mention_files(&self, step: &Step, stored: &StoredMessage) -> Result<()> {
        for attachment in &stored.message.attachments {
            step.put(&FileMention {
                file_id: attachment.file_id,
                conversation: stored.message.conversation_id,
                conversation_seq: stored.message.conversation_seq,
                message: crate::profile::records::MessageKey::of(&stored.message),
            })?;
        }
        Ok(())
    }

    /// Puts what was heard since of files' scans in place of what was said when their message came.
    pub(crate) async fn update_scans(
        &self,
        attachments: &mut [sigilo_wire::message::Attachment],
    ) -> Result<()> {
        for attachment in attachments {
            let news: Option<FileNews> = self.profile.get(attachment.file_id.as_bytes()).await?;
            if let Some(news) = news {
                attachment.status = news.scan;
            }
        }
        Ok(())
    }

    /// The message that brought a file, if it is authentic and still says something.
    async fn bringing(&self, mention: &FileMention) -> Result<Option<(StoredMessage, sigilo_seal::Content)>> {
        let stored: Option<StoredMessage> = self.profile.get(&mention.message.bytes()).await?;
        let Some(stored) = stored.filter(StoredMessage::is_authentic) else { return Ok(None) };
        let stored = self.unexpired(stored).await?;
        let Some(json) = &stored.content else { return Ok(None) };
        let content = sigilo_seal::Content::parse(stored.message.message_type.as_str(), &json.0);
        Ok(content.ok().map(|content| (stored, content)))
    }

    /// A file as the message that brought it says.
    ///
    /// # Errors
    /// [`Error::Unknown`] when no message here did; [`Error::FileRefused`] when its sender did not sign for it.
    pub(crate) async fn brought(&self, file: FileId) -> Result<Brought> {
        let unknown = || Error::Unknown("this file");
        let mention: FileMention = self.profile.get(file.as_bytes()).await?.ok_or_else(unknown)?;
        let (stored, content) = self.bringing(&mention).await?.ok_or_else(unknown)?;
        let sender = stored.message.sender.user_id;
        for named in content.files() {
            let own = (named.file_id == file).then(|| Brought {
                file_id: file,
                key: named.key.clone(),
                name: named.name.clone(),
                size: named.size,
                sha256: named.sha256.0,
                sender,
            });
            let small = named.thumbnail.as_ref().filter(|small| small.file_id == file).map(|small| Brought {
                file_id: file,
                key: small.key.clone(),
                name: named.name.clone(),
                size: small.size,
                sha256: small.sha256.0,
                sender,
            });
            if let Some(brought) = own.or(small) {
                let signed = stored.message.attachments.iter();
                let is_it =
                    |a: &&sigilo_wire::message::Attachment| a.file_id == file && a.sha256.0 == brought.sha256;
                if signed.clone().filter(is_it).count() == 1 {
                    return Ok(brought);
                }
                return Err(Error::FileRefused("its sender did not sign for it".to_owned()));
            }
        }
        Err(unknown())
    }

    /// The newest files of a conversation, oldest first.
    pub(crate) async fn files(&self, conversation: ConversationId, limit: u32) -> Result<Vec<SharedFile>> {
        let owner = conversation.as_bytes();
        let mentions = self.profile.list(owner, i64::MAX, u32::MAX, Order::NewestFirst).await?;
        let mut places: BTreeMap<i64, FileMention> = BTreeMap::new();
        for mention in mentions {
            places.entry(FileMention::conversation_seq(&mention)).or_insert(mention);
        }
        let mut files = Vec::new();
        for mention in places.into_values().rev() {
            if files.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
            let Some((stored, content)) = self.bringing(&mention).await? else { continue };
            for named in content.files().iter().rev() {
                files.push(self.shared(&stored, named).await?);
            }
        }
        files.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        files.reverse();
        Ok(files)
    }
}
