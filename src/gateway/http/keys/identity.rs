//! PUT /api/keys/identity/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody,
    keys::{Identity, PutIdentity},
};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Authenticated},
    },
    keys,
};

/// Publish or change the identity key.
///
/// The first is taken as it is; a change needs the signature of the key in force, makes prekeys and manifest
/// invalid until they are published again, and is told to contacts. The key in force is accepted again.
#[utoipa::path(put, path = "/api/keys/identity/", tag = "Keys", request_body = PutIdentity,
    responses((status = 200, description = "The key in force.", body = Identity),
              (status = 403, description = "`forbidden` on a session device; `step_up_required` without that signature, on a device that has logged in with an identity provider alone.", body = ErrorBody),
              (status = 409, description = "`identity_exists`: a change needs `signature_by_previous`.", body = ErrorBody),
              (status = 422, description = "`invalid_key`, `invalid_signature`.", body = ErrorBody)))]
pub(super) async fn put_identity(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<PutIdentity>,
) -> ApiResult<Json<Identity>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(keys::put_identity(&app, &ctx, grant, request).await?))
}
