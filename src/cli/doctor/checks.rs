//! The checks, each on its own: one that fails says what to do and stops no other.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use chrono::{Offset as _, TimeZone as _};
use sigilo_wire::Timestamp;

use super::{Finding, vault};
use crate::{
    Error, Result,
    clock::Clock,
    config::Config,
    policy::Policy,
    server,
    storage::{
        Db,
        gate::{self, Schema, Store},
        keystore::KeyStore,
    },
};

/// Free disk below which messages may soon not be stored.
const LOW_DISK: u64 = 1 << 30;
/// This program was written after this instant: 2025-01-01.
const EARLIEST: Timestamp = Timestamp::from_micros(1_735_689_600_000_000);

/// Everything, in the order a server needs it.
pub(super) async fn all(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let data = config.storage.data.as_path();
    vec![
        Finding::good("configuration", format!("data folder {}", data.display())),
        Finding::of("data_folder", folder(data)),
        Finding::of("disk", disk(data)),
        Finding::of("keys", keys(config)),
        database(config).await,
        key_store(config).await,
        Finding::of("separation", separation(config)),
        Finding::of("object_store", vault::object_store(config).await),
        Finding::of("scanner", vault::scanner(config, clock.now()).await),
        Finding::of("policies", policies(config)),
        Finding::of("clock", time(clock, data)),
        Finding::of("time_zones", time_zones()),
        Finding::of("certificates", certificates(config)),
        Finding::of("listen", port(config.server.listen)),
        Finding::of("metrics_listen", port(config.server.metrics_listen)),
    ]
}

pub(super) fn fault(text: String) -> Error {
    Error::internal(text)
}

/// A folder of ours that only its owner may enter.
pub(super) fn folder(data: &Path) -> Result<String> {
    let metadata = match fs::metadata(data) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok("will be made at the first start".to_owned());
        }
        Err(error) => return Err(fault(format!("cannot look at {}: {error}", data.display()))),
    };
    if !metadata.is_dir() {
        return Err(fault(format!("{} is not a folder: name another as storage.data", data.display())));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(fault(format!("mode {mode:03o} lets others in: chmod 700 {}", data.display())));
    }
    tempfile::tempfile_in(data)
        .map_err(|error| fault(format!("cannot write in {}: {error}", data.display())))?;
    Ok("private and writable".to_owned())
}

fn disk(data: &Path) -> Result<String> {
    // A folder that is yet to be made will be on its parent's disk.
    let existing = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(existing)
        .map_err(|error| fault(format!("cannot look at the disk of {}: {error}", existing.display())))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let mib = free >> 20;
    if free < LOW_DISK {
        return Err(fault(format!("only {mib} MiB free: make room, a full disk refuses messages")));
    }
    Ok(format!("{mib} MiB free"))
}

/// Looks at the key files without making them.
fn keys(config: &Config) -> Result<String> {
    let storage = &config.storage;
    let folder = storage.data.join("keys");
    let made = [folder.join("key-encryption.key"), folder.join("columns-1.key")];
    let named = storage.key_encryption_key_file.iter().chain(&storage.column_key_files);
    let present = made.iter().filter(|file| file.exists());
    let files: Vec<_> = named.chain(present).collect();
    for file in &files {
        let metadata =
            fs::metadata(file).map_err(|error| fault(format!("cannot read {}: {error}", file.display())))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(fault(format!("{0} is readable by others: chmod 600 {0}", file.display())));
        }
        if metadata.len() != 32 {
            return Err(fault(format!("{} must hold exactly 32 bytes: restore it", file.display())));
        }
    }
    if files.is_empty() {
        return Ok("will be made at the first start; back them up apart from the databases".to_owned());
    }
    Ok(format!("{} key files, private", files.len()))
}

async fn database(config: &Config) -> Finding {
    let result = async {
        let url = config.database_url()?;
        let Some(db) = existing(&url).await? else { return Ok(first_start()) };
        let detail = schema(&db, Store::Main).await;
        db.close().await;
        detail
    };
    Finding::of("database", result.await)
}

