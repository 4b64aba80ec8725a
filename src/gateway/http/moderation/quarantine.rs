//! Files that were found infected.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ErrorBody, FileId,
    vault::{QuarantineList, SignedRelease, StoredFile},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    paging::Paging,
    vault::quarantine,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_quarantine))
        .routes(routes!(release_file))
        .routes(routes!(destroy_quarantined))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QuarantineQuery {
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The files that were found infected, with who calls that false.
#[utoipa::path(get, path = "/api/moderation/quarantine/", tag = "Moderation", params(QuarantineQuery),
    responses((status = 200, body = QuarantineList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but moderators.", body = ErrorBody)))]
async fn list_quarantine(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<QuarantineQuery>,
) -> ApiResult<Json<QuarantineList>> {
    let grant = quarantine::authorize_manage(&app, &ctx).await?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(quarantine::list(&app, &ctx, &grant, &paging).await?))
}

/// Call the newest finding on a file false.
///
/// One moderator's word changes nothing; with that of a second one the file is given out, until there is a newer verdict.
#[utoipa::path(post, path = "/api/moderation/quarantine/{file_id}/release/", tag = "Moderation",
    params(("file_id" = FileId, Path)), request_body = SignedRelease,
    responses((status = 200, body = StoredFile),
              (status = 400, description = "`invalid_field`: the statement is none, another person's, or about another file.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but moderators, and to whoever uploaded the file; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "No such file.", body = ErrorBody),
              (status = 409, description = "`already_settled`: the newest verdict is another one or needs no release, or the caller has said so already; `file_not_available`, `keys_missing`.", body = ErrorBody),
              (status = 422, description = "`invalid_signature`", body = ErrorBody)))]
async fn release_file(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(file): ApiPath<FileId>,
    ApiJson(release): ApiJson<SignedRelease>,
) -> ApiResult<Json<StoredFile>> {
    let grant = quarantine::authorize_release(&app, &ctx, file).await?;
    Ok(Json(quarantine::release(&app, &ctx, &grant, file, &release).await?))
}

/// Destroy a file that was found infected, for good.
///
/// Its key is destroyed, so that nobody reads it any more, in backups neither.
#[utoipa::path(delete, path = "/api/moderation/quarantine/{file_id}/", tag = "Moderation",
    params(("file_id" = FileId, Path)),
    responses((status = 204, description = "Destroyed, now or before."),
              (status = 403, description = "`forbidden` to all but moderators; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "No such file.", body = ErrorBody),
              (status = 409, description = "`file_not_available`: it is not in quarantine.", body = ErrorBody)))]
async fn destroy_quarantined(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(file): ApiPath<FileId>,
) -> ApiResult<StatusCode> {
    let grant = quarantine::authorize_manage(&app, &ctx).await?;
    quarantine::destroy(&app, &ctx, &grant, file).await?;
    Ok(StatusCode::NO_CONTENT)
}
