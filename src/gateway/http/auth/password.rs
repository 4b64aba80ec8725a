//! /api/auth/password/

use axum::{extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody,
    account::{ChangePassword, ResetPassword},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson, Authenticated},
    },
    policy,
};

/// The passwords' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(change)).routes(routes!(reset))
}

/// Change the own password.
///
/// The tokens of all other devices end. An account with a second factor needs a recent code (`mfa/verify/`).
#[utoipa::path(post, path = "/api/auth/password/change/", tag = "Accounts", operation_id = "change_password",
    request_body = ChangePassword,
    responses((status = 204, description = "Changed."), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "invalid_credentials when the present password is wrong"),
        (status = 403, body = ErrorBody, description = "step_up_required"),
        (status = 422, body = ErrorBody, description = "weak_password"),
        (status = 429, body = ErrorBody, description = "rate_limited: five wrong codes or passwords within 15 minutes"),
        (status = 503, body = ErrorBody)))]
async fn change(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<ChangePassword>,
) -> ApiResult<StatusCode> {
    let grant = policy::own_account(&app, &ctx)?;
    auth::change_password(&app, &ctx, grant, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Choose a new password with a code of the clinic.
///
/// The code is single-use and good for an hour. The tokens of all devices end; log in again. Keys and the second
/// factor stay.
#[utoipa::path(post, path = "/api/auth/password/reset/", tag = "Accounts", security(()), operation_id = "reset_password",
    request_body = ResetPassword,
    responses((status = 204, description = "Set. Log in with it."), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "invalid_reset"),
        (status = 422, body = ErrorBody, description = "weak_password"),
        (status = 429, body = ErrorBody, description = "rate_limited: too many codes from this address"),
        (status = 503, body = ErrorBody)))]
async fn reset(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiJson(request): ApiJson<ResetPassword>,
) -> ApiResult<StatusCode> {
    auth::reset_password(&app, &ctx, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}
