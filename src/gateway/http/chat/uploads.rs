//! `/api/chat/upload-file/` and `/api/chat/uploads/`: files in one request, and in pieces (tus 1.0.0: core, creation, creation
//! with upload, termination, checksum, expiration).

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::DateTime;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value, json};
use sigilo_seal::file::sealed_len;
use sigilo_wire::{
    ErrorBody, ErrorCode, UploadId,
    vault::{NewFile, StoredFile},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result,
    app::SharedApp,
    gateway::http::{
        error::{ApiError, ApiResult},
        extract::{ApiPath, Authenticated},
        strict,
    },
    vault::{self, Checksum, Progress},
};

/// Routes whose requests carry files: they take as long as something comes.
pub(in crate::gateway::http) const CARRY_FILES: [&str; 3] =
    ["/api/chat/upload-file/", UPLOADS, "/api/chat/uploads/{upload_id}/"];
const UPLOADS: &str = "/api/chat/uploads/";
/// The most bytes of the part that says what the file is.
const MAX_ANNOUNCEMENT: usize = 64 * 1024;
/// The most bytes before the file itself: that part, and the headers of both.
const MAX_BEFORE_FILE: usize = MAX_ANNOUNCEMENT + 16 * 1024;
const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const FILE_ID: HeaderName = HeaderName::from_static("sigilo-file-id");
/// Headers of requests that pages of other origins may set.
pub(in crate::gateway::http) const REQUEST_HEADERS: [HeaderName; 5] =
    [TUS_RESUMABLE, UPLOAD_OFFSET, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_CHECKSUM];
/// Headers of answers that they may read.
pub(in crate::gateway::http) const ANSWER_HEADERS: [HeaderName; 6] =
    [TUS_RESUMABLE, UPLOAD_OFFSET, UPLOAD_LENGTH, UPLOAD_EXPIRES, FILE_ID, header::LOCATION];

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(upload_file)).routes(routes!(create_upload)).routes(routes!(
        upload_progress,
        append_upload,
        abandon_upload
    ))
}

/// The parts of an upload in one request, in this order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body that is read part by part")]
struct UploadForm {
    /// What the file is.
    upload: NewFile,
    /// The encrypted file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Upload a file, whole.
///
/// The same upload again gets the first answer.
#[utoipa::path(post, path = "/api/chat/upload-file/", tag = "Files",
    request_body(content = inline(UploadForm), content_type = "multipart/form-data"),
    responses((status = 201, description = "It waits for its scan.", body = StoredFile),
              (status = 400, description = "`file_type_not_allowed`, `outside_chat_hours`, `invalid_field`, `invalid_json`, `unknown_field`", body = ErrorBody),
              (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
              (status = 404, description = "The caller does not take part.", body = ErrorBody),
              (status = 409, description = "`idempotency_conflict`, `checksum_mismatch`", body = ErrorBody),
              (status = 413, description = "`file_too_large` with the sizes", body = ErrorBody),
              (status = 415, description = "Not `multipart/form-data`.", body = ErrorBody),
              (status = 429, body = ErrorBody),
              (status = 507, description = "`storage_full`", body = ErrorBody)))]
