//! When conversations with patients are open.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ErrorBody, UserId,
    hours::{ChatHours, DayException, DayExceptions, SetDay, SetHours},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    hours,
};

/// The hours' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(get_hours, set_hours))
        .routes(routes!(get_clinician_hours, set_clinician_hours, clear_clinician_hours))
        .routes(routes!(holidays))
        .routes(routes!(set_holiday, remove_holiday))
}

/// Whose holidays.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// A clinician; absent: the clinic.
    user_id: Option<UserId>,
}

/// The clinic's chat hours.
#[utoipa::path(get, path = "/api/admin/hours/", tag = "Administration", operation_id = "get_hours",
    responses((status = 200, body = ChatHours), (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn get_hours(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<ChatHours>> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    Ok(Json(hours::get(&app, &ctx, grant, None).await?))
}

/// Change the clinic's chat hours.
///
/// What is absent stays. A window that ends at or before its beginning goes on into the next day; `24:00` may end one.
/// Open sockets are held to the new hours at once.
#[utoipa::path(put, path = "/api/admin/hours/", tag = "Administration", operation_id = "set_hours", request_body = SetHours,
    responses((status = 200, body = ChatHours),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn set_hours(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(change): ApiJson<SetHours>,
) -> ApiResult<Json<ChatHours>> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    Ok(Json(hours::set(&app, &ctx, grant, None, &change).await?))
}

/// A clinician's own hours, which narrow the clinic's.
#[utoipa::path(get, path = "/api/admin/hours/{user_id}/", tag = "Administration", operation_id = "get_clinician_hours",
    params(("user_id" = UserId, Path, description = "The clinician.")),
    responses((status = 200, body = ChatHours),
              (status = 400, description = "`invalid_field`: no clinician.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody)))]
async fn get_clinician_hours(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(user): ApiPath<UserId>,
) -> ApiResult<Json<ChatHours>> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    Ok(Json(hours::get(&app, &ctx, grant, Some(user)).await?))
}

/// Give a clinician hours of their own.
///
/// They take the place of those of before. Without `weekly` only the clinician's holidays narrow the clinic's hours;
/// without `time_zone` they are read in the clinic's. A conversation with several clinicians is open while any of them
/// is there.
#[utoipa::path(put, path = "/api/admin/hours/{user_id}/", tag = "Administration", operation_id = "set_clinician_hours",
    params(("user_id" = UserId, Path, description = "The clinician.")), request_body = SetHours,
    responses((status = 200, body = ChatHours),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody)))]
async fn set_clinician_hours(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(user): ApiPath<UserId>,
    ApiJson(change): ApiJson<SetHours>,
) -> ApiResult<Json<ChatHours>> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    Ok(Json(hours::set(&app, &ctx, grant, Some(user), &change).await?))
}

/// Take a clinician's own hours and holidays away: they are there whenever the clinic is.
#[utoipa::path(delete, path = "/api/admin/hours/{user_id}/", tag = "Administration", operation_id = "clear_clinician_hours",
    params(("user_id" = UserId, Path, description = "The clinician.")),
    responses((status = 204, description = "Gone."),
              (status = 400, description = "`invalid_field`: no clinician.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic, or no hours of their own.", body = ErrorBody)))]
async fn clear_clinician_hours(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(user): ApiPath<UserId>,
) -> ApiResult<StatusCode> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    hours::clear(&app, &ctx, grant, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Dates from today on with hours of their own.
#[utoipa::path(get, path = "/api/admin/holidays/", tag = "Administration", operation_id = "list_holidays", params(Whose),
    responses((status = 200, body = DayExceptions),
              (status = 400, description = "`invalid_field`: no clinician.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody)))]
async fn holidays(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(whose): ApiQuery<Whose>,
) -> ApiResult<Json<DayExceptions>> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    Ok(Json(hours::days(&app, &ctx, grant, whose.user_id).await?))
}

/// Give a date hours of its own, in place of its day's.
///
/// Without windows it is closed. The reason is for people, who see it in `GET /api/clinic/`.
#[utoipa::path(put, path = "/api/admin/holidays/{date}/", tag = "Administration", operation_id = "set_holiday",
    params(("date" = String, Path, description = "`YYYY-MM-DD`, from today to two years ahead."), Whose), request_body = SetDay,
    responses((status = 200, body = DayException),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody),
              (status = 422, description = "`phi_detected` in the reason.", body = ErrorBody)))]
async fn set_holiday(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(date): ApiPath<String>,
    ApiQuery(whose): ApiQuery<Whose>,
    ApiJson(day): ApiJson<SetDay>,
) -> ApiResult<Json<DayException>> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    Ok(Json(hours::set_day(&app, &ctx, grant, whose.user_id, (&date, &day)).await?))
}

/// Give a date the hours of its day of the week again.
#[utoipa::path(delete, path = "/api/admin/holidays/{date}/", tag = "Administration", operation_id = "remove_holiday",
    params(("date" = String, Path, description = "`YYYY-MM-DD`."), Whose),
    responses((status = 204, description = "Gone."),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "It has none of its own; nobody of this clinic.", body = ErrorBody)))]
async fn remove_holiday(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(date): ApiPath<String>,
    ApiQuery(whose): ApiQuery<Whose>,
) -> ApiResult<StatusCode> {
    let grant = hours::authorize_manage_hours(&app, &ctx).await?;
    hours::remove_day(&app, &ctx, grant, whose.user_id, &date).await?;
    Ok(StatusCode::NO_CONTENT)
}
