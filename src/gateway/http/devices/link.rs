//! /api/devices/link/

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ErrorBody, LinkId,
    account::Tokens,
    keys::UserManifest,
    link::{ApproveLink, BeginLink, ClaimLink, LinkState, OfferLinkKey, OwnLink},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    auth::link,
    gateway::http::{
        error::ApiResult,
        extract::{Anonymous, ApiJson, ApiPath, Authenticated},
    },
    keys,
};

/// The links' routes.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(begin, own))
        .routes(routes!(state))
        .routes(routes!(offer_key))
        .routes(routes!(approve))
        .routes(routes!(claim))
}

/// Open the link that a new device shows.
///
/// It is good for ten minutes and takes the place of one opened before. The link the calling device has open is given
/// again.
#[utoipa::path(post, path = "/api/devices/link/", tag = "Accounts", operation_id = "begin_link", request_body = BeginLink,
    responses((status = 201, description = "Open.", body = OwnLink),
              (status = 403, description = "`step_up_required`; `forbidden` on a session device.", body = ErrorBody),
              (status = 409, description = "`device_limit`; `already_exists`: somebody else has opened it.", body = ErrorBody)))]
async fn begin(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiJson(request): ApiJson<BeginLink>,
) -> ApiResult<(StatusCode, Json<OwnLink>)> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok((StatusCode::CREATED, Json(link::begin(&app, &ctx, grant, &request).await?)))
}

/// The link the calling device has open, with the new device's key once it has come.
#[utoipa::path(get, path = "/api/devices/link/", tag = "Accounts", operation_id = "own_link",
    responses((status = 200, description = "Open.", body = OwnLink),
              (status = 403, description = "`forbidden` on a session device.", body = ErrorBody),
              (status = 404, description = "None, or it expired.", body = ErrorBody)))]
async fn own(State(app): State<SharedApp>, Authenticated(ctx): Authenticated) -> ApiResult<Json<OwnLink>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(link::own(&app, &ctx, grant).await?))
}

/// A link as its new device sees it: the sealed package, once it was approved.
#[utoipa::path(get, path = "/api/devices/link/{link_id}/", tag = "Accounts", security(()), operation_id = "link_state",
    params(("link_id" = LinkId, Path, description = "The link.")),
    responses((status = 200, description = "Open.", body = LinkState),
              (status = 404, description = "Nobody has opened it yet, or it expired.", body = ErrorBody)))]
async fn state(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiPath(id): ApiPath<LinkId>,
) -> ApiResult<Json<LinkState>> {
    Ok(Json(link::state(&app, &ctx, id).await?))
}

/// Leave the new device's public key.
///
/// The first key stays; the old device compares it with what the new one shows.
#[utoipa::path(put, path = "/api/devices/link/{link_id}/key/", tag = "Accounts", security(()), operation_id = "offer_link_key",
    params(("link_id" = LinkId, Path, description = "The link.")), request_body = OfferLinkKey,
    responses((status = 204, description = "There."),
              (status = 404, description = "Nobody has opened it yet, or it expired.", body = ErrorBody),
              (status = 409, description = "`already_exists`: another key.", body = ErrorBody),
              (status = 422, description = "`invalid_key`.", body = ErrorBody)))]
async fn offer_key(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiPath(id): ApiPath<LinkId>,
    ApiJson(request): ApiJson<OfferLinkKey>,
) -> ApiResult<StatusCode> {
    link::offer_key(&app, &ctx, id, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hand the account to the new device: the sealed package, and the manifest that names it.
///
/// All or nothing. The device has a number from here on, and tokens once it shows the claim in the package.
#[utoipa::path(post, path = "/api/devices/link/{link_id}/approve/", tag = "Accounts", operation_id = "approve_link",
    params(("link_id" = LinkId, Path, description = "The link.")), request_body = ApproveLink,
    responses((status = 200, description = "The manifest in force.", body = UserManifest),
              (status = 400, description = "`invalid_field`.", body = ErrorBody),
              (status = 403, description = "`forbidden` on a session device.", body = ErrorBody),
              (status = 404, description = "The calling device has no such link open.", body = ErrorBody),
              (status = 409, description = "`keys_missing` before the new device's key is there; `device_limit`; `manifest_conflict`; `already_exists`: approved otherwise.", body = ErrorBody),
              (status = 422, description = "`invalid_manifest`; `invalid_signature`.", body = ErrorBody)))]
async fn approve(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(id): ApiPath<LinkId>,
    ApiJson(request): ApiJson<ApproveLink>,
) -> ApiResult<Json<UserManifest>> {
    let grant = keys::authorize_own(&app, &ctx).await?;
    Ok(Json(link::approve(&app, &ctx, grant, id, &request).await?))
}

/// The new device's tokens, for the claim in its package.
///
/// When the answer is lost they may be asked for again, until the device has published its keys.
#[utoipa::path(post, path = "/api/devices/link/{link_id}/claim/", tag = "Accounts", security(()), operation_id = "claim_link",
    params(("link_id" = LinkId, Path, description = "The link.")), request_body = ClaimLink,
    responses((status = 200, body = Tokens), (status = 400, body = ErrorBody),
              (status = 401, description = "`invalid_link`.", body = ErrorBody),
              (status = 429, description = "`rate_limited`: too many claims from this address.", body = ErrorBody)))]
async fn claim(
    State(app): State<SharedApp>,
    Anonymous(ctx): Anonymous,
    ApiPath(id): ApiPath<LinkId>,
    ApiJson(request): ApiJson<ClaimLink>,
) -> ApiResult<Json<Tokens>> {
    Ok(Json(link::claim(&app, &ctx, id, &request).await?))
}
