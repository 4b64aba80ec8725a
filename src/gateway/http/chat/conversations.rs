//! `/api/chat/conversations/`, `/api/chat/conversations/{id}/`

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use sigilo_wire::{
    AppointmentId, ConversationId, ErrorBody, Role, Timestamp, UserId,
    conversation::{
        Conversation, ConversationList, ConversationType, CreateConversation, UpdateConversation,
    },
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result,
    app::SharedApp,
    conversations::{self, ConversationFilter},
    gateway::http::{
        error::ApiResult,
        extract::{ApiJson, ApiPath, ApiQuery, Authenticated, IdempotencyHeader},
    },
    idempotency::IdempotencyKey,
    paging::Paging,
    policy::{ListConversations, own},
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_conversations, create_conversation)).routes(routes!(
        get_conversation,
        update_conversation,
        leave_conversation
    ))
}

/// Start a conversation.
///
/// A pair has one direct conversation: starting it again gives it, with 200. Titles and descriptions are the
/// members' own: send them as a `profile` message.
#[utoipa::path(post, path = "/api/chat/conversations/", tag = "Conversations",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, remembered for 24 hours: the same key and body get the first answer.")),
    request_body = CreateConversation,
    responses((status = 201, description = "Started.", body = Conversation),
              (status = 200, description = "The pair's direct conversation.", body = Conversation),
              (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 403, description = "`conversation_not_allowed`: the details say why and what to do.", body = ErrorBody),
              (status = 404, description = "Somebody named is not in this clinic.", body = ErrorBody),
              (status = 409, description = "`idempotency_conflict`", body = ErrorBody)))]
async fn create_conversation(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    IdempotencyHeader(key): IdempotencyHeader,
    ApiJson(wanted): ApiJson<CreateConversation>,
) -> ApiResult<(StatusCode, Json<Conversation>)> {
    let key =
        key.map(|key| IdempotencyKey::new(&key, "POST /api/chat/conversations/", &wanted)).transpose()?;
    let grant = conversations::authorize_start(&app, &ctx, &wanted).await?;
    let created = conversations::create(&app, &ctx, grant, &wanted, key.as_ref()).await?;
    let status = if created.is_new() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(created.into_conversation())))
}

/// Which conversations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConversationQuery {
    /// Of this type.
    r#type: Option<ConversationType>,
    /// With this person.
    with_user: Option<UserId>,
    /// Also those the caller has archived.
    #[serde(default)]
    include_archived: bool,
    /// With somebody else who has this role in the clinic.
    participant_type: Option<Role>,
    /// About this appointment.
    related_appointment: Option<AppointmentId>,
    /// With something unread (`true`), or with nothing (`false`).
    has_unread: Option<bool>,
    /// Changed at or after this time.
    updated_since: Option<Timestamp>,
    /// `-updated_at` (newest change first, the default) or `updated_at`.
    ordering: Option<String>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
    #[param(ignore)]
    search: Option<String>,
    #[param(ignore)]
    title: Option<String>,
    #[param(ignore)]
    description: Option<String>,
    #[param(ignore)]
    tags: Option<String>,
}

/// The caller's conversations, newest change first.
///
/// Titles, descriptions and tags are encrypted: filter by them on the device (`encrypted_field`).
#[utoipa::path(get, path = "/api/chat/conversations/", tag = "Conversations", params(ConversationQuery),
    responses((status = 200, body = ConversationList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
async fn list_conversations(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<ConversationQuery>,
) -> ApiResult<Json<ConversationList>> {
    let filter = filter(query)?;
    let grant = own::<ListConversations>(&app, &ctx)?;
    Ok(Json(conversations::list(&app, &ctx, grant, &filter).await?))
}

fn filter(query: ConversationQuery) -> Result<ConversationFilter> {
    super::refuse_encrypted(&[
        ("search", query.search.is_some()),
        ("title", query.title.is_some()),
        ("description", query.description.is_some()),
        ("tags", query.tags.is_some()),
    ])?;
    let oldest_first = match query.ordering.as_deref() {
        None | Some("-updated_at") => false,
        Some("updated_at") => true,
        Some(_) => return Err(Error::field("ordering", "is -updated_at or updated_at")),
    };
    Ok(ConversationFilter {
        kind: query.r#type,
        with_user: query.with_user,
        include_archived: query.include_archived,
        participant_type: query.participant_type,
        related_appointment: query.related_appointment,
        has_unread: query.has_unread,
        updated_since: query.updated_since,
        oldest_first,
        paging: Paging::new(query.cursor, query.page, query.page_size),
    })
}

/// A conversation's details.
#[utoipa::path(get, path = "/api/chat/conversations/{conversation_id}/", tag = "Conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 200, body = Conversation), (status = 401, body = ErrorBody),
              (status = 403, description = "A session device sees no content.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody)))]
async fn get_conversation(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
) -> ApiResult<Json<Conversation>> {
    let grant = conversations::authorize_read(&app, &ctx, conversation).await?;
    Ok(Json(conversations::get(&app, &ctx, grant).await?))
}

/// Change one's own settings, or close the conversation.
///
/// `settings` are the caller's own. `"status": "closed"` is for clinicians who take part: nothing and nobody new from then
/// on, for everybody and for good.
#[utoipa::path(put, path = "/api/chat/conversations/{conversation_id}/", tag = "Conversations",
    params(("conversation_id" = ConversationId, Path)), request_body = UpdateConversation,
    responses((status = 200, body = Conversation), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 403, description = "Closing is for clinicians.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody)))]
async fn update_conversation(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
    ApiJson(change): ApiJson<UpdateConversation>,
) -> ApiResult<Json<Conversation>> {
    Ok(Json(conversations::update_conversation(&app, &ctx, conversation, &change).await?))
}

/// Leave a care team or an administrative conversation; archive any other for oneself.
#[utoipa::path(delete, path = "/api/chat/conversations/{conversation_id}/", tag = "Conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses((status = 204, description = "Left, or archived."), (status = 401, body = ErrorBody),
              (status = 403, description = "Whoever started it cannot leave it.", body = ErrorBody),
              (status = 404, description = "Not there, or the caller does not take part.", body = ErrorBody)))]
async fn leave_conversation(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiPath(conversation): ApiPath<ConversationId>,
) -> ApiResult<StatusCode> {
    conversations::leave_or_archive(&app, &ctx, conversation).await?;
    Ok(StatusCode::NO_CONTENT)
}
