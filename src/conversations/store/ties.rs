//! What holds between people: care, and blocks.

use std::collections::HashSet;

use sigilo_wire::{ConversationId, TenantId, Timestamp, UserId, care::CareSource};

use crate::{
    Error, Result, fetch_all, fetch_list,
    policy::{
        Person,
        facts::{Care, Ties},
    },
    statements,
    storage::Tx,
};

statements! {
    CARE = "SELECT DISTINCT patient_id, clinician_id, source FROM relationships WHERE tenant_id = $1
        AND revoked_at IS NULL AND (starts_at IS NULL OR starts_at <= $2) AND (expires_at IS NULL OR expires_at > $2)
        AND patient_id IN ($list)";
    CARE_OF = "SELECT DISTINCT patient_id, clinician_id, source FROM relationships WHERE tenant_id = $1
        AND revoked_at IS NULL AND (starts_at IS NULL OR starts_at <= $2) AND (expires_at IS NULL OR expires_at > $2)
        AND (patient_id = $3 OR clinician_id = $3)";
    BLOCKS = "SELECT blocker_id, blocked_id FROM blocks WHERE tenant_id = $1 AND blocker_id IN ($list)";
    BLOCKS_OF = "SELECT blocker_id, blocked_id FROM blocks WHERE blocker_id = $1 OR blocked_id = $1";
    BLOCKS_IN = "SELECT b.blocker_id, b.blocked_id FROM participants p JOIN blocks b ON b.blocker_id = p.user_id
        JOIN participants q ON q.conversation_id = p.conversation_id AND q.user_id = b.blocked_id AND q.status = 'active'
        WHERE p.conversation_id = $1 AND p.status = 'active'";
}

type Pairs = HashSet<(UserId, UserId)>;
type CareRow = (UserId, UserId, String);

fn care(rows: Vec<CareRow>) -> Result<Care> {
    rows.into_iter()
        .map(|(patient, clinician, source)| {
            Ok(((patient, clinician), source.parse::<CareSource>().map_err(Error::Internal)?))
        })
        .collect()
}

/// What holds among these people (and perhaps between them and others).
pub(in crate::conversations) async fn among(
    tx: &mut Tx,
    tenant: TenantId,
    people: &[Person],
    now: Timestamp,
) -> Result<Ties> {
    let patients = crate::conversations::authorize::patients(people);
    let everyone: Vec<UserId> = people.iter().map(|person| person.id).collect();
    Ok(Ties {
        care: care(fetch_list!(tx, CareRow, CARE, [tenant, now], &patients)?)?,
        blocks: fetch_list!(tx, (UserId, UserId), BLOCKS, [tenant], &everyone)?.into_iter().collect(),
    })
}

/// What holds between this person and others.
pub(in crate::conversations) async fn of(
    tx: &mut Tx,
    tenant: TenantId,
    user: UserId,
    now: Timestamp,
) -> Result<Ties> {
    Ok(Ties {
        care: care(fetch_all!(tx, CareRow, CARE_OF, tenant, now, user)?)?,
        blocks: fetch_all!(tx, (UserId, UserId), BLOCKS_OF, user)?.into_iter().collect(),
    })
}

/// The blocks among those who take part.
pub(in crate::conversations) async fn blocks_in(tx: &mut Tx, conversation: ConversationId) -> Result<Pairs> {
    Ok(fetch_all!(tx, (UserId, UserId), BLOCKS_IN, conversation)?.into_iter().collect())
}
