//! The caller's conversations.

use sigilo_wire::{
    AppointmentId, Role, Timestamp, UserId,
    conversation::{ConversationList, ConversationType},
};
use uuid::Uuid;

use super::{
    Cursor, details,
    store::{self, ListQuery},
};
use crate::{
    App, Ctx, Result,
    paging::Paging,
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
    /// Which part of them.
    pub paging: Paging,
}

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
    let window = filter.paging.window()?;
    let start = if filter.oldest_first {
        (Timestamp::from_micros(i64::MIN), Uuid::nil())
    } else {
        (Timestamp::from_micros(i64::MAX), Uuid::max())
    };
    let query = ListQuery {
        user: *grant.resource(),
        tenant: ctx.tenant,
        newest_first: !filter.oldest_first,
        from: filter.paging.place()?.map_or(start, |Cursor { at, id }| (at, id)),
        kind: filter.kind.map_or("", ConversationType::as_str),
        updated_since: filter.updated_since.unwrap_or(Timestamp::from_micros(i64::MIN)),
        with_user: filter.with_user,
        include_archived: filter.include_archived,
        participant_type: filter.participant_type.map_or("", Role::as_str),
        related_appointment: filter.related_appointment,
        has_unread: filter.has_unread,
        now: ctx.now,
        window,
    };
    let mut tx = app.db.read("conversation_list").await?;
    let mut rows = store::list(&mut tx, &query).await?;
    let cursor = |row: &store::ConversationRow| Cursor { at: row.updated_at, id: row.conversation_id.uuid() };
    let next_cursor = window.cut(&mut rows, cursor);
    let conversations = details::render(app, &mut tx, ctx, rows).await?;
    drop(tx);
    let results = details::with_last_messages(app, ctx, conversations).await?;
    Ok(ConversationList { results, has_more: next_cursor.is_some(), next_cursor })
}
