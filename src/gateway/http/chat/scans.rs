//! Handing a file's key to the scan.

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody, FileId,
    vault::{ScannerStatement, SealedScanKey},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
    vault::scan,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(scan_key)).routes(routes!(hand_over)).routes(routes!(rescan))
}

/// The newest key that files' keys are handed over to.
///
/// Check that the clinic's scanner key signed it before sealing anything to it.
#[utoipa::path(get, path = "/api/chat/vault/scan-key/", tag = "Files",
    responses((status = 200, body = ScannerStatement), (status = 401, body = ErrorBody),
              (status = 503, description = "`unavailable`: the scan worker is away. Upload all the same; hand the key over when it is back.", body = ErrorBody)))]
async fn scan_key(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<ScannerStatement>> {
    Ok(Json(scan::newest_key(&app, &ctx).await?))
}

/// Hand the key of a file one uploaded over to the scan.
///
/// Before its first verdict. What was handed over before counts no more.
#[utoipa::path(post, path = "/api/chat/files/{file_id}/scan-key/", tag = "Files",
    params(("file_id" = FileId, Path)), request_body = SealedScanKey,
    responses((status = 204, description = "It waits for its scan."),
              (status = 400, description = "`invalid_field`: no scan key in use.", body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but the uploader's messaging devices.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody),
              (status = 409, description = "`already_settled`: it has a verdict; `file_not_available`", body = ErrorBody)))]
async fn hand_over(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(file): ApiPath<FileId>,
    ApiJson(key): ApiJson<SealedScanKey>,
) -> ApiResult<StatusCode> {
    let grant = scan::authorize_hand_over(&app, &ctx, file).await?;
    scan::hand_over(&app, &ctx, grant, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Have a file looked into again.
///
/// It hands the file's key to the scan worker once more, which is noted in the audit log. While it waits for another
/// participant's sake already, that is enough. Counted like an upload.
#[utoipa::path(post, path = "/api/chat/files/{file_id}/rescan/", tag = "Files",
    params(("file_id" = FileId, Path)), request_body = SealedScanKey,
    responses((status = 204, description = "It waits for its scan."),
              (status = 400, description = "`invalid_field`: no scan key in use.", body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "`forbidden` to session devices.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody),
              (status = 409, description = "`file_not_available`: it has no verdict yet, or is no more.", body = ErrorBody),
              (status = 429, body = ErrorBody)))]
async fn rescan(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(file): ApiPath<FileId>,
    ApiJson(key): ApiJson<SealedScanKey>,
) -> ApiResult<StatusCode> {
    let grant = scan::authorize_rescan(&app, &ctx, file).await?;
    scan::rescan(&app, &ctx, grant, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
