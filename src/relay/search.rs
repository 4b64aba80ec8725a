//! Search over all of the caller's conversations, by what the server sees of messages.

use sigilo_wire::{
    Timestamp, UserId,
    message::{MessageKind, MessageList, Priority},
    vault::DocumentType,
};
use uuid::Uuid;

use super::{
    read,
    store::{self, SearchQuery},
};
use crate::{
    App, Ctx, Result,
    conversations::Cursor,
    paging::Paging,
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
    /// By this person.
    pub sender: Option<UserId>,
    /// Of this priority.
    pub priority: Option<Priority>,
    /// With files, or without.
    pub has_attachments: Option<bool>,
    /// With a file of this kind of document.
    pub file_type: Option<DocumentType>,
    /// Which part of them.
    pub paging: Paging,
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
    let window = wanted.paging.window()?;
    let start = (Timestamp::from_micros(i64::MAX), Uuid::max());
    let query = SearchQuery {
        user: *grant.resource(),
        tenant: ctx.tenant,
        before: wanted.paging.place()?.map_or(start, |Cursor { at, id }| (at, id)),
        from: wanted.from.unwrap_or(Timestamp::from_micros(i64::MIN)),
        to: wanted.to.unwrap_or(Timestamp::from_micros(i64::MAX)),
        kind: wanted.kind.map_or("", MessageKind::as_str),
        priority: wanted.priority.map_or("", Priority::as_str),
        has_attachments: wanted.has_attachments,
        file_type: wanted.file_type.map_or("", DocumentType::as_str),
        with_user: wanted.with_user,
        now: ctx.now,
        sender: wanted.sender,
        window,
    };
    let mut tx = app.db.read("relay_search").await?;
    let mut rows = store::search(&mut tx, &query).await?;
    let cursor = |row: &store::StoredMessage| Cursor { at: row.received_at, id: row.message_id.uuid() };
    let next_cursor = window.cut(&mut rows, cursor);
    let results = read::render_all(app, tx, ctx.now, rows).await?;
    Ok(MessageList { results, has_more: next_cursor.is_some(), next_cursor })
}
