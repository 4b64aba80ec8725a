//! The bytes of an upload, to the spool, as they come: whole, or in pieces that go on where the last one ended.

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{
    ErrorCode, FileId, Timestamp, UploadId,
    vault::{NewFile, StoredFile},
};

use super::{
    announce::{self, Begun, Upload},
    finish,
    spool::{Next, Turn, Writing},
    store,
};
use crate::{App, Ctx, Error, Result, shutdown};

/// What a piece is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-1: against faults of the line, not of people.
    Sha1([u8; 20]),
}

/// How far an upload is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The file, or what it will be called.
    pub file: FileId,
    /// How many bytes are on the disk.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
    /// When it is forgotten; `None` once it is finished.
    pub expires_at: Option<Timestamp>,
    /// The file, once it is finished.
    pub stored: Option<Box<StoredFile>>,
}

/// Takes a file in one go. What was taken of it before is taken anew.
///
/// # Errors
/// As [`announce::begin`]; `checksum_mismatch` when the bytes are not those that were announced, `invalid_field` when the
/// body breaks off; as `finish`.
pub async fn upload(
    app: &App,
    ctx: &Ctx,
    new: &NewFile,
    body: impl Stream<Item = Result<Bytes>> + Unpin,
) -> Result<StoredFile> {
    let upload = match announce::begin(app, ctx, new).await? {
        Begun::Stored(first) => return Ok(*first),
        Begun::Going(upload) => upload,
    };
    let mut turn = app.spool.turn(upload.file(), Next::Waits).await?;
    // The same upload may have been finished while this one waited.
    let mut tx = app.db.read("upload_known").await?;
    if let Some(first) = announce::stored(&mut tx, ctx, upload.row.user_id, new).await? {
        return Ok(first);
    }
    drop(tx);
    // Or given up: what is written without its row is nobody's.
    let Known::Going(upload) = known(app, ctx, new.upload_id).await? else { return Err(Error::NotFound) };
    let mut writing = app.spool.write(&turn, 0).await?;
    let came = pour(app, &mut writing, &mut turn, body, upload.length(), None).await;
    if came.is_ok() && writing.length() == upload.length() {
        writing.finish().await?;
        return finish::finish(app, ctx, &upload, turn).await;
    }
    writing.undo().await?;
    came?;
    let problem = "the file is shorter than was announced";
    Err(Error::conflict(ErrorCode::ChecksumMismatch, json!({"problem": problem})))
}

/// How far an upload of the caller's is. One that is whole and was not finished is finished now.
///
/// # Errors
/// `not_found` when there is none, or its time is over.
pub async fn progress(app: &App, ctx: &Ctx, id: UploadId) -> Result<Progress> {
    let upload = match known(app, ctx, id).await? {
        Known::Finished(progress) => return Ok(progress),
        Known::Going(upload) => upload,
    };
    let offset = app.spool.length(upload.file()).await?;
    if offset < upload.length() {
        return Ok(Progress { offset, ..upload.begun() });
    }
    let turn = app.spool.turn(upload.file(), Next::Waits).await?;
    // Whoever had the turn may have finished it, or given it up.
    let upload = match known(app, ctx, id).await? {
        Known::Finished(progress) => return Ok(progress),
        Known::Going(upload) => upload,
    };
    let offset = app.spool.length(upload.file()).await?;
    settle(app, ctx, &upload, offset, turn).await
}

/// Takes a piece of an upload of the caller's, from `offset` on, and finishes the upload when it is the last. What came of
/// a piece without a checksum before its line broke stays.
///
/// # Errors
/// `not_found` when there is none, or its time is over; `upload_offset` with how far it is; `checksum_mismatch` when the
/// piece is not what it is said to be; `invalid_field` when it is longer than the file, or breaks off; as `finish`.
pub async fn append(
    app: &App,
    ctx: &Ctx,
    id: UploadId,
    (offset, checksum): (u64, Option<&Checksum>),
    body: impl Stream<Item = Result<Bytes>> + Unpin,
) -> Result<Progress> {
    let upload = match known(app, ctx, id).await? {
        Known::Finished(progress) if progress.length == offset => return Ok(progress),
        Known::Finished(progress) => return Err(elsewhere(progress.length)),
        Known::Going(upload) => upload,
    };
    let mut turn = app.spool.turn(upload.file(), Next::Hurries).await?;
    // Whoever had the turn may have finished it, or given it up.
    let upload = match known(app, ctx, id).await? {
        Known::Finished(progress) if progress.length == offset => return Ok(progress),
        Known::Finished(progress) => return Err(elsewhere(progress.length)),
        Known::Going(upload) => upload,
    };
    let there = app.spool.length(upload.file()).await?;
    if there != offset {
        return Err(elsewhere(there));
    }
    let mut writing = app.spool.write(&turn, offset).await?;
    let came = pour(app, &mut writing, &mut turn, body, upload.length(), checksum).await;
    let offset = match came {
        Ok(()) => writing.finish().await?,
        Err(Broken::Line(error)) if checksum.is_none() => {
            writing.finish().await?;
            return Err(error);
        }
        Err(broken) => {
            writing.undo().await?;
            return Err(broken.into());
        }
    };
    settle(app, ctx, &upload, offset, turn).await
}

