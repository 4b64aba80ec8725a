//! Reading what is known of a file, and the file.
//!
//! A download counts when it begins: a request for the whole of it, or from its first byte on, and any other that does not
//! go on within an hour with one of the same person that counted. So a broken line costs nothing, and leaving out the
//! first byte saves nothing.

use std::{ops::Range, time::Duration};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use sigilo_wire::{
    ErrorCode, FileId,
    anomaly::AnomalyKind,
    vault::{FileStatus, StoredFile},
};

use super::{
    downloads::Way,
    files::{self, File},
    links, store,
};
use crate::{
    App, Ctx, Error, Result, anomalies,
    audit::{self, Act},
    conversations::{self, FileFacts},
    policy::{Grant, ReadFile},
};

/// How long after a download has begun a request for the rest of it belongs to it.
pub const GOES_ON: Duration = Duration::from_hours(1);

/// A file that the caller may read.
#[derive(Debug)]
pub struct Readable {
    file: File,
    /// What it is a small picture of: it is given out while that is.
    of: Option<File>,
    grant: Grant<ReadFile>,
    patient: Option<sigilo_wire::UserId>,
}

/// The file, if the caller may read it.
///
/// # Errors
/// `not_found` when the clinic has no such file, or the caller does not take part where it is; the rules' denial.
pub async fn authorize_read(app: &App, ctx: &Ctx, id: FileId) -> Result<Readable> {
    let mut tx = app.db.read("file_get").await?;
    let file = files::get(&mut tx, ctx.tenant, id).await?;
    let of = match file.row.thumbnail_of {
        Some(of) => Some(files::get(&mut tx, ctx.tenant, of).await?),
        None => None,
    };
    drop(tx);
    let row = &file.row;
    let agreed = |file: &File| !file.row.requires_consent || file.row.consent == Some(true);
    let facts = FileFacts {
        file: id,
        conversation: row.conversation_id,
        uploader: row.uploader_id,
        agreed: agreed(&file) && of.as_ref().is_none_or(agreed),
    };
    let (grant, patient) = conversations::authorize_read_file(app, ctx, facts).await?;
    Ok(Readable { file, of, grant, patient })
}

/// What is known of a file, with an address of its content while it is given out.
///
/// # Errors
/// `unavailable` when the database is away.
pub async fn show(app: &App, ctx: &Ctx, readable: &Readable) -> Result<StoredFile> {
    let mut shown = readable.file.shown(ctx.now)?;
    if let Some(of) = &readable.of
        && shown.status == FileStatus::Active
    {
        shown.status = of.status(ctx.now)?;
    }
    if readable.given_out(ctx).is_ok() {
        shown.content_url = Some(links::address(app, ctx, shown.file_id).await?);
    }
    Ok(shown)
}

impl Readable {
    /// The name of the blob: SHA-256 of it, in hexadecimal.
    #[must_use]
    pub fn tag(&self) -> String {
        audit::hex(&self.file.row.blob_sha256)
    }

    /// The length of the blob in bytes.
    ///
    /// # Errors
    /// For a length this program does not write.
    pub fn length(&self) -> Result<u64> {
        self.file.length()
    }

    /// Refuses what is not given out.
    ///
    /// # Errors
    /// `file_not_available` with the status.
    pub fn given_out(&self, ctx: &Ctx) -> Result<()> {
        self.file.may_be_given_out(ctx.now)?;
        self.of.as_ref().map_or(Ok(()), |of| of.may_be_given_out(ctx.now))
    }
}

/// These bytes of a file's blob, counted as a download where they begin one.
///
/// # Errors
/// `file_not_available` with the status, also when the caller has downloaded it as often as they may; `rate_limited` while
/// they have as many downloads under way as they may; `unavailable`.
pub async fn content(
    app: &App,
    ctx: &Ctx,
    readable: Readable,
    (way, wanted): (Way, Range<u64>),
) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static + use<>> {
    readable.given_out(ctx)?;
    let Readable { file, grant, patient, .. } = readable;
    if *grant.resource() != file.row.file_id {
        return Err(Error::internal("a grant to read a file was used for another one"));
    }
    // First, so that what is not there costs nobody a download.
    let key = app.keystore.get(file.row.data_key_id).await?;
    let blob = app.objects.open_range(&key, &file.kept()?, wanted.clone()).await?;
    let caller = ctx.caller()?;
    let download = app.downloads.begin((caller.user_id, way), ctx.now)?;
    let conversation_key = app.conversation_key(ctx, file.row.conversation_id).await?;
    let mut tx = app.db.begin("file_download").await?;
    let goes_on = (wanted.start > 0).then(|| ctx.now - GOES_ON);
    let ids = (file.row.file_id, caller.user_id);
    let counted = store::count_download(&mut tx, ids, file.row.max_downloads, goes_on, ctx.now).await?;
    match counted {
        store::Counted::GoesOn => {}
        store::Counted::TooMany => {
            let details = json!({
                "status": FileStatus::Active, "virus_scan": file.scan()?, "max_downloads": file.row.max_downloads,
            });
            return Err(Error::conflict(ErrorCode::FileNotAvailable, details));
        }
        store::Counted::OneMore => {
            let act = Act::done("download_file")
                .object("conversation", file.row.conversation_id)
                .object("file", file.row.file_id)
                .patient(patient)
                .by(grant.basis());
            let entry = audit::prepare(ctx, &act, &conversation_key, None, &*app.entropy)?;
            audit::write(&mut tx, ctx.tenant, vec![entry]);
            tx.commit().await?;
            metrics::counter!("sigilo_vault_downloads_total").increment(1);
            let kind = AnomalyKind::BulkDownloads;
            anomalies::notice(app, ctx, kind, caller.user_id, Some(caller.device_id)).await;
        }
    }
    let clock = std::sync::Arc::clone(&app.clock);
    Ok(blob.map(move |piece| download.goes_on(clock.now()).and(piece)))
}
