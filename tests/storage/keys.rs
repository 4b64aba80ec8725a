//! The store of data keys: one key a subject, gone when destroyed.

use std::sync::Arc;

use sigilo::{
    Error,
    app::CLASS_MEDICAL,
    clock::{Clock as _, SystemClock},
    rng::{SystemEntropy, secret},
    storage::{crypter::Key, keystore::KeyStore},
};
use sigilo_wire::TenantId;
use uuid::Uuid;

use crate::{ENGINES, Stores};

const TENANT: TenantId = TenantId::from_bytes([7; 16]);
const SUBJECT: Uuid = Uuid::from_bytes([9; 16]);

async fn current(store: &KeyStore) -> sigilo::Result<sigilo::storage::keystore::DataKey> {
    store.current(TENANT, SUBJECT, CLASS_MEDICAL, SystemClock.now(), &SystemEntropy).await
}

fn kek() -> Key {
    secret(&SystemEntropy)
}

#[tokio::test]
async fn what_a_destroyed_key_protected_cannot_be_read_again() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let kek = kek();
        let store = KeyStore::new(stores.keys.clone(), &kek);
        let key = current(&store).await.unwrap();
        let sealed = key.seal("body", b"row", b"the text", &SystemEntropy).unwrap();
        assert_eq!(**store.get(key.id).await.unwrap().open("body", b"row", &sealed).unwrap(), *b"the text");
        assert!(key.open("body", b"other row", &sealed).is_err(), "a value cannot be moved");
        assert!(key.open("salt", b"row", &sealed).is_err(), "a value cannot be moved");

        assert!(store.destroy(key.id, SystemClock.now()).await.unwrap());
        assert!(!store.destroy(key.id, SystemClock.now()).await.unwrap(), "destroyed once");
        let other_process = KeyStore::new(stores.keys.clone(), &kek);
        for store in [&store, &other_process] {
            assert!(matches!(store.get(key.id).await, Err(Error::NotFound)));
            assert!(matches!(current(store).await, Err(Error::NotFound)), "no new rows under a dead key");
        }
        stores.finish().await;
    }
}

#[tokio::test]
async fn many_at_once_agree_on_one_key() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let kek = kek();
        let asked: Vec<_> = (0..16)
            .map(|_| {
                let store = Arc::new(KeyStore::new(stores.keys.clone(), &kek));
                tokio::spawn(async move { current(&store).await.unwrap().id })
            })
            .collect();
        let mut ids = Vec::new();
        for task in asked {
            ids.push(task.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
        stores.finish().await;
    }
}

#[tokio::test]
async fn another_key_encryption_key_opens_nothing_and_says_so() {
    for engine in ENGINES {
        let stores = Stores::migrated(engine).await;
        let id = current(&KeyStore::new(stores.keys.clone(), &kek())).await.unwrap().id;
        let refused = KeyStore::new(stores.keys.clone(), &kek()).get(id).await.unwrap_err().to_string();
        assert!(refused.contains("key-encryption key"), "{refused}");
        stores.finish().await;
    }
}