/// Gives an upload of the caller's up.
///
/// # Errors
/// `not_found` when there is none that is not finished.
pub async fn abandon(app: &App, ctx: &Ctx, id: UploadId) -> Result<()> {
    let Known::Going(upload) = known(app, ctx, id).await? else { return Err(Error::NotFound) };
    let _turn = app.spool.turn(upload.file(), Next::Hurries).await?;
    // What was finished meanwhile is a file, and stays.
    let Known::Going(upload) = known(app, ctx, id).await? else { return Err(Error::NotFound) };
    finish::clean(app, &upload.row, app.clock.now()).await
}

async fn settle(app: &App, ctx: &Ctx, upload: &Upload, offset: u64, turn: Turn) -> Result<Progress> {
    let progress = Progress { offset, ..upload.begun() };
    if offset < upload.length() {
        return Ok(progress);
    }
    let stored = finish::finish(app, ctx, upload, turn).await?;
    Ok(Progress { expires_at: None, stored: Some(Box::new(stored)), ..progress })
}

impl Upload {
    /// Before its first byte.
    #[must_use]
    pub const fn begun(&self) -> Progress {
        let (file, length) = (self.row.file_id, self.new.length);
        Progress { file, offset: 0, length, expires_at: Some(self.row.expires_at), stored: None }
    }
}

enum Known {
    Finished(Progress),
    Going(Box<Upload>),
}

async fn known(app: &App, ctx: &Ctx, id: UploadId) -> Result<Known> {
    let user = ctx.caller()?.user_id;
    let mut tx = app.db.read("upload_progress").await?;
    if let Some(row) = store::by_upload(&mut tx, user, id).await? {
        let file = super::files::File::of(&mut tx, row).await?;
        let (length, stored) = (file.length()?, Some(Box::new(file.shown(ctx.now)?)));
        let file = file.row.file_id;
        return Ok(Known::Finished(Progress { file, offset: length, length, expires_at: None, stored }));
    }
    let row = store::upload(&mut tx, user, id).await?.filter(|row| ctx.now < row.expires_at);
    Ok(Known::Going(Box::new(Upload::of(row.ok_or(Error::NotFound)?)?)))
}

fn elsewhere(offset: u64) -> Error {
    Error::conflict(ErrorCode::UploadOffset, json!({"offset": offset}))
}

/// Why a body was not taken whole.
enum Broken {
    /// Its line broke, or was given up.
    Line(Error),
    /// It is not what it should be.
    Content(Error),
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Line(error) | Broken::Content(error) => error,
        }
    }
}

enum Hash {
    None,
    Sha256(Sha256),
    Sha1(Sha1),
}

/// Writes a body to the spool.
async fn pour(
    app: &App,
    writing: &mut Writing,
    turn: &mut Turn,
    mut body: impl Stream<Item = Result<Bytes>> + Unpin,
    length: u64,
    checksum: Option<&Checksum>,
) -> Result<(), Broken> {
    let mut hash = match checksum {
        None => Hash::None,
        Some(Checksum::Sha256(_)) => Hash::Sha256(Sha256::new()),
        Some(Checksum::Sha1(_)) => Hash::Sha1(<Sha1 as sha1::Digest>::new()),
    };
    let mut stopping = app.shutdown.clone();
    loop {
        let next = tokio::time::timeout(app.config.limits.body_timeout(), body.next());
        let chunk = tokio::select! {
            chunk = next => chunk,
            () = turn.wanted() => return Err(Broken::Line(left("another request goes on with this upload"))),
            () = shutdown::draining(&mut stopping) => return Err(Broken::Line(Error::Unavailable("upload".to_owned()))),
        };
        let chunk = match chunk {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => return Err(Broken::Line(error)),
            Err(_) => return Err(Broken::Line(left("nothing came for too long"))),
        };
        if chunk.len() as u64 > length - writing.length() {
            return Err(Broken::Content(Error::field("body", "is longer than the file that was announced")));
        }
        writing.add(&chunk).await.map_err(Broken::Line)?;
        match &mut hash {
            Hash::None => {}
            Hash::Sha256(hash) => hash.update(&chunk),
            Hash::Sha1(hash) => sha1::Digest::update(hash, &chunk),
        }
    }
    let good = match (hash, checksum) {
        (Hash::Sha256(hash), Some(Checksum::Sha256(said))) => hash.finalize().as_slice() == said,
        (Hash::Sha1(hash), Some(Checksum::Sha1(said))) => sha1::Digest::finalize(hash).as_slice() == said,
        _ => true,
    };
    if good { Ok(()) } else { Err(Broken::Content(Error::invalid(ErrorCode::ChecksumMismatch, json!({})))) }
}

fn left(problem: &str) -> Error {
    Error::field("body", problem)
}
