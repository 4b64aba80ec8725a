//! Who is on call.

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody, ShiftId,
    emergency::{NewShift, Roster, SetEscalation, Shift},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    emergency,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
};

/// The roster's routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(get_roster, set_escalation, add_shift)).routes(routes!(remove_shift))
}

/// The roster from now on, and who would be called now.
#[utoipa::path(get, path = "/api/admin/on-call/", tag = "Administration", operation_id = "get_on_call",
    responses((status = 200, body = Roster), (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn get_roster(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<Roster>> {
    let grant = emergency::authorize_manage(&app, &ctx).await?;
    Ok(Json(emergency::roster(&app, &ctx, grant).await?))
}

/// Change how long each tier has to acknowledge an emergency.
#[utoipa::path(put, path = "/api/admin/on-call/", tag = "Administration", operation_id = "set_escalation",
    request_body = SetEscalation,
    responses((status = 204, description = "For emergencies opened from now on."),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn set_escalation(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(change): ApiJson<SetEscalation>,
) -> ApiResult<StatusCode> {
    let grant = emergency::authorize_manage(&app, &ctx).await?;
    emergency::set_escalation(&app, &ctx, grant, &change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a clinician on call.
///
/// A shift begins with its first instant and ends before its last; without an end it lasts until it is taken away.
/// Tier 1 is called first.
#[utoipa::path(post, path = "/api/admin/on-call/", tag = "Administration", operation_id = "add_on_call_shift",
    request_body = NewShift,
    responses((status = 201, body = Shift),
              (status = 400, description = "`invalid_field`: also when the person is no clinician.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody)))]
async fn add_shift(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(new): ApiJson<NewShift>,
) -> ApiResult<(StatusCode, Json<Shift>)> {
    let grant = emergency::authorize_manage(&app, &ctx).await?;
    Ok((StatusCode::CREATED, Json(emergency::add_shift(&app, &ctx, grant, &new).await?)))
}

/// Take a shift away.
#[utoipa::path(delete, path = "/api/admin/on-call/{shift_id}/", tag = "Administration", operation_id = "remove_on_call_shift",
    params(("shift_id" = ShiftId, Path)),
    responses((status = 204, description = "Gone. Emergencies that are open stay as they are."),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such shift.", body = ErrorBody)))]
async fn remove_shift(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(shift): ApiPath<ShiftId>,
) -> ApiResult<StatusCode> {
    let grant = emergency::authorize_manage(&app, &ctx).await?;
    emergency::remove_shift(&app, &ctx, grant, shift).await?;
    Ok(StatusCode::NO_CONTENT)
}
