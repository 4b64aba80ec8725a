//! The rows of the audit log.

use super::Prepared;
use crate::{Result, add_rows, statements, storage::script::Script};

statements! {
    INSERT = "INSERT INTO audit_entries (entry_id, tenant_id, seq, patient_id, actor_id, act, outcome, at, data_key_id,
        salt, canonical, leaf) VALUES $rows";
}

/// Adds entries, numbered from `first` on.
pub(super) fn add(script: &mut Script, first: i64, entries: &[Prepared]) -> Result<()> {
    let rows: Vec<(i64, &Prepared)> = (first..).zip(entries).collect();
    add_rows!(script, INSERT, &rows, (seq, entry) => [
        entry.entry_id, entry.tenant, seq, entry.patient, entry.actor, entry.act.as_str(), entry.outcome, entry.at,
        entry.data_key, entry.salt.as_slice(), entry.canonical.as_slice(), entry.leaf.as_slice(),
    ]);
    Ok(())
}
