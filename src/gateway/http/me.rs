//! /api/me/

use axum::{Json, extract::State};
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
    people, policy,
};

/// The area's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(get_me, update_me))
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
