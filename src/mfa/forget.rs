//! The second factor of somebody whose devices are lost.

use sigilo_wire::UserId;

use super::store;
use crate::{Result, storage::Tx};

/// Forgets the account's second factor, its recovery codes and its failed attempts: whoever resets the identity has
/// made sure otherwise who the person is.
pub(crate) async fn forget(tx: &mut Tx, user: UserId) -> Result<()> {
    store::drop_second_factor(tx, user).await?;
    store::forget_attempts(tx, user).await
}
