//! What the server is made of, wired once at start and shared by every request.

use std::sync::{Arc, Mutex, PoisonError};

use sigilo_wire::{ConversationId, FileId, TenantId, Timestamp};
use tokio::task::JoinHandle;

use crate::{
    Ctx, Result, anomalies,
    audit::{self, Act},
    auth::{KnownDevices, Passwords, TokenKeys, oidc::Providers},
    clock::SharedClock,
    config::Config,
    conversations::Snapshots,
    limits::{self, Limiter},
    policy::{InForce, Policy},
    presence::{self, Board},
    relay::{self, ReceiptKeys, hub::Hub, writer::Writer},
    rng::SharedEntropy,
    shutdown::{Shutdown, Tracker},
    storage::{
        Db, Tx,
        crypter::Crypter,
        gate::{self, Store},
        keystore::{DataKey, KeyStore},
    },
    vault::{Downloads, Objects, Spool},
};

/// The parts of a running server.
pub struct App {
    /// The configuration, as checked at start.
    pub config: Config,
    /// Rows.
    pub db: Db,
    /// Data keys.
    pub keystore: KeyStore,
    /// Column encryption.
    pub crypter: Crypter,
    /// Keys of access tokens.
    pub tokens: TokenKeys,
    /// The clinics' own identity providers.
    pub providers: Providers,
    /// Password hashing.
    pub passwords: Passwords,
    /// Where devices stand.
    pub known_devices: KnownDevices,
    /// Time.
    pub clock: SharedClock,
    /// Randomness.
    pub entropy: SharedEntropy,
    /// The clinic's rules.
    pub policy: InForce,
    /// How often what may be done.
    pub limits: Limiter,
    /// What is out of the ordinary, as far as this process has counted.
    pub anomalies: anomalies::Watch,
    /// What sends depend on, as kept.
    pub snapshots: Snapshots,
    /// The sockets of this process.
    pub hub: Arc<Hub>,
    /// Who is there, as far as this process knows.
    pub presence: Arc<Board>,
    /// The way to the relay's writer.
    pub writer: Writer,
    /// What the writer remembers between batches.
    pub relay_memory: relay::Memory,
    /// The keys that sign receipts.
    pub receipt_keys: ReceiptKeys,
    /// Where files are kept.
    pub objects: Objects,
    /// Where uploads lie until they are whole.
    pub spool: Spool,
    /// The downloads of files that are under way here.
    pub downloads: Downloads,
    /// Where the server is in its life.
    pub shutdown: Shutdown,
    /// The open sockets: each holds a guard, and a stopping server waits for them.
    pub sockets: Tracker,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// An [`App`] many parts share.
pub type SharedApp = Arc<App>;

/// The retention class of clinical conversations.
pub const CLASS_MEDICAL: &str = "medical";
/// The retention class of what belongs to the clinic and no conversation: accounts, keys, settings.
pub const CLASS_CLINIC: &str = "clinic";
/// The retention class of a file of the vault.
pub const CLASS_FILE: &str = "file";

impl App {
    /// Opens the stores of a configuration, brings them to this program's schema and wires the parts.
    ///
    /// # Errors
    /// When a store cannot be opened or has another program's schema.
    ///
    /// The relay's writer runs until `shutdown` says stopped.
    pub async fn open(
        config: Config,
        clock: SharedClock,
        entropy: SharedEntropy,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>> {
        let policy = InForce::new(Policy::load(config.policy.dir.as_deref())?);
        config.prepare_data_dir()?;
        let secrets = config.secrets(&*entropy)?;
        let db = Db::open(&config.database_url()?).await?;
        gate::migrate(&db, Store::Main).await?;
        let keys = Db::open(&config.keystore_url()?).await?;
        gate::migrate(&keys, Store::Keys).await?;
        let crypter = Crypter::new(&secrets.column_keys)?;
        let buckets = limits::InProcess::new(Arc::clone(&clock), config.limits.buckets);
        let (writer, inbox) = Writer::new(config.relay.writer_queue, config.relay.writer_mib);
        let app = Arc::new(Self {
            keystore: KeyStore::new(keys, &secrets.key_encryption_key),
            tokens: TokenKeys::open(&db, &crypter, &*entropy, clock.now()).await?,
            providers: Providers::new(&config.oidc)?,
            passwords: Passwords::new(config.password_cost, &*entropy)?,
            known_devices: KnownDevices::default(),
            limits: Limiter::new(Arc::clone(&buckets) as _, &config.limits),
            objects: Objects::open(&config)?,
            spool: Spool::open(config.spool_dir()?),
            downloads: Downloads::new(config.vault.max_downloads, config.limits.body_timeout()),
            crypter,
            config,
            db,
            clock,
            entropy,
            policy,
            anomalies: anomalies::Watch::default(),
            snapshots: Snapshots::default(),
            hub: Arc::default(),
            presence: Arc::default(),
            writer,
            relay_memory: relay::Memory::default(),
            receipt_keys: ReceiptKeys::default(),
            shutdown,
            sockets: Tracker::default(),
            tasks: Mutex::default(),
        });
        app.keep(tokio::spawn(relay::writer::run(Arc::clone(&app), inbox)));
        app.keep(tokio::spawn(presence::keep_noting(Arc::clone(&app))));
        app.keep(tokio::spawn(limits::keep_sweeping(app.shutdown.clone(), buckets)));
        Ok(app)
    }

    /// Keeps a task that flushes and ends once the server has stopped; [`App::close`] waits for it.
    pub fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Waits for the kept tasks, which end when the phase is stopped, and closes the stores.
    pub async fn close(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background task failed");
            }
        }
        self.db.close().await;
        self.keystore.db().close().await;
    }

    /// The data key for new rows of a conversation.
    ///
    /// # Errors
    /// When the key store is away.
    pub async fn conversation_key(&self, ctx: &Ctx, conversation: ConversationId) -> Result<DataKey> {
        self.keystore.current(ctx.tenant, conversation.uuid(), CLASS_MEDICAL, ctx.now, &*self.entropy).await
    }

    /// The data key of a file's object: the only thing under it.
    ///
    /// # Errors
    /// When the key store is away, or the key was destroyed.
    pub async fn file_key(&self, tenant: TenantId, file: FileId, now: Timestamp) -> Result<DataKey> {
        self.keystore.current(tenant, file.uuid(), CLASS_FILE, now, &*self.entropy).await
    }

    /// The data key for new rows of a clinic that belong to no conversation.
    ///
    /// # Errors
    /// When the key store is away.
    pub async fn clinic_key(&self, ctx: &Ctx, tenant: TenantId) -> Result<DataKey> {
        self.keystore.current(tenant, tenant.uuid(), CLASS_CLINIC, ctx.now, &*self.entropy).await
    }

    /// Writes the audit entry of an act that belongs to no conversation, in the act's own transaction. Take
    /// `key` from [`App::clinic_key`] before the transaction begins.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn audit(&self, tx: &mut Tx, ctx: &Ctx, key: &DataKey, act: Act<'_>) -> Result<()> {
        let entry = audit::prepare(ctx, &act, key, None, &*self.entropy)?;
        audit::write(tx, ctx.tenant, vec![entry]);
        Ok(())
    }
}
