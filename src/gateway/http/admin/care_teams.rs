//! Care teams.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    CareTeamId, ErrorBody, UserId,
    care::{CarePeriod, CareTeam, CareTeamList, CareTeamMember, NewCareTeam},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    paging::Paging,
    relationships::{self, Side},
};

/// The teams' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_care_teams, create_care_team))
        .routes(routes!(get_care_team, end_care_team))
        .routes(routes!(put_care_team_clinician, remove_care_team_clinician))
        .routes(routes!(put_care_team_patient, remove_care_team_patient))
}

/// Which of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CareTeamQuery {
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The clinic's care teams, those that have ended among them.
#[utoipa::path(get, path = "/api/admin/care-teams/", tag = "Administration", params(CareTeamQuery),
    responses((status = 200, body = CareTeamList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn list_care_teams(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<CareTeamQuery>,
) -> ApiResult<Json<CareTeamList>> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    Ok(Json(relationships::list_care_teams(&app, &ctx, grant, &paging).await?))
}

/// Make a care team, without people.
///
/// One for a single patient, or a standing one that patients are assigned to (FHIR's CareTeam). It is no conversation:
/// its clinicians may start those they want with its patients.
#[utoipa::path(post, path = "/api/admin/care-teams/", tag = "Administration", request_body = NewCareTeam,
    responses((status = 201, body = CareTeam),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 422, description = "`phi_detected` in the name.", body = ErrorBody)))]
async fn create_care_team(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(wanted): ApiJson<NewCareTeam>,
) -> ApiResult<(StatusCode, Json<CareTeam>)> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    Ok((StatusCode::CREATED, Json(relationships::create_care_team(&app, &ctx, grant, &wanted).await?)))
}

/// A care team with its people.
#[utoipa::path(get, path = "/api/admin/care-teams/{care_team_id}/", tag = "Administration",
    params(("care_team_id" = CareTeamId, Path)),
    responses((status = 200, body = CareTeam),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such team.", body = ErrorBody)))]
async fn get_care_team(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(team): ApiPath<CareTeamId>,
) -> ApiResult<Json<CareTeam>> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    Ok(Json(relationships::care_team(&app, &ctx, grant, team).await?))
}

/// End a care team, and what it made. It stays in the list.
#[utoipa::path(delete, path = "/api/admin/care-teams/{care_team_id}/", tag = "Administration",
    params(("care_team_id" = CareTeamId, Path)),
    responses((status = 204, description = "It has ended."),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such team.", body = ErrorBody),
              (status = 409, description = "`already_settled`: it was ended before.", body = ErrorBody)))]
async fn end_care_team(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(team): ApiPath<CareTeamId>,
) -> ApiResult<StatusCode> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    relationships::end_care_team(&app, &ctx, grant, team).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a clinician into a care team, or change from when to when they are in it.
///
/// They treat every patient assigned to it, at once, on open sockets, too: what is absent of the period is now, and
/// until they are taken out.
#[utoipa::path(put, path = "/api/admin/care-teams/{care_team_id}/clinicians/{user_id}/", tag = "Administration",
    params(("care_team_id" = CareTeamId, Path), ("user_id" = UserId, Path, description = "The clinician.")),
    request_body = CarePeriod,
    responses((status = 200, body = CareTeamMember),
              (status = 400, description = "`invalid_field`: also when the person is no clinician, or the team is full.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such team, or nobody of this clinic.", body = ErrorBody),
              (status = 409, description = "`already_settled`: the team was ended.", body = ErrorBody)))]
async fn put_care_team_clinician(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((team, user)): ApiPath<(CareTeamId, UserId)>,
    ApiJson(period): ApiJson<CarePeriod>,
) -> ApiResult<Json<CareTeamMember>> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    let who = (Side::Clinician, user);
    Ok(Json(relationships::put_care_team_member(&app, &ctx, grant, team, who, &period).await?))
}

/// Take a clinician out of a care team. What the team made of them ends at once.
#[utoipa::path(delete, path = "/api/admin/care-teams/{care_team_id}/clinicians/{user_id}/", tag = "Administration",
    params(("care_team_id" = CareTeamId, Path), ("user_id" = UserId, Path, description = "The clinician.")),
    responses((status = 204, description = "They are in it no longer."),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such team, or they are not in it.", body = ErrorBody)))]
async fn remove_care_team_clinician(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((team, user)): ApiPath<(CareTeamId, UserId)>,
) -> ApiResult<StatusCode> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    relationships::remove_care_team_member(&app, &ctx, grant, team, (Side::Clinician, user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a patient into a care team, or change from when to when they are in it.
///
/// Every clinician of it treats them, at once, on open sockets, too: what is absent of the period is now, and until they
/// are taken out.
#[utoipa::path(put, path = "/api/admin/care-teams/{care_team_id}/patients/{user_id}/", tag = "Administration",
    params(("care_team_id" = CareTeamId, Path), ("user_id" = UserId, Path, description = "The patient.")),
    request_body = CarePeriod,
    responses((status = 200, body = CareTeamMember),
              (status = 400, description = "`invalid_field`: also when the person is no patient, or the team is full.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such team, or nobody of this clinic.", body = ErrorBody),
              (status = 409, description = "`already_settled`: the team was ended.", body = ErrorBody)))]
async fn put_care_team_patient(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((team, user)): ApiPath<(CareTeamId, UserId)>,
    ApiJson(period): ApiJson<CarePeriod>,
) -> ApiResult<Json<CareTeamMember>> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    let who = (Side::Patient, user);
    Ok(Json(relationships::put_care_team_member(&app, &ctx, grant, team, who, &period).await?))
}

/// Take a patient out of a care team. What the team made of them ends at once.
#[utoipa::path(delete, path = "/api/admin/care-teams/{care_team_id}/patients/{user_id}/", tag = "Administration",
    params(("care_team_id" = CareTeamId, Path), ("user_id" = UserId, Path, description = "The patient.")),
    responses((status = 204, description = "They are in it no longer."),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such team, or they are not in it.", body = ErrorBody)))]
async fn remove_care_team_patient(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((team, user)): ApiPath<(CareTeamId, UserId)>,
) -> ApiResult<StatusCode> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    relationships::remove_care_team_member(&app, &ctx, grant, team, (Side::Patient, user)).await?;
    Ok(StatusCode::NO_CONTENT)
}
