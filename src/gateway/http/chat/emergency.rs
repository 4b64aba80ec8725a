//! `/api/chat/emergency/`

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ConversationId, ErrorBody,
    emergency::{CloseEmergency, Emergency, EscalateEmergency, OpenEmergency, OpenedEmergency},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    conversations, emergency,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, IdempotencyHeader, Uncounted},
    },
    idempotency::IdempotencyKey,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(open_emergency))
        .routes(routes!(get_emergency))
        .routes(routes!(acknowledge_emergency))
        .routes(routes!(escalate_emergency))
        .routes(routes!(close_emergency))
}

/// Call the clinicians on call, at any hour.
///
/// Makes a conversation of type `emergency` with all tiers on call. The first tier is called at once, each other when
/// those before have not acknowledged in time. Make the record seal and the envelopes for everybody in `conversation`,
/// also for those who are `waiting`: what is for them is kept back until their tier is called. When `tiers` is 0 nobody
/// is on call: the staff is told; dial the number.
#[utoipa::path(post, path = "/api/chat/emergency/", tag = "Emergencies",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, remembered for 24 hours: the same key and body get the first answer.")),
    request_body = OpenEmergency,
    responses((status = 201, body = OpenedEmergency), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but patients on a device with keys.", body = ErrorBody),
              (status = 409, description = "`idempotency_conflict`", body = ErrorBody)))]
async fn open_emergency(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    IdempotencyHeader(key): IdempotencyHeader,
    ApiJson(wanted): ApiJson<OpenEmergency>,
) -> ApiResult<(StatusCode, Json<OpenedEmergency>)> {
    let key = key.map(|key| IdempotencyKey::new(&key, "POST /api/chat/emergency/", &wanted)).transpose()?;
    let grant = emergency::authorize_open(&app, &ctx).await?;
    let opened = emergency::open(&app, &ctx, grant, &wanted, key.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(opened)))
}

/// How an emergency stands.
#[utoipa::path(get, path = "/api/chat/emergency/{conversation_id}/", tag = "Emergencies",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 200, body = Emergency), (status = 403, body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part (yet).", body = ErrorBody)))]
async fn get_emergency(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(id): ApiPath<ConversationId>,
) -> ApiResult<Json<Emergency>> {
    let grant = conversations::authorize_read(&app, &ctx, id).await?;
    Ok(Json(emergency::show(&app, &ctx, grant).await?))
}

/// Acknowledge an emergency: no further tier is called by itself.
#[utoipa::path(post, path = "/api/chat/emergency/{conversation_id}/ack/", tag = "Emergencies",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 200, description = "Also when somebody has before.", body = Emergency),
              (status = 403, description = "`forbidden` to all but clinicians.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller was not called (yet).", body = ErrorBody),
              (status = 409, description = "`already_settled`: it is closed.", body = ErrorBody)))]
async fn acknowledge_emergency(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(id): ApiPath<ConversationId>,
) -> ApiResult<Json<Emergency>> {
    let grant = emergency::authorize_handle(&app, &ctx, id).await?;
    Ok(Json(emergency::acknowledge(&app, &ctx, grant).await?))
}

/// Call the next tier now.
#[utoipa::path(post, path = "/api/chat/emergency/{conversation_id}/escalate/", tag = "Emergencies",
    params(("conversation_id" = ConversationId, Path)), request_body = EscalateEmergency,
    responses((status = 200, body = Emergency), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but clinicians.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller was not called (yet).", body = ErrorBody),
              (status = 409, description = "`already_settled`: it is closed, or nobody is left to call.", body = ErrorBody)))]
async fn escalate_emergency(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(id): ApiPath<ConversationId>,
    ApiJson(request): ApiJson<EscalateEmergency>,
) -> ApiResult<Json<Emergency>> {
    let grant = emergency::authorize_handle(&app, &ctx, id).await?;
    Ok(Json(emergency::escalate(&app, &ctx, grant, request.from_tier).await?))
}

/// Close an emergency with its outcome, for everybody and for good.
#[utoipa::path(post, path = "/api/chat/emergency/{conversation_id}/close/", tag = "Emergencies",
    params(("conversation_id" = ConversationId, Path)), request_body = CloseEmergency,
    responses((status = 200, body = Emergency), (status = 400, body = ErrorBody),
              (status = 403, description = "`forbidden` to all but clinicians.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller was not called (yet).", body = ErrorBody),
              (status = 409, description = "`already_settled`: it was closed before.", body = ErrorBody)))]
async fn close_emergency(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(id): ApiPath<ConversationId>,
    ApiJson(request): ApiJson<CloseEmergency>,
) -> ApiResult<Json<Emergency>> {
    let grant = emergency::authorize_handle(&app, &ctx, id).await?;
    Ok(Json(emergency::close(&app, &ctx, grant, request.outcome).await?))
}
