//! The keys that sign receipts, one a clinic, kept ready.

use std::sync::Arc;

use moka::sync::Cache;
use serde_json::json;
use sigilo_seal::{Ed25519Secret, KeyId, KeyPurpose};
use sigilo_wire::{ErrorCode, TenantId, Timestamp};

use super::store;
use crate::{
    App, Ctx, Error, Result,
    people::{self, KeyInForce},
    storage::crypter::Place,
};

/// A clinic's receipt key and the id of the root statement that certifies it.
pub struct ReceiptKey {
    /// Signs.
    pub secret: Ed25519Secret,
    /// Names the certified key in receipts.
    pub key_id: KeyId,
    /// The first instant at which another one may sign.
    pub until: Timestamp,
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
    /// The clinic's receipt key in force.
    ///
    /// # Errors
    /// `clinic_keys_missing` when the clinic has none; when it cannot be read.
    pub(crate) async fn get(&self, app: &App, ctx: &Ctx) -> Result<Arc<ReceiptKey>> {
        if let Some(key) = self.0.get(&ctx.tenant).filter(|key| ctx.now < key.until) {
            return Ok(key);
        }
        let missing = || Error::conflict(ErrorCode::ClinicKeysMissing, json!({"key": "receipt"}));
        let mut tx = app.db.read("relay_receipt_key").await?;
        let KeyInForce { key_id, public_key, until } =
            people::key_in_force(&mut tx, ctx.tenant, KeyPurpose::Receipt, ctx.now)
                .await?
                .ok_or_else(missing)?;
        let private = store::receipt_key(&mut tx, ctx.tenant, &public_key).await?.ok_or_else(missing)?;
        let place = Place { table: "server_keys", row: &public_key, column: "private_key" };
        let seed = app.crypter.decrypt(place, &private)?;
        let seed = <[u8; 32]>::try_from(seed.as_slice())
            .map_err(|_| Error::internal("a receipt key has the wrong length"))?;
        let key =
            Arc::new(ReceiptKey { secret: Ed25519Secret::from_seed(seed), key_id: KeyId(key_id), until });
        self.0.insert(ctx.tenant, Arc::clone(&key));
        Ok(key)
    }
}
