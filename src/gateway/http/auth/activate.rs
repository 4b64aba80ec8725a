//! POST /api/auth/activate/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody,
    account::{Activate, Tokens},
};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson, IdempotencyHeader},
    },
};

/// Turn an invitation into an account with its first device.
///
/// The invitation is single-use. A messaging device becomes number 1 of the account.
///
/// When the answer is lost, the same request with the same key gets fresh tokens of the same device; those of
/// the first answer end.
#[utoipa::path(post, path = "/api/auth/activate/", tag = "Accounts", security(()), request_body = Activate,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, hard to guess, remembered for 24 hours with the invitation.")),
    responses((status = 200, body = Tokens), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "`invalid_invitation`; `device_revoked` when the device was removed before the request was repeated"),
        (status = 409, body = ErrorBody, description = "`idempotency_conflict`"),
        (status = 422, body = ErrorBody, description = "weak_password"),
        (status = 429, body = ErrorBody, description = "`rate_limited`: too many codes from this address"), (status = 503, body = ErrorBody)))]
pub(super) async fn activate(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    IdempotencyHeader(key): IdempotencyHeader,
    ApiJson(request): ApiJson<Activate>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(auth::activate(&app, &ctx, &request, key.as_deref()).await?))
}
