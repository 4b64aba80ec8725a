//! That break-glass was used, without what was said about it, and how long uses last.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ErrorBody,
    break_glass::{BreakGlassList, BreakGlassSettings},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    break_glass,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiQuery, Authenticated},
    },
    paging::Paging,
    relationships::authorize_manage_relationships,
};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_used_break_glass))
        .routes(routes!(get_break_glass, set_break_glass))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct UsedBreakGlassQuery {
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The uses of break-glass, the newest first, without their texts.
#[utoipa::path(get, path = "/api/admin/break-glass/", tag = "Administration", params(UsedBreakGlassQuery),
    responses((status = 200, body = BreakGlassList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn list_used_break_glass(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<UsedBreakGlassQuery>,
) -> ApiResult<Json<BreakGlassList>> {
    let grant = break_glass::authorize_list(&app, &ctx).await?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(break_glass::list_for_staff(&app, &ctx, grant, &paging).await?))
}

/// How long a use of break-glass lasts.
#[utoipa::path(get, path = "/api/admin/break-glass/settings/", tag = "Administration",
    responses((status = 200, body = BreakGlassSettings),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn get_break_glass(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<BreakGlassSettings>> {
    let grant = authorize_manage_relationships(&app, &ctx)?;
    Ok(Json(break_glass::settings(&app, &ctx, grant).await?))
}

/// Change how long a use of break-glass lasts.
#[utoipa::path(put, path = "/api/admin/break-glass/settings/", tag = "Administration", request_body = BreakGlassSettings,
    responses((status = 204, description = "For uses from now on."),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn set_break_glass(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(change): ApiJson<BreakGlassSettings>,
) -> ApiResult<StatusCode> {
    let grant = authorize_manage_relationships(&app, &ctx)?;
    break_glass::change_settings(&app, &ctx, grant, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
