//! `/api/chat/search/`

use axum::{Json, extract::State};
use serde::Deserialize;
use sigilo_wire::{
    ErrorBody, Timestamp, UserId,
    message::{MessageKind, MessageList, Priority},
    vault::DocumentType,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    gateway::http::{
        error::ApiResult,
        extract::{ApiQuery, Authenticated},
    },
    paging::Paging,
    policy::{SearchMessages, own},
    relay::{self, MessageSearch},
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(search_messages))
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// In conversations with this person.
    with_user: Option<UserId>,
    /// Received at or after this time.
    from: Option<Timestamp>,
    /// Received before this time.
    to: Option<Timestamp>,
    /// Of this kind.
    message_type: Option<MessageKind>,
    /// By this person.
    sender: Option<UserId>,
    /// Of this priority.
    priority: Option<Priority>,
    /// With files (`true`), or without (`false`).
    has_attachments: Option<bool>,
    /// With a file of this kind of document.
    file_type: Option<DocumentType>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
    #[param(ignore)]
    q: Option<String>,
    #[param(ignore)]
    query: Option<String>,
    #[param(ignore)]
    search: Option<String>,
    #[param(ignore)]
    text: Option<String>,
    #[param(ignore)]
    has_medical_terms: Option<String>,
}

/// Search the caller's messages by what the server sees of them, newest first.
///
/// Expired and deleted messages are not found. What was said is encrypted: search it on the device (`encrypted_field`).
#[utoipa::path(get, path = "/api/chat/search/", tag = "Messages", params(SearchQuery),
    responses((status = 200, body = MessageList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
              (status = 403, description = "A session device sees no content.", body = ErrorBody)))]
async fn search_messages(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<SearchQuery>,
) -> ApiResult<Json<MessageList>> {
    super::refuse_encrypted(&[
        ("q", query.q.is_some()),
        ("query", query.query.is_some()),
        ("search", query.search.is_some()),
        ("text", query.text.is_some()),
        ("has_medical_terms", query.has_medical_terms.is_some()),
    ])?;
    let wanted = MessageSearch {
        with_user: query.with_user,
        from: query.from,
        to: query.to,
        kind: query.message_type,
        sender: query.sender,
        priority: query.priority,
        has_attachments: query.has_attachments,
        file_type: query.file_type,
        paging: Paging::new(query.cursor, query.page, query.page_size),
    };
    let grant = own::<SearchMessages>(&app, &ctx)?;
    Ok(Json(relay::search(&app, &ctx, grant, &wanted).await?))
}
