//! A scan worker under the test's control: real keys, real hand-overs, real signatures, and the findings the test wants.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sigilo::{
    fetch_one,
    scanner::{Desk as _, EngineState, Job, Outcome},
    vault::scan::VaultDesk,
};
use sigilo_seal::{
    Ed25519Secret, FileHead, FileKey, ScanKey, ScanResult, ScanSubject, SignedVerdict, Verdict, XWingSecret,
};
use sigilo_wire::{
    FileId, Role, Timestamp,
    vault::{ScannerStatement, SealedScanKey, StoredFile},
};

use super::{Blob, Pair};
use crate::support::{TestServer, both_engines, clinic::Clinic, device::Device};

/// Runs a scenario on both engines, on servers whose files nobody but the test looks into.
pub async fn with_a_test_worker(scenario: impl AsyncFn(&TestServer)) {
    both_engines(scenario).await;
}

/// How many hand-overs were made: each has randomness of its own.
static SEALED: AtomicU64 = AtomicU64::new(0);
/// The bytes of the tests' files.
const LENGTH: usize = 100_000;

/// A patient and her doctor, three moderators and one of the staff, with a worker.
pub struct House {
    pub pair: Pair,
    pub moderators: [Device; 3],
    pub staff: Device,
    pub worker: Worker,
}

/// A file with its key.
pub struct Keyed {
    pub blob: Blob,
    pub key: FileKey,
}

/// A scan worker.
pub struct Worker {
    pub desk: VaultDesk,
    pub signer: Ed25519Secret,
    secret: XWingSecret,
}

impl House {
    pub async fn create(server: &TestServer) -> Self {
        let pair = Pair::create(server).await;
        let person = async |role, name: &str| {
            Device::create(server, &pair.clinic, role, &format!("{name}@vault.example")).await
        };
        let moderators = [
            person(Role::Moderator, "mo").await,
            person(Role::Moderator, "eva").await,
            person(Role::Moderator, "luz").await,
        ];
        let staff = person(Role::Admin, "staff").await;
        let worker = Worker::start(server, &pair.clinic, 1).await;
        Self { pair, moderators, staff, worker }
    }

    /// A file Ana uploads with its key handed over.
    pub async fn uploaded(&self, server: &TestServer, seed: u64) -> (Keyed, StoredFile) {
        let mut keyed = self.file(seed);
        keyed.blob.new.scan_key = Some(self.seal(server, &keyed).await);
        let stored = keyed.blob.stored(server, &self.pair.ana.token).await;
        (keyed, stored)
    }

    /// A file nobody has uploaded yet.
    pub fn file(&self, seed: u64) -> Keyed {
        let blob = Blob::new(self.pair.conversation, seed, LENGTH);
        // As it was made: first the bytes, then the key.
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.fill_bytes(&mut vec![0; LENGTH]);
        Keyed { blob, key: FileKey::generate(&mut rng) }
    }

    /// The file's key, handed over to the scan key the server gives out.
    pub async fn seal(&self, server: &TestServer, file: &Keyed) -> SealedScanKey {
        let answer = server.get(SCAN_KEY, Some(&self.pair.ana.token)).await.expect(200);
        let given: ScannerStatement = serde_json::from_value(answer).unwrap();
        file.sealed_to(&self.pair.clinic, &ScanKey::decode(&given.statement.0).unwrap())
    }

    /// A file that was uploaded and found to be this.
    pub async fn found(
        &self,
        server: &TestServer,
        seed: u64,
        result: ScanResult,
    ) -> (Keyed, StoredFile, SignedVerdict) {
        let (keyed, stored) = self.uploaded(server, seed).await;
        let job = self.worker.next().await;
        let verdict = self.worker.says(&job, result, server.app.clock.now());
        self.worker.desk.done(&job, Outcome::Verdict(verdict.clone())).await.unwrap();
        (keyed, stored, verdict)
    }

    /// Has Maria ask for another scan, which finds this.
    pub async fn found_again(&self, server: &TestServer, file: FileId, keyed: &Keyed, result: ScanResult) {
        let sealed = self.seal(server, keyed).await;
        let path = format!("/api/chat/files/{file}/rescan/");
        server.post(&path, Some(&self.pair.maria.token), &json!(sealed)).await.expect(204);
        server.clock.advance(Duration::from_secs(1));
        let job = self.worker.next().await;
        let verdict = self.worker.says(&job, result, server.app.clock.now());
        self.worker.desk.done(&job, Outcome::Verdict(verdict)).await.unwrap();
    }
}

/// Where the newest scan key is.
pub const SCAN_KEY: &str = "/api/chat/vault/scan-key/";

