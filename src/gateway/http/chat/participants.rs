//! `/api/chat/conversations/{id}/participants/`

use axum::{Json, extract::State, http::StatusCode};
use sigilo_wire::{
    ConversationId, ErrorBody, UserId,
    conversation::{AddParticipants, Conversation},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    conversations,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(add_participants)).routes(routes!(remove_participant))
}

/// Add people to a care team or an administrative conversation.
///
/// They read what is said from then on. Adding somebody again changes nothing. The next message of every device needs
/// a new record seal.
#[utoipa::path(post, path = "/api/chat/conversations/{conversation_id}/participants/", tag = "Conversations",
    params(("conversation_id" = ConversationId, Path)), request_body = AddParticipants,
    responses((status = 200, body = Conversation), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 403, description = "The caller is no moderator, a rule keeps these people apart, or it is closed.", body = ErrorBody),
              (status = 404, description = "Not there, the caller does not take part, or somebody named is not in this clinic.", body = ErrorBody)))]
async fn add_participants(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
    ApiJson(wanted): ApiJson<AddParticipants>,
) -> ApiResult<Json<Conversation>> {
    Ok(Json(conversations::add_participants(&app, &ctx, conversation, &wanted.user_ids).await?))
}

/// Take somebody out of a care team or an administrative conversation.
///
/// They get nothing more of it and cannot read it. Removing somebody again changes nothing. The next message of every
/// device needs a new record seal.
#[utoipa::path(delete, path = "/api/chat/conversations/{conversation_id}/participants/{user_id}/", tag = "Conversations",
    params(("conversation_id" = ConversationId, Path), ("user_id" = UserId, Path)),
    responses((status = 204, description = "They do not take part."), (status = 400, body = ErrorBody),
              (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
              (status = 404, description = "Not there, the caller does not take part, or the other never did.", body = ErrorBody)))]
async fn remove_participant(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath((conversation, user)): ApiPath<(ConversationId, UserId)>,
) -> ApiResult<StatusCode> {
    conversations::remove_participant(&app, &ctx, conversation, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