async fn upload_file(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    request: Request,
) -> ApiResult<(StatusCode, Json<StoredFile>)> {
    let (mut form, room) = form(request)?;
    let patience = app.config.limits.body_timeout();
    let in_time = tokio::time::timeout(patience, room.enough_for(announcement(&mut form))).await;
    let new = in_time.map_err(|_| Error::field("upload", "did not arrive in time"))???;
    let in_time = tokio::time::timeout(patience, room.enough_for(form.next_field())).await;
    let part = in_time.map_err(|_| Error::field("file", "did not arrive in time"))??.map_err(broken)?;
    let part = part.filter(|part| part.name() == Some("file"));
    let part = part.ok_or_else(|| Error::field("file", "is missing: it follows the part 'upload'"))?;
    room.lift();
    let stored = vault::upload(&app, &ctx, &new, part.map_err(broken)).await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

fn form(request: Request) -> Result<(multer::Multipart<'static>, Room)> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type.and_then(|value| multer::parse_boundary(value).ok());
    let boundary = boundary.ok_or_else(|| {
        let details = json!({"expected": "multipart/form-data"});
        Error::invalid(ErrorCode::UnsupportedMediaType, details)
    })?;
    let room = Arc::new(AtomicUsize::new(MAX_BEFORE_FILE));
    let body = Paced { body: request.into_body().into_data_stream(), rests: false, room: Arc::clone(&room) };
    Ok((multer::Multipart::new(body, boundary), Room(room)))
}

/// How many bytes may come before the part that is the file: the parser keeps headers and preambles whole.
struct Room(Arc<AtomicUsize>);

impl Room {
    /// What the future comes to, unless it waits for more bytes than may come.
    async fn enough_for<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        let mut future = std::pin::pin!(future);
        let enough = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Pending if self.0.load(Ordering::Relaxed) == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
            Poll::Ready(value) => Poll::Ready(Some(value)),
        });
        enough.await.ok_or_else(|| Error::field("body", "has too much before the file"))
    }

    /// The file has begun; its length is looked at where it is received.
    fn lift(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }
}

async fn announcement(form: &mut multer::Multipart<'static>) -> Result<NewFile> {
    let part = form.next_field().await.map_err(broken)?.filter(|part| part.name() == Some("upload"));
    let mut part = part.ok_or_else(|| Error::field("upload", "is missing: it is the first part"))?;
    let mut text = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        if text.len() + chunk.len() > MAX_ANNOUNCEMENT {
            return Err(Error::TooLarge { limit: MAX_ANNOUNCEMENT as u64 });
        }
        text.extend_from_slice(&chunk);
    }
    strict::json(&text)
}

fn broken(_: multer::Error) -> Error {
    Error::field("body", "broke off, or is no multipart/form-data")
}

/// A body of which the parser gets a piece at a time: it keeps all that it is offered at once.
struct Paced {
    body: axum::body::BodyDataStream,
    rests: bool,
    room: Arc<AtomicUsize>,
}

impl Stream for Paced {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            // The last piece may have all that was to come, and more: whoever waits for another one is told by `Room`.
            return Poll::Pending;
        }
        let next = self.body.poll_next_unpin(cx);
        if let (Poll::Ready(Some(Ok(piece))), true) = (&next, room != usize::MAX) {
            self.room.store(room.saturating_sub(piece.len()), Ordering::Relaxed);
        }
        self.rests = next.is_ready();
        next
    }
}

/// A request of a version of tus that is spoken here.
struct Tus(HeaderMap);

impl FromRequestParts<SharedApp> for Tus {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self, Response> {
        if parts.headers.get(TUS_RESUMABLE).is_some_and(|version| version == VERSION) {
            return Ok(Self(parts.headers.clone()));
        }
        Err((StatusCode::PRECONDITION_FAILED, [(HeaderName::from_static("tus-version"), VERSION)])
            .into_response())
    }
}

const VERSION: &str = "1.0.0";

impl Tus {
    fn number(&self, name: &HeaderName) -> Result<u64> {
        let text = self.0.get(name).and_then(|value| value.to_str().ok());
        let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|text| text.parse().ok()).ok_or_else(|| Error::field(name.as_str(), "is a number"))
    }

    fn checksum(&self) -> Result<Option<Checksum>> {
        let Some(value) = self.0.get(UPLOAD_CHECKSUM) else { return Ok(None) };
        let wrong =
            || Error::field(UPLOAD_CHECKSUM.as_str(), "is sha256 or sha1, a space, and the hash in base64");
        let (algorithm, hash) =
            value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wrong)?;
        let hash = STANDARD.decode(hash).map_err(|_| wrong())?;
        let checksum = match algorithm {
            "sha256" => hash.try_into().map(Checksum::Sha256).ok(),
            "sha1" => hash.try_into().map(Checksum::Sha1).ok(),
            _ => None,
        };
        checksum.map(Some).ok_or_else(wrong)
    }

    fn has_piece(&self) -> bool {
        self.0.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/offset+octet-stream")
    }

    /// What is announced: each key is a field, its value the field's JSON, or text where the field is text.
    fn announcement(&self) -> Result<NewFile> {
        const NAME: &str = "upload-metadata";
        let wrong = || Error::field(NAME, "is a list of keys, each with its value in base64");
        let text = self.0.get(UPLOAD_METADATA).and_then(|value| value.to_str().ok()).ok_or_else(wrong)?;
        if text.len() > MAX_ANNOUNCEMENT {
            return Err(Error::field(NAME, "is too long"));
        }
        let mut fields = Map::new();
        fields.insert("length".to_owned(), json!(self.number(&UPLOAD_LENGTH)?));
        for pair in text.split(',') {
            let (key, value) = pair.trim().split_once(' ').ok_or_else(wrong)?;
            let value =
                String::from_utf8(STANDARD.decode(value).map_err(|_| wrong())?).map_err(|_| wrong())?;
            let value = match key {
                "handling" | "scan_key" => serde_json::from_str(&value).map_err(|_| wrong())?,
                _ => Value::String(value),
            };
            if fields.insert(key.to_owned(), value).is_some() {
                return Err(Error::field(NAME, "names a key twice, or the length"));
            }
        }
        strict::json(&serde_json::to_vec(&fields).map_err(Error::internal)?)
    }
}

