//! The rows of read marks, and the counts over messages.

use sigilo_wire::{ConversationId, MessageId, TenantId, Timestamp, UserId};

use crate::{
    Result, execute, fetch_all, fetch_list, fetch_one, fetch_optional, fetch_rows, statements, storage::Tx,
};

/// What makes a message `m` unread for a participant `p`, at the instant the argument names.
macro_rules! is_unread {
    ($now:literal) => {
        concat!(
            "m.conversation_id = p.conversation_id AND m.conversation_seq > p.read_seq AND m.conversation_seq > p.joined_seq
             AND m.sender_id <> p.user_id AND m.kind NOT IN ('profile', 'reaction', 'edit', 'delete') AND ",
            $crate::relay::store::unexpired!($now),
            " AND ",
            $crate::relay::store::undeleted!()
        )
    };
}
pub(crate) use is_unread;

statements! {
    POSITION = "SELECT p.read_seq, p.joined_seq, c.last_seq, c.related_patient_id FROM participants p
        JOIN conversations c ON c.conversation_id = p.conversation_id
        WHERE p.conversation_id = $1 AND p.user_id = $2 AND p.status = 'active'";
    PLACE = "SELECT conversation_seq FROM messages WHERE message_id = $1 AND conversation_id = $2";
    ADVANCE = "UPDATE participants SET read_seq = $3
        WHERE conversation_id = $1 AND user_id = $2 AND status = 'active' AND read_seq < $3";
    INSERT = "INSERT INTO read_marks (conversation_id, user_id, up_to, read_at) VALUES ($1, $2, $3, $4)";
    SENDERS = "SELECT DISTINCT m.sender_id FROM messages m
        JOIN participants p ON p.conversation_id = m.conversation_id AND p.user_id = m.sender_id AND p.status = 'active'
        WHERE m.conversation_id = $1 AND m.conversation_seq > $2 AND m.conversation_seq <= $3";
    READERS = "SELECT v.column1 AS conversation_id, v.column2 AS conversation_seq, p.user_id,
        (SELECT r.read_at FROM read_marks r WHERE r.conversation_id = p.conversation_id AND r.user_id = p.user_id
         AND r.up_to >= v.column2 ORDER BY r.up_to LIMIT 1) AS read_at
        FROM (VALUES $rows(UUID, BIGINT)) AS v
        JOIN participants p ON p.conversation_id = v.column1 AND p.joined_seq < v.column2
            AND p.read_seq >= v.column2";
    UNREAD = concat!("SELECT COUNT(*) FROM participants p JOIN messages m ON ", is_unread!("$3"), "
        WHERE p.conversation_id = $1 AND p.user_id = $2");
    UNREAD_IN = concat!("SELECT p.conversation_id, COUNT(*) FROM participants p JOIN messages m ON ", is_unread!("$2"), "
        WHERE p.user_id = $1 AND p.conversation_id IN ($list) GROUP BY p.conversation_id");
    UNREAD_OF = concat!("SELECT p.conversation_id, COUNT(*) FROM participants p JOIN messages m ON ", is_unread!("$3"), "
        WHERE p.user_id = $1 AND p.tenant_id = $2 AND p.status = 'active'
        GROUP BY p.conversation_id ORDER BY p.conversation_id");
}

/// Where a participant stands.
#[derive(Clone, Copy, sqlx::FromRow)]
pub(super) struct Position {
    pub read_seq: i64,
    /// What they see begins after this message.
    pub joined_seq: i64,
    /// The conversation's newest message.
    pub last_seq: i64,
    /// Whom the conversation concerns.
    pub related_patient_id: Option<UserId>,
}

pub(super) async fn position(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Position>> {
    fetch_optional!(tx, Position, POSITION, conversation, user)
}

/// A message's number in this conversation.
pub(super) async fn place(
    tx: &mut Tx,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Option<i64>> {
    Ok(fetch_optional!(tx, (i64,), PLACE, message, conversation)?.map(|(seq,)| seq))
}

/// Moves a position forward and notes when; `false` when it has come this far before.
pub(super) async fn advance(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
    up_to: i64,
    now: Timestamp,
) -> Result<bool> {
    if execute!(tx, ADVANCE, conversation, user, up_to)? == 0 {
        return Ok(false);
    }
    execute!(tx, INSERT, conversation, user, up_to, now)?;
    Ok(true)
}

/// Who takes part and wrote a message after `from`, up to `up_to`.
pub(super) async fn senders(
    tx: &mut Tx,
    conversation: ConversationId,
    from: i64,
    up_to: i64,
) -> Result<Vec<UserId>> {
    Ok(fetch_all!(tx, (UserId,), SENDERS, conversation, from, up_to)?.into_iter().map(|(id,)| id).collect())
}

/// Somebody whose position is at a message or beyond it.
#[derive(sqlx::FromRow)]
pub(super) struct ReaderRow {
    pub conversation_id: ConversationId,
    pub conversation_seq: i64,
    pub user_id: UserId,
    pub read_at: Option<Timestamp>,
}

pub(super) async fn readers(tx: &mut Tx, places: &[super::Place]) -> Result<Vec<ReaderRow>> {
    fetch_rows!(tx, ReaderRow, READERS, places, (conversation, seq) => [*conversation, *seq])
}

pub(super) async fn unread(
    tx: &mut Tx,
    conversation: ConversationId,
    user: UserId,
    now: Timestamp,
) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), UNREAD, conversation, user, now)?.0)
}

/// Of these conversations, those with something unread.
pub(super) async fn unread_in(
    tx: &mut Tx,
    user: UserId,
    conversations: &[ConversationId],
    now: Timestamp,
) -> Result<Vec<(ConversationId, i64)>> {
    fetch_list!(tx, (ConversationId, i64), UNREAD_IN, [user, now], conversations)
}

/// Of all a person's conversations, those with something unread.
pub(super) async fn unread_of(
    tx: &mut Tx,
    tenant: TenantId,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<(ConversationId, i64)>> {
    fetch_all!(tx, (ConversationId, i64), UNREAD_OF, user, tenant, now)
}

#[cfg(test)]
mod tests {
    use sigilo_wire::message::MessageKind;

    #[test]
    fn what_counts_as_unread_is_what_the_kinds_say() {
        let text = is_unread!("$1");
        for kind in MessageKind::ALL {
            let left_out = text.contains(&format!("'{kind}'"));
            assert_eq!(left_out, !kind.counts_as_unread(), "{kind}");
        }
    }
}
