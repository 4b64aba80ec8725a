//! /api/me/

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody,
    account::{Me, UpdateMe},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Authenticated, Enrolling},
    },
    people::{self, identity_resets},
    policy,
};

/// The area's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(get_me, update_me)).routes(routes!(cancel_reset))
}

/// The own account.
#[utoipa::path(get, path = "/api/me/", tag = "Accounts",
    responses((status = 200, body = Me), (status = 401, body = ErrorBody)))]
async fn get_me(State(app): State<SharedApp>, Enrolling(ctx): Enrolling) -> ApiResult<Json<Me>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(people::get_me(&app, &ctx, grant).await?))
}

/// Change the own account; absent fields stay.
#[utoipa::path(put, path = "/api/me/", tag = "Accounts", request_body = UpdateMe,
    responses((status = 200, body = Me), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
async fn update_me(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(update): ApiJson<UpdateMe>,
) -> ApiResult<Json<Me>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(people::update_me(&app, &ctx, grant, &update).await?))
}

/// Stop a new identity that the clinic is giving this account: the devices are not lost.
#[utoipa::path(delete, path = "/api/me/identity-reset/", tag = "Accounts", operation_id = "cancel_own_identity_reset",
    responses((status = 204, description = "Stopped; an invitation that was made for it is void."),
              (status = 401, body = ErrorBody),
              (status = 403, description = "`step_up_required`.", body = ErrorBody),
              (status = 404, description = "None is under way.", body = ErrorBody)))]
async fn cancel_reset(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<StatusCode> {
    let grant = policy::own_account(&app, &ctx)?;
    identity_resets::cancel_own(&app, &ctx, grant).await?;
    Ok(StatusCode::NO_CONTENT)
}