/// Begin an upload in pieces.
///
/// `Upload-Metadata` has the fields of what is announced; `handling` and `scan_key` are JSON. The same upload again gets
/// the same location. A body of type `application/offset+octet-stream` is its first piece.
#[utoipa::path(post, path = "/api/chat/uploads/", tag = "Files",
    params(("Tus-Resumable" = String, Header, description = "1.0.0"),
           ("Upload-Length" = String, Header, description = "The length of the encrypted file in bytes."),
           ("Upload-Metadata" = String, Header, description = "The announcement.")),
    responses((status = 201, description = "`Location` is where the pieces go."),
              (status = 400, description = "`file_type_not_allowed`, `outside_chat_hours`, `invalid_field`, `unknown_field`", body = ErrorBody),
              (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
              (status = 404, description = "The caller does not take part.", body = ErrorBody),
              (status = 409, description = "`idempotency_conflict`; with a piece, as PATCH", body = ErrorBody),
              (status = 412, description = "Another version of tus."),
              (status = 413, description = "`file_too_large` with the sizes", body = ErrorBody),
              (status = 429, body = ErrorBody),
              (status = 460, description = "`checksum_mismatch`", body = ErrorBody),
              (status = 507, description = "`storage_full`", body = ErrorBody)))]
async fn create_upload(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    tus: Tus,
    request: Request,
) -> ApiResult<Response> {
    let (new, checksum) = (tus.announcement()?, tus.checksum()?);
    vault::begin(&app, &ctx, &new).await?;
    let mut progress = vault::progress(&app, &ctx, new.upload_id).await?;
    if tus.has_piece() && progress.stored.is_none() {
        let piece = pieces(request.into_body());
        progress = vault::append(&app, &ctx, new.upload_id, (0, checksum.as_ref()), piece).await?;
    }
    let mut response = answer(StatusCode::CREATED, &progress);
    let location = format!("{UPLOADS}{}/", new.upload_id);
    response
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_str(&location).map_err(Error::internal)?);
    Ok(response)
}

/// How far an upload is.
#[utoipa::path(head, path = "/api/chat/uploads/{upload_id}/", tag = "Files",
    params(("upload_id" = UploadId, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 200, description = "`Upload-Offset`, `Upload-Length`; `Sigilo-File-Id` is what the file is called."),
              (status = 401, body = ErrorBody),
              (status = 403, description = "It was whole, and the rules allow it no more.", body = ErrorBody),
              (status = 404, description = "No upload of the caller's, or its time is over.", body = ErrorBody),
              (status = 409, description = "`checksum_mismatch`: it was whole, and is not what was announced.", body = ErrorBody),
              (status = 412, description = "Another version of tus.")))]
async fn upload_progress(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    _tus: Tus,
    ApiPath(upload): ApiPath<UploadId>,
) -> ApiResult<Response> {
    Ok(answer(StatusCode::OK, &vault::progress(&app, &ctx, upload).await?))
}

