//! POST /api/auth/login/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody,
    account::{Login, Tokens},
};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson},
    },
};

/// Log in.
///
/// Without a device, a new session. A messaging device that was logged out names itself by its id and keeps its
/// number and keys.
#[utoipa::path(post, path = "/api/auth/login/", tag = "Accounts", security(()), request_body = Login,
    responses((status = 200, body = Tokens), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "invalid_credentials, device_revoked"),
        (status = 404, body = ErrorBody, description = "no messaging device of that id"),
        (status = 409, body = ErrorBody, description = "device_limit"), (status = 503, body = ErrorBody)))]
pub(super) async fn login(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiJson(request): ApiJson<Login>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(auth::login(&app, &ctx, &request).await?))
}
