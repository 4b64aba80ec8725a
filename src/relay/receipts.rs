//! The keys that sign receipts, one a clinic, kept ready.

use std::sync::Arc;

use moka::sync::Cache;
use sigilo_seal::{Ed25519Secret, KeyId};
use sigilo_wire::TenantId;

use super::store;
use crate::{App, Error, Result, storage::crypter::Place};

/// A clinic's receipt key and the id of the root statement that certifies it.
pub struct ReceiptKey {
    /// Signs.
    pub secret: Ed25519Secret,
    /// Names the certified key in receipts.
    pub key_id: KeyId,
}

/// The receipt keys in use.
pub struct ReceiptKeys(Cache<TenantId, Arc<ReceiptKey>>);

impl std::fmt::Debug for ReceiptKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptKeys")
    }
}

impl Default for ReceiptKeys {
    fn default() -> Self {
        // A rotated key is noticed within a minute; until then the old one, still certified, signs.
        Self(Cache::builder().max_capacity(10_000).time_to_live(std::time::Duration::from_secs(60)).build())
    }
}

impl ReceiptKeys {
    /// The clinic's receipt key.
    ///
    /// # Errors
    /// When the clinic has none, or it cannot be read.
    pub(super) async fn get(&self, app: &App, tenant: TenantId) -> Result<Arc<ReceiptKey>> {
        if let Some(key) = self.0.get(&tenant) {
            return Ok(key);
        }
        let mut tx = app.db.read("relay_receipt_key").await?;
        let row = store::receipt_key(&mut tx, tenant).await?.ok_or_else(|| {
            Error::conflict(sigilo_wire::ErrorCode::ClinicKeysMissing, serde_json::json!({}))
        })?;
        let place = Place { table: "server_keys", row: &row.public_key, column: "private_key" };
        let seed = app.crypter.decrypt(place, &row.private_key)?;
        let seed = <[u8; 32]>::try_from(seed.as_slice())
            .map_err(|_| Error::internal("a receipt key has the wrong length"))?;
        let key_id = <[u8; 16]>::try_from(row.key_id.as_slice())
            .map_err(|_| Error::internal("a receipt key's id has the wrong length"))?;
        let key = Arc::new(ReceiptKey { secret: Ed25519Secret::from_seed(seed), key_id: KeyId(key_id) });
        self.0.insert(tenant, Arc::clone(&key));
        Ok(key)
    }
}
