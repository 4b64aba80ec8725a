//! A person as the rules see them.

use sigilo_wire::{TenantId, UserId};

use super::store;
use crate::{Error, Result, policy::Person, storage::Tx};

/// Somebody of the clinic.
///
/// # Errors
/// 404 when the clinic has no such person.
pub(crate) async fn person(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Person> {
    let row = store::user(tx, tenant, user).await?.ok_or(Error::NotFound)?;
    Ok(Person { id: user, tenant, role: row.role()?, active: row.status == "active" })
}
