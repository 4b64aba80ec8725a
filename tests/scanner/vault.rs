//! A vault in memory, as the worker sees it, and a worker at it.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sigilo::{
    Error, Result,
    clock::SystemClock,
    config::{Config, ScannerMode},
    rng::SystemEntropy,
    scanner::{self, Blob, Desk, Engine, EngineState, Job, Outcome, Worker},
    shutdown::{self, Shutdown, ShutdownHandle},
};
use sigilo_seal::{
    Ed25519Secret, FileKey, HandOver, Refusal, ScanKey, ScanResult, ScanSubject, SignedScanKey, VaultFile,
    Verdict, file::io::SealReader,
};
use sigilo_wire::{FileId, TenantId, UploadId, vault::DocumentType};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt as _,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// Longer than anything takes that works.
pub const LONG: Duration = Duration::from_secs(120);
pub const PDF: &str = "application/pdf";
pub const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const SCANNER: [u8; 32] = [3; 32];

/// A vault, and the worker that looks into its files.
pub struct Vault {
    pub clinic: TenantId,
    shared: Arc<Shared>,
    rng: Mutex<ChaCha20Rng>,
    _stop: ShutdownHandle,
    folder: TempDir,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// Whoever reads a blob waits in its middle while there is a permit missing here.
    held: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
}

#[derive(Default)]
struct State {
    keys: Vec<(SignedScanKey, ScanKey)>,
    jobs: VecDeque<Job>,
    blobs: BTreeMap<FileId, Vec<u8>>,
    outcomes: BTreeMap<FileId, Vec<Outcome>>,
    engine: Option<Option<EngineState>>,
}

/// A blob, and the key it was sealed with.
pub struct Sealed {
    pub blob: Vec<u8>,
    pub key: FileKey,
}

impl Vault {
    /// A vault whose worker asks the clamd at this socket, with time-outs of some seconds.
    pub async fn with_clamd(socket: &Path) -> Self {
        Self::start(socket, LONG.as_secs()).await
    }

    /// As [`Self::with_clamd`]; whoever takes longer than this is away.
    pub async fn start(socket: &Path, patience: u64) -> Self {
        let (vault, config, shutdown) = Self::alone(socket, patience);
        let engine = Engine::clamd(&config.scanner).unwrap();
        let worker =
            Worker::new(vault.desk(), engine, config, Arc::new(SystemClock), Arc::new(SystemEntropy));
        tokio::spawn(worker.run(shutdown));
        vault.until_keys().await;
        vault
    }

    /// A vault that lets a scanner of its own process in; there is none yet.
    pub fn for_others(socket: &Path) -> Self {
        let (vault, mut config, shutdown) = Self::alone(socket, LONG.as_secs());
        config.scanner.mode = ScannerMode::Separate;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        drop(scanner::start(vault.desk(), &config, clock, entropy, shutdown).unwrap());
        vault
    }

