//! Fetching a file and opening it.
//!
//! What comes is kept as it is, ciphertext, until all of it is here; a way that was cut is gone on with from there, also
//! by the next call. Then it is decrypted to a file beside its target, which gets the target's name only when hash, key
//! commitment, length, and every segment to the last are what the message and the verdict say.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Response, StatusCode, header};
use sigilo_seal::{
    FileKey, Verdict,
    file::{io::OpenReader, sealed_len},
};
use sigilo_wire::{FileId, vault::StoredFile};

use super::{
    Brought,
    blobs::{file_error, private, sync_folder},
    forms::{Released, TransferProgress},
    upload::Tell,
    verdict::refused,
};
use crate::{Error, Result, engine::Engine};

/// The longest small picture, in bytes: 1 MiB.
const MAX_THUMBNAIL: u64 = 1024 * 1024;
/// How often a way that does not open is tried.
const ATTEMPTS: u32 = 6;
/// First wait before it is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// A file that was saved.
#[derive(Clone, Debug)]
pub struct SavedFile {
    /// Where.
    pub path: PathBuf,
    /// The name its sender gave it.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The two who released it, and from which finding; absent when nothing was found in it.
    pub released: Option<(String, Vec<Released>)>,
}

/// What a file must be, byte for byte.
#[derive(Clone)]
pub(super) struct Promised {
    pub(super) key: FileKey,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    pub(super) commitment: sigilo_seal::FileCommitment,
}

/// Why a blob does not become a file.
#[derive(Debug)]
pub(super) enum Failure {
    /// This device's file system.
    Io(io::Error),
    /// The blob.
    Blob(String),
}

impl Engine {
    /// Fetches a file, checks it, and puts it at `target`.
    pub(super) async fn save_file(&self, id: FileId, target: PathBuf, tell: Tell<'_>) -> Result<SavedFile> {
        if target.symlink_metadata().is_ok() {
            return Err(Error::File(format!("there is something at {} already", target.display())));
        }
        let brought = self.brought(id).await?;
        let (verdict, released) = self.fetch(&brought, tell).await?;
        let to = target.clone();
        self.open_blob(&brought, &verdict, move |blob, promised| open_into(blob, promised, &to)).await?;
        let found = match verdict.result {
            sigilo_seal::ScanResult::Infected(name) => Some((name, released)),
            _ => None,
        };
        Ok(SavedFile { path: target, name: brought.name, size: brought.size, released: found })
    }

    /// The bytes of the small picture of a file.
    pub(super) async fn thumbnail(&self, of: FileId) -> Result<Vec<u8>> {
        let small = self.thumbnail_of(of).await?.ok_or(Error::Unknown("a small picture of this file"))?;
        let brought = self.brought(small).await?;
        if brought.size > MAX_THUMBNAIL {
            return Err(refused("its small picture is too large"));
        }
        let (verdict, _) = self.fetch(&brought, &mut |_| {}).await?;
        self.open_blob(&brought, &verdict, |blob, promised| {
            let mut bytes = Vec::new();
            decrypt(blob, promised, &mut bytes)?;
            Ok(bytes)
        })
        .await
    }

    /// Opens a blob that is here; a bad one is forgotten.
    async fn open_blob<T: Send + 'static>(
        &self,
        brought: &Brought,
        verdict: &Verdict,
        open: impl FnOnce(&Path, &Promised) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let promised = Promised {
            key: brought.key.clone(),
            size: brought.size,
            sha256: brought.sha256,
            commitment: verdict.file.commitment,
        };
        let blob = self.profile.blobs().path(brought.file_id);
        let opened = tokio::task::spawn_blocking(move || open(&blob, &promised)).await;
        match opened.map_err(Error::internal)? {
            Ok(opened) => {
                self.profile.blobs().remove(brought.file_id)?;
                Ok(opened)
            }
            Err(Failure::Io(error)) => Err(file_error(&error)),
            Err(Failure::Blob(problem)) => {
                self.profile.blobs().remove(brought.file_id)?;
                Err(refused(problem))
            }
        }
    }

    /// Fetches the blob of a file that may be opened, as often as the line is cut and makes sense.
    async fn fetch(&self, brought: &Brought, tell: Tell<'_>) -> Result<(Verdict, Vec<Released>)> {
        let blobs = self.profile.blobs();
        blobs.create().map_err(|error| file_error(&error))?;
        let total = sealed_len(brought.size).map_err(refused)?;
        let mut attempts = 0;
        loop {
            // Each time anew: it may have been recalled meanwhile.
            let before = blobs.length(brought.file_id);
            let error = match self.try_fetch(brought, total, &mut *tell).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            attempts = if blobs.length(brought.file_id) > before { 1 } else { attempts + 1 };
            if attempts > ATTEMPTS || !error.is_transient() {
                return Err(error);
            }
            let wait = self.env.jitter(RETRY_FIRST * 2u32.pow(attempts.min(6)));
            tokio::time::sleep(error.retry_after().unwrap_or(wait).max(wait)).await;
        }
    }

    async fn try_fetch(
        &self,
        brought: &Brought,
        total: u64,
        tell: Tell<'_>,
    ) -> Result<(Verdict, Vec<Released>)> {
        let file = self.stored(brought).await?;
        let opened = self.may_open(&file).await?;
        if file.length != total {
            return Err(refused("it has not the length its sender says"));
        }
        let blobs = self.profile.blobs();
        if blobs.length(brought.file_id) > total {
            blobs.remove(brought.file_id)?;
        }
        let have = blobs.length(brought.file_id);
        tell(&TransferProgress { done: have, total });
        if have < total {
            let answer = self.api.content(&content_url(&file), have).await?;
            keep(answer, &blobs.path(brought.file_id), (have, total), tell).await?;
        }
        Ok(opened)
    }

    async fn thumbnail_of(&self, file: FileId) -> Result<Option<FileId>> {
        let mention: Option<super::FileMention> = self.profile.get(file.as_bytes()).await?;
        let Some(mention) = mention else { return Ok(None) };
        let Some((_, content)) = self.bringing(&mention).await? else { return Ok(None) };
        let named = content.files().iter().find(|named| named.file_id == file);
        Ok(named.and_then(|named| named.thumbnail.as_ref()).map(|small| small.file_id))
    }
}