async fn key_store(config: &Config) -> Finding {
    let result = async {
        let url = config.keystore_url()?;
        let Some(db) = existing(&url).await? else { return Ok(first_start()) };
        let detail = async {
            let detail = schema(&db, Store::Keys).await?;
            let key_file = config.storage.data.join("keys/key-encryption.key");
            if config.storage.key_encryption_key_file.is_some() || key_file.exists() {
                // The files exist, so that nothing is made here and no randomness is needed.
                let secrets = config.secrets(&crate::rng::SystemEntropy)?;
                KeyStore::new(db.clone(), &secrets.key_encryption_key).verify().await?;
            }
            Ok(detail)
        }
        .await;
        db.close().await;
        detail
    };
    Finding::of("keystore", result.await)
}

fn first_start() -> String {
    "will be made at the first start".to_owned()
}

/// The database, or nothing when it is a SQLite file that does not exist yet.
async fn existing(url: &str) -> Result<Option<Db>> {
    if Db::is_missing_file(url) {
        return Ok(None);
    }
    Db::open(url).await.map(Some).map_err(|error| fault(format!("{error}: is the database running?")))
}

async fn schema(db: &Db, store: Store) -> Result<String> {
    match gate::compare(db, store).await? {
        Schema::Current => Ok(format!("{}, schema current", db.engine())),
        Schema::Behind(missing) => {
            Ok(format!("{}, {} migrations will run at the next start", db.engine(), missing.len()))
        }
        wrong => Err(fault(gate::explain(&wrong))),
    }
}

/// Data keys in the database's backups would make erasure hollow.
fn separation(config: &Config) -> Result<String> {
    if config.database_url()? == config.keystore_url()? {
        return Err(fault(
            "database and key store are the same: erased rows would stay readable in backups; set \
             storage.keystore_url to a database of its own, with backups of its own"
                .to_owned(),
        ));
    }
    Ok("database and key store are apart".to_owned())
}

/// A rule that is not valid stops the server's start.
fn policies(config: &Config) -> Result<String> {
    let dir = config.policy.dir.as_deref();
    let policy = Policy::load(dir)?;
    let own = dir.map_or_else(String::new, |dir| format!(", with those of {}", dir.display()));
    Ok(format!("{} rules{own}", policy.count()))
}

fn time(clock: &dyn Clock, data: &Path) -> Result<String> {
    let now = clock.now();
    if now < EARLIEST {
        return Err(fault(format!("it is not {now}: set the clock and keep it by NTP")));
    }
    let newest = ["sigilo.db", "sigilo.db-wal", "keystore.db"]
        .iter()
        .filter_map(|file| fs::metadata(data.join(file)).ok()?.modified().ok())
        .filter_map(|modified| modified.duration_since(std::time::UNIX_EPOCH).ok())
        .filter_map(|since| i64::try_from(since.as_micros()).ok())
        .max();
    match newest.map(Timestamp::from_micros) {
        Some(newest) if newest.since(now).as_secs() > 60 => {
            Err(fault(format!("it was {newest} here already and is now {now}: keep the clock by NTP")))
        }
        _ => Ok(now.to_string()),
    }
}

/// Zones are compiled in: this finds a build with broken data.
fn time_zones() -> Result<String> {
    let noon = chrono::DateTime::from_timestamp(1_767_268_800, 0)
        .ok_or_else(|| fault("no time".to_owned()))?
        .naive_utc();
    // At this instant, 2026-01-01 12:00 UTC, Mexico City is 6 hours behind and Madrid 1 hour ahead.
    for (zone, hours) in [(chrono_tz::America::Mexico_City, -6), (chrono_tz::Europe::Madrid, 1)] {
        let offset = zone.offset_from_utc_datetime(&noon).fix().local_minus_utc();
        if offset != hours * 3600 {
            return Err(fault(format!("{zone} is {offset} s from UTC: rebuild with current chrono-tz")));
        }
    }
    Ok(format!("IANA {}", chrono_tz::IANA_TZDB_VERSION))
}

