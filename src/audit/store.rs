//! The rows of the audit log.

use super::Prepared;
use crate::{Result, add_rows, statements, storage::script::Script};

statements! {
    INSERT = "INSERT INTO audit_entries (entry_id, tenant_id, seq, patient_id, actor_id, act, outcome, at, data_key_id,
        salt, canonical, leaf) VALUES $rows(UUID, UUID, BIGINT, UUID, UUID, TEXT, TEXT, BIGINT, UUID, BYTEA, BYTEA, BYTEA)";
}

/// Adds entries with their numbers.
pub(super) fn add(script: &mut Script, entries: &[(i64, &Prepared)]) -> Result<()> {
    add_rows!(script, INSERT, entries, (seq, entry) => [
        entry.entry_id, entry.tenant, *seq, entry.patient, entry.actor, entry.act.as_str(), entry.outcome, entry.at,
        entry.data_key, entry.salt.as_slice(), entry.canonical.as_slice(), entry.leaf.as_slice(),
    ]);
    Ok(())
}