    fn alone(socket: &Path, patience: u64) -> (Self, Config, Shutdown) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_data(folder.path());
        let scanner = &mut config.scanner;
        scanner.clamd = Some(socket.to_str().unwrap().to_owned());
        (scanner.connect_timeout_s, scanner.write_timeout_s, scanner.verdict_timeout_s) =
            (patience, patience, patience);
        let clinic = TenantId::from_bytes([5; 16]);
        config.write_scanner_key(clinic, &SCANNER).unwrap();
        let (stop, shutdown) = shutdown::channel();
        let seed = u64::from(std::process::id());
        println!("seed {seed}");
        let rng = Mutex::new(ChaCha20Rng::seed_from_u64(seed));
        let vault = Self { clinic, shared: Arc::default(), rng, _stop: stop, folder };
        (vault, config, shutdown)
    }

    fn desk(&self) -> Arc<dyn Desk> {
        Arc::clone(&self.shared) as Arc<dyn Desk>
    }

    /// Waits until a worker has published its key.
    pub async fn until_keys(&self) {
        self.until(|state| (!state.keys.is_empty()).then_some(())).await;
    }

    /// Whether no worker has said anything.
    pub fn is_unknown(&self) -> bool {
        let state = self.shared.lock();
        state.keys.is_empty() && state.engine.is_none()
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes that nobody has seen: clamd remembers what it called clean.
    pub fn noise(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.rng.lock().unwrap().fill_bytes(&mut bytes);
        bytes
    }

    /// Seals a file.
    pub fn seal(&self, file: &[u8]) -> Sealed {
        let mut rng = self.rng.lock().unwrap();
        let key = FileKey::generate(&mut *rng);
        let mut reader = SealReader::new(file, &key, u64::MAX, &mut *rng);
        let mut blob = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut blob).unwrap();
        reader.finish().unwrap();
        Sealed { blob, key }
    }

    /// Puts a file that says to be of this type into the vault, and hands its key over.
    pub fn add(&self, file: &[u8], mime_type: &str) -> FileId {
        let sealed = self.seal(file);
        self.add_blob(&sealed.blob, &sealed.key, mime_type)
    }

    /// Puts a blob into the vault, named by what it is, and hands this key over.
    pub fn add_blob(&self, blob: &[u8], key: &FileKey, mime_type: &str) -> FileId {
        let job = self.job(blob, key, mime_type);
        let file_id = job.file.file_id;
        let mut state = self.shared.lock();
        state.blobs.insert(file_id, blob.to_vec());
        state.jobs.push_back(job);
        drop(state);
        self.shared.changed.notify_waiters();
        file_id
    }

    /// As [`Self::add_blob`], with something changed in what the worker is told.
    pub fn add_job(&self, job: Job, blob: Vec<u8>) -> FileId {
        let file_id = job.file.file_id;
        let mut state = self.shared.lock();
        state.blobs.insert(file_id, blob);
        state.jobs.push_back(job);
        drop(state);
        self.shared.changed.notify_waiters();
        file_id
    }

    /// What the worker is told of a blob.
    pub fn job(&self, blob: &[u8], key: &FileKey, mime_type: &str) -> Job {
        let commitment = sigilo_seal::FileHead::parse(blob).unwrap().commitment;
        let file = VaultFile {
            tenant: self.clinic,
            file_id: FileId::from_bytes(self.noise(16).try_into().unwrap()),
            blob_sha256: sigilo_seal::sha256(blob),
            commitment,
        };
        let upload_id = UploadId::from_bytes(self.noise(16).try_into().unwrap());
        let handed = self.hand_over(file, upload_id, key);
        let length = blob.len() as u64;
        let (mime_type, document_type) = (mime_type.to_owned(), DocumentType::Document);
        Job { file, upload_id, mime_type, document_type, length, handed }
    }

    fn hand_over(&self, file: VaultFile, upload_id: UploadId, key: &FileKey) -> HandOver {
        let VaultFile { tenant, blob_sha256, commitment, .. } = file;
        let subject = ScanSubject { tenant, upload_id, blob_sha256, commitment };
        let scan_key = self.scan_key();
        subject.hand_over(key, &scan_key, &mut *self.rng.lock().unwrap()).unwrap()
    }

    /// The newest scan key; the clinic's scanner signed it.
    pub fn scan_key(&self) -> ScanKey {
        let (signed, key) = self.shared.lock().keys.last().cloned().unwrap();
        assert!(Ed25519Secret::from_seed(SCANNER).public().verify(&signed.statement, &signed.signature));
        assert_eq!(ScanKey::decode(&signed.statement).unwrap(), key);
        key
    }

    /// How the worker's first look into the file ended.
    pub async fn outcome(&self, file: FileId) -> Outcome {
        self.until(|state| state.outcomes.get(&file)?.first().cloned()).await
    }

    /// How often the worker ended without a verdict on the file.
    pub fn endings(&self, file: FileId) -> usize {
        self.shared.lock().outcomes.get(&file).map_or(0, Vec::len)
    }

    /// The worker's first verdict on the file, however often it had none.
    pub async fn verdict(&self, file: FileId) -> Verdict {
        let signed = self.until(|state| {
            state.outcomes.get(&file)?.iter().find_map(|outcome| match outcome {
                Outcome::Verdict(signed) => Some(signed.clone()),
                other => {
                    assert!(matches!(other, Outcome::Unavailable), "{other:?}");
                    None
                }
            })
        });
        let signed = signed.await;
        assert!(Ed25519Secret::from_seed(SCANNER).public().verify(&signed.statement, &signed.signature));
        let verdict = Verdict::decode(&signed.statement).unwrap();
        assert!(verdict.file.file_id == file && verdict.file.tenant == self.clinic);
        verdict
    }

    /// What the worker's first verdict on such a file says.
    pub async fn result(&self, file: &[u8], mime_type: &str) -> ScanResult {
        self.verdict(self.add(file, mime_type)).await.result
    }

    /// Waits until the engine is said to be there, or away.
    pub async fn until_engine(&self, there: bool) -> Option<EngineState> {
        self.until(|state| state.engine.clone().filter(|engine| engine.is_some() == there)).await
    }

    /// From now on every blob stops in its middle, until [`Self::let_go`].
    pub fn hold_blobs(&self) {
        *self.shared.held.lock().unwrap() = Some(Arc::new(tokio::sync::Semaphore::new(0)));
    }

    /// Lets every blob go on.
    pub fn let_go(&self) {
        if let Some(held) = self.shared.held.lock().unwrap().take() {
            held.close();
        }
    }

    async fn until<T>(&self, wanted: impl Fn(&State) -> Option<T>) -> T {
        let end = Instant::now() + LONG;
        loop {
            if let Some(found) = wanted(&self.shared.lock()) {
                return found;
            }
            assert!(Instant::now() < end, "the worker did not come to it in time");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Desk for Shared {
    fn publish<'a>(&'a self, key: SignedScanKey, of: &'a ScanKey) -> BoxFuture<'a, Result<()>> {
        self.lock().keys.push((key, of.clone()));
        std::future::ready(Ok(())).boxed()
    }

    fn next(&self) -> BoxFuture<'_, Result<Option<Job>>> {
        async move {
            let changed = self.changed.notified();
            if let Some(job) = self.lock().jobs.pop_front() {
                return Ok(Some(job));
            }
            let _ = timeout(Duration::from_secs(1), changed).await;
            Ok(self.lock().jobs.pop_front())
        }
        .boxed()
    }

    fn blob<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Blob>> {
        let blob = self.lock().blobs.get(&job.file.file_id).cloned();
        let held = self.held.lock().unwrap().clone();
        let opened = blob.map(|blob| -> Blob {
            let half = blob.len() / 2;
            let (before, after) = (std::io::Cursor::new(blob[..half].to_vec()), blob[half..].to_vec());
            let rest = futures_util::stream::once(async move {
                if let Some(held) = held {
                    // Closed when it may go on.
                    let _ = held.acquire().await;
                }
                std::io::Result::Ok(axum::body::Bytes::from(after))
            });
            Box::new(before.chain(tokio_util::io::StreamReader::new(Box::pin(rest))))
        });
        std::future::ready(opened.ok_or_else(|| Error::internal("no such blob"))).boxed()
    }

    fn done<'a>(&'a self, job: &'a Job, outcome: Outcome) -> BoxFuture<'a, Result<()>> {
        let mut state = self.lock();
        if outcome == Outcome::Unavailable {
            state.jobs.push_back(job.clone());
        }
        state.outcomes.entry(job.file.file_id).or_default().push(outcome);
        std::future::ready(Ok(())).boxed()
    }

    fn engine(&self, engine: Option<EngineState>) -> BoxFuture<'_, Result<()>> {
        self.lock().engine = Some(engine);
        std::future::ready(Ok(())).boxed()
    }
}

/// What is refused.
pub const fn refused(refusal: Refusal) -> ScanResult {
    ScanResult::Refused(refusal)
}
