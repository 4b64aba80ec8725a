//! `/api/chat/conversations/{id}/messages/`, `/api/chat/messages/{id}/`, `/api/chat/events/`

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    ConversationId, ErrorBody, MessageId, Timestamp, UserId,
    event::EventList,
    message::{Accepted, Held, Message, MessageKind, MessageList, SendMessage, Taken},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Ctx, Error,
    app::SharedApp,
    conversations,
    gateway::http::{
        error::ApiResult,
        extract::{ApiPath, ApiQuery, Authenticated, SendJson, Uncounted},
    },
    paging::Paging,
    policy,
    relay::{self, read},
};

/// The area's routes.
pub fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_messages, send_message))
        .routes(routes!(get_message, edit_message, delete_message))
        .routes(routes!(cancel_held))
        .routes(routes!(list_events))
}

const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 100;

/// Send a message.
///
/// Answered after the message is on the disk. The same message sent again gets the first answer. With `deliver: when_open`
/// one that comes while the conversation is closed is held: 202, and at the opening it is decided on and checked again, and
/// gets its number and receipt, which come to the device as the message's own event.
#[utoipa::path(post, path = "/api/chat/conversations/{conversation_id}/messages/", tag = "Messages",
    params(("conversation_id" = ConversationId, Path)), request_body = SendMessage,
    responses((status = 201, body = Accepted), (status = 202, description = "Held until the conversation opens.", body = Held),
        (status = 400, description = "`outside_chat_hours`", body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "device_mismatch, seal_stale, seal_unknown, chain_gap, device_keys_expired, idempotency_conflict"),
        (status = 413, body = ErrorBody), (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn send_message(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(conversation): ApiPath<ConversationId>,
    SendJson(message): SendJson<SendMessage>,
) -> ApiResult<(StatusCode, Json<Taken>)> {
    Ok(answer(relay::send(&app, &ctx, conversation, Arc::new(message)).await?, StatusCode::CREATED))
}

fn answer(taken: Taken, stored: StatusCode) -> (StatusCode, Json<Taken>) {
    let status = if matches!(taken, Taken::Held(_)) { StatusCode::ACCEPTED } else { stored };
    (status, Json(taken))
}

/// Take a held message back.
///
/// Nobody hears of it. Those the device wrote after it come back to it as `reseal_needed`: they name it.
#[utoipa::path(delete, path = "/api/chat/messages/{message_id}/hold/", tag = "Messages", operation_id = "cancel_held_message",
    params(("message_id" = MessageId, Path)),
    responses((status = 204, description = "It is gone."),
        (status = 404, description = "Not the caller's, or not held any more.", body = ErrorBody)))]
