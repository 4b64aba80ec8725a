//! POST /api/auth/logout/

use axum::{extract::State, http::StatusCode};
use sigilo_wire::{ErrorBody, account::RefreshToken};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson},
    },
};

/// End the tokens of a device.
///
/// The refresh token is the authorization, so that a device whose access token has expired can still log out.
#[utoipa::path(post, path = "/api/auth/logout/", tag = "Accounts", security(()), request_body = RefreshToken,
    responses((status = 204, description = "Logged out."), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody)))]
pub(super) async fn logout(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiJson(request): ApiJson<RefreshToken>,
) -> ApiResult<StatusCode> {
    auth::logout(&app, &ctx, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}
