//! Data keys, apart from the data (docs/PROTOCOL.md, Erasure that holds in backups).
//!
//! Message bodies, wrapped message keys and audit salts are stored under a data key per (conversation,
//! retention class). Data keys live in a store of their own, with backups of its own kept at most 35 days,
//! wrapped by the clinic's tenant key, which is wrapped by the key-encryption key of the configuration. When a
//! data key is destroyed, every row under it is unreadable, in every backup, from the day the last backup of
//! this store is gone.
//!
//! A data key is committed here before the first row that uses it is written: a crash between the two leaves
//! an unused key, never an unreadable row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;
use sigilo_seal::{FileKey, value::ValueCipher};
use sigilo_wire::{DataKeyId, FileId, TenantId, Timestamp};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    Error, Result, execute, fetch_all, fetch_optional, rng,
    rng::Entropy,
    statements,
    storage::{
        Db, Tx,
        crypter::{self, Key},
    },
};

statements! {
    TENANT_KEY = "SELECT epoch, wrapped FROM tenant_keys WHERE tenant_id = $1 ORDER BY epoch DESC LIMIT 1";
    ANY_TENANT_KEY = "SELECT tenant_id, epoch, wrapped FROM tenant_keys LIMIT 1";
    TENANT_KEY_OF_EPOCH = "SELECT epoch, wrapped FROM tenant_keys WHERE tenant_id = $1 AND epoch = $2";
    INSERT_TENANT_KEY = "INSERT INTO tenant_keys (tenant_id, epoch, wrapped, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING";
    OF_SUBJECT = "SELECT data_key_id FROM data_keys WHERE subject_id = $1 AND retention_class = $2
        AND destroyed_at IS NULL";
    CURRENT = "SELECT data_key_id, tenant_id, tenant_epoch, wrapped FROM data_keys
        WHERE subject_id = $1 AND retention_class = $2 ORDER BY generation DESC LIMIT 1";
    BY_ID = "SELECT data_key_id, tenant_id, tenant_epoch, wrapped FROM data_keys WHERE data_key_id = $1";
    INSERT = "INSERT INTO data_keys (data_key_id, tenant_id, subject_id, retention_class, generation, tenant_epoch,
        wrapped, created_at) VALUES ($1, $2, $3, $4, 1, $5, $6, $7) ON CONFLICT DO NOTHING";
    DESTROY = "UPDATE data_keys SET wrapped = NULL, destroyed_at = $2 WHERE data_key_id = $1 AND destroyed_at IS NULL";
}

/// The store of data keys.
pub struct KeyStore {
    db: Db,
    kek: Key,
    by_id: Cache<DataKeyId, DataKey>,
    by_subject: Cache<(Uuid, &'static str), DataKey>,
    /// How many keys this process destroyed: what was read before that is not remembered after it.
    destroyed: AtomicU64,
}

/// One data key, ready to use. Cheap to clone.
#[derive(Clone)]
pub struct DataKey {
    /// Its id, stored beside what is under it.
    pub id: DataKeyId,
    cipher: Arc<ValueCipher>,
    secret: Arc<Key>,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyStore")
    }
}

#[derive(sqlx::FromRow)]
struct TenantKeyRow {
    epoch: i64,
    wrapped: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct DataKeyRow {
    data_key_id: DataKeyId,
    tenant_id: TenantId,
    tenant_epoch: i64,
    wrapped: Option<Vec<u8>>,
}

/// How many unwrapped data keys stay in memory.
const CACHED_KEYS: u64 = 50_000;
/// For how long: a key that another process destroyed is gone here after this.
const REMEMBERED: Duration = Duration::from_mins(5);

impl DataKey {
    /// A key that is in no store.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::new(DataKeyId::from_bytes([1; 16]), Zeroizing::new([1; 32]))
    }

    fn new(id: DataKeyId, secret: Key) -> Self {
        Self { id, cipher: Arc::new(ValueCipher::new(&secret)), secret: Arc::new(secret) }
    }

