//! POST /api/auth/refresh/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody,
    account::{RefreshToken, Tokens},
};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson},
    },
};

/// Trade a refresh token for fresh tokens.
///
/// Each refresh token works once. One used again ends the device's tokens, also the newest.
#[utoipa::path(post, path = "/api/auth/refresh/", tag = "Accounts", security(()), request_body = RefreshToken,
    responses((status = 200, body = Tokens), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "unauthenticated, token_reused, device_revoked")))]
pub(super) async fn refresh(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiJson(request): ApiJson<RefreshToken>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(auth::refresh(&app, &ctx, &request).await?))
}
