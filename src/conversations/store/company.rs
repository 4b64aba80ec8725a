//! Who is in a person's company: the people of their open conversations, and what these show. Between two of whom one
//! has blocked the other there is nothing to show.

use sigilo_wire::{ConversationId, TenantId, Timestamp, UserId};

use crate::{Result, fetch_all, fetch_optional, statements, storage::Tx};

statements! {
    VERSION = "SELECT facts_version FROM conversations WHERE conversation_id = $1 AND tenant_id = $2";
    COMPANY = "SELECT c.conversation_id, c.facts_version, q.user_id FROM participants p
        JOIN conversations c ON c.conversation_id = p.conversation_id AND c.status = 'active'
        JOIN participants q ON q.conversation_id = p.conversation_id AND q.status = 'active' AND q.user_id <> p.user_id
        WHERE p.user_id = $1 AND p.status = 'active'
        AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.blocker_id = p.user_id AND b.blocked_id = q.user_id)
        AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.blocker_id = q.user_id AND b.blocked_id = p.user_id)
        ORDER BY c.conversation_id, q.user_id";
    /// What the people of open conversations show, as far as the person looking shows it, too.
    SHOWN = "SELECT DISTINCT u.user_id, me.show_presence AND u.show_presence AS presence,
        me.show_last_seen AND u.show_last_seen AS last_seen, u.last_seen_at FROM participants p
        JOIN users me ON me.user_id = p.user_id
        JOIN conversations c ON c.conversation_id = p.conversation_id AND c.status = 'active'
        JOIN participants q ON q.conversation_id = p.conversation_id AND q.status = 'active' AND q.user_id <> p.user_id
        JOIN users u ON u.user_id = q.user_id AND u.status = 'active'
        WHERE p.user_id = $1 AND p.status = 'active'
        AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.blocker_id = p.user_id AND b.blocked_id = q.user_id)
        AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.blocker_id = q.user_id AND b.blocked_id = p.user_id)";
}

/// The version of a conversation's facts.
pub(in crate::conversations) async fn version(
    tx: &mut Tx,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Option<i64>> {
    Ok(fetch_optional!(tx, (i64,), VERSION, conversation, tenant)?.map(|(version,)| version))
}

/// Each open conversation of a person, its facts' version, and somebody in it; in order of conversations.
pub(in crate::conversations) async fn company(
    tx: &mut Tx,
    user: UserId,
) -> Result<Vec<(ConversationId, i64, UserId)>> {
    fetch_all!(tx, (ConversationId, i64, UserId), COMPANY, user)
}

/// What somebody shows to the person who looks.
#[derive(sqlx::FromRow)]
pub(in crate::conversations) struct ShownRow {
    pub(in crate::conversations) user_id: UserId,
    pub(in crate::conversations) presence: bool,
    pub(in crate::conversations) last_seen: bool,
    pub(in crate::conversations) last_seen_at: Option<Timestamp>,
}

pub(in crate::conversations) async fn shown(tx: &mut Tx, looking: UserId) -> Result<Vec<ShownRow>> {
    fetch_all!(tx, ShownRow, SHOWN, looking)
}
