//! The user's history keys: the newest opens what is sealed now, the earlier ones what was sealed before it. None is
//! ever forgotten.

use sigilo_seal::{KeyId, XWingSecret};
use sigilo_wire::Timestamp;

use super::{
    Order, Profile, Step,
    records::{ONLY, OwnHistoryKey, OwnIdentity, SecretBytes},
};
use crate::{Error, Result};

/// A history key the user has or had.
#[derive(Debug)]
pub(crate) struct HistoryKey {
    pub(crate) key_id: KeyId,
    pub(crate) secret: XWingSecret,
    pub(crate) created_at: Timestamp,
}

impl HistoryKey {
    fn of(record: &OwnHistoryKey) -> Result<Self> {
        let secret = XWingSecret::from_seed(record.seed.key()?);
        Ok(Self { key_id: record.key_id, secret, created_at: record.created_at })
    }
}

/// Every history key the user ever had, newest first.
pub(crate) async fn all(profile: &Profile) -> Result<Vec<HistoryKey>> {
    let records = profile.list::<OwnHistoryKey>(b"", i64::MAX, u32::MAX, Order::NewestFirst).await?;
    records.iter().map(HistoryKey::of).collect()
}

/// The history key of this name, if the user ever had it.
pub(crate) async fn find(profile: &Profile, key_id: KeyId) -> Result<Option<HistoryKey>> {
    let record: Option<OwnHistoryKey> = profile.get(key_id.as_bytes()).await?;
    record.as_ref().map(HistoryKey::of).transpose()
}

/// The history key that the user's newest manifest names.
pub(crate) async fn current(profile: &Profile) -> Result<HistoryKey> {
    let own: OwnIdentity = profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
    find(profile, own.history_key_id).await?.ok_or_else(|| Error::internal("no history key"))
}

/// Keeps a history key; gives its name.
pub(crate) fn keep(step: &Step, secret: &XWingSecret, created_at: Timestamp) -> Result<KeyId> {
    let key_id = secret.public().history_key_id();
    step.put(&OwnHistoryKey { key_id, seed: SecretBytes(secret.seed().to_vec()), created_at })?;
    Ok(key_id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{NOW, profile};

    #[tokio::test]
    async fn every_key_is_kept_and_the_newest_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let profile = profile(&folder, "p", 1).await;
        let step = profile.step();
        let keys = [7, 3, 9].map(|seed| XWingSecret::from_seed([seed; 32]));
        for (age, key) in [2, 0, 1].into_iter().zip(&keys) {
            keep(&step, key, NOW - Duration::from_secs(age)).unwrap();
        }
        step.commit().await.unwrap();
        let listed: Vec<KeyId> = all(&profile).await.unwrap().iter().map(|key| key.key_id).collect();
        assert_eq!(listed, [1, 2, 0].map(|at| keys[at].public().history_key_id()));
        let found = find(&profile, listed[2]).await.unwrap().unwrap();
        assert_eq!(found.secret.seed(), keys[0].seed());
        assert_eq!(found.created_at, NOW - Duration::from_secs(2));
        let stranger = XWingSecret::from_seed([1; 32]).public().history_key_id();
        assert!(find(&profile, stranger).await.unwrap().is_none());
    }
}
