//! `/api/chat/contacts/`

use axum::{Json, extract::State};
use serde::Deserialize;
use sigilo_wire::{ErrorBody, Role, conversation::ContactList};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::SharedApp,
    conversations::{self, ContactFilter},
    gateway::http::{
        error::ApiResult,
        extract::{ApiQuery, Authenticated},
    },
    paging::Paging,
    policy::{ListContacts, own},
};

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_contacts))
}

/// Which contacts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ContactQuery {
    /// With this role.
    role: Option<Role>,
    /// Whose name has this in it, in any case and with or without accents. A page may hold few of them, or none, and
    /// still have a next one.
    q: Option<String>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The page, from 1 to 100, instead of a cursor.
    page: Option<usize>,
    /// 1 to 100, 20 by default.
    page_size: Option<usize>,
}

/// The people the caller may start a conversation with, and the rules that allow it.
#[utoipa::path(get, path = "/api/chat/contacts/", tag = "Conversations", params(ContactQuery),
    responses((status = 200, body = ContactList), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
async fn list_contacts(
    State(app): State<SharedApp>,
    Authenticated(ctx): Authenticated,
    ApiQuery(query): ApiQuery<ContactQuery>,
) -> ApiResult<Json<ContactList>> {
    let filter = ContactFilter {
        role: query.role,
        name: query.q,
        paging: Paging::new(query.cursor, query.page, query.page_size),
    };
    let grant = own::<ListContacts>(&app, &ctx)?;
    Ok(Json(conversations::contacts(&app, &ctx, grant, &filter).await?))
}
