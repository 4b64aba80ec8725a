//! PUT /api/devices/manifest/ and GET /api/keys/{user_id}/manifest/

use axum::{Json, extract::State};
use sigilo_wire::{
    ErrorBody, UserId,
    keys::{PutManifest, UserManifest},
};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
    keys,
};

/// Publish the next device manifest.
///
/// It is signed by the identity key, follows the version in force, and names exactly the user's devices with
/// published keys. The manifest in force is accepted again. Without a device that was in it, it has a new history
/// key, which the other devices get in their envelopes.
#[utoipa::path(put, path = "/api/devices/manifest/", tag = "Keys", request_body = PutManifest,
    responses((status = 200, description = "The manifest in force.", body = UserManifest),
              (status = 400, description = "`invalid_field`: envelopes for others than its devices.", body = ErrorBody),
              (status = 403, description = "`forbidden` on a session device.", body = ErrorBody),
              (status = 409, description = "`manifest_conflict` with `current_version`; `keys_missing` before the identity key.", body = ErrorBody),
              (status = 422, description = "`invalid_manifest`, with `missing`, `extra` and `stale` devices; `invalid_signature`.", body = ErrorBody)))]
pub(super) async fn put_manifest(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<PutManifest>,
) -> ApiResult<Json<UserManifest>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(keys::put_manifest(&app, &ctx, grant, request).await?))
}

/// A person's identity key and newest manifest, without taking one-time keys.
#[utoipa::path(get, path = "/api/keys/{user_id}/manifest/", tag = "Keys",
    params(("user_id" = UserId, Path, description = "Whose devices.")),
    responses((status = 200, description = "Identity key and manifest.", body = UserManifest),
              (status = 403, description = "`forbidden`: no conversation, and none may be started.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic.", body = ErrorBody),
              (status = 409, description = "`keys_missing`: nothing is published yet.", body = ErrorBody)))]
pub(super) async fn get_manifest(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(user): ApiPath<UserId>,
) -> ApiResult<Json<UserManifest>> {
    let (grant, _) = keys::authorize_fetch(&app, &ctx, user).await?;
    Ok(Json(keys::get_manifest(&app, &ctx, grant).await?))
}
