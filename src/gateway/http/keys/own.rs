//! PUT and GET /api/keys/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody,
    keys::{KeyCounts, PutKeys},
};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, Authenticated},
    },
    keys,
};

/// Publish prekeys of the calling device.
///
/// A non-empty list replaces that set, an absent one leaves it; all or nothing is taken. The first publication
/// needs the signed prekey and the last-resort Kyber prekey.
#[utoipa::path(put, path = "/api/keys/", tag = "Keys", request_body = PutKeys,
    responses((status = 200, description = "What the server has now.", body = KeyCounts),
              (status = 400, description = "`invalid_field`: a number out of range, a list over 100, an id or key twice.", body = ErrorBody),
              (status = 403, description = "`forbidden` on a session device.", body = ErrorBody),
              (status = 409, description = "`keys_missing`: publish the identity key first.", body = ErrorBody),
              (status = 422, description = "`invalid_key`, `invalid_signature`; `details` names `key` and `key_id`.", body = ErrorBody)))]
pub(super) async fn put_keys(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<PutKeys>,
) -> ApiResult<Json<KeyCounts>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(keys::publish(&app, &ctx, grant, request).await?))
}

/// How many one-time keys of the calling device are left, and how old its signed prekey is.
#[utoipa::path(get, path = "/api/keys/", tag = "Keys",
    responses((status = 200, description = "What the server has.", body = KeyCounts),
              (status = 403, description = "`forbidden` on a session device.", body = ErrorBody)))]
pub(super) async fn get_counts(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<KeyCounts>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(keys::counts(&app, &ctx, grant).await?))
}