    /// The key that the object of this file is encrypted with: bound to the file's name, so that no object stands for
    /// another one.
    #[must_use]
    pub fn object_key(&self, file: FileId) -> FileKey {
        let info = [b"sigilo/object\0".as_slice(), file.as_bytes()].concat();
        FileKey::from_bytes(*crypter::derive(&self.secret, &info))
    }

    /// Encrypts a value of a row: `nonce || ciphertext || tag`.
    ///
    /// # Errors
    /// Only when the value is too large for the cipher.
    pub fn seal(&self, column: &str, row: &[u8], value: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
        crypter::seal(&self.cipher, &aad(column, row), value, entropy)
    }

    /// Opens a value of a row.
    ///
    /// # Errors
    /// When it was altered or belongs elsewhere.
    pub fn open(&self, column: &str, row: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.cipher
            .open(sealed, &aad(column, row))
            .ok_or_else(|| Error::internal(format!("a {column} does not decrypt under data key {}", self.id)))
    }
}

fn aad(column: &str, row: &[u8]) -> Vec<u8> {
    [column.as_bytes(), b"\0", row].concat()
}

impl KeyStore {
    /// Opens the store. `kek` wraps the tenant keys.
    #[must_use]
    pub fn new(db: Db, kek: &Key) -> Self {
        Self {
            db,
            kek: crypter::derive(kek, b"sigilo/tenant-keys"),
            by_id: Cache::builder().max_capacity(CACHED_KEYS).time_to_live(REMEMBERED).build(),
            by_subject: Cache::builder().max_capacity(CACHED_KEYS).time_to_live(REMEMBERED).build(),
            destroyed: AtomicU64::default(),
        }
    }

    /// The database the keys live in.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// The key for new rows of a subject (a conversation, or the clinic itself) and retention class; made
    /// and committed on first use.
    ///
    /// # Errors
    /// When the store is away, or the newest key was destroyed.
    pub async fn current(
        &self,
        tenant: TenantId,
        subject: Uuid,
        class: &'static str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<DataKey> {
        if let Some(key) = self.by_subject.get(&(subject, class)) {
            return Ok(key);
        }
        let before = self.destroyed.load(Ordering::SeqCst);
        let mut tx = self.db.begin("keystore_current").await?;
        let mut row = fetch_optional!(&mut tx, DataKeyRow, CURRENT, subject, class)?;
        if row.is_none() {
            let (epoch, tenant_key) = tenant_key(&mut tx, &self.kek, tenant, now, entropy).await?;
            let id = DataKeyId::new(now, rng::bytes(entropy));
            let key = rng::secret::<32>(entropy);
            let wrapped =
                crypter::seal(&ValueCipher::new(&tenant_key), id.as_bytes(), key.as_slice(), entropy)?;
            execute!(&mut tx, INSERT, id, tenant, subject, class, epoch, wrapped, now)?;
            // Another node may have been first: what is stored counts.
            row = fetch_optional!(&mut tx, DataKeyRow, CURRENT, subject, class)?;
        }
        let row = row.ok_or_else(|| Error::internal("a data key vanished while it was made"))?;
        let key = self.unwrap(&mut tx, row).await?;
        tx.commit().await?;
        self.by_id.insert(key.id, key.clone());
        self.by_subject.insert((subject, class), key.clone());
        self.forget_if_destroyed_since(before, key.id);
        Ok(key)
    }

    /// Whether the key-encryption key is the one this store was made with; an empty store fits any.
    ///
    /// # Errors
    /// When it is another, or the store is away.
    pub async fn verify(&self) -> Result<()> {
        let mut tx = self.db.read("keystore_verify").await?;
        let row = fetch_optional!(&mut tx, (TenantId, i64, Vec<u8>), ANY_TENANT_KEY)?;
        let Some((tenant, epoch, wrapped)) = row else { return Ok(()) };
        unwrap_tenant_key(&self.kek, tenant, &TenantKeyRow { epoch, wrapped }).map(drop)
    }

