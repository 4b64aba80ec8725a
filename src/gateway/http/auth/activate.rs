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
        extract::{Anonymous, ApiJson},
    },
};

/// Turn an invitation into an account with its first device.
///
/// The invitation is single-use. A messaging device becomes number 1 of the account.
#[utoipa::path(post, path = "/api/auth/activate/", tag = "Accounts", security(()), request_body = Activate,
    responses((status = 200, body = Tokens),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody, description = "invalid_invitation"),
        (status = 422, body = ErrorBody, description = "weak_password")))]
pub(super) async fn activate(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiJson(request): ApiJson<Activate>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(auth::activate(&app, &ctx, &request).await?))
}
