//! Search over all of the caller's conversations, by what the server sees of messages.

use sigilo_wire::{
    Timestamp, UserId,
    message::{MessageKind, MessageList, Priority},
};
use uuid::Uuid;

use super::{
    read,
    store::{self, SearchQuery},
};
use crate::{
    App, Ctx, Result,
    conversations::{Cursor, page_limit},
    policy::{Grant, SearchMessages},
};

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct MessageSearch {
    /// In conversations with this person.
    pub with_user: Option<UserId>,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received before.
    pub to: Option<Timestamp>,
    /// Of this kind.
    pub kind: Option<MessageKind>,
    /// Of this priority.
    pub priority: Option<Priority>,
    /// With files, or without.
    pub has_attachments: Option<bool>,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
    /// How many, 1..=100.
    pub page_size: usize,
}

/// A page of what is found, newest first; without what has expired or was deleted.
///
/// # Errors
/// `invalid_field` for a page size out of range.
pub async fn search(
    app: &App,
    ctx: &Ctx,
    grant: Grant<SearchMessages>,
    wanted: &MessageSearch,
) -> Result<MessageList> {
    let start = (Timestamp::from_micros(i64::MAX), Uuid::max());
    let query = SearchQuery {
        user: *grant.resource(),
        tenant: ctx.tenant,
        before: wanted.cursor.map_or(start, |cursor| (cursor.at, cursor.id)),
        from: wanted.from.unwrap_or(Timestamp::from_micros(i64::MIN)),
        to: wanted.to.unwrap_or(Timestamp::from_micros(i64::MAX)),
        kind: wanted.kind.map_or("", MessageKind::as_str),
        priority: wanted.priority.map_or("", Priority::as_str),
        has_attachments: wanted.has_attachments,
        with_user: wanted.with_user,
        now: ctx.now,
        limit: page_limit(wanted.page_size)?,
    };
    let mut tx = app.db.read("relay_search").await?;
    let mut rows = store::search(&mut tx, &query).await?;
    let has_more = rows.len() > wanted.page_size;
    rows.truncate(wanted.page_size);
    let next_cursor = rows
        .last()
        .filter(|_| has_more)
        .map(|row| Cursor { at: row.received_at, id: row.message_id.uuid() }.to_string());
    let results = read::render_all(app, tx, ctx.now, rows).await?;
    Ok(MessageList { results, next_cursor, has_more })
}
