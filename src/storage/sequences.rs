//! The sequences of a clinic: of its audit entries and of its outbox. Given out while the clinic's row is locked, so that
//! their order is the order of commits.

use std::collections::HashMap;

use sigilo_wire::TenantId;

use super::Tx;
use crate::{Error, Result, fetch_rows, statements};

statements! {
    RESERVE = "UPDATE tenant_sequences SET audit_seq = audit_seq + v.column2, outbox_seq = outbox_seq + v.column3
        FROM (VALUES $rows(UUID, BIGINT, BIGINT)) AS v WHERE tenant_id = v.column1
        RETURNING tenant_id, audit_seq, outbox_seq";
}

/// How many of each are needed, or the first of each that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// Audit entries.
    pub audit: i64,
    /// Facts of the outbox.
    pub outbox: i64,
}

/// Reserves numbers for these clinics; gives each one's first.
///
/// # Errors
/// `not_found` for an unknown clinic.
pub async fn reserve(tx: &mut Tx, needs: &[(TenantId, Sequences)]) -> Result<HashMap<TenantId, Sequences>> {
    let last = fetch_rows!(tx, (TenantId, i64, i64), RESERVE, needs, (tenant, need) => [
        *tenant, need.audit, need.outbox,
    ])?;
    let last: HashMap<TenantId, (i64, i64)> = last.into_iter().map(|(id, a, o)| (id, (a, o))).collect();
    needs
        .iter()
        .map(|(tenant, need)| {
            let (audit, outbox) = last.get(tenant).ok_or(Error::NotFound)?;
            Ok((*tenant, Sequences { audit: audit - need.audit + 1, outbox: outbox - need.outbox + 1 }))
        })
        .collect()
}

/// Reserves numbers for one clinic; gives the first of each.
///
/// # Errors
/// As [`reserve`].
pub async fn reserve_one(tx: &mut Tx, tenant: TenantId, need: Sequences) -> Result<Sequences> {
    reserve(tx, &[(tenant, need)]).await?.remove(&tenant).ok_or(Error::NotFound)
}
