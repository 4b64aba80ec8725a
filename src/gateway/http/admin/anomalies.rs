//! What is out of the ordinary, its review, and from when on it is.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    AnomalyId, ErrorBody,
    anomaly::{Anomaly, AnomalyKind, AnomalyList, AnomalySettings, AnomalyStatus, ReviewAnomaly},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    anomalies,
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    paging::Paging,
    people::authorize_manage_people,
};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_anomalies))
        .routes(routes!(review_anomaly))
        .routes(routes!(get_anomaly_settings, set_anomaly_settings))
}

/// Which ones.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AnomalyQuery {
    /// Those that wait for their review (`open`), or those that have it (`reviewed`); otherwise all.
    #[param(inline)]
    status: Option<AnomalyStatus>,
    /// Of this kind only.
    #[param(inline)]
    kind: Option<AnomalyKind>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// What was out of the ordinary, the newest first.
#[utoipa::path(get, path = "/api/admin/anomalies/", tag = "Administration", params(AnomalyQuery),
    responses((status = 200, body = AnomalyList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins and compliance officers.", body = ErrorBody)))]
async fn list_anomalies(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<AnomalyQuery>,
) -> ApiResult<Json<AnomalyList>> {
    let grant = anomalies::authorize_review(&app, &ctx).await?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(anomalies::list(&app, &ctx, grant, (query.status, query.kind), &paging).await?))
}

/// Close an anomaly with what was found.
///
/// More of the same by the same person is another one from then on; lower limits end.
#[utoipa::path(post, path = "/api/admin/anomalies/{anomaly_id}/review/", tag = "Administration",
    params(("anomaly_id" = AnomalyId, Path)), request_body = ReviewAnomaly,
    responses((status = 200, body = Anomaly), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins and compliance officers, and to the person it is about; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "No such anomaly.", body = ErrorBody),
              (status = 409, description = "`already_settled`: it was closed with another outcome.", body = ErrorBody),
              (status = 422, description = "`phi_detected` in the note.", body = ErrorBody)))]
async fn review_anomaly(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(id): ApiPath<AnomalyId>,
    ApiJson(request): ApiJson<ReviewAnomaly>,
) -> ApiResult<Json<Anomaly>> {
    let grant = anomalies::authorize_close(&app, &ctx, id).await?;
    Ok(Json(anomalies::close(&app, &ctx, grant, id, &request).await?))
}

/// From when on something is out of the ordinary, and what is done about it.
#[utoipa::path(get, path = "/api/admin/anomalies/settings/", tag = "Administration",
    responses((status = 200, body = AnomalySettings),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn get_anomaly_settings(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<AnomalySettings>> {
    let grant = authorize_manage_people(&app, &ctx)?;
    Ok(Json(anomalies::settings(&app, &ctx, &grant).await?))
}

/// Change from when on something is out of the ordinary, and what is done about it.
///
/// Kinds that are not named have the rule of new clinics again.
#[utoipa::path(put, path = "/api/admin/anomalies/settings/", tag = "Administration", request_body = AnomalySettings,
    responses((status = 204, description = "Within seconds on every server."),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins; `step_up_required`.", body = ErrorBody)))]
async fn set_anomaly_settings(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(change): ApiJson<AnomalySettings>,
) -> ApiResult<StatusCode> {
    let grant = authorize_manage_people(&app, &ctx)?;
    anomalies::change_settings(&app, &ctx, grant, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
