//! New identities for people whose devices are lost.

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody, IdentityResetId, UserId,
    people::{ApproveReset, AskedReset, ResetInvitation},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
    people::identity_resets,
};

/// The resets' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(approve)).routes(routes!(cancel))
}

/// Ask for a new identity of somebody whose devices are lost.
///
/// Another person has to approve it within 24 hours. The person's devices are told. What was asked for before ends.
#[utoipa::path(post, path = "/api/admin/users/{user_id}/identity-reset/", tag = "Administration", operation_id = "ask_identity_reset",
    params(("user_id" = UserId, Path, description = "Whose identity.")),
    responses((status = 201, description = "Waits for its approval.", body = AskedReset),
              (status = 400, description = "`invalid_field`: no active account.", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins and compliance officers, and to the person; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody)))]
async fn ask(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(user): ApiPath<UserId>,
) -> ApiResult<(StatusCode, Json<AskedReset>)> {
    let grant = identity_resets::authorize(&app, &ctx, user).await?;
    Ok((StatusCode::CREATED, Json(identity_resets::ask(&app, &ctx, grant).await?)))
}

/// Approve what another person has asked for.
///
/// Makes the invitation with which the person activates a device under a new identity key. Until it is used nothing
/// of the account changes; then all devices of before end.
#[utoipa::path(post, path = "/api/admin/identity-resets/{reset_id}/approve/", tag = "Administration", operation_id = "approve_identity_reset",
    params(("reset_id" = IdentityResetId, Path, description = "What was asked for.")), request_body = ApproveReset,
    responses((status = 200, description = "The invitation, shown this once.", body = ResetInvitation),
              (status = 403, description = "`forbidden`, also to whoever asked, to the person, and without an admin among the two; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "None waits by this id.", body = ErrorBody),
              (status = 409, description = "`clinic_keys_missing`.", body = ErrorBody),
              (status = 422, description = "`invalid_key`: the root is not the clinic's.", body = ErrorBody)))]
async fn approve(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(reset): ApiPath<IdentityResetId>,
    ApiJson(request): ApiJson<ApproveReset>,
) -> ApiResult<Json<ResetInvitation>> {
    let user = identity_resets::subject(&app, &ctx, reset).await?;
    let grant = identity_resets::authorize(&app, &ctx, user).await?;
    let made = identity_resets::approve(&app, &ctx, grant, reset, &request).await?;
    Ok(Json(ResetInvitation {
        user_id: made.user_id,
        clinic_id: made.clinic_id,
        code: made.code,
        expires_at: made.expires_at,
    }))
}

/// Stop a reset whose invitation is not used yet.
///
/// The invitation, if it is out, is void. The person's devices are told.
#[utoipa::path(delete, path = "/api/admin/identity-resets/{reset_id}/", tag = "Administration", operation_id = "cancel_identity_reset",
    params(("reset_id" = IdentityResetId, Path, description = "What was asked for or approved.")),
    responses((status = 204, description = "Stopped."),
              (status = 403, description = "`forbidden` to all but admins and compliance officers; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "None is open by this id.", body = ErrorBody)))]
async fn cancel(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(reset): ApiPath<IdentityResetId>,
) -> ApiResult<StatusCode> {
    let user = identity_resets::open_subject(&app, &ctx, reset).await?;
    let grant = identity_resets::authorize(&app, &ctx, user).await?;
    identity_resets::cancel(&app, &ctx, grant).await?;
    Ok(StatusCode::NO_CONTENT)
}