    /// The key that rows written earlier are under.
    ///
    /// # Errors
    /// `not_found` when it was destroyed: what it protected is erased.
    pub async fn get(&self, id: DataKeyId) -> Result<DataKey> {
        if let Some(key) = self.by_id.get(&id) {
            return Ok(key);
        }
        let before = self.destroyed.load(Ordering::SeqCst);
        let mut tx = self.db.read("keystore_get").await?;
        let row = fetch_optional!(&mut tx, DataKeyRow, BY_ID, id)?.ok_or(Error::NotFound)?;
        let key = self.unwrap(&mut tx, row).await?;
        self.by_id.insert(id, key.clone());
        self.forget_if_destroyed_since(before, id);
        Ok(key)
    }

    /// A key may have been destroyed after it was read and before it was remembered.
    fn forget_if_destroyed_since(&self, before: u64, id: DataKeyId) {
        if self.destroyed.load(Ordering::SeqCst) != before {
            self.by_id.invalidate(&id);
            self.by_subject.invalidate_all();
        }
    }

    /// Destroys a key. What is under it cannot be read again.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn destroy(&self, id: DataKeyId, now: Timestamp) -> Result<bool> {
        let mut tx = self.db.begin("keystore_destroy").await?;
        let destroyed = execute!(&mut tx, DESTROY, id, now)? == 1;
        tx.commit().await?;
        self.destroyed.fetch_add(1, Ordering::SeqCst);
        self.by_id.invalidate(&id);
        self.by_subject.invalidate_all();
        Ok(destroyed)
    }

    /// Destroys every key of a subject and class, as [`KeyStore::destroy`] does one.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn destroy_of(&self, subject: Uuid, class: &'static str, now: Timestamp) -> Result<()> {
        let mut tx = self.db.read("keystore_of_subject").await?;
        let keys: Vec<(DataKeyId,)> = fetch_all!(&mut tx, (DataKeyId,), OF_SUBJECT, subject, class)?;
        drop(tx);
        for (key,) in keys {
            self.destroy(key, now).await?;
        }
        Ok(())
    }

    async fn unwrap(&self, tx: &mut Tx, row: DataKeyRow) -> Result<DataKey> {
        let wrapped = row.wrapped.ok_or(Error::NotFound)?;
        let tenant_key =
            fetch_optional!(tx, TenantKeyRow, TENANT_KEY_OF_EPOCH, row.tenant_id, row.tenant_epoch)?
                .ok_or_else(|| Error::internal("a tenant key is missing from the key store"))?;
        let tenant_key = unwrap_tenant_key(&self.kek, row.tenant_id, &tenant_key)?;
        let key = ValueCipher::new(&tenant_key)
            .open(&wrapped, row.data_key_id.as_bytes())
            .and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok().map(Zeroizing::new))
            .ok_or_else(|| Error::internal("a data key does not unwrap"))?;
        Ok(DataKey::new(row.data_key_id, key))
    }
}

async fn tenant_key(
    tx: &mut Tx,
    kek: &Key,
    tenant: TenantId,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<(i64, Key)> {
    let mut row = fetch_optional!(tx, TenantKeyRow, TENANT_KEY, tenant)?;
    if row.is_none() {
        let key = rng::secret::<32>(entropy);
        let wrapped = crypter::seal(&ValueCipher::new(kek), &tenant_aad(tenant, 1), key.as_slice(), entropy)?;
        execute!(tx, INSERT_TENANT_KEY, tenant, 1i64, wrapped, now)?;
        row = fetch_optional!(tx, TenantKeyRow, TENANT_KEY, tenant)?;
    }
    let row = row.ok_or_else(|| Error::internal("a tenant key vanished while it was made"))?;
    Ok((row.epoch, unwrap_tenant_key(kek, tenant, &row)?))
}

fn unwrap_tenant_key(kek: &Key, tenant: TenantId, row: &TenantKeyRow) -> Result<Key> {
    ValueCipher::new(kek)
        .open(&row.wrapped, &tenant_aad(tenant, row.epoch))
        .and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok().map(Zeroizing::new))
        .ok_or_else(|| Error::internal("a tenant key does not unwrap: is this the right key-encryption key?"))
}

fn tenant_aad(tenant: TenantId, epoch: i64) -> Vec<u8> {
    [tenant.as_bytes().as_slice(), &epoch.to_be_bytes()].concat()
}
