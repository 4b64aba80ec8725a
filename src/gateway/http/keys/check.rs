//! POST /api/keys/check/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody,
    keys::{CheckKeys, KeyCounts},
};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Authenticated},
    },
    keys,
};

/// Whether the server hands out the keys that the calling device published.
#[utoipa::path(post, path = "/api/keys/check/", tag = "Keys", request_body = CheckKeys,
    responses((status = 200, description = "The same keys; what is left of them.", body = KeyCounts),
              (status = 403, description = "`forbidden` on a session device.", body = ErrorBody),
              (status = 409, description = "`keys_differ`: publish the device's keys again.", body = ErrorBody)))]
pub(super) async fn check_keys(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<CheckKeys>,
) -> ApiResult<Json<KeyCounts>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(keys::check(&app, &ctx, grant, request).await?))
}
