//! `/api/chat/conversations/{id}/seals/`

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ConversationId, ErrorBody, SealId,
    seal::{NewSeal, ReportSeal, Seal, SealList},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    conversations,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated},
    },
    paging::Paging,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_seals, publish_seal)).routes(routes!(report_seal))
}

/// Publish a record seal of the calling device.
///
/// The same seal published again gets the first answer.
#[utoipa::path(post, path = "/api/chat/conversations/{conversation_id}/seals/", tag = "Seals",
    params(("conversation_id" = ConversationId, Path)), request_body = NewSeal,
    responses((status = 201, body = Seal), (status = 401, body = ErrorBody),
              (status = 403, description = "Whoever may not send may not seal.", body = ErrorBody),
              (status = 404, body = ErrorBody),
              (status = 409, description = "`seal_stale` with the key ids expected now, `keys_missing`, `clinic_keys_missing`, `already_exists`", body = ErrorBody),
              (status = 422, description = "`invalid_seal`", body = ErrorBody)))]
async fn publish_seal(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
    ApiJson(seal): ApiJson<NewSeal>,
) -> ApiResult<(StatusCode, Json<Seal>)> {
    let grant = conversations::authorize_seal(&app, &ctx, conversation).await?;
    Ok((StatusCode::CREATED, Json(conversations::publish_seal(&app, &ctx, grant, &seal).await?)))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SealQuery {
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// A conversation's record seals, newest first.
///
/// Whoever has left gets those that were made for them.
#[utoipa::path(get, path = "/api/chat/conversations/{conversation_id}/seals/", tag = "Seals",
    params(("conversation_id" = ConversationId, Path), SealQuery),
    responses((status = 200, body = SealList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 404, body = ErrorBody)))]
async fn list_seals(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
    ApiQuery(query): ApiQuery<SealQuery>,
) -> ApiResult<Json<SealList>> {
    let paging = Paging::new(query.cursor, query.page, query.page_size);
    let grant = conversations::authorize_read_seals(&app, &ctx, conversation).await?;
    Ok(Json(conversations::list_seals(&app, &ctx, grant, &paging).await?))
}

/// Report a record seal that is not as it must be.
///
/// One report a person and seal: the first stands, and repeating it changes nothing. The clinic is told.
#[utoipa::path(post, path = "/api/chat/conversations/{conversation_id}/seals/{seal_id}/invalid/", tag = "Seals",
    params(("conversation_id" = ConversationId, Path), ("seal_id" = SealId, Path)), request_body = ReportSeal,
    responses((status = 204, description = "Noted, now or before."), (status = 400, body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "A session device judges no seal.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody)))]
async fn report_seal(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((conversation, seal)): ApiPath<(ConversationId, SealId)>,
    ApiJson(report): ApiJson<ReportSeal>,
) -> ApiResult<StatusCode> {
    let grant = conversations::authorize_report_seal(&app, &ctx, conversation).await?;
    conversations::report_seal(&app, &ctx, grant, seal, &report).await?;
    Ok(StatusCode::NO_CONTENT)
}
