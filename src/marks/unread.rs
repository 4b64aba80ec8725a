//! What is unread.

use std::collections::HashMap;

use sigilo_wire::{
    ConversationId, Timestamp, UserId,
    mark::{UnreadCount, UnreadCounts},
};

use super::store;
use crate::{
    App, Ctx, Result,
    policy::{Grant, ListConversations},
    storage::Tx,
};

/// What is unread for the caller, in all and for each conversation that has something.
///
/// # Errors
/// When the database is away.
pub async fn unread_counts(app: &App, ctx: &Ctx, grant: Grant<ListConversations>) -> Result<UnreadCounts> {
    let mut tx = app.db.read("unread_counts").await?;
    let rows = store::unread_of(&mut tx, ctx.tenant, *grant.resource(), ctx.now).await?;
    let conversations: Vec<UnreadCount> = rows
        .into_iter()
        .map(|(conversation_id, unread_count)| UnreadCount { conversation_id, unread_count })
        .collect();
    let total = conversations.iter().map(|count| count.unread_count).sum();
    Ok(UnreadCounts { total, conversations })
}

/// How many messages of these conversations are unread for a participant; those without any are left out.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn unread_in(
    tx: &mut Tx,
    user: UserId,
    conversations: &[ConversationId],
    now: Timestamp,
) -> Result<HashMap<ConversationId, i64>> {
    Ok(store::unread_in(tx, user, conversations, now).await?.into_iter().collect())
}
