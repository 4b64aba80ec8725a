//! `/api/chat/files/{id}/`

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use sigilo_wire::{
    ErrorBody, FileId,
    vault::{Consent, StoredFile},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::range::{self, Asked};
use crate::{
    Ctx, Error,
    app::SharedApp,
    gateway::http::{
        error::{ApiError, ApiResult},
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated, address, arrival},
    },
    vault::{self, Link, Way},
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(get_file)).routes(routes!(get_content)).routes(routes!(consent))
}

/// What is known of a file.
///
/// `content_url` is there while the file is given out to the caller: it works for five minutes, without a token.
#[utoipa::path(get, path = "/api/chat/files/{file_id}/", tag = "Files", params(("file_id" = FileId, Path)),
    responses((status = 200, body = StoredFile), (status = 401, body = ErrorBody),
              (status = 403, description = "A session device, or the patient has not agreed.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part where it is.", body = ErrorBody)))]
async fn get_file(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(file): ApiPath<FileId>,
) -> ApiResult<Json<StoredFile>> {
    let readable = vault::authorize_read(&app, &ctx, file).await?;
    Ok(Json(vault::show(&app, &ctx, &readable).await?))
}

/// The caller: by a token, or by an address that was given for this file.
struct Downloader(Ctx, Way);

impl FromRequestParts<SharedApp> for Downloader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        if parts.uri.query().is_none_or(str::is_empty) {
            return Authenticated::from_request_parts(parts, app)
                .await
                .map(|Authenticated(ctx)| Self(ctx, Way::Token));
        }
        let ApiQuery(link) = ApiQuery::<Link>::from_request_parts(parts, app).await?;
        let Ok(Path(file)) = Path::<FileId>::from_request_parts(parts, app).await else {
            return Err(ApiError(Error::NotFound));
        };
        let ctx = vault::open_link(app, file, &link, arrival(parts)?.request, address(parts, app)).await?;
        app.limits.clinics.request(&app.db, &ctx).await?;
        Ok(Self(ctx, Way::Link))
    }
}

/// A file, encrypted as it was uploaded.
///
/// One range of bytes may be asked for. A download that begins counts; one that goes on after a break does not. Without a
/// token the four parts of `content_url` say who asks.
#[utoipa::path(get, path = "/api/chat/files/{file_id}/content/", tag = "Files", security((), ("bearer" = [])),
    params(("file_id" = FileId, Path),
           ("device" = Option<String>, Query, description = "Of `content_url`."),
           ("login" = Option<String>, Query, description = "Of `content_url`."),
           ("expires" = Option<i64>, Query, description = "Of `content_url`."),
           ("signature" = Option<String>, Query, description = "Of `content_url`."),
           ("Range" = Option<String>, Header, description = "`bytes=first-last`, one range."),
           ("If-Range" = Option<String>, Header, description = "The range counts only for this `ETag`."),
           ("If-None-Match" = Option<String>, Header, description = "304 for this `ETag`.")),
    responses((status = 200, description = "The encrypted file.", content_type = "application/octet-stream", body = String),
              (status = 206, description = "The bytes that were asked for.", content_type = "application/octet-stream", body = String),
              (status = 304, description = "The caller has it."),
              (status = 400, description = "`invalid_field`, `unknown_field` in the query", body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "A session device, or the patient has not agreed.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part where it is; an address that is over, was altered, or whose device has logged out.", body = ErrorBody),
              (status = 409, description = "`file_not_available` with the status", body = ErrorBody),
              (status = 416, description = "No such bytes: `Content-Range` says how many there are."),
              (status = 429, body = ErrorBody)))]
async fn get_content(
    State(app): State<SharedApp>,
    Downloader(ctx, way): Downloader,
    ApiPath(file): ApiPath<FileId>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let readable = vault::authorize_read(&app, &ctx, file).await?;
    readable.given_out(&ctx)?;
    let (tag, length) = (format!("\"{}\"", readable.tag()), readable.length()?);
    let (status, wanted) = match range::asked(&headers, &tag, length) {
        Asked::Has => return Ok(of_content(StatusCode::NOT_MODIFIED, &tag, Body::empty())?),
        Asked::Nowhere => {
            let mut response = of_content(StatusCode::RANGE_NOT_SATISFIABLE, &tag, Body::empty())?;
            response.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes */{length}"))?);
            return Ok(response);
        }
        Asked::Whole => (StatusCode::OK, 0..length),
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(vault::content(&app, &ctx, readable, (way, wanted.clone())).await?)
    };
    let mut response = of_content(status, &tag, body)?;
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(wanted.end - wanted.start));
    answer.insert(header::CONTENT_DISPOSITION, text(&format!("attachment; filename=\"{file}\""))?);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", wanted.start, wanted.end - 1);
        answer.insert(header::CONTENT_RANGE, text(&range)?);
    }
    Ok(response)
}

fn of_content(status: StatusCode, tag: &str, body: Body) -> Result<Response, Error> {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ETAG, text(tag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

fn text(value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(Error::internal)
}

/// The patient's answer: whether others may open a file that needs it.
///
/// It may be changed later; the same answer again changes nothing.
#[utoipa::path(post, path = "/api/chat/files/{file_id}/consent/", tag = "Files", params(("file_id" = FileId, Path)),
    request_body = Consent,
    responses((status = 200, body = StoredFile), (status = 400, description = "It needs no consent.", body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but the patient of the conversation.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part where it is.", body = ErrorBody)))]
async fn consent(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(file): ApiPath<FileId>,
    ApiJson(answer): ApiJson<Consent>,
) -> ApiResult<Json<StoredFile>> {
    let grant = vault::authorize_consent(&app, &ctx, file).await?;
    Ok(Json(vault::consent(&app, &ctx, grant, file, &answer).await?))
}
