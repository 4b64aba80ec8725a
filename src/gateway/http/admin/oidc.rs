//! Whose subject of an identity provider is whose.

use axum::{extract::State, http::StatusCode};
use sigilo_wire::{ErrorBody, UserId, oidc::BindOidc};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    auth::oidc,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
    people,
};

/// The bindings' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(bind, unbind))
}

/// Let a person log in with a subject of the clinic's identity provider.
///
/// Once: another subject, or another account, needs this one taken away first.
#[utoipa::path(put, path = "/api/admin/users/{user_id}/oidc/{provider}/", tag = "Administration", operation_id = "bind_oidc",
    params(("user_id" = UserId, Path, description = "Who."), ("provider" = String, Path, description = "Its name in the configuration.")),
    request_body = BindOidc,
    responses((status = 204, description = "Bound."),
              (status = 400, description = "`invalid_field`", body = ErrorBody),
              (status = 403, description = "`forbidden` to all but admins; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic, or no provider of it.", body = ErrorBody),
              (status = 409, description = "`already_settled`: the account has a subject of this provider, or the subject an account.", body = ErrorBody)))]
async fn bind(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((user, provider)): ApiPath<(UserId, String)>,
    ApiJson(request): ApiJson<BindOidc>,
) -> ApiResult<StatusCode> {
    let grant = people::authorize_manage_people(&app, &ctx)?;
    oidc::bind(&app, &ctx, grant, (user, &provider), &request.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a person's subject away. What was opened with it stays until its tokens end.
#[utoipa::path(delete, path = "/api/admin/users/{user_id}/oidc/{provider}/", tag = "Administration", operation_id = "unbind_oidc",
    params(("user_id" = UserId, Path, description = "Who."), ("provider" = String, Path, description = "Its name in the configuration.")),
    responses((status = 204, description = "Gone."),
              (status = 403, description = "`forbidden` to all but admins; `step_up_required`.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic, or not bound.", body = ErrorBody)))]
async fn unbind(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((user, provider)): ApiPath<(UserId, String)>,
) -> ApiResult<StatusCode> {
    let grant = people::authorize_manage_people(&app, &ctx)?;
    oidc::unbind(&app, &ctx, grant, (user, &provider)).await?;
    Ok(StatusCode::NO_CONTENT)
}
