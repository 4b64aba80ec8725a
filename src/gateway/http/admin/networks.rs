//! From which networks people may come.

use axum::{Json, extract::State};
use sigilo_wire::{ErrorBody, networks::AllowedNetworks};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Authenticated},
    },
    people,
};

/// The networks' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(get_networks, set_networks))
}

/// From which networks people may come.
#[utoipa::path(get, path = "/api/admin/networks/", tag = "Administration", operation_id = "get_networks",
    responses((status = 200, body = AllowedNetworks), (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn get_networks(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<AllowedNetworks>> {
    let grant = people::authorize_manage_networks(&app, &ctx)?;
    Ok(Json(people::networks(&app, &ctx, grant).await?))
}

/// Change from which networks people may come.
///
/// The whole takes the place of what was there. Whoever comes from elsewhere is refused from then on, and their open
/// sockets close within about a second.
#[utoipa::path(put, path = "/api/admin/networks/", tag = "Administration", operation_id = "set_networks",
    request_body = AllowedNetworks,
    responses((status = 200, body = AllowedNetworks),
              (status = 400, description = "`invalid_field`: also when it would shut the caller out.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins; `step_up_required`.", body = ErrorBody)))]
async fn set_networks(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(wanted): ApiJson<AllowedNetworks>,
) -> ApiResult<Json<AllowedNetworks>> {
    let grant = people::authorize_manage_networks(&app, &ctx)?;
    Ok(Json(people::set_networks(&app, &ctx, grant, &wanted).await?))
}
