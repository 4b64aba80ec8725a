//! `/api/chat/messages/{id}/read/`, `/api/chat/conversations/{id}/read/`, `/api/chat/unread-count/`

use axum::{Json, extract::State};
use sigilo_wire::{
    ConversationId, ErrorBody, MessageId,
    mark::{ReadPosition, ReadUpTo, UnreadCounts},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    conversations,
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, Authenticated},
    },
    marks::{self, Reach},
    policy::{ListConversations, own},
    relay::read,
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(read_message))
        .routes(routes!(read_conversation))
        .routes(routes!(unread_count))
}

/// Mark a message as read, and all before it.
///
/// The position only moves forward. Those who wrote what is new in it get `message_read`.
#[utoipa::path(post, path = "/api/chat/messages/{message_id}/read/", tag = "Messages",
    params(("message_id" = MessageId, Path)),
    responses((status = 200, body = ReadPosition), (status = 401, body = ErrorBody),
              (status = 403, description = "A session device reads no content.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody)))]
async fn read_message(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(message): ApiPath<MessageId>,
) -> ApiResult<Json<ReadPosition>> {
    let conversation = read::conversation_of(&app, &ctx, message).await?;
    let grant = conversations::authorize_read(&app, &ctx, conversation).await?;
    Ok(Json(marks::mark_read(&app, &ctx, grant, Reach::Message(message)).await?))
}

/// Mark a conversation as read, up to a message or all of it.
///
/// The position only moves forward. Those who wrote what is new in it get `message_read`.
#[utoipa::path(post, path = "/api/chat/conversations/{conversation_id}/read/", tag = "Conversations",
    params(("conversation_id" = ConversationId, Path)), request_body = ReadUpTo,
    responses((status = 200, body = ReadPosition),
              (status = 400, description = "`up_to` is not the number of a message here.", body = ErrorBody),
              (status = 401, body = ErrorBody),
              (status = 403, description = "A session device reads no content.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody)))]
async fn read_conversation(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
    ApiJson(read): ApiJson<ReadUpTo>,
) -> ApiResult<Json<ReadPosition>> {
    let grant = conversations::authorize_read(&app, &ctx, conversation).await?;
    let reach = read.up_to.map_or(Reach::Newest, Reach::UpTo);
    Ok(Json(marks::mark_read(&app, &ctx, grant, reach).await?))
}

/// How many messages are unread, in all and in each conversation that has some.
///
/// Own messages, edits, deletes, reactions, profiles and expired messages do not count.
#[utoipa::path(get, path = "/api/chat/unread-count/", tag = "Conversations",
    responses((status = 200, body = UnreadCounts), (status = 401, body = ErrorBody)))]
async fn unread_count(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
) -> ApiResult<Json<UnreadCounts>> {
    let grant = own::<ListConversations>(&app, &ctx)?;
    Ok(Json(marks::unread_counts(&app, &ctx, grant).await?))
}