async fn cancel_held(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(message): ApiPath<MessageId>,
) -> ApiResult<StatusCode> {
    let grant = policy::own_account(&app, &ctx)?;
    relay::held::cancel(&app, &ctx, grant, message).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MessageQuery {
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 50 by default.
    page_size: Option<usize>,
    /// Received before this time.
    before: Option<Timestamp>,
    /// Received after this time.
    after: Option<Timestamp>,
    /// Of this kind.
    message_type: Option<MessageKind>,
    /// By this person.
    sender: Option<UserId>,
    /// With files (`true`), or without (`false`).
    has_attachments: Option<bool>,
    /// Also those their authors deleted, with `deleted_at`; `false` by default.
    include_deleted: Option<bool>,
    /// `-conversation_seq` (newest first, the default) or `conversation_seq`.
    ordering: Option<String>,
    /// Refused: the server cannot see the text.
    #[param(ignore)]
    search: Option<String>,
}

/// A conversation's messages, newest first.
#[utoipa::path(get, path = "/api/chat/conversations/{conversation_id}/messages/", tag = "Messages",
    params(("conversation_id" = ConversationId, Path), MessageQuery),
    responses((status = 200, body = MessageList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn list_messages(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
    ApiQuery(query): ApiQuery<MessageQuery>,
) -> ApiResult<Json<MessageList>> {
    let filter = filter(query)?;
    let grant = conversations::authorize_read(&app, &ctx, conversation).await?;
    Ok(Json(read::list(&app, &ctx, grant, &filter).await?))
}

fn filter(query: MessageQuery) -> Result<read::MessageFilter, Error> {
    super::refuse_encrypted(&[("search", query.search.is_some())])?;
    let oldest_first = match query.ordering.as_deref() {
        None | Some("-conversation_seq" | "-timestamp") => false,
        Some("conversation_seq" | "timestamp") => true,
        Some(_) => return Err(Error::field("ordering", "is -conversation_seq or conversation_seq")),
    };
    Ok(read::MessageFilter {
        oldest_first,
        before: query.before,
        after: query.after,
        kind: query.message_type,
        sender: query.sender,
        include_deleted: query.include_deleted.unwrap_or(false),
        has_attachments: query.has_attachments,
        paging: Paging::new(query.cursor, query.page, query.page_size.or(Some(DEFAULT_PAGE))),
    })
}

/// One message.
#[utoipa::path(get, path = "/api/chat/messages/{message_id}/", tag = "Messages",
    params(("message_id" = MessageId, Path)),
    responses((status = 200, body = Message), (status = 404, body = ErrorBody)))]
async fn get_message(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(message): ApiPath<MessageId>,
) -> ApiResult<Json<Message>> {
    let conversation = read::conversation_of(&app, &ctx, message).await?;
    let grant = conversations::authorize_read(&app, &ctx, conversation).await?;
    Ok(Json(read::get(&app, &ctx, grant, message).await?))
}

/// Edit a message.
///
/// The body is that of a message of kind `edit` whose `target_commitment` is this message's. Recipients get
/// `message_edited`. The old text stays in the record.
#[utoipa::path(put, path = "/api/chat/messages/{message_id}/", tag = "Messages",
    params(("message_id" = MessageId, Path)), request_body = SendMessage,
    responses((status = 200, body = Accepted), (status = 202, description = "Held until the conversation opens.", body = Held),
        (status = 400, description = "`outside_chat_hours`", body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "As for a send."), (status = 413, body = ErrorBody),
        (status = 422, description = "`invalid_message`: of another kind, about another message, or another person's.", body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn edit_message(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(target): ApiPath<MessageId>,
    SendJson(message): SendJson<SendMessage>,
) -> ApiResult<(StatusCode, Json<Taken>)> {
    revise(&app, &ctx, target, MessageKind::Edit, message).await
}

/// Delete a message for its readers.
///
/// The body is that of a message of kind `delete` whose `target_commitment` is this message's. Recipients get
/// `message_deleted`. The record keeps the message.
#[utoipa::path(delete, path = "/api/chat/messages/{message_id}/", tag = "Messages",
    params(("message_id" = MessageId, Path)), request_body = SendMessage,
    responses((status = 200, body = Accepted), (status = 202, description = "Held until the conversation opens.", body = Held),
        (status = 400, description = "`outside_chat_hours`", body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "As for a send."), (status = 413, body = ErrorBody),
        (status = 422, description = "`invalid_message`: of another kind, about another message, or another person's.", body = ErrorBody),
        (status = 503, body = ErrorBody)))]
async fn delete_message(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiPath(target): ApiPath<MessageId>,
    SendJson(message): SendJson<SendMessage>,
) -> ApiResult<(StatusCode, Json<Taken>)> {
    revise(&app, &ctx, target, MessageKind::Delete, message).await
}

async fn revise(
    app: &SharedApp,
    ctx: &Ctx,
    target: MessageId,
    kind: MessageKind,
    message: SendMessage,
) -> ApiResult<(StatusCode, Json<Taken>)> {
    let conversation = read::conversation_of(app, ctx, target).await?;
    let grant = conversations::authorize_read(app, ctx, conversation).await?;
    Ok(answer(relay::revise(app, ctx, grant, target, kind, Arc::new(message)).await?, StatusCode::OK))
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// An event's id; events after it are given.
    after: Option<String>,
    /// 1 to 100, 50 by default.
    page_size: Option<usize>,
}

/// What the calling device has missed, oldest first. Reading acknowledges nothing.
#[utoipa::path(get, path = "/api/chat/events/", tag = "Messages", params(EventQuery),
    responses((status = 200, body = EventList), (status = 400, body = ErrorBody)))]
async fn list_events(
    State(app): State<SharedApp>,
    Uncounted(ctx): Uncounted,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> ApiResult<Json<EventList>> {
    let page_size = query.page_size.unwrap_or(DEFAULT_PAGE);
    if page_size == 0 || page_size > MAX_PAGE {
        return Err(Error::field("page_size", "is between 1 and 100").into());
    }
    Ok(Json(relay::events_after(&app, &ctx, query.after.as_deref(), page_size).await?))
}
