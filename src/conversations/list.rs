//! The caller's conversations.

use sigilo_wire::{
    AppointmentId, Role, Timestamp, UserId,
    conversation::{ConversationList, ConversationType},
};
use uuid::Uuid;

use super::{
    Cursor, details, page_limit,
    store::{self, ListQuery},
};
use crate::{
    App, Ctx, Error, Result,
    policy::{Grant, ListConversations},
};

/// Which conversations are wanted, and how.
#[derive(Clone, Debug, Default)]
pub struct ConversationFilter {
    /// Of this type.
    pub kind: Option<ConversationType>,
    /// With this person.
    pub with_user: Option<UserId>,
    /// Also those the caller has put away.
    pub include_archived: bool,
    /// With somebody else of this role.
    pub participant_type: Option<Role>,
    /// About this appointment.
    pub related_appointment: Option<AppointmentId>,
    /// Changed at or after.
    pub updated_since: Option<Timestamp>,
    /// With something unread, or with nothing.
    pub has_unread: Option<bool>,
    /// Oldest change first instead of newest first.
    pub oldest_first: bool,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
    /// The page, from 1, when there is no cursor.
    pub page: Option<usize>,
    /// How many, 1..=100.
    pub page_size: usize,
}

/// How far `page` reaches; beyond that, cursors.
const MAX_PAGE: usize = 100;

/// A page of the caller's conversations.
///
/// # Errors
/// `invalid_field` for pages out of range.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ListConversations>,
    filter: &ConversationFilter,
) -> Result<ConversationList> {
    let limit = page_limit(filter.page_size)?;
    let page = filter.page.unwrap_or(1);
    if page == 0 || page > MAX_PAGE || (filter.page.is_some() && filter.cursor.is_some()) {
        return Err(Error::field("page", "is between 1 and 100, and not given together with a cursor"));
    }
    let start = if filter.oldest_first {
        (Timestamp::from_micros(i64::MIN), Uuid::nil())
    } else {
        (Timestamp::from_micros(i64::MAX), Uuid::max())
    };
    let query = ListQuery {
        user: *grant.resource(),
        tenant: ctx.tenant,
        newest_first: !filter.oldest_first,
        from: filter.cursor.map_or(start, |cursor| (cursor.at, cursor.id)),
        kind: filter.kind.map_or("", ConversationType::as_str),
        updated_since: filter.updated_since.unwrap_or(Timestamp::from_micros(i64::MIN)),
        with_user: filter.with_user,
        include_archived: filter.include_archived,
        participant_type: filter.participant_type.map_or("", Role::as_str),
        related_appointment: filter.related_appointment,
        has_unread: filter.has_unread,
        now: ctx.now,
        limit,
        offset: i64::try_from((page - 1) * filter.page_size).map_err(Error::internal)?,
    };
    let mut tx = app.db.read("conversation_list").await?;
    let mut rows = store::list(&mut tx, &query).await?;
    let has_more = rows.len() > filter.page_size;
    rows.truncate(filter.page_size);
    let next_cursor = rows
        .last()
        .filter(|_| has_more)
        .map(|row| Cursor { at: row.updated_at, id: row.conversation_id.uuid() }.to_string());
    let conversations = details::render(app, &mut tx, ctx, rows).await?;
    drop(tx);
    let results = details::with_last_messages(app, ctx, conversations).await?;
    Ok(ConversationList { results, next_cursor, has_more })
}
