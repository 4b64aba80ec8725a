//! The history of a conversation, for its participants.

use std::collections::{HashMap, HashSet};

use sigilo_wire::{
    ConversationId, MessageId, Timestamp, UserId,
    message::{DeliveryStatus, Edit, Message, MessageKind, MessageList, ReadMark},
};

use super::{
    attachments, render,
    store::{self, Page, StoredMessage},
};
use crate::{
    App, Ctx, Error, Result, marks,
    paging::{self, Paging},
    policy::{Grant, ReadConversation},
    storage::Tx,
};

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
    /// Received before.
    pub before: Option<Timestamp>,
    /// Received after.
    pub after: Option<Timestamp>,
    /// Of this kind.
    pub kind: Option<MessageKind>,
    /// By this person.
    pub sender: Option<UserId>,
    /// Also those their authors deleted.
    pub include_deleted: bool,
    /// With files, or without.
    pub has_attachments: Option<bool>,
    /// Which part of them.
    pub paging: Paging,
}

/// A page of a conversation's messages, of those since the reader joined and without those that have expired: they
/// stay in the record only.
///
/// # Errors
/// `invalid_field` for a page size out of range.
pub async fn list(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ReadConversation>,
    filter: &MessageFilter,
) -> Result<MessageList> {
    let window = filter.paging.window()?;
    let cursor = filter.paging.place::<i64>()?;
    if cursor.is_some_and(|seq| seq < 1) {
        return Err(paging::not_a_cursor());
    }
    let mut tx = app.db.read("relay_messages").await?;
    let page = Page {
        conversation: *grant.resource(),
        joined_seq: store::joined_seq(&mut tx, *grant.resource(), ctx.caller()?.user_id).await?,
        cursor,
        newest_first: !filter.oldest_first,
        after: filter.after,
        before: filter.before,
        kind: filter.kind.map(MessageKind::as_str),
        sender: filter.sender,
        include_deleted: filter.include_deleted,
        has_attachments: filter.has_attachments,
        now: ctx.now,
        window,
    };
    let mut rows = store::page(&mut tx, &page).await?;
    let next_cursor = window.cut(&mut rows, |row| row.conversation_seq);
    let results = render_all(app, tx, ctx.now, rows).await?;
    Ok(MessageList { results, has_more: next_cursor.is_some(), next_cursor })
}

/// Which conversation a message is in, so that its reading can be decided on.
///
/// # Errors
/// `not_found` for unknown messages and those of other clinics.
pub async fn conversation_of(app: &App, ctx: &Ctx, message: MessageId) -> Result<ConversationId> {
    let mut tx = app.db.read("relay_conversation_of").await?;
    let row = store::message(&mut tx, message).await?;
    row.filter(|row| row.tenant_id == ctx.tenant).map(|row| row.conversation_id).ok_or(Error::NotFound)
}

/// One message.
///
/// # Errors
/// `not_found` when it is not in the granted conversation, or is from before the reader joined, or has expired.
pub async fn get(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ReadConversation>,
    message: MessageId,
) -> Result<Message> {
    let mut tx = app.db.read("relay_message").await?;
    let row = seen(&mut tx, ctx, *grant.resource(), message).await?;
    let rendered = render_all(app, tx, ctx.now, vec![row]).await?;
    rendered.into_iter().next().ok_or(Error::NotFound)
}

/// A message of this conversation that the caller, who takes part, sees.
pub(super) async fn seen(
    tx: &mut Tx,
    ctx: &Ctx,
    conversation: ConversationId,
    message: MessageId,
) -> Result<StoredMessage> {
    let joined = store::joined_seq(tx, conversation, ctx.caller()?.user_id).await?;
    store::message(tx, message)
        .await?
        .filter(|row| row.conversation_id == conversation && row.conversation_seq > joined)
        .filter(|row| row.expires_at.is_none_or(|at| at > ctx.now))
        .ok_or(Error::NotFound)
}

/// The newest message the caller sees of each of these conversations, in which they take part.
pub(crate) async fn newest(app: &App, ctx: &Ctx, conversations: &[ConversationId]) -> Result<Vec<Message>> {
    let mut tx = app.db.read("relay_newest").await?;
    let rows = store::newest(&mut tx, ctx.caller()?.user_id, conversations, ctx.now).await?;
    render_all(app, tx, ctx.now, rows).await
}

