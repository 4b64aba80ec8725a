//! `/api/chat/block-user/`

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ErrorBody, UserId,
    block::{Block, BlockList, BlockUser},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    blocks,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    paging::Paging,
    policy,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_blocks, block_user)).routes(routes!(unblock_user))
}

/// Block somebody.
///
/// From now on nothing passes between the two in conversations of just them, and neither starts one with the other;
/// history stays readable. Larger conversations go on. The other person is not told. Blocking them again changes
/// nothing.
#[utoipa::path(post, path = "/api/chat/block-user/", tag = "Conversations", request_body = BlockUser,
    responses((status = 201, description = "They are blocked.", body = Block),
              (status = 200, description = "They were already.", body = Block), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden`; `reason` is `staff_not_blocked` for clinic staff.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody),
              (status = 422, description = "`phi_detected` in the reason.", body = ErrorBody)))]
async fn block_user(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<BlockUser>,
) -> ApiResult<(StatusCode, Json<Block>)> {
    let grant = blocks::authorize(&app, &ctx, request.user_id).await?;
    let blocked = blocks::block(&app, &ctx, grant, request.reason.as_deref()).await?;
    let status = if blocked.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(blocked.block)))
}

/// Which of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BlockQuery {
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// Whom the caller has blocked.
#[utoipa::path(get, path = "/api/chat/block-user/", tag = "Conversations", params(BlockQuery),
    responses((status = 200, body = BlockList), (status = 400, body = ErrorBody)))]
async fn list_blocks(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<BlockQuery>,
) -> ApiResult<Json<BlockList>> {
    let grant = policy::own_account(&app, &ctx)?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(blocks::list(&app, &ctx, grant, &paging).await?))
}

/// Take a block back. Without one, nothing changes.
#[utoipa::path(delete, path = "/api/chat/block-user/{user_id}/", tag = "Conversations",
    params(("user_id" = UserId, Path, description = "Whom the caller has blocked.")),
    responses((status = 204, description = "The caller does not block them."),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody)))]
async fn unblock_user(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(user): ApiPath<UserId>,
) -> ApiResult<StatusCode> {
    let grant = policy::own_account(&app, &ctx)?;
    blocks::unblock(&app, &ctx, grant, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
