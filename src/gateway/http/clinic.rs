//! /api/clinic/

use axum::{Json, extract::State};
use sigilo_wire::{ErrorBody, keys::Clinic};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{error::ApiResult, extract::Enrolling},
    people,
};

/// The area's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(get_clinic))
}

/// The clinic: hours, emergency number, and what its root says about its keys.
///
/// Compare `root_public_key` with the pin of the invitation before believing any statement.
#[utoipa::path(get, path = "/api/clinic/", tag = "Keys",
    responses((status = 200, body = Clinic), (status = 401, body = ErrorBody)))]
async fn get_clinic(State(app): State<SharedApp>, Enrolling(ctx): Enrolling) -> ApiResult<Json<Clinic>> {
    Ok(Json(people::get_clinic(&app, &ctx).await?))
}