/// Send a piece of an upload.
///
/// The last one makes it a file. With `Upload-Checksum` a piece is taken whole or not at all.
#[utoipa::path(patch, path = "/api/chat/uploads/{upload_id}/", tag = "Files",
    params(("upload_id" = UploadId, Path), ("Tus-Resumable" = String, Header, description = "1.0.0"),
           ("Upload-Offset" = String, Header, description = "Where the piece begins."),
           ("Upload-Checksum" = Option<String>, Header, description = "`sha256` or `sha1`, a space, and the piece's hash in base64.")),
    request_body(content = String, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "`Upload-Offset` is where the next one begins."),
              (status = 400, description = "`outside_chat_hours`, `invalid_field`", body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "It is whole, and the rules allow it no more.", body = ErrorBody),
              (status = 404, description = "No upload of the caller's, or its time is over.", body = ErrorBody),
              (status = 409, description = "`upload_offset` with where it goes on; `checksum_mismatch`: it is whole, and is not what was announced.", body = ErrorBody),
              (status = 412, description = "Another version of tus."),
              (status = 415, description = "Not `application/offset+octet-stream`.", body = ErrorBody),
              (status = 460, description = "`checksum_mismatch` of the piece", body = ErrorBody)))]
async fn append_upload(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    tus: Tus,
    ApiPath(upload): ApiPath<UploadId>,
    request: Request,
) -> ApiResult<Response> {
    if !tus.has_piece() {
        let details = json!({"expected": "application/offset+octet-stream"});
        return Err(ApiError(Error::invalid(ErrorCode::UnsupportedMediaType, details)));
    }
    let (offset, checksum) = (tus.number(&UPLOAD_OFFSET)?, tus.checksum()?);
    let piece = pieces(request.into_body());
    let progress = vault::append(&app, &ctx, upload, (offset, checksum.as_ref()), piece).await?;
    Ok(answer(StatusCode::NO_CONTENT, &progress))
}

/// Give an upload up.
#[utoipa::path(delete, path = "/api/chat/uploads/{upload_id}/", tag = "Files",
    params(("upload_id" = UploadId, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 204, description = "It is forgotten."), (status = 401, body = ErrorBody),
              (status = 404, description = "No upload of the caller's that is under way.", body = ErrorBody),
              (status = 412, description = "Another version of tus.")))]
async fn abandon_upload(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    _tus: Tus,
    ApiPath(upload): ApiPath<UploadId>,
) -> ApiResult<Response> {
    vault::abandon(&app, &ctx, upload).await?;
    Ok((StatusCode::NO_CONTENT, [(TUS_RESUMABLE, VERSION)]).into_response())
}

fn pieces(body: Body) -> impl Stream<Item = Result<Bytes>> + Unpin {
    body.into_data_stream().map_err(|_| Error::field("body", "broke off"))
}

fn answer(status: StatusCode, progress: &Progress) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(progress.offset));
    headers.insert(UPLOAD_LENGTH, HeaderValue::from(progress.length));
    let expires = progress.expires_at.and_then(|at| DateTime::from_timestamp(at.seconds(), 0));
    let expires = expires.map(|at| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    for (name, text) in [(UPLOAD_EXPIRES, expires), (FILE_ID, Some(progress.file.to_string()))] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

/// Says with the answer to OPTIONS which tus is spoken, whoever made the answer.
pub(in crate::gateway::http) async fn say_tus(
    State(app): State<SharedApp>,
    request: Request,
    next: Next,
) -> Response {
    let asked = request.method() == Method::OPTIONS && request.uri().path().starts_with(UPLOADS);
    let mut response = next.run(request).await;
    if asked {
        let vault = &app.config.vault;
        let longest = sealed_len(vault.max_file_bytes.max(vault.max_recording_bytes)).unwrap_or(u64::MAX);
        let headers = response.headers_mut();
        for (name, value) in [
            (TUS_RESUMABLE, VERSION),
            (HeaderName::from_static("tus-version"), VERSION),
            (
                HeaderName::from_static("tus-extension"),
                "creation,creation-with-upload,termination,checksum,expiration",
            ),
            (HeaderName::from_static("tus-checksum-algorithm"), "sha256,sha1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(HeaderName::from_static("tus-max-size"), HeaderValue::from(longest));
    }
    response
}
