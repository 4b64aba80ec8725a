//! Which of the clinic's certified keys is in force.

use sigilo_seal::{KeyPurpose, RootStatement};
use sigilo_wire::{TenantId, Timestamp};

use super::store;
use crate::{Error, Result, storage::Tx};

/// A key the clinic's root has certified, in force now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInForce {
    /// The id of its root statement.
    pub key_id: [u8; 16],
    /// The public key.
    pub public_key: Vec<u8>,
    /// The first instant at which it may be another one.
    pub until: Timestamp,
}

/// The clinic's key of a purpose: of those valid at `now`, the one of the highest epoch.
///
/// # Errors
/// When the database is away.
pub(crate) async fn key_in_force(
    tx: &mut Tx,
    tenant: TenantId,
    purpose: KeyPurpose,
    now: Timestamp,
) -> Result<Option<KeyInForce>> {
    let Some(row) = store::key_in_force(tx, tenant, purpose, now).await? else { return Ok(None) };
    let key_id = <[u8; 16]>::try_from(row.key_id.as_slice())
        .map_err(|_| Error::internal("a root statement's id has the wrong length"))?;
    let until = row.succeeded_at.map_or(row.not_after, |succeeded| succeeded.min(row.not_after));
    Ok(Some(KeyInForce { key_id, public_key: row.public_key, until }))
}

/// What the clinic's root says of its scanner keys, the highest epoch first. They were verified when they were installed.
///
/// # Errors
/// When the database is away, or holds what was not verified.
pub(crate) async fn certified_scanners(tx: &mut Tx, tenant: TenantId) -> Result<Vec<RootStatement>> {
    let statements = store::certified(tx, tenant, KeyPurpose::Scanner).await?;
    statements.iter().map(|bytes| RootStatement::decode(bytes).map_err(Error::internal)).collect()
}
