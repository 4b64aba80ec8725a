//! Who treats whom.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ErrorBody, RelationshipId, UserId,
    care::{GrantRelationship, Relationship, RelationshipList, RevokedRelationships},
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
    relationships::{self, RelationshipFilter},
};

/// The relationships' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_relationships, grant_relationship))
        .routes(routes!(revoke_relationship))
}

/// Which relationships.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RelationshipQuery {
    /// This patient's.
    patient_id: Option<UserId>,
    /// This clinician's.
    clinician_id: Option<UserId>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The clinic's care relationships, those that have ended among them.
#[utoipa::path(get, path = "/api/admin/relationships/", tag = "Administration", params(RelationshipQuery),
    responses((status = 200, body = RelationshipList), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody)))]
async fn list_relationships(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<RelationshipQuery>,
) -> ApiResult<Json<RelationshipList>> {
    let filter = RelationshipFilter {
        patient: query.patient_id,
        clinician: query.clinician_id,
        paging: Paging::new(query.cursor, query.page, query.page_size),
    };
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    Ok(Json(relationships::list(&app, &ctx, grant, &filter).await?))
}

/// Say for a time that a clinician treats a patient.
///
/// The clinician may begin, and the patient answer. The patient finds it in the audit log; the words are for those who
/// manage relationships.
#[utoipa::path(post, path = "/api/admin/relationships/", tag = "Administration", request_body = GrantRelationship,
    responses((status = 201, body = Relationship),
              (status = 400, description = "`invalid_field`: also when one is no patient, or no clinician.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody),
              (status = 422, description = "`phi_detected` in the text.", body = ErrorBody)))]
async fn grant_relationship(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(wanted): ApiJson<GrantRelationship>,
) -> ApiResult<(StatusCode, Json<Relationship>)> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    Ok((StatusCode::CREATED, Json(relationships::grant(&app, &ctx, grant, &wanted).await?)))
}

/// Revoke what stands between a patient and a clinician.
///
/// This relationship and every other of the two, whatever made it: new messages stop at once, also on open sockets;
/// history stays readable. The same appointments and care teams do not bring it back.
#[utoipa::path(delete, path = "/api/admin/relationships/{relationship_id}/", tag = "Administration",
    params(("relationship_id" = RelationshipId, Path, description = "Any relationship of the two.")),
    responses((status = 200, body = RevokedRelationships),
              (status = 403, description = "`forbidden` to all but admins.", body = ErrorBody),
              (status = 404, description = "No such relationship.", body = ErrorBody)))]
async fn revoke_relationship(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(id): ApiPath<RelationshipId>,
) -> ApiResult<Json<RevokedRelationships>> {
    let grant = relationships::authorize_manage_relationships(&app, &ctx)?;
    Ok(Json(relationships::revoke(&app, &ctx, grant, id).await?))
}
