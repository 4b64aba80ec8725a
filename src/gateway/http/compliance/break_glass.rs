//! Uses of break-glass and what was found.

use axum::{Json, extract::State};
use serde::Deserialize;
use sigilo_wire::{
    BreakGlassId, ErrorBody,
    break_glass::{BreakGlass, BreakGlassList, CloseBreakGlass},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    break_glass,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    paging::Paging,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_break_glass)).routes(routes!(close_break_glass))
}

/// Which uses.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct BreakGlassQuery {
    /// Those that have a finding, instead of those that wait for one.
    #[serde(default)]
    closed: bool,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The uses of break-glass that wait for their review.
#[utoipa::path(get, path = "/api/compliance/break-glass/", tag = "Compliance", params(BreakGlassQuery),
    responses((status = 200, body = BreakGlassList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but compliance officers.", body = ErrorBody)))]
async fn list_break_glass(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<BreakGlassQuery>,
) -> ApiResult<Json<BreakGlassList>> {
    let grant = break_glass::authorize_review(&app, &ctx).await?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(break_glass::list(&app, &ctx, grant, query.closed, &paging).await?))
}

/// Close a use of break-glass with what was found.
#[utoipa::path(post, path = "/api/compliance/break-glass/{break_glass_id}/close/", tag = "Compliance",
    params(("break_glass_id" = BreakGlassId, Path)), request_body = CloseBreakGlass,
    responses((status = 200, body = BreakGlass), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but compliance officers.", body = ErrorBody),
              (status = 404, description = "No such use.", body = ErrorBody),
              (status = 409, description = "`already_settled`: it was closed with another finding.", body = ErrorBody)))]
async fn close_break_glass(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(id): ApiPath<BreakGlassId>,
    ApiJson(request): ApiJson<CloseBreakGlass>,
) -> ApiResult<Json<BreakGlass>> {
    let grant = break_glass::authorize_review(&app, &ctx).await?;
    Ok(Json(break_glass::close(&app, &ctx, grant, id, request.finding).await?))
}