pub(super) async fn render_all(
    app: &App,
    mut tx: Tx,
    now: Timestamp,
    rows: Vec<StoredMessage>,
) -> Result<Vec<Message>> {
    let ids: Vec<MessageId> = rows.iter().map(|row| row.message_id).collect();
    let mut conversations: Vec<ConversationId> = rows.iter().map(|row| row.conversation_id).collect();
    conversations.sort_unstable();
    conversations.dedup();
    let places: Vec<_> = rows.iter().map(|row| (row.conversation_id, row.conversation_seq)).collect();
    let mut readers = marks::readers(&mut tx, &places).await?;
    let mut delivered: HashMap<MessageId, HashSet<UserId>> = HashMap::new();
    for (message, user, _) in store::deliveries(&mut tx, &ids).await? {
        delivered.entry(message).or_default().insert(user);
    }
    let mut members: HashMap<ConversationId, Vec<(UserId, i64)>> = HashMap::new();
    for (conversation, user, joined) in store::recipients(&mut tx, &conversations).await? {
        members.entry(conversation).or_default().push((user, joined));
    }
    let mut revisions = revisions(&mut tx, &rows, now).await?;
    let scans = attachments::scans(&mut tx, rows.iter().map(|row| row.attachments.as_str())).await?;
    drop(tx);
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        let mut read_by = readers.remove(&(row.conversation_id, row.conversation_seq)).unwrap_or_default();
        read_by.retain(|mark| mark.user_id != row.sender_id);
        let recipients: Vec<UserId> = members
            .get(&row.conversation_id)
            .into_iter()
            .flatten()
            .filter(|(user, joined)| *joined < row.conversation_seq && *user != row.sender_id)
            .map(|(user, _)| *user)
            .collect();
        let status = status(&recipients, delivered.get(&row.message_id), &read_by);
        let revision = revisions.remove(&(row.conversation_id, row.commitment.clone())).unwrap_or_default();
        let Revision { edited_by, deleted_at } = revision;
        let message = render::message(app, row, status, &scans).await?;
        messages.push(Message { read_by, edited_by, deleted_at, ..message });
    }
    Ok(messages)
}

/// What its author did to a message since.
#[derive(Default)]
struct Revision {
    edited_by: Vec<Edit>,
    deleted_at: Option<Timestamp>,
}

/// A message, by its conversation and commitment.
type Named = (ConversationId, Vec<u8>);

async fn revisions(tx: &mut Tx, rows: &[StoredMessage], now: Timestamp) -> Result<HashMap<Named, Revision>> {
    let targets: Vec<Named> = rows.iter().map(|row| (row.conversation_id, row.commitment.clone())).collect();
    let mut revisions: HashMap<Named, Revision> = HashMap::new();
    for row in store::revisions(tx, &targets).await? {
        let revision = revisions.entry((row.conversation_id, row.target_commitment)).or_default();
        if row.kind == MessageKind::Delete.as_str() {
            revision.deleted_at.get_or_insert(row.received_at);
        } else if row.expires_at.is_none_or(|at| at > now) {
            let commitment = store::array(&row.commitment)?;
            let edit = Edit { message_id: row.message_id, commitment, edited_at: row.received_at };
            revision.edited_by.push(edit);
        }
    }
    Ok(revisions)
}

/// How far a message has come. Whoever has read it has it.
fn status(
    recipients: &[UserId],
    delivered: Option<&HashSet<UserId>>,
    read_by: &[ReadMark],
) -> DeliveryStatus {
    let has_read = |user: &UserId| read_by.iter().any(|mark| mark.user_id == *user);
    let has_it = |user: &UserId| has_read(user) || delivered.is_some_and(|reached| reached.contains(user));
    if !recipients.is_empty() && recipients.iter().all(has_read) {
        DeliveryStatus::Read
    } else if recipients.iter().all(has_it) {
        DeliveryStatus::Delivered
    } else {
        DeliveryStatus::Sent
    }
}
