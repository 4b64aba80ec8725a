//! GET /api/keys/{user_id}/{device_id or *}/

use axum::{Json, extract::State};
use sigilo_wire::{ErrorBody, UserId, keys::KeyBundles};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiPath, Uncounted},
    },
    keys,
};

/// Take key bundles of a person's devices.
///
/// Each one-time key leaves exactly once; when a device's Kyber keys have run out, its last-resort one is
/// given. Only devices of the newest manifest with a signed prekey of at most 45 days; never the calling one.
#[utoipa::path(get, path = "/api/keys/{user_id}/{device_id}/", tag = "Keys",
    params(("user_id" = UserId, Path, description = "Whose keys."),
           ("device_id" = String, Path, description = "A device's number, or `*` for all.", example = "*")),
    responses((status = 200, description = "Identity key, manifest and bundles.", body = KeyBundles),
              (status = 403, description = "`forbidden`: no conversation, and none may be started.", body = ErrorBody),
              (status = 404, description = "Nobody of this clinic, or no such device in the manifest.", body = ErrorBody),
              (status = 409, description = "`keys_missing`: nothing is published yet, or it has expired.", body = ErrorBody)))]
pub(super) async fn fetch_keys(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath((user, which)): ApiPath<(UserId, keys::Which)>,
) -> ApiResult<Json<KeyBundles>> {
    let grant = keys::authorize_fetch(&app, &ctx, user).await?;
    Ok(Json(keys::fetch(&app, &ctx, grant, which).await?))
}
