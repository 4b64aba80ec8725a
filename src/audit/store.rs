//! The rows of the audit log.

use sigilo_wire::TenantId;

use super::Prepared;
use crate::{Error, Result, execute_rows, fetch_optional, statements, storage::Tx};

statements! {
    RESERVE = "UPDATE tenant_sequences SET audit_seq = audit_seq + $2 WHERE tenant_id = $1 RETURNING audit_seq";
    INSERT = "INSERT INTO audit_entries (entry_id, tenant_id, seq, patient_id, actor_id, act, outcome, at, data_key_id,
        salt, canonical, leaf) VALUES $rows";
}

pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, entries: &[Prepared]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(entries.len()).map_err(Error::internal)?;
    let (last,) = fetch_optional!(tx, (i64,), RESERVE, tenant, count)?.ok_or(Error::NotFound)?;
    let rows: Vec<(i64, &Prepared)> = (last - count + 1..).zip(entries).collect();
    execute_rows!(tx, INSERT, &rows, (seq, entry) => [
        entry.entry_id, entry.tenant, seq, entry.patient, entry.actor, entry.act.as_str(), entry.outcome, entry.at,
        entry.data_key, entry.salt.as_slice(), entry.canonical.as_slice(), entry.leaf.as_slice(),
    ])?;
    Ok(())
}