fn certificates(config: &Config) -> Result<String> {
    server::check_certificates(&config.tls)?;
    Ok(match (config.tls.is_on(), config.server.behind_proxy) {
        (true, _) => "certificate and key fit",
        (false, true) => "a proxy ends TLS",
        (false, false) => "no TLS: loopback only",
    }
    .to_owned())
}

fn port(address: SocketAddr) -> Result<String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Ok(format!("{address} is in use; right if the server is running"))
        }
        Err(error) => Err(fault(format!("cannot listen on {address}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{ManualClock, SystemClock},
        rng::SystemEntropy,
    };

    fn private_folder() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let config = Config::for_data(folder.path());
        (folder, config)
    }

    async fn failing(config: &Config) -> Vec<&'static str> {
        // Whatever clamd this machine has, or has not.
        let elsewhere = tempfile::tempdir().unwrap();
        let clamd = elsewhere.path().join("clamd.sock");
        vault::tests::answer(&clamd, vault::tests::current());
        let mut config = config.clone();
        config.scanner.clamd = Some(clamd.display().to_string());
        let findings = all(&config, &SystemClock).await;
        findings.into_iter().filter(|finding| !finding.ok).map(|finding| finding.name).collect()
    }

    #[tokio::test]
    async fn a_machine_before_its_first_start_is_in_order_and_stays_untouched() {
        let (folder, config) = private_folder();
        assert_eq!(failing(&config).await, [""; 0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a check makes nothing");
    }

    #[tokio::test]
    async fn open_folders_and_keys_are_found() {
        let (folder, config) = private_folder();
        config.secrets(&SystemEntropy).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let key = folder.path().join("keys/columns-1.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(failing(&config).await, ["data_folder", "keys"]);
    }

    #[tokio::test]
    async fn another_key_encryption_key_and_shared_stores_are_found() {
        let (folder, mut config) = private_folder();
        let keys = Db::open(&config.keystore_url().unwrap()).await.unwrap();
        gate::migrate(&keys, Store::Keys).await.unwrap();
        let secrets = config.secrets(&SystemEntropy).unwrap();
        let store = KeyStore::new(keys, &secrets.key_encryption_key);
        let tenant = sigilo_wire::TenantId::from_bytes([1; 16]);
        store.current(tenant, tenant.uuid(), "clinic", SystemClock.now(), &SystemEntropy).await.unwrap();
        assert_eq!(failing(&config).await, [""; 0]);
        fs::write(folder.path().join("keys/key-encryption.key"), [7; 32]).unwrap();
        assert_eq!(failing(&config).await, ["keystore"]);
        config.storage.database_url = Some(config.keystore_url().unwrap());
        assert!(failing(&config).await.contains(&"separation"));
    }

    #[tokio::test]
    async fn a_rule_that_would_stop_the_start_is_found() {
        let (folder, mut config) = private_folder();
        fs::write(
            folder.path().join("bad.cedar"),
            "permit (principal, action, resource) when { context.x };",
        )
        .unwrap();
        config.policy.dir = Some(folder.path().to_owned());
        assert_eq!(failing(&config).await, ["policies"]);
        let problem = format!("{:?}", policies(&config).unwrap_err());
        assert!(problem.contains("bad.cedar:1"), "{problem}");
        config.policy.dir = None;
        assert_eq!(failing(&config).await, [""; 0]);
    }

    #[test]
    fn a_clock_that_went_back_is_found() {
        let (folder, _) = private_folder();
        assert!(time(&*ManualClock::at(Timestamp::from_micros(0)), folder.path()).is_err());
        fs::write(folder.path().join("sigilo.db"), "").unwrap();
        assert!(time(&SystemClock, folder.path()).is_ok());
        assert!(time(&*ManualClock::at(EARLIEST), folder.path()).is_err());
    }
}
