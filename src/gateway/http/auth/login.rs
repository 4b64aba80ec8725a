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
/// number and keys. An account with a second factor is asked for its code after the right password.
#[utoipa::path(post, path = "/api/auth/login/", tag = "Accounts", security(()), request_body = Login,
    responses((status = 200, body = Tokens), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "invalid_credentials, mfa_required, invalid_totp, device_revoked"),
        (status = 404, body = ErrorBody, description = "no messaging device of that id"),
        (status = 409, body = ErrorBody, description = "device_limit"),
        (status = 429, body = ErrorBody, description = "rate_limited: too many log-ins of the account, from this address or altogether; five wrong codes within 15 minutes"), (status = 503, body = ErrorBody)))]
pub(super) async fn login(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiJson(request): ApiJson<Login>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(auth::login(&app, &ctx, &request).await?))
}