/// Where the content is; where the server gives no address, asking for it says why.
fn content_url(file: &StoredFile) -> String {
    file.content_url.clone().unwrap_or_else(|| format!("/api/chat/files/{}/content/", file.file_id))
}

/// Appends what comes to what is here; begins anew when the server does.
async fn keep(mut answer: Response, path: &Path, (have, total): (u64, u64), tell: Tell<'_>) -> Result<()> {
    let goes_on = have > 0 && answer.status() == StatusCode::PARTIAL_CONTENT;
    if goes_on && !begins_at(&answer, have) {
        return Err(Error::Answer("another part of the file than was asked for".to_owned()));
    }
    let mut at = if goes_on { have } else { 0 };
    let mut how = OpenOptions::new();
    how.append(goes_on).write(true).create(true).truncate(!goes_on).mode(0o600);
    let mut file = how.open(path).map_err(|error| file_error(&error))?;
    loop {
        let piece = answer.chunk().await.map_err(|error| Error::Offline(error.without_url().to_string()))?;
        let Some(piece) = piece else { break };
        at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if at > total {
            return Err(refused("the server gave more than the file"));
        }
        file.write_all(&piece).map_err(|error| file_error(&error))?;
        tell(&TransferProgress { done: at, total });
    }
    if at < total {
        return Err(Error::Offline("the file came in part".to_owned()));
    }
    file.sync_all().map_err(|error| file_error(&error))
}

/// Whether a partial answer begins where it was asked to.
fn begins_at(answer: &Response, at: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

/// Opens a blob to a file beside `target`, which gets that name when all of it is good.
pub(super) fn open_into(blob: &Path, promised: &Promised, target: &Path) -> std::result::Result<(), Failure> {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".part");
    let beside = target.with_file_name(name);
    let opened = private(&beside).map_err(Failure::Io).and_then(|mut file| {
        decrypt(blob, promised, &mut file)?;
        file.sync_all().map_err(Failure::Io)
    });
    let named = opened.and_then(|()| {
        // A link does not take the place of what came there meanwhile.
        match std::fs::hard_link(&beside, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::Io(error)),
            Err(_) => std::fs::rename(&beside, target).map_err(Failure::Io),
            Ok(()) => Ok(()),
        }
    });
    let _renamed_already = std::fs::remove_file(&beside);
    named?;
    sync_folder(target).map_err(Failure::Io)
}

/// Decrypts a blob and compares all that was promised of it.
fn decrypt(blob: &Path, promised: &Promised, to: &mut impl io::Write) -> std::result::Result<(), Failure> {
    let file = File::open(blob).map_err(Failure::Io)?;
    let opening = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => {
            Failure::Blob(format!("its bytes are not those that were sent: {error}"))
        }
        _ => Failure::Io(error),
    };
    let mut reader = OpenReader::new(BufReader::new(file), &promised.key, promised.size).map_err(opening)?;
    let mut piece = zeroize::Zeroizing::new(vec![0; 64 * 1024]);
    loop {
        match reader.read(&mut piece).map_err(opening)? {
            0 => break,
            read => to.write_all(piece.get(..read).unwrap_or_default()).map_err(Failure::Io)?,
        }
    }
    let found = reader.finish().map_err(|error| Failure::Blob(error.to_string()))?;
    if found.blob_sha256 != promised.sha256 || found.plain_len != promised.size {
        return Err(Failure::Blob("its bytes are not those that were sent".to_owned()));
    }
    if found.commitment != promised.commitment {
        return Err(Failure::Blob("its verdict is about another key".to_owned()));
    }
    Ok(())
}
