//! /api/devices/

mod link;

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{DeviceId, ErrorBody, account::DeviceList};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    auth,
    gateway::http::{
        error::ApiResult,
        extract::{ApiPath, Authenticated},
    },
    policy,
};

/// The area's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_devices)).routes(routes!(delete_device)).merge(link::routes())
}

/// The own devices, oldest first.
#[utoipa::path(get, path = "/api/devices/", tag = "Accounts",
    responses((status = 200, body = DeviceList), (status = 401, body = ErrorBody)))]
async fn list_devices(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<DeviceList>> {
    let grant = policy::own_account(&app, &ctx)?;
    Ok(Json(auth::list_devices(&app, &ctx, grant).await?))
}

/// Remove an own device.
///
/// Its tokens, keys and waiting events are gone at once. Sign a manifest without it, with a new history key.
#[utoipa::path(delete, path = "/api/devices/{device_id}/", tag = "Accounts",
    params(("device_id" = DeviceId, Path, description = "The device's `id`.")),
    responses((status = 204, description = "Removed."), (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody, description = "step_up_required"),
        (status = 404, body = ErrorBody)))]
async fn delete_device(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(device): ApiPath<DeviceId>,
) -> ApiResult<StatusCode> {
    let grant = policy::own_account(&app, &ctx)?;
    auth::revoke_device(&app, &ctx, grant, device).await?;
    Ok(StatusCode::NO_CONTENT)
}
