//! The scan keys: one a clinic, made anew every hour, in memory only.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sigilo_seal::{Ed25519Secret, KeyId, ScanKey, SignedScanKey, XWingSecret, scan::MAX_LIFETIME};
use sigilo_wire::{TenantId, Timestamp};

use crate::{
    Result,
    config::Config,
    rng::{Entropy, EntropyRng},
};

/// How long a key is handed out before the next one is made.
pub const ROTATION: Duration = Duration::from_hours(1);
/// How far the clock of a device may be behind this one's.
const SLOW_CLOCKS: Duration = Duration::from_mins(5);

/// Every clinic's keys.
#[derive(Default)]
pub struct Keys(Mutex<BTreeMap<TenantId, Clinic>>);

struct Clinic {
    scanner: Ed25519Secret,
    /// The newest last. Keys that ended are none.
    keys: Vec<Key>,
}

struct Key {
    public: ScanKey,
    made_at: Timestamp,
    secret: XWingSecret,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Looks for clinics that came or went, makes the keys that are due and forgets those that ended. Gives each
    /// clinic's newest key.
    ///
    /// # Errors
    /// When the folder cannot be read. A key file that cannot is said in the log; its clinic waits.
    pub fn refresh(
        &self,
        config: &Config,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Vec<(SignedScanKey, ScanKey)>> {
        let present = clinics(&config.scanner.keys_dir(&config.storage.data))?;
        let mut clinics = self.lock();
        clinics.retain(|clinic, _| present.contains(clinic));
        for clinic in present {
            if clinics.contains_key(&clinic) {
                continue;
            }
            match config.scanner_key(clinic) {
                Ok(scanner) => drop(clinics.insert(clinic, Clinic { scanner, keys: Vec::new() })),
                Err(error) => {
                    tracing::warn!(%error, %clinic, "a clinic's files wait: its scanner key is not read")
                }
            }
        }
        Ok(clinics.iter_mut().filter_map(|(tenant, clinic)| clinic.newest(*tenant, now, entropy)).collect())
    }

    /// What the key of this name opens, while it may be used.
    pub fn with<T>(
        &self,
        tenant: TenantId,
        key: KeyId,
        now: Timestamp,
        work: impl FnOnce(&XWingSecret) -> T,
    ) -> Option<T> {
        let clinics = self.lock();
        let keys = &clinics.get(&tenant)?.keys;
        let key = keys.iter().find(|held| held.public.key_id() == key && now < held.public.not_after)?;
        Some(work(&key.secret))
    }

    /// Signs with the clinic's scanner key.
    pub fn sign<T>(&self, tenant: TenantId, work: impl FnOnce(&Ed25519Secret) -> T) -> Option<T> {
        self.lock().get(&tenant).map(|clinic| work(&clinic.scanner))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TenantId, Clinic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clinic {
    fn newest(
        &mut self,
        tenant: TenantId,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Option<(SignedScanKey, ScanKey)> {
        self.keys.retain(|key| now < key.public.not_after);
        if self.keys.last().is_none_or(|key| now.since(key.made_at) >= ROTATION) {
            let secret = XWingSecret::generate(&mut EntropyRng(entropy));
            let not_before = now - SLOW_CLOCKS;
            let not_after = not_before + MAX_LIFETIME;
            let public = ScanKey { tenant, not_before, not_after, public_key: secret.public() };
            self.keys.push(Key { public, made_at: now, secret });
        }
        let key = &self.keys.last()?.public;
        Some((key.sign(&self.scanner), key.clone()))
    }
}

/// The clinics whose keys are in the folder; none where there is no folder yet.
fn clinics(folder: &Path) -> Result<Vec<TenantId>> {
    let fail = |error: std::io::Error| {
        crate::Error::internal(format!("cannot read the scanner keys in {}: {error}", folder.display()))
    };
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(fail)?,
    };
    let mut clinics = Vec::new();
    for file in listed {
        let name = file.map_err(fail)?.file_name();
        let clinic = name.to_str().and_then(|name| name.strip_suffix(".key"));
        clinics.extend(clinic.and_then(|clinic| clinic.parse::<TenantId>().ok()));
    }
    Ok(clinics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededEntropy;

    #[test]
    fn a_key_opens_until_it_ends_and_the_next_one_comes_after_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::for_data(folder.path());
        let entropy = SeededEntropy::new(1);
        let keys = Keys::default();
        let start = Timestamp::from_micros(1_800_000_000_000_000);
        assert!(keys.refresh(&config, start, &*entropy).unwrap().is_empty());

        let clinic = TenantId::from_bytes([7; 16]);
        config.write_scanner_key(clinic, &[9; 32]).unwrap();
        let refresh = |now| keys.refresh(&config, now, &*entropy).unwrap().pop().unwrap().1.key_id();
        let first = refresh(start);
        assert_eq!(refresh(start + ROTATION - Duration::from_secs(1)), first);
        let hour = start + ROTATION;
        let second = refresh(hour);
        assert_ne!(second, first);
        assert!(keys.with(clinic, first, hour, |_| ()).is_some(), "the one before opens until it ends");
        let end = start - SLOW_CLOCKS + MAX_LIFETIME;
        assert!(keys.with(clinic, first, end - Duration::from_secs(1), |_| ()).is_some());
        assert!(keys.with(clinic, first, end, |_| ()).is_none());
        assert!(keys.with(TenantId::from_bytes([8; 16]), second, hour, |_| ()).is_none());
        let (signed, key) = keys.refresh(&config, end, &*entropy).unwrap().pop().unwrap();
        assert_eq!(key.key_id(), second);
        assert!(Ed25519Secret::from_seed([9; 32]).public().verify(&signed.statement, &signed.signature));
    }
}
