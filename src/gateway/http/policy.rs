//! `/api/policy/`

use axum::{Json, extract::State, http::HeaderMap};
use sigilo_wire::{
    ErrorBody,
    policy::{ExplainPolicy, Explanation},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    explain,
    gateway::{
        http::{
            error::ApiResult,
            extract::{ApiJson, Authenticated},
            observe,
        },
        render,
    },
};

/// Routes of this area.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(explain_policy))
}

/// Would somebody be allowed to do something at some time, and why?
///
/// About oneself, or, for clinic staff, about anyone of the clinic. The answer is the one the act would get, on the same
/// facts; nothing is done.
#[utoipa::path(post, path = "/api/policy/explain/", tag = "Rules", request_body = ExplainPolicy,
    responses((status = 200, body = Explanation), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden`: about others only clinic staff ask.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic, or nothing that exists for the person.", body = ErrorBody)))]
async fn explain_policy(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    headers: HeaderMap,
    ApiJson(asked): ApiJson<ExplainPolicy>,
) -> ApiResult<Json<Explanation>> {
    let actor = asked.actor_id.map_or_else(|| ctx.caller().map(|caller| caller.user_id), Ok)?;
    let grant = explain::authorize(&app, &ctx, actor).await?;
    let explained = explain::explain(&app, &ctx, grant, &asked).await?;
    Ok(Json(render::explanation(&explained, observe::language(&headers))))
}