impl Keyed {
    /// What its key is handed over for.
    pub fn subject(&self, clinic: &Clinic) -> ScanSubject {
        ScanSubject {
            tenant: clinic.id,
            upload_id: self.blob.new.upload_id,
            blob_sha256: self.blob.new.sha256.0,
            commitment: FileHead::parse(&self.blob.bytes).unwrap().commitment,
        }
    }

    /// Its key for this scan key, sealed anew each time.
    pub fn sealed_to(&self, clinic: &Clinic, key: &ScanKey) -> SealedScanKey {
        let mut rng = ChaCha20Rng::seed_from_u64(SEALED.fetch_add(1, Ordering::Relaxed));
        let handed = self.subject(clinic).hand_over(&self.key, key, &mut rng).unwrap();
        SealedScanKey {
            key_id: handed.key_id.0.into(),
            encapsulation: handed.sealed.enc.into(),
            ciphertext: <[u8; 48]>::try_from(handed.sealed.ct).unwrap().into(),
        }
    }
}

impl Worker {
    /// A worker with the clinic's scanner key, whose scan key is published.
    pub async fn start(server: &TestServer, clinic: &Clinic, seed: u64) -> Self {
        let path = server.app.config.storage.data.join(format!("scanner/{}.key", clinic.id));
        let signer = Ed25519Secret::from_seed(std::fs::read(path).unwrap().try_into().unwrap());
        let secret = XWingSecret::generate(&mut ChaCha20Rng::seed_from_u64(seed));
        let worker = Self { desk: VaultDesk::new(server.app.clone()), signer, secret };
        let engine = EngineState { engine: "Test 1".into(), database: String::new(), official: false };
        worker.desk.engine(Some(engine)).await.unwrap();
        let key = worker.key(server, clinic);
        worker.desk.publish(key.sign(&worker.signer), &key).await.unwrap();
        worker
    }

    /// A scan key of an hour from now.
    pub fn key(&self, server: &TestServer, clinic: &Clinic) -> ScanKey {
        let now = server.app.clock.now();
        let not_after = now + Duration::from_hours(1);
        ScanKey { tenant: clinic.id, not_before: now, not_after, public_key: self.secret.public() }
    }

    /// The next file.
    pub async fn next(&self) -> Job {
        self.desk.next().await.unwrap().expect("a file waits")
    }

    /// The key that was handed over for a job.
    pub fn take(&self, job: &Job) -> FileKey {
        job.subject().take(&job.handed, &self.secret).unwrap()
    }

    /// What the worker would say of a job.
    pub fn says(&self, job: &Job, result: ScanResult, scanned_at: Timestamp) -> SignedVerdict {
        verdict(job, result, scanned_at).sign(&self.signer).unwrap()
    }
}

/// An unsigned verdict.
pub fn verdict(job: &Job, result: ScanResult, scanned_at: Timestamp) -> Verdict {
    Verdict { file: job.file, engine: "Test 1".into(), database: String::new(), scanned_at, result }
}

/// What was found in the tests.
pub fn infected() -> ScanResult {
    ScanResult::Infected("Eicar-Test".into())
}

/// Whether somebody is given a file: the status of the answer.
pub async fn given(server: &TestServer, who: &Device, file: FileId) -> u16 {
    server.get(&format!("/api/chat/files/{file}/content/"), Some(&who.token)).await.status
}

/// What the server has of a file: its state, and whether its key is asked for.
pub async fn state(server: &TestServer, file: FileId) -> (String, bool) {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT scan, rescan_key_needed FROM files WHERE file_id = $1";
    fetch_one!(&mut tx, (String, bool), sql, file).unwrap()
}

/// What a device was told about files: type and state of each event of these types.
pub async fn told(server: &TestServer, who: &Device) -> Vec<(String, String)> {
    let waiting = server.get("/api/chat/events/", Some(&who.token)).await.expect(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    waiting["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| {
            ["file_scanned", "file_recalled", "rescan_key_needed"]
                .iter()
                .any(|wanted| event["type"] == *wanted)
        })
        .map(|event| (text(&event["type"]), text(&event["data"]["virus_scan"])))
        .collect()
}

/// As [`told`] gives it.
pub fn news(events: &[(&str, &str)]) -> Vec<(String, String)> {
    events.iter().map(|(r#type, scan)| ((*r#type).to_owned(), (*scan).to_owned())).collect()
}

/// The acts on a file that were noted in the audit log, with their outcomes.
pub async fn noted(server: &TestServer, act: &'static str) -> Vec<(String, Value)> {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT outcome, canonical FROM audit_entries WHERE act = $1 ORDER BY seq";
    let rows = sigilo::fetch_all!(&mut tx, (String, Vec<u8>), sql, act).unwrap();
    rows.into_iter().map(|(outcome, entry)| (outcome, serde_json::from_slice(&entry).unwrap())).collect()
}
