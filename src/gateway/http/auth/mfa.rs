//! /api/auth/mfa/

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody,
    mfa::{ConfirmMfa, Enrolment, MfaStatus, RecoveryCodes, Verified, VerifyMfa},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Enrolling},
    },
    mfa, policy,
};

/// The second factor's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(enroll))
        .routes(routes!(confirm))
        .routes(routes!(verify))
        .routes(routes!(disable))
}

/// How the second factor stands.
#[utoipa::path(get, path = "/api/auth/mfa/", tag = "Accounts", operation_id = "mfa_status",
    responses((status = 200, body = MfaStatus), (status = 401, body = ErrorBody)))]
async fn status(State(app): State<SharedApp>, Enrolling(ctx): Enrolling) -> ApiResult<Json<MfaStatus>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(mfa::status(&app, &ctx, grant).await?))
}

/// Begin to enrol an authenticator app.
///
/// The answer's secret counts once `confirm` was shown a code of it, within 15 minutes. A second factor in force
/// stays until then.
#[utoipa::path(post, path = "/api/auth/mfa/enroll/", tag = "Accounts", operation_id = "mfa_enroll",
    responses((status = 200, body = Enrolment), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody, description = "step_up_required")))]
async fn enroll(State(app): State<SharedApp>, Enrolling(ctx): Enrolling) -> ApiResult<Json<Enrolment>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(mfa::enroll(&app, &ctx, grant).await?))
}

/// Confirm the enrolment with a code: from now on logins need one.
///
/// The answer shows ten recovery codes, once. Those of before are void.
#[utoipa::path(post, path = "/api/auth/mfa/confirm/", tag = "Accounts", operation_id = "mfa_confirm",
    request_body = ConfirmMfa,
    responses((status = 200, body = RecoveryCodes), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "invalid_totp"),
        (status = 409, body = ErrorBody, description = "no_enrolment"),
        (status = 429, body = ErrorBody, description = "rate_limited: five wrong codes or passwords within 15 minutes")))]
async fn confirm(
    State(app): State<SharedApp>,
    Enrolling(ctx): Enrolling,
    ApiJson(request): ApiJson<ConfirmMfa>,
) -> ApiResult<Json<RecoveryCodes>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(mfa::confirm(&app, &ctx, grant, &request).await?))
}

/// Prove who is asking: this device may do for ten minutes what answers `step_up_required`.
///
/// With a code of the authenticator app or a recovery code; an account without a second factor, with the
/// password.
#[utoipa::path(post, path = "/api/auth/mfa/verify/", tag = "Accounts", operation_id = "mfa_verify",
    request_body = VerifyMfa,
    responses((status = 200, body = Verified), (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody, description = "invalid_totp, invalid_credentials"),
        (status = 429, body = ErrorBody, description = "rate_limited: five wrong codes or passwords within 15 minutes"),
        (status = 503, body = ErrorBody)))]
async fn verify(
    State(app): State<SharedApp>,
    Enrolling(ctx): Enrolling,
    ApiJson(request): ApiJson<VerifyMfa>,
) -> ApiResult<Json<Verified>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(mfa::verify(&app, &ctx, grant, &request).await?))
}

/// End the second factor and its recovery codes.
#[utoipa::path(post, path = "/api/auth/mfa/disable/", tag = "Accounts", operation_id = "mfa_disable",
    responses((status = 204, description = "The password alone logs in."), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody, description = "step_up_required")))]
async fn disable(State(app): State<SharedApp>, Enrolling(ctx): Enrolling) -> ApiResult<StatusCode> {
    let grant = policy::own_account(&app, &ctx)?;
    mfa::disable(&app, &ctx, grant).await?;
    Ok(StatusCode::NO_CONTENT)
}
